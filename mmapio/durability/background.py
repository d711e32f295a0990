"""The thread that flushes in the background."""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
import time
from collections.abc import Callable

from .. import _forking

try:
    from _queue import Empty, SimpleQueue  # without the heaps that queue loads for its others
except ImportError:
    from queue import Empty, SimpleQueue

__all__ = ["Flusher", "flusher"]

_Task = Callable[[], bool]


class _Schedule:
    """Interval of a task, and the time of its next call."""

    __slots__ = ("due_s", "every_s")

    def __init__(self, every_s: float) -> None:
        self.every_s = every_s
        self.put_off()

    def put_off(self) -> None:
        """Let the task be due one interval from now."""
        self.due_s = time.monotonic() + self.every_s


class Flusher:
    """One thread that calls each of its tasks again and again, until the task returns False.

    The thread runs while there are tasks. It is a daemon: the interpreter does not wait for it,
    but calls every task once more before it exits.

    Finalizers may call `remove`: it takes no lock, since the garbage collector may run it between
    any two instructions of any thread, those of this class included. So the table of tasks is
    only changed, or copied, by single operations of a dict, and the thread is woken by a queue
    that may be put to from a finalizer.
    """

    def __init__(self) -> None:
        self._tasks: dict[_Task, _Schedule] = {}
        self.renew()
        atexit.register(self.run_all)

    def renew(self) -> None:
        """Start afresh with the same tasks, as a forked child has to."""
        # A finalizer that runs while a thread is started may add a task itself.
        self._starting = threading.RLock()
        self._news: SimpleQueue[None] = SimpleQueue()  # something has changed
        self._thread: threading.Thread | None = None
        self._is_calling = False  # whether the thread is in the midst of a task
        self._start()

    @property
    def thread(self) -> threading.Thread | None:
        """The thread, while there is one."""
        return self._thread

    def add(self, every_s: float, task: _Task) -> None:
        """Call a task at an interval, from now on, until it returns False."""
        self._tasks[task] = _Schedule(every_s)
        try:
            self._start()
        except BaseException:
            self._tasks.pop(task, None)
            raise
        self._news.put(None)

    def remove(self, task: _Task) -> None:
        """Call a task no more; without any, the thread ends."""
        if self._tasks.pop(task, None) is not None:
            self._news.put(None)

    def finish(self, task: _Task) -> None:
        """Call a task once, as soon as can be; for finalizers, while the thread runs."""
        self._tasks[task] = _Schedule(0)
        self._news.put(None)

    def run_all(self) -> None:
        """Call every task once, in this thread."""
        for task in self._tasks.copy():
            _called(task)
        thread = self._thread
        while thread is not None and thread.is_alive() and self._is_calling:
            time.sleep(0.001)  # or the end of the interpreter would cut off what it does

    def _start(self) -> None:
        with self._starting:
            if not self._tasks or self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="mmapio-flusher", daemon=True)
            if self._thread is None:
                self._thread = thread
                try:
                    thread.start()
                except BaseException:
                    self._thread = None
                    raise

    def _run(self) -> None:
        while True:
            self._run_due()
            with self._starting:
                if not self._tasks:
                    self._thread = None
                    return
            self._wait()

    def _run_due(self) -> None:
        """Call the tasks that are due; they stay listed, so that a fork meanwhile loses none."""
        for task, schedule in self._tasks.copy().items():
            if schedule.due_s > time.monotonic() or self._tasks.get(task) is not schedule:
                continue
            self._is_calling = True
            again = _called(task)
            self._is_calling = False
            if again:
                schedule.put_off()
            elif self._tasks.get(task) is schedule:
                self._tasks.pop(task, None)

    def _wait(self) -> None:
        """Wait until a task is due, or others are there."""
        schedules = self._tasks.copy().values()
        due_s = min((schedule.due_s for schedule in schedules), default=0)
        wait_s = min(due_s - time.monotonic(), threading.TIMEOUT_MAX)
        if wait_s > 0:
            with contextlib.suppress(Empty):
                self._news.get(timeout=wait_s)


def _called(task: _Task) -> bool:
    """Call a task; report one that raises on the standard error stream, and call it no more."""
    try:
        return task()
    except BaseException:  # whatever it is, the tasks of others go on
        sys.excepthook(*sys.exc_info())
        return False


flusher = Flusher()
_forking.renew_with(flusher.renew)
