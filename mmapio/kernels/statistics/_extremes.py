"""The cores of least and greatest values, and of where they are first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine.jit import jit, machine_code, part, piece_types
from mmapio.kernels.engine.pieces import map_pieces, pieces_of
from mmapio.kernels.engine.scan import Scan
from mmapio.kernels.engine.seeking import first_of
from mmapio.kernels.engine.short_way import Plan, Short, seen_as
from mmapio.kernels.statistics._extreme_keys import (
    finished,
    flip_for,
    flip_of,
    items_by,
    key_of,
    value_of,
)
from mmapio.kernels.statistics._extreme_vectors import (
    BLOCK_BYTES,
    blocks_least,
    in_lines,
    lines_least,
    lines_range,
)

__all__ = [
    "SEEN",
    "KeyedPieces",
    "array_extreme",
    "array_range",
    "extreme_of",
    "first_nan",
    "key_signatures",
    "lone_extreme",
    "lone_place",
    "lone_range",
    "minmax_of",
    "piece_least",
    "place_of",
    "where_extreme",
]

R = TypeVar("R")

_BLOCK_BYTES = 1 << 15  # searched once more, of what is then in the cache
_STEP = 256


@part()
def _least(x: NDArray[Any], flip: Any) -> tuple[Any, bool, Any]:
    """Return the least key, whether there is a NaN, and a negative integer if a sign bit is set."""
    key, has_nan, signs = lines_least(x, flip)
    for i in range(in_lines(x), x.size):
        other, bits = key_of(x[i], flip)
        key = other if other < key else key
        has_nan |= other != other
        signs |= bits
    return key, has_nan, signs


@part()
def least_key(x: NDArray[Any], flip: Any) -> Any:
    """Return the least key of a row that is not empty; or NaN, if it has any."""
    key, has_nan, signs = _least(x, flip)
    return finished(key, has_nan, signs < 0)


@part()
def key_range(x: NDArray[Any], flip: Any) -> tuple[Any, Any]:
    """Return the least and the greatest key of a row that is not empty; or NaN, if it has any."""
    least, greatest, has_nan, some_signs, all_signs = lines_range(x, flip)
    for i in range(in_lines(x), x.size):
        key, bits = key_of(x[i], flip)
        least = key if key < least else least
        greatest = key if key > greatest else greatest
        has_nan |= key != key
        some_signs |= bits
        all_signs &= bits
    least = finished(least, has_nan, some_signs < 0)
    return least, finished(greatest, has_nan, all_signs < 0)


@part()
def least_place(x: NDArray[Any], flip: Any) -> tuple[Any, int, bool]:
    """Return the least key of a row that is not empty, where it is first, and whether it is a NaN.

    A first look finds which block has it, a second one where in there. Others may change the items
    meanwhile: if it is gone, the search begins anew, in another way.
    """
    best, has_nan, begin = _least_block(x, flip)
    if has_nan:
        at = first_nan(x, flip)
        if at >= 0:
            return key_of(np.copy(x[at : at + 1])[0], flip)[0], at, True
    else:
        stop = begin + BLOCK_BYTES // x.itemsize
        at = first_of(x[begin:stop], value_of(best, flip, x[0]))
        if at >= 0:
            return best, begin + at, False
    return _place_in_copies(x, flip)


@part()
def _least_block(x: NDArray[Any], flip: Any) -> tuple[Any, bool, int]:
    """Return the least key, whether there is a NaN, and where the first block with it begins."""
    size = BLOCK_BYTES // x.itemsize
    rest = x.size // size * size
    best, has_nan, number = blocks_least(x, flip)
    begin = number * size
    for start in range(rest, x.size, size):
        key, is_there, _ = _least(x[start : start + size], flip)
        has_nan |= is_there
        if key < best or start == 0:
            best, begin = key, start
    return best, has_nan, begin


@part()
def _place_in_copies(x: NDArray[Any], flip: Any) -> tuple[Any, int, bool]:
    """Do the same where others change items: a block that has what is wanted is copied.

    Only the copy counts. If there is a NaN, the search ends there.
    """
    size = _BLOCK_BYTES // x.itemsize
    kept = np.copy(x[:0])
    best, begin = key_of(x[0], flip)[0], -1
    for start in range(0, x.size, size):
        block = x[start : start + size]
        least, has_nan, _ = _least(block, flip)
        if begin >= 0 and not has_nan and not least < best:
            continue
        seen = np.copy(block)  # at once, as an assignment of slices is not
        least, has_nan, _ = _least(seen, flip)
        if has_nan:
            at = first_nan(seen, flip)
            return key_of(seen[at], flip)[0], start + at, True
        if begin < 0 or least < best:
            best, begin, kept = least, start, seen
    at = first_of(kept, value_of(best, flip, x[0]))
    return best, begin + at, False


@part()
def first_nan(x: NDArray[Any], flip: Any) -> int:
    """Return the place of the first NaN, or -1."""
    for start in range(0, x.size, _STEP):
        some = x[start : start + _STEP]
        is_there = False
        for i in range(some.size):
            key, _ = key_of(some[i], flip)
            is_there |= key != key
        if is_there:
            for i in range(some.size):
                key, _ = key_of(some[i], flip)
                if key != key:
                    return start + i
    return -1


# Inside kernels ---------------------------------------------------------------------------------


@part()
def extreme_of(x: NDArray[Any], greatest: bool) -> Any:
    """Return the least or the greatest item of a row that is not empty; or NaN, if it has any."""
    flip = flip_of(x, greatest)
    return value_of(least_key(x, flip), flip, x[0])


@part()
def minmax_of(x: NDArray[Any]) -> tuple[Any, Any]:
    """Return both."""
    flip = flip_of(x, False)
    least, greatest = key_range(x, flip)
    return value_of(least, flip, x[0]), value_of(greatest, flip, x[0])


@part()
def place_of(x: NDArray[Any], greatest: bool) -> int:
    """Return where such an item is first."""
    return least_place(x, flip_of(x, greatest))[1]


# Of whole arrays --------------------------------------------------------------------------------


def key_signatures() -> list[tuple[Any, ...]]:
    """Return types of signed integers and floats: unsigned integers are seen as signed ones."""
    pairs = [(f"i{size}", f"i{size}") for size in (1, 2, 4, 8)] + [("f4", "i4"), ("f8", "i8")]
    return [
        (kind, numba.from_dtype(np.dtype(flip)))
        for item, flip in pairs
        for kind in piece_types(item)
    ]


@jit(key_signatures)
def piece_least(x: NDArray[Any], flip: Any) -> Any:
    """Do for a piece what `least_key` does."""
    return least_key(x, flip)


@jit(key_signatures)
def _piece_range(x: NDArray[Any], flip: Any) -> tuple[Any, Any]:
    return key_range(x, flip)


@jit(key_signatures)
def _piece_place(x: NDArray[Any], flip: Any) -> tuple[Any, int, bool]:
    return least_place(x, flip)


class KeyedPieces:
    """Pieces of an array that is not empty, and the keys of its items."""

    def __init__(self, array: NDArray[Any], greatest: bool = False, ordered: bool = False) -> None:
        if array.dtype.kind == "f":
            self.pieces = pieces_of(array, ordered=ordered, apart=True)
            self._dtype = self.pieces.dtype
        else:
            signed = array.view(f"{array.dtype.str[0]}i{array.itemsize}")
            self.pieces = pieces_of(signed, ordered=ordered, apart=True)
            self._dtype = array.dtype
        self.flip = flip_for(self._dtype, greatest)
        self.item = items_by(self.flip, self._dtype)

    def scan(self, kernel: Callable[[NDArray[Any], Any], R], how: Scan) -> list[R]:
        return map_pieces(lambda piece: kernel(piece, self.flip), self.pieces, how, kernel)


def array_extreme(array: NDArray[Any], greatest: bool, how: Scan) -> Any:
    """Return the least or the greatest item of an array that is not empty; NaN, if it has any."""
    keyed = KeyedPieces(array, greatest)
    return keyed.item(_least_of(keyed.scan(piece_least, how), 1))


def array_range(array: NDArray[Any], how: Scan) -> tuple[Any, Any]:
    """Return both."""
    keyed = KeyedPieces(array)
    least, greatest = zip(*keyed.scan(_piece_range, how), strict=True)
    return keyed.item(_least_of(least, 1)), keyed.item(_least_of(greatest, -1))


def where_extreme(array: NDArray[Any], greatest: bool, how: Scan) -> int:
    """Return where such an item is first, in the order of indices."""
    keyed = KeyedPieces(array, greatest, ordered=True)
    found = keyed.scan(_piece_place, how)
    nans = (number for number, (_, _, is_nan) in enumerate(found) if is_nan)
    least = min(range(len(found)), key=lambda number: found[number][0])
    number = next(nans, least)
    return keyed.pieces.start(number) + found[number][1]


# Of a lone piece, which has the items of an array that is not empty ------------------------------

SEEN = seen_as(
    {item: f"i{np.dtype(item).itemsize}" for item in "?bhilqBHILQ"} | {"f4": "f4", "f8": "f8"}
)


def _short(kernel: Callable[..., R], row: Any) -> Callable[..., R]:
    """Return what a kernel runs for a type of rows."""
    return machine_code(kernel, row, numba.types.Integer.from_bitwidth(row.dtype.bitwidth, True))


def lone_extreme(greatest: bool) -> Plan:
    """Return what plans to find the least or the greatest item."""

    def plan(dtype: np.dtype[Any], row: Any) -> Short:
        flip, find = int(flip_for(dtype, greatest)), _short(piece_least, row)
        item = items_by(flip, dtype)
        return lambda piece: item(find(piece, flip))

    return plan


def lone_range(dtype: np.dtype[Any], row: Any) -> Short:
    """Plan to find the least and the greatest item."""
    flip, find = int(flip_for(dtype, False)), _short(_piece_range, row)
    item = items_by(flip, dtype)

    def both(piece: NDArray[Any]) -> tuple[Any, Any]:
        least, greatest = find(piece, flip)
        return item(least), item(greatest)

    return both


def lone_place(greatest: bool) -> Plan:
    """Return what plans to find where such an item is first."""

    def plan(dtype: np.dtype[Any], row: Any) -> Short:
        flip, find = int(flip_for(dtype, greatest)), _short(_piece_place, row)
        return lambda piece: find(piece, flip)[1]

    return plan


def _least_of(keys: Sequence[Any], sign: int) -> Any:
    """Return the least of some keys, or the greatest by a negative sign; a NaN outdoes all."""
    if sign < 0:
        return -_least_of([-key for key in keys], 1)
    return min(keys, key=lambda key: (key == key, key, math.copysign(1, key)))
