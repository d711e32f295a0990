"""A process that runs benchmarks over one tree of mmapio's source, when it is asked to.

Usage: ``python -P worker.py TREE SUITE``. It reads requests from standard input and answers each on
standard output, as JSON, one a line.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

# A sample: long against the clock, short against the turns that a busy machine gives to processes.
SAMPLE_S = 5e-4
FEWEST_SAMPLES = 3
TRIES = 3
# Where Linux tells how long a thread had work to do and got no CPU: nanoseconds, the second number.
WAITS = "/proc/thread-self/schedstat"


class Worker:
    """Benchmarks that have been set up, by name."""

    def __init__(self, open_until: contextlib.ExitStack) -> None:
        self.open_until = open_until
        self.prepared: dict[str, Callable[[], object]] = {}
        self.waits = Waits()

    def prepare(self, key: str, name: str, parameters: list[Any]) -> dict[str, Any]:
        """Set a benchmark up; or tell why that cannot be done."""
        try:
            work = self.set_up(name, parameters)
            work()
        except NotImplementedError as error:  # as asv understands it
            return {"skipped": str(error)}
        except Exception as error:
            return {"failed": f"{type(error).__name__}: {error}"}
        self.prepared[key] = work
        return {}

    def set_up(self, name: str, parameters: list[Any]) -> Callable[[], object]:
        module, kind, method = name.split(".")
        benchmark = getattr(importlib.import_module(f"benchmarks.{module}"), kind)()
        if hasattr(benchmark, "teardown"):
            self.open_until.callback(benchmark.teardown, *parameters)
        if hasattr(benchmark, "setup"):
            benchmark.setup(*parameters)
        timed = getattr(benchmark, method)
        return lambda: timed(*parameters)

    def calls(self, key: str) -> dict[str, int]:
        """Return how many calls of a benchmark make a sample."""
        return {"calls": calls_of(self.prepared[key])}

    def turn(self, key: str, calls: int, enough_s: float) -> dict[str, float]:
        """Return the time of one call of the benchmark, which is at work for so long."""
        work = self.prepared[key]
        samples_s: list[float] = []
        work()  # what ran in between has taken the caches
        gc.disable()
        while len(samples_s) < FEWEST_SAMPLES or sum(samples_s) * calls < enough_s:
            samples_s.append(self.sample_s(work, calls))
        gc.enable()
        return {"s": undisturbed(samples_s)}

    def sample_s(self, work: Callable[[], object], calls: int) -> float:
        """Return the time of one call, of so many in a row, without the time in line for a CPU."""
        before_s = self.waits.so_far_s()
        taken_s = elapsed_s(work, calls)
        return (taken_s - (self.waits.so_far_s() - before_s)) / calls

    def repeat(self, key: str, calls: int) -> dict[str, float]:
        """Call a benchmark so often, between two calls of `os.getppid`, which a counter sees."""
        work = self.prepared[key]
        turns = range(calls)
        os.getppid()
        for _ in turns:
            work()
        os.getppid()
        return {}


def undisturbed(samples: list[float]) -> float:
    """Return the lower quartile: what others do to this process only ever makes samples longer."""
    return sorted(samples)[len(samples) // 4]


def keep_to_one_cpu() -> None:
    """Stay on one CPU, where the other side runs as well; kernels then use one thread.

    Threads would wait for the scheduler now and then, for longer than most kernels take.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def elapsed_s(work: Callable[[], object], calls: int) -> float:
    """Return the time of so many calls in a row."""
    turns = range(calls)
    begin = time.perf_counter()
    for _ in turns:
        work()
    return time.perf_counter() - begin


def calls_of(work: Callable[[], object]) -> int:
    """Return how many calls in a row make a sample, by the fastest: others slow one down, not all.

    With too few calls, the time of the loop around them would hide what became slower.
    """
    calls = 1
    while min(elapsed_s(work, calls) for _ in range(TRIES)) < SAMPLE_S:
        calls *= 2
    return calls


class Waits:
    """Time that this thread has waited for a CPU while others had it; 0 where nobody knows."""

    def __init__(self) -> None:
        self.fd = os.open(WAITS, os.O_RDONLY) if os.path.exists(WAITS) else None

    def so_far_s(self) -> float:
        return int(os.pread(self.fd, 64, 0).split()[1]) / 1e9 if self.fd is not None else 0.0


def main(tree: str, suite: str) -> None:
    """Answer requests until there are no more."""
    keep_to_one_cpu()
    sys.path[:0] = [tree, suite, os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a benchmark prints is no answer
    importlib.import_module("program").clear_up_when_ended()
    mmapio = importlib.import_module("mmapio")
    if not os.path.abspath(mmapio.__file__).startswith(os.path.join(os.path.abspath(tree), "")):
        sys.exit(f"{mmapio.__file__} was imported, where {tree} is to be measured")
    with contextlib.ExitStack() as open_until:
        worker = Worker(open_until)
        for line in sys.stdin:
            request = json.loads(line)
            answer = getattr(worker, request.pop("do"))(**request)
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
