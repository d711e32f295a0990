"""`touch_pages`: an array's memory mapped before it is needed."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mmapio import _os, atomics
from mmapio._os import Advice
from mmapio._pacing import paced
from mmapio._validation import as_flag, round_down
from mmapio.errors import ReadOnlyError
from mmapio.guard.lost_memory import noticing
from mmapio.kernels.engine.jit import jit, part
from mmapio.kernels.engine.read_ahead import Window
from mmapio.kernels.engine.threads import run_ranges, thread_count
from mmapio.pagecache.memory_hints import all_resident, hint, memory_of
from mmapio.pagecache.memory_room import bytes_to_come, check_room

__all__ = ["touch_pages"]

Way = Callable[[NDArray[np.uint8], bool], int]

_BYTES = numba.uint8[::1]
_FIXED_BYTES = numba.types.Array(numba.uint8, 1, "C", readonly=True)
# A page fault maps this much around it, of what is in the page cache.
_AROUND_BYTES = 64 << 10
_TRIAL_BYTES = 8 << 20
_PIECE_BYTES = 8 << 20
_SAMPLES = 16
_LINE_BYTES = 64
_SHORT_NS = 200_000
# What populating that much takes at most by whole folios; page by page it takes 10 times as long.
_WHOLE_NS = 100_000
_SHORT_BYTES = 64 << 20
# Were it a constant, LLVM would turn the addition of it into a load.
_NOTHING = np.uint8(0)
_INSTEAD = "touch a part of it, or all with touch_pages(..., force=True)"


@noticing
def touch_pages(
    a: NDArray[Any],
    *,
    write: bool = False,
    threads: int | None = None,
    progress: bool = False,
    force: bool = False,
) -> int:
    """Map every page of an array's memory, reading in what is missing.

    Parameters
    ----------
    a : numpy.ndarray
        Of any dtype, shape and layout. What lies between its lowest and its highest byte is
        touched, gaps of a strided view included.
    write : bool
        Map the pages for writing too. No byte changes, and no store of another thread or process
        is lost; a file's pages become dirty, and those of a copy-on-write mapping its own.
    threads : int, optional
        By default ``MMAPIO_NUM_THREADS``, else the CPUs that this process may use.
    progress : bool
        Show a progress bar on a terminal (needs tqdm), if there is enough to do for threads.
    force : bool
        Begin even if what is missing does not fit into the memory that is available. Of a file that
        is larger, the first pages have left the page cache again when the last ones are there.

    Returns
    -------
    int
        How many pages that memory lies on.

    Raises
    ------
    ReadOnlyError
        If `write` is asked of a read-only array.
    ArgumentError
        If `threads` is no number of threads.
    InsufficientMemoryError
        If what is missing does not fit into memory, and `force` is False; no page is touched then.

    Notes
    -----
    Pages are mapped by page faults or by madvise(2) with ``MADV_POPULATE_READ`` or
    ``MADV_POPULATE_WRITE``, whichever is faster on the first pages.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> kernels.touch_pages(np.zeros(1 << 20, "u1")) >= (1 << 20) // 65536
    True
    """
    array = np.asarray(a)
    write, force = as_flag(write, "write"), as_flag(force, "force")
    if write and not array.flags.writeable:
        raise ReadOnlyError("cannot touch the pages of a read-only array for writing")
    if threads is not None:  # the environment is looked at later: it takes longer than 1 MiB does
        threads = thread_count(threads)
    memory = memory_of(array)
    if not memory.size:
        return 0
    if memory.size > 2 * _TRIAL_BYTES:
        if not force:
            come = functools.partial(_to_come, memory, write)
            check_room(memory.size, "bring in", lambda: _INSTEAD, come)
        _touch_much(memory, write, threads, progress)
        return _pages_of(memory, _os.PAGE_SIZE)
    return _by_faults(memory, write)


def _to_come(memory: NDArray[np.uint8], write: bool) -> int:
    low = round_down(memory.ctypes.data, _os.PAGE_SIZE)
    return bytes_to_come(low, memory.ctypes.data + memory.size - low, writing=write)


def _touch_much(
    memory: NDArray[np.uint8], write: bool, threads: int | None, progress: bool
) -> None:
    """Find out which way is faster here, and go it; what costs least if it is the wrong one first.

    Reading 1 GiB in the page cache by faults, and by populating, on Linux 6.18: 115 and 134 ms on
    ext4 in single pages, 6 and 0.5 ms there in the largest folios, which is what a file is in
    depends on who read or wrote it; 71 and 67 ms on tmpfs. Two threads need half of that, but 1 ms
    where one needs 0.5: there is little to do then but to wait for each other.
    """
    if memory.size <= _SHORT_BYTES:
        faults_ns = _time_ns(_by_faults, memory[:_TRIAL_BYTES], write)
        if faults_ns * memory.size < _SHORT_NS * _TRIAL_BYTES:
            _by_faults(memory[_TRIAL_BYTES:], write)
            return
    _by_populating(memory[:1], write)  # a first call can take longer than to populate 1 GiB
    populating_ns = _time_ns(_by_populating, memory[:_TRIAL_BYTES], write)
    rest = memory[_TRIAL_BYTES:]
    if populating_ns < _WHOLE_NS:
        _by_populating(rest, write)
        return
    faults_ns = _time_ns(_by_faults, rest[:_TRIAL_BYTES], write)
    way = _by_populating if populating_ns < faults_ns else _by_faults
    _in_threads(way, rest[_TRIAL_BYTES:], write, threads, progress)


def _in_threads(
    way: Way, memory: NDArray[np.uint8], write: bool, threads: int | None, progress: bool
) -> None:
    """Go one way in pieces, ahead of which memory is read in that is missing."""
    first, step = memory.ctypes.data, memory.size // _SAMPLES
    is_warm = all_resident(first + number * step for number in range(_SAMPLES))
    window = None if is_warm else Window(memory, release=False)

    def touch(start: int, stop: int, worker: int) -> None:
        with window.passing(start, stop) if window else contextlib.nullcontext():
            way(memory[start:stop], write)

    nbytes = memory.size
    run_ranges(nbytes, _PIECE_BYTES, touch, threads=threads, progress=progress, nbytes=nbytes)


def _time_ns(way: Way, memory: NDArray[np.uint8], write: bool) -> int:
    start = time.perf_counter_ns()
    way(memory, write)
    return time.perf_counter_ns() - start


def _by_faults(memory: NDArray[np.uint8], write: bool) -> int:
    if write:
        return _touch_writing(memory, _os.PAGE_SIZE, _NOTHING)
    return _touch_reading(memory, _os.PAGE_SIZE)


def _by_populating(memory: NDArray[np.uint8], write: bool) -> int:
    """Do as `_by_faults` does where this fails: then that is what tells why."""
    start = memory.ctypes.data
    advice = Advice.POPULATE_WRITE if write else Advice.POPULATE_READ
    for low, high in paced(start, start + memory.size):
        if not hint(low, high, advice):
            return _by_faults(memory, write)
    return _pages_of(memory, _os.PAGE_SIZE)


@jit(lambda: [(_BYTES, numba.int64), (_FIXED_BYTES, numba.int64)])
def _touch_reading(memory: NDArray[np.uint8], page: int) -> int:
    """Let faults map pages in groups, then see to it that none was left out.

    In the order of the pages, the loads would have to wait for the faults between them.
    """
    lead = -int(memory.ctypes.data) % page
    pages = max(memory.size - lead, 0) // page
    group = _AROUND_BYTES // page
    for number in range(0, pages, group):
        atomics.load(memory, _place(lead, number, page), order="relaxed")
    for number in range(pages):
        atomics.load(memory, _place(lead, number, page), order="relaxed")
    atomics.load(memory, 0, order="relaxed")
    atomics.load(memory, memory.size - 1, order="relaxed")
    return _pages_of(memory, page)


@part()
def _place(lead: int, number: int, page: int) -> int:
    """Return a byte of a whole page: the same one of each would lie in the same set of a cache."""
    return lead + number * page + (number * _LINE_BYTES & (page - 1))


@jit(lambda: [(_BYTES, numba.int64, numba.uint8)])
def _touch_writing(memory: NDArray[np.uint8], page: int, nothing: np.uint8) -> int:
    """Write to every page what it holds, as one step that no other store can come between."""
    for at in range(0, memory.size, page):
        atomics.fetch_add(memory, at, nothing, order="relaxed")
    atomics.fetch_add(memory, memory.size - 1, nothing, order="relaxed")
    return _pages_of(memory, page)


@part()
def _pages_of(memory: NDArray[np.uint8], page: int) -> int:
    start = int(memory.ctypes.data)
    return (start + memory.size - 1) // page - start // page + 1
