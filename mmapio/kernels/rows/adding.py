"""`scatter_add`: sums by index, into an array that others may be adding to."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmapio._values import as_items
from mmapio.atomics._rules import check_dtype, misaligned
from mmapio.errors import ArgumentError, ArgumentTypeError, ReadOnlyError
from mmapio.guard.lost_memory import noticing, raise_if_source_lost
from mmapio.kernels.engine.pieces import plain
from mmapio.kernels.engine.threads import run_ranges, thread_count
from mmapio.kernels.rows.indices import Indices
from mmapio.kernels.rows.sums import Cells, Steps, add_each, add_sums, sum_up

__all__ = ["scatter_add"]

_PIECE_ADDITIONS = 1 << 17
# Of how many bytes sums are kept apart, and how many additions there must be to a word of them: to
# add that takes as long as to add once without.
_PRIVATE_BYTES = 4 << 20
_ADDITIONS_TO_A_WORD = 1.5
# How many additions a table of sums must save, each of them and each of its cells; and how many
# tables there are at most.
_TABLE_ADDITIONS = 1 << 19
_ADDITIONS_TO_A_CELL = 16
_MOST_TABLES = 64
_WORD_BYTES = 8


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
    It is for arrays that others add to meanwhile. Where many values go to few rows, threads sum
    them up by themselves first, and add the sums: that takes less time than `numpy.add.at`, and the
    result does not depend on the number of threads.

    Elsewhere each value is added in one step. That takes some 5 ns, several times an addition of
    `numpy.add.at`, if its cell is in the processor's cache; if it is not, memory takes longer than
    that, and this function asks for more of it at once. Sums of floats then depend on the order of
    additions by their rounding, which is not the same twice.

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
    threads = None if threads is None else thread_count(threads)
    chosen = Indices.of(indices, len(array))
    rows = _values(values, array, chosen.shape)
    if not chosen.flat.size or not array.size:
        chosen.check()
        return
    chosen = chosen.apart_from(array)
    job = _Job(_line(array), chosen, *_flat(rows.reshape(chosen.flat.size, -1)), threads)
    words = array.size * array.itemsize / _WORD_BYTES
    if array.nbytes <= _PRIVATE_BYTES and rows.size >= _ADDITIONS_TO_A_WORD * words:
        job.add_by_sums()
    else:
        job.add_one_by_one()


class _Job(NamedTuple):
    """Additions to make: of rows of values to those that the indices choose."""

    cells: Cells
    chosen: Indices
    values: NDArray[Any]
    steps: Steps
    threads: int | None

    def add_one_by_one(self) -> None:
        """Add each value to its cell, after a look at all indices."""
        chosen = self.chosen
        chosen.check()

        def add(first: int, last: int, worker: int) -> None:
            flat, start, stop = chosen.part(first, last)
            end = add_each(
                *(*self.cells, flat, chosen.back, start, stop), *(self.values, self.steps, first)
            )
            if end < stop:
                raise chosen.outside(first + end - start)

        piece = max(1, _PIECE_ADDITIONS // self.cells.place[3])
        run_ranges(chosen.flat.size, piece, add, threads=self.threads)

    def add_by_sums(self) -> None:
        """Sum values up in tables, and add these; nothing is added before all indices were seen.

        How many tables there are depends on the sizes alone, and so does the order of additions.
        """
        chosen, (memory, place) = self.chosen, self.cells
        size, cells = chosen.flat.size, place[2] * place[3]
        least = max(_TABLE_ADDITIONS, _ADDITIONS_TO_A_CELL * cells)
        piece = -(-size // max(1, min(_MOST_TABLES, size * place[3] // least)))
        # -0.0 and nothing else can be added to any float and leaves it as it is.
        nothing = -0.0 if memory.dtype.kind == "f" else 0
        tables: list[Any] = [None] * -(-size // piece)

        def sum_piece(first: int, last: int, worker: int) -> None:
            table = np.full(cells, nothing, memory.dtype)
            flat, start, stop = chosen.part(first, last)
            end = sum_up(
                *(table, place, flat, chosen.back, start, stop), *(self.values, self.steps, first)
            )
            if end < stop:
                chosen.check()  # for the first one of all
                raise chosen.outside(first + end - start)
            tables[first // piece] = table

        run_ranges(size, piece, sum_piece, threads=self.threads)
        raise_if_source_lost(chosen.given)
        total, *others = tables
        with np.errstate(all="ignore"):
            for other in others:
                total += other
        add_sums(memory, place, total)


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
    if np.may_share_memory(given, array):
        given = given.copy()
    rows = (math.prod(shape), *array.shape[1:])
    if given.shape == wanted:
        return given.reshape(rows)
    try:
        return np.broadcast_to(given, wanted).reshape(rows)
    except ValueError:
        raise ArgumentError(
            f"values of shape {given.shape} cannot be broadcast to {wanted}"
        ) from None


def _line(array: NDArray[Any]) -> Cells:
    """Return the memory that an array spans as one line, so that the kernels have one type of it.

    Integers are added as unsigned ones, which is the same.
    """
    rows, step = len(array), array.strides[0] // array.itemsize
    columns = array.size // rows
    if step == columns or rows == 1:
        line = array.reshape(-1)
        step = columns
    else:
        lowest = array[::-1] if step < 0 else array
        span = (rows - 1) * abs(step) + columns
        line = np.lib.stride_tricks.as_strided(lowest, (span,), (array.itemsize,))
    return Cells(_unsigned(line), ((rows - 1) * -step if step < 0 else 0, step, rows, columns))


def _unsigned(items: NDArray[Any]) -> NDArray[Any]:
    """Return integers as unsigned ones, and floats as they are; a view in any case."""
    return items.view(f"u{items.itemsize}" if items.dtype.kind == "i" else items.dtype)


def _flat(rows: NDArray[Any]) -> tuple[NDArray[Any], Steps]:
    """Return rows as one line, and how far in it the next row and the next column are.

    So a number that is broadcast stays one, and the kernels have one type of values.
    """
    base, (down, across) = rows, rows.strides
    if down in (0, rows.itemsize * rows.shape[1]) and across in (0, rows.itemsize):
        base = rows[: 1 if down == 0 else None, : 1 if across == 0 else None]
    line = _unsigned(np.ascontiguousarray(base).reshape(-1))
    line.flags.writeable = False
    down_step = 0 if base.shape[0] == 1 else base.shape[1]
    return line, (down_step, 0 if base.shape[1] == 1 else 1)
