"""The kernel of `describe` along axes: all figures of each line of items while it is in the cache.

It goes over a box as `_boxes` cuts it, but for rows that are packed. Lines are copied first, those
of columns by turning tiles: an item is read once, whatever others store meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from mmapio.kernels.engine.jit import by_type, inside, jit, part, piece_type
from mmapio.kernels.statistics._column_kernels import AXES, RANGES, place_of
from mmapio.kernels.statistics._moments import (
    BLOCK,
    FLOATS,
    INTEGERS,
    add_moments,
    float_sum,
    split_int_sum,
    two_sum,
)
from mmapio.kernels.statistics._run_kernels import base_of, run_extremes

__all__ = ["ABOVE", "BELOW", "KEPT", "NANS", "ZEROS", "describe_lines"]

KEPT, ZEROS, NANS, ABOVE, BELOW = range(5)  # places in a tally
_TILE_COLUMNS = 64
_TILE_ITEMS = 1 << 15
_TOGETHER = 8  # rows that are turned at once
_NAT = np.iinfo(np.int64).min

# Tally, extremes, sums, first items, and what `add_moments` has, each with a row for a line.
Figures = tuple[NDArray[np.int64], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.float64]]


@by_type
def _has_others(lo: Any, hi: Any, dates: Any) -> Any:
    """Return whether items with these extremes include some that are left out; for kernels only."""


@inside(_has_others)
def _has_others_of(lo: Any, hi: Any, dates: Any) -> Callable[..., Any]:
    if isinstance(lo, types.Float):
        return lambda lo, hi, dates: not (lo - lo == 0 and hi - hi == 0)
    return lambda lo, hi, dates: dates and np.int64(lo) == _NAT


@by_type
def _keep_present(x: Any, tally: Any) -> Any:
    """Move what is not left out to the front, tally the others, and return how many are kept."""


@inside(_keep_present)
def _keep_present_of(x: Any, tally: Any) -> Callable[..., Any]:
    def of_floats(x: Any, tally: Any) -> Any:
        kept = 0
        for i in range(x.size):
            value = x[i]
            x[kept] = value
            kept += np.isfinite(value)
            tally[NANS] += value != value
            tally[ABOVE] += value == np.inf
            tally[BELOW] += value == -np.inf
        return kept

    def of_dates(x: Any, tally: Any) -> Any:
        kept = 0
        for i in range(x.size):
            value = x[i]
            x[kept] = value
            kept += np.int64(value) != _NAT
        tally[NANS] += x.size - kept
        return kept

    return of_floats if isinstance(x.dtype, types.Float) else of_dates


@by_type
def _add_to_sum(x: Any, sums: Any) -> Any:
    """Add items to a sum in two parts, for kernels only."""


@inside(_add_to_sum)
def _add_to_sum_of(x: Any, sums: Any) -> Callable[..., Any]:
    def of_floats(x: Any, sums: Any) -> Any:
        total, error = float_sum(x)
        sums[0], slip = two_sum(sums[0], total)
        sums[1] += error + slip

    def of_ints(x: Any, sums: Any) -> Any:
        high, low = split_int_sum(x)
        sums[0] += high
        sums[1] += low

    return of_floats if isinstance(x.dtype, types.Float) else of_ints


@part()
def _add_line(x: NDArray[Any], dates: bool, line: int, figures: Figures) -> None:
    """Add a copy of items of a line to its figures; the copy is changed."""
    tallies, ranges, totals, firsts, varying = figures
    tally, extremes = tallies[line], ranges[line]
    lo, hi = run_extremes(x)
    kept = x.size
    if _has_others(lo, hi, dates):
        kept = _keep_present(x, tally)
        if kept == 0:
            return
        lo, hi = run_extremes(x[:kept])
    values = x[:kept]
    if tally[KEPT] == 0:
        extremes[0], extremes[1], firsts[line, 0] = lo, hi, values[0]
    extremes[0] = lo if lo < extremes[0] else extremes[0]
    extremes[1] = hi if hi > extremes[1] else extremes[1]
    tally[KEPT] += kept
    zeros = 0
    for i in range(kept):
        zeros += values[i] == 0
    tally[ZEROS] += zeros
    _add_to_sum(values, totals[line])
    add_moments(values, base_of(firsts[line, 0])[0], varying[line])


@part()
def _turn(
    x: NDArray[Any], start: int, reduced: NDArray[np.int64], number: int, tile: NDArray[Any]
) -> None:
    """Copy rows from that `number` on into the columns of a tile."""
    columns, rows = tile.shape
    places = np.empty(_TOGETHER, np.int64)
    for top in range(0, rows, _TOGETHER):
        together = min(_TOGETHER, rows - top)
        for i in range(together):
            places[i] = start + place_of(number + top + i, reduced)
        if together == _TOGETHER:
            for j in range(columns):
                for i in range(_TOGETHER):
                    tile[j, top + i] = x[places[i] + j]
        else:
            for i in range(together):
                for j in range(columns):
                    tile[j, top + i] = x[places[i] + j]


def _signatures() -> list[tuple[Any, ...]]:
    return [
        (
            piece_type(item),
            AXES,
            AXES,
            RANGES,
            numba.types.UniTuple(numba.boolean, 2),
            numba.int64[:, ::1],
            numba.from_dtype(np.dtype(item))[:, ::1],
            numba.from_dtype(np.dtype("f8" if item in FLOATS else "i8"))[:, ::1],
            numba.float64[:, ::1],
        )
        for item in INTEGERS + FLOATS
    ]


@jit(_signatures)
def describe_lines(
    x: NDArray[Any],
    kept: NDArray[np.int64],
    reduced: NDArray[np.int64],
    ranges: NDArray[np.int64],
    kind: tuple[bool, bool],
    tally: NDArray[np.int64],
    extremes: NDArray[Any],
    sums: NDArray[Any],
    moments: NDArray[np.float64],
) -> None:
    """Store the figures of lines, which are columns if the first of `kind` is set, or else runs.

    Ticks of dates that are NaT are left out, if the second of `kind` is set. Results are the tally;
    least and greatest item; the sum in two parts: with its error, or in units of 2**32 and what is
    left; and the mean, what it lacks, and squared deviations.
    """
    columns, dates = kind
    tally[:] = 0
    extremes[:] = 0
    sums[:] = 0
    firsts = np.zeros((tally.shape[0], 1), x.dtype)
    varying = np.zeros((tally.shape[0], 3))
    figures = (tally, extremes, sums, firsts, varying)
    at = 0
    for row in range(ranges[0], ranges[1]):
        start = place_of(row, kept)
        if columns:
            at = _add_columns(x, start, reduced, ranges, dates, at, figures)
        else:
            _add_runs(x, start, reduced, ranges, dates, at, figures)
            at += 1
    for line in range(tally.shape[0]):
        _, high, low = base_of(firsts[line, 0])
        moments[line, 0] = high
        moments[line, 1] = low + varying[line, 1]
        moments[line, 2] = varying[line, 2]


@part()
def _add_columns(
    x: NDArray[Any],
    start: int,
    reduced: NDArray[np.int64],
    ranges: NDArray[np.int64],
    dates: bool,
    at: int,
    figures: Figures,
) -> int:
    """Add rows to the figures from `at` on, and return where those behind them are."""
    top, bottom, left, right = ranges[2:6]
    across = min(_TILE_COLUMNS, right - left)
    rows = max(1, min(BLOCK, _TILE_ITEMS // across, bottom - top))
    room = np.empty((across, rows + _TOGETHER), x.dtype)  # lines share no places of the cache
    for column in range(left, right, across):
        width = min(across, right - column)
        for number in range(top, bottom, rows):
            tile = room[:width, : min(rows, bottom - number)]
            _turn(x, start + column, reduced, number, tile)
            for j in range(width):
                _add_line(tile[j], dates, at + j, figures)
        at += width
    return at


@part()
def _add_runs(
    x: NDArray[Any],
    start: int,
    reduced: NDArray[np.int64],
    ranges: NDArray[np.int64],
    dates: bool,
    line: int,
    figures: Figures,
) -> None:
    """Add runs to the figures of one line."""
    top, bottom, left, right = ranges[2:6]
    for number in range(top, bottom):
        begin = start + place_of(number, reduced)
        for at in range(begin + left, begin + right, BLOCK):
            block = np.copy(x[at : min(at + BLOCK, begin + right)])
            _add_line(block, dates, line, figures)
