"""Sums in lanes side by side, as vectors of a fixed length, which numba has no types for.

LLVM cuts them into those that the processor has. Every lane gets the same items in the same order
whatever these are, and wherever the items lie, so a sum has the same bits on all processors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from mmapio.kernels.engine import emitting
from mmapio.kernels.engine.jit import inside, part
from mmapio.kernels.engine.reader import Load, Reader, Vector

__all__ = [
    "LANES",
    "add_floats",
    "add_runs",
    "add_squares",
    "add_steps",
    "add_words",
    "add_wrapping",
    "step",
    "two_sum",
]

LANES = 8
_VECTORS = 8  # that are added as a tree
_WORD_VECTORS = 4
_AHEAD = 4096  # bytes: processors read ahead by themselves up to the end of a page only
_LOW = (1 << 32) - 1

_WORD = ir.IntType(64)
_PLACE = ir.IntType(32)
_WORDS = ir.VectorType(_WORD, LANES)
_DOUBLES = ir.VectorType(ir.DoubleType(), LANES)

Sum = tuple[Any, Any]  # and its rounding error


# As Python runs them ----------------------------------------------------------------------------


@part()
def two_sum(total: Any, term: Any) -> tuple[Any, Any]:
    """Add, and return the rounding error as well (Knuth, TAOCP 4.2.2)."""
    rounded = total + term
    shadow = rounded - total
    return rounded, (total - (rounded - shadow)) + (term - shadow)


def add_floats(x: NDArray[Any]) -> tuple[float, float]:
    """Return the sum of floats in float64, and its rounding error, of as many as fill the lanes."""
    return _compensated(x, LANES)


def add_runs(x: NDArray[Any]) -> tuple[float, float]:
    """Do what `add_floats` does, at the speed of caches.

    Runs of 8 in a lane are added plainly, and their sums with the error of each addition. So each
    item is in 3 additions that round, however many items there are; in numpy's sum in 19 and more.
    """
    return _compensated(x, LANES * _VECTORS)


def add_steps(x: NDArray[Any], base: Any) -> float:
    """Return the sum of differences from a base, of as many items as fill the lanes."""
    return _folded(x, lambda items: _steps(items, base))


def add_squares(x: NDArray[Any], base: Any, centre: float) -> float:
    """Do for squared differences what `add_steps` does; `centre` is subtracted after `base`."""
    return _folded(x, lambda items: (_steps(items, base) - centre) ** 2)


def add_words(x: NDArray[Any]) -> tuple[Any, Any]:
    """Return the exact sum of integers in two parts, of as many as fill the lanes.

    How often 2**32, if they have 64 bits, and what is left.
    """
    whole = x[: x.size // LANES * LANES]
    over, rest = _words(whole)
    return over.sum(), rest.sum()


def add_wrapping(x: NDArray[Any]) -> Any:
    """Return the sum of integers of 64 bits modulo 2**64, of as many as fill the lanes."""
    return x[: x.size // LANES * LANES].view(np.int64).sum()


def step(value: Any, base: Any) -> float:
    """Return ``value - base`` in float64, rounded once."""
    return float(_steps(np.asarray(value), base))


def _compensated(x: NDArray[Any], block: int) -> tuple[float, float]:
    total = error = np.zeros(LANES)
    with np.errstate(all="ignore"):
        for start, stop in _cuts(x.size, block):
            terms = x[start:stop].astype(np.float64).reshape(-1, LANES)
            total, slip = two_sum(total, _tree(terms))
            error = error + slip
        whole = total, error
        while whole[0].size > 1:
            halves = [np.split(each, 2) for each in whole]
            total, slip = two_sum(*halves[0])
            whole = total, halves[1][0] + halves[1][1] + slip
    return float(whole[0][0]), float(whole[1][0])


def _folded(x: NDArray[Any], term: Callable[[NDArray[Any]], NDArray[Any]]) -> float:
    totals = np.zeros((_VECTORS, LANES))
    with np.errstate(all="ignore"):
        for start, stop in _cuts(x.size, LANES * _VECTORS):
            terms = term(x[start:stop]).reshape(-1, LANES)
            totals[: len(terms)] += terms
        return float(_tree(_tree(totals)))


def _cuts(size: int, block: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of blocks, and of the vectors that are left."""
    whole = size // block * block
    yield from ((start, start + block) for start in range(0, whole, block))
    yield from ((at, at + LANES) for at in range(whole, size - LANES + 1, LANES))


def _tree(terms: Any) -> Any:
    """Add neighbours, and their sums, until one is left."""
    while len(terms) > 1:
        terms = terms[::2] + terms[1::2]
    return terms[0]


def _steps(items: NDArray[Any], base: Any) -> NDArray[np.float64]:
    """Return differences in float64, each rounded once."""
    if items.dtype.kind == "f" or items.itemsize < 8:
        return np.asarray(items.astype(np.float64) - np.float64(base))
    over, rest = (
        (part - start).astype(np.float64)
        for part, start in zip(_words(items), _words(items.dtype.type(base)), strict=True)
    )
    return np.asarray(over * 2.0**32 + rest)


def _words(items: Any) -> tuple[Any, Any]:
    """Return how often 2**32 each integer is, if it has 64 bits, and what is left."""
    kind = items.dtype.type
    if items.itemsize < 8:
        return np.zeros_like(items, np.int64), items.astype(np.int64)
    return (items >> kind(32)).astype(np.int64), (items & kind(_LOW)).astype(np.int64)


# As kernels do ----------------------------------------------------------------------------------


@inside(add_floats)
def _add_floats_inside(x: Any) -> Callable[..., Any]:
    return lambda x: _add_floats(x)


@inside(add_runs)
def _add_runs_inside(x: Any) -> Callable[..., Any]:
    return lambda x: _add_runs(x)


@inside(add_words)
def _add_words_inside(x: Any) -> Callable[..., Any]:
    return lambda x: _add_words(x)


@inside(add_wrapping)
def _add_wrapping_inside(x: Any) -> Callable[..., Any]:
    return lambda x: _add_wrapping(x)


@inside(add_steps)
def _add_steps_inside(x: Any, base: Any) -> Callable[..., Any]:
    return lambda x, base: _add_steps(x, base)


@inside(add_squares)
def _add_squares_inside(x: Any, base: Any, centre: Any) -> Callable[..., Any]:
    return lambda x, base, centre: _add_squares(x, base, centre)


@inside(step)
def _step_inside(value: Any, base: Any) -> Callable[..., Any]:
    if not isinstance(value, numba.types.Integer):
        return lambda value, base: np.float64(value) - np.float64(base)
    if value.bitwidth < 64:
        return lambda value, base: np.float64(np.int64(value) - np.int64(base))
    word, low = (np.int64 if value.signed else np.uint64), _LOW

    def impl(value: Any, base: Any) -> Any:
        over = np.int64(value >> word(32)) - np.int64(base >> word(32))
        rest = np.int64(value & word(low)) - np.int64(base & word(low))
        return np.float64(over) * 2.0**32 + np.float64(rest)

    return impl


@intrinsic  # type: ignore[untyped-decorator]
def _add_floats(_typing: Any, x: Any) -> Any:
    return _emit_compensated(x, lambda builder, terms: terms)


@intrinsic  # type: ignore[untyped-decorator]
def _add_runs(_typing: Any, x: Any) -> Any:
    return _emit_compensated(x, lambda builder, terms: [_emit_tree(builder.fadd, terms)])


@intrinsic  # type: ignore[untyped-decorator]
def _add_words(_typing: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = context.make_array(signature.args[0])(context, builder, arguments[0])
        totals = _Totals(builder, _WORDS, _WORD_VECTORS)
        others = _Totals(builder, _WORDS, _WORD_VECTORS)

        def add(number: int, vector: Vector) -> None:
            over, rest = _emit_words(builder, x.dtype, vector)
            totals.add(number, over)
            others.add(number, rest)

        def add_block(load: Load, _number: Any) -> None:
            for number in range(_WORD_VECTORS):
                add(number, load(number))

        reader = Reader(builder, x, row, LANES, _AHEAD)
        reader.rest(reader.blocks(_WORD_VECTORS, add_block), lambda vector: add(0, vector))
        found = [each.whole() for each in (totals, others)]
        return context.make_tuple(builder, signature.return_type, found)

    return numba.types.UniTuple(numba.types.int64, 2)(x), generate


@intrinsic  # type: ignore[untyped-decorator]
def _add_wrapping(_typing: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = context.make_array(signature.args[0])(context, builder, arguments[0])
        totals = _Totals(builder, _WORDS, _WORD_VECTORS)

        def take(vectors: list[Vector]) -> None:
            for number, vector in enumerate(vectors):
                totals.add(number, vector)

        Reader(builder, x, row, LANES, _AHEAD).scan(_WORD_VECTORS, take)
        return totals.whole()

    return numba.types.int64(x), generate


@intrinsic  # type: ignore[untyped-decorator]
def _add_steps(_typing: Any, x: Any, base: Any) -> Any:
    def term(builder: Any, arguments: Any, vector: Vector) -> Vector:
        return _emit_step(builder, x.dtype, vector, arguments[1])

    return _emit_folded((x, base), term)


@intrinsic  # type: ignore[untyped-decorator]
def _add_squares(_typing: Any, x: Any, base: Any, centre: Any) -> Any:
    def term(builder: Any, arguments: Any, vector: Vector) -> Vector:
        step = _emit_step(builder, x.dtype, vector, arguments[1])
        step = builder.fsub(step, emitting.in_all_lanes(builder, arguments[2], LANES))
        return builder.fmul(step, step)

    return _emit_folded((x, base, centre), term)


def _emit_compensated(x: Any, prepare: Callable[[Any, list[Vector]], list[Vector]]) -> Any:
    """Type and emit a sum with its error: of what becomes of blocks of vectors, and of the rest."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = context.make_array(signature.args[0])(context, builder, arguments[0])
        zeros = ir.Constant(_DOUBLES, [0.0] * LANES)
        total, error = (cgutils.alloca_once_value(builder, zeros) for _ in range(2))

        def add(term: Vector) -> None:
            rounded, slip = emitting.two_sum(builder, builder.load(total), term)
            builder.store(rounded, total)
            builder.store(builder.fadd(builder.load(error), slip), error)

        def add_block(load: Load, _number: Any) -> None:
            vectors = map(load, range(_VECTORS))
            for term in prepare(builder, [_extended(builder, vector) for vector in vectors]):
                add(term)

        reader = Reader(builder, x, row, LANES, _AHEAD)
        whole = reader.blocks(_VECTORS, add_block)
        reader.rest(whole, lambda vector: add(_extended(builder, vector)))
        found = builder.load(total), builder.load(error)
        while isinstance(found[0].type, ir.VectorType):
            found = _joined(builder, *_halves(builder, found))
        return context.make_tuple(builder, signature.return_type, found)

    return numba.types.UniTuple(numba.types.float64, 2)(x), generate


def _emit_folded(kinds: tuple[Any, ...], term: Callable[..., Vector]) -> Any:
    """Type and emit a plain sum of what becomes of each vector, in as many totals as in a block."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x = signature.args[0]
        row = context.make_array(x)(context, builder, arguments[0])
        totals = _Totals(builder, _DOUBLES, _VECTORS)

        def add(number: int, vector: Vector) -> None:
            totals.add(number, term(builder, arguments, vector))

        def add_block(load: Load, _number: Any) -> None:
            for number in range(_VECTORS):
                add(number, load(number))

        reader = Reader(builder, x, row, LANES, _AHEAD)
        reader.rest(reader.blocks(_VECTORS, add_block), lambda vector: add(0, vector))
        return totals.whole()

    return numba.types.float64(*kinds), generate


class _Totals:
    """Vectors that others are added to, plainly."""

    def __init__(self, builder: Any, kind: Any, count: int) -> None:
        zeros = ir.Constant(kind, [0] * LANES)
        self._builder = builder
        self._plus = builder.fadd if kind == _DOUBLES else builder.add
        self._totals = [cgutils.alloca_once_value(builder, zeros) for _ in range(count)]

    def add(self, number: int, vector: Vector) -> None:
        """Add to one of them."""
        total = self._totals[number]
        self._builder.store(self._plus(self._builder.load(total), vector), total)

    def whole(self) -> Any:
        """Return the sum of all, and of their lanes, each as a tree."""
        found = _emit_tree(self._plus, [self._builder.load(total) for total in self._totals])
        places = range(LANES)
        lanes = [self._builder.extract_element(found, _PLACE(place)) for place in places]
        return _emit_tree(self._plus, lanes)


def _emit_step(builder: Any, item: Any, vector: Vector, base: Any) -> Vector:
    """Emit what `_steps` does."""
    if isinstance(item, numba.types.Float):
        return builder.fsub(
            _extended(builder, vector),
            emitting.in_all_lanes(builder, _extended(builder, base), LANES),
        )
    to_float = builder.sitofp if item.signed else builder.uitofp
    if item.bitwidth < 64:
        start = to_float(base, ir.DoubleType())
        return builder.fsub(
            to_float(vector, _DOUBLES), emitting.in_all_lanes(builder, start, LANES)
        )
    parts = zip(_emit_words(builder, item, vector), _emit_words(builder, item, base), strict=True)
    over, rest = (
        builder.sitofp(builder.sub(items, emitting.in_all_lanes(builder, start, LANES)), _DOUBLES)
        for items, start in parts
    )
    unit = ir.Constant(_DOUBLES, [2.0**32] * LANES)
    return builder.fadd(builder.fmul(over, unit), rest)


def _emit_words(builder: Any, item: Any, value: Any) -> tuple[Any, Any]:
    """Emit what `_words` does."""
    count = value.type.count if isinstance(value.type, ir.VectorType) else 1
    if item.bitwidth < 64:
        extend = builder.sext if item.signed else builder.zext
        return _lanes_of(_WORD(0), count), extend(value, _WORDS)
    shift = builder.ashr if item.signed else builder.lshr
    over = shift(value, _lanes_of(_WORD(32), count))
    return over, builder.and_(value, _lanes_of(_WORD(_LOW), count))


def _lanes_of(value: Any, count: int) -> Any:
    """Return a constant as itself, or in all lanes of a vector."""
    if count == 1:
        return value
    return ir.Constant(ir.VectorType(value.type, count), [value.constant] * count)


def _extended(builder: Any, value: Any) -> Any:
    """Emit the conversion of a float, or a vector of floats, to float64."""
    is_vector = isinstance(value.type, ir.VectorType)
    kind = _DOUBLES if is_vector else ir.DoubleType()
    return value if value.type == kind else builder.fpext(value, kind)


def _emit_tree(plus: Callable[[Any, Any], Any], terms: list[Any]) -> Any:
    """Emit what `_tree` does."""
    while len(terms) > 1:
        terms = list(map(plus, terms[::2], terms[1::2]))
    return terms[0]


def _joined(builder: Any, one: Sum, other: Sum) -> Sum:
    """Emit the addition of two sums with their errors."""
    total, slip = emitting.two_sum(builder, one[0], other[0])
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
        return builder.extract_element(vector, _PLACE(places[0]))
    mask = ir.Constant(ir.VectorType(_PLACE, len(places)), list(places))
    return builder.shuffle_vector(vector, vector, mask)
