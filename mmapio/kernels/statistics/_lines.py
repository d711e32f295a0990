"""Reductions along axes of a small native array, without the price of finding out how it lies.

Such an array is one piece of memory in C order or in F order, and the axes that are reduced are
neighbours: so it is a table for `_line_kernels`. What else there is goes the way of `_columns`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmapio.errors import ArgumentError
from mmapio.kernels.engine.column_tiles import LEAST_COLUMNS
from mmapio.kernels.engine.pieces import plain
from mmapio.kernels.engine.run_lanes import LEAST_RUN
from mmapio.kernels.statistics import _boxes
from mmapio.kernels.statistics._axes import Axis, reduced_axes
from mmapio.kernels.statistics._line_kernels import (
    extreme_table_columns,
    extreme_table_runs,
    sum_float_table_columns,
    sum_float_table_runs,
    sum_int_table_columns,
    sum_int_table_runs,
)

__all__ = ["along", "as_table", "table_extremes", "table_means", "table_sums"]

_C, _F, _ALIGNED = 0x1, 0x2, 0x100  # numpy's flags
_ORDER_AND_ALIGNED = _C | _F | _ALIGNED
_LINE = 64
_KINDS = {
    np.dtype(code): np.dtype("u1" if code == "?" else np.dtype(code).str)
    for code in "?bhilqBHILQfd"
}


class Table(NamedTuple):
    """Three axes that follow each other in memory, of which the one in the middle is reduced."""

    outer: int
    rows: int
    columns: bool  # else the last axis has one item
    results: int
    found: tuple[int, ...] | None  # the shape of the results in memory; None if they are a row
    turned: bool  # the array is in F order
    dtype: np.dtype[Any]  # of the array
    kind: np.dtype[Any]  # of the row that kernels read

    def restored(self, results: NDArray[Any]) -> NDArray[Any]:
        """Return results in the array's own order."""
        if self.found is None:
            return results
        results = results.reshape(self.found)
        return np.ascontiguousarray(results.T) if self.turned else results


# A row of items, and what it is as a table.
Reduce = Callable[[NDArray[Any], Table], Any]


def as_table(array: NDArray[Any], axis: Axis) -> tuple[NDArray[Any], Table] | None:
    """Return an array as a table; None if it is none, or so large that threads may share it."""
    if not 0 < array.nbytes <= _boxes._BOX_BYTES:
        return None
    table = _table_of(array.shape, array.dtype, array.flags.num & _ORDER_AND_ALIGNED, axis)
    return None if table is None else (_row_of(array, table), table)


def _row_of(array: NDArray[Any], table: Table) -> NDArray[Any]:
    """Return the items of a table in the order of memory, read-only as kernels take them."""
    row: NDArray[Any] = array.T.reshape(-1) if table.turned else array.reshape(-1)
    if array.dtype is not table.kind:
        row = row.view(table.kind)
    row.setflags(write=False)
    return row


@functools.lru_cache(maxsize=512)
def _table_of(
    extents: tuple[int, ...], dtype: np.dtype[Any], flags: int, axis: Axis
) -> Table | None:
    """Return an array as a table; None if it is none, or too narrow for vectors."""
    turned, kind = not flags & _C, _KINDS.get(dtype)
    if kind is None or not flags & _ALIGNED or not flags & (_C | _F):
        return None
    try:
        axes = reduced_axes(np.broadcast_to(np.int8(0), extents), axis)
    except ArgumentError:
        return None  # the long way raises it
    if not axes or axes[-1] - axes[0] != len(axes) - 1:
        return None
    kept = extents[: axes[0]], extents[axes[-1] + 1 :]
    before, after = map(math.prod, kept)
    outer, width = (after, before) if turned else (before, after)
    rows = math.prod(extents[first] for first in axes)
    are_wide = width >= LEAST_COLUMNS and width * dtype.itemsize >= _LINE
    are_runs = width == 1 and (rows >= LEAST_RUN or outer >= LEAST_COLUMNS)
    if not (are_wide or are_runs):
        return None
    found = kept[0] + kept[1]
    lies = None if len(found) == 1 else found[::-1] if turned else found
    return Table(outer, rows, width > 1, outer * width, lies, turned, dtype, kind)


def _is_plain(axis: Any) -> bool:
    """Return whether an axis is integers alone: others equal these, or have no hash."""
    if type(axis) is tuple:
        return all(type(each) is int for each in axis)
    return type(axis) is int


def along(reduce: Reduce) -> Callable[..., Any]:
    """Return what reduces a table that a scan is called with, and an axis, and nothing else.

    It returns None of anything else, and where `reduce` does.
    """

    def look(a: Any, axis: Axis = None, *others: Any, **options: Any) -> Any:
        if others or options or not _is_plain(axis):
            return None
        if type(a) is not np.ndarray:
            if not isinstance(a, np.ndarray):
                return None
            a = plain(a)
        # As in `as_table`: a call of it takes as long as a tenth of a small sum.
        if not 0 < a.nbytes <= _boxes._BOX_BYTES:
            return None
        table = _table_of(a.shape, a.dtype, a.flags.num & _ORDER_AND_ALIGNED, axis)
        if table is None:
            return None
        return reduce(_row_of(a, table), table)

    return look


def table_sums(row: NDArray[Any], table: Table, divisor: float = 1.0) -> NDArray[Any] | None:
    """Return sums of lines over a divisor; without one, of integers. None if not all are finite."""
    outer, rows, columns, results, found, _, dtype, _ = table
    if dtype.kind != "f" and divisor == 1.0:
        return _int_sums(row, table)
    sums = np.empty(results)
    add = sum_float_table_columns if columns else sum_float_table_runs
    if not add(row, outer, rows, divisor, sums):
        return None
    return sums if found is None else table.restored(sums)


def _int_sums(row: NDArray[Any], table: Table) -> NDArray[Any]:
    outer, rows, columns, results, _, _, dtype, _ = table
    words = np.empty(results, np.int64)
    row = row.view(np.int64) if dtype.kind == "u" and dtype.itemsize == 8 else row
    (sum_int_table_columns if columns else sum_int_table_runs)(row, outer, rows, words)
    return table.restored(words.view(np.uint64) if dtype.kind == "u" else words)


def table_means(row: NDArray[Any], table: Table) -> NDArray[np.float64] | None:
    """Return means of lines; None if not all are finite."""
    if table.dtype.kind == "f" or table.dtype.itemsize == 8:
        return table_sums(row, table, float(table.rows))
    return np.asarray(_int_sums(row, table) / table.rows)


def table_extremes(row: NDArray[Any], table: Table, greatest: bool) -> NDArray[Any]:
    """Return the least values of lines, or the greatest, in the array's own type."""
    outer, rows, columns, results, shape, _, dtype, kind = table
    found = np.empty(results, kind)
    (extreme_table_columns if columns else extreme_table_runs)(row, outer, rows, greatest, found)
    if dtype is not kind:
        found = found.view(dtype)
    return found if shape is None else table.restored(found)
