"""The cores of least and greatest values, and of where they are first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine.jit import jit, part, piece_type
from mmapio.kernels.statistics._moments import FLOATS, INTEGERS
from mmapio.kernels.statistics._order_keys import equal_key, is_nan_key, key_of, value_of

__all__ = [
    "Where",
    "combined",
    "find_extremes",
    "first",
    "minmax_of",
    "piece_extremes",
    "where_extremes",
]

Where = tuple[float, int, float, int, int]

_BLOCK = 2048


@part()
def key_range(x: NDArray[Any]) -> tuple[Any, Any]:
    """Return the least and the greatest key."""
    lo = hi = key_of(x[0])
    for i in range(x.size):
        key = key_of(x[i])
        lo = key if key < lo else lo
        hi = key if key > hi else hi
    return lo, hi


@part()
def minmax_of(x: NDArray[Any]) -> tuple[Any, Any]:
    """Return the least and the greatest value of a row that is not empty; or NaN, if it has any."""
    lo, hi = key_range(x)
    if is_nan_key(lo, x[0]):
        hi = lo
    elif is_nan_key(hi, x[0]):
        lo = hi
    return value_of(lo, x[0]), value_of(hi, x[0])


@part()
def where_extremes(x: NDArray[Any]) -> tuple[Any, int, Any, int, int]:
    """Return the least key and where it is first, the same of the greatest, and the first NaN.

    If there is a NaN, the search ends there; otherwise its place is -1. Others may change the items
    meanwhile: so a block that has what is wanted is copied, and only the copy counts.
    """
    lo = hi = equal_key(key_of(x[0]), x[0])
    lo_at = hi_at = 0
    copy = np.empty(min(_BLOCK, x.size), x.dtype)
    for start in range(0, x.size, _BLOCK):
        block = x[start : start + _BLOCK]
        least, greatest = key_range(block)
        has_nan = is_nan_key(least, x[0]) or is_nan_key(greatest, x[0])
        if not (has_nan or equal_key(least, x[0]) < lo or equal_key(greatest, x[0]) > hi):
            continue
        seen = copy[: block.size]
        seen[:] = block
        least, greatest = key_range(seen)
        if is_nan_key(least, x[0]) or is_nan_key(greatest, x[0]):
            return lo, 0, hi, 0, start + _first_nan(seen)
        least, greatest = equal_key(least, x[0]), equal_key(greatest, x[0])
        if least < lo:
            lo, lo_at = least, start + _first_key(seen, least)
        if greatest > hi:
            hi, hi_at = greatest, start + _first_key(seen, greatest)
    return lo, lo_at, hi, hi_at, -1


@part()
def _first_nan(x: NDArray[Any]) -> int:
    """Return the place of the first NaN; there is one."""
    for i in range(x.size):
        if is_nan_key(key_of(x[i]), x[i]):
            return i
    return 0


@part()
def _first_key(x: NDArray[Any], key: Any) -> int:
    """Return the first place of a key; there is one."""
    for i in range(x.size):
        if equal_key(key_of(x[i]), x[i]) == key:
            return i
    return 0


@jit(lambda: [(piece_type(dtype),) for dtype in INTEGERS + FLOATS])
def piece_extremes(x: NDArray[Any]) -> tuple[Any, Any]:
    """Do for a piece what `minmax_of` does."""
    return minmax_of(x)


@jit(lambda: [(piece_type(dtype),) for dtype in INTEGERS + FLOATS])
def find_extremes(x: NDArray[Any]) -> Where:
    """Do for a piece what `where_extremes` does, with values instead of keys."""
    lo, lo_at, hi, hi_at, nan_at = where_extremes(x)
    return value_of(lo, x[0]), lo_at, value_of(hi, x[0]), hi_at, nan_at


def combined(ranges: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    """Return the least and the greatest value of all pieces; a NaN outdoes all."""
    for lo, hi in ranges:
        if lo != lo:
            return lo, hi
    return min(lo for lo, _ in ranges), max(hi for _, hi in ranges)


def first(found: Sequence[Where], starts: Sequence[int], greatest: bool) -> int:
    """Return where the wanted extreme of all pieces is first; the first NaN, if there is any."""
    for (*_, nan_at), start in zip(found, starts, strict=True):
        if nan_at >= 0:
            return start + nan_at
    pick, value = (max, 2) if greatest else (min, 0)
    number = pick(range(len(found)), key=lambda piece: found[piece][value])
    return starts[number] + int(found[number][value + 1])
