"""Conversion of Python numbers for compiled code: exact, or an error.

numba's own conversion truncates (300 goes into a uint8 as 44, and 0.5 into an integer as 0). Here
the rule is that of `mmapio._values`. Numbers that are plainly as they should be are converted in
compiled code, and all others by `fitted`, which says what is wrong with them.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.np.numpy_support import as_dtype

from mmapio._values import as_items
from mmapio.errors import ArgumentError
from mmapio.guard.lost_memory import raise_if_source_lost

__all__ = ["fitted", "from_python", "return_null_if_set"]

_MODULE = __name__
_EXACT_FLOATS = frozenset({np.float32, np.float16})  # all of which the dtypes of cells hold
_BIT = ir.IntType(1)


def fitted(value: Any, dtype: str) -> Any:
    """Return a value as the Python number that compiled code makes a cell's of."""
    if type(value) in _EXACT_FLOATS and "f" in dtype:
        return value.item()
    found = as_items(value, np.dtype(dtype), "value")
    if found.shape:
        raise ArgumentError(f"a cell holds one number, got some of shape {found.shape}")
    raise_if_source_lost(value)
    return found.item()


def from_python(api: Any, dtype: Any, number: Any) -> Any:
    """Emit the conversion of the Python object `number`; the function returns NULL if it fails."""
    builder = api.builder
    convert = _integer if isinstance(dtype, numba.types.Integer) else _float
    value, fits = convert(api, dtype, number)
    slot = cgutils.alloca_once_value(builder, value)
    with builder.if_then(builder.not_(fits), likely=False):
        known = _call_fitted(api, dtype, number)
        builder.store(convert(api, dtype, known)[0], slot)
        api.decref(known)
    return builder.load(slot)


def return_null_if_set(api: Any, suspicious: Any) -> None:
    """Emit the way out of a built-in once Python has set an error, which few results can mean."""
    with (
        api.builder.if_then(suspicious, likely=False),
        api.builder.if_then(api.c_api_error()),
    ):
        api.builder.ret(api.get_null_object())


def _call_fitted(api: Any, dtype: Any, number: Any) -> Any:
    """Emit a call of `fitted`; the function returns NULL if it raises."""
    builder = api.builder

    def text(content: str) -> Any:
        return api.context.insert_const_string(builder.module, content)

    _clear_error(api)
    module = api.import_module(text(_MODULE))
    _return_null_if(api, cgutils.is_null(builder, module))
    signature = ir.FunctionType(api.pyobj, [api.pyobj, api.cstring, api.cstring], var_arg=True)
    call = cgutils.get_or_insert_function(builder.module, signature, "PyObject_CallMethod")
    arguments = [text("fitted"), text("Os"), number, text(as_dtype(dtype).str)]
    known = builder.call(call, [module, *arguments])
    api.decref(module)
    _return_null_if(api, cgutils.is_null(builder, known))
    return known


def _clear_error(api: Any) -> None:
    """Emit the end of an error that `fitted` explains better; any other is passed on."""
    builder = api.builder
    with builder.if_then(api.c_api_error()):
        kinds = [api.get_c_object(f"PyExc_{name}") for name in ("TypeError", "OverflowError")]
        signature = ir.FunctionType(ir.IntType(32), [api.pyobj])
        match = cgutils.get_or_insert_function(builder.module, signature, "PyErr_ExceptionMatches")
        known = [builder.trunc(builder.call(match, [kind]), _BIT) for kind in kinds]
        _return_null_if(api, builder.not_(builder.or_(*known)))
        api.err_clear()


def _return_null_if(api: Any, failed: Any) -> None:
    with api.builder.if_then(failed, likely=False):
        api.builder.ret(api.get_null_object())


def _is_instance(api: Any, number: Any, kind: str) -> Any:
    """Emit whether an object is one of a built-in class, or of one derived from it."""
    signature = ir.FunctionType(ir.IntType(32), [api.pyobj, api.pyobj])
    ask = cgutils.get_or_insert_function(api.builder.module, signature, "PyObject_IsInstance")
    answer = api.builder.call(ask, [number, api.get_c_object(kind)])
    return api.builder.icmp_signed("==", answer, ir.IntType(32)(1))


def _check(api: Any, number: Any, name: str) -> Any:
    """Emit the answer of one of CPython's checks."""
    signature = ir.FunctionType(ir.IntType(32), [api.pyobj])
    ask = cgutils.get_or_insert_function(api.builder.module, signature, name)
    return api.builder.trunc(api.builder.call(ask, [number]), _BIT)


def _is_integer(api: Any, number: Any) -> Any:
    """Emit whether an object is one integer, of Python or of numpy."""
    builder = api.builder
    slot = cgutils.alloca_once_value(builder, _is_instance(api, number, "PyLong_Type"))
    with builder.if_then(builder.not_(builder.load(slot)), likely=False):
        is_sequence = _check(api, number, "PySequence_Check")
        has_index = _check(api, number, "PyIndex_Check")
        builder.store(builder.and_(has_index, builder.not_(is_sequence)), slot)
    return builder.load(slot)


def _is_error(api: Any, suspicious: Any) -> Any:
    """Emit whether Python has set an error, which few results can mean."""
    slot = cgutils.alloca_once_value(api.builder, _BIT(0))
    with api.builder.if_then(suspicious, likely=False):
        api.builder.store(api.c_api_error(), slot)
    return api.builder.load(slot)


def _integer(api: Any, dtype: Any, number: Any) -> tuple[Any, Any]:
    """Emit the conversion of an integer by `__index__`, and whether it is right.

    A sequence is an array, which may have a mask, or has no `__index__`.
    """
    builder = api.builder
    holds_many = cgutils.alloca_once_value(builder, _BIT(0))
    with builder.if_then(builder.not_(_is_instance(api, number, "PyLong_Type")), likely=False):
        builder.store(_check(api, number, "PySequence_Check"), holds_many)
    as_unsigned = dtype == numba.types.uint64
    wide = _unsigned_long_long(api, number) if as_unsigned else api.long_as_longlong(number)
    failed = _is_error(api, builder.icmp_unsigned("==", wide, wide.type(-1)))
    narrow = builder.trunc(wide, ir.IntType(dtype.bitwidth))
    widen = builder.sext if dtype.signed else builder.zext
    same = builder.icmp_unsigned("==", wide, widen(narrow, wide.type))
    wrong = builder.or_(failed, builder.load(holds_many))
    return narrow, builder.and_(same, builder.not_(wrong))


def _unsigned_long_long(api: Any, number: Any) -> Any:
    """Convert to 64 bits, which `PyLong_AsLongLong` has not; its sister takes only true ints."""
    builder = api.builder
    signature = ir.FunctionType(api.pyobj, [api.pyobj])
    convert = cgutils.get_or_insert_function(builder.module, signature, "PyNumber_Index")
    integer = builder.call(convert, [number])
    slot = cgutils.alloca_once_value(builder, api.ulonglong(-1))
    with builder.if_then(cgutils.is_not_null(builder, integer), likely=True):
        builder.store(api.long_as_ulonglong(integer), slot)
        api.decref(integer)
    return builder.load(slot)


def _float(api: Any, dtype: Any, number: Any) -> tuple[Any, Any]:
    """Emit the conversion of a float or an integer, and whether it is right.

    A float is rounded, and must not become infinite; an integer must have no more digits than the
    dtype. A boolean is 0 or 1, and no float.
    """
    builder, context = api.builder, api.context
    is_bool = isinstance(dtype, numba.types.Boolean)
    is_float = _BIT(0) if is_bool else _is_instance(api, number, "PyFloat_Type")
    is_right = cgutils.alloca_once_value(builder, is_float)
    slot = cgutils.alloca_once_value(builder, api.double(0))
    with builder.if_else(is_float, likely=not is_bool) as (then, otherwise):
        with then:
            builder.store(api.float_as_double(number), slot)
        with otherwise, builder.if_then(_is_integer(api, number), likely=True):
            double = api.float_as_double(number)
            # Larger ones may have been rounded to these.
            limit = 2.0 if is_bool else 2.0 ** (np.finfo(as_dtype(dtype)).nmant + 1)
            fits = builder.and_(
                builder.fcmp_ordered(">", double, double.type(-1.0 if is_bool else -limit)),
                builder.fcmp_ordered("<", double, double.type(limit)),
            )
            failed = _is_error(api, builder.fcmp_ordered("==", double, double.type(-1.0)))
            builder.store(double, slot)
            builder.store(builder.and_(fits, builder.not_(failed)), is_right)
    double, right = builder.load(slot), builder.load(is_right)
    if is_bool:
        return builder.fcmp_ordered("==", double, double.type(1.0)), right
    word = context.cast(builder, double, numba.types.float64, dtype)
    rounded = context.cast(builder, word, dtype, numba.types.float64)
    infinite = builder.or_(
        builder.fcmp_ordered("==", rounded, double.type(float("inf"))),
        builder.fcmp_ordered("==", rounded, double.type(float("-inf"))),
    )
    changed = builder.and_(infinite, builder.fcmp_ordered("!=", rounded, double))
    return word, builder.and_(right, builder.not_(changed))
