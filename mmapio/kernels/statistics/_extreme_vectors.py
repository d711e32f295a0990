"""Least and greatest keys of whole lines of memory, by vectors, which numba has no types for.

A key is an item of which some bits are flipped: see `_extreme_keys`. LLVM cuts the vectors into
those that the processor has. Each function has a body in Python that finds the same, for where
numba compiles nothing.
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
from mmapio.kernels.engine.reader import Load, Reader, Vector

__all__ = ["BLOCK_BYTES", "blocks_least", "in_lines", "lines_least", "lines_range"]

BLOCK_BYTES = 1 << 12  # that `blocks_least` tells apart

_LINE = 64
_AHEAD = 8192  # the processor's own reading ahead ends at each page
_LINES_LEAST = 4  # at once: so many results do not wait for one another
_LINES_RANGE = 2

_INT = ir.IntType(32)
_WORD = ir.IntType(64)
_Join = Callable[[Any, Any, Any], Any]


def in_lines(x: NDArray[Any]) -> int:
    """Return how many items at the beginning of a row fill lines, which vectors scan."""
    return x.nbytes // _LINE * _LINE // x.itemsize


def lines_least(x: NDArray[Any], flip: Any) -> tuple[Any, bool, Any]:
    """Return the least key of whole lines, or the greatest of all keys; and of floats two more.

    These are whether there is a NaN, and an integer that is negative if there is a sign bit.
    """
    keys, bits = _keys(x[: in_lines(x)], flip)
    has_nan = keys != keys
    least = np.min(keys, where=~has_nan, initial=_ends(keys.dtype)[1])
    return least, bool(has_nan.any()), np.bitwise_or.reduce(bits)


def lines_range(x: NDArray[Any], flip: Any) -> tuple[Any, Any, bool, Any, Any]:
    """Return the same, and the greatest key, and what is negative if all have a sign bit."""
    keys, bits = _keys(x[: in_lines(x)], flip)
    has_nan = keys != keys
    bottom, top = _ends(keys.dtype)
    least = np.min(keys, where=~has_nan, initial=top)
    greatest = np.max(keys, where=~has_nan, initial=bottom)
    signs = np.bitwise_or.reduce(bits), np.bitwise_and.reduce(bits)
    return least, greatest, bool(has_nan.any()), *signs


def blocks_least(x: NDArray[Any], flip: Any) -> tuple[Any, bool, int]:
    """Return the least key of whole blocks, whether there is a NaN, and the number of a block.

    That is the first that has the key; 0, if all are NaNs.
    """
    size = BLOCK_BYTES // x.itemsize
    keys, _ = _keys(x[: x.size // size * size], flip)
    has_nan = keys != keys
    top = _ends(keys.dtype)[1]
    leasts = np.min(keys.reshape(-1, size), 1, where=~has_nan.reshape(-1, size), initial=top)
    least = np.min(leasts, initial=top)
    return least, bool(has_nan.any()), int(np.argmax(leasts == least)) if leasts.size else 0


def _keys(x: NDArray[Any], flip: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return keys, and of floats the same as integers."""
    bits = x.view(f"i{x.itemsize}") ^ flip
    return (bits.view(x.dtype), bits) if x.dtype.kind == "f" else (bits, bits[:0])


def _ends(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return the least and the greatest key that there may be."""
    if dtype.kind == "f":
        return dtype.type(-np.inf), dtype.type(np.inf)
    return np.iinfo(dtype).min, np.iinfo(dtype).max


# Emitted ----------------------------------------------------------------------------------------


class _Items:
    """Types of the items of a line, and of their keys."""

    def __init__(self, dtype: Any) -> None:
        self.bits = dtype.bitwidth
        self.is_float = isinstance(dtype, numba.types.Float)
        self.count = _LINE * 8 // self.bits
        self.integer = numba.types.Integer.from_bitwidth(self.bits, True)
        self.key = dtype if self.is_float else self.integer
        self.integers = ir.VectorType(ir.IntType(self.bits), self.count)
        floats = {32: ir.FloatType(), 64: ir.DoubleType()}
        self.keys = ir.VectorType(floats[self.bits], self.count) if self.is_float else self.integers
        self.bottom, self.top = _ends(np.dtype(str(self.key)))

    def all(self, value: int) -> ir.Constant:
        return ir.Constant(self.integers, [value] * self.count)


class _Found:
    """One result of a scan, in several places: vectors are joined with them in turns."""

    def __init__(self, builder: Any, join: _Join, start: ir.Constant, count: int = 1) -> None:
        self._builder, self._start = builder, start
        self._join = functools.partial(join, builder)
        self._places = [cgutils.alloca_once_value(builder, start) for _ in range(count)]

    def add(self, vectors: list[Vector]) -> None:
        """Join as many vectors as there are places, or fewer."""
        for vector, place in zip(vectors, self._places, strict=False):
            self._builder.store(self._join(vector, self._builder.load(place)), place)

    def add_joined(self, vectors: list[Vector]) -> None:
        """Join any number of vectors among themselves first."""
        self.add([functools.reduce(self._join, vectors)])

    def whole(self) -> Any:
        """Emit the one number that is left of all."""
        return _reduced(self._builder, lambda _, *ends: self._join(*ends), self.joined())

    def joined(self) -> Vector:
        """Emit the one vector that is left of all places."""
        return functools.reduce(self._join, map(self._builder.load, self._places))

    def restart(self) -> None:
        """Emit a new beginning."""
        for place in self._places:
            self._builder.store(self._start, place)


def _lesser(builder: Any, one: Any, other: Any) -> Any:
    """Emit the lesser of two keys; the second, if the first is a NaN."""
    return builder.select(_compared(builder, "<", one, other), one, other)


def _greater(builder: Any, one: Any, other: Any) -> Any:
    return builder.select(_compared(builder, ">", one, other), one, other)


def _compared(builder: Any, sign: str, one: Any, other: Any) -> Any:
    item = one.type.element if isinstance(one.type, ir.VectorType) else one.type
    compare = builder.icmp_signed if isinstance(item, ir.IntType) else builder.fcmp_ordered
    return compare(sign, one, other)


def _either(builder: Any, one: Any, other: Any) -> Any:
    return builder.or_(one, other)


def _both(builder: Any, one: Any, other: Any) -> Any:
    return builder.and_(one, other)


class _Scan:
    """A search for the least key, and for the greatest, if that is wanted too."""

    def __init__(self, builder: Any, items: _Items, lines: int, both: bool) -> None:
        def found(join: _Join, start: Any, count: int = 1) -> _Found:
            return _Found(builder, join, start, count)

        def all_keys(key: Any) -> ir.Constant:
            return ir.Constant(items.keys, [key] * items.count)

        self._builder, self._items = builder, items
        self._best = [found(_lesser, all_keys(items.top), lines)]
        self._best += [found(_greater, all_keys(items.bottom), lines)] * both
        self._nan = found(_either, items.all(0), lines // 2)
        self._bits = [found(_either, items.all(0))] + [found(_both, items.all(-1))] * both

    def take(self, vectors: list[Vector]) -> None:
        """Emit the scan of some lines, as integers."""
        if self._items.is_float:
            for found in self._bits:
                found.add_joined(vectors)
        vectors = _as_keys(self._builder, self._items, vectors)
        self._nan.add(_nans(self._builder, self._items, vectors))
        for found in self._best:
            found.add(vectors)

    def results(self) -> list[Any]:
        """Emit the numbers that are left."""
        has_nan = self._builder.icmp_signed(
            "!=", self._nan.whole(), ir.IntType(self._items.bits)(0)
        )
        best, bits = ([each.whole() for each in found] for found in (self._best, self._bits))
        return [*best, has_nan, *bits]


def _as_keys(builder: Any, items: _Items, lines: list[Vector]) -> list[Vector]:
    return [builder.bitcast(line, items.keys) for line in lines] if items.is_float else lines


def _nans(builder: Any, items: _Items, keys: list[Vector]) -> list[Vector]:
    """Emit where there are NaNs, of floats: one instruction looks for them in two vectors."""
    if not items.is_float:
        return []
    pairs = zip(keys[::2], keys[1::2] or keys, strict=True)
    return [builder.sext(builder.fcmp_unordered("uno", *pair), items.integers) for pair in pairs]


def _emit_scan(x: Any, lines: int, both: bool) -> Any:
    """Type and emit a scan of whole lines, several at once."""
    items = _Items(x.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = context.make_array(signature.args[0])(context, builder, arguments[0])
        flips = emitting.in_all_lanes(builder, arguments[1], items.count)
        scan = _Scan(builder, items, lines, both)

        def take(vectors: list[Vector]) -> None:
            integers = [builder.bitcast(vector, items.integers) for vector in vectors]
            scan.take([builder.xor(vector, flips) for vector in integers])

        Reader(builder, x, row, items.count, _AHEAD).scan(lines, take)
        return context.make_tuple(builder, signature.return_type, scan.results())

    number = 1 + both
    kinds = [items.key] * number + [numba.types.boolean] + [items.integer] * number
    return numba.types.Tuple(kinds)(x, items.integer), generate


def _emit_blocks(_typing: Any, x: Any, _flip: Any) -> Any:
    """Type and emit the same for blocks: each lane keeps its best key, and from which block.

    A key as good as one before does not count, so that is the first.
    """
    items = _Items(x.dtype)
    places = ir.VectorType(_WORD, items.count)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = context.make_array(signature.args[0])(context, builder, arguments[0])
        flips = emitting.in_all_lanes(builder, arguments[1], items.count)
        top = ir.Constant(items.keys, [items.top] * items.count)
        best = cgutils.alloca_once_value(builder, top)
        where = cgutils.alloca_once_value(builder, ir.Constant(places, [0] * items.count))
        nan = _Found(builder, _either, items.all(0), _LINES_LEAST // 2)
        found = _Found(builder, _lesser, top, _LINES_LEAST)
        groups = BLOCK_BYTES // _LINE // _LINES_LEAST  # of lines in a block

        def take(load: Load, group: Any) -> None:
            lines = [builder.bitcast(load(at), items.integers) for at in range(_LINES_LEAST)]
            keys = _as_keys(builder, items, [builder.xor(line, flips) for line in lines])
            nan.add(_nans(builder, items, keys))
            found.add(keys)
            last = builder.and_(group, _WORD(groups - 1))
            with builder.if_then(builder.icmp_unsigned("==", last, _WORD(groups - 1))):
                here, before = found.joined(), builder.load(best)
                is_less = _compared(builder, "<", here, before)
                builder.store(builder.select(is_less, here, before), best)
                number = builder.udiv(group, _WORD(groups))
                number = emitting.in_all_lanes(builder, number, items.count)
                builder.store(builder.select(is_less, number, builder.load(where)), where)
                found.restart()

        Reader(builder, x, row, items.count, _AHEAD).blocks(_LINES_LEAST, take)
        least, block = _first_best(builder, items, builder.load(best), builder.load(where))
        has_nan = builder.icmp_signed("!=", nan.whole(), ir.IntType(items.bits)(0))
        return context.make_tuple(builder, signature.return_type, [least, has_nan, block])

    kinds = [items.key, numba.types.boolean, numba.types.int64]
    return numba.types.Tuple(kinds)(x, items.integer), generate


def _first_best(builder: Any, items: _Items, keys: Vector, places: Vector) -> tuple[Any, Any]:
    """Emit the least of the keys in lanes, and the least of the places of those that equal it."""
    best = _reduced(builder, _lesser, keys)
    bests = emitting.in_all_lanes(builder, best, items.count)
    equal = _compared(builder, "==", keys, bests)
    far = ir.Constant(places.type, [(1 << 63) - 1] * items.count)
    return best, _reduced(builder, _lesser, builder.select(equal, places, far))


def _reduced(builder: Any, join: _Join, vector: Vector) -> Any:
    """Emit the one number that is left of the lanes of a vector."""
    while (count := vector.type.count // 2) > 1:
        vector = join(builder, *(_part(builder, vector, start, count) for start in (0, count)))
    ends = (builder.extract_element(vector, _WORD(place)) for place in (0, 1))
    return join(builder, *ends)


def _part(builder: Any, vector: Vector, start: int, count: int) -> Vector:
    places = ir.Constant(ir.VectorType(_INT, count), [*range(start, start + count)])
    return builder.shuffle_vector(vector, vector, places)


_scan_blocks: Any = intrinsic(_emit_blocks)
_scan_least: Any = intrinsic(lambda _typing, x, flip: _emit_scan(x, _LINES_LEAST, False))
_scan_range: Any = intrinsic(lambda _typing, x, flip: _emit_scan(x, _LINES_RANGE, True))


@inside(in_lines)
def _in_lines(x: Any) -> Callable[..., Any]:
    items = _LINE * 8 // x.dtype.bitwidth
    return lambda x: x.size // items * items


@inside(lines_least)
def _lines_least(x: Any, flip: Any) -> Callable[..., Any]:
    return lambda x, flip: _scan_least(x, flip)


@inside(blocks_least)
def _blocks_least(x: Any, flip: Any) -> Callable[..., Any]:
    return lambda x, flip: _scan_blocks(x, flip)


@inside(lines_range)
def _lines_range(x: Any, flip: Any) -> Callable[..., Any]:
    return lambda x, flip: _scan_range(x, flip)
