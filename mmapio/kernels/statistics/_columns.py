"""Reductions along some axes of an array, to one item for each place along the others."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine.in_order import InOrder
from mmapio.kernels.engine.pieces import pieces_of, share_pieces
from mmapio.kernels.engine.scan import Scan
from mmapio.kernels.engine.threads import run_workers
from mmapio.kernels.statistics._boxes import (
    Box,
    Grid,
    Parts,
    flat_items,
    grid_of,
    kernel_dtype,
    layout_of,
)
from mmapio.kernels.statistics._column_kernels import (
    BOTH,
    GREATEST,
    LEAST,
    extreme_columns,
    sum_float_columns,
    sum_int_columns,
    vary_columns,
)
from mmapio.kernels.statistics._lines import (
    Table,
    as_table,
    table_extremes,
    table_means,
    table_sums,
)
from mmapio.kernels.statistics._moments import SMALL, rounded_sum, split_small_sum, two_sum
from mmapio.kernels.statistics._run_kernels import (
    extreme_runs,
    sum_float_runs,
    sum_int_runs,
    vary_runs,
)
from mmapio.pagecache.memory_hints import memory_of

__all__ = [
    "Reduction",
    "Results",
    "axis_extremes",
    "axis_means",
    "axis_sums",
    "axis_variances",
    "sum_of_huge",
]

R = TypeVar("R")
Axes = tuple[int, ...]
Results = tuple[NDArray[Any], ...]
# A kernel, for columns or for runs, and the results that it stores for a box.
Kernel = Callable[[NDArray[Any], Grid, Box, Results], object]
Combine = Callable[[Results, Results, int, int], None]


class Reduction:
    """An array that is reduced along axes: a kernel reads boxes, and what they have is combined."""

    def __init__(self, array: NDArray[Any], axes: Axes, how: Scan) -> None:
        array = array.view(np.uint8) if array.dtype.kind == "b" else array
        self.dtype = kernel_dtype(array.dtype)
        in_place = array.dtype == self.dtype and array.flags.aligned
        self._array, self._how = array, how
        self.layout = layout_of(array.shape, array.strides, array.itemsize, axes, in_place)

    def results(self, dtype: Any, count: int) -> Results:
        """Return as many arrays of results."""
        return tuple(np.empty((count, self.layout.results), dtype))

    def run(self, kernel: Kernel, combine: Combine, out: Results) -> None:
        """Reduce an array that is not empty."""
        layout, how = self.layout, self._how
        if layout.grid is None or how.drop_behind:
            self._run_parts(kernel, combine, out)
        elif layout.only is not None and not how.progress:
            kernel(flat_items(layout, self._array), layout.grid, layout.only, out)
        else:
            self._run_boxes(layout.grid, kernel, combine, out)

    def _run_boxes(self, grid: Grid, kernel: Kernel, combine: Combine, out: Results) -> None:
        """Read memory in place, in boxes that follow each other where they are combined."""
        flat = flat_items(self.layout, self._array)
        taken = _Taken(combine, out)

        def visit(_worker: None, number: int) -> None:
            taken.visit(number, flat, grid, grid.box(number), kernel)

        run_workers(
            grid.total,
            lambda: None,
            visit,
            threads=self._how.threads,
            progress=self._how.progress,
            nbytes=self._array.nbytes,
            kind=self._kind(kernel, grid),
        )

    def _kind(self, kernel: Kernel, grid: Grid) -> Hashable:
        """Return what the memory of where helpers are of use goes by."""
        return self.dtype, grid.columns, getattr(kernel, "__code__", kernel)

    def _run_parts(self, kernel: Kernel, combine: Combine, out: Results) -> None:
        """Read parts in the order of memory, through a buffer unless kernels can read them."""
        parts = Parts(self.layout, self._array, self.dtype)
        taken = _Taken(combine, out)

        def visit(buffer: NDArray[Any], number: int) -> None:
            part = parts.take(number, buffer)
            grid = grid_of(parts.axes(part), part.itemsize, True)
            assert grid is not None
            taken.visit(number, part.reshape(-1), grid, parts.box(number, grid), kernel)

        share_pieces(parts.buffer, visit, parts, self._how)


class _Taken:
    """Results of boxes, stored at once, or combined in their order where several share a place."""

    def __init__(self, combine: Combine, out: Results) -> None:
        self._combine, self._out = combine, out
        self._done: dict[int, int] = {}  # items of what starts there
        self._in_order = InOrder(self._add)

    def visit(self, number: int, flat: NDArray[Any], grid: Grid, box: Box, kernel: Kernel) -> None:
        """Let a kernel read a box."""
        mine = tuple(out[box.start : box.stop] for out in self._out)
        if box.alone:
            kernel(flat, grid, box, mine)  # as all others are, then
        else:
            self._in_order.wait_for(number)
            found = tuple(np.empty_like(out) for out in mine)
            kernel(flat, grid, box, found)
            self._in_order.add(number, found, box)

    def _add(self, found: Results, box: Box) -> None:
        mine = tuple(out[box.start : box.stop] for out in self._out)
        before = self._done.get(box.start, 0)
        if before:
            self._combine(mine, found, before, box.items)
        else:
            for out, new in zip(mine, found, strict=True):
                out[:] = new
        self._done[box.start] = before + box.items


# Sums -------------------------------------------------------------------------------------------


def axis_sums(array: NDArray[Any], axes: Axes, how: Scan) -> NDArray[Any]:
    """Return sums along axes: rounded once, or of integers in 64 bits, where they wrap."""
    if (small := as_table(array, axes)) is not None:
        found = _passed(table_sums, small, how)
        if found is not None:
            return found
        how = Scan()  # options change no bit, and were heeded
    if array.dtype.kind == "f":
        return _float_sums(array, axes, how)
    if array.dtype.kind == "u":
        same_bits = array.view(array.dtype.str.replace("u8", "i8"))
        return _int_sums(same_bits, axes, how).view(np.uint64)
    return _int_sums(array, axes, how)


def axis_means(array: NDArray[Any], axes: Axes, how: Scan) -> NDArray[np.float64]:
    """Return means along axes."""
    if (small := as_table(array, axes)) is not None:
        found = _passed(table_means, small, how)
        if found is not None:
            return found
        how = Scan()  # options change no bit, and were heeded
    exact = array.dtype.kind != "f" and array.itemsize < 8  # no sum can wrap
    totals = _int_sums(array, axes, how) if exact else _float_sums(array, axes, how)
    count = np.prod([array.shape[axis] for axis in axes], dtype=np.float64)
    with np.errstate(all="ignore"):
        return np.asarray(totals / count)


class _Whole:
    """All memory of a small table, as the one part of a pass over it."""

    def __init__(self, row: NDArray[Any]) -> None:
        self._row, self.nbytes = row, row.nbytes

    def __len__(self) -> int:
        return 1

    def memory(self) -> NDArray[np.uint8]:
        return memory_of(self._row)

    def stretch(self, _number: int) -> tuple[int, int]:
        return 0, self.nbytes


def _passed(reduce: Callable[..., R], small: tuple[NDArray[Any], Table], how: Scan) -> R:
    """Reduce a table by the kernels of a call without options, whatever options there are."""
    found: list[R] = []

    def visit(_worker: None, _number: int) -> None:
        found.append(reduce(*small))

    share_pieces(lambda: None, visit, _Whole(small[0]), how)
    return found[0]


def _int_sums(array: NDArray[Any], axes: Axes, how: Scan) -> NDArray[np.int64]:
    reduction = Reduction(array, axes, how)
    out = reduction.results(np.int64, 1)
    if not array.size:
        out[0][:] = 0
        return reduction.layout.restored(out[0])
    short = np.empty(0, np.int32 if reduction.dtype.itemsize <= 2 else np.int64)

    def kernel(x: NDArray[Any], grid: Grid, box: Box, found: Results) -> None:
        if grid.columns:
            sum_int_columns(x, grid.kept, grid.reduced, box.ranges, short, *found)
        else:
            sum_int_runs(x, grid.kept, grid.reduced, box.ranges, *found)

    reduction.run(kernel, _add_ints, out)
    return reduction.layout.restored(out[0])


def _add_ints(mine: Results, found: Results, before: int, count: int) -> None:
    np.add(mine[0], found[0], out=mine[0])


def _float_sums(array: NDArray[Any], axes: Axes, how: Scan) -> NDArray[np.float64]:
    reduction = Reduction(array, axes, how)
    total, error = out = reduction.results(np.float64, 2)
    if not array.size:
        total[:] = 0
        return reduction.layout.restored(total)

    def kernel(x: NDArray[Any], grid: Grid, box: Box, found: Results) -> None:
        sums = sum_float_columns if grid.columns else sum_float_runs
        sums(x, grid.kept, grid.reduced, box.ranges, *found)

    reduction.run(kernel, _add_floats, out)
    found = reduction.layout.restored(_rounded(total, error))
    if array.dtype.kind == "f" and array.itemsize == 8 and not np.isfinite(found).all():
        _mend(found, array, axes, how)
    return found


def _mend(found: NDArray[np.float64], array: NDArray[Any], axes: Axes, how: Scan) -> None:
    """Put right what overflowed on the way to a sum that is infinite, or finite after all.

    Nothing comes of infinities of both signs, or of a NaN, but one infinity outdoes all numbers.
    """
    lost = ~np.isfinite(found)
    if np.isnan(axis_extremes(array, axes, LEAST, how)[0][lost]).all():
        return  # NaNs are what is missing from most arrays
    least, greatest = axis_extremes(array, axes, BOTH, how)
    below, above = lost & (least == -np.inf), lost & (greatest == np.inf)
    found[below & ~above] = -np.inf
    found[above & ~below] = np.inf
    for place in np.argwhere(lost & np.isfinite(least) & np.isfinite(greatest)):
        where = iter(place.tolist())
        index = tuple(slice(None) if n in axes else next(where) for n in range(array.ndim))
        found[tuple(place)] = sum_of_huge(array[index])


def sum_of_huge(items: NDArray[Any], keep: Callable[[NDArray[Any]], Any] = lambda x: x) -> float:
    """Add a part of each item that is kept, so that nothing overflows before the end."""
    pieces = pieces_of(items)
    buffer = pieces.buffer()
    kept = (keep(pieces.take(number, buffer)) for number in range(len(pieces)))
    parts = [split_small_sum(piece) for piece in kept]
    total = rounded_sum([total for total, _ in parts], [error for _, error in parts])
    with np.errstate(over="ignore"):
        return float(np.float64(total) / SMALL)


def _add_floats(mine: Results, found: Results, before: int, count: int) -> None:
    total, slip = two_sum(mine[0], found[0])
    mine[0][:] = total
    mine[1][:] += found[1] + slip


def _rounded(total: NDArray[Any], error: NDArray[Any]) -> NDArray[Any]:
    """Add errors to sums, unless these overflowed or are none: then errors are no numbers."""
    np.add(total, error, out=total, where=np.isfinite(total))
    return total


# Variances --------------------------------------------------------------------------------------


def axis_variances(array: NDArray[Any], axes: Axes, ddof: int, how: Scan) -> NDArray[np.float64]:
    """Return variances along axes: what fits into the cache is read twice, around its own mean."""
    reduction = Reduction(array, axes, how)
    out = reduction.results(np.float64, 3)
    out[2][:] = 0

    def kernel(x: NDArray[Any], grid: Grid, box: Box, found: Results) -> None:
        vary = vary_columns if grid.columns else vary_runs
        vary(x, grid.kept, grid.reduced, box.ranges, *found)

    if array.size:
        reduction.run(kernel, _merge_moments, out)
    with np.errstate(all="ignore"):
        count = np.float64(max(reduction.layout.items - ddof, 0))
        return reduction.layout.restored(out[2] / count)


def _merge_moments(mine: Results, found: Results, before: int, count: int) -> None:
    """Combine means and squared deviations (Chan, Golub and LeVeque, 1979).

    Means are sums of two: far from zero, one number would lose digits that deviations need.
    """
    (mean, rest, squares), (high, low, more) = mine, found
    step = (high - mean) + (low - rest)
    rest += step * (count / (before + count))
    squares += more + step * step * (before * count / (before + count))


# Extremes ---------------------------------------------------------------------------------------


def axis_extremes(
    array: NDArray[Any], axes: Axes, which: int, how: Scan
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the least and the greatest values along axes that are not empty; a NaN outdoes all.

    Only one of these is right unless `which` is BOTH.
    """
    if (small := as_table(array, axes)) is not None:

        def look(row: NDArray[Any], table: Table) -> tuple[NDArray[Any], NDArray[Any]]:
            one = table_extremes(row, table, which == GREATEST)
            return one, table_extremes(row, table, True) if which == BOTH else one

        return _passed(look, small, how)
    reduction = Reduction(array, axes, how)
    out = reduction.results(reduction.dtype, 2)
    if which != BOTH:
        out[1 - which][:] = 0  # what is nowhere stored must not be out of range elsewhere

    def kernel(x: NDArray[Any], grid: Grid, box: Box, found: Results) -> None:
        extreme = extreme_columns if grid.columns else extreme_runs
        extreme(x, grid.kept, grid.reduced, box.ranges, which, *found)

    if array.size:
        reduction.run(kernel, _widen, out)
    least, greatest = map(reduction.layout.restored, out)
    return least, greatest


def _widen(mine: Results, found: Results, before: int, count: int) -> None:
    np.minimum(mine[0], found[0], out=mine[0])
    np.maximum(mine[1], found[1], out=mine[1])
