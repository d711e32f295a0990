"""The cores of counting and finding values, and patterns of bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine.jit import by_type, inside, jit, part, piece_type, piece_types
from mmapio.kernels.engine.seeking import first_of
from mmapio.kernels.engine.vectors import (
    SHORT_AT_ONCE,
    are_bytes,
    count_bytes,
    count_in_lines,
    in_lines,
)

__all__ = [
    "all_matches",
    "border_table",
    "borders",
    "count_equal",
    "count_matches",
    "find_match",
    "find_pattern",
    "first_equal",
    "pattern_matches",
]

_BLOCK = 1024
_LONG_BLOCK = 4096  # where no match is looked for, or the first one alone
_WINDOW = 128
_PATIENCE = 8  # bytes compared in vain for each byte passed
_COUNTERS: dict[int, Any] = {8: np.uint32, 16: np.uint16, 32: np.uint32, 64: np.uint64}
_MATCHED = ("u1", "u2", "u4", "u8", "f4", "f8")  # signed integers are equal if their bits are


def _signatures() -> list[tuple[Any, ...]]:
    return [
        (kind, numba.from_dtype(np.dtype(dtype)))
        for dtype in _MATCHED
        for kind in piece_types(dtype)
    ]


# Values -----------------------------------------------------------------------------------------


@by_type
def _count_in_block(x: Any, value: Any) -> Any:
    """Return how many items of a block equal a value."""


@inside(_count_in_block)
def _count_in_block_of(x: Any, value: Any) -> Callable[..., Any]:
    """Count in as many bits as items have: with more of them, fewer items fit into a vector."""
    counter = _COUNTERS[x.dtype.bitwidth]

    def impl(x: Any, value: Any) -> Any:
        count = counter(0)
        for i in range(x.size):
            count = counter(count + counter(x[i] == value))
        return count

    def impl_bytes(x: Any, value: Any) -> Any:
        count = count_bytes(x, value)
        for i in range(x.size // SHORT_AT_ONCE * SHORT_AT_ONCE, x.size):
            count += x[i] == value
        return count

    def impl_apart(x: Any, value: Any) -> Any:
        count = count_in_lines(x, value)
        for i in range(in_lines(x), x.size):
            count += x[i] == value
        return count

    if value != x.dtype:
        return impl
    if x.layout != "C":
        return impl_apart  # what becomes of the loop goes from item to item
    return impl_bytes if are_bytes(x) else impl


@part()
def count_equal(x: NDArray[Any], value: Any) -> int:
    """Return how many items equal a value."""
    count = 0
    for start in range(0, x.size, _LONG_BLOCK):
        count += int(_count_in_block(x[start : start + _LONG_BLOCK], value))
    return count


@by_type
def first_equal(x: Any, value: Any) -> Any:
    """Return the index of the first item that equals a value, or -1."""


@inside(first_equal)
def _first_equal_of(x: Any, value: Any) -> Callable[..., Any]:
    is_number = isinstance(x.dtype, numba.types.Integer | numba.types.Float)
    if x.layout == "C" and is_number and value == x.dtype:
        return lambda x, value: first_of(x, value)
    return lambda x, value: _first_in_blocks(x, value)


@part()
def _first_in_blocks(x: NDArray[Any], value: Any) -> int:
    """Do this for items of any layout, and a value of another type.

    Others may change the items meanwhile: a match that is gone is none.
    """
    for start in range(0, x.size, _LONG_BLOCK):
        stop = min(start + _LONG_BLOCK, x.size)
        if _count_in_block(x[start:stop], value):
            for i in range(start, stop):
                if x[i] == value:
                    return i
    return -1


@jit(_signatures)
def count_matches(x: NDArray[Any], value: Any) -> int:
    """Do for a piece what `count_equal` does."""
    return count_equal(x, value)


@jit(_signatures)
def find_match(x: NDArray[Any], value: Any) -> int:
    """Do for a piece what `first_equal` does."""
    return first_equal(x, value)  # type: ignore[no-any-return]


# Patterns ---------------------------------------------------------------------------------------


@part()
def _may_match(starts: NDArray[Any], ends: NDArray[Any], head: Any, tail: Any) -> Any:
    """Return 1 if some place has the first and the last byte of the pattern, else 0."""
    found = np.uint8(0)
    for i in range(starts.size):
        found = np.uint8(found | np.uint8(starts[i] == head) & np.uint8(ends[i] == tail))
    return found


@part()
def borders(pattern: NDArray[Any]) -> NDArray[np.int64]:
    """Return, for each beginning of a pattern, how long an end of it is a beginning as well."""
    table = np.zeros(pattern.size, np.int64)
    matched = 0
    for i in range(1, pattern.size):
        while matched and pattern[i] != pattern[matched]:
            matched = table[matched - 1]
        if pattern[i] == pattern[matched]:
            matched += 1
        table[i] = matched
    return table


@part()
def pattern_matches(
    x: NDArray[Any], pattern: NDArray[Any], table: NDArray[Any], at: int, out: NDArray[np.int64]
) -> tuple[int, int]:
    """Write where a pattern occurs from `at` on, until `out` is full; occurrences may overlap.

    Returns how many there are and where to go on. Vector instructions look for the first and
    the last byte of the pattern. Where too many places have both, each byte is looked at once
    instead, so that no text takes more than linear time.
    """
    size, found, wasted = pattern.size, 0, at * _PATIENCE
    end = x.size - size + 1
    while at < end:
        stop = min(at + _WINDOW, end)
        if _may_match(x[at:stop], x[at + size - 1 : stop + size - 1], pattern[0], pattern[-1]):
            for i in range(at, stop):
                if x[i] != pattern[0] or x[i + size - 1] != pattern[-1]:
                    continue
                equal = 1
                while equal < size and x[i + equal] == pattern[equal]:
                    equal += 1
                wasted += equal
                if equal == size:
                    out[found] = i
                    found += 1
                    if found == out.size:
                        return found, i + 1
                if wasted > i * _PATIENCE + 2 * size + _BLOCK:
                    return _linear_matches(x, pattern, table, i + 1, out, found)
        at = stop
    return found, x.size


@part()
def _linear_matches(
    x: NDArray[Any],
    pattern: NDArray[Any],
    table: NDArray[Any],
    at: int,
    out: NDArray[np.int64],
    found: int,
) -> tuple[int, int]:
    """Do the same by Knuth, Morris and Pratt, "Fast pattern matching in strings", 1977."""
    matched = 0
    for i in range(at, x.size):
        while matched and (matched == pattern.size or x[i] != pattern[matched]):
            matched = table[matched - 1]
        if x[i] == pattern[matched]:
            matched += 1
        if matched == pattern.size:
            out[found] = i - matched + 1
            found += 1
            if found == out.size:
                return found, i - matched + 2
    return found, x.size


@part()
def all_matches(x: NDArray[Any], pattern: NDArray[Any]) -> NDArray[np.int64]:
    """Return all places of a pattern."""
    table, out = borders(pattern), np.empty(_BLOCK, np.int64)
    at, places = 0, out[:0]
    while at < x.size:
        found, at = pattern_matches(x, pattern, table, at, out)
        places, out = np.concatenate((places, out[:found])), np.empty(2 * out.size, np.int64)
    return places


@jit(lambda: [(piece_type("u1"),)])
def border_table(pattern: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Do for a pattern of bytes what `borders` does."""
    return borders(pattern)


@jit(
    lambda: [(piece_type("u1"), piece_type("u1"), numba.int64[::1], numba.int64, numba.int64[::1])]
)
def find_pattern(
    x: NDArray[np.uint8],
    pattern: NDArray[np.uint8],
    table: NDArray[np.int64],
    at: int,
    out: NDArray[np.int64],
) -> tuple[int, int]:
    """Do for bytes what `pattern_matches` does."""
    return pattern_matches(x, pattern, table, at, out)
