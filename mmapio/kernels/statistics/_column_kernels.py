"""Kernels that reduce rows to one, column by column.

All of them go over a box of a row of items, as `_boxes` cuts it. `kept` and `reduced` are extents
and steps of the axes before the columns, the last fastest.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine.column_vectors import (
    ROWS_AT_ONCE,
    add_float_row,
    add_float_rows,
    add_int_row,
    add_int_rows,
    add_square_row,
    add_square_rows,
    keep_greatest_row,
    keep_greatest_rows,
    keep_least_row,
    keep_least_rows,
)
from mmapio.kernels.engine.jit import jit, part, piece_type
from mmapio.kernels.statistics._moments import FLOATS, INTEGERS, two_sum

__all__ = [
    "AXES",
    "BOTH",
    "GREATEST",
    "LEAST",
    "RANGES",
    "extreme_columns",
    "place_of",
    "row_type",
    "sum_float_columns",
    "sum_int_columns",
    "vary_columns",
]

_STRIP = 8192  # columns whose sums stay in the cache
_SHORT_RUN = 1 << 15  # rows of 16 bits whose sums fit into 32
_BLOCK_BYTES = 1 << 18  # of rows that are read twice
_VARIED = 1024

LEAST, GREATEST, BOTH = 0, 1, 2
AXES = numba.int64[:, ::1]
RANGES = numba.int64[::1]


def row_type(dtype: str) -> Any:
    return numba.from_dtype(np.dtype(dtype))[::1]


@part()
def place_of(number: int, axes: NDArray[np.int64]) -> int:
    """Return where a row starts, of so many that are counted along several axes."""
    place: int = 0
    for axis in range(axes.shape[1] - 1, 0, -1):
        rest = number // axes[0, axis]
        place += (number - rest * axes[0, axis]) * axes[1, axis]
        number = rest
    return place + number * int(axes[1, 0])


@part()
def _find_rows(
    places: NDArray[np.int64], start: int, number: int, reduced: NDArray[np.int64]
) -> None:
    """Write where the next rows start."""
    for i in range(places.size):
        places[i] = start + place_of(number + i, reduced)


# Sums -------------------------------------------------------------------------------------------


@part()
def _sum_floats(
    x: NDArray[Any],
    start: int,
    reduced: NDArray[np.int64],
    rows: tuple[int, int, int, int],
    places: NDArray[np.int64],
    total: NDArray[np.float64],
    error: NDArray[np.float64],
) -> None:
    """Add rows from the first of `rows` to the second, and as many items as the third says."""
    number, bottom, tail, ahead = rows
    while number + ROWS_AT_ONCE <= bottom:
        _find_rows(places, start, number, reduced)
        add_float_rows(x, places, ahead, total, error)
        number += ROWS_AT_ONCE
    while number < bottom + (tail > 0):
        lanes = total.size if number < bottom else tail
        places[0] = start + place_of(number, reduced)
        add_float_row(x, places, 0, total[:lanes], error[:lanes])
        number += 1


def _float_signatures() -> list[tuple[Any, ...]]:
    return [
        (piece_type(item), AXES, AXES, RANGES, row_type("f8"), row_type("f8"))
        for item in (*FLOATS, "i8", "u8")
    ]


@jit(_float_signatures)
def sum_float_columns(
    x: NDArray[Any],
    kept: NDArray[np.int64],
    reduced: NDArray[np.int64],
    ranges: NDArray[np.int64],
    total: NDArray[np.float64],
    error: NDArray[np.float64],
) -> None:
    """Store the sums of columns in float64, and their rounding errors."""
    first, last, top, bottom, left, right, fold, tail, ahead = ranges
    places = np.empty(ROWS_AT_ONCE, np.int64)
    folded = right - left > fold
    strip = right - left if folded else min(right - left, _STRIP)
    scratch = np.empty((2, strip if folded else 0))
    at = 0
    for row in range(first, last):
        start = place_of(row, kept)
        for column in range(left, right, strip):
            lanes = min(strip, right - column)
            found = min(lanes, fold)
            sums, slips = total[at : at + found], error[at : at + found]
            if folded:
                sums, slips = scratch[0], scratch[1]
            sums[:] = 0.0
            slips[:] = 0.0
            _sum_floats(x, start + column, reduced, (top, bottom, tail, ahead), places, sums, slips)
            if folded:
                _fold_floats(sums, slips, total[at : at + fold], error[at : at + fold])
            at += found


@part()
def _fold_floats(
    sums: NDArray[np.float64],
    slips: NDArray[np.float64],
    total: NDArray[np.float64],
    error: NDArray[np.float64],
) -> None:
    """Add the sums of rows that were taken as one."""
    total[:] = sums[: total.size]
    error[:] = slips[: total.size]
    for start in range(total.size, sums.size, total.size):
        for j in range(total.size):
            total[j], slip = two_sum(total[j], sums[start + j])
            error[j] += slips[start + j] + slip


def _int_signatures() -> list[tuple[Any, ...]]:
    runs = {"i1": "i4", "i2": "i4", "u1": "i4", "u2": "i4", "i4": "i8", "u4": "i8", "i8": "i8"}
    return [
        (piece_type(item), AXES, AXES, RANGES, row_type(run), row_type("i8"))
        for item, run in runs.items()
    ]


@jit(_int_signatures)
def sum_int_columns(
    x: NDArray[Any],
    kept: NDArray[np.int64],
    reduced: NDArray[np.int64],
    ranges: NDArray[np.int64],
    short: NDArray[Any],
    total: NDArray[np.int64],
) -> None:
    """Store the sums of columns modulo 2**64; `short` is of the type that runs are added in."""
    first, last, top, bottom, left, right, fold, tail, ahead = ranges
    places = np.empty(ROWS_AT_ONCE, np.int64)
    strip = right - left if right - left > fold else min(right - left, _STRIP)
    scratch = np.empty(strip, short.dtype)
    at = 0
    for row in range(first, last):
        start = place_of(row, kept)
        for column in range(left, right, strip):
            sums = scratch[: min(strip, right - column)]
            found = total[at : at + min(sums.size, fold)]
            found[:] = 0
            for begin in range(top, bottom, _SHORT_RUN):
                end = min(begin + _SHORT_RUN, bottom)
                more = tail if end == bottom else 0
                sums[:] = 0
                _sum_ints(x, start + column, reduced, (begin, end, more, ahead), places, sums)
                for base in range(0, sums.size, found.size):
                    for j in range(found.size if base + found.size <= sums.size else 0):
                        found[j] += np.int64(sums[base + j])
            at += found.size


@part()
def _sum_ints(
    x: NDArray[Any],
    start: int,
    reduced: NDArray[np.int64],
    rows: tuple[int, int, int, int],
    places: NDArray[np.int64],
    total: NDArray[Any],
) -> None:
    """Do for integers what `_sum_floats` does."""
    number, bottom, tail, ahead = rows
    while number + ROWS_AT_ONCE <= bottom:
        _find_rows(places, start, number, reduced)
        add_int_rows(x, places, ahead, total)
        number += ROWS_AT_ONCE
    while number < bottom + (tail > 0):
        lanes = total.size if number < bottom else tail
        places[0] = start + place_of(number, reduced)
        add_int_row(x, places, 0, total[:lanes])
        number += 1


# Extremes ---------------------------------------------------------------------------------------


def _extreme_signatures() -> list[tuple[Any, ...]]:
    return [
        (piece_type(item), AXES, AXES, RANGES, numba.int64, row_type(item), row_type(item))
        for item in INTEGERS + FLOATS
    ]


@jit(_extreme_signatures)
def extreme_columns(
    x: NDArray[Any],
    kept: NDArray[np.int64],
    reduced: NDArray[np.int64],
    ranges: NDArray[np.int64],
    which: int,
    least: NDArray[Any],
    greatest: NDArray[Any],
) -> None:
    """Store the least values of columns, or the greatest, or both; a NaN outdoes all."""
    first, last, top, bottom, left, right, fold, tail, ahead = ranges
    places = np.empty(ROWS_AT_ONCE, np.int64)
    folded = right - left > fold
    strip = right - left if folded else min(right - left, _STRIP)
    scratch = np.empty((2, strip), x.dtype)
    rows = (top, bottom, tail, ahead)
    at = 0
    for row in range(first, last):
        start = place_of(row, kept)
        for column in range(left, right, strip):
            lanes = min(strip, right - column)
            lows, highs = scratch[0][:lanes], scratch[1][:lanes]
            begin = start + column + place_of(top, reduced)
            lows[:] = x[begin : begin + lanes]
            highs[:] = x[begin : begin + lanes]
            _widen(x, start + column, reduced, rows, which, places, lows, highs)
            found = min(lanes, fold)
            if which != GREATEST:
                _fold_least(lows, least[at : at + found])
            if which != LEAST:
                _fold_greatest(highs, greatest[at : at + found])
            at += found


@part()
def _widen(
    x: NDArray[Any],
    start: int,
    reduced: NDArray[np.int64],
    rows: tuple[int, int, int, int],
    which: int,
    places: NDArray[np.int64],
    least: NDArray[Any],
    greatest: NDArray[Any],
) -> None:
    """Extend ranges by the rows that `_sum_floats` would add."""
    number, bottom, tail, ahead = rows
    while number + ROWS_AT_ONCE <= bottom:
        _find_rows(places, start, number, reduced)
        if which != GREATEST:
            keep_least_rows(x, places, ahead, least)
        if which != LEAST:
            keep_greatest_rows(x, places, ahead if which == GREATEST else 0, greatest)
        number += ROWS_AT_ONCE
    while number < bottom + (tail > 0):
        lanes = least.size if number < bottom else tail
        places[0] = start + place_of(number, reduced)
        if which != GREATEST:
            keep_least_row(x, places, 0, least[:lanes])
        if which != LEAST:
            keep_greatest_row(x, places, 0, greatest[:lanes])
        number += 1


@part()
def _fold_least(lows: NDArray[Any], least: NDArray[Any]) -> None:
    least[:] = lows[: least.size]
    for start in range(least.size, lows.size, least.size):
        for j in range(least.size):
            value, best = lows[start + j], least[j]
            least[j] = best if (best <= value) | (best != best) else value


@part()
def _fold_greatest(highs: NDArray[Any], greatest: NDArray[Any]) -> None:
    greatest[:] = highs[: greatest.size]
    for start in range(greatest.size, highs.size, greatest.size):
        for j in range(greatest.size):
            value, best = highs[start + j], greatest[j]
            greatest[j] = best if (best >= value) | (best != best) else value


# Variances --------------------------------------------------------------------------------------


def _varying_signatures() -> list[tuple[Any, ...]]:
    return [
        (piece_type(item), AXES, AXES, RANGES, row_type("f8"), row_type("f8"), row_type("f8"))
        for item in INTEGERS + FLOATS
    ]


@jit(_varying_signatures)
def vary_columns(
    x: NDArray[Any],
    kept: NDArray[np.int64],
    reduced: NDArray[np.int64],
    ranges: NDArray[np.int64],
    mean: NDArray[np.float64],
    rest: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> None:
    """Store the means of columns, each a sum of two, and the squared deviations from them.

    Rows that fit into the cache are read twice, around their own mean, and merged as in Chan,
    Golub and LeVeque, 1979.
    """
    first, last, top, bottom, left, right, fold, tail, ahead = ranges
    places = np.empty(ROWS_AT_ONCE, np.int64)
    strip = right - left if right - left > fold else min(right - left, _VARIED)
    work = np.empty((8, strip))
    block = max(ROWS_AT_ONCE, _BLOCK_BYTES // (strip * x.itemsize) // ROWS_AT_ONCE * ROWS_AT_ONCE)
    at = 0
    for row in range(first, last):
        start = place_of(row, kept)
        for column in range(left, right, strip):
            lanes = min(strip, right - column)
            found = min(lanes, fold)
            means = mean[at : at + found], rest[at : at + found], squares[at : at + found]
            before = 0.0
            for begin in range(top, bottom, block):
                end = min(begin + block, bottom)
                more = tail if end == bottom else 0
                rows = (begin, end, more, ahead)
                count = float((end - begin) * lanes + more) / found
                _vary(x, start + column, reduced, rows, places, work, lanes, found)
                _merge(before, count, work, means)
                before += count
            at += found


@part()
def _vary(
    x: NDArray[Any],
    start: int,
    reduced: NDArray[np.int64],
    rows: tuple[int, int, int, int],
    places: NDArray[np.int64],
    work: NDArray[np.float64],
    lanes: int,
    found: int,
) -> None:
    """Leave mean, what it lacks, and squared deviations of rows in the first three of `work`."""
    number, bottom, tail, _ = rows
    total, error, centre = work[3][:lanes], work[4][:lanes], work[5][:lanes]
    slips, squares = work[6][:lanes], work[7][:lanes]
    total[:] = 0.0
    error[:] = 0.0
    slips[:] = 0.0
    squares[:] = 0.0
    _sum_floats(x, start, reduced, rows, places, total, error)
    _fold_floats(total, error, work[0][:found], work[1][:found])
    count = float((bottom - number) * lanes + tail) / found
    for j in range(found):
        whole, slip = work[0, j], work[1, j]
        work[0, j] = (whole + slip if np.isfinite(whole) else whole) / count
    for j in range(lanes):
        centre[j] = work[0, j % found]
    while number + ROWS_AT_ONCE <= bottom:
        _find_rows(places, start, number, reduced)
        add_square_rows(x, places, 0, centre, slips, squares)
        number += ROWS_AT_ONCE
    while number < bottom + (tail > 0):
        width = lanes if number < bottom else tail
        places[0] = start + place_of(number, reduced)
        add_square_row(x, places, 0, centre[:width], slips[:width], squares[:width])
        number += 1
    work[1][:found] = slips[:found]
    work[2][:found] = squares[:found]
    for j in range(found, lanes):
        work[1, j % found] += slips[j]
        work[2, j % found] += squares[j]
    for j in range(found):
        # The sum of deviations from a mean is what rounding took from it (times their number).
        lacks = work[1, j] / count if np.isfinite(work[2, j]) else 0.0
        surplus = work[2, j] - count * lacks * lacks
        work[1, j] = lacks
        work[2, j] = 0.0 if surplus < 0 else surplus


@part()
def _merge(
    before: float,
    count: float,
    work: NDArray[np.float64],
    means: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
) -> None:
    """Add a block to means and squared deviations."""
    mean, rest, squares = means
    for j in range(mean.size):
        if before == 0.0:
            mean[j], rest[j], squares[j] = work[0, j], work[1, j], work[2, j]
        else:
            step = (work[0, j] - mean[j]) + (work[1, j] - rest[j])
            rest[j] += step * (count / (before + count))
            squares[j] += work[2, j] + step * step * (before * count / (before + count))
