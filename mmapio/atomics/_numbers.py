"""Conversion of Python numbers for compiled code: exact, or an error.

numba's own conversion truncates (300 goes into a uint8 as 44, and 0.5 into an integer as 0).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.np.numpy_support import as_dtype

__all__ = ["from_python", "return_null_if_set"]


def from_python(api: Any, dtype: Any, number: Any) -> Any:
    """Emit the conversion of the Python object `number`; the function returns NULL if it fails."""
    if isinstance(dtype, numba.types.Integer):
        return _to_integer(api, dtype, number)
    double = api.float_as_double(number)
    return_null_if_set(api, api.builder.fcmp_ordered("==", double, double.type(-1.0)))
    return (_to_bool if isinstance(dtype, numba.types.Boolean) else _to_float)(api, dtype, double)


def return_null_if_set(api: Any, suspicious: Any) -> None:
    """Emit the way out of a built-in once Python has set an error, which few results can mean."""
    with (
        api.builder.if_then(suspicious, likely=False),
        api.builder.if_then(api.c_api_error()),
    ):
        api.builder.ret(api.get_null_object())


def _to_integer(api: Any, dtype: Any, number: Any) -> Any:
    """Convert through `__index__`, which no fraction has, and refuse what does not fit."""
    builder = api.builder
    as_unsigned = dtype == numba.types.uint64
    wide = _unsigned_long_long(api, number) if as_unsigned else api.long_as_longlong(number)
    return_null_if_set(api, builder.icmp_unsigned("==", wide, wide.type(-1)))
    narrow = builder.trunc(wide, ir.IntType(dtype.bitwidth))
    widen = builder.sext if dtype.signed else builder.zext
    _overflow_if(api, dtype, builder.icmp_unsigned("!=", wide, widen(narrow, wide.type)))
    return narrow


def _unsigned_long_long(api: Any, number: Any) -> Any:
    """Convert to 64 bits, which `PyLong_AsLongLong` has not; its sister takes only true ints."""
    builder = api.builder
    signature = ir.FunctionType(api.pyobj, [api.pyobj])
    convert = cgutils.get_or_insert_function(builder.module, signature, "PyNumber_Index")
    integer = builder.call(convert, [number])
    return_null_if_set(api, cgutils.is_null(builder, integer))
    wide = api.long_as_ulonglong(integer)
    api.decref(integer)
    return wide


def _to_bool(api: Any, dtype: Any, double: Any) -> Any:
    """Accept 0 and 1, so that a number never loses more than its type."""
    builder = api.builder
    is_one = builder.fcmp_ordered("==", double, double.type(1.0))
    is_zero = builder.fcmp_ordered("==", double, double.type(0.0))
    _overflow_if(api, dtype, builder.not_(builder.or_(is_one, is_zero)))
    return is_one


def _to_float(api: Any, dtype: Any, double: Any) -> Any:
    """Round, and refuse a finite number that became infinite."""
    builder, context = api.builder, api.context
    word = context.cast(builder, double, numba.types.float64, dtype)
    rounded = context.cast(builder, word, dtype, numba.types.float64)
    infinite = builder.or_(
        builder.fcmp_ordered("==", rounded, double.type(float("inf"))),
        builder.fcmp_ordered("==", rounded, double.type(float("-inf"))),
    )
    changed = builder.fcmp_ordered("!=", rounded, double)
    _overflow_if(api, dtype, builder.and_(infinite, changed))
    return word


def _overflow_if(api: Any, dtype: Any, wrong: Any) -> None:
    """Emit an OverflowError that names the range."""
    with api.builder.if_then(wrong, likely=False):
        message = f"the value does not fit into {dtype}, of {_range(as_dtype(dtype))}"
        api.err_set_string("PyExc_OverflowError", message)
        api.builder.ret(api.get_null_object())


def _range(dtype: np.dtype[Any]) -> str:
    """Return the least and the greatest value of `dtype`."""
    if dtype.kind == "b":
        return "0 or 1"
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return f"{limits.min} to {limits.max}"
