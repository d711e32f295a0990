"""Reductions along the first axis: rows are read as they lie, and columns side by side.

Several rows of a narrow array are taken as one, so that it fills vectors as a wide one does.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mmapio import _forking
from mmapio.errors import ArgumentError
from mmapio.kernels.engine.jit import jit, piece_type
from mmapio.kernels.engine.pieces import Pieces, pieces_of, visit_pieces
from mmapio.kernels.engine.scan import Scan
from mmapio.kernels.statistics._moments import FLOATS, INTEGERS, leading, two_sum

__all__ = ["by_columns", "column_extremes", "column_means", "column_sums", "column_variances"]

_LANES = 512
_SPLITTER = 2.0**27 + 1  # both halves of a float have exact products with numbers of rows
_RUN = 64  # rows whose sum of 16-bit items fits into 32 bits
_WIDE = 1 << 16  # columns of which a few rows stay in the cache
_ROWS = 8  # of wide arrays: fewer in a piece would cost more to combine than to add


def by_columns(array: NDArray[Any], axis: int | None) -> bool:
    """Check `axis`; along the only axis there is, it is the whole array that is reduced."""
    if axis is not None and not (isinstance(axis, (int, np.integer)) and axis == 0):
        raise ArgumentError(f"axis must be None or 0, got {axis!r}")
    return axis == 0 and array.ndim > 1


class _Table(NamedTuple):
    """An array as pieces of whole rows, and its number of columns, also counted side by side."""

    pieces: Pieces
    shape: tuple[int, ...]
    width: int
    lanes: int


def _table(array: NDArray[Any]) -> _Table:
    width = math.prod(array.shape[1:])
    pieces = pieces_of(array, ordered=True, unit=max(1, width) * _ROWS)
    return _Table(pieces, array.shape[1:], width, width * max(1, _LANES // max(1, width)))


def _in_blocks(reduce: Callable[..., NDArray[Any]]) -> Callable[..., NDArray[Any]]:
    """Go through very wide tables in blocks of columns: rows of sums would fill the memory.

    What is released behind the scan must be read once only, whatever the sums need.
    """

    @functools.wraps(reduce)
    def whole(array: NDArray[Any], *options: Any, how: Scan) -> NDArray[Any]:
        blocks = math.prod(array.shape[1:]) // _WIDE
        if blocks < 4 or how.drop_behind:
            return reduce(array, *options, how=how)
        axis = 1 + int(np.argmax(array.shape[1:]))
        parts = np.array_split(array, min(blocks, array.shape[axis]), axis)
        return np.concatenate(
            [reduce(part, *options, how=how) for part in parts], axis - array.ndim
        )

    return whole


# Kernels ----------------------------------------------------------------------------------------


def _sum_signatures() -> list[tuple[Any, ...]]:
    runs = {"i1": "i4", "i2": "i4", "u1": "i4", "u2": "i4", "i4": "i8", "u4": "i8", "i8": "i8"}
    wholes = [(item, run, "i8") for item, run in runs.items()]
    floats = [(item, "f8", "f8") for item in (*FLOATS, "i8", "u8")]
    return [
        (piece_type(item), _row(run), _row(total), _row(total), numba.int64, numba.int64)
        for item, run, total in wholes + floats
    ]


def _row(dtype: str) -> Any:
    return numba.from_dtype(np.dtype(dtype))[::1]


@jit(_sum_signatures)
def _add_columns(
    x: NDArray[Any],
    run: NDArray[Any],
    total: NDArray[Any],
    error: NDArray[Any],
    width: int,
    rows: int,
) -> None:
    """Add to the sums of `width` columns: runs of `rows` plainly, and the runs compensated."""
    cast = run.dtype.type  # numba widens the results of integer operators to 64 bits
    lanes = run.size
    step = rows * lanes
    for start in range(0, x.size, step):
        run[:] = cast(0)
        for at in range(start, min(start + step, x.size), lanes):
            row = x[at : at + lanes]
            for j in range(row.size):
                run[j] = cast(run[j] + cast(row[j]))
        for j in range(lanes):
            total[j], slip = two_sum(total[j], total.dtype.type(run[j]))
            error[j] += slip
    for j in range(width, lanes):
        total[j % width], slip = two_sum(total[j % width], total[j])
        error[j % width] += error[j] + slip


@jit(
    lambda: [(piece_type(item), _row("f8"), _row("f8"), numba.int64) for item in INTEGERS + FLOATS]
)
def _add_squares(
    x: NDArray[Any], means: NDArray[np.float64], squares: NDArray[np.float64], width: int
) -> None:
    """Add squared deviations from the means of the columns."""
    lanes = squares.size
    for at in range(0, x.size, lanes):
        row = x[at : at + lanes]
        for j in range(row.size):
            step = np.float64(row[j]) - means[j]
            squares[j] += step * step
    for j in range(width, lanes):
        squares[j % width] += squares[j]


@jit(lambda: [(_row("f8"), _row("f8"), numba.int64, _row("f8"))])
def _find_slips(
    total: NDArray[np.float64], error: NDArray[np.float64], rows: int, means: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what rounding took from the means of columns."""
    slips = np.empty(means.size)
    for j in range(means.size):
        high = leading(means[j], _SPLITTER)
        left = total[j] - rows * high - rows * (means[j] - high) + error[j]
        slips[j] = left / rows if high else 0.0
    return slips


@jit(
    lambda: [(piece_type(item), _row(item), _row(item), numba.int64) for item in INTEGERS + FLOATS]
)
def _widen(x: NDArray[Any], least: NDArray[Any], greatest: NDArray[Any], width: int) -> None:
    """Extend the ranges of columns; a NaN compares false, so it enters and stays."""
    lanes = least.size
    for at in range(0, x.size, lanes):
        row = x[at : at + lanes]
        for j in range(row.size):
            value, lo, hi = row[j], least[j], greatest[j]
            least[j] = lo if (lo <= value) | (lo != lo) else value
            greatest[j] = hi if (hi >= value) | (hi != hi) else value
    for j in range(width, lanes):
        lo, hi = least[j], greatest[j]
        least[j % width] = lo if (lo < least[j % width]) | (lo != lo) else least[j % width]
        greatest[j % width] = hi if (hi > greatest[j % width]) | (hi != hi) else greatest[j % width]


# Combining pieces -------------------------------------------------------------------------------


class _InOrder:
    """Results handed on in the order of their numbers; those that come too early are kept.

    Rounding then does not depend on threads, and few results are in memory at a time.
    """

    def __init__(self, combine: Callable[..., object]) -> None:
        self._combine = combine
        self._early: dict[int, tuple[Any, ...]] = {}
        self._next = 0
        self.renew()
        _forking.renew_in_child(self)

    def renew(self) -> None:
        """Make a new lock: a child forked within the call has no thread to let go of the old."""
        self._lock = threading.Lock()

    def add(self, number: int, *result: Any) -> None:
        """Take the result of a piece."""
        with self._lock, np.errstate(all="ignore"):
            self._early[number] = result
            while self._next in self._early:
                self._combine(*self._early.pop(self._next))
                self._next += 1


class _Sums:
    """Sums of columns, and their rounding errors."""

    def __init__(self, width: int, dtype: type[np.generic]) -> None:
        self.total, self.error = np.zeros((2, width), dtype)

    def add(self, total: NDArray[Any], error: NDArray[Any]) -> None:
        self.total, slip = two_sum(self.total, total)
        self.error += error + slip


class _Moments:
    """Counts, means and squared deviations of columns (Chan, Golub and LeVeque, 1979).

    Means are differences from those of the first piece: far from zero, digits would be lost.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self.base, self.mean, self.squares = np.zeros((3, width))

    def add(
        self, count: int, means: NDArray[Any], slips: NDArray[Any], squares: NDArray[Any]
    ) -> None:
        """Add a piece, whose means are the sum of two arrays."""
        before, self.count = self.count, self.count + count
        self.base = self.base if before else means
        step = (means - self.base) + slips - self.mean
        self.mean += step * (count / self.count)
        spread = step * step * (before * count / self.count) if before else 0
        self.squares += np.maximum(squares - count * slips * slips, 0) + spread


def _piece_sums(piece: NDArray[Any], table: _Table, exact: bool) -> tuple[Any, Any]:
    """Return the sums of the columns of a piece and their errors, as int64 if `exact`."""
    narrow = np.int32 if piece.itemsize <= 2 else np.int64
    run = np.empty(table.lanes, narrow if exact else np.float64)
    total, error = np.zeros((2, table.lanes), np.int64 if exact else np.float64)
    # Of float64, every row is a run, so that no error is lost.
    rows = 1 if run.dtype.kind == "f" and piece.itemsize == 8 else _RUN
    _add_columns(piece, run, total, error, table.width, rows)
    return total[: table.width], error[: table.width]


def column_sums(array: NDArray[Any], how: Scan) -> NDArray[Any]:
    """Return the sums of columns: rounded once, or of integers in 64 bits, where they wrap."""
    if array.dtype.kind == "f":
        return _totals(array, False, how=how)
    if array.dtype.kind == "u":
        same_bits = array.view(array.dtype.str.replace("u8", "i8"))
        return _totals(same_bits, True, how=how).view(np.uint64)
    return _totals(array, True, how=how)


def column_means(array: NDArray[Any], how: Scan) -> NDArray[np.float64]:
    """Return the means of columns."""
    with np.errstate(all="ignore"):
        return np.asarray(_totals(array, _is_exact(array), how=how) / np.float64(array.shape[0]))


def _is_exact(array: NDArray[Any]) -> bool:
    """Return True if no sum of so many items as memory can hold wraps in 64 bits."""
    return array.dtype.kind != "f" and array.itemsize < 8


@_in_blocks
def _totals(array: NDArray[Any], exact: bool, *, how: Scan) -> NDArray[Any]:
    """Return the sums of columns in int64 if `exact`, else in float64."""
    table = _table(array)
    sums = _Sums(table.width, np.int64 if exact else np.float64)
    in_order = _InOrder(sums.add)

    def visit(number: int, piece: NDArray[Any]) -> None:
        in_order.add(number, *_piece_sums(piece, table, exact))

    visit_pieces(visit, table.pieces, how)
    return (sums.total if exact else _rounded(sums.total, sums.error)).reshape(table.shape)


def _rounded(total: NDArray[Any], error: NDArray[Any]) -> NDArray[Any]:
    """Add errors to sums, unless these overflowed or are none: then errors are no numbers."""
    with np.errstate(all="ignore"):
        return np.where(np.isfinite(total), total + error, total)


@_in_blocks
def column_variances(array: NDArray[Any], ddof: int, *, how: Scan) -> NDArray[np.float64]:
    """Return the variances of columns: each piece is read a second time, around its own mean."""
    table = _table(array)
    found = _Moments(table.width)
    in_order = _InOrder(found.add)
    exact = _is_exact(array)

    def visit(number: int, piece: NDArray[Any]) -> None:
        total, error = _piece_sums(piece, table, exact)
        rows = piece.size // table.width
        means = _rounded(total, error) / rows
        slips = _find_slips(total.astype(np.float64), error.astype(np.float64), rows, means)
        squares = np.zeros(table.lanes)
        _add_squares(piece, np.tile(means, table.lanes // table.width), squares, table.width)
        in_order.add(number, rows, means, slips, squares[: table.width])

    visit_pieces(visit, table.pieces, how)
    with np.errstate(all="ignore"):
        count = np.float64(max(array.shape[0] - ddof, 0))
        return np.asarray(found.squares / count).reshape(table.shape)


def column_extremes(array: NDArray[Any], how: Scan) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the least and greatest values of columns that are not empty; a NaN outdoes all."""
    least, greatest = _extremes(array, how=how)
    return least, greatest


@_in_blocks
def _extremes(array: NDArray[Any], *, how: Scan) -> NDArray[Any]:
    table = _table(array)
    found: list[NDArray[Any]] = []

    def add(least: NDArray[Any], greatest: NDArray[Any]) -> None:
        if found:
            np.minimum(found[0], least, out=least)
            np.maximum(found[1], greatest, out=greatest)
        found[:] = least, greatest

    in_order = _InOrder(add)

    def visit(number: int, piece: NDArray[Any]) -> None:
        least = np.tile(piece[: table.width], table.lanes // table.width)
        greatest = least.copy()
        _widen(piece, least, greatest, table.width)
        in_order.add(number, least[: table.width], greatest[: table.width])

    visit_pieces(visit, table.pieces, how)
    both = np.stack(found) if found else np.zeros((2, table.width), table.pieces.dtype)
    return both.reshape(2, *table.shape)
