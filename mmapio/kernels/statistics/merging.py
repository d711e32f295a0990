"""The description of an array from those of its parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from operator import mul
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmapio.errors import ArgumentTypeError
from mmapio.kernels.statistics.dates import NAT, Dates, ticks_of

if TYPE_CHECKING:
    from .description import Description

__all__ = ["merge"]


def merge(parts: Sequence[Description], bins: int) -> Description:
    """Combine the descriptions of the parts of an array into that of the whole.

    Parameters
    ----------
    parts : sequence of Description
        One or more.
    bins : int
        The most bins that the histogram may have.

    Returns
    -------
    Description
        What `kernels.describe` tells of the whole, but for the rounding of sums, and of bins of
        integers beyond 2**53.

    Raises
    ------
    ArgumentTypeError
        If one of them is along an axis: it has no histogram.

    Examples
    --------
    >>> from mmapio import kernels
    >>> from mmapio.kernels.statistics.merging import merge
    >>> parts = [kernels.describe(values, bins=4) for values in ([1, 2, 3], [100])]
    >>> whole = merge(parts, bins=4)
    >>> whole.mean, whole.counts
    (26.5, array([3, 0, 0, 1]))
    """
    if any(np.ndim(part.count) for part in parts):
        raise ArgumentTypeError(
            "descriptions along an axis cannot be merged; describe all parts together"
        )
    if len(parts) == 1:
        return parts[0]
    kind = np.asarray(parts[0].min)
    if kind.dtype.kind in "mM":
        from .description import dressed

        return dressed(merge([_undressed(part) for part in parts], bins), Dates(kind))
    whole = type(parts[0])
    filled = [part for part in parts if part.count > part.nans]
    kept = sum(part.count - part.nans for part in filled)
    total = sum(part.sum for part in filled)
    mean = total / kept if kept else math.nan
    shares = [(part.count - part.nans) / kept for part in filled]
    steps = [part.mean - mean for part in filled]
    squares = [part.var + step * step for part, step in zip(filled, steps, strict=True)]
    var = sum(map(mul, squares, shares)) if kept else math.nan
    counts, edges = _histogram(filled, bins)
    finite = merge([part.finite for part in parts], bins) if any(p.infs for p in parts) else None
    return whole(
        count=sum(part.count for part in parts),
        nans=sum(part.nans for part in parts),
        infs=sum(part.infs for part in parts),
        zeros=sum(part.zeros for part in parts),
        min=min((part.min for part in filled), default=math.nan),
        max=max((part.max for part in filled), default=math.nan),
        sum=total,
        mean=mean,
        var=var,
        std=math.sqrt(var),
        counts=counts,
        edges=edges,
        _finite=finite,
    )


def _undressed(part: Description) -> Description:
    """Return a description of dates or periods as that of ticks."""
    mean = int(np.asarray(part.mean).view(np.int64))
    kept = part.count - part.nans
    added = np.asarray(part.sum).view(np.int64)
    figures: dict[str, Any] = {
        "min": int(np.asarray(part.min).view(np.int64)),
        "max": int(np.asarray(part.max).view(np.int64)),
        "sum": int(added) if added != NAT else mean * kept if kept else 0,
        "mean": mean,
        "edges": part.edges.view(np.int64),
    }
    return replace(part, **figures)


def _histogram(
    parts: Sequence[Description], bins: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Move all counts to bins of one width: a power of two, as the widths of the parts are."""
    parts = [part for part in parts if part.counts.size]
    if not parts:
        return np.zeros(0, np.int64), np.zeros(1)
    left = np.concatenate([part.edges[:-1] for part in parts])
    # Where edges were rounded, neighbours can be the same number, and no bin may be that narrow.
    least = math.ulp(np.abs(left).max())
    width = max(least, *(float(part.edges[1] - part.edges[0]) for part in parts))
    while np.ptp(np.floor(left / width)) >= bins:
        width *= 2
    numbers = np.floor(left / width)
    first = numbers.min()
    counts = np.zeros(int(numbers.max() - first) + 1, np.int64)
    np.add.at(counts, (numbers - first).astype(int), np.concatenate([p.counts for p in parts]))
    with np.errstate(over="ignore"):  # the last edge of the widest range is no float
        edges = (first + np.arange(counts.size + 1)) * width
    if all(part.edges.dtype.kind == "i" for part in parts):
        return counts, ticks_of(edges.tolist())
    return counts, np.minimum(edges, np.finfo(np.float64).max)
