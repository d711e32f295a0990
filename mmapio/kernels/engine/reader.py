"""Loops over a row of items by vectors: the one place where kernels mind how far items lie apart.

Items that lie one after another are loaded as vectors. So are those that have few others between
them, which are left out; and all others are loaded one by one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils

from mmapio.kernels.engine import emitting

__all__ = ["Load", "Reader", "Vector"]

_LINE = 64
_WORD = ir.IntType(64)
_PLACE = ir.IntType(32)
_STEPS = (1, 2, 3, 4)
_NONE, _ONE = _WORD(0), _WORD(1)

Vector = Any
Load = Callable[[int], Vector]  # of the vector with a number, of those in a block


class Reader:
    """A row of items, of which loops are emitted that load vectors.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        Of the function that reads.
    x : numba.types.Array
        The type of the row: of one axis, and of layout "A" if items may lie apart.
    row : object
        What numba makes of it: its pointer, and how many items there are.
    lanes : int
        How many items a vector has; an even number.
    ahead : int
        How many bytes before they are read lines are asked for.
    """

    def __init__(
        self, builder: Any, x: numba.types.Array, row: Any, lanes: int, ahead: int
    ) -> None:
        self._builder, self._row, self._lanes, self._ahead = builder, row, lanes, ahead
        self._width = x.dtype.bitwidth // 8
        self._is_near = x.layout == "C"
        self._vector = ir.VectorType(row.data.type.pointee, lanes)

    def blocks(self, vectors: int, visit: Callable[[Load, Any], object]) -> Any:
        """Emit loops over whole blocks of vectors; return how many items these have.

        `visit` is called with what loads a vector of the block, and with the number of the block.
        """
        count = self._builder.udiv(self._row.nitems, _WORD(vectors * self._lanes))
        done = self._loops(count, vectors, visit)
        if not self._is_near:
            self._loop(done, count, vectors, self._anywhere, visit)
        return self._builder.mul(count, _WORD(vectors * self._lanes))

    def scan(self, vectors: int, visit: Callable[[list[Vector]], object]) -> None:
        """Emit loops over all whole vectors: over so many at once, or over one where that does."""
        block = _WORD(vectors * self._lanes)
        count = self._builder.udiv(self._row.nitems, block)
        done = self._loops(count, vectors, lambda load, _: visit([*map(load, range(vectors))]))
        self.rest(self._builder.mul(done, block), lambda vector: visit([vector]))

    def rest(self, whole: Any, visit: Callable[[Vector], object]) -> None:
        """Emit a loop over the vectors that are left behind so many items."""
        load = self._near if self._is_near else self._anywhere
        stop = self._builder.sub(self._row.nitems, _WORD(self._lanes - 1))
        step = _WORD(self._lanes)
        with cgutils.for_range_slice(self._builder, whole, stop, step, inc=True) as (first, _):
            visit(load(first))

    def _loops(self, count: Any, vectors: int, visit: Callable[[Load, Any], object]) -> Any:
        """Emit a loop for each small step, of which one runs or none; return of how many blocks."""
        if self._is_near:
            self._loop(_NONE, count, vectors, self._near, visit, 1)
            return count
        builder, done = self._builder, _NONE
        step = builder.extract_value(self._row.strides, 0)
        for items in _STEPS:
            is_step = builder.icmp_signed("==", step, _WORD(items * self._width))
            stop = builder.select(is_step, count, _NONE)
            self._loop(_NONE, stop, vectors, functools.partial(self._every, items), visit, items)
            done = builder.add(done, stop)
        return done

    def _loop(
        self,
        start: Any,
        stop: Any,
        vectors: int,
        load: Callable[[Any], Vector],
        visit: Callable[[Load, Any], object],
        step: int = 0,
    ) -> None:
        """Emit a loop over blocks, which asks for the memory behind them if it knows the step."""
        builder, block = self._builder, vectors * self._lanes
        nbytes = step * block * self._width
        with cgutils.for_range_slice(builder, start, stop, _ONE, inc=True) as (number, _):
            first = builder.mul(number, _WORD(block))
            at = builder.mul(number, _WORD(nbytes))
            for line in range(0, nbytes, _LINE):
                ahead = builder.add(at, _WORD(self._ahead + line))
                emitting.prefetch(builder, cgutils.pointer_add(builder, self._row.data, ahead))
            visit(lambda place: load(builder.add(first, _WORD(place * self._lanes))), number)

    def _near(self, first: Any) -> Vector:
        """Load items that lie one after another."""
        pointer = self._builder.gep(self._row.data, [first])
        pointer = self._builder.bitcast(pointer, self._vector.as_pointer())
        return self._builder.load(pointer, align=1)

    def _every(self, step: int, first: Any) -> Vector:
        """Load items of which every next lies so many behind, and leave out what is between.

        Nothing is read behind the last one, where there may be no memory: so what is loaded last
        begins earlier by as much as is left out there.
        """
        lanes, start = self._lanes, self._builder.mul(first, _WORD(step))
        loaded, places = self._near(start), [*range(0, lanes, step)]
        for part in range(1, step):
            begin = part * lanes - (step - 1) * (part == step - 1)
            more = self._near(self._builder.add(start, _WORD(begin)))
            there = range(lanes + len(places) * step - begin, 2 * lanes, step)
            loaded = self._shuffled(loaded, more, [*places, *there])
            places = [*range(len(places) + len(there))]
        return loaded

    def _shuffled(self, one: Vector, other: Vector, places: list[int]) -> Vector:
        """Emit a vector that begins with some items of two others."""
        mask = [*places, *range(len(places), self._lanes)]
        kind = ir.VectorType(_PLACE, self._lanes)
        return self._builder.shuffle_vector(one, other, ir.Constant(kind, mask))

    def _anywhere(self, first: Any) -> Vector:
        """Load items one by one, from wherever they lie."""
        builder, data = self._builder, self._row.data
        step = builder.extract_value(self._row.strides, 0)
        loaded = ir.Constant(self._vector, ir.Undefined)
        for place in range(self._lanes):
            offset = builder.mul(builder.add(first, _WORD(place)), step)
            item = builder.load(cgutils.pointer_add(builder, data, offset), align=1)
            loaded = builder.insert_element(loaded, item, _PLACE(place))
        return loaded
