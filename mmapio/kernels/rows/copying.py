"""Copies of rows of bytes, from and to where indices say.

The memory of an array reaches a kernel as bytes, with where in it the first row begins and how far
it is to the next: so there is one kernel for all dtypes and layouts. Rows that are as long as a
number are moved as one.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from mmapio.kernels.engine.jit import jit, part, piece_type
from mmapio.kernels.rows.addresses import (
    LINE_BYTES,
    copy_item,
    copy_row,
    index_at,
    prefetch_line,
    size_of,
)

__all__ = [
    "Numbers",
    "Place",
    "gather_at",
    "gather_rows",
    "move_rows",
    "normalize",
    "scatter_at",
    "scatter_rows",
    "strays",
]

Numbers = NDArray[np.int64]
Place = tuple[int, int, int]  # of rows in memory: where the first begins, the step, how many

_WORD = numba.int64
_NUMBERS = numba.int64[::1]
_PLACE = types.UniTuple(_WORD, 3)
_INDICES = piece_type("i8")
# Measured on EPYC 9005 with random rows of 1 B to 4 KiB: more ahead gains nothing, and from memory
# that fits into the second level of cache the processor needs no help.
_AHEAD_ITEMS = 128
_AHEAD_LINES = 128
_MOST_LINES = 16
_NEAR_BYTES = 1 << 20
_AT_ONCE = 4  # items that are copied after one look at all their indices


@jit(
    lambda: [
        (
            *(piece_type("u1"), _PLACE, _INDICES, _WORD, _WORD, _WORD),
            *(numba.uint8[::1], _WORD, _WORD),
        )
    ]
)
def gather_rows(
    source: NDArray[np.uint8],
    place: Place,
    indices: Numbers,
    back: int,
    first: int,
    last: int,
    target: NDArray[np.uint8],
    row: int,
    nbytes: int,
) -> int:
    """Copy rows ``indices[first:last]`` to `row` and on of the target, which has no gaps.

    `back` is what is added to an index that is out of bounds, once: the number of rows, or 0.
    Return the number of the index that is out of bounds even so, or `last`.
    """
    start, step, rows = place
    here = (source.ctypes.data + start, step, rows)
    there = target.ctypes.data + row * nbytes
    return gather_at(here, indices.ctypes.data, back, first, last, there, nbytes)


@part()
def gather_at(
    here: Place, numbers: int, back: int, first: int, last: int, there: int, nbytes: int
) -> int:
    """Copy rows between memory at addresses; see `gather_rows`."""
    if nbytes == 1:
        return _gather_items(here, numbers, back, first, last, there, np.uint8(0))
    if nbytes == 2:
        return _gather_items(here, numbers, back, first, last, there, np.uint16(0))
    if nbytes == 4:
        return _gather_items(here, numbers, back, first, last, there, np.uint32(0))
    if nbytes == 8:
        return _gather_items(here, numbers, back, first, last, there, np.uint64(0))
    if nbytes == 16:
        return _gather_items(here, numbers, back, first, last, there, np.complex128(0))
    return _gather_long(here, numbers, back, first, last, there, nbytes)


@part()
def _gather_items(
    place: Place, numbers: int, back: int, first: int, last: int, target: int, kind: Any
) -> int:
    """Copy rows that are one item each; see `gather_rows`."""
    start, step, rows = place
    size = size_of(kind)
    if step != size or rows * size > _NEAR_BYTES:
        return _gather_far_items(place, numbers, back, first, last, target, kind)
    target -= first * size
    while True:
        # A loop for itself: what is seldom done would part its instructions.
        while first + _AT_ONCE <= last:
            one, two, three, four = _indices_at(numbers + first * 8)
            if _any_outside(one, two, three, four, rows):
                break
            copy_item(target + first * size, start + one * size, kind)
            copy_item(target + (first + 1) * size, start + two * size, kind)
            copy_item(target + (first + 2) * size, start + three * size, kind)
            copy_item(target + (first + 3) * size, start + four * size, kind)
            first += _AT_ONCE
        for i in range(first, min(first + _AT_ONCE, last)):
            number = index_at(numbers + i * 8)
            if np.uint64(number) >= np.uint64(rows):
                number += back
                if np.uint64(number) >= np.uint64(rows):
                    return i
            copy_item(target + i * size, start + number * size, kind)
        first += _AT_ONCE
        if first >= last:
            return last


@part(forceinline=True)
def _indices_at(address: int) -> tuple[int, int, int, int]:
    """Read four indices, each once."""
    one, two = index_at(address), index_at(address + 8)
    return one, two, index_at(address + 16), index_at(address + 24)


@part(forceinline=True)
def _any_outside(one: int, two: int, three: int, four: int, rows: int) -> bool:
    """Return whether any of four indices is none of a row, by one branch."""
    end = np.uint64(rows)
    low = (np.uint64(one) >= end) | (np.uint64(two) >= end)
    high = (np.uint64(three) >= end) | (np.uint64(four) >= end)
    return bool(low | high)


@part()
def _gather_far_items(
    place: Place, numbers: int, back: int, first: int, last: int, target: int, kind: Any
) -> int:
    """Do the same where it takes long to reach a row: ask for rows before their turn."""
    start, step, rows = place
    size = size_of(kind)
    for i in range(first, last):
        soon = min(i + _AHEAD_ITEMS, last - 1)
        prefetch_line(start + index_at(numbers + soon * 8) * step)
        number = index_at(numbers + i * 8)
        if np.uint64(number) >= np.uint64(rows):
            number += back
            if np.uint64(number) >= np.uint64(rows):
                return i
        copy_item(target, start + number * step, kind)
        target += size
    return last


@part()
def _gather_long(
    place: Place, numbers: int, back: int, first: int, last: int, target: int, nbytes: int
) -> int:
    """Copy rows of any other length; see `gather_rows`."""
    start, step, rows = place
    lines = min(-(-nbytes // LINE_BYTES), _MOST_LINES) if rows * nbytes > _NEAR_BYTES else 0
    ahead = _AHEAD_LINES // max(1, lines)
    for i in range(first, last):
        if lines and i + ahead < last:
            soon = start + index_at(numbers + (i + ahead) * 8) * step
            for line in range(lines):
                prefetch_line(soon + line * LINE_BYTES)
        number = index_at(numbers + i * 8)
        if np.uint64(number) >= np.uint64(rows):
            number += back
            if np.uint64(number) >= np.uint64(rows):
                return i
        copy_row(target, start + number * step, nbytes)
        target += nbytes
    return last


@jit(
    lambda: [
        (
            *(piece_type("u1"), _WORD, _WORD, _INDICES, _WORD, _WORD, _WORD),
            *(numba.uint8[::1], _PLACE, _WORD, _WORD, _WORD),
        )
    ]
)
def scatter_rows(
    source: NDArray[np.uint8],
    source_step: int,
    row: int,
    indices: Numbers,
    back: int,
    first: int,
    last: int,
    target: NDArray[np.uint8],
    place: Place,
    low: int,
    high: int,
    nbytes: int,
) -> int:
    """Copy `row` and on of the source to rows ``indices[first:last]``, in that order.

    Only rows of the target from `low` to `high` are written. See `gather_rows`.
    """
    start, step, rows = place
    here = source.ctypes.data + row * source_step
    there = (target.ctypes.data + start, step, rows)
    numbers = indices.ctypes.data
    return scatter_at(here, source_step, numbers, back, first, last, there, low, high, nbytes)


@part()
def scatter_at(
    here: int,
    source_step: int,
    numbers: int,
    back: int,
    first: int,
    last: int,
    there: Place,
    low: int,
    high: int,
    nbytes: int,
) -> int:
    """Copy rows between memory at addresses; see `scatter_rows`."""
    start, step, rows = there
    if low == 0 and high == rows:
        if nbytes == 1:
            return _scatter_items(here, source_step, numbers, back, first, last, there, np.uint8(0))
        if nbytes == 2:
            return _scatter_items(
                here, source_step, numbers, back, first, last, there, np.uint16(0)
            )
        if nbytes == 4:
            return _scatter_items(
                here, source_step, numbers, back, first, last, there, np.uint32(0)
            )
        if nbytes == 8:
            return _scatter_items(
                here, source_step, numbers, back, first, last, there, np.uint64(0)
            )
        if nbytes == 16:
            return _scatter_items(
                here, source_step, numbers, back, first, last, there, np.complex128(0)
            )
    for i in range(first, last):
        number = index_at(numbers + i * 8)
        if np.uint64(number) >= np.uint64(rows):
            number += back
            if np.uint64(number) >= np.uint64(rows):
                return i
        if low <= number < high:
            copy_row(start + number * step, here, nbytes)
        here += source_step
    return last


@part()
def _scatter_items(
    source: int,
    source_step: int,
    numbers: int,
    back: int,
    first: int,
    last: int,
    place: Place,
    kind: Any,
) -> int:
    """Store rows that are one item each; see `scatter_rows`. No prefetch helps a store."""
    start, step, rows = place
    while True:
        while first + _AT_ONCE <= last:
            one, two, three, four = _indices_at(numbers + first * 8)
            if _any_outside(one, two, three, four, rows):
                break
            # In this order: the last one to a place stays.
            copy_item(start + one * step, source, kind)
            copy_item(start + two * step, source + source_step, kind)
            copy_item(start + three * step, source + 2 * source_step, kind)
            copy_item(start + four * step, source + 3 * source_step, kind)
            source += _AT_ONCE * source_step
            first += _AT_ONCE
        for i in range(first, min(first + _AT_ONCE, last)):
            number = index_at(numbers + i * 8)
            if np.uint64(number) >= np.uint64(rows):
                number += back
                if np.uint64(number) >= np.uint64(rows):
                    return i
            copy_item(start + number * step, source, kind)
            source += source_step
        first += _AT_ONCE
        if first >= last:
            return last


@jit(lambda: [(_WORD, _WORD, _NUMBERS, _WORD, _WORD, _NUMBERS, *(_WORD,) * 3)])
def move_rows(
    source: int,
    source_step: int,
    source_rows: Numbers,
    target: int,
    target_step: int,
    target_rows: Numbers,
    first: int,
    last: int,
    nbytes: int,
) -> None:
    """Copy row ``source_rows[i]`` to row ``target_rows[i]`` for i from `first` to `last`.

    Rows are `nbytes` long and a step apart, and their numbers are known to be in bounds.
    """
    for i in range(first, last):
        there = target + target_rows[i] * target_step
        copy_row(there, source + source_rows[i] * source_step, nbytes)


@jit(lambda: [(_INDICES, _WORD, _WORD)])
def strays(indices: Numbers, rows: int, back: int) -> bool:
    """Return whether any index is out of bounds, even after `back` was added to it."""
    found = False
    for i in range(len(indices)):
        index = indices[i]
        found |= bool(np.uint64(index + back) >= np.uint64(rows + back))
    return found


@jit(lambda: [(_INDICES, _WORD, _WORD, _NUMBERS)])
def normalize(indices: Numbers, rows: int, back: int, numbers: Numbers) -> int:
    """Store the row that each index means; return how many were in bounds before one was not."""
    for i in range(len(indices)):
        index = indices[i]
        number = index + back if np.uint64(index) >= np.uint64(rows) else index
        if np.uint64(number) >= np.uint64(rows):
            return i
        numbers[i] = number
    return len(indices)
