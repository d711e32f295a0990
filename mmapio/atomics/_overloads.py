"""The public functions inside kernels: checks at compile time, then the intrinsics.

The errors raised here are mmapio's own and not numba's: numba passes them on untouched, so the
user of a kernel sees one sentence instead of a typing trace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import types
from numba.core.errors import NumbaNotImplementedError
from numba.extending import overload, register_jitable
from numba.np.numpy_support import as_dtype

from mmapio._values import store_item
from mmapio.atomics import _ir
from mmapio.atomics._rules import (
    check_access,
    check_dtype,
    check_index_count,
    check_order,
    misaligned,
    unknown_field,
    unsupported_place,
)
from mmapio.errors import ArgumentTypeError
from mmapio.guard.lost_memory import raise_if_source_lost

__all__ = [
    "in_kernels",
    "kernel_compare_exchange",
    "kernel_fence",
    "kernel_load",
    "kernel_operation",
    "put",
]

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel_load(function: Function) -> Function:
    """Make the Python function `load` callable inside kernels."""

    def typer(a: Any, index: Any, order: Any = "seq_cst") -> Any:
        literal = _check("load", a, index, (), order)

        def impl(a: Any, index: Any, order: Any = "seq_cst") -> Any:
            return _ir.operate("load", _ir.place(a, index), (), literal)

        return impl

    return _register(function, typer)


def kernel_operation(function: Function) -> Function:
    """Make a Python function of one value callable inside kernels: all but three are that."""
    operation = function.__name__

    def typer(a: Any, index: Any, value: Any, order: Any = "seq_cst") -> Any:
        literal = _check(operation, a, index, (value,), order)

        def impl(a: Any, index: Any, value: Any, order: Any = "seq_cst") -> Any:
            return _ir.operate(operation, _ir.place(a, index), (value,), literal)

        return impl

    return _register(function, typer)


def kernel_compare_exchange(function: Function) -> Function:
    """Make the Python function `compare_exchange` callable inside kernels."""
    operation = function.__name__

    def typer(a: Any, index: Any, expected: Any, desired: Any, order: Any = "seq_cst") -> Any:
        literal = _check(operation, a, index, (expected, desired), order)

        def impl(a: Any, index: Any, expected: Any, desired: Any, order: Any = "seq_cst") -> Any:
            return _ir.operate(operation, _ir.place(a, index), (expected, desired), literal)

        return impl

    return _register(function, typer)


def kernel_fence(function: Function) -> Function:
    """Make the Python function `fence` callable inside kernels."""

    def typer(order: Any = "seq_cst") -> Any:
        literal = _check_literal_order("fence", order)

        def impl(order: Any = "seq_cst") -> Any:
            _ir.fence(literal)

        return impl

    return _register(function, typer)


def in_kernels(function: Function) -> Function:
    """Let kernels call a function that is made of atomic operations; Python runs it as it is."""
    decorate: Callable[[Function], Function] = register_jitable(error_model="numpy")
    return decorate(function)


def put(slots: Any, at: Any, record: Any) -> None:
    """Store a record in a slot; from Python, unless it does not fit or its file has lost it."""
    store_item(slots, at, record, "record")
    raise_if_source_lost(record)


@overload(put)  # type: ignore[untyped-decorator]  # numba has no types
def _put(slots: Any, at: Any, record: Any) -> Any:
    def store(slots: Any, at: Any, record: Any) -> None:
        slots[at] = record

    return store


def _register(function: Function, typer: Callable[..., Any]) -> Function:
    """Make numba type calls of `function` by `typer`, with literal strings kept literal."""
    overload(function, prefer_literal=True, inline="always")(typer)
    return function


def _check(operation: str, a: Any, index: Any, values: tuple[Any, ...], order: Any) -> str:
    """Return the order, once the type of every argument is one that the operation accepts."""
    dtype = _cell_type(a, index)
    check_dtype(operation, _numpy_dtype(dtype))
    check_access(operation, writable=a.mutable)
    for value in values:
        _check_value(value, dtype)
    return _check_literal_order(operation, order)


def _cell_type(a: Any, index: Any) -> Any:
    """Return the type of the cell that `index` names in `a`."""
    if isinstance(a, types.Record):
        return _field_type(a, getattr(index, "literal_value", None))
    if not isinstance(a, types.Array):
        raise unsupported_place(str(a))
    indices = tuple(index) if isinstance(index, types.BaseTuple) else (index,)
    if not all(isinstance(one, types.Integer) for one in indices):
        raise ArgumentTypeError(f"the index of a cell is made of integers; got {index}")
    check_index_count(len(indices), a.ndim)
    return a.dtype


def _field_type(record: Any, name: Any) -> Any:
    """Return the type of a record's field; every record of that type must align it."""
    if name not in record.fields:
        raise unknown_field(name, record.fields)
    dtype = record.typeof(name)
    word, offset = _numpy_dtype(dtype), record.offset(name)
    if word.kind in "biuf" and (offset % word.itemsize or record.size % word.itemsize):
        where = f"field {name!r} is at byte {offset} of {record.size}-byte records"
        raise misaligned(word, where)
    return dtype


def _numpy_dtype(dtype: Any) -> np.dtype[Any]:
    """Return numpy's name for `dtype`, in which the rules are written."""
    try:
        found: np.dtype[Any] = as_dtype(dtype)
    except NumbaNotImplementedError:
        return np.dtype(object)
    return found


def _check_value(value: Any, dtype: Any) -> None:
    """Refuse what `a[i] = value` would truncate without a word: a fraction."""
    fitting = [types.Integer, types.Boolean]
    if isinstance(dtype, types.Float):
        fitting.append(types.Float)
    if not isinstance(value, tuple(fitting)):
        raise ArgumentTypeError(f"a value of type {value} does not go into a cell of {dtype}")


def _check_literal_order(operation: str, order: Any) -> str:
    """Return `order`, which comes as a default or as the type of a literal."""
    default = getattr(order, "value", order)
    return check_order(operation, getattr(order, "literal_value", default))
