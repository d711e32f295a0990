"""Histograms by numpy's rules, at many times its speed: of counts, or of weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mmapio._validation import refuse_masks
from mmapio.errors import ArgumentError, ArgumentTypeError
from mmapio.guard.lost_memory import noticing
from mmapio.kernels.engine.pieces import Pieces, numbers, share_pieces
from mmapio.kernels.engine.scan import Scan, scan_of
from mmapio.kernels.statistics._even_bins import count_even, even_bins
from mmapio.kernels.statistics._extremes import array_range
from mmapio.kernels.statistics._tallies import Target, new_target
from mmapio.kernels.statistics._time_bins import (
    even_edges,
    given_edges,
    span_of,
    ticks_between,
)
from mmapio.kernels.statistics._uneven_bins import UnevenBins, bins_between, uneven_bins
from mmapio.kernels.statistics._weights import as_weights, pattern_weights, weigh
from mmapio.kernels.statistics.counts import pattern_counts
from mmapio.kernels.statistics.dates import NAT, Dates, dates_in

__all__ = ["histogram"]

_FULL = 1 << 31  # items after which tables of 32 bits are emptied
_LOW = 0xFFFFFFFF


@noticing
def histogram(
    a: Any,
    bins: int | ArrayLike = 10,
    range: Sequence[float] | None = None,  # noqa: A002  # numpy's name
    *,
    density: bool | None = None,
    weights: ArrayLike | None = None,
    threads: int | None = None,
    progress: bool = False,
    drop_behind: bool = False,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Count items in bins, or add up weights of theirs.

    Parameters
    ----------
    a : array_like
        Of bool, integers or floats of at most 64 bits, dates or periods (datetime64, timedelta64),
        in any shape, layout and byte order.
    bins : int or array_like
        The number of bins of equal width, or their edges, ascending. Edges of dates may be of
        another unit; those of equal distance are rounded down, if need be to a finer unit.
    range : (float, float), optional
        The outer edges of bins of equal width. By default the least and the greatest item, for
        which the array is read once more.
    density : bool, optional
        Divide by the widths of the bins and by the total, so that their integral is 1.
    weights : array_like, optional
        Of bool, integers, floats or complex numbers, in the shape of `a`: what each item
        counts for.
    threads : int, optional
        By default ``MMAPIO_NUM_THREADS``, else the CPUs that this process may use. The result does
        not depend on it.
    progress : bool
        Show a progress bar on a terminal (needs tqdm).
    drop_behind : bool
        Scan files that are larger than memory: read ahead, and release behind the scan what was
        not in memory before; see `reduce_chunks`.

    Returns
    -------
    counts : numpy.ndarray
        int64, shape (k,): how many items lie in each bin. Bin ``i`` holds
        ``edges[i] <= x < edges[i + 1]``, and the last one also what equals its upper edge. Other
        items, and NaNs, are left out. With `weights`, their sums, of the type of the weights:
        those of integers (and, as int64, of bools) are exact, and wrap; floats are added in
        float64, with their rounding errors, and rounded once. With `density`, float64, or
        complex128.
    edges : numpy.ndarray
        Shape (k + 1,). Both are what `numpy.histogram` returns. Only where bins are narrower than
        the least normal float (1e-308, or 1e-38 in float32), its counts may not fit its edges,
        while these do.

    Raises
    ------
    ArgumentError
        If the edges or the range do not ascend, an edge is NaN, the range is not finite (as it is
        where `a` has a NaN and none is given), the shape of `weights` is not that of `a`, or if
        `threads` is out of range.
    ArgumentTypeError
        If a dtype is none of these, or `bins` is the name of a rule, which this cannot use.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> kernels.histogram(np.array([1, 2, 2, 5], ">i4"), bins=2)
    (array([3, 1]), array([1., 3., 5.]))
    >>> kernels.histogram([0.5, 1.5, 1.6, 9.0], bins=[0, 1, 2, 4])
    (array([1, 2, 0]), array([0, 1, 2, 4]))
    >>> kernels.histogram([0.5, 1.5, 1.6, 9.0], bins=[0, 1, 2, 4], weights=[10.0, 1.0, 2.0, 5.0])
    (array([10.,  3.,  0.]), array([0, 1, 2, 4]))
    >>> kernels.histogram([0.5, 1.5, 1.6, 9.0], bins=[0, 1, 2, 4], density=True)[0].round(3)
    array([0.333, 0.667, 0.   ])
    """
    how, dates = scan_of(threads, progress, drop_behind), dates_in(a)
    array = numbers("histogram", a if dates is None else dates.ticks)
    bins = _bins_of(bins)
    refuse_masks(range)
    ends = None if range is None or np.ndim(bins) else _ends_of(range, dates)
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    given = None if weights is None else as_weights(weights, array.shape)
    counts, edges = _histogram(dates or array, bins, ends, given, how)
    if not density:
        return counts, edges
    with np.errstate(all="ignore"):
        return counts / np.diff(edges).astype(np.float64) / counts.sum(), edges


def _bins_of(bins: Any) -> Any:
    """Return the number of bins, or a copy of their edges, which nobody changes meanwhile."""
    if isinstance(bins, str):
        raise ArgumentTypeError(f"bins must be a number or edges, got {bins!r}")
    refuse_masks(bins)
    return _numpy(np.array, bins) if _numpy(np.ndim, bins) else bins


def _ends_of(given: Any, dates: Dates | None) -> tuple[Any, ...]:
    """Return the two ends of a range, which must be numbers unless there are dates."""
    kind = "numbers" if dates is None else str(dates.dtype)
    wrong = f"range must be two of {kind}, got {given!r}"
    if isinstance(given, str | bytes):
        raise ArgumentTypeError(wrong)
    try:
        ends = tuple(itertools.islice(given, 3))
    except TypeError:
        raise ArgumentTypeError(wrong) from None
    if len(ends) != 2:
        raise ArgumentError(wrong)
    if dates is None and not all(map(_is_number, ends)):
        raise ArgumentTypeError(wrong)
    return ends


def _is_number(value: Any) -> bool:
    return isinstance(value, int) or (not np.ndim(value) and np.asarray(value).dtype.kind in "biuf")


def _histogram(
    items: NDArray[Any] | Dates,
    bins: Any,
    span: Any,
    weights: NDArray[Any] | None,
    how: Scan,
) -> tuple[NDArray[Any], NDArray[Any]]:
    if weights is not None and weights.dtype.kind == "c":
        real, edges = _histogram(items, bins, span, weights.real, how)
        counts = real.astype(weights.dtype.newbyteorder("="))
        counts.imag, _ = _histogram(items, bins, span, weights.imag, how)
        return counts, edges
    array = items.ticks if isinstance(items, Dates) else items
    if array.itemsize <= 2:
        return _by_patterns(array, bins, span, weights, how)
    if isinstance(items, Dates):
        edges = _edges_of_dates(items, bins, span, how)
    else:
        edges = _edges(array, bins, span, how)
    if edges.size < 2:
        return np.zeros(0, _dtype_of(weights)), edges
    if isinstance(items, Dates):
        count = _between(bins_between(*ticks_between(edges, items), edges.size), edges)
    else:
        count = _even(array, edges, span) if np.ndim(bins) == 0 else _uneven(array, edges)
    if weights is None:
        found = _counted(array, count, how)
    else:
        found = weigh(array, weights, count.bins, count.into, how)
    return count.between_edges(found)[: edges.size - 1].astype(_dtype_of(weights)), edges


def _dtype_of(weights: NDArray[Any] | None) -> np.dtype[Any]:
    """Return the type of the sums of weights: theirs, but for bools, which are counted."""
    if weights is None or weights.dtype.kind == "b":
        return np.dtype(np.int64)
    return weights.dtype.newbyteorder("=")


def _edges_of_dates(dates: Dates, bins: Any, span: Any, how: Scan) -> NDArray[Any]:
    """Return the edges of bins of dates or periods."""
    if np.ndim(bins):
        return given_edges(bins, dates)
    if span is not None:
        return even_edges(bins, span_of(span, dates))
    lo, hi = 0, 0
    if dates.ticks.size:
        lo, hi = array_range(dates.ticks, how)
    if lo == NAT:
        raise ArgumentError("the range of dates is not known where some are NaT; give range=")
    return even_edges(bins, (lo, hi, dates.dtype))


def _edges(array: NDArray[Any], bins: Any, span: Any, how: Scan) -> NDArray[Any]:
    """Return the edges, for which the range of the items may have to be found."""
    ends = np.zeros(0, array.dtype)
    if np.ndim(bins) == 0 and span is None and array.size:
        ends = np.array(array_range(array, how), array.dtype)
    edges: NDArray[Any] = _numpy(np.histogram_bin_edges, ends, bins, span)
    _check_edges(edges)
    return edges


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
    array: NDArray[Any],
    bins: Any,
    span: Any,
    weights: NDArray[Any] | None,
    how: Scan,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Let numpy bin each value of 8 or 16 bits once, weighted with how often it occurs."""
    table = pattern_counts(array, how)
    patterns = np.flatnonzero(table)
    values = patterns.astype(f"u{array.itemsize}").view(array.dtype)
    if weights is not None:
        table = pattern_weights(array, weights, how)
    counts, edges = _binned(values, bins, span, table[patterns])
    _check_edges(edges)
    return counts.astype(_dtype_of(weights)), edges


def _binned(
    values: NDArray[Any], bins: Any, span: Any, weights: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Call numpy, which adds as floats what it has weights for: integers by halves, so exactly."""
    if weights.dtype.kind == "f":
        found: tuple[NDArray[Any], NDArray[Any]]
        found = _numpy(np.histogram, values, bins, span, weights=weights)
        return found
    low, edges = _numpy(np.histogram, values, bins, span, weights=weights & _LOW)
    high, _ = _numpy(np.histogram, values, bins, span, weights=weights >> 32)
    return (high << 32) + low, edges


# Counting ---------------------------------------------------------------------------------------


class _Bins(NamedTuple):
    """A kernel that adds items to the bins of a target, and how its bins lie between edges."""

    bins: int
    into: Callable[[NDArray[Any], Target], None]
    between_edges: Callable[[NDArray[Any]], NDArray[Any]]


def _even(array: NDArray[Any], edges: NDArray[Any], span: Any) -> _Bins:
    even = even_bins(edges, array.dtype.newbyteorder("="), span)
    return _Bins(edges.size, lambda piece, target: count_even(piece, *even, target), lambda x: x)


def _uneven(array: NDArray[Any], edges: NDArray[Any]) -> _Bins:
    return _between(uneven_bins(edges, array.dtype.newbyteorder("=")), edges)


def _between(found: UnevenBins | None, edges: NDArray[Any]) -> _Bins:
    if found is None:
        return _Bins(edges.size, lambda piece, target: None, lambda x: x)
    return _Bins(
        found.bins.size,
        lambda piece, target: found.kernel(piece, found.ladder, target),
        lambda table: found.counts(table, edges.size - 1),
    )


def _counted(array: NDArray[Any], count: _Bins, how: Scan) -> NDArray[np.int64]:
    """Let each thread count in tables of its own."""
    pieces = Pieces(array)
    workers = share_pieces(
        lambda: _Tables(pieces, count.bins),
        lambda tables, chunk: tables.add(chunk, count.into),
        pieces,
        how,
        count.into,
    )
    total: NDArray[np.int64] = np.sum([worker.emptied() for worker in workers], axis=0)
    return total


class _Tables:
    """One thread's counts."""

    def __init__(self, pieces: Pieces, bins: int) -> None:
        self._pieces, self._buffer = pieces, pieces.buffer()
        self._target = new_target(bins)
        self._totals = np.zeros(bins, np.int64)
        self._pending = 0

    def add(self, chunk: int, into: Callable[[NDArray[Any], Target], None]) -> None:
        """Count a piece."""
        piece = self._pieces.take(chunk, self._buffer)
        into(piece, self._target)
        self._pending += piece.size
        if self._pending >= _FULL:
            self.emptied()

    def emptied(self) -> NDArray[np.int64]:
        """Return what was counted so far."""
        self._totals += self._target.tables.sum(axis=0, dtype=np.int64)
        self._target.tables[:] = 0
        self._pending = 0
        return self._totals
