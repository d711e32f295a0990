"""Ledgers of writes that may not be durable yet."""

from __future__ import annotations

import errno
import itertools
import math
import os
import threading
from collections.abc import Iterable

from .. import _forking
from ..errors import FlushError
from .policy import FlushPolicy

__all__ = ["Ledger", "Write", "hull"]
# So many writes are told apart; beyond that, neighbours are merged, down to half as many.
_MOST_ENTRIES = 1024


# Pending bytes: from where to where, how many that were, and by how many writes. A plain tuple, for
# there is one of each write, and a tuple with names takes twice as long.
Write = tuple[int, int, int, int]


def hull(writes: Iterable[Write]) -> tuple[int, int]:
    """Return offset and length of the one range that holds all of some writes."""
    start, end = min(write[0] for write in writes), max(write[1] for write in writes)
    return start, end - start


class Ledger:
    """Account of the writes to one mapping that may not be durable, and of a sync that failed.

    A write is noted after its bytes are stored. A sync takes a copy of what is noted before it
    begins, and forgets that when it is over. So whatever is stored while a sync is under way stays
    pending, nothing is lost between sync and reset, and a sync that ends early, by Ctrl-C or by an
    error, leaves the account as it was.

    A signal handler or a finalizer may interrupt any method here, and call any other. So there is
    no lock: all that is noted is in one dict, which changes by single operations, and at no time is
    a write that is not durable missing from it.
    """

    __slots__ = (
        "__weakref__",
        "_counts",
        "_is_merging",
        "_most_bytes",
        "_most_writes",
        "_nbytes",
        "_numbers",
        "_pending",
        "_writes",
        "failure",
        "policy",
        "syncing",
        "unheard",
    )

    def __init__(self, policy: FlushPolicy) -> None:
        self.policy = policy
        self.failure: tuple[int, str, str | None] | None = None
        self._most_bytes: float = policy.amount if policy.kind == "every_bytes" else math.inf
        self._most_writes: float = policy.amount if policy.kind == "every_writes" else math.inf
        if policy.kind == "always":  # whatever another thread has just set the count to
            self._most_writes = 0
        self._counts = policy.kind not in ("manual", "every_millis")
        self._numbers = itertools.count(1)
        self._pending: dict[int, Write] = {}
        # What the policy counts, from the last time that something was due.
        self._nbytes = 0
        self._writes = 0
        self.unheard: list[int] = []  # failures, noted by `_os.sync` at the very moment
        self.renew()
        _forking.renew_in_child(self)

    def renew(self) -> None:
        """Make a new lock: in a forked child, the old one may be held by a thread that is gone."""
        # One sync at a time, or an error could be told to another. A handler may sync within that
        # of the thread that it interrupts; whoever waits for this holds no other lock.
        self.syncing = threading.RLock()
        self._is_merging = False

    @property
    def pending_bytes(self) -> int:
        """Bytes written that are not known to be durable."""
        return sum(write[2] for write in self._pending.copy().values())

    @property
    def pending_writes(self) -> int:
        """Number of writes that are not known to be durable."""
        return sum(write[3] for write in self._pending.copy().values())

    @property
    def has_pending(self) -> bool:
        """True if there are writes that are not known to be durable."""
        return bool(self._pending)

    @property
    def flushes_itself(self) -> bool:
        """True if the policy flushes without being told to."""
        return self.policy.kind != "manual"

    def check(self) -> None:
        """Raise the error of an earlier flush, if one has failed."""
        if self.failure is not None:
            raise FlushError(*self.failure)
        if self.unheard:  # an interrupt came before anybody could say which
            raise self.fail(OSError(errno.EIO, os.strerror(errno.EIO)), "flush", None)

    def fail(self, error: OSError, doing: str, path: str | None) -> FlushError:
        """Note that a sync has failed, so that its data may be lost; return the error to raise."""
        reason = error.strerror or str(error)
        text = f"cannot {doing}: {reason}; what was not yet durable may be lost: open the file anew"
        if self.failure is None:
            self.failure = (error.errno or 0, text, path)
        return FlushError(*self.failure)

    def add(self, start: int, length: int) -> bool:
        """Note a write; return whether the policy says that something is to be flushed now."""
        if length == 0:
            return False
        pending = self._pending
        pending[next(self._numbers)] = (start, start + length, length, 1)
        if self._counts:
            self._nbytes += length
            self._writes += 1
            if self._nbytes >= self._most_bytes or self._writes >= self._most_writes:
                self._nbytes = self._writes = 0
                return True
        if len(pending) > _MOST_ENTRIES:
            self._merge()
        return False

    def extent(self) -> tuple[int, int]:
        """Return offset and length of the one range that holds all that is pending."""
        writes = self._pending.copy().values()
        return hull(writes) if writes else (0, 0)

    def pending(self) -> dict[int, Write]:
        """Return what is pending now, for a sync that begins after this."""
        return self._pending.copy()

    def settle(self, synced: dict[int, Write], start: int, end: int) -> None:
        """Forget what was pending in a range, now that it is durable."""
        pending = self._pending
        for number, write in synced.items():
            if write[1] > start and write[0] < end and number in pending:
                for part in _outside(write, start, end):  # first, so that it never is in no place
                    pending[next(self._numbers)] = part
                pending.pop(number, None)
        self._nbytes, self._writes = self.pending_bytes, self.pending_writes

    def _merge(self) -> None:
        """Note neighbours as one write; if this ends early, some are noted twice until a sync."""
        if self._is_merging:
            return
        try:
            self._is_merging = True
            pending = self._pending
            if not (parts := pending.copy()):  # a signal handler has flushed
                return
            for write in _merged(list(parts.values()), _MOST_ENTRIES // 2):
                pending[next(self._numbers)] = write
            for number in parts:
                pending.pop(number, None)
        finally:
            self._is_merging = False


def _outside(write: Write, start: int, end: int) -> list[Write]:
    """Return the parts of a write that lie outside of a range."""
    first, last, nbytes, writes = write
    low, high = max(first, start), min(last, end)
    if (low, high) == (first, last):
        return []
    # Of writes that were merged it is not known where their bytes lie: evenly, then.
    before = nbytes * (low - first) // (last - first)
    after = nbytes * (last - high) // (last - first)
    # The write itself is pending until the last of it is durable.
    in_front, behind = (writes, 0) if low > first else (0, writes)
    parts = [(first, low, before, in_front), (high, last, after, behind)]
    return [part for part in parts if part[0] < part[1]]


def _merged(writes: list[Write], most: int) -> list[Write]:
    """Merge writes that touch, and then the nearest, until there are at most so many."""
    spans = _joined(sorted(writes), 0)
    if len(spans) > most:
        gaps = sorted(after[0] - before[1] for before, after in itertools.pairwise(spans))
        spans = _joined(spans, gaps[len(spans) - most - 1])
    return spans


def _joined(writes: list[Write], gap: int) -> list[Write]:
    found = []
    start, end, nbytes, count = writes[0]
    for next_start, next_end, more_bytes, more_writes in writes[1:]:
        if next_start - end > gap:
            found.append((start, end, nbytes, count))
            start, end, nbytes, count = next_start, next_end, more_bytes, more_writes
        else:
            end = max(end, next_end)
            nbytes += more_bytes
            count += more_writes
    return [*found, (start, end, nbytes, count)]
