"""Figures of `describe` along some axes: one for each place along the others."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine.scan import Scan
from mmapio.kernels.statistics._boxes import Box, Grid
from mmapio.kernels.statistics._columns import Reduction, Results, sum_of_huge
from mmapio.kernels.statistics._line_figures import (
    ABOVE,
    BELOW,
    KEPT,
    NANS,
    ZEROS,
    describe_lines,
)
from mmapio.kernels.statistics._moments import two_sum

__all__ = ["ColumnFigures", "column_figures", "finite_items"]

_BITS = 32
_LOW = (1 << _BITS) - 1
_EXACT = 1 << 53  # integers that are floats


class ColumnFigures(NamedTuple):
    """Figures of the items that are kept: finite numbers, or dates but for NaT; each an array."""

    kept: NDArray[np.int64]
    zeros: NDArray[np.int64]
    nans: NDArray[np.int64]
    above: NDArray[np.int64]
    below: NDArray[np.int64]
    min: NDArray[Any]  # of the array's type; of no meaning where nothing is kept
    max: NDArray[Any]
    sum: NDArray[Any]  # float64, 64 bits, or Python's integers where these are too short for one
    mean: NDArray[np.float64]
    var: NDArray[np.float64]


def column_figures(
    array: NDArray[Any], axes: tuple[int, ...], how: Scan, dates: bool = False
) -> ColumnFigures:
    """Return the figures along axes; `dates` if the items are ticks, of which some may be NaT."""
    reduction = Reduction(array, axes, how)
    lines, layout = reduction.layout.results, reduction.layout
    kind = np.float64 if reduction.dtype.kind == "f" else np.int64
    tally, extremes, sums, moments = out = (
        np.zeros((lines, 5), np.int64),
        np.zeros((lines, 2), reduction.dtype),
        np.zeros((lines, 2), kind),
        np.zeros((lines, 3)),
    )

    def kernel(x: NDArray[Any], grid: Grid, box: Box, found: Results) -> None:
        reduced, ranges = _unpacked(grid, box.ranges)
        describe_lines(x, grid.kept, reduced, ranges, (grid.columns, dates), *found)

    if array.size:
        reduction.run(kernel, _merge, out)
    kept, zeros, nans, above, below = (
        layout.restored(tally[:, place]) for place in (KEPT, ZEROS, NANS, ABOVE, BELOW)
    )
    lo, hi = (
        layout.restored(extremes[:, i]).astype(array.dtype.newbyteorder("="), copy=False)
        for i in (0, 1)
    )
    if kind is np.int64:
        high, low = (layout.restored(sums[:, i]) for i in (0, 1))
        total = _exact(high, low, array.dtype.kind == "u")
    else:
        total = _rounded(sums, layout.restored, array, axes)
    with np.errstate(all="ignore"):
        mean, var = _mean(total, kept), layout.restored(moments[:, 2]) / kept
    return ColumnFigures(kept, zeros, nans, above, below, lo, hi, total, mean, var)


def _unpacked(grid: Grid, ranges: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Take rows one by one that a grid has several of in one."""
    together = grid.width // grid.fold if grid.columns else 1
    if together == 1:
        return grid.reduced, ranges
    first, last, top, bottom, left, _, fold, tail, ahead = ranges.tolist()
    reduced = grid.reduced.copy()
    reduced[:, -1] = reduced[0, -1] * together + grid.tail // fold, fold
    bottom = bottom * together + tail // fold
    return reduced, np.array([first, last, top * together, bottom, left, fold, fold, 0, ahead])


def _merge(mine: Results, found: Results, _before: int, _count: int) -> None:
    """Combine the figures of boxes, of some lines in which nothing may be kept."""
    tally, extremes, sums, moments = mine
    more, others, terms, steps = found
    before, count = tally[:, KEPT], more[:, KEPT]
    both, new = (before > 0) & (count > 0), (before == 0) & (count > 0)
    _merge_moments(moments, steps, before, count, both)
    np.minimum(extremes[:, 0], others[:, 0], out=extremes[:, 0], where=both)
    np.maximum(extremes[:, 1], others[:, 1], out=extremes[:, 1], where=both)
    extremes[new] = others[new]
    moments[new] = steps[new]
    if sums.dtype.kind == "f":
        total, slip = two_sum(sums[:, 0], terms[:, 0])
        sums[:, 1] += terms[:, 1] + slip
        sums[:, 0] = total
    else:
        sums += terms
        _carry(sums[:, 0], sums[:, 1])
    tally += more


def _merge_moments(
    mine: NDArray[Any], found: NDArray[Any], before: NDArray[Any], count: NDArray[Any], both: Any
) -> None:
    """Combine means and squared deviations (Chan, Golub and LeVeque, 1979)."""
    total = np.maximum(before + count, 1)
    step = (found[:, 0] - mine[:, 0]) + (found[:, 1] - mine[:, 1])
    np.add(mine[:, 1], step * (count / total), out=mine[:, 1], where=both)
    more = found[:, 2] + step * step * (before * (count / total))
    np.add(mine[:, 2], more, out=mine[:, 2], where=both)


def _carry(high: NDArray[np.int64], low: NDArray[np.int64]) -> None:
    """Leave no more than a word in the lower part of sums."""
    high += low >> _BITS
    low &= _LOW


def _exact(high: NDArray[np.int64], low: NDArray[np.int64], unsigned: bool) -> NDArray[Any]:
    """Return sums of integers in 64 bits, or as Python's integers if one does not fit."""
    _carry(high, low)
    least, greatest = (0, _LOW) if unsigned else (-(1 << 31), (1 << 31) - 1)
    if ((high < least) | (high > greatest)).any():
        return np.asarray(high.astype(object) * (_LOW + 1) + low.astype(object))
    words = (high << _BITS) | low
    return words.view(np.uint64) if unsigned else words


def _rounded(
    sums: NDArray[Any], restored: Any, array: NDArray[Any], axes: tuple[int, ...]
) -> NDArray[np.float64]:
    """Round sums of floats; those that overflowed on the way are added again."""
    total, error = sums.T
    is_sum = np.isfinite(total)
    found: NDArray[np.float64] = restored(
        np.where(is_sum, total + np.where(is_sum, error, 0), total)
    )
    for place in np.argwhere(~np.isfinite(found)):
        where = iter(place.tolist())
        index = tuple(slice(None) if n in axes else next(where) for n in range(array.ndim))
        found[tuple(place)] = sum_of_huge(array[index], finite_items)
    return found


def finite_items(piece: NDArray[Any]) -> NDArray[Any]:
    """Return the finite items, read once."""
    copy = piece.copy()
    finite: NDArray[Any] = copy[np.isfinite(copy)]
    finite.flags.writeable = False
    return finite


def _mean(total: NDArray[Any], kept: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divide, as Python divides large integers: with one rounding."""
    if total.dtype.kind == "f" or not total.size or -_EXACT < total.min() <= total.max() < _EXACT:
        return np.asarray(total.astype(np.float64) / kept)
    pairs = zip(total.reshape(-1).tolist(), kept.reshape(-1).tolist(), strict=True)
    return np.array([a / n if n else np.nan for a, n in pairs]).reshape(total.shape)
