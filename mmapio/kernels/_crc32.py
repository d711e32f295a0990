"""CRC-32 by carry-less multiplication, where numba compiles for a processor that has it.

The method is that of Gopal, Ozturk and others, "Fast CRC computation for generic polynomials using
PCLMULQDQ instruction", Intel, 2009: 64 bytes are congruent, modulo the polynomial, to what they
become when they are multiplied by that power of x which takes them 64 bytes further on.
"""

from __future__ import annotations

import functools
import zlib
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numpy.typing import NDArray

from mmapio.kernels.engine.jit import JIT_DISABLED, jit, piece_type

__all__ = ["can_fold", "crc32"]

_BYTES = 64
_LEAST = 1 << 10  # bytes that make up for the call of a kernel
_POWERS = 0x154442BD4, 0x1C6E41596  # x ** (512 + 32) and x ** (512 - 32), reflected
_ALL = 0xFFFFFFFF

_target: Any = cpu_target


@functools.cache
def can_fold() -> bool:
    """Return True if numba compiles for an x86 processor with carry-less multiplication."""
    if JIT_DISABLED:
        return False
    _, _, features = _target.target_context.codegen().magic_tuple()
    return "+pclmul" in features


def crc32(data: NDArray[np.uint8]) -> int:
    """Do what `zlib.crc32` does, which takes it from here once 64 bytes are left, or fewer."""
    blocks = data.size // _BYTES
    if data.size < _LEAST or not can_fold():
        return zlib.crc32(data.data)
    state = data[:_BYTES].view(np.uint64).copy()
    state[0] ^= np.uint64(_ALL)
    _fold_blocks(data[_BYTES : blocks * _BYTES], state)
    folded = zlib.crc32(state.data, _ALL)
    return zlib.crc32(data[blocks * _BYTES :].data, folded)


def _signatures() -> list[tuple[Any, ...]]:
    return [(piece_type("u1"), numba.uint64[::1])] if can_fold() else []


def _emit_fold(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit the loop with vectors of 128 bits, which numba has no types for."""
    data, state = (
        context.make_array(kind)(context, builder, value)
        for kind, value in zip(signature.args, arguments, strict=True)
    )
    word, vector = ir.IntType(64), ir.VectorType(ir.IntType(64), 2)
    multiply = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector, [vector, vector, ir.IntType(8)]),
        "llvm.x86.pclmulqdq",
    )
    powers = ir.Constant(vector, _POWERS)
    totals = builder.bitcast(state.data, vector.as_pointer())
    lanes = [cgutils.alloca_once(builder, vector) for _ in range(_BYTES // 16)]
    for i, lane in enumerate(lanes):
        builder.store(_load(builder, builder.gep(totals, [word(i)])), lane)
    bytes_ = builder.bitcast(data.data, vector.as_pointer())
    with cgutils.for_range(builder, builder.udiv(data.nitems, word(_BYTES))) as loop:
        first = builder.mul(loop.index, word(len(lanes)))
        for i, lane in enumerate(lanes):
            total = builder.load(lane)
            low = builder.call(multiply, [total, powers, ir.IntType(8)(0x00)])
            high = builder.call(multiply, [total, powers, ir.IntType(8)(0x11)])
            more = _load(builder, builder.gep(bytes_, [builder.add(first, word(i))]))
            builder.store(builder.xor(builder.xor(low, high), more), lane)
    for i, lane in enumerate(lanes):
        builder.store(builder.load(lane), builder.gep(totals, [word(i)]), align=8)
    return context.get_dummy_value()


_fold: Any = intrinsic(lambda context, data, state: (types.void(data, state), _emit_fold))


@jit(_signatures)
def _fold_blocks(data: NDArray[np.uint8], state: NDArray[np.uint64]) -> None:
    """Fold blocks of 64 bytes into `state`, one after another."""
    _fold(data, state)


def _load(builder: Any, pointer: Any) -> Any:
    """Load from wherever it lies."""
    return builder.load(pointer, align=1)
