"""Ring of reads: many at a time are under way, and the drive may take them in any order."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmapio import _forking, _os, atomics
from mmapio.files.closing import close_file
from mmapio.modes import Access
from mmapio.pagecache.memory_hints import memory_at

__all__ = ["Ring"]

# struct io_uring_sqe and io_uring_cqe of Linux, as far as a read needs them.
_REQUEST: Any = np.dtype(
    {
        "names": ["operation", "fd", "offset", "address", "nbytes", "tag"],
        "formats": ["u1", "i4", "u8", "u8", "u4", "u8"],
        "offsets": [0, 4, 8, 16, 24, 32],
        "itemsize": 64,
    }
)
_COMPLETION: Any = np.dtype([("tag", "u8"), ("found", "i4"), ("flags", "u4")])
_READ = 22
_WRAP = 1 << 32
_PAUSE_S = 0.001

# Rings that are open: what is left of one keeps the memory that the system may still write to.
_rings: set[Ring] = set()


class Ring:
    """Requests to read from a file into memory, and their completions.

    Reads under way are known from the words that the system itself counts in. So an exception that
    comes between any two steps, as by Ctrl-C, hides none of them from `close`.

    Parameters
    ----------
    entries : int
        How many reads are under way at most, a power of two.
    target : object
        Owner of the memory that is read into; it is kept until nothing is under way any more.

    Raises
    ------
    OSError
        If the system has no rings, or none for this process.
    """

    def __init__(self, entries: int, target: object) -> None:
        self._target = target
        self._fd = -1
        self._maps: list[tuple[int, int]] = []
        plan = _os.ring_setup(entries)
        self._fd = plan.fd
        self.entries = plan.entries
        try:
            _forking.renew_in_child(self)
            words = self._map(0, plan.length)
            requests = self._map(plan.requests, plan.entries * _REQUEST.itemsize)
        except BaseException:
            self._give_up()
            raise
        self._requests = requests.view(_REQUEST)
        self._requests[:] = 0
        self._requests["operation"] = _READ
        self._done = words[plan.done :][: plan.room * _COMPLETION.itemsize].view(_COMPLETION)
        self._words = words[: len(words) // 4 * 4].view(np.uint32)
        order = plan.order // 4
        self._words[order : order + plan.entries] = np.arange(plan.entries)
        parts = plan.head, plan.tail, plan.done_head, plan.done_tail
        self._head, self._tail, self._done_head, self._done_tail = (at // 4 for at in parts)
        _rings.add(self)

    def renew(self) -> None:
        """Give the ring up: in a child that is forked meanwhile, it is still the parent's."""
        fd, self._fd = self._fd, -1
        _rings.discard(self)
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)

    def prepare(
        self,
        fd: int,
        offsets: NDArray[np.int64],
        addresses: NDArray[np.int64],
        nbytes: int,
        tag: int,
    ) -> int:
        """Put as many reads into the ring as there is room for, tagged `tag` and following.

        Returns their number.
        """
        self._check_ours()
        tail = self._load(self._tail)
        count = min(len(offsets), self.entries - self._pending())
        places = (tail + np.arange(count)) % self.entries
        for name, values in (
            ("fd", fd),
            ("offset", offsets[:count]),
            ("address", addresses[:count]),
            ("nbytes", nbytes),
            ("tag", np.arange(tag, tag + count)),
        ):
            self._requests[name][places] = values
        self._store(self._tail, tail + count)
        return count

    def enter(self, wait: int) -> None:
        """Hand over what is prepared, and wait until so many reads are done, or for a signal."""
        self._check_ours()
        with contextlib.suppress(InterruptedError):
            _os.ring_enter(self._fd, self._prepared(), min(wait, self._pending()))

    def completed(self) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
        """Return the tags of reads that are done, and how many bytes each has found."""
        head, tail = self._load(self._done_head), self._load(self._done_tail)
        found = self._done[(head + np.arange((tail - head) % _WRAP)) % len(self._done)]
        self._check_ours()  # a parent's reads go to memory that this child has a copy of
        self._store(self._done_head, tail)
        return found["tag"], found["found"]

    def close(self) -> None:
        """Wait until nothing is under way, however often Ctrl-C is pressed, and give up the ring.

        The system would write to memory that somebody else has by then.
        """
        interrupt = None
        while self in _rings or self._maps:
            try:
                self._drain()
                self._give_up()
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def _check_ours(self) -> None:
        if self._fd < 0:
            raise OSError(errno.EBADF, "the ring was closed, or is that of a parent process")

    def _drain(self) -> None:
        while self._fd >= 0 and (left := self._under_way()):
            try:
                _os.ring_enter(self._fd, 0, left)
            except InterruptedError:
                pass
            except OSError:  # what is under way ends all the same
                time.sleep(_PAUSE_S)
            with contextlib.suppress(OSError):
                self.completed()

    def _give_up(self) -> None:
        """Unmap and close the ring."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close_file(fd)
        while self._maps:
            _os.unmap(*self._maps.pop())
        _rings.discard(self)
        self._target = None

    def _map(self, offset: int, length: int) -> NDArray[np.uint8]:
        address = _os.map_file(self._fd, offset, length, Access.WRITE)
        self._maps.append((address, length))
        return memory_at(address, length)

    def _prepared(self) -> int:
        """Return how many requests the system has not taken yet."""
        return (self._load(self._tail) - self._load(self._head)) % _WRAP

    def _under_way(self) -> int:
        """Return how many requests the system has taken, and were not seen to be done."""
        return (self._load(self._head) - self._load(self._done_head)) % _WRAP

    def _pending(self) -> int:
        return self._prepared() + self._under_way()

    def _load(self, word: int) -> int:
        return int(atomics.load(self._words, word, order="acquire"))

    def _store(self, word: int, value: int) -> None:
        atomics.store(self._words, word, value % _WRAP, order="release")
