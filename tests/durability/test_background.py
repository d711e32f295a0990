"""The thread that flushes in the background: no task is lost, whenever another one is removed."""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from mmapio.durability import background
from mmapio.durability.background import Flusher

FOREVER_S = 1e6


def wait_for(happened: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline_s
        time.sleep(0.0005)


@pytest.fixture
def flusher() -> Iterator[Flusher]:
    made = Flusher()
    yield made
    atexit.unregister(made.run_all)
    for task in list(made._tasks):
        made.remove(task)
    wait_for(lambda: made.thread is None)


class At:
    """Calls a function before the n-th instruction of a file, as the garbage collector may."""

    def __init__(self, file: str | None, number: int, function: Callable[[], object]) -> None:
        self.file = file
        self.left = number
        self.function = function
        self.reached = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != self.file:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and not self.reached:
            self.left -= 1
            if self.left < 0:
                self.reached = True
                self.function()
        return self

    def during(self, call: Callable[[], object]) -> None:
        before = sys.gettrace()
        sys.settrace(self)
        try:
            call()
        finally:
            sys.settrace(before)


def test_a_removal_by_the_garbage_collector_loses_no_task_that_is_added(flusher: Flusher) -> None:
    called: list[str] = []
    for number in itertools.count():
        old, gone, new = (lambda name=name: bool(called.append(name)) for name in "ogn")
        flusher.add(FOREVER_S, old)
        flusher.add(FOREVER_S, gone)
        at = At(background.__file__, number, lambda gone=gone: flusher.remove(gone))
        at.during(lambda new=new: flusher.add(FOREVER_S, new))
        called.clear()
        flusher.run_all()
        assert sorted(set(called) - {"g"} if not at.reached else called) == ["n", "o"], number
        for task in (old, gone, new):
            flusher.remove(task)
        wait_for(lambda: flusher.thread is None)
        if not at.reached:
            break
    assert number > 10


def test_a_removal_within_the_thread_does_not_end_the_flushing(
    flusher: Flusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    before = threading._trace_hook
    for number in range(150):
        calls: list[int] = []

        def task(calls: list[int] = calls) -> bool:
            calls.append(1)
            return True

        at = At(background.__file__, number, lambda task=task: flusher.remove(task))
        threading.settrace(at)
        try:
            flusher.add(0, task)
        finally:
            threading.settrace(before)
        wait_for(lambda at=at: at.reached or died)
        wait_for(lambda: flusher.thread is None or died)
        assert not died, number
        count = len(calls)
        flusher.add(0, task)  # it goes on, in a new thread
        wait_for(lambda calls=calls, count=count: len(calls) > count)
        flusher.remove(task)
        wait_for(lambda: flusher.thread is None)


def test_removing_takes_no_lock(flusher: Flusher) -> None:
    """Whoever removes may have interrupted whoever holds it."""
    tasks = [lambda: True for _ in range(3)]
    for task in tasks:
        flusher.add(FOREVER_S, task)
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        lock = next(value for value in vars(flusher).values() if hasattr(value, "__enter__"))
        with lock:
            holding.set()
            done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    holding.wait(20)
    remover = threading.Thread(target=lambda: [flusher.remove(task) for task in tasks], daemon=True)
    remover.start()
    remover.join(5)
    blocked = remover.is_alive()
    done.set()
    holder.join()
    assert not blocked
    wait_for(lambda: flusher.thread is None)


def test_a_task_that_fails_at_the_end_skips_no_other(
    flusher: Flusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: told.append(error[1]))
    called: list[int] = []

    def fails() -> bool:
        raise ValueError("of a callback")

    for task in (lambda: bool(called.append(1)), fails, lambda: bool(called.append(2))):
        flusher.add(FOREVER_S, task)
    flusher.run_all()
    assert called == [1, 2]
    assert [str(error) for error in told] == ["of a callback"]


def test_a_thread_that_cannot_be_started_is_tried_again(
    flusher: Flusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    called: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError):
            flusher.add(0, lambda: bool(called.append(1)))
    assert flusher.thread is None
    flusher.add(0, lambda: bool(called.append(2)))
    wait_for(lambda: called)
    wait_for(lambda: flusher.thread is None)
    assert called == [2]


def test_tasks_run_when_they_are_due(flusher: Flusher) -> None:
    called: list[str] = []
    flusher.add(FOREVER_S, lambda: bool(called.append("late")))
    flusher.add(0.02, lambda: called.append("often") or len(called) < 5)
    start_s = time.monotonic()
    wait_for(lambda: len(called) == 5)
    assert time.monotonic() - start_s >= 0.1
    assert set(called) == {"often"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_has_a_thread_of_its_own(run_python: Callable[..., str]) -> None:
    code = """
import os, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forks and threads: that is what is tested
from mmapio.durability.background import flusher
calls = []
flusher.add(0.001, lambda: calls.append(1) or True)
while not calls:
    time.sleep(0.001)
if os.fork() == 0:
    count = len(calls)
    deadline = time.monotonic() + 10
    while len(calls) == count and time.monotonic() < deadline:
        time.sleep(0.001)
    os._exit(len(calls) == count)
print(os.wait()[1])
"""
    assert run_python(code).split() == ["0"]
