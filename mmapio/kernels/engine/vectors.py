"""Sums and counts by vectors of a fixed length, which numba has no types for.

Every function has a body in Python too, which finds the same, bit for bit, and which runs if numba
compiles nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from mmapio.kernels.engine import emitting
from mmapio.kernels.engine.jit import inside
from mmapio.kernels.engine.reader import Reader, Vector

__all__ = [
    "SHORT_AT_ONCE",
    "add_bytes",
    "are_bytes",
    "count_bytes",
    "count_in_lines",
    "in_lines",
]

SHORT_AT_ONCE = 256  # bytes whose sum fits into 16 bits

_WORD = ir.IntType(64)
_SHORT = ir.IntType(16)
_PLACE = ir.IntType(32)
_BYTES = ir.VectorType(ir.IntType(8), SHORT_AT_ONCE)
_SHORTS = ir.VectorType(_SHORT, SHORT_AT_ONCE)
_SIGN = 0x80
_LINE = 64
_VECTORS = 4  # at once: so many counts do not wait for one another
_AHEAD = 8192


def are_bytes(x: Any) -> bool:
    """Return True for arrays that `add_bytes` and `count_bytes` take."""
    return isinstance(x.dtype, numba.types.Integer) and x.dtype.bitwidth == 8 and x.layout == "C"


def add_bytes(x: NDArray[Any]) -> int:
    """Return the sum of bytes, signed or not, of as many as there are whole vectors."""
    return int(x[: x.size // SHORT_AT_ONCE * SHORT_AT_ONCE].sum(dtype=np.int64))


def count_bytes(x: NDArray[Any], value: Any) -> int:
    """Return how many bytes equal one, of as many as there are whole vectors."""
    return int(np.count_nonzero(x[: x.size // SHORT_AT_ONCE * SHORT_AT_ONCE] == value))


def in_lines(x: NDArray[Any]) -> int:
    """Return how many items at the beginning of a row fill vectors as long as a line of memory."""
    lanes = _LINE // x.itemsize
    return x.size // lanes * lanes


def count_in_lines(x: NDArray[Any], value: Any) -> int:
    """Return how many items equal one of their type, of those that `in_lines` says.

    A lane counts in the bits of an item: of bytes there must be 255 lines at most.
    """
    return int(np.count_nonzero(x[: in_lines(x)] == value))


# Emitted ----------------------------------------------------------------------------------------


def _emit_add_bytes(_typing: Any, x: Any) -> Any:
    """Type and emit the sum of bytes, signed or not, as many at once as there are whole vectors."""
    flip = _SIGN if x.dtype.signed else 0

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = context.make_array(signature.args[0])(context, builder, arguments[0])
        flips = ir.Constant(_BYTES, [flip] * SHORT_AT_ONCE)
        total, blocks = _add_short(builder, row, lambda block: builder.xor(block, flips))
        return builder.sub(total, builder.mul(blocks, _WORD(flip * SHORT_AT_ONCE)))

    return numba.types.int64(x), generate


def _emit_count_bytes(_typing: Any, x: Any, value: Any) -> Any:
    """Type and emit how many bytes equal one, as many at once as there are whole vectors."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = context.make_array(signature.args[0])(context, builder, arguments[0])
        values = emitting.in_all_lanes(builder, arguments[1], SHORT_AT_ONCE)
        total, _ = _add_short(builder, row, lambda x: builder.icmp_unsigned("==", x, values))
        return total

    return numba.types.int64(x, value), generate


def _add_short(builder: Any, row: Any, prepare: Callable[[Vector], Vector]) -> tuple[Any, Any]:
    """Add what becomes of bytes; return the total, and of how many vectors.

    Of 256 bytes, added up at once in 16 bits, x86 adds 8 in each step (PSADBW).
    """
    kind = ir.FunctionType(_SHORT, [_SHORTS])
    name = f"llvm.vector.reduce.add.v{SHORT_AT_ONCE}i16"
    add = cgutils.get_or_insert_function(builder.module, kind, name)
    total = cgutils.alloca_once_value(builder, _WORD(0))
    blocks = builder.udiv(row.nitems, _WORD(SHORT_AT_ONCE))
    pointer = builder.bitcast(row.data, _BYTES.as_pointer())
    with cgutils.for_range(builder, blocks) as loop:
        block = builder.load(builder.gep(pointer, [loop.index]), align=1)
        found = builder.call(add, [builder.zext(prepare(block), _SHORTS)])
        builder.store(builder.add(builder.load(total), builder.zext(found, _WORD)), total)
    return builder.load(total), blocks


def _emit_count_in_lines(_typing: Any, x: Any, value: Any) -> Any:
    """Type and emit how many items equal one, counted in lanes of as many bits as these have."""
    bits, is_float = x.dtype.bitwidth, isinstance(x.dtype, numba.types.Float)
    lanes, item = _LINE * 8 // bits, ir.IntType(bits)
    counts = ir.VectorType(item, lanes)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = context.make_array(signature.args[0])(context, builder, arguments[0])
        values = emitting.in_all_lanes(builder, arguments[1], lanes)
        equal = builder.fcmp_ordered if is_float else builder.icmp_unsigned
        none = ir.Constant(counts, [0] * lanes)
        totals = [cgutils.alloca_once_value(builder, none) for _ in range(_VECTORS)]

        def add(vectors: list[Vector]) -> None:
            for vector, total in zip(vectors, totals, strict=False):
                found = builder.sext(equal("==", vector, values), counts)
                builder.store(builder.sub(builder.load(total), found), total)

        Reader(builder, x, row, lanes, _AHEAD).scan(_VECTORS, add)
        whole = functools.reduce(builder.add, map(builder.load, totals))
        ends = [builder.extract_element(whole, _PLACE(place)) for place in range(lanes)]
        return functools.reduce(builder.add, [builder.zext(end, _WORD) for end in ends])

    return numba.types.int64(x, value), generate


_count_in_lines: Any = intrinsic(_emit_count_in_lines)
_add_bytes: Any = intrinsic(_emit_add_bytes)
_count_bytes: Any = intrinsic(_emit_count_bytes)


@inside(add_bytes)
def _add_bytes_inside(x: Any) -> Callable[..., Any]:
    return lambda x: _add_bytes(x)


@inside(count_bytes)
def _count_bytes_inside(x: Any, value: Any) -> Callable[..., Any]:
    return lambda x, value: _count_bytes(x, value)


@inside(in_lines)
def _in_lines_inside(x: Any) -> Callable[..., Any]:
    lanes = _LINE * 8 // x.dtype.bitwidth
    return lambda x: x.size // lanes * lanes


@inside(count_in_lines)
def _count_in_lines_inside(x: Any, value: Any) -> Callable[..., Any]:
    return lambda x, value: _count_in_lines(x, value)
