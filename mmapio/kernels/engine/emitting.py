"""Instructions of LLVM that several kernels emit: for vectors, which numba has no types for."""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir

__all__ = ["in_all_lanes", "prefetch", "two_sum"]

_BYTES: Any = numba.core.cgutils.voidptr_t
_INT: Any = numba.core.cgutils.int32_t
_PREFETCH = ir.FunctionType(ir.VoidType(), [_BYTES, _INT, _INT, _INT])


def in_all_lanes(builder: Any, value: Any, count: int) -> Any:
    """Emit a vector of so many equal numbers."""
    nothing = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    one = builder.insert_element(nothing, value, _INT(0))
    nowhere = ir.Constant(ir.VectorType(_INT, count), [0] * count)
    return builder.shuffle_vector(one, one, nowhere)


def prefetch(builder: Any, pointer: Any, locality: int = 3) -> None:
    """Ask for a line of memory, to be read; there need not be any. Locality 3 is all caches."""
    function = builder.module.declare_intrinsic("llvm.prefetch", [_BYTES], _PREFETCH)
    how = map(_INT, (0, locality, 1))  # for reading; of data
    builder.call(function, [builder.bitcast(pointer, _BYTES), *how])


def two_sum(builder: Any, total: Any, term: Any) -> tuple[Any, Any]:
    """Emit an addition and its rounding error (Knuth, TAOCP 4.2.2)."""
    rounded = builder.fadd(total, term)
    shadow = builder.fsub(rounded, total)
    slip = builder.fsub(total, builder.fsub(rounded, shadow))
    return rounded, builder.fadd(slip, builder.fsub(term, shadow))
