"""Thread pool for kernels that hold no GIL.

Numba's ``parallel=True`` is not used: its workqueue layer aborts when two Python threads enter it.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from queue import SimpleQueue
from typing import TypeVar

from mmapio import _forking
from mmapio._extras import require
from mmapio._validation import Progress
from mmapio.errors import ArgumentError, UnsupportedError
from mmapio.kernels.engine.cpus import usable_cpus

__all__ = ["run_chunks", "run_ranges", "run_workers", "thread_count"]

W = TypeVar("W")
Body = Callable[[int, int], None]

_VARIABLE = "MMAPIO_NUM_THREADS"
_MOST_THREADS = 4096
_WORTH_INVITATIONS = 16
_LONGEST_PRICE_S = 1e-4  # on a machine that is busy, it is no measure
_TRIED_CHUNKS = 4
_LEAST_GAIN = 1.33
_REMEMBERED_S = 10.0
_MOST_KINDS = 1000
_price: float | None = None
_alone_at: dict[Hashable, float] = {}  # when helpers were found to be of no use, by kind
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
        If the number is not an integer from 1 to 4096.

    Examples
    --------
    >>> from mmapio.kernels.engine.threads import thread_count
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
    """Count the CPUs, at most once a second: quotas take as long to read as megabytes to sum."""
    global _cpus
    now = time.monotonic()
    if now - _cpus[0] > 1:
        _cpus = now, usable_cpus()
    return _cpus[1]


def run_chunks(
    count: int,
    body: Body,
    *,
    threads: int | None = None,
    progress: bool = False,
    nbytes: int = 0,
    kind: Hashable = None,
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
    kind : hashable, optional
        Of what kind the chunks are, if they are short and all alike. Then the caller's thread
        begins alone, and others help only where that makes it faster: not if the rest takes no
        longer than a few invitations, nor if they take the bandwidth of memory from each other,
        which is remembered for a while.

    Raises
    ------
    BaseException
        The first that `body` raised, or the caller's own KeyboardInterrupt. No chunk is running
        any more by then.

    Examples
    --------
    >>> from mmapio.kernels.engine.threads import run_chunks
    >>> squares = [0] * 4
    >>> run_chunks(4, lambda chunk, worker: squares.__setitem__(chunk, chunk**2), threads=2)
    >>> squares
    [0, 1, 4, 9]
    """
    workers = min(thread_count(threads), count)
    with _bar(nbytes) if progress else contextlib.nullcontext() as advance:
        job = _Job(count, body, advance)
        try:
            if workers > 1 and kind is None:
                job.share(workers - 1)
            job.lead(None if kind is None or workers < 2 else _Trial(job, workers, kind))
        finally:
            job.close()


def run_ranges(
    total: int,
    step: int,
    work: Callable[[int, int, int], object],
    *,
    threads: int | None = None,
    progress: bool = False,
    nbytes: int = 0,
) -> None:
    """Call ``work(start, stop, worker)`` for every range of `step` below `total`, in threads.

    Parameters
    ----------
    total, step : int
        Where the ranges end, and how long each but the last one is. If there is only one it is
        worked on at once, by the caller's thread alone.
    work : callable
        Takes the bounds of a range and the worker's number, as for `run_chunks`.
    threads, progress, nbytes
        As for `run_chunks`.

    Examples
    --------
    >>> from mmapio.kernels.engine.threads import run_ranges
    >>> run_ranges(10, 4, lambda start, stop, worker: print(start, stop), threads=1)
    0 4
    4 8
    8 10
    """
    if 0 < total <= step and not progress:
        work(0, total, 0)
        return

    def body(chunk: int, worker: int) -> None:
        start = chunk * step
        work(start, min(start + step, total), worker)

    run_chunks(-(-total // step), body, threads=threads, progress=progress, nbytes=nbytes)


def run_workers(
    count: int,
    make: Callable[[], W],
    work: Callable[[W, int], object],
    *,
    threads: int | None = None,
    progress: bool = False,
    nbytes: int = 0,
    kind: Hashable = None,
) -> list[W]:
    """Call ``work(worker, chunk)`` for every chunk, each thread with a worker of its own.

    Parameters
    ----------
    count, threads, progress, nbytes, kind
        As for `run_chunks`.
    make : callable
        Makes a worker: what a thread keeps between chunks, such as a buffer.
    work : callable
        Takes a worker and the chunk's number.

    Returns
    -------
    list
        All workers; there is one at least.

    Examples
    --------
    >>> from mmapio.kernels.engine.threads import run_workers
    >>> lists = run_workers(4, list, list.append, threads=2)
    >>> sorted(sum(lists, []))
    [0, 1, 2, 3]
    """
    # Looked up once: the setting may change at any time. And no more workers than have work.
    threads = max(1, min(thread_count(threads), count))
    if kind is not None and threads > 1 and _best_alone(kind):
        threads = 1
    workers = [make() for _ in range(threads)]

    def body(chunk: int, worker: int) -> None:
        work(workers[worker], chunk)

    run_chunks(count, body, threads=threads, progress=progress, nbytes=nbytes, kind=kind)
    return workers


def _positive(value: int | str, name: str) -> int:
    """Check a number of threads, wherever it came from."""
    try:
        number = int(value) if isinstance(value, str) else operator.index(value)
    except (TypeError, ValueError):
        number = 0
    if not 1 <= number <= _MOST_THREADS:
        raise ArgumentError(f"{name} must be an integer from 1 to {_MOST_THREADS}, got {value!r}")
    return number


@contextlib.contextmanager
def _bar(nbytes: int) -> Iterator[Progress]:
    """Yield what moves a bar to a fraction of `nbytes`; it is silent where nobody watches."""
    tqdm = require("tqdm", "cli").tqdm
    with tqdm(total=nbytes, unit="B", unit_scale=True, unit_divisor=1024, disable=None) as bar:
        yield lambda done, count: bar.update(nbytes * done // count - bar.n)


class _Job:
    """Chunks that the caller and its helpers take one by one.

    Ctrl-C can end any line of the caller's in the middle. So nothing here is written in Python that
    would then be left half done, as `threading.Condition` is: a plain lock is let go of whatever
    happens, and a helper that is done says so by a queue.
    """

    def __init__(self, count: int, body: Body, advance: Progress | None) -> None:
        self._count = count
        self._body: Body | None = body
        self._advance = advance
        self._taken = 0
        self._workers = 1
        self._dismissed = False
        self._error: BaseException | None = None
        self.renew()

    def renew(self) -> None:
        """End the job in a child that is forked within it, by a signal handler or by `body`.

        The helpers are not there, nor what they did; so whoever leads the job has no result.
        """
        self._lock = threading.Lock()
        self._left: SimpleQueue[None] = SimpleQueue()  # an item for each helper that left
        self._helping = 0
        if self._workers > 1:
            self._taken = self._count
            self._error = self._error or UnsupportedError(
                "this process was forked within a call of mmapio, and the threads that had a part "
                "in that are its parent's; end it, or call once more"
            )

    def share(self, helpers: int) -> None:
        """Let as many threads of the pool help."""
        _forking.renew_in_child(self)
        _pool.invite(self, helpers)

    def lead(self, trial: _Trial | None = None) -> None:
        """Work as the caller's own thread, until all is done."""
        self._work(0, self._advance, trial)
        self._await_helpers()
        if self._error is not None:
            raise self._error
        if self._advance is not None:
            self._advance(1, 1)

    def help(self) -> None:
        """Work as a thread of the pool, unless the job is over."""
        with self._lock:
            if self._taken >= self._count or self._dismissed:
                return
            worker = self._workers
            self._workers += 1
            self._helping += 1
        try:
            self._work(worker)
        except BaseException as error:
            with self._lock:
                self._error = self._error or error
        with self._lock:
            self._helping -= 1
        self._left.put(None)

    def close(self) -> None:
        """Stop the helpers, however often Ctrl-C is pressed, and let go of the caller's arrays.

        An invitation that nobody took up keeps the job alive; it must not keep them.
        """
        interrupt = None
        while self._body is not None:
            try:
                self._stop()
                self._await_helpers()
                self._body = self._advance = self._error = None
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def left(self) -> int:
        """Return how many chunks nobody has taken."""
        return self._count - self._taken

    def helpers(self) -> int:
        """Return how many threads help now."""
        return self._helping

    def dismiss(self) -> None:
        """Let no helper take another chunk."""
        self._dismissed = True

    def _work(
        self, worker: int, advance: Progress | None = None, trial: _Trial | None = None
    ) -> None:
        body, nested = self._body, _here.working
        assert body is not None
        try:
            _here.working = True
            while (chunk := self._take(worker)) is not None:
                body(chunk, worker)
                if trial is not None:
                    trial.follow()
                if advance is not None:
                    advance(chunk, self._count)
        except BaseException:
            self._stop()
            raise
        finally:
            _here.working = nested

    def _take(self, worker: int) -> int | None:
        with self._lock:
            if self._taken >= self._count or (worker and self._dismissed):
                return None
            self._taken += 1
            return self._taken - 1

    def _stop(self) -> None:
        """Let nobody take another chunk."""
        with self._lock:
            self._taken = self._count

    def _await_helpers(self) -> None:
        # A helper is counted out before its item is in the queue: nobody waits for one that left.
        while self._helping:
            self._left.get()


class _Trial:
    """Trial of helpers by the caller's thread, as it works: they are to be worth their CPU time.

    It counts the CPU time of its own chunks, alone and beside helpers. Threads that wait for the
    same memory use more of it for the same work; those that other programs keep waiting do not.
    """

    def __init__(self, job: _Job, workers: int, kind: Hashable) -> None:
        self._job, self._workers, self._kind = job, workers, kind
        self._begin, self._cpu = time.perf_counter(), time.thread_time()
        self._done = 0
        self._alone: float | None = None  # CPU time of a chunk, known when others are invited
        self._over = False

    def follow(self) -> None:
        """Take notice of a chunk that is done."""
        if self._over:
            return
        self._done += 1
        if self._alone is None:
            each = (time.perf_counter() - self._begin) / self._done
            if each * self._job.left() > _WORTH_INVITATIONS * _price_of_invitation():
                self._alone = (time.thread_time() - self._cpu) / self._done
                self._over = not self._alone  # the clock is too coarse to judge by
                self._done = -1  # the next chunk is not in the account: they only come
                self._job.share(self._workers - 1)
        elif not self._job.helpers():
            self._done = -1
        elif self._done == 0:
            self._cpu = time.thread_time()
        elif self._done == _TRIED_CHUNKS:
            self._judge(self._alone, (time.thread_time() - self._cpu) / _TRIED_CHUNKS)

    def _judge(self, alone: float, beside_others: float) -> None:
        """Send helpers away that add too little, and remember it."""
        self._over = True
        gain = (1 + self._job.helpers()) * alone / max(beside_others, 1e-9)
        if gain < _LEAST_GAIN:
            self._job.dismiss()
            if len(_alone_at) > _MOST_KINDS:
                _alone_at.clear()
            _alone_at[self._kind] = time.monotonic()


def _best_alone(kind: Hashable) -> bool:
    """Return True if helpers made work of this kind no faster a short time ago."""
    at = _alone_at.get(kind)
    return at is not None and time.monotonic() - at < _REMEMBERED_S


def _price_of_invitation() -> float:
    """Return what an empty job with one helper takes, in seconds: measured once in a process."""
    global _price
    if _price is None:
        price, _price = _LONGEST_PRICE_S, 0.0  # whoever asks meanwhile goes on without it
        try:
            price = min(price, *(_time_an_empty_job() for _ in range(3)))
        finally:  # also by Ctrl-C, or every later job would be shared at once
            _price = price
    return _price


def _time_an_empty_job() -> float:
    begin = time.perf_counter()
    job = _Job(2, lambda chunk, worker: None, None)
    try:
        job.share(1)
        job.lead()
    finally:
        job.close()
    return time.perf_counter() - begin


class _Pool:
    """Daemon threads that wait for invitations; they are made when they are first needed."""

    def __init__(self) -> None:
        self._invitations: SimpleQueue[_Job] = SimpleQueue()
        # Of the process: a child gets another pool, see below. A signal handler may ask for it too.
        self._lock = threading.RLock()
        self._size = 0

    def invite(self, job: _Job, helpers: int) -> None:
        with self._lock:
            while self._size < helpers:
                name = f"mmapio-{self._size + 1}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
                self._size += 1  # if Ctrl-C comes before this, there is one thread too many
        for _ in range(helpers):
            self._invitations.put(job)

    def _serve(self) -> None:
        if sys.platform != "win32":
            # A thread that blocks it dies of a lost page, whoever would handle it.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGBUS])
        while self is _pool:  # else this is a child that the job has forked
            self._invitations.get().help()


class _Here(threading.local):
    """State of the running thread: True while it works on a job."""

    working = False


_here = _Here()
_pool = _Pool()


@_forking.renew_with
def _start_afresh() -> None:
    """Forget the threads and locks that a fork did not copy."""
    global _pool
    _pool = _Pool()
