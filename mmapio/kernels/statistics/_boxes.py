"""Layout of an array in memory, as a reduction along axes sees it, and its boxes.

Axes are taken in the order of memory, and neighbours of the same kind, kept or reduced, are one
where they can be. If the last axis is kept, there are columns, else runs, each with a result.
A box is a range of kept rows, of reduced rows, and of columns (or a part of a run). Which boxes
there are depends on the array alone, so additions are in the same order in any number of threads.
"""

from __future__ import annotations

import functools
import math
from operator import mul
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from mmapio.kernels.engine.pieces import cut
from mmapio.kernels.engine.read_ahead import require_following
from mmapio.pagecache.memory_hints import memory_of

__all__ = ["Box", "Grid", "Layout", "Parts", "flat_items", "grid_of", "kernel_dtype", "layout_of"]

_BOX_BYTES = 4 << 20
_COPIED_ITEMS = 1 << 16
_COLUMNS = 8192  # of wide rows, whose sums then stay in the cache
_LEAST_ROWS = 256  # in a box that is not all: fewer would cost more to combine than to add
_LANES = 512  # columns that fill vectors well
_MOST_LANES = 2048
_LINE = 64
_ROWS = 8  # that kernels take at once
_CACHED_BYTES = 8 << 20

Axes = tuple[tuple[int, int, bool], ...]  # extent, step in items, whether it is reduced


class Box(NamedTuple):
    """Ranges that a kernel goes over, and where its results belong."""

    ranges: NDArray[np.int64]
    start: int  # of the results
    stop: int
    alone: bool  # no other box has results in the same place
    items: int  # for each result


class Grid(NamedTuple):
    """Steps through memory for kernels, and how far one call of them goes."""

    columns: bool
    kept: NDArray[np.int64]  # extents and steps of the kept axes before the last
    reduced: NDArray[np.int64]
    outer: int  # kept rows
    rows: int  # reduced rows for each of them
    width: int  # items in a row
    fold: int  # columns, if several rows are taken as one of `width` items
    tail: int  # items of the rows that are left over then
    ahead: int  # how far ahead to ask for memory, if it is not in the cache
    per_box: tuple[int, int, int]  # kept rows, reduced rows, columns
    boxes: tuple[int, int, int]

    @property
    def total(self) -> int:
        """Return the number of boxes."""
        return math.prod(self.boxes)

    def box(self, number: int) -> Box:
        """Return a box; the parts that belong to the same results follow each other."""
        if self.columns:
            outer, across, down = np.unravel_index(
                number, (self.boxes[0], self.boxes[2], self.boxes[1])
            )
        else:
            outer, down, across = np.unravel_index(number, self.boxes)
        first, top, left = (
            int(i) * step for i, step in zip((outer, down, across), self.per_box, strict=True)
        )
        last = min(first + self.per_box[0], self.outer)
        bottom = min(top + self.per_box[1], self.rows)
        right = min(left + self.per_box[2], self.width)
        tail = self.tail if bottom == self.rows else 0
        ranges = (first, last, top, bottom, left, right, self.fold, tail, self.ahead)
        if not self.columns:
            alone = self.boxes[1] * self.boxes[2] == 1
            count = (bottom - top) * (right - left)
            return Box(np.array(ranges), first, last, alone, count)
        begin, end = first * self.fold, last * self.fold
        if self.boxes[2] > 1:
            begin, end = first * self.fold + left, first * self.fold + right
        count = ((bottom - top) * (right - left) + tail) // (
            self.fold if self.boxes[2] == 1 else right - left
        )
        return Box(np.array(ranges), begin, end, self.boxes[1] == 1, count)


class Layout(NamedTuple):
    """The order of an array's axes in memory, and the way back for the result."""

    forward: tuple[slice, ...] | None  # makes all steps positive
    order: tuple[int, ...] | None
    shape: tuple[int, ...]  # in the order of memory
    roles: tuple[bool, ...]  # whether an axis is reduced
    found: tuple[int, ...]  # the shape of the results, in the order of memory
    results: int
    items: int  # for each result
    back: tuple[int, ...] | None
    flips: tuple[slice, ...] | None
    span: int  # from the first item to the last
    grid: Grid | None  # if it is read in place
    only: Box | None  # if that is one box

    def turned(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of the array in the order of memory."""
        array = array if self.forward is None else array[self.forward]
        return array if self.order is None else array.transpose(self.order)

    def restored(self, results: NDArray[Any]) -> NDArray[Any]:
        """Return results in the array's own order."""
        results = results.reshape(self.found)
        results = results if self.flips is None else results[self.flips]
        results = results if self.back is None else results.transpose(self.back)
        ordered: NDArray[Any] = np.ascontiguousarray(results)
        return ordered


def flat_items(layout: Layout, array: NDArray[Any]) -> NDArray[Any]:
    """Return all memory from the first item to the last as a row, read-only as kernels take it."""
    if array.flags.c_contiguous:
        flat = array.reshape(-1)
        flat = flat.view() if flat is array else flat
        flat.flags.writeable = False
        return flat
    turned = layout.turned(array)
    if turned.flags.c_contiguous:
        flat = turned.reshape(-1)
        flat.flags.writeable = False
        return flat
    return as_strided(turned, (layout.span,), (turned.itemsize,), writeable=False)


@functools.lru_cache(maxsize=256)
def layout_of(
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    itemsize: int,
    axes: tuple[int, ...],
    in_place: bool,
) -> Layout:
    """Return how an array lies; `in_place` if kernels can read its items at all."""
    ndim = len(shape)
    order = sorted(range(ndim), key=lambda axis: (strides[axis] != 0, -abs(strides[axis])))
    back = [axis for axis in order if axis not in axes]
    turned = tuple(shape[axis] for axis in order)
    reversed_axes = [axis for axis in range(ndim) if strides[axis] < 0 and shape[axis] > 1]
    steps = tuple(-1 if axis in reversed_axes else 1 for axis in range(ndim))
    grid, span = None, 0
    if in_place and 0 not in shape and not any(stride % itemsize for stride in strides):
        moves = tuple(abs(strides[axis]) // itemsize for axis in order)
        span = 1 + sum((n - 1) * move for n, move in zip(turned, moves, strict=True))
        grid = grid_of(
            tuple(zip(turned, moves, (axis in axes for axis in order), strict=True)), itemsize
        )
    return Layout(
        forward=tuple(slice(None, None, step) for step in steps) if reversed_axes else None,
        order=None if order == list(range(ndim)) else tuple(order),
        shape=turned,
        roles=tuple(axis in axes for axis in order),
        found=tuple(shape[axis] for axis in back),
        results=math.prod(shape[axis] for axis in back),
        items=math.prod(shape[axis] for axis in axes),
        back=None if back == sorted(back) else tuple(back.index(axis) for axis in sorted(back)),
        flips=(
            tuple(slice(None, None, steps[axis]) for axis in back)
            if any(axis in reversed_axes for axis in back)
            else None
        ),
        span=span,
        grid=grid,
        only=grid.box(0) if grid is not None and grid.total == 1 else None,
    )


@functools.lru_cache(maxsize=256)
def grid_of(axes: Axes, itemsize: int, copied: bool = False) -> Grid | None:
    """Return the grid of an array that is not empty; None if its items should be copied first."""
    groups = _merged(axes)
    if not groups or groups[-1][1] != 1:
        groups.append((1, 1, False))
        if len(groups) > 1 and not copied:
            return None
    (width, _, is_run), *before = groups[-1], *groups[:-1]
    kept = [(n, step) for n, step, reduced in before if not reduced]
    reduced = [(n, step) for n, step, is_reduced in before if is_reduced]
    fold, tail = width, 0
    if not is_run and reduced and width < _LANES:
        if reduced[-1][1] == width:
            width, tail, reduced[-1] = _packed(width, reduced, _LINE)
        elif kept and fold * itemsize < _LINE and not copied:
            return None
    outer, rows = (math.prod(n for n, _ in group) for group in (kept, reduced))
    ahead = 0
    if itemsize * (outer * rows * width) > _CACHED_BYTES and reduced:
        ahead = reduced[-1][1] * _ROWS
    grid = Grid(
        columns=not is_run,
        kept=_as_axes(kept),
        reduced=_as_axes(reduced),
        outer=outer,
        rows=rows,
        width=width,
        fold=fold,
        tail=tail,
        ahead=ahead,
        per_box=(outer, rows, width),
        boxes=(1, 1, 1),
    )
    return grid if copied else _cut(grid, itemsize)


def _merged(axes: Axes) -> list[tuple[int, int, bool]]:
    """Make one of neighbours of the same kind that follow each other in memory."""
    groups: list[tuple[int, int, bool]] = []
    for extent, step, reduced in axes:
        if extent == 1:
            continue
        if groups and groups[-1][2] == reduced and groups[-1][1] == extent * step:
            extent *= groups.pop()[0]
        groups.append((extent, step, reduced))
    return groups


def _packed(
    width: int, reduced: list[tuple[int, int]], line: int
) -> tuple[int, int, tuple[int, int]]:
    """Take several rows as one: return its items, those left over, and the axis of such rows."""
    rows, _ = reduced[-1]
    together = line // math.gcd(width, line)
    together *= max(1, _LANES // (together * width))
    if together * width > _MOST_LANES:
        together = max(1, _LANES // width)
    together = min(together, rows)
    if len(reduced) > 1:
        while rows % together:
            together -= 1
    lanes = together * width
    return lanes, rows % together * width, (rows // together, lanes)


def _as_axes(axes: list[tuple[int, int]]) -> NDArray[np.int64]:
    return np.array(axes or [(1, 0)], np.int64).T.copy()


def _cut(grid: Grid, itemsize: int) -> Grid:
    """Limit what one call of a kernel does."""
    outer, rows, width = 1, grid.rows, grid.width
    if grid.rows * grid.width * itemsize <= _BOX_BYTES:
        outer = max(1, _BOX_BYTES // max(1, grid.rows * grid.width * itemsize))
    elif grid.columns:
        if grid.width > _COLUMNS and grid.fold == grid.width:
            width = max(_COLUMNS, _BOX_BYTES // (grid.rows * itemsize) // _LINE * _LINE)
        rows = max(_LEAST_ROWS, _BOX_BYTES // (width * itemsize) // _ROWS * _ROWS)
    elif grid.width * itemsize <= _BOX_BYTES:
        rows = max(1, _BOX_BYTES // (grid.width * itemsize))
    else:
        rows, width = 1, _BOX_BYTES // itemsize
    per_box = min(outer, grid.outer), min(rows, grid.rows), min(width, grid.width)
    totals = grid.outer, grid.rows, grid.width
    counts = [-(-total // per) for total, per in zip(totals, per_box, strict=True)]
    return grid._replace(per_box=per_box, boxes=(counts[0], counts[1], counts[2]))


def kernel_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type that kernels read items of a type in."""
    half = dtype.kind == "f" and dtype.itemsize == 2
    return np.dtype(np.float32) if half else dtype.newbyteorder("=")


class Parts:
    """Parts of an array in the order of its memory, each a box of items that follow each other.

    They are copied into a buffer unless kernels can read them where they lie.
    """

    def __init__(self, layout: Layout, array: NDArray[Any], dtype: np.dtype[Any]) -> None:
        self._layout, self._array, self.dtype = layout, layout.turned(array), dtype
        self.nbytes = array.nbytes
        self._array = self._array if self._array.ndim else self._array.reshape(1)
        self._roles = layout.roles or (False,)
        self._direct = bool(
            array.dtype == dtype and self._array.flags.c_contiguous and array.flags.aligned
        )
        self._items = max(1, _BOX_BYTES // dtype.itemsize) if self._direct else _COPIED_ITEMS
        self._axis, self._rows = cut(self._array.shape, self._items)
        self._per_axis = -(-int(self._array.shape[self._axis]) // self._rows)

    def __len__(self) -> int:
        return int(math.prod(self._array.shape[: self._axis]) * self._per_axis)

    def memory(self) -> NDArray[np.uint8]:
        """Return the memory of all parts, where they must follow each other."""
        require_following(self._array, self._axis)
        return memory_of(self._array)

    def stretch(self, number: int) -> tuple[int, int]:
        """Return which bytes of the memory are a part, and what lies between it and the next."""
        stop = self._offset(number + 1) if number + 1 < len(self) else self.memory().size
        return self._offset(number), stop

    def _offset(self, number: int) -> int:
        where, start = self._place(number)
        return int(sum(map(mul, [*where, start], self._array.strides)))

    def _place(self, number: int) -> tuple[tuple[int, ...], int]:
        """Return the indices of a part along the axes before the cut one, and its first row."""
        outer, part = divmod(number, self._per_axis)
        where = np.unravel_index(outer, self._array.shape[: self._axis]) if self._axis else ()
        return tuple(map(int, where)), part * self._rows

    def buffer(self) -> NDArray[Any]:
        """Return what `take` copies into; each thread needs its own."""
        return np.empty(0 if self._direct else self._items, self.dtype)

    def take(self, number: int, buffer: NDArray[Any]) -> NDArray[Any]:
        """Return a part, contiguous and read-only."""
        where, start = self._place(number)
        part = self._array[where][start : start + self._rows]
        if not self._direct:
            copy = buffer[: part.size].reshape(part.shape)
            np.copyto(copy, part)
            part = copy
        found: NDArray[Any] = part.view()
        found.flags.writeable = False
        return found

    def axes(self, part: NDArray[Any]) -> Axes:
        """Return the axes of a part as `grid_of` takes them."""
        steps = (stride // part.itemsize for stride in part.strides)
        return tuple(zip(part.shape, steps, self._roles[self._axis :], strict=True))

    def box(self, number: int, grid: Grid) -> Box:
        """Return all of a part as a box, whose results follow each other."""
        where, start = self._place(number)
        roles, shape = self._roles, self._array.shape
        index, alone = 0, True
        for axis, place in enumerate((*where, start)):
            if not roles[axis]:
                index = index * shape[axis] + place
            elif shape[axis] > (self._rows if axis == self._axis else 1):
                alone = False
        index *= math.prod(
            n
            for n, reduced in zip(shape[self._axis + 1 :], roles[self._axis + 1 :], strict=True)
            if not reduced
        )
        box = grid.box(0)
        return box._replace(start=index + box.start, stop=index + box.stop, alone=alone)
