"""Rules for the arguments of atomic operations, the same in kernels and from Python."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from mmapio.errors import ArgumentError, ArgumentTypeError, MisalignedError, ReadOnlyError

__all__ = [
    "INSTRUCTIONS",
    "VALUE_COUNTS",
    "check_access",
    "check_dtype",
    "check_index_count",
    "check_order",
    "failure_order",
    "misaligned",
    "operations",
    "unknown_field",
    "unsupported_place",
]

INSTRUCTIONS: dict[str, dict[str, str]] = {
    "exchange": dict.fromkeys("biuf", "xchg"),
    "fetch_add": {"i": "add", "u": "add", "f": "fadd"},
    "fetch_sub": {"i": "sub", "u": "sub", "f": "fsub"},
    "fetch_and": dict.fromkeys("biu", "and"),
    "fetch_or": dict.fromkeys("biu", "or"),
    "fetch_xor": dict.fromkeys("biu", "xor"),
    "fetch_min": {"i": "min", "u": "umin", "f": "fmin"},
    "fetch_max": {"i": "max", "u": "umax", "f": "fmax"},
}
"""The `atomicrmw` operation of LLVM for each operation and `numpy.dtype.kind`."""

VALUE_COUNTS = {"load": 0, "store": 1, "compare_exchange": 2, **dict.fromkeys(INSTRUCTIONS, 1)}
"""Number of values that each operation takes."""

_KINDS = {"b": "bool", "i": "signed", "u": "unsigned", "f": "float"}

_ALL_ORDERS = ("relaxed", "acquire", "release", "acq_rel", "seq_cst")
_ORDERS = {
    "load": ("relaxed", "acquire", "seq_cst"),
    "store": ("relaxed", "release", "seq_cst"),
    "fence": ("acquire", "release", "acq_rel", "seq_cst"),
}
_FAILURE_ORDERS = {"acq_rel": "acquire", "release": "relaxed"}


def operations(kind: str) -> tuple[str, ...]:
    """Return the operations that cells of a `numpy.dtype.kind` have."""
    return tuple(name for name in VALUE_COUNTS if kind in INSTRUCTIONS.get(name, _KINDS))


def check_order(operation: str, order: Any) -> str:
    """Return `order` if C++ allows it for `operation`; LLVM rejects the rest with less grace."""
    allowed = _ORDERS.get(operation, _ALL_ORDERS)
    if isinstance(order, str) and order in allowed:
        return order
    error = ArgumentError if isinstance(order, str) else ArgumentTypeError
    raise error(
        f"the order of {operation} must be a literal string, one of {', '.join(allowed)}; "
        f"got {order!r}"
    )


def failure_order(order: str) -> str:
    """Return the order of a compare_exchange that stored nothing: no release without a store."""
    return _FAILURE_ORDERS.get(order, order)


@functools.cache
def check_dtype(operation: str, dtype: np.dtype[Any]) -> None:
    """Refuse cells that no processor changes in one step, and operations they do not have."""
    is_foreign = dtype.isbuiltin == 2  # of another package, such as float8
    if dtype.kind not in _KINDS or dtype.itemsize > 8 or dtype == np.float16 or is_foreign:
        raise ArgumentTypeError(
            "atomics work on bool, integers of 8 to 64 bits, float32 and float64; "
            f"got dtype {dtype}"
        )
    if not dtype.isnative:
        raise ArgumentError(
            f"atomics work in the byte order of this machine only; got dtype {dtype.str!r}"
        )
    kinds = INSTRUCTIONS.get(operation, _KINDS)
    if dtype.kind not in kinds:
        names = ", ".join(_KINDS[kind] for kind in kinds)
        raise ArgumentTypeError(f"{operation} works on {names} cells; got dtype {dtype}")


def check_access(operation: str, *, writable: bool) -> None:
    """Refuse to write where a processor would stop the process for it."""
    if operation != "load" and not writable:
        raise ReadOnlyError(
            f"{operation} writes, and this array is read-only: open its file in 'r+' (in a kernel, "
            "a global array is read-only too: pass it as an argument)"
        )


def check_index_count(found: int, ndim: int) -> None:
    """Refuse an index that names a part of an array and not one cell."""
    if found != ndim:
        raise ArgumentError(
            f"the index of a cell has one integer per dimension: {ndim}; got {found}"
        )


def misaligned(dtype: np.dtype[Any], where: str) -> MisalignedError:
    """Return the error for a cell that crosses a multiple of its own size."""
    return MisalignedError(
        f"an atomic {dtype} must lie at a multiple of {dtype.itemsize} bytes; {where}"
    )


def unknown_field(field: Any, names: Any) -> ArgumentError:
    """Return the error for a record that has no such field."""
    return ArgumentError(
        f"the index of a record is the name of a field, one of {', '.join(names)}; got {field!r}"
    )


def unsupported_place(got: str) -> ArgumentTypeError:
    """Return the error for what is neither an array nor a record."""
    return ArgumentTypeError(f"atomics work on arrays and records; got {got}")
