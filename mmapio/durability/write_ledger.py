"""Ledgers of writes that may not be durable yet."""

from __future__ import annotations

import functools
import itertools
import math
import threading
from collections.abc import Iterable
from typing import NamedTuple

from .. import _forking
from ..errors import FlushError
from .policy import FlushPolicy

__all__ = ["Ledger", "Write", "hull"]
# So many writes are told apart; beyond that, neighbours are merged, down to half as many.
_MOST_ENTRIES = 1024


class Write(NamedTuple):
    """Pending bytes from `start` to `end`, with the number of bytes and of writes."""

    start: int
    end: int
    nbytes: int
    writes: int


_one_write = functools.partial(tuple.__new__, Write)  # in half the time of calling it


def hull(writes: Iterable[Write]) -> tuple[int, int]:
    """Return offset and length of the one range that holds all of some writes."""
    start, end = min(w.start for w in writes), max(w.end for w in writes)
    return start, end - start


class Ledger:
    """Account of the writes to one mapping that may not be durable, and of a sync that failed.

    A write is noted after its bytes are stored, and taken before they are synced. So whatever is
    stored while a sync is under way stays pending, and nothing is lost between sync and reset.

    A finalizer may interrupt any method here, and must not wait for what it has interrupted. It
    may use what takes no lock: `has_pending`, `flushes_itself`, `check`, `fail`, `failure` and
    `policy`, and no other.
    """

    __slots__ = (
        "__weakref__",
        "_flying",
        "_lock",
        "_most_bytes",
        "_most_writes",
        "_nbytes",
        "_pending",
        "_writes",
        "failure",
        "policy",
        "syncing",
    )

    def __init__(self, policy: FlushPolicy) -> None:
        self.policy = policy
        self.failure: tuple[int, str, str | None] | None = None
        self._most_bytes: float = policy.amount if policy.kind == "every_bytes" else math.inf
        self._most_writes: float = policy.amount if policy.kind == "every_writes" else math.inf
        if policy.kind == "always":
            self._most_writes = 1
        self._pending: list[Write] = []
        self._flying: list[Write] = []  # what is being synced
        self.renew()
        _forking.renew_in_child(self)

    def renew(self) -> None:
        """Make new locks: in a forked child, the old ones may be held by a thread that is gone."""
        self._lock = threading.Lock()
        self.syncing = threading.Lock()  # one sync at a time, or an error could be told to another
        self._pending = [*self._flying, *self._pending]
        self._flying = []
        self._nbytes = sum(write.nbytes for write in self._pending)
        self._writes = sum(write.writes for write in self._pending)

    @property
    def pending_bytes(self) -> int:
        """Bytes written that are not known to be durable."""
        with self._lock:
            return self._nbytes + sum(write.nbytes for write in self._flying)

    @property
    def pending_writes(self) -> int:
        """Number of writes that are not known to be durable."""
        with self._lock:
            return self._writes + sum(write.writes for write in self._flying)

    @property
    def has_pending(self) -> bool:
        """True if there are writes that are not known to be durable; asked without a lock."""
        # Twice, or a sync that fails meanwhile could move writes back behind this look.
        return bool(self._pending or self._flying or self._pending)

    @property
    def flushes_itself(self) -> bool:
        """True if the policy flushes without being told to."""
        return self.policy.kind != "manual"

    def check(self) -> None:
        """Raise the error of an earlier flush, if one has failed."""
        if self.failure is not None:
            raise FlushError(*self.failure)

    def fail(self, error: OSError, doing: str, path: str | None) -> FlushError:
        """Note that a sync has failed, so that its data may be lost; return the error to raise."""
        reason = error.strerror or str(error)
        text = f"cannot {doing}: {reason}; what was not yet durable may be lost: open the file anew"
        if self.failure is None:
            self.failure = (error.errno or 0, text, path)
        return FlushError(*self.failure)

    def add(self, start: int, length: int) -> list[Write] | None:
        """Note a write; return what is to be flushed for it now, if the policy says so."""
        if length == 0:
            return None
        with self._lock:
            self._pending.append(_one_write((start, start + length, length, 1)))
            self._nbytes += length
            self._writes += 1
            if self._nbytes >= self._most_bytes or self._writes >= self._most_writes:
                return self._take(self._pending, [])
            if len(self._pending) > _MOST_ENTRIES:
                self._pending = _merged(self._pending, _MOST_ENTRIES // 2)
            return None

    def take(self, start: int, end: int) -> list[Write]:
        """Return the pending writes of a range, which is about to be synced."""
        with self._lock:
            if not self._pending:
                return []
            left = [w for w in self._pending if w[1] <= start or w[0] >= end]
            if len(left) == len(self._pending):
                return []
            taken = []
            for write in self._pending:
                if write[1] > start and write[0] < end:
                    inside, outside = _cut(write, start, end)
                    taken.append(inside)
                    left += outside
            return self._take(taken, left)

    def _take(self, taken: list[Write], left: list[Write]) -> list[Write]:
        # In this order, for `has_pending`: at no time is a write in neither list.
        self._flying = self._flying + taken
        self._pending = left
        self._nbytes -= sum(write.nbytes for write in taken)
        self._writes -= sum(write.writes for write in taken)
        return taken

    def settle(self, taken: list[Write], durable: bool) -> None:
        """Forget what was taken, now that it is durable; or else note it again."""
        with self._lock:
            flying = [] if len(taken) == len(self._flying) else self._flying.copy()
            for write in taken if flying else ():
                flying.remove(write)
            if not durable:
                self._pending = self._pending + taken
                self._nbytes += sum(write.nbytes for write in taken)
                self._writes += sum(write.writes for write in taken)
            self._flying = flying


def _cut(write: Write, start: int, end: int) -> tuple[Write, list[Write]]:
    """Return the part of a write that lies in a range, and the parts that do not."""
    low, high = max(write.start, start), min(write.end, end)
    if (low, high) == (write.start, write.end):
        return write, []
    # Of writes that were merged it is not known where their bytes lie: evenly, then.
    length = write.end - write.start
    before = write.nbytes * (low - write.start) // length
    after = write.nbytes * (write.end - high) // length
    # The write itself is pending until the last of it is durable.
    in_front, behind = (write.writes, 0) if low > write.start else (0, write.writes)
    parts = [
        Write(write.start, low, before, in_front),
        Write(high, write.end, after, behind),
    ]
    inside = Write(low, high, write.nbytes - before - after, 0)
    return inside, [part for part in parts if part.start < part.end]


def _merged(writes: list[Write], most: int) -> list[Write]:
    """Merge writes that touch, and then the nearest, until there are at most so many."""
    spans = _joined(sorted(writes), 0)
    if len(spans) > most:
        gaps = sorted(after.start - before.end for before, after in itertools.pairwise(spans))
        spans = _joined(spans, gaps[len(spans) - most - 1])
    return spans


def _joined(writes: list[Write], gap: int) -> list[Write]:
    found = []
    start, end, nbytes, count = writes[0]
    for next_start, next_end, more_bytes, more_writes in writes[1:]:
        if next_start - end > gap:
            found.append(Write(start, end, nbytes, count))
            start, end, nbytes, count = next_start, next_end, more_bytes, more_writes
        else:
            end = max(end, next_end)
            nbytes += more_bytes
            count += more_writes
    return [*found, Write(start, end, nbytes, count)]
