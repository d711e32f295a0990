"""Loops over a row of items by vectors: the one place where kernels mind how far items lie apart.

Items that lie one after another are loaded as vectors. So is every second one, with what lies
between, which is left out; and any others are loaded one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils

from mmapio.kernels.engine import emitting
from mmapio.kernels.engine.jit import LEAST_APART

__all__ = ["Load", "Reader", "Vector", "is_read_by_vectors"]

_LINE = 64
_WORD = ir.IntType(64)
_PLACE = ir.IntType(32)
_NONE, _ONE = _WORD(0), _WORD(1)

Vector = Any
Load = Callable[[int], Vector]  # of the vector with a number, of those in a block


def is_read_by_vectors(x: Any) -> bool:
    """Return True for rows that are worth it: small items that lie apart would take much code."""
    return bool(x.layout == "C" or x.dtype.bitwidth >= 8 * LEAST_APART)


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
        builder, block = self._builder, vectors * self._lanes
        count = builder.udiv(self._row.nitems, _WORD(block))
        if self._is_near:
            self._loop(_NONE, count, block, self._near, 1, visit)
        else:
            near, second = (builder.select(self._is_step(items), count, _NONE) for items in (1, 2))
            self._loop(_NONE, near, block, self._near, 1, visit)
            self._loop(_NONE, second, block, self._second, 2, visit)
            self._loop(builder.add(near, second), count, block, self._anywhere, 0, visit)
        return builder.mul(count, _WORD(block))

    def rest(self, whole: Any, visit: Callable[[Vector], object]) -> None:
        """Emit a loop over the vectors that are left behind so many items."""
        load = self._near if self._is_near else self._anywhere
        stop = self._builder.sub(self._row.nitems, _WORD(self._lanes - 1))
        step = _WORD(self._lanes)
        with cgutils.for_range_slice(self._builder, whole, stop, step, inc=True) as (first, _):
            visit(load(first))

    def _is_step(self, items: int) -> Any:
        """Emit whether items lie so many apart."""
        step = self._builder.extract_value(self._row.strides, 0)
        return self._builder.icmp_signed("==", step, _WORD(items * self._width))

    def _loop(
        self,
        start: Any,
        stop: Any,
        block: int,
        load: Callable[[Any], Vector],
        apart: int,
        visit: Callable[[Load, Any], object],
    ) -> None:
        """Emit a loop over blocks, which asks for the memory behind them."""
        builder, nbytes = self._builder, apart * block * self._width
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

    def _second(self, first: Any) -> Vector:
        """Load items that have one between them, which is left out.

        Nothing is read behind the last one, where there may be no memory: so the second half
        begins at an item that is left out.
        """
        lanes, start = self._lanes, self._builder.mul(first, _WORD(2))
        parts = [self._near(self._builder.add(start, _WORD(at))) for at in (0, lanes - 1)]
        places = [*range(0, lanes, 2), *range(lanes + 1, 2 * lanes, 2)]
        mask = ir.Constant(ir.VectorType(_PLACE, lanes), places)
        return self._builder.shuffle_vector(*parts, mask)

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
