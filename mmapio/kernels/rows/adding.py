"""`scatter_add`: sums by index, into an array that others may be adding to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from mmapio import atomics
from mmapio._values import as_items
from mmapio.atomics._rules import check_dtype, misaligned
from mmapio.errors import ArgumentError, ArgumentTypeError, ReadOnlyError
from mmapio.guard.lost_memory import noticing, raise_if_source_lost
from mmapio.kernels.engine.jit import jit, piece_type
from mmapio.kernels.engine.pieces import plain
from mmapio.kernels.engine.threads import run_ranges
from mmapio.kernels.rows.indices import Numbers, row_numbers

__all__ = ["scatter_add"]

_DTYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
_PIECE_ADDITIONS = 1 << 17
# What a processor keeps near to itself, and how much more there must be to add than to sum up.
_PRIVATE_BYTES = 256 << 10
_PRIVATE_ADDITIONS = 8

Place = tuple[int, int, int, int]
Steps = tuple[int, int]
Kernel = Callable[[NDArray[Any], Place, Numbers, NDArray[Any], Steps, int, int], None]


@noticing
def scatter_add(a: NDArray[Any], indices: Any, values: Any, *, threads: int | None = None) -> None:
    """Add to rows of an array by their numbers, in one step each: `numpy.add.at`, but shared.

    Threads and other processes may add to the same array at the same time, by this function or by
    `mmapio.atomics`, and nothing is lost.

    Parameters
    ----------
    a : numpy.ndarray
        Of one or more axes, of integers, float32 or float64, in native byte order and aligned.
        Each ``a[i]`` must lie in one piece.
    indices : array_like of integers
        Of any shape and integer dtype. Negative ones count from the end. Every occurrence of an
        index adds.
    values : array_like
        What can be broadcast to shape ``indices.shape + a.shape[1:]``, of values that the dtype of
        `a` holds. Sums of integers wrap around, so that 255 takes 1 from a ``uint8``.
    threads : int, optional
        By default ``MMAPIO_NUM_THREADS``, else the CPUs that this process may use.

    Raises
    ------
    OutOfBoundsError
        If an index is out of bounds; nothing is added then.
    ReadOnlyError
        If `a` is read-only.
    MisalignedError
        If the items of `a` do not lie at multiples of their own size.
    ArgumentError, ArgumentTypeError
        If `a` does not lie as it must or has another dtype, `indices` are no integers, or `values`
        do not fit.

    Notes
    -----
    It is for arrays that others add to meanwhile, and for all CPUs to add at once. In one thread
    `numpy.add.at` takes less time, for it does not have to do each addition in one step.

    Where many values go to few rows, threads sum them up by themselves first, and add the sums.
    Sums of floats depend on the order of additions by their rounding, which is not the same twice.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> bins = np.zeros(4, "i8")
    >>> kernels.scatter_add(bins, [0, 3, 3, -1], 1)
    >>> bins
    array([1, 0, 0, 3])
    """
    if not isinstance(a, np.ndarray):
        raise ArgumentTypeError(f"a must be an array, got {type(a).__name__!r}")
    array = plain(a)
    _check(array)
    # Copies: others may change what the user gave, or these additions do.
    numbers, shape = row_numbers(indices, len(array))
    rows = _values(values, array, shape)
    if not numbers.size or not array.size:
        return
    target, place = _line(array)
    source, steps = _flat(rows.reshape(numbers.size, -1))
    additions, columns = rows.size, place[3]
    is_private = array.nbytes <= _PRIVATE_BYTES and additions >= _PRIVATE_ADDITIONS * array.size
    kernel: Kernel = _add_sums if is_private else _add_each
    piece = max(1, max(_PIECE_ADDITIONS, _PRIVATE_ADDITIONS * array.size * is_private) // columns)

    def add(first: int, last: int, worker: int) -> None:
        kernel(target, place, numbers, source, steps, first, last)

    run_ranges(numbers.size, piece, add, threads=threads)


def _check(array: NDArray[Any]) -> None:
    """Refuse an array that has no cells to add to, or rows in several pieces."""
    check_dtype("fetch_add", array.dtype)
    if not array.flags.writeable:
        raise ReadOnlyError("cannot add to a, which is read-only")
    if not array.ndim:
        raise ArgumentError("a must have one or more axes, got a 0-d array")
    if not array[:1].flags.c_contiguous:
        raise ArgumentError(
            f"each row of a must lie in one piece; with shape {array.shape} and strides "
            f"{array.strides} it does not: use numpy.add.at, if nobody else adds"
        )
    size = array.itemsize
    if array.size and (array.ctypes.data % size or array.strides[0] % size):
        raise misaligned(array.dtype, "those of a do not")


def _values(values: Any, array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a view of values as rows of the array's dtype, which share no memory with it."""
    given = as_items(values, array.dtype)
    raise_if_source_lost(values)
    wanted = shape + array.shape[1:]
    try:
        whole = np.broadcast_to(given, wanted)
    except ValueError:
        raise ArgumentError(
            f"values of shape {given.shape} cannot be broadcast to {wanted}"
        ) from None
    if np.may_share_memory(whole, array):
        whole = whole.copy()
    return whole.reshape(math.prod(shape), *array.shape[1:])


def _line(array: NDArray[Any]) -> tuple[NDArray[Any], Place]:
    """Return the memory that an array spans as one line, so that the kernels have one type of it.

    And where in it the first row begins, how far it is to the next, and how many rows and columns
    there are.
    """
    rows, step = len(array), array.strides[0] // array.itemsize
    columns = array.size // rows
    lowest = array[::-1] if step < 0 else array
    span = (rows - 1) * abs(step) + columns
    line = np.lib.stride_tricks.as_strided(lowest, (span,), (array.itemsize,))
    return line, ((rows - 1) * -step if step < 0 else 0, step, rows, columns)


def _flat(rows: NDArray[Any]) -> tuple[NDArray[Any], Steps]:
    """Return rows as one line, and how far in it the next row and the next column are.

    So a number that is broadcast stays one, and the kernels have one type of values.
    """
    base, (down, across) = rows, rows.strides
    if down in (0, rows.itemsize * rows.shape[1]) and across in (0, rows.itemsize):
        base = rows[: 1 if down == 0 else None, : 1 if across == 0 else None]
    line = np.ascontiguousarray(base).reshape(-1).view()
    line.flags.writeable = False
    down_step = 0 if base.shape[0] == 1 else base.shape[1]
    return line, (down_step, 0 if base.shape[1] == 1 else 1)


def _signatures() -> list[tuple[Any, ...]]:
    """Return the types of what both kernels take."""
    count = numba.int64
    place, steps = types.UniTuple(count, 4), types.UniTuple(count, 2)
    return [
        (
            numba.from_dtype(np.dtype(one))[::1],
            place,
            count[::1],
            piece_type(one),
            steps,
            count,
            count,
        )
        for one in _DTYPES
    ]


@jit(_signatures)
def _add_each(
    a: NDArray[Any],
    place: Place,
    numbers: Numbers,
    values: NDArray[Any],
    steps: Steps,
    first: int,
    last: int,
) -> None:
    """Add rows of values one by one."""
    start, step, _, columns = place
    down, across = steps
    if columns == 1:  # a loop for itself: the one below takes twice as long
        for i in range(first, last):
            atomics.fetch_add(a, start + numbers[i] * step, values[i * down], "relaxed")
        return
    for i in range(first, last):
        for j in range(columns):
            value = values[i * down + j * across]
            atomics.fetch_add(a, start + numbers[i] * step + j, value, "relaxed")


@jit(_signatures)
def _add_sums(
    a: NDArray[Any],
    place: Place,
    numbers: Numbers,
    values: NDArray[Any],
    steps: Steps,
    first: int,
    last: int,
) -> None:
    """Sum rows of values up in memory of this thread's own, and add the sums."""
    start, step, rows, columns = place
    down, across = steps
    sums = np.zeros(rows * columns, a.dtype)
    if columns == 1:  # as above
        for i in range(first, last):
            sums[numbers[i]] += values[i * down]
    else:
        for i in range(first, last):
            number = numbers[i]
            for j in range(columns):
                sums[number * columns + j] += values[i * down + j * across]
    for i in range(rows):
        for j in range(columns):
            if sums[i * columns + j] != 0:
                value = sums[i * columns + j]
                atomics.fetch_add(a, start + i * step + j, value, "relaxed")
