"""The short way of `gather` and `scatter`: for few rows of arrays that numpy itself has allocated.

No file is behind these, so nothing can be cold or get lost; and of two that numpy has allocated
apart, neither is a part of the other. What else there is to be found out costs as much as a call of
numpy, or less. Whatever is not as it must be goes the long way, which says so.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine.addressed import ADDRESSED, address_of
from mmapio.kernels.engine.jit import entry, jit, part
from mmapio.kernels.rows.addresses import peek_at
from mmapio.kernels.rows.copying import gather_at, scatter_at

__all__ = ["are_few", "by_short_way", "gathered", "owner_of", "scattered"]

P = ParamSpec("P")
R = TypeVar("R")

# Up to so many bytes, a row counting for some more than it has, one thread is done before another
# has begun.
_ALONE_BYTES = 8 << 20
_ROW_BYTES = 16
# Numpy's flags, of which one look is quicker than two.
_C, _OWNS, _ALIGNED, _WRITEABLE = 1, 4, 0x100, 0x400
_ARRAY, _INT64 = np.ndarray, np.dtype(np.int64)
_WORD = numba.int64
_GATHER_TYPES = (ADDRESSED, _WORD, _WORD, ADDRESSED, _WORD, ADDRESSED, _WORD)
_SCATTER_TYPES = (ADDRESSED, _WORD, _WORD, ADDRESSED, _WORD, ADDRESSED)


def by_short_way(
    short: Callable[..., tuple[Any] | None], most: int
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function go a short way where it is called without options.

    Parameters
    ----------
    short : callable
        Returns the result in a tuple, or None if the function itself is to be called. It takes two
        or more arguments, `most` of them at most.
    most : int
        How many arguments there are without options.

    Returns
    -------
    callable
        A decorator that keeps the type of what it decorates.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if not kwargs and most - 1 <= len(args) <= most:
                found = short(*args)
                if found is not None:
                    result: R = found[0]
                    return result
            return function(*args, **kwargs)

        return call

    return decorate


def are_few(size: int, nbytes: int) -> bool:
    """Return whether one thread alone copies so many rows of so many bytes."""
    return size * (nbytes + _ROW_BYTES) <= _ALONE_BYTES


def gathered(a: Any, indices: Any, out: Any = None) -> tuple[NDArray[Any]] | None:
    """Return rows of an array in a tuple; None if they must go the long way."""
    rows = _rows(a, indices)
    if rows is None:
        return None
    total, nbytes, size, shape = rows
    if out is None:
        out, check = np.empty(shape, a.dtype), 0
    elif _fits(out, a, shape, _C | _WRITEABLE) and _is_apart(out, a, indices):
        check = 1
    else:
        return None
    return (out,) if _gather()(a, total, nbytes, indices, size, out, check) else None


def scattered(a: Any, indices: Any, values: Any = None) -> tuple[None] | None:
    """Store rows into an array; return None if they must go the long way, which may do it again."""
    rows = _rows(a, indices)
    if rows is None or not a.flags.num & _WRITEABLE:
        return None
    total, nbytes, size, shape = rows
    if not _fits(values, a, shape, _C) or owner_of(values) is None:
        return None
    if not _is_apart(a, values, indices):
        return None
    return (None,) if _scatter()(values, nbytes, size, indices, total, a) else None


def owner_of(array: NDArray[Any]) -> NDArray[Any] | None:
    """Return the array that numpy has allocated the memory of; None if it has not."""
    while not array.flags.num & _OWNS:
        base = array.base
        if type(base) is not np.ndarray:
            return None
        array = base
    return array


def _rows(a: Any, indices: Any) -> tuple[int, int, int, tuple[int, ...]] | None:
    """Return how many rows there are, of how many bytes, and how many to copy, and their shape.

    None if they are too many, or if either argument is of another kind.
    """
    if not type(a) is type(indices) is _ARRAY or indices.dtype is not _INT64:
        return None
    flags, more, shape = a.flags.num, indices.flags.num, a.shape
    if not flags & more & _C or not more & _ALIGNED or not shape or not shape[0]:
        return None
    total, size = shape[0], indices.size
    nbytes = a.nbytes // total
    if not 0 < size * (nbytes + _ROW_BYTES) <= _ALONE_BYTES or not nbytes or a.dtype.hasobject:
        return None
    if not flags & more & _OWNS and (owner_of(a) is None or owner_of(indices) is None):
        return None
    return total, nbytes, size, indices.shape + shape[1:]


def _fits(array: Any, a: NDArray[Any], shape: tuple[int, ...], flags: int) -> bool:
    """Return whether an array has the dtype of another one, this shape, and these flags."""
    if type(array) is not np.ndarray or array.dtype is not a.dtype:
        return False
    return array.shape == shape and array.flags.num & flags == flags


def _is_apart(array: NDArray[Any], one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Return whether the memory of an array was allocated apart from that of two others."""
    owner = owner_of(array)
    return owner is not None and owner is not owner_of(one) and owner is not owner_of(other)


@functools.cache
def _gather() -> Callable[..., bool]:
    return entry(_gather_near, *_GATHER_TYPES)


@functools.cache
def _scatter() -> Callable[..., bool]:
    return entry(_scatter_near, *_SCATTER_TYPES)


@jit(lambda: [_GATHER_TYPES])
def _gather_near(
    source: NDArray[Any],
    rows: int,
    nbytes: int,
    indices: NDArray[np.int64],
    size: int,
    target: NDArray[Any],
    check: int,
) -> bool:
    """Copy rows that follow each other; return whether all indices were in bounds.

    Where `check` is not 0, nothing is copied before that is known.
    """
    numbers = address_of(indices)
    if check and _any_stray(numbers, size, rows):
        return False
    here = (address_of(source), nbytes, rows)
    return gather_at(here, numbers, rows, 0, size, address_of(target), nbytes) == size


@jit(lambda: [_SCATTER_TYPES])
def _scatter_near(
    source: NDArray[Any],
    nbytes: int,
    size: int,
    indices: NDArray[np.int64],
    rows: int,
    target: NDArray[Any],
) -> bool:
    """Store rows, after a look at all indices; return whether they were in bounds."""
    numbers = address_of(indices)
    if _any_stray(numbers, size, rows):
        return False
    here, there = address_of(source), (address_of(target), nbytes, rows)
    done = scatter_at(here, nbytes, numbers, rows, 0, size, there, 0, rows, nbytes)
    return done == size


@part()
def _any_stray(numbers: int, size: int, rows: int) -> bool:
    """Return whether any index is out of bounds."""
    found = False
    for i in range(size):
        found |= bool(np.uint64(peek_at(numbers, i) + rows) >= np.uint64(rows + rows))
    return found
