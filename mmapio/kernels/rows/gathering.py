"""`gather` and `scatter`: rows of an array by their numbers, from memory or from the disk."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmapio import _os
from mmapio._extras import require
from mmapio._validation import refuse_masks, steps
from mmapio._values import as_items
from mmapio.errors import ArgumentError, ArgumentTypeError, ReadOnlyError
from mmapio.guard.lost_memory import noticing, raise_if_source_lost
from mmapio.kernels.engine.pieces import plain
from mmapio.kernels.engine.threads import run_chunks, run_ranges, thread_count
from mmapio.kernels.rows.cold import read_rows
from mmapio.kernels.rows.copying import Numbers, Place, gather_rows, move_rows, scatter_rows
from mmapio.kernels.rows.indices import Indices
from mmapio.kernels.rows.short_way import are_few, by_short_way, gathered, scattered
from mmapio.pagecache.memory_hints import all_resident, memory_of, prefetch

__all__ = ["gather", "scatter"]

_PIECE_BYTES = 1 << 20
_PIECE_ROWS = 1 << 16
# So long must rows be for threads to win where each looks at all of their numbers.
_LONG_BYTES = 64
# One row in so many is looked at, but never many of them: it takes as long as to copy some.
_SAMPLED_ROWS = 1024
_MOST_SAMPLES = 16
# How much is read in before it is copied: pages that come much earlier might be gone again.
_GROUP_BYTES = 256 << 20
_ADVISED_RUNS = 256
_BLOCK_BYTES = 32 << 20
_BLOCK_ROWS = 1 << 20


class _RowsInMemory(NamedTuple):
    """Rows in memory, and how far it is from one to the next."""

    array: NDArray[Any]
    step: int
    total: int
    nbytes: int

    @property
    def address(self) -> int:
        """The address of the first row."""
        return self.array.ctypes.data

    @property
    def place(self) -> Place:
        """The place of the rows within the memory that they span."""
        back = (self.total - 1) * -self.step if self.step < 0 else 0
        return back, self.step, self.total

    @property
    def memory(self) -> NDArray[np.uint8]:
        """The memory that the rows span, which may be written to if the array may."""
        return memory_of(self.array if self.step or self.total < 2 else self.array[:1])

    @property
    def source(self) -> NDArray[np.uint8]:
        """The same for reading: kernels are compiled for that one kind of array."""
        memory = self.memory
        memory.flags.writeable = False
        return memory

    @property
    def may_be_cold(self) -> bool:
        """True unless numpy itself has allocated the memory: no file is behind that."""
        base: Any = self.array
        while isinstance(base.base, np.ndarray):
            base = base.base
        return not base.flags.owndata


class _Move(NamedTuple):
    """Rows to copy, and the places they go to."""

    source: _RowsInMemory
    source_numbers: Numbers
    target: _RowsInMemory
    target_numbers: Numbers

    def run(self, first: int, last: int) -> None:
        """Make the copies from `first` to `last`."""
        move_rows(
            self.source.address,
            self.source.step,
            self.source_numbers,
            self.target.address,
            self.target.step,
            self.target_numbers,
            first,
            last,
            self.source.nbytes,
        )


class _Crew(NamedTuple):
    """Threads that copy, and what the caller's own one reports the rows done to."""

    threads: int | None
    tell: Callable[[int], object] | None


@by_short_way(gathered, 3)
@noticing
def gather(
    a: NDArray[Any],
    indices: Any,
    out: NDArray[Any] | None = None,
    *,
    threads: int | None = None,
    progress: bool = False,
) -> NDArray[Any]:
    """Copy rows of an array by their numbers, as `numpy.take` does along the first axis.

    Parameters
    ----------
    a : numpy.ndarray
        Of one or more axes and any dtype without objects. Each ``a[i]`` must lie in one piece.
    indices : array_like of integers
        Of any shape and integer dtype. Negative ones count from the end; duplicates are allowed.
    out : numpy.ndarray, optional
        Takes the rows: in C order, of the dtype of `a` and of shape
        ``indices.shape + a.shape[1:]``. It must not overlap `a`.
    threads : int, optional
        By default ``MMAPIO_NUM_THREADS``, else the CPUs that this process may use.
    progress : bool
        Show a progress bar on a terminal (needs tqdm).

    Returns
    -------
    numpy.ndarray
        `out`, or a new array.

    Raises
    ------
    OutOfBoundsError
        If an index is out of bounds; nothing is written then.
    ReadOnlyError
        If `out` is read-only.
    ArgumentError, ArgumentTypeError
        If `a` or `out` does not lie as it must, or `indices` are no integers.

    Notes
    -----
    If rows are missing from memory, by a sample of them, all are read in together, in the order in
    which they lie in the file: a few thousand of at most 32 KiB straight from the file by io_uring,
    where the system allows it, and others by read-ahead, after which they are copied.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> a = np.arange(12).reshape(4, 3)
    >>> kernels.gather(a, [3, 0, -1])
    array([[ 9, 10, 11],
           [ 0,  1,  2],
           [ 9, 10, 11]])
    """
    array = plain(a)
    source = _layout_of(array, "a")
    threads = _threads(threads)
    chosen = Indices.of(indices, source.total)
    if out is None:
        out = np.empty(chosen.shape + array.shape[1:], array.dtype)
    else:
        _check_out(out, array, chosen.shape)
        chosen = chosen.apart_from(out)
        chosen.check()
    size = chosen.flat.size
    if not size or not source.nbytes:
        chosen.check()
        return out
    if not progress and not _looks_cold(source, chosen):
        if are_few(size, source.nbytes):
            _gather_some(source, chosen, memory_of(out), 0, size)
        else:
            _gather(source, chosen, out, _Crew(threads, None))
        return out
    with _crew(thread_count(threads), progress, source.nbytes, size) as crew:
        if _looks_cold(source, chosen):
            numbers = chosen.numbers()
            order = np.argsort(numbers)
            numbers = numbers[order]
            target = _layout_of(np.asarray(out).reshape(size, *array.shape[1:]), "out")
            left = ~read_rows(source, numbers, target, order, out, crew.tell)
            if left.any():
                numbers, order = numbers[left], order[left]
                _from_disk(_Move(source, numbers, target, order), source, numbers, crew)
        else:
            _gather(source, chosen, out, crew)
    return out


@by_short_way(scattered, 3)
@noticing
def scatter(
    a: NDArray[Any],
    indices: Any,
    values: Any,
    *,
    threads: int | None = None,
    progress: bool = False,
) -> None:
    """Store rows into an array by their numbers, as ``a[indices] = values`` does.

    Parameters
    ----------
    a : numpy.ndarray
        Of one or more axes and any dtype without objects. Each ``a[i]`` must lie in one piece.
    indices : array_like of integers
        Of any shape and integer dtype. Negative ones count from the end. Of rows for the same
        index, the last one stays.
    values : array_like
        What can be broadcast to shape ``indices.shape + a.shape[1:]``, of values that the dtype of
        `a` holds.
    threads : int, optional
        By default ``MMAPIO_NUM_THREADS``, else the CPUs that this process may use. The result does
        not depend on it.
    progress : bool
        Show a progress bar on a terminal (needs tqdm).

    Raises
    ------
    OutOfBoundsError
        If an index is out of bounds; nothing is written then.
    ReadOnlyError
        If `a` is read-only.
    ArgumentError, ArgumentTypeError
        If `a` does not lie as it must, `indices` are no integers, one has a mask, or `values` do
        not fit; nothing is written then.
    MappingLostError
        If memory that is read or written is of a file that has lost it.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> a = np.zeros((4, 2), int)
    >>> kernels.scatter(a, [0, -1, 0], [[1, 1], [2, 2], [3, 3]])
    >>> a
    array([[3, 3],
           [0, 0],
           [0, 0],
           [2, 2]])
    """
    if not isinstance(a, np.ndarray):
        raise ArgumentTypeError(f"a must be an array, got {type(a).__name__!r}")
    if not a.flags.writeable:
        raise ReadOnlyError("cannot store into a, which is read-only")
    array = plain(a)
    target = _layout_of(array, "a")
    threads = _threads(threads)
    if target.total > 1 and abs(target.step) < target.nbytes:
        raise ArgumentError("the rows of a overlap, so that their order would decide what stays")
    chosen = Indices.of(indices, target.total).apart_from(array)
    rows = _values(values, array, chosen.shape)
    chosen.check()
    size = chosen.flat.size
    if not size or not target.nbytes:
        return
    source = _layout_of(rows, "values")
    if not progress and not _looks_cold(target, chosen):
        _scatter(source, chosen, target, _Crew(threads, None))
        return
    with _crew(thread_count(threads), progress, source.nbytes, size) as crew:
        if _looks_cold(target, chosen):
            numbers = chosen.numbers()
            order = np.argsort(numbers, kind="stable")
            numbers = numbers[order]
            stays = np.append(numbers[1:] != numbers[:-1], True)
            order, numbers = order[stays], numbers[stays]
            _from_disk(_Move(source, order, target, numbers), target, numbers, crew)
        else:
            _scatter(source, chosen, target, crew)


def _threads(threads: int | None) -> int | None:
    """Check a number of threads. Without one, the CPUs are counted where there is work for them."""
    return None if threads is None else thread_count(threads)


@contextlib.contextmanager
def _crew(threads: int, progress: bool, nbytes: int, rows: int) -> Iterator[_Crew]:
    """Yield who is to copy rows of `nbytes`, beside a bar on request; it is full at the end."""
    if not progress:
        yield _Crew(threads, None)
        return
    tqdm = require("tqdm", "cli").tqdm
    with tqdm(
        total=rows * nbytes, unit="B", unit_scale=True, unit_divisor=1024, disable=None
    ) as bar:
        yield _Crew(threads, lambda done: bar.update(done * nbytes - bar.n))
        bar.update(bar.total - bar.n)


def _layout_of(array: NDArray[Any], name: str) -> _RowsInMemory:
    """Describe the rows of an array, each of which must lie in one piece."""
    if array.dtype.hasobject:
        raise ArgumentTypeError(f"{name} holds Python objects, which have no bytes of their own")
    if not array.ndim:
        raise ArgumentError(f"{name} must have one or more axes, got a 0-d array")
    if not array[:1].flags.c_contiguous:
        raise ArgumentError(
            f"each row of {name} must lie in one piece; with shape {array.shape} and strides "
            f"{array.strides} it does not: copy it to C order, or use numpy.take"
        )
    total = len(array)
    nbytes = array.nbytes // total if total else 0
    return _RowsInMemory(array, array.strides[0], total, nbytes)


def _check_out(out: Any, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    refuse_masks(out)
    wanted = shape + array.shape[1:]
    if not isinstance(out, np.ndarray) or out.dtype != array.dtype:
        kind = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
        raise ArgumentTypeError(f"out must be an array of {array.dtype}, got {kind}")
    if out.shape != wanted or not out.flags.c_contiguous:
        raise ArgumentError(
            f"out must have shape {wanted} in C order, got {out.shape} with strides {out.strides}"
        )
    if not out.flags.writeable:
        raise ReadOnlyError("cannot gather into out, which is read-only")
    if np.may_share_memory(out, array):
        raise ArgumentError("out must not overlap the array that rows are taken from")


def _values(values: Any, array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return values as rows of the array's dtype, which share no memory with it."""
    given = as_items(values, array.dtype)
    raise_if_source_lost(values)
    if np.may_share_memory(given, array):
        given = given.copy()
    row_shape = array.shape[1:]
    rows = (math.prod(shape), *row_shape)
    if given.shape == shape + row_shape:
        return np.ascontiguousarray(given).reshape(rows)
    if given.shape == row_shape:
        return np.broadcast_to(np.ascontiguousarray(given).reshape(row_shape), rows)
    try:
        return np.ascontiguousarray(np.broadcast_to(given, shape + row_shape)).reshape(rows)
    except ValueError:
        raise ArgumentError(
            f"values of shape {given.shape} cannot be broadcast to {shape + row_shape}"
        ) from None


def _looks_cold(rows: _RowsInMemory, chosen: Indices) -> bool:
    if not rows.may_be_cold:
        return False
    step = max(_SAMPLED_ROWS, -(-chosen.flat.size // _MOST_SAMPLES))
    address = rows.address
    return not all_resident(address + number * rows.step for number in chosen.sample(step))


def _gather_some(
    source: _RowsInMemory, chosen: Indices, target: NDArray[np.uint8], first: int, last: int
) -> None:
    """Copy some of the rows from memory to their places in the memory of an array in C order."""
    flat, start, stop = chosen.part(first, last)
    end = gather_rows(
        *(source.source, source.place, flat, chosen.back, start, stop),
        *(target, first, source.nbytes),
    )
    if end < stop:
        chosen.check()  # for the first one of all
        raise chosen.outside(first + end - start)


def _gather(source: _RowsInMemory, chosen: Indices, out: NDArray[Any], crew: _Crew) -> None:
    """Copy rows from memory to an array in C order, in threads."""
    target = memory_of(out)

    def copy(first: int, last: int, worker: int) -> None:
        _gather_some(source, chosen, target, first, last)
        if crew.tell is not None and not worker:
            crew.tell(first)

    rows = max(1, min(_PIECE_ROWS, _PIECE_BYTES // source.nbytes))
    run_ranges(chosen.flat.size, rows, copy, threads=crew.threads)


def _scatter(source: _RowsInMemory, chosen: Indices, target: _RowsInMemory, crew: _Crew) -> None:
    """Copy rows to memory, of which the last one to a place stays.

    Of several threads, each looks at all indices, and stores to its own part of the target.
    """
    memory, written, place = source.source, target.memory, target.place
    nbytes, total, size = target.nbytes, target.total, chosen.flat.size
    parts = 1
    if nbytes >= _LONG_BYTES and not are_few(size, nbytes):
        parts = thread_count(crew.threads)

    def store(first: int, last: int) -> None:
        def work(part: int, worker: int) -> None:
            bounds = total * part // parts, total * (part + 1) // parts
            flat, start, stop = indices
            end = scatter_rows(
                *(memory, source.step, first, flat, chosen.back, start, stop),
                *(written, place, *bounds, nbytes),
            )
            if end < stop:
                raise chosen.outside(first + end - start)

        indices = chosen.part(first, last)
        if parts == 1:
            work(0, 0)
        else:
            run_chunks(parts, work, threads=parts)

    for first, last in steps(0, size, max(1, min(_BLOCK_ROWS, _BLOCK_BYTES // nbytes))):
        store(first, last)
        if crew.tell is not None:
            crew.tell(first)


def _in_pieces(move: _Move, first: int, last: int, crew: _Crew) -> None:
    """Make the copies from `first` to `last`, no two of them to the same place."""
    rows = max(1, min(_PIECE_ROWS, _PIECE_BYTES // move.source.nbytes))

    def copy(start: int, stop: int, worker: int) -> None:
        move.run(first + start, first + stop)
        if crew.tell is not None and not worker:
            crew.tell(first + start)

    run_ranges(last - first, rows, copy, threads=crew.threads)


def _from_disk(move: _Move, cold: _RowsInMemory, numbers: Numbers, crew: _Crew) -> None:
    """Make all copies, between them and the disk being rows whose `numbers` ascend."""
    rows = max(1, _GROUP_BYTES // max(_os.PAGE_SIZE, cold.nbytes))
    for first, last in steps(0, numbers.size, rows):
        _read_in(cold, numbers[first:last], crew.threads)
        _in_pieces(move, first, last, crew)


def _read_in(rows: _RowsInMemory, numbers: Numbers, threads: int | None) -> None:
    """Start to read rows in, those on neighbouring pages together."""
    page = _os.PAGE_SIZE
    addresses = rows.address + numbers * rows.step
    if rows.step < 0:
        addresses = addresses[::-1]
    starts = addresses // page * page
    stops = (addresses + rows.nbytes - 1) // page * page + page
    breaks = np.flatnonzero(starts[1:] > stops[:-1])
    starts = starts[np.append(0, breaks + 1)]
    stops = stops[np.append(breaks, numbers.size - 1)]

    def advise(first: int, last: int, worker: int) -> None:
        for run in zip(starts[first:last].tolist(), stops[first:last].tolist(), strict=True):
            prefetch(*run)

    run_ranges(starts.size, _ADVISED_RUNS, advise, threads=threads)
