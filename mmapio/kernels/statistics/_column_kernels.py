"""Kernels that reduce rows to one, column by column.

All of them take a box of an array: which kept rows, which reduced rows, which columns. `kept` and
`reduced` are extents and steps of the axes before the columns, the last fastest.
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
)
from mmapio.kernels.engine.jit import jit, part, piece_type
from mmapio.kernels.statistics._moments import FLOATS, two_sum

_STRIP = 8192


@part()
def place_of(number: int, axes: NDArray[np.int64]) -> int:
    """Return where a row starts, of so many that are counted along several axes."""
    place = 0
    for axis in range(axes.shape[1] - 1, 0, -1):
        rest = number // axes[0, axis]
        place += (number - rest * axes[0, axis]) * axes[1, axis]
        number = rest
    return place + number * axes[1, 0]


def _row(dtype: str) -> Any:
    return numba.from_dtype(np.dtype(dtype))[::1]

_AXES = numba.int64[:, ::1]


@jit(lambda: [(piece_type(item), _AXES, _AXES, _row("i8"), _row("f8"), _row("f8")) for item in FLOATS])
def sum_float_columns(
    x: NDArray[Any],
    kept: NDArray[np.int64],
    reduced: NDArray[np.int64],
    box: NDArray[np.int64],
    total: NDArray[np.float64],
    error: NDArray[np.float64],
) -> None:
    first, last, top, bottom, left, right, fold, tail = box
    places = np.empty(ROWS_AT_ONCE, np.int64)
    width = right - left
    strip = min(width, _STRIP)
    scratch = np.empty((2, strip if fold < width else 0))
    ahead = reduced[1, -1] * ROWS_AT_ONCE
    for row in range(first, last):
        base = place_of(row, kept)
        for start in range(left, right, strip):
            lanes = min(strip, right - start)
            if fold < width:
                sums, slips = scratch[0], scratch[1]
            else:
                at = (row - first) * fold + start - left
                sums, slips = total[at : at + lanes], error[at : at + lanes]
            sums[:] = 0.0
            slips[:] = 0.0
            whole = top + (bottom - top) // ROWS_AT_ONCE * ROWS_AT_ONCE
            for number in range(top, whole, ROWS_AT_ONCE):
                for i in range(ROWS_AT_ONCE):
                    places[i] = base + start + place_of(number + i, reduced)
                add_float_rows(x, places, ahead, sums, slips)
            for number in range(whole, bottom):
                places[0] = base + start + place_of(number, reduced)
                add_float_row(x, places, ahead, sums, slips)
            if tail:
                places[0] = base + start + place_of(bottom, reduced)
                add_float_row(x, places, ahead, sums[:tail], slips[:tail])
            if fold < width:
                at = (row - first) * fold
                for j in range(fold, lanes):
                    sums[j % fold], slip = two_sum(sums[j % fold], sums[j])
                    slips[j % fold] += slips[j] + slip
                total[at : at + fold] = sums[:fold]
                error[at : at + fold] = slips[:fold]
