"""Bins of dates and periods: edges of any unit, and the ticks that lie between them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmapio._validation import as_integer
from mmapio.errors import ArgumentError, ArgumentTypeError
from mmapio.kernels.statistics.dates import NAT, Dates

__all__ = ["even_edges", "given_edges", "span_of", "ticks_between"]

_UNITS = ("D", "h", "m", "s", "ms", "us", "ns")
_FINE = 1000  # ticks that a bin should be wide, so that edges are not rounded visibly

Span = tuple[int, int, np.dtype[Any]]


def given_edges(bins: Any, dates: Dates) -> NDArray[Any]:
    """Return edges that were given, or say what is wrong with them."""
    edges = np.asarray(bins)
    if edges.dtype.kind != dates.dtype.kind:
        raise ArgumentTypeError(f"edges of {dates.dtype} must be of its kind, got {edges.dtype}")
    if edges.ndim != 1:
        raise ArgumentError(f"edges must be 1d, got shape {edges.shape}")
    _promoted(dates.dtype, edges.dtype)
    nats = np.flatnonzero(np.isnat(edges))
    if nats.size:
        raise ArgumentError(f"edges must not be NaT, but edge {nats[0]} of {edges.size} is")
    if (edges[1:] < edges[:-1]).any():
        raise ArgumentError("edges must increase monotonically")
    return edges.astype(edges.dtype.newbyteorder("="))


def span_of(given: Any, dates: Dates) -> Span:
    """Return the first and the last tick of a range, in a unit that expresses both."""
    try:
        first, last = given
        ends = np.array([first, last], f"{dates.dtype.kind}8")
    except (TypeError, ValueError):
        raise ArgumentError(f"range must be two of {dates.dtype}, got {given!r}") from None
    if any(isinstance(end, str | bytes) for end in (first, last)):
        raise ArgumentTypeError(f"range must be two of {dates.dtype}, got {given!r}")
    common = _promoted(dates.dtype, ends.dtype)
    if np.isnat(ends).any() or ends[0] > ends[1]:
        raise ArgumentError(f"the end of the range must not lie before its begin: {given!r}")
    lo, hi = _converted(ends, common).view(np.int64).tolist()
    return lo, hi, common


def even_edges(bins: Any, span: Span) -> NDArray[Any]:
    """Return edges of equal distance, rounded down to ticks of a unit that suits it.

    That is the unit of the range, or one so much finer that rounding is not seen.
    """
    number = as_integer(bins, "bins")
    if number < 1:
        raise ArgumentError(f"bins must be positive, got {bins!r}")
    lo, hi, dtype = span
    if lo == hi:
        hi = min(lo + number, -NAT - 1)
        lo = hi - number
    for unit in _UNITS:
        finer = np.dtype(f"{dtype.kind}8[{unit}]")
        if hi - lo >= _FINE * number or np.datetime_data(dtype)[0] == "generic":
            break
        if np.can_cast(dtype, finer, "safe") and finer != dtype:
            ends = np.array([lo, hi]).view(dtype)
            fine = ends.astype(finer)
            if (fine.astype(dtype) != ends).any():
                break  # beyond 64 bits
            (lo, hi), dtype = fine.view(np.int64).tolist(), finer
    edges = [lo + (hi - lo) * i // number for i in range(number + 1)]
    return np.array(edges, np.int64).view(dtype)


def ticks_between(edges: NDArray[Any], dates: Dates) -> tuple[NDArray[np.int64], np.int64]:
    """Return the least ticks that do not lie before edges, and the greatest that counts."""
    if np.promote_types(edges.dtype, dates.dtype) == dates.dtype:
        least = _converted(edges, dates.dtype)
        greatest = least[-1]
    else:
        near = edges.astype(dates.dtype)
        again = near.astype(edges.dtype)
        least = near + (again < edges).astype(np.int64)
        greatest = near[-1] - (again[-1] > edges[-1]).astype(np.int64)
    return np.maximum(least.view(np.int64), NAT + 1), greatest.view(np.int64)


def _converted(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert to a finer unit, which may not reach as far."""
    found = values.astype(dtype)
    lost = np.flatnonzero(found.astype(values.dtype) != values)
    if lost.size:
        raise ArgumentError(f"{values[lost[0]]!r} lies beyond what {dtype} reaches")
    return found


def _promoted(one: np.dtype[Any], other: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type that expresses both, in native order."""
    try:
        return np.promote_types(one, other).newbyteorder("=")
    except TypeError as error:
        raise ArgumentTypeError(str(error)) from None
