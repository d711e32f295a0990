"""Sums over rows by vectors of a fixed length, which numba has no types for.

LLVM cuts them into those that the processor has, so the order of additions is the same on all.
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

from mmapio.kernels.engine.jit import inside

__all__ = [
    "FLOATS_AT_ONCE",
    "SHORT_AT_ONCE",
    "add_bytes",
    "add_floats",
    "are_bytes",
    "count_bytes",
]

SHORT_AT_ONCE = 256  # bytes whose sum fits into 16 bits
_LANES = 8
_TOTALS = 2
FLOATS_AT_ONCE = _LANES * _TOTALS

_WORD = ir.IntType(64)
_SHORT = ir.IntType(16)
_BYTES = ir.VectorType(ir.IntType(8), SHORT_AT_ONCE)
_SHORTS = ir.VectorType(_SHORT, SHORT_AT_ONCE)
_FLOATS = ir.VectorType(ir.DoubleType(), _LANES)
_SIGN = 0x80

Vector = Any
Sum = tuple[Vector, Vector]  # and its rounding error


def are_bytes(x: Any) -> bool:
    """Return True for arrays that `add_bytes` and `count_bytes` take."""
    return isinstance(x.dtype, numba.types.Integer) and x.dtype.bitwidth == 8 and x.layout == "C"


def add_bytes(x: NDArray[Any]) -> int:
    """Return the sum of bytes, signed or not, of as many as there are whole vectors."""
    return int(x[: x.size // SHORT_AT_ONCE * SHORT_AT_ONCE].sum(dtype=np.int64))


def count_bytes(x: NDArray[Any], value: Any) -> int:
    """Return how many bytes equal one, of as many as there are whole vectors."""
    return int(np.count_nonzero(x[: x.size // SHORT_AT_ONCE * SHORT_AT_ONCE] == value))


def add_floats(x: NDArray[Any]) -> tuple[float, float]:
    """Return the sum of floats, and its rounding error, of as many as fill the lanes."""
    totals, errors = np.zeros((2, _TOTALS, _LANES))
    for start in range(0, x.size // FLOATS_AT_ONCE * FLOATS_AT_ONCE, FLOATS_AT_ONCE):
        items = x[start : start + FLOATS_AT_ONCE].astype(np.float64).reshape(totals.shape)
        totals, slips = _added(totals, items)
        errors += slips
    while totals.size > 1:  # the vectors, and then the halves of the one that is left
        halves = totals.reshape(2, -1), errors.reshape(2, -1)
        totals, slips = _added(*halves[0])
        errors = np.add(*halves[1]) + slips
    return totals[0], errors[0]


def _added(total: Any, term: Any) -> tuple[Any, Any]:
    """Do what `_two_sum` emits."""
    rounded = total + term
    shadow = rounded - total
    return rounded, (total - (rounded - shadow)) + (term - shadow)


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
        one = builder.insert_element(ir.Constant(_BYTES, ir.Undefined), arguments[1], _WORD(0))
        nowhere = ir.Constant(ir.VectorType(ir.IntType(32), SHORT_AT_ONCE), [0] * SHORT_AT_ONCE)
        values = builder.shuffle_vector(one, one, nowhere)
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


def _emit_add_floats(_typing: Any, x: Any) -> Any:
    """Type and emit the sum of floats, and its rounding error, of as many as fill the lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = context.make_array(signature.args[0])(context, builder, arguments[0])
        zeros = ir.Constant(_FLOATS, [0.0] * _LANES)
        totals, errors = (
            [cgutils.alloca_once_value(builder, zeros) for _ in range(_TOTALS)] for _ in range(2)
        )
        with cgutils.for_range(builder, builder.udiv(row.nitems, _WORD(FLOATS_AT_ONCE))) as loop:
            first = builder.mul(loop.index, _WORD(FLOATS_AT_ONCE))
            for number, (total, error) in enumerate(zip(totals, errors, strict=True)):
                at = builder.add(first, _WORD(number * _LANES))
                items = _load_floats(builder, signature.args[0], row, at)
                rounded, slip = _two_sum(builder, builder.load(total), items)
                builder.store(rounded, total)
                builder.store(builder.fadd(builder.load(error), slip), error)
        sums = zip(map(builder.load, totals), map(builder.load, errors), strict=True)
        whole = functools.reduce(functools.partial(_joined, builder), sums)
        while isinstance(whole[0].type, ir.VectorType):
            whole = _joined(builder, *_halves(builder, whole))
        return context.make_tuple(builder, signature.return_type, whole)

    return numba.types.UniTuple(numba.types.float64, 2)(x), generate


def _load_floats(builder: Any, kind: Any, row: Any, first: Any) -> Vector:
    """Load a vector of items, as float64, from wherever they lie."""
    item = row.data.type.pointee
    vector = ir.VectorType(item, _LANES)
    if kind.layout == "C":
        pointer = builder.bitcast(builder.gep(row.data, [first]), vector.as_pointer())
        loaded = builder.load(pointer, align=1)
    else:
        step = builder.extract_value(row.strides, 0)
        loaded = ir.Constant(vector, ir.Undefined)
        for place in range(_LANES):
            offset = builder.mul(builder.add(first, _WORD(place)), step)
            pointer = cgutils.pointer_add(builder, row.data, offset)
            loaded = builder.insert_element(loaded, builder.load(pointer, align=1), _WORD(place))
    return loaded if item == _FLOATS.element else builder.fpext(loaded, _FLOATS)


def _two_sum(builder: Any, total: Vector, term: Vector) -> tuple[Vector, Vector]:
    """Emit what `two_sum` does."""
    rounded = builder.fadd(total, term)
    shadow = builder.fsub(rounded, total)
    slip = builder.fsub(total, builder.fsub(rounded, shadow))
    return rounded, builder.fadd(slip, builder.fsub(term, shadow))


def _joined(builder: Any, one: Sum, other: Sum) -> Sum:
    """Emit the addition of two sums with their errors."""
    total, slip = _two_sum(builder, one[0], other[0])
    return total, builder.fadd(builder.fadd(one[1], other[1]), slip)


def _halves(builder: Any, whole: Sum) -> tuple[Sum, Sum]:
    """Emit the halves of vectors; of two lanes, each is a number."""
    count = whole[0].type.count // 2
    first, second = (
        tuple(_some(builder, vector, range(start, start + count)) for vector in whole)
        for start in (0, count)
    )
    return first, second


def _some(builder: Any, vector: Vector, places: range) -> Any:
    if len(places) == 1:
        return builder.extract_element(vector, _WORD(places[0]))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), list(places))
    return builder.shuffle_vector(vector, vector, mask)


_add_bytes: Any = intrinsic(_emit_add_bytes)
_count_bytes: Any = intrinsic(_emit_count_bytes)
_add_floats: Any = intrinsic(_emit_add_floats)


@inside(add_bytes)
def _add_bytes_inside(x: Any) -> Callable[..., Any]:
    return lambda x: _add_bytes(x)


@inside(count_bytes)
def _count_bytes_inside(x: Any, value: Any) -> Callable[..., Any]:
    return lambda x, value: _count_bytes(x, value)


@inside(add_floats)
def _add_floats_inside(x: Any) -> Callable[..., Any]:
    return lambda x: _add_floats(x)
