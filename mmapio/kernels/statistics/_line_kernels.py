"""Kernels that reduce lines of a small array: its columns, or its runs.

They take an array of three axes that follow each other in memory: kept, reduced, and kept again.
The last one has the columns; if it has one item only, the reduced items are a run.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine.column_tiles import (
    add_float_columns,
    add_float_lines,
    add_int_columns,
    add_int_lines,
    keep_greatest_columns,
    keep_greatest_lines,
    keep_least_columns,
    keep_least_lines,
)
from mmapio.kernels.engine.jit import jit, part, piece_type
from mmapio.kernels.engine.lanes import LANES
from mmapio.kernels.engine.run_lanes import (
    LEAST_RUN,
    RUNS,
    add_float_run,
    add_int_run,
    greatest_of_run,
    join_runs,
    least_of_run,
)
from mmapio.kernels.statistics._column_kernels import row_type
from mmapio.kernels.statistics._extremes import extreme_of
from mmapio.kernels.statistics._moments import FLOATS, INTEGERS

__all__ = [
    "extreme_table_columns",
    "extreme_table_runs",
    "sum_float_table_columns",
    "sum_float_table_runs",
    "sum_int_table_columns",
    "sum_int_table_runs",
]

_LONG_BYTES = 8192  # of runs whose lines are worth being looked at several at once
_ADDED = ("i1", "i2", "i4", "i8", "u1", "u2", "u4")  # as uint64 wraps, so does int64


def _float_signatures() -> list[tuple[Any, ...]]:
    word = numba.int64
    return [
        (piece_type(item), word, word, numba.float64, row_type("f8"))
        for item in (*FLOATS, "i8", "u8")
    ]


@jit(_float_signatures)
def sum_float_table_columns(
    x: NDArray[Any], outer: int, rows: int, divisor: float, out: NDArray[np.float64]
) -> bool:
    """Store sums of columns over a divisor, and return whether all of them are finite."""
    width = out.size // outer
    for number in range(outer):
        sums = out[number * width : (number + 1) * width]
        add_float_columns(x, number * rows * width, rows, sums)
    return _divided(out, divisor)


@jit(_float_signatures)
def sum_float_table_runs(
    x: NDArray[Any], outer: int, rows: int, divisor: float, out: NDArray[np.float64]
) -> bool:
    """Do for runs of so many `rows` what `sum_float_table_columns` does for columns."""
    if rows < LEAST_RUN:
        add_float_lines(x, 0, rows, out)
        return _divided(out, divisor)
    totals, errors = np.zeros(RUNS * LANES), np.zeros(RUNS * LANES)
    found = np.empty(RUNS)
    for first in range(0, outer, RUNS):
        together = min(RUNS, outer - first)
        for number in range(together):
            add_float_run(x, (first + number) * rows, rows, totals, errors, number)
        join_runs(totals, errors, found)
        for number in range(together):
            out[first + number] = found[number]
    return _divided(out, divisor)


@part()
def _divided(out: NDArray[np.float64], divisor: float) -> bool:
    """Divide sums, and return whether all of them are finite."""
    lost = 0
    for i in range(out.size):
        lost += out[i] - out[i] != 0.0
    if divisor != 1.0:
        for i in range(out.size):
            out[i] /= divisor
    return lost == 0


def _int_signatures() -> list[tuple[Any, ...]]:
    return [(piece_type(item), numba.int64, numba.int64, row_type("i8")) for item in _ADDED]


@jit(_int_signatures)
def sum_int_table_columns(x: NDArray[Any], outer: int, rows: int, out: NDArray[np.int64]) -> None:
    """Store sums of columns modulo 2**64."""
    width = out.size // outer
    for number in range(outer):
        sums = out[number * width : (number + 1) * width]
        add_int_columns(x, number * rows * width, rows, sums)


@jit(_int_signatures)
def sum_int_table_runs(x: NDArray[Any], outer: int, rows: int, out: NDArray[np.int64]) -> None:
    """Do for runs what `sum_int_table_columns` does for columns."""
    if rows < LEAST_RUN:
        add_int_lines(x, 0, rows, out)
        return
    for number in range(outer):
        out[number] = add_int_run(x, number * rows, rows)


def _extreme_signatures() -> list[tuple[Any, ...]]:
    return [
        (piece_type(item), numba.int64, numba.int64, numba.boolean, row_type(item))
        for item in INTEGERS + FLOATS
    ]


@jit(_extreme_signatures)
def extreme_table_columns(
    x: NDArray[Any], outer: int, rows: int, greatest: bool, out: NDArray[Any]
) -> None:
    """Store the least or the greatest values of columns; a NaN outdoes all."""
    width = out.size // outer
    for number in range(outer):
        found = out[number * width : (number + 1) * width]
        if greatest:
            keep_greatest_columns(x, number * rows * width, rows, found)
        else:
            keep_least_columns(x, number * rows * width, rows, found)


@jit(_extreme_signatures)
def extreme_table_runs(
    x: NDArray[Any], outer: int, rows: int, greatest: bool, out: NDArray[Any]
) -> None:
    """Do for runs what `extreme_table_columns` does for columns."""
    if rows < LEAST_RUN:
        if greatest:
            keep_greatest_lines(x, 0, rows, out)
        else:
            keep_least_lines(x, 0, rows, out)
        return
    for number in range(outer):
        if rows * x.itemsize >= _LONG_BYTES:
            out[number] = extreme_of(x[number * rows : (number + 1) * rows], greatest)
        elif greatest:
            out[number] = greatest_of_run(x, number * rows, rows)
        else:
            out[number] = least_of_run(x, number * rows, rows)
