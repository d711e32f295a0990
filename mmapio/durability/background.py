"""The thread that flushes in the background."""

from __future__ import annotations

import atexit
import heapq
import itertools
import sys
import threading
import time
from collections.abc import Callable

from .. import _forking

__all__ = ["Flusher", "flusher"]


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


flusher = Flusher()
_forking.renew_with(flusher.renew)
