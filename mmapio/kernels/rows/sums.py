"""Additions to cells that others add to as well: kernels, of one type for all layouts."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from mmapio import atomics
from mmapio.kernels.engine.jit import inside, jit, part, piece_type
from mmapio.kernels.rows.addresses import add_word, index_at, prefetch_line
from mmapio.kernels.rows.copying import Numbers

__all__ = ["Cells", "Place", "Steps", "add_each", "add_sums", "sum_up"]

Place = tuple[int, int, int, int]
Steps = tuple[int, int]

_DTYPES = ("u1", "u2", "u4", "u8", "f4", "f8")
_AHEAD_ROWS = 64
_WORD_BYTES = 8


class Cells(NamedTuple):
    """Memory as one line of items, and the rows in it.

    Where the first one begins, how far it is to the next, and how many rows and columns there are.
    """

    memory: NDArray[Any]
    place: Place


def _signatures(*kinds: str) -> list[tuple[Any, ...]]:
    """Return the types of arguments of these kinds, for all dtypes."""
    word = numba.int64
    fixed = {
        "place": types.UniTuple(word, 4),
        "steps": types.UniTuple(word, 2),
        "indices": piece_type("i8"),
        "int": word,
    }
    return [
        tuple(
            fixed.get(kind)
            or (piece_type(one) if kind == "values" else numba.from_dtype(np.dtype(one))[::1])
            for kind in kinds
        )
        for one in _DTYPES
    ]


def _adding_signatures() -> list[tuple[Any, ...]]:
    rows = ("cells", "place", "indices", "int", "int", "int")
    return _signatures(*rows, "values", "steps", "int")


@jit(_adding_signatures)
def add_each(
    a: NDArray[Any],
    place: Place,
    indices: Numbers,
    back: int,
    first: int,
    last: int,
    values: NDArray[Any],
    steps: Steps,
    row: int,
) -> int:
    """Add `row` and on of the values to rows ``indices[first:last]``, each cell in one step.

    `back` is what is added to an index that is out of bounds, once: the number of rows, or 0.
    Return the number of the index that is out of bounds even so, or `last`.
    """
    start, step, rows, columns = place
    down, across = steps
    numbers = indices.ctypes.data
    memory = a.ctypes.data + start * a.itemsize
    for i in range(first, last):
        # An addition in one step waits for its cell, and what follows waits for that.
        soon = index_at(numbers + min(i + _AHEAD_ROWS, last - 1) * 8)
        prefetch_line(memory + soon * step * a.itemsize)
        number = index_at(numbers + i * 8)
        if np.uint64(number) >= np.uint64(rows):
            number += back
            if np.uint64(number) >= np.uint64(rows):
                return i
        at, value = start + number * step, (row + i - first) * down
        if columns == 1:
            atomics.fetch_add(a, at, values[value], "relaxed")
        else:
            for j in range(columns):
                atomics.fetch_add(a, at + j, values[value + j * across], "relaxed")
    return last


@jit(_adding_signatures)
def sum_up(
    sums: NDArray[Any],
    place: Place,
    indices: Numbers,
    back: int,
    first: int,
    last: int,
    values: NDArray[Any],
    steps: Steps,
    row: int,
) -> int:
    """Add rows of values to a table of this thread's own; see `add_each`."""
    _, _, rows, columns = place
    down, across = steps
    numbers = indices.ctypes.data
    value = row * down
    if columns == 1:
        return _sum_items(sums, rows, numbers, back, first, last, values, value, down)
    for i in range(first, last):
        number = index_at(numbers + i * 8)
        if np.uint64(number) >= np.uint64(rows):
            number += back
            if np.uint64(number) >= np.uint64(rows):
                return i
        for j in range(columns):
            sums[np.uint64(number * columns + j)] += values[value + j * across]
        value += down
    return last


@part()
def _sum_items(
    sums: NDArray[Any],
    rows: int,
    numbers: int,
    back: int,
    first: int,
    last: int,
    values: NDArray[Any],
    value: int,
    down: int,
) -> int:
    """Add items to one table; see `sum_up`."""
    while True:
        # A loop for itself: what is seldom done would part its instructions.
        while first < last:
            number = index_at(numbers + first * 8)
            if np.uint64(number) >= np.uint64(rows):
                break
            sums[np.uint64(number)] += values[np.uint64(value)]
            value += down
            first += 1
        if first >= last:
            return last
        number = index_at(numbers + first * 8) + back
        if np.uint64(number) >= np.uint64(rows):
            return first
        sums[np.uint64(number)] += values[np.uint64(value)]
        value += down
        first += 1


@jit(lambda: _signatures("cells", "place", "cells"))
def add_sums(a: NDArray[Any], place: Place, sums: NDArray[Any]) -> None:
    """Add sums, one for each cell; those that are nothing are left out."""
    start, step, rows, columns = place
    if step == columns:
        _add_run(a, start, sums, 0, rows * columns)
    else:
        for i in range(rows):
            _add_run(a, start + i * step, sums, i * columns, columns)


@part()
def _add_run(a: NDArray[Any], at: int, sums: NDArray[Any], first: int, size: int) -> None:
    """Add some sums to cells that lie one after another: by words, and at both ends by cells."""
    memory = a.ctypes.data + at * a.itemsize
    head = min(size, (-memory % _WORD_BYTES) // a.itemsize)
    count = _WORD_BYTES // a.itemsize
    words = (size - head) // count
    tail = head + words * count
    _add_cells(a, at, sums, first, head)
    for i in range(head, tail, count):
        add_word(a, at + i, sums, first + i)
    _add_cells(a, at + tail, sums, first + tail, size - tail)


@part()
def _add_cells(a: NDArray[Any], at: int, sums: NDArray[Any], first: int, size: int) -> None:
    for i in range(size):
        value = sums[first + i]
        if not _is_nothing(value):
            atomics.fetch_add(a, at + i, value, "relaxed")


def _is_nothing(value: Any) -> bool:
    """Return whether to add a number never makes a difference, which it does for 0.0 and -0.0."""
    if isinstance(value, np.floating):
        return bool(value == 0 and math.copysign(1, value) < 0)
    return bool(value == 0)


@inside(_is_nothing)
def _is_nothing_inside(value: Any) -> Any:
    if isinstance(value, types.Float):
        return lambda value: value == 0 and math.copysign(1.0, value) < 0
    return lambda value: value == 0
