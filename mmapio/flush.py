"""When writes are made durable: `FlushPolicy`, what is pending, and the thread that keeps time.

Nothing here knows a mapping: what is to be flushed is a range of bytes, or a callable.
"""

from __future__ import annotations

import atexit
import functools
import heapq
import itertools
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ._validation import as_count, as_nbytes
from .errors import ArgumentError, ArgumentTypeError, FlushError

__all__ = ["FlushPolicy", "Flusher", "Ledger", "Write", "flusher", "hull"]

# So many writes are told apart; beyond that, neighbours are merged, down to half as many.
_MOST_ENTRIES = 1024


@dataclass(frozen=True, slots=True)
class FlushPolicy:
    """When a mapping makes durable what was written to it, besides when it is told to `flush`.

    Made by the class methods below, for the `flush_policy` of `MappedFile.open` and `open`. What
    counts as written is what goes through `write`, and what `mark_dirty` tells of stores through
    arrays, for nobody else sees these.

    A policy that flushes does so once more when the mapping is closed, or goes. A flush that fails
    is the last one: each later one raises the same `FlushError`, until the file is opened anew.

    Parameters
    ----------
    kind : str
        Name of the class method that made it.
    amount : int
        Its argument; 0 where it has none.
    on_error : callable, optional
        As in `every_millis`.

    Examples
    --------
    >>> import mmapio
    >>> policy = mmapio.FlushPolicy.every_bytes("1 MiB")
    >>> policy
    FlushPolicy.every_bytes(1048576)
    >>> with mmapio.MappedFile.open("log.bin", "x+", size=64, flush_policy=policy) as m:
    ...     _ = m.write(0, b"kept")
    ...     m.pending_bytes
    4
    """

    kind: str
    amount: int = 0
    on_error: Callable[[FlushError], object] | None = field(default=None, compare=False)

    @classmethod
    def manual(cls) -> FlushPolicy:
        """Return the policy of flushing only when told to; that of a mapping that is given none.

        Returns
        -------
        FlushPolicy
            The policy.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.FlushPolicy.manual()
        FlushPolicy.manual()
        """
        return cls("manual")

    @classmethod
    def always(cls) -> FlushPolicy:
        """Return the policy of flushing at each write: all that is dirty, when `write` returns.

        Returns
        -------
        FlushPolicy
            The policy.

        Examples
        --------
        >>> import mmapio
        >>> policy = mmapio.FlushPolicy.always()
        >>> with mmapio.MappedFile.open("safe.bin", "x+", size=64, flush_policy=policy) as m:
        ...     _ = m.write(0, b"durable when this returns")
        ...     m.pending_bytes
        0
        """
        return cls("always")

    @classmethod
    def every_bytes(cls, nbytes: int | str) -> FlushPolicy:
        """Return the policy of flushing whenever so many bytes were written.

        Parameters
        ----------
        nbytes : int or str
            Bytes, as in ``65536`` or ``"64 KiB"``; those written twice count twice.

        Returns
        -------
        FlushPolicy
            The policy.

        Raises
        ------
        ArgumentError
            If `nbytes` is not 1 or more.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.FlushPolicy.every_bytes("64 KiB")
        FlushPolicy.every_bytes(65536)
        """
        return cls("every_bytes", _one_or_more(as_nbytes(nbytes, "nbytes"), "nbytes"))

    @classmethod
    def every_writes(cls, count: int) -> FlushPolicy:
        """Return the policy of flushing at every so many writes.

        Parameters
        ----------
        count : int
            How many calls of `write` and `mark_dirty` one flush is for.

        Returns
        -------
        FlushPolicy
            The policy.

        Raises
        ------
        ArgumentError
            If `count` is not 1 or more.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.FlushPolicy.every_writes(100)
        FlushPolicy.every_writes(100)
        """
        return cls("every_writes", _one_or_more(as_count(count, "count"), "count"))

    @classmethod
    def every_millis(
        cls, millis: int, on_error: Callable[[FlushError], object] | None = None
    ) -> FlushPolicy:
        """Return the policy of flushing in the background, what was stored through arrays too.

        Parameters
        ----------
        millis : int
            Milliseconds from the end of a flush to the next.
        on_error : callable, optional
            Called with the `FlushError`, in the thread that flushes. Whether or not there is one,
            the next `write` or `flush` of the mapping raises the error.

        Returns
        -------
        FlushPolicy
            The policy. One thread serves all mappings that have it, and ends with the last one.

        Raises
        ------
        ArgumentError
            If `millis` is not 1 or more.
        ArgumentTypeError
            If `on_error` cannot be called.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.FlushPolicy.every_millis(10)
        FlushPolicy.every_millis(10)
        """
        if on_error is not None and not callable(on_error):
            raise ArgumentTypeError(f"on_error must be callable, got {type(on_error).__name__!r}")
        return cls("every_millis", _one_or_more(as_count(millis, "millis"), "millis"), on_error)

    def __repr__(self) -> str:
        return f"FlushPolicy.{self.kind}({self.amount or ''})"


def _one_or_more(value: int, name: str) -> int:
    if value == 0:
        raise ArgumentError(f"{name} must be 1 or more, got 0")
    return value


class Write(NamedTuple):
    """Bytes that are pending from `start` to `end`: how many were written, in how many writes."""

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
    """What was written to one mapping and is not known to be durable, and whether a sync failed.

    A write is noted after its bytes are stored, and taken before they are synced. So whatever is
    stored while a sync is under way stays pending, and nothing is lost between sync and reset.
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
        _ledgers.add(self)

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
        """How many bytes were written and are not known to be durable."""
        with self._lock:
            return self._nbytes + sum(write.nbytes for write in self._flying)

    @property
    def pending_writes(self) -> int:
        """How many writes were made and are not known to be durable."""
        with self._lock:
            return self._writes + sum(write.writes for write in self._flying)

    @property
    def flushes_itself(self) -> bool:
        """Whether the policy flushes without being told to."""
        return self.policy.kind != "manual"

    def check(self) -> None:
        """Raise what an earlier flush has failed with."""
        if self.failure is not None:
            raise FlushError(*self.failure)

    def fail(self, error: OSError, doing: str, path: str | None) -> FlushError:
        """Note that a sync has failed: nothing is known any more of what it was to write."""
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
        """Return what is pending of a range, which is about to be synced."""
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
        self._pending = left
        self._nbytes -= sum(write.nbytes for write in taken)
        self._writes -= sum(write.writes for write in taken)
        self._flying = self._flying + taken
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


class Flusher:
    """One thread that calls each of its tasks again and again, until the task says it is done.

    The thread is there while there are tasks. It is a daemon: the interpreter does not wait for
    it, but lets every task run once more before it ends.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._tasks: list[tuple[float, int, float, Callable[[], bool]]] = []
        self.renew()
        atexit.register(self.run_all)

    def renew(self) -> None:
        """Start afresh with the same tasks, as a forked child has to."""
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        with self._changed:
            self._start()

    @property
    def thread(self) -> threading.Thread | None:
        """The thread, while there is one."""
        return self._thread

    def add(self, every_s: float, task: Callable[[], bool]) -> None:
        """Call a task every so often, from now on, until it returns False."""
        with self._changed:
            heapq.heappush(self._tasks, self._entry(every_s, task))
            self._start()
            self._changed.notify()

    def remove(self, task: Callable[[], bool]) -> None:
        """Call a task no more; without any, the thread ends."""
        with self._changed:
            tasks = [entry for entry in self._tasks if entry[3] is not task]
            heapq.heapify(tasks)
            self._tasks = tasks
            self._changed.notify()

    def run_all(self) -> None:
        """Call every task once, in this thread."""
        with self._changed:
            tasks = [task for *_, task in self._tasks]
        for task in tasks:
            task()

    def _entry(
        self, every_s: float, task: Callable[[], bool]
    ) -> tuple[float, int, float, Callable[[], bool]]:
        return time.monotonic() + every_s, next(self._numbers), every_s, task

    def _start(self) -> None:
        if self._thread is None and self._tasks:
            self._thread = threading.Thread(target=self._run, name="mmapio-flusher", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        changed = self._changed  # that of this process
        while True:
            with changed:
                if not self._tasks:
                    self._thread = None
                    return
                wait_s = self._tasks[0][0] - time.monotonic()
                if wait_s > 0:
                    changed.wait(min(wait_s, threading.TIMEOUT_MAX))
                    continue
                # It keeps its place, so that a fork during the call does not lose it.
                _, number, every_s, task = self._tasks[0]
            again = _called(task)
            with changed:
                tasks = [entry for entry in self._tasks if entry[1] != number]
                if again:
                    tasks.append(self._entry(every_s, task))
                heapq.heapify(tasks)
                self._tasks = tasks  # in one step: a fork may come between any two
            del task


def _called(task: Callable[[], bool]) -> bool:
    """Call a task; one that fails is done, and says why on the standard error stream."""
    try:
        return task()
    except Exception:
        sys.excepthook(*sys.exc_info())
        return False


_ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()
flusher = Flusher()


def _after_fork() -> None:
    for ledger in list(_ledgers):
        ledger.renew()
    flusher.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
