"""Histograms by numpy's rules, at many times its speed.

Numpy computes the number of an item's bin, and compares the item with the two edges of that bin,
to correct what rounding did. Here only those items are compared that lie so close to an edge that
rounding can matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mmapio.errors import ArgumentError, ArgumentTypeError
from mmapio.guard.lost_memory import noticing
from mmapio.kernels.engine.jit import jit, part, piece_type
from mmapio.kernels.engine.pieces import Pieces, map_pieces, numbers, pieces_of, share_pieces
from mmapio.kernels.engine.scan import Scan
from mmapio.kernels.statistics._bins import Number
from mmapio.kernels.statistics._extremes import combined, piece_extremes
from mmapio.kernels.statistics.counts import pattern_counts

__all__ = ["histogram"]


_BLOCK = 2048
_FEW = 4096  # bins of which several tables stay in the cache
_FULL = 1 << 31  # items after which tables of 32 bits are emptied
_ONE = np.uint32(1)


@noticing
def histogram(
    a: Any,
    bins: int | ArrayLike = 10,
    range: Sequence[float] | None = None,  # noqa: A002  # numpy's name
    *,
    threads: int | None = None,
    progress: bool = False,
    drop_behind: bool = False,
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Count items in bins.

    Parameters
    ----------
    a : array_like
        Of bool, integers or floats of at most 64 bits, in any shape, layout and byte order.
    bins : int or array_like
        The number of bins of equal width, or their edges, ascending.
    range : (float, float), optional
        The outer edges of bins of equal width. By default the least and the greatest item, for
        which the array is read once more.
    threads : int, optional
        By default ``MMAPIO_NUM_THREADS``, else the CPUs that this process may use.
    progress : bool
        Show a progress bar on a terminal (needs tqdm).
    drop_behind : bool
        Scan a file that is larger than memory: read ahead, and release behind the scan what was
        not in memory before; see `reduce_chunks`.

    Returns
    -------
    counts : numpy.ndarray
        int64, shape (k,): how many items lie in each bin. Bin ``i`` holds
        ``edges[i] <= x < edges[i + 1]``, and the last one also what equals its upper edge. Other
        items, and NaNs, are left out.
    edges : numpy.ndarray
        Shape (k + 1,). Both are what `numpy.histogram` returns. Only where bins are narrower than
        the least normal float (1e-308, or 1e-38 in float32), its counts may not fit its edges,
        while these do.

    Raises
    ------
    ArgumentError
        If the edges or the range do not ascend, an edge is NaN, the range is not finite (as it is
        where `a` has a NaN and none is given), or if `threads` is out of range.
    ArgumentTypeError
        If the dtype is none of these, or `bins` is the name of a rule, which this cannot use.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> kernels.histogram(np.array([1, 2, 2, 5], ">i4"), bins=2)
    (array([3, 1]), array([1., 3., 5.]))
    >>> kernels.histogram([0.5, 1.5, 1.6, 9.0], bins=[0, 1, 2, 4])
    (array([1, 2, 0]), array([0, 1, 2, 4]))
    """
    array, how = numbers("histogram", a), Scan(threads, progress, drop_behind)
    if isinstance(bins, str):
        raise ArgumentTypeError(f"bins must be a number or edges, got {bins!r}")
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    if array.itemsize <= 2:
        return _by_patterns(array, bins, range, how)
    span = np.zeros(0, array.dtype)
    if np.ndim(bins) == 0 and range is None and array.size:
        ranges = map_pieces(piece_extremes, pieces_of(array), how)
        span = np.array(combined(ranges), array.dtype)
    edges = _numpy(np.histogram_bin_edges, span, bins, range)
    _check_edges(edges)
    if edges.size < 2:
        return np.zeros(0, np.int64), edges
    count = _even(array, edges, range) if np.ndim(bins) == 0 else _uneven(array, edges)
    return _counted(array, edges.size - 1, count, how), edges


def _numpy(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call numpy for what does not depend on the number of items, and let it check arguments."""
    try:
        with np.errstate(all="ignore"):
            return function(*arguments, **options)
    except ValueError as error:
        raise ArgumentError(str(error)) from None
    except TypeError as error:
        raise ArgumentTypeError(str(error)) from None
    except IndexError:  # numpy's own, where float16 turns an outer edge into an infinity
        raise ArgumentError(
            "the range of the bins is too large for the type of the items"
        ) from None


def _check_edges(edges: NDArray[Any]) -> None:
    """Refuse what numpy takes, and counts no items between that anyone could expect."""
    if edges.dtype.kind not in "biuf":
        raise ArgumentTypeError(f"edges must be real numbers, got {edges.dtype}")
    nans = np.flatnonzero(edges != edges)
    if nans.size:
        raise ArgumentError(f"edges must be numbers, but edge {nans[0]} of {edges.size} is NaN")


def _by_patterns(
    array: NDArray[Any], bins: Any, span: Any, how: Scan
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Let numpy bin each value of 8 or 16 bits once, weighted with how often it occurs."""
    table = pattern_counts(array, how)
    patterns = np.flatnonzero(table)
    values = patterns.astype(f"u{array.itemsize}").view(array.dtype)
    counts, edges = _numpy(np.histogram, values, bins, span, weights=table[patterns])
    _check_edges(edges)
    return counts, edges


# Counting ---------------------------------------------------------------------------------------

Count = Callable[[NDArray[Any], NDArray[np.uint32]], None]


def _counted(array: NDArray[Any], bins: int, count: Count, how: Scan) -> NDArray[np.int64]:
    """Let each thread count in tables of its own, the last bin of which is for all other items."""
    pieces = Pieces(array)
    workers = share_pieces(
        lambda: _Tables(pieces, bins),
        lambda tables, chunk: tables.add(chunk, count),
        pieces,
        how,
    )
    total: NDArray[np.int64] = np.sum([worker.emptied() for worker in workers], axis=0)
    return total[:bins]


class _Tables:
    """One thread's counts: in several tables, as long as these are small."""

    def __init__(self, pieces: Pieces, bins: int) -> None:
        self._pieces, self._buffer = pieces, pieces.buffer()
        self._tables = np.zeros((4 if bins < _FEW else 1, bins + 1), np.uint32)
        self._totals = np.zeros(bins + 1, np.int64)
        self._pending = 0

    def add(self, chunk: int, count: Count) -> None:
        """Count a piece."""
        piece = self._pieces.take(chunk, self._buffer)
        count(piece, self._tables)
        self._pending += piece.size
        if self._pending >= _FULL:
            self.emptied()

    def emptied(self) -> NDArray[np.int64]:
        """Return what was counted so far."""
        self._totals += self._tables.sum(axis=0, dtype=np.int64)
        self._tables[:] = 0
        self._pending = 0
        return self._totals


def _even(array: NDArray[Any], edges: NDArray[Any], span: Any) -> Count:
    """Return what counts in bins of equal width."""
    item = array.dtype.newbyteorder("=")
    exact = edges.astype(np.float64)
    limits = _limits(item, exact, span)
    unit = np.dtype(np.float32 if item == np.float32 else np.float64)
    places = _places(edges, unit, whole=item.kind != "f")
    return lambda piece, tables: _count_even(piece, exact, limits, places, tables)


def _limits(item: np.dtype[Any], edges: NDArray[np.float64], span: Any) -> NDArray[Any]:
    """Return the least and the greatest item that counts: none, where they are the wrong way round.

    Float64 cannot tell all integers of 64 bits apart: these are held against the range itself, as
    numpy does, exactly if that is of integers.
    """
    first, last = edges[[0, -1]].tolist()
    if item.kind == "f":
        limits = np.array([first, last], item)
        inward = np.nextafter(limits, limits[::-1])
        return np.where([limits[0] < first, limits[1] > last], inward, limits).astype(item)
    info = np.iinfo(item)
    lowest, highest = int(info.min), int(info.max)
    if span is None:
        return np.array([lowest, highest], item)
    if span[0] < span[1]:
        first, last = span
    cast, first = _comparable(first)
    least = _first_where(lambda value: cast(value) >= first, lowest, highest)
    cast, last = _comparable(last)
    greatest = _first_where(lambda value: cast(value) > last, lowest, highest) - 1
    some = least <= greatest
    return np.array([least, greatest] if some else [highest, lowest], item)


def _comparable(edge: Any) -> tuple[Callable[[int], Number], Number]:
    """Return how numpy compares integers with an edge, as floats or exactly, and the edge so."""
    cast = float if np.asarray(edge).dtype.kind == "f" else int
    return cast, cast(edge)


def _first_where(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Return the least of some integers for which something holds, as it does from there on.

    If it holds for none, that is one more than `high`.
    """
    while low <= high:
        middle = (low + high) // 2
        low, high = (low, middle - 1) if holds(middle) else (middle + 1, high)
    return low


def _places(edges: NDArray[Any], unit: np.dtype[Any], *, whole: bool) -> NDArray[Any]:
    """Say how places are computed in `unit`: first edge, bins per unit, greatest place, and slack.

    The slack is how far from the middle of a bin, in bins, an item is in that bin for sure: its
    place has three roundings, and an edge has a few of its own. Whole numbers on an edge would
    never be sure: where no other one is as close to it, all are moved upwards by some slack.
    """
    first, last, bins = np.float64(edges[0]), np.float64(edges[-1]), edges.size - 1
    with np.errstate(all="ignore"):
        scale = bins / (last - first)
        eps = max(np.finfo(unit).eps, np.finfo(edges.dtype).eps)
        slip = 8 * eps * (bins + max(abs(first), abs(last)) * scale)
        below = edges - (np.ceil(edges) - 1)  # how far below an edge the next whole number is
        if whole and (below * scale > 8 * slip).all():
            first -= 4 * slip / scale
        top = min(unit.type(bins - 0.5), np.nextafter(unit.type(bins), unit.type(0)))
        places = np.array([first, scale, top, 0.5 - slip], unit)
    return places if np.isfinite(places).all() else np.array([0, 0, 0, -1], unit)


def _uneven(array: NDArray[Any], edges: NDArray[Any]) -> Count:
    """Return what counts between edges, compared as numpy does: as floats, or as integers.

    Floats tell all integers of 32 bits apart.
    """
    item = array.dtype.newbyteorder("=")
    as_integers = item in (np.int64, np.uint64) and np.result_type(item, edges) == item
    exact = edges.astype(item if as_integers else np.float64)
    return lambda piece, tables: _count_uneven(piece, exact, tables)


_TABLES = numba.uint32[:, ::1]


def _even_signatures() -> list[tuple[Any, ...]]:
    return [
        (piece_type(item), _row("f8"), _row(item), _row("f4" if item == "f4" else "f8"), _TABLES)
        for item in ("i4", "u4", "i8", "u8", "f4", "f8")
    ]


def _row(dtype: str) -> Any:
    return numba.from_dtype(np.dtype(dtype))[::1]


@jit(_even_signatures)
def _count_even(
    x: NDArray[Any],
    edges: NDArray[np.float64],
    limits: NDArray[Any],
    places: NDArray[Any],
    tables: NDArray[np.uint32],
) -> None:
    """Count in bins of equal width, block by block."""
    codes = np.empty(_BLOCK, np.int32)
    few = tables.shape[0]
    t0, t1, t2, t3 = tables[0], tables[1 % few], tables[2 % few], tables[3 % few]
    for start in range(0, x.size, _BLOCK):
        block = x[start : start + _BLOCK]
        _encode(block, np.int32(edges.size - 1), limits, places, codes)
        whole = block.size // 4 * 4
        for i in range(0, whole, 4):
            if codes[i] | codes[i + 1] | codes[i + 2] | codes[i + 3] < 0:
                _settle(block[i : i + 4], edges, codes[i : i + 4])
            t0[np.uint32(codes[i])] += _ONE
            t1[np.uint32(codes[i + 1])] += _ONE
            t2[np.uint32(codes[i + 2])] += _ONE
            t3[np.uint32(codes[i + 3])] += _ONE
        _settle(block[whole:], edges, codes[whole:])
        for i in range(whole, block.size):
            t0[np.uint32(codes[i])] += _ONE


@part()
def _encode(
    x: NDArray[Any], bins: Any, limits: NDArray[Any], places: NDArray[Any], codes: NDArray[np.int32]
) -> None:
    """Write each item's bin, or its complement if it is not sure, by vector instructions.

    An item that does not count is in one more bin at the end.
    """
    unit = places.dtype.type
    lo, hi = limits[0], limits[1]
    first, scale, top, sure = places[0], places[1], places[2], places[3]
    zero, half = unit(0), unit(0.5)
    for i in range(x.size):
        counts = (x[i] >= lo) & (x[i] <= hi)
        place = unit(unit(x[i]) - first) * scale
        place = place if place > zero else zero
        place = place if place < top else top
        code = np.int32(place)
        code = code if abs(place - unit(code) - half) <= sure else np.int32(~code)
        codes[i] = code if counts else bins


@part()
def _settle(x: NDArray[Any], edges: NDArray[np.float64], codes: NDArray[np.int32]) -> None:
    """Compare items with the edges of their bins where these are not sure."""
    last = edges.size - 2
    for i in range(x.size):
        if codes[i] < 0:
            value, found = np.float64(x[i]), ~codes[i]
            while found > 0 and value < edges[found]:
                found -= 1
            while found < last and value >= edges[found + 1]:
                found += 1
            codes[i] = found


def _uneven_signatures() -> list[tuple[Any, ...]]:
    compared = [(item, "f8") for item in ("i4", "u4", "i8", "u8", "f4", "f8")]
    return [
        (piece_type(item), _row(edge), _TABLES)
        for item, edge in [*compared, ("i8", "i8"), ("u8", "u8")]
    ]


@jit(_uneven_signatures)
def _count_uneven(x: NDArray[Any], edges: NDArray[Any], tables: NDArray[np.uint32]) -> None:
    """Count between edges: as many steps for every item, so that no branch is mispredicted."""
    cast, bins = edges.dtype.type, edges.size - 1
    for i in range(x.size):
        item = cast(x[i])
        found, size = 0, edges.size
        while size > 1:
            half = size // 2
            found = found + half if edges[found + half] <= item else found
            size -= half
        found = min(found, bins - 1)
        inside = (item >= edges[0]) & (item <= edges[bins])
        tables[i % tables.shape[0], found if inside else bins] += _ONE
