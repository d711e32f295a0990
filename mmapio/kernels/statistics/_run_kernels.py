"""Kernels that reduce runs: items that lie in one piece, each run for itself.

All of them go over a box of a row of items, as `_boxes` cuts it: see `_column_kernels`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from mmapio.kernels.engine.jit import by_type, inside, jit, part, piece_type
from mmapio.kernels.statistics._column_kernels import (
    AXES,
    BOTH,
    GREATEST,
    RANGES,
    place_of,
    row_type,
)
from mmapio.kernels.statistics._extremes import extreme_of, minmax_of
from mmapio.kernels.statistics._moments import (
    FLOATS,
    INTEGERS,
    add_moments,
    float_sum,
    nearby,
    split_int_sum,
    two_sum,
)

__all__ = [
    "base_of",
    "extreme_runs",
    "run_extremes",
    "sum_float_runs",
    "sum_int_runs",
    "vary_runs",
]

_FEW = 8  # items that are faster one by one, and lose no more than in numpy
_SHORT = 32
_WORD = 2.0**32
_LOW_BITS = 11  # beyond the 53 of a float


@by_type
def _run_sum(x: Any) -> Any:
    """Return the sum of a run in two floats, for kernels only."""


@inside(_run_sum)
def _run_sum_of(x: Any) -> Callable[..., Any]:
    if isinstance(x.dtype, types.Integer):

        def of_ints(x: Any) -> Any:
            high, low = split_int_sum(x)
            return np.float64(high) * _WORD, np.float64(low)

        return of_ints

    def of_floats(x: Any) -> Any:
        if x.size >= _FEW:
            return float_sum(x)
        total = 0.0
        for i in range(x.size):
            total += np.float64(x[i])
        return total, 0.0

    return of_floats


@jit(
    lambda: [
        (piece_type(item), AXES, AXES, RANGES, row_type("f8"), row_type("f8"))
        for item in (*FLOATS, "i8", "u8")
    ]
)
def sum_float_runs(
    x: NDArray[Any],
    kept: NDArray[np.int64],
    reduced: NDArray[np.int64],
    ranges: NDArray[np.int64],
    total: NDArray[np.float64],
    error: NDArray[np.float64],
) -> None:
    """Store the sums of runs in float64, and their rounding errors."""
    first, last, top, bottom, left, right = ranges[:6]
    for row in range(first, last):
        start = place_of(row, kept)
        whole, slips = 0.0, 0.0
        for number in range(top, bottom):
            at = start + place_of(number, reduced)
            term, slip = _run_sum(x[at + left : at + right])
            slips += slip
            whole, slip = two_sum(whole, term)
            slips += slip
        total[row - first] = whole
        error[row - first] = slips


@jit(lambda: [(piece_type(item), AXES, AXES, RANGES, row_type("i8")) for item in INTEGERS])
def sum_int_runs(
    x: NDArray[Any],
    kept: NDArray[np.int64],
    reduced: NDArray[np.int64],
    ranges: NDArray[np.int64],
    total: NDArray[np.int64],
) -> None:
    """Store the sums of runs modulo 2**64."""
    first, last, top, bottom, left, right = ranges[:6]
    for row in range(first, last):
        start = place_of(row, kept)
        whole = np.int64(0)
        for number in range(top, bottom):
            at = start + place_of(number, reduced)
            high, low = split_int_sum(x[at + left : at + right])
            whole += (np.int64(high) << np.int64(32)) + np.int64(low)
        total[row - first] = whole


@part()
def _wanted_extremes(x: NDArray[Any], which: int) -> tuple[Any, Any]:
    """Return both extremes of a run; if only one is wanted, that one twice."""
    if x.size < _SHORT or which == BOTH:
        return run_extremes(x)
    found = extreme_of(x, which == GREATEST)
    return found, found


@part()
def run_extremes(x: NDArray[Any]) -> tuple[Any, Any]:
    """Return the least and the greatest item of a run; or NaN, if it has any."""
    if x.size >= _SHORT:
        return minmax_of(x)
    lo = hi = x[0]
    for i in range(1, x.size):
        value = x[i]
        lo = lo if (lo <= value) | (lo != lo) else value
        hi = hi if (hi >= value) | (hi != hi) else value
    return lo, hi


@jit(
    lambda: [
        (piece_type(item), AXES, AXES, RANGES, numba.int64, row_type(item), row_type(item))
        for item in INTEGERS + FLOATS
    ]
)
def extreme_runs(
    x: NDArray[Any],
    kept: NDArray[np.int64],
    reduced: NDArray[np.int64],
    ranges: NDArray[np.int64],
    which: int,
    least: NDArray[Any],
    greatest: NDArray[Any],
) -> None:
    """Store the least and the greatest values of runs, whichever are asked for."""
    first, last, top, bottom, left, right = ranges[:6]
    for row in range(first, last):
        start = place_of(row, kept)
        at = start + place_of(top, reduced)
        lo, hi = _wanted_extremes(x[at + left : at + right], which)
        for number in range(top + 1, bottom):
            at = start + place_of(number, reduced)
            low, high = _wanted_extremes(x[at + left : at + right], which)
            lo = lo if (lo <= low) | (lo != lo) else low
            hi = hi if (hi >= high) | (hi != hi) else high
        least[row - first] = lo
        greatest[row - first] = hi


@by_type
def base_of(value: Any) -> Any:
    """Return what differences are taken from, and the same as a sum of two floats."""


@inside(base_of)
def _base_of_type(value: Any) -> Callable[..., Any]:
    if isinstance(value, types.Float):

        def of_float(value: Any) -> Any:
            base = nearby(np.float64(value))
            return base, base, 0.0

        return of_float
    if value.bitwidth < 64:
        return lambda value: (value, np.float64(value), 0.0)
    word = np.int64 if value.signed else np.uint64
    bits = word(_LOW_BITS)

    def of_int(value: Any) -> Any:
        high = word(word(value >> bits) << bits)
        return value, np.float64(high), np.float64(word(value - high))

    return of_int


@jit(
    lambda: [
        (piece_type(item), AXES, AXES, RANGES, row_type("f8"), row_type("f8"), row_type("f8"))
        for item in INTEGERS + FLOATS
    ]
)
def vary_runs(
    x: NDArray[Any],
    kept: NDArray[np.int64],
    reduced: NDArray[np.int64],
    ranges: NDArray[np.int64],
    mean: NDArray[np.float64],
    rest: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> None:
    """Store the means of runs, each a sum of two, and the squared deviations from them."""
    first, last, top, bottom, left, right = ranges[:6]
    found = np.empty(3)
    for row in range(first, last):
        start = place_of(row, kept)
        base, high, low = base_of(x[start + place_of(top, reduced) + left])
        found[:] = 0.0
        for number in range(top, bottom):
            at = start + place_of(number, reduced)
            add_moments(x[at + left : at + right], base, found)
        mean[row - first] = high
        rest[row - first] = low + found[1]
        squares[row - first] = found[2]
