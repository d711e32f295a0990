"""`describe`: all that one pass can tell about an array."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmapio._validation import as_integer
from mmapio.errors import ArgumentError
from mmapio.guard.lost_memory import noticing
from mmapio.kernels.engine.pieces import Pieces, map_pieces, numbers, share_pieces
from mmapio.kernels.engine.scan import Scan
from mmapio.kernels.statistics._axes import Axis, reduced_axes
from mmapio.kernels.statistics._bins import MAX_BINS, MIN_BINS, Bins, Number, bins_for
from mmapio.kernels.statistics._column_figures import (
    ColumnFigures,
    column_figures,
    finite_items,
)
from mmapio.kernels.statistics._describers import PieceResults, Worker, worker_for
from mmapio.kernels.statistics._moments import SMALL, rounded_sum, split_small_sum
from mmapio.kernels.statistics.counts import pattern_counts
from mmapio.kernels.statistics.dates import (
    NAT,
    Dates,
    PresentPieces,
    dates_in,
    rounded,
    ticks_of,
    truncated,
)

__all__ = ["Description", "describe", "dressed"]


class _Histogram(NamedTuple):
    """The range of the finite items, and their counts in bins."""

    span: tuple[Number, ...]
    counts: NDArray[np.int64]
    edges: NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Description:
    """Statistics of an array, as `describe` returns them.

    Attributes
    ----------
    count : int
        Items, of whatever value.
    nans, infs, zeros : int
        How many of them are NaN, infinite, and equal to zero.
    min, max : int or float
        Over all items but NaNs; ``nan`` where there are none. Exact.
    sum : int or float
        Over all items but NaNs. Exact for integers, which never wrap; floats are added in float64,
        with the rounding errors of these additions.
    mean, var, std : float
        Over all items but NaNs; ``nan`` where there are none. `var` divides by their number
        (``ddof=0``). An infinity among them makes `var` and `std` ``nan``.
    counts : numpy.ndarray
        int64, shape (k,): how many finite items lie in each of at most `bins` bins.
    edges : numpy.ndarray
        float64, shape (k + 1,): bin ``i`` holds ``edges[i] <= x < edges[i + 1]``. The bins are a
        power of two wide and start at multiples of their width. Integers beyond 2**53 are
        binned exactly, though float64 rounds their edges.
    finite : Description
        The same without the infinities, which leave no other figure than themselves in `min`,
        `max`, `sum`, `mean` and `std`; this description itself, if there are none.

    Notes
    -----
    Of dates and periods, `nans` counts NaT, and all figures leave it out. `min`, `max`, `mean` and
    `edges` are of their type, `sum` and `std` are periods of their unit; the mean is rounded
    towards zero. Dates have no sum: it is NaT. `var` is a float, in squared units.

    Along axes, all figures are arrays, of the shape that is left, and `finite` has such arrays as
    well. There is no histogram: `counts` and `edges` are empty. `min` and `max` are of the array's
    type; `sum` is of int64, uint64 or float64, or of Python's integers if one is beyond 64 bits.

    Examples
    --------
    >>> from mmapio import kernels
    >>> kernels.describe([1.0, 3.0, float("nan")])
    Description(count=3, nans=1, infs=0, zeros=0, min=1.0, max=3.0, sum=4.0, mean=2.0, var=1.0, ...)
    >>> found = kernels.describe([1.0, 3.0, float("inf")])
    >>> found.max, found.mean, found.std
    (inf, inf, nan)
    >>> found.finite.max, found.finite.mean, found.finite.std
    (3.0, 2.0, 1.0)
    """

    count: int
    nans: int
    infs: int
    zeros: int
    min: Number
    max: Number
    sum: Number
    mean: float
    var: float
    std: float
    counts: NDArray[np.int64]
    edges: NDArray[np.float64]
    _finite: Description | None = field(default=None, kw_only=True)

    @property
    def finite(self) -> Description:
        """The same without the infinities; this description itself, if there are none."""
        return self if self._finite is None else self._finite

    def __repr__(self) -> str:
        hidden = {"_finite", "counts", "edges"} if np.ndim(self.count) else {"_finite"}
        shown = [each.name for each in fields(self) if each.init and each.name not in hidden]
        shown += ["finite"] if self._finite is not None else []
        facts = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__name__}({facts})"


@noticing
def describe(
    a: Any,
    axis: Axis = None,
    *,
    bins: int = 256,
    threads: int | None = None,
    progress: bool = False,
    drop_behind: bool = False,
) -> Description:
    """Count, extremes, moments and histogram of an array, in one pass over its memory.

    Parameters
    ----------
    a : array_like
        Of bool, integers or floats of at most 64 bits, dates or periods, in any shape, layout and
        byte order.
    axis : {None, int, tuple of int}
        The axis or axes to describe along, as for `sum`: ``describe(table, axis=0)`` describes each
        column of a table. By default, all items are described together.
    bins : int
        The most bins that the histogram may have, from 4 to 256. The range need not be known
        ahead: it has as many bins as fit, between half of `bins` and `bins`, and fewer only
        where neighbouring values of the type already have one each. There is none along axes.
    threads : int, optional
        By default ``MMAPIO_NUM_THREADS``, else the CPUs that this process may use. The result
        does not depend on it.
    progress : bool
        Show a progress bar on a terminal (needs tqdm).
    drop_behind : bool
        Scan a file that is larger than memory: read ahead, and release behind the scan what was
        not in memory before; see `reduce_chunks`.

    Returns
    -------
    Description
        See there for the treatment of NaNs and infinities.

    Raises
    ------
    ArgumentTypeError
        If the dtype is complex, longer than 64 bits, or no number at all.
    ArgumentError
        If `axis`, `bins` or `threads` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> d = kernels.describe(np.arange(1000, dtype="i2"), bins=8)
    >>> d.min, d.max, d.sum, d.mean
    (0, 999, 499500, 499.5)
    >>> d.counts, d.edges[:3]
    (array([128, 128, 128, 128, 128, 128, 128, 104]), array([  0., 128., 256.]))
    >>> d = kernels.describe([[1.0, 7.0], [3.0, float("nan")]], axis=0)
    >>> d.nans, d.mean, d.max
    (array([0, 1]), array([2., 7.]), array([3., 7.]))
    """
    how, dates = Scan(threads, progress, drop_behind), dates_in(a)
    array = numbers("describe", a if dates is None else dates.ticks)
    if not MIN_BINS <= as_integer(bins, "bins") <= MAX_BINS:
        raise ArgumentError(f"bins must be from {MIN_BINS} to {MAX_BINS}, got {bins!r}")
    if (axes := reduced_axes(array, axis)) is not None:
        return _describe_columns(array, axes, dates, how)
    if dates is not None:
        return _describe_dates(dates, bins, how)
    if array.itemsize <= 2:
        return _describe_small(array, bins, how)
    return _describe_large(array, bins, how)


def _describe_large(array: NDArray[Any], bins: int, how: Scan) -> Description:
    """Scan items of 32 and 64 bits in threads, and combine what they leave for each piece."""
    pieces = Pieces(array)
    results = PieceResults(len(pieces))
    base = int(array[(0,) * array.ndim]) if array.dtype.kind in "iu" and array.size else 0
    workers = share_pieces(lambda: worker_for(pieces, results, bins, base), Worker.add, pieces, how)
    tally = np.sum([worker.work.tally for worker in workers], axis=0)
    histogram = _histogram(workers)
    if array.dtype.kind == "f":
        total, var = results.sum(), results.var()
        total = total if math.isfinite(total) else _sum_of_huge(pieces, how)
        var = math.inf if math.isnan(var) else var  # of finite items, whose differences overflow
        return _summary(array.size, tally, total, var, histogram)
    total = results.exact_sum(workers[0].offset)
    return _summary(array.size, tally, total, results.var(), histogram)


def _sum_of_huge(pieces: Pieces, how: Scan) -> float:
    """Return the sum of finite items, which overflowed on the way or is infinite."""
    parts = map_pieces(lambda piece: split_small_sum(finite_items(piece)), pieces, how)
    return rounded_sum(*np.array(parts).T.tolist()) / SMALL


def _describe_dates(dates: Dates, bins: int, how: Scan) -> Description:
    """Scan the ticks of dates and periods, but for NaT, and make dates of what is found."""
    pieces = PresentPieces(dates.ticks)
    results = PieceResults(len(pieces))
    base = pieces.first()
    workers = share_pieces(lambda: worker_for(pieces, results, bins, base), Worker.add, pieces, how)
    zeros = sum(int(worker.work.tally[0]) for worker in workers)
    kept = int(results.moments[:, 0].sum())
    histogram = _histogram(workers, lambda whole, used, _: ticks_of(whole.exact_edges(used)))
    total, tally = results.exact_sum(0), np.array([zeros, dates.ticks.size - kept, 0, 0])
    return dressed(_summary(dates.ticks.size, tally, total, results.var(), histogram), dates)


def dressed(found: Description, dates: Dates) -> Description:
    """Return a description of ticks as that of dates or periods."""
    kept = found.count - found.nans
    lo, hi = (found.min, found.max) if kept else (NAT, NAT)
    added: Any = found.sum if dates.are_periods and abs(found.sum) < -NAT else NAT
    figures: dict[str, Any] = {
        "min": dates.made_of(lo),
        "max": dates.made_of(hi),
        "sum": dates.periods_of(added),
        "mean": dates.made_of(truncated(int(found.sum), kept) if kept else NAT),
        "std": dates.periods_of(rounded(found.std)),
        "edges": dates.made_of(found.edges),
    }
    return replace(found, **figures)


def _describe_columns(
    array: NDArray[Any], axes: tuple[int, ...], dates: Dates | None, how: Scan
) -> Description:
    """Describe each place along the other axes."""
    found = column_figures(array, axes, how, dates=dates is not None)
    figures: dict[str, Any] = {
        "count": found.kept + found.nans,
        "nans": found.nans,
        "infs": np.zeros_like(found.nans),
        "zeros": found.zeros,
        "sum": found.sum,
        "mean": found.mean,
        "var": found.var,
        "std": np.sqrt(found.var),
        "counts": np.zeros(0, np.int64),
        "edges": np.zeros(0),
    }
    if dates is not None:
        return Description(**{**figures, **_dressed_columns(found, dates)})
    figures["min"], figures["max"] = (
        extremes if found.kept.all() else np.where(found.kept > 0, extremes, np.float16(math.nan))
        for extremes in (found.min, found.max)
    )
    finite = Description(**figures)
    return (
        _with_column_infinities(finite, found) if found.above.any() or found.below.any() else finite
    )


def _dressed_columns(found: ColumnFigures, dates: Dates) -> dict[str, Any]:
    """Return the figures that are dates or periods."""
    totals, kept = (each.reshape(-1).tolist() for each in (found.sum, found.kept))
    means = [truncated(total, n) if n else NAT for total, n in zip(totals, kept, strict=True)]
    sums = [total if dates.are_periods and abs(total) < -NAT else NAT for total in totals]
    filled = found.kept > 0
    return {
        "min": dates.made_of(np.where(filled, found.min, NAT)),
        "max": dates.made_of(np.where(filled, found.max, NAT)),
        "sum": dates.periods_of(np.array(sums, np.int64).reshape(filled.shape)),
        "mean": dates.made_of(np.array(means, np.int64).reshape(filled.shape)),
        "std": dates.periods_of(rounded(np.sqrt(found.var))),
        "edges": dates.made_of(np.zeros(0, np.int64)),
    }


def _with_column_infinities(finite: Description, found: ColumnFigures) -> Description:
    """Do for columns what `_with_infinities` does."""
    above, below = found.above > 0, found.below > 0
    infinite = above | below
    with np.errstate(invalid="ignore"):
        total = finite.sum + np.where(above, np.inf, 0) - np.where(below, np.inf, 0)
    figures: dict[str, Any] = {
        "count": finite.count + found.above + found.below,
        "infs": found.above + found.below,
        "min": np.where(below, -np.inf, np.where(infinite & (found.kept == 0), np.inf, finite.min)),
        "max": np.where(above, np.inf, np.where(infinite & (found.kept == 0), -np.inf, finite.max)),
        "sum": total,
        "mean": np.where(infinite, total, finite.mean),
        "var": np.where(infinite, np.nan, finite.var),
        "std": np.where(infinite, np.nan, finite.std),
    }
    return replace(finite, **figures, _finite=finite)


def _histogram(
    workers: Sequence[Worker], edges_of: Callable[[Bins, int, int], NDArray[Any]] = Bins.edges
) -> _Histogram:
    """Return the range and the counts of all threads together."""
    spans = [span for worker in workers if (span := worker.seen())]
    if not spans:
        return _Histogram((), np.zeros(0, np.int64), np.zeros(1))
    lo = min((lo for lo, _ in spans), key=_signed)
    hi = max((hi for _, hi in spans), key=_signed)
    offset = workers[0].offset
    whole = workers[0].bins_so_far()
    used = whole.fit(lo - offset, hi - offset)
    for worker in workers[1:]:
        whole.add(worker.bins_so_far())
    return _Histogram((lo, hi), whole.counts[:used], edges_of(whole, used, offset))


def _signed(value: Number) -> tuple[Number, float]:
    """Return the order of values, whichever thread found them: of two zeros, that with a minus."""
    return value, math.copysign(1, value)


def _describe_small(array: NDArray[Any], bins: int, how: Scan) -> Description:
    """Derive everything from a table of how often each value of 8 or 16 bits occurs."""
    table = pattern_counts(array, how)
    values = _all_values(array.dtype)[table > 0]
    counts = table[table > 0]
    groups = values == 0, np.isnan(values), values == np.inf, values == -np.inf
    tally = np.array([counts[group].sum() for group in groups])
    finite = np.isfinite(values)
    values, counts = values[finite], counts[finite]
    if not values.size:
        return _summary(array.size, tally, 0, math.nan, _histogram([]))
    total = math.fsum(values * counts) if array.dtype.kind == "f" else int(values @ counts)
    squares = (values - total / counts.sum()) ** 2 * counts
    var = math.fsum(squares) / float(counts.sum())  # in no order that the processor decides
    whole = bins_for(array.dtype, bins)
    lo, hi = values.min().item(), values.max().item()
    used = whole.fit(lo, hi)
    whole.count(values, counts)
    histogram = _Histogram((lo, hi), whole.counts[:used], whole.edges(used))
    return _summary(array.size, tally, total, var, histogram)


def _all_values(dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the value of each bit pattern of a small type, in a type that can hold their sums."""
    patterns = np.arange(1 << 8 * dtype.itemsize, dtype=f"u{dtype.itemsize}")
    if dtype.kind == "b":
        return np.minimum(patterns, 1).astype(np.int64)
    return patterns.view(dtype).astype(np.float64 if dtype.kind == "f" else np.int64)


def _summary(
    count: int, tally: NDArray[np.int64], total: Number, var: float, histogram: _Histogram
) -> Description:
    """Describe the finite items, and beside them all, if there are infinities."""
    zeros, nans, above, below = tally.tolist()
    kept = count - nans - above - below
    var = var if kept else math.nan
    finite = Description(
        count=count - above - below,
        nans=nans,
        infs=0,
        zeros=zeros,
        min=min(histogram.span, default=math.nan),
        max=max(histogram.span, default=math.nan),
        sum=total,
        mean=total / kept if kept else math.nan,
        var=var,
        std=math.sqrt(var),
        counts=histogram.counts,
        edges=histogram.edges,
    )
    return _with_infinities(finite, above, below) if above or below else finite


def _with_infinities(finite: Description, above: int, below: int) -> Description:
    """Describe what finite items and infinities, positive and negative ones, make together."""
    total = finite.sum + (math.inf if above else 0) - (math.inf if below else 0)
    return replace(
        finite,
        count=finite.count + above + below,
        infs=above + below,
        min=-math.inf if below else math.inf if math.isnan(finite.min) else finite.min,
        max=math.inf if above else -math.inf if math.isnan(finite.max) else finite.max,
        sum=total,
        mean=total,
        var=math.nan,
        std=math.nan,
        _finite=finite,
    )
