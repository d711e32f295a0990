"""Bins of equal width: the number of an item's bin is computed.

Numpy compares each item with the two edges of its bin, to correct what rounding did. Here only
those items are compared that lie so close to an edge that rounding can matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine.jit import jit, part, piece_type
from mmapio.kernels.statistics._bins import Number
from mmapio.kernels.statistics._tallies import Target, finish, tally, target_type

__all__ = ["EvenBins", "count_even", "even_bins", "first_where"]

_BLOCK = 2048


class EvenBins(NamedTuple):
    """Edges, the least and the greatest item that counts, and how places are computed."""

    edges: NDArray[np.float64]
    limits: NDArray[Any]
    places: NDArray[Any]


def even_bins(edges: NDArray[Any], item: np.dtype[Any], span: Any) -> EvenBins:
    """Return the bins that edges of equal distance make for items of a type."""
    exact = edges.astype(np.float64)
    unit = np.dtype(np.float32 if item == np.float32 else np.float64)
    places = _places(edges, unit, whole=item.kind != "f")
    return EvenBins(exact, _limits(item, exact, span), places)


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
    least = first_where(lambda value: cast(value) >= first, lowest, highest)
    cast, last = _comparable(last)
    greatest = first_where(lambda value: cast(value) > last, lowest, highest) - 1
    some = least <= greatest
    return np.array([least, greatest] if some else [highest, lowest], item)


def _comparable(edge: Any) -> tuple[Callable[[int], Number], Number]:
    """Return how numpy compares integers with an edge, as floats or exactly, and the edge so."""
    cast = float if np.asarray(edge).dtype.kind == "f" else int
    return cast, cast(edge)


def first_where(holds: Callable[[int], bool], low: int, high: int) -> int:
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


def _signatures() -> list[tuple[Any, ...]]:
    return [
        (
            piece_type(item),
            _row("f8"),
            _row(item),
            _row("f4" if item == "f4" else "f8"),
            target_type(),
        )
        for item in ("i4", "u4", "i8", "u8", "f4", "f8")
    ]


def _row(dtype: str) -> Any:
    return numba.from_dtype(np.dtype(dtype))[::1]


@jit(_signatures)
def count_even(
    x: NDArray[Any],
    edges: NDArray[np.float64],
    limits: NDArray[Any],
    places: NDArray[Any],
    target: Target,
) -> None:
    """Count or weigh a piece, block by block; what is in no bin goes to one more at the end."""
    codes = np.empty(_BLOCK, np.int32)
    for start in range(0, x.size, _BLOCK):
        block = x[start : start + _BLOCK]
        _encode(block, np.int32(edges.size - 1), limits, places, codes)
        whole = block.size // 4 * 4
        for i in range(0, whole, 4):
            if codes[i] | codes[i + 1] | codes[i + 2] | codes[i + 3] < 0:
                _settle(block[i : i + 4], edges, limits, codes[i : i + 4])
        _settle(block[whole:], edges, limits, codes[whole:])
        tally(codes, start, block.size, target)
    finish(target)


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
        value = x[i]  # once: others may store meanwhile
        counts = (value >= lo) & (value <= hi)
        place = unit(unit(value) - first) * scale
        place = place if place > zero else zero
        place = place if place < top else top
        code = np.int32(place)
        code = code if abs(place - unit(code) - half) <= sure else np.int32(~code)
        codes[i] = code if counts else bins


@part()
def _settle(
    x: NDArray[Any], edges: NDArray[np.float64], limits: NDArray[Any], codes: NDArray[np.int32]
) -> None:
    """Compare items with the edges of their bins where these are not sure.

    Others may have stored since: an item is held against the limits again.
    """
    last = edges.size - 2
    for i in range(x.size):
        if codes[i] < 0:
            item = x[i]
            value, found = np.float64(item), ~codes[i]
            while found > 0 and value < edges[found]:
                found -= 1
            while found < last and value >= edges[found + 1]:
                found += 1
            codes[i] = found if (item >= limits[0]) & (item <= limits[1]) else last + 1
