"""Threads of our own over kernels that hold no GIL.

Numba's ``parallel=True`` is not used: its workqueue layer aborts when two Python threads enter it.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue

from mmapio._extras import require
from mmapio.errors import ArgumentError
from mmapio.kernels._cpus import usable_cpus

__all__ = ["run_chunks", "thread_count"]

Body = Callable[[int, int], None]
Advance = Callable[[int, int], object]

_VARIABLE = "MMAPIO_NUM_THREADS"
_cpus = -math.inf, 1  # when it was looked up, and what was found


def thread_count(threads: int | None = None) -> int:
    """Return how many threads a job gets.

    Parameters
    ----------
    threads : int, optional
        What the caller asked for. By default the environment variable ``MMAPIO_NUM_THREADS``,
        else the CPUs that this process may use.

    Returns
    -------
    int
        At least 1; exactly 1 inside of a job, which keeps nested jobs on the thread they are on.

    Raises
    ------
    ArgumentError
        If the number is not a positive integer.

    Examples
    --------
    >>> from mmapio.kernels._pool import thread_count
    >>> thread_count(3)
    3
    """
    if _here.working:
        return 1
    if threads is not None:
        return _positive(threads, "threads")
    setting = os.environ.get(_VARIABLE)
    return _positive(setting, _VARIABLE) if setting else _recent_cpus()


def _recent_cpus() -> int:
    """Look at most once a second: reading quotas takes as long as scanning a few megabytes."""
    global _cpus
    now = time.monotonic()
    if now - _cpus[0] > 1:
        _cpus = now, usable_cpus()
    return _cpus[1]


def run_chunks(
    count: int, body: Body, *, threads: int | None = None, progress: bool = False, nbytes: int = 0
) -> None:
    """Call ``body(chunk, worker)`` for every chunk number below `count`, in threads.

    Parameters
    ----------
    count : int
        The number of chunks. Each is taken by the next free thread.
    body : callable
        Takes the chunk's number and the worker's, which is below ``thread_count(threads)`` and
        belongs to one thread at a time. Results that are kept by chunk number and combined in
        that order do not depend on the number of threads.
    threads : int, optional
        See `thread_count`.
    progress : bool
        Show a progress bar on a terminal (needs tqdm).
    nbytes : int
        What the bar counts up to.

    Raises
    ------
    BaseException
        The first that `body` raised, or the caller's own KeyboardInterrupt. No chunk is running
        any more by then.

    Examples
    --------
    >>> from mmapio.kernels._pool import run_chunks
    >>> squares = [0] * 4
    >>> run_chunks(4, lambda chunk, worker: squares.__setitem__(chunk, chunk**2), threads=2)
    >>> squares
    [0, 1, 4, 9]
    """
    workers = min(thread_count(threads), count)
    with _bar(nbytes) if progress else contextlib.nullcontext() as advance:
        job = _Job(count, body, advance)
        if workers > 1:
            _pool.invite(job, workers - 1)
        job.lead()


def _positive(value: int | str, name: str) -> int:
    """Check a number of threads, wherever it came from."""
    try:
        number = int(value) if isinstance(value, str) else operator.index(value)
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        raise ArgumentError(f"{name} must be a positive integer, got {value!r}")
    return number


@contextlib.contextmanager
def _bar(nbytes: int) -> Iterator[Advance]:
    """Yield what moves a bar to a fraction of `nbytes`; it is silent where nobody watches."""
    tqdm = require("tqdm", "cli").tqdm
    with tqdm(total=nbytes, unit="B", unit_scale=True, unit_divisor=1024, disable=None) as bar:
        yield lambda done, count: bar.update(nbytes * done // count - bar.n)


class _Job:
    """Chunks that the caller and its helpers take one by one."""

    def __init__(self, count: int, body: Body, advance: Advance | None) -> None:
        self._count = count
        self._body: Body | None = body
        self._advance = advance
        self._state = threading.Condition()
        self._taken = 0
        self._workers = 1
        self._helping = 0
        self._error: BaseException | None = None

    def lead(self) -> None:
        """Work as the caller's own thread; leave when nobody works any more."""
        try:
            self._work(0, self._advance)
            self._await_helpers()
            if self._error is not None:
                raise self._error
            if self._advance is not None:
                self._advance(1, 1)
        finally:
            self._close()

    def help(self) -> None:
        """Work as a thread of the pool, unless the job is over."""
        with self._state:
            if self._taken >= self._count:
                return
            worker = self._workers
            self._workers += 1
            self._helping += 1
        try:
            self._work(worker)
        except BaseException as error:
            self._stop(error)
        with self._state:
            self._helping -= 1
            self._state.notify_all()

    def _work(self, worker: int, advance: Advance | None = None) -> None:
        body, nested = self._body, _here.working
        assert body is not None
        _here.working = True
        try:
            while (chunk := self._take()) is not None:
                body(chunk, worker)
                if advance is not None:
                    advance(chunk, self._count)
        finally:
            _here.working = nested

    def _take(self) -> int | None:
        with self._state:
            if self._taken >= self._count:
                return None
            self._taken += 1
            return self._taken - 1

    def _stop(self, error: BaseException) -> None:
        with self._state:
            self._taken = self._count
            self._error = self._error or error

    def _await_helpers(self) -> None:
        with self._state:
            self._state.wait_for(lambda: not self._helping)

    def _close(self) -> None:
        """Stop the helpers, however often Ctrl-C is pressed, and let go of the caller's arrays.

        An invitation that nobody took up keeps the job alive; it must not keep them.
        """
        interrupt = None
        while self._body is not None:
            try:
                self._taken = self._count
                self._await_helpers()
                self._body = self._advance = self._error = None
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt


class _Pool:
    """Daemon threads that wait for invitations; they are made when they are first needed."""

    def __init__(self) -> None:
        self._invitations: SimpleQueue[_Job] = SimpleQueue()
        self._lock = threading.Lock()
        self._size = 0

    def invite(self, job: _Job, helpers: int) -> None:
        with self._lock:
            while self._size < helpers:
                self._size += 1
                name = f"mmapio-{self._size}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
        for _ in range(helpers):
            self._invitations.put(job)

    def _serve(self) -> None:
        while True:
            self._invitations.get().help()


class _Here(threading.local):
    """Whether this thread is inside of a job."""

    working = False


_here = _Here()
_pool = _Pool()


def _start_afresh() -> None:
    """Forget the threads and locks that a fork did not copy."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
