"""Reading ahead and releasing behind, for arrays larger than memory.

On the choice of advice, measured on Linux 6.18, for 1 GiB of a file on ext4 of which the page cache
has large folios (single pages):

- ``MADV_PAGEOUT`` takes pages out of this process and out of the page cache in 9 (300) ms. It
  leaves alone what other processes map.
- ``MADV_DONTNEED`` takes them out of this process alone in 2 (45) ms: right for pages that were in
  the cache before. Private memory would lose its content.
- ``MADV_COLD`` takes them out of neither.
- Of a private mapping nothing takes pages out of this process alone: of what is known to be clean,
  as by /proc/self/pagemap, a thread may write to a page before ``MADV_DONTNEED`` drops it. So what
  was in memory before stays mapped there, and is counted as resident. It is the page cache, which
  the system can take back; ``MADV_PAGEOUT`` would have the next scan read 1 GiB from disk.
- ``mincore`` takes 20 ms where nothing is mapped yet.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from typing import Any

from numpy.lib.array_utils import byte_bounds
from numpy.typing import NDArray

from mmapio import _forking
from mmapio._os import Advice
from mmapio._validation import steps
from mmapio.errors import ArgumentError
from mmapio.pagecache.memory_hints import all_resident, hint, missing_runs, prefetch, what_backs

__all__ = ["Window", "require_following"]

# What is looked at and released together, a multiple of the largest folios, so that none is torn. A
# block whose samples are in memory counts as all in memory: to ask for each page would slow down
# the scan of what is in memory by a third. There are 8 in a block, by chance, so that no pattern of
# what is in memory can meet them: on average no more than 1/9 * (8/9)**8 or 4.3 % of a file stays
# in memory that was not there, if 1 page in 9 was missing; of a file all missing none does.
_BLOCK_BYTES = 8 << 20
_SAMPLE_BYTES = 1 << 20
_REACH_BLOCKS = 4
# A system that reads this far ahead of page faults is twice as fast at it as MADV_WILLNEED, which
# fills the page cache with single pages; one that reads 128 KiB ahead is half as fast.
_FAR_BYTES = 2 << 20


class Window:
    """Part of an array's memory that a pass over it needs now.

    Parameters
    ----------
    a : numpy.ndarray
        What is scanned, row by row, in the order of its memory.
    release : bool
        Release what the scan has passed. What was in memory before stays in the page cache.

    Raises
    ------
    ArgumentError
        If the rows do not follow each other in memory.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.kernels.engine.read_ahead import Window
    >>> a = np.arange(10)
    >>> window = Window(a)
    >>> with window.passing(2, 5):
    ...     a[2:5].sum()
    np.int64(9)
    """

    def __init__(self, a: NDArray[Any], *, release: bool = True) -> None:
        require_following(a)
        self._row_bytes = a.strides[0]
        self._start, self._stop = byte_bounds(a) if a.size else (0, 0)
        self._release = release
        backing = what_backs(self._start, self._stop)
        self._unmaps = backing.shared
        self._prefetches = backing.read_ahead_bytes < _FAR_BYTES
        self.renew()
        _forking.renew_in_child(self)
        self._next_block = self._start // _BLOCK_BYTES
        self._missing: dict[int, list[tuple[int, int]]] = {}
        self._left: dict[int, int] = {}  # bytes of blocks that have been passed in part
        self._look(self._start)

    def renew(self) -> None:
        """Make a new lock: a child forked within the call has no thread to let go of the old."""
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def passing(self, start: int, stop: int) -> Iterator[None]:
        """Surround the work on the rows from `start` to `stop`, from any thread.

        Such ranges follow each other upwards, with few of them under way at once.
        """
        last = min(self._start + stop * self._row_bytes, self._stop)
        self._look(last)
        yield
        if self._release:
            self._leave(self._start + start * self._row_bytes, last)

    def _look(self, address: int) -> None:
        """Find out what is missing up to some way behind an address, and have it read in."""
        limit = -(-self._stop // _BLOCK_BYTES)
        with self._lock:
            first = self._next_block
            last = min(limit, address // _BLOCK_BYTES + _REACH_BLOCKS)
            self._next_block = max(first, last)
        for block in range(first, last):
            missing = list(self._missing_in(block))
            if self._release:
                self._missing[block] = missing
            if self._prefetches:
                for start, stop in missing:
                    prefetch(start, stop)

    def _missing_in(self, block: int) -> Iterator[tuple[int, int]]:
        """Yield where the missing pages of a block are; none, if its samples are in memory."""
        start, stop = self._bounds(block)
        if not all_resident(random.randrange(*part) for part in steps(start, stop, _SAMPLE_BYTES)):
            yield from missing_runs(start, stop)

    def _leave(self, start: int, stop: int) -> None:
        """Release the blocks that nobody is in any more, after a range was left."""
        for block in range(start // _BLOCK_BYTES, -(-stop // _BLOCK_BYTES)):
            low, high = self._bounds(block)
            with self._lock:
                left = self._left.pop(block, high - low) - (min(stop, high) - max(start, low))
                if left:
                    self._left[block] = left
            if not left:
                for run in self._missing.pop(block, ()):
                    hint(*run, Advice.PAGEOUT)
                if self._unmaps:
                    hint(low, high, Advice.DONTNEED)

    def _bounds(self, block: int) -> tuple[int, int]:
        start = max(self._start, block * _BLOCK_BYTES)
        return start, min(self._stop, (block + 1) * _BLOCK_BYTES)


def require_following(a: NDArray[Any], axis: int = 0) -> None:
    """Refuse an array whose parts do not follow each other in memory.

    Parameters
    ----------
    a : numpy.ndarray
        What is scanned in the order of its indices.
    axis : int
        The last of the axes along which it is cut. Parts may lie in any way within themselves.

    Raises
    ------
    ArgumentError
        If two parts overlap, or the later one lies before the other.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.kernels.engine.read_ahead import require_following
    >>> require_following(np.zeros((4, 3))[:, ::-1])
    """
    extent = a.itemsize
    for number in reversed(range(a.ndim if a.size else 0)):
        length, step = a.shape[number], a.strides[number]
        again = step == 0 and extent == a.itemsize  # a repeated item is in one place
        if length > 1 and number <= axis and step < extent and not again:
            raise ArgumentError(
                f"rows must follow each other in memory to be released behind a scan; shape "
                f"{a.shape} with strides {a.strides} does not have them so"
            )
        extent += (length - 1) * abs(step)
