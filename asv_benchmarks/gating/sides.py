"""Two processes, one for each side of a comparison, and rounds in which they take turns."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .chosen import Benchmark

WORKER = Path(__file__).with_name("worker.py")
# What is to be out of cache is larger than the last one, which virtual machines share with others.
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
FEWEST_BYTES, MOST_BYTES = 64 << 20, 1 << 30

Tell = Callable[[str], object]


class Pair(NamedTuple):
    """The times of two turns, one after the other: one of each side."""

    base_s: float
    head_s: float

    @property
    def ratio(self) -> float:
        """Return the time of the head as a multiple of the base's."""
        return self.head_s / self.base_s


class WorkerError(RuntimeError):
    """Raised when a process ends before it has answered."""


class Process:
    """A process over one tree that answers requests by JSON, one a line."""

    def __init__(self, tree: Path, command: list[str], env: Mapping[str, str]) -> None:
        self.tree = tree
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env)

    def send(self, do: str, **request: Any) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # told when the answer is read
            print(json.dumps({"do": do, **request}), file=self.process.stdin, flush=True)

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(f"the process over {self.tree} ended: status {self.process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """Wait for the process's end."""
        self.process.communicate()  # which does not mind a broken pipe


class Side:
    """A process that runs benchmarks over one tree."""

    def __init__(self, tree: Path, suite: Path, *under: str, shared: str | None = None) -> None:
        # Not the process's own: it may end in a way that lets it clear nothing up.
        self.directory = tempfile.TemporaryDirectory(prefix="mmapio-gate-")
        # Everything that hashing decides is alike on both sides, and in all processes.
        env = os.environ | {"PYTHONHASHSEED": "0", "MMAPIO_BENCHMARK_BYTES": str(large_bytes())}
        env["TMPDIR"] = self.directory.name
        if shared is not None:
            env["MMAPIO_BENCHMARK_SHARED"] = shared
        env.pop("PYTHONPATH", None)
        command = [*under, sys.executable, "-P", str(WORKER), str(tree), str(suite)]
        self.process = Process(tree, command, env)
        self.send, self.answer = self.process.send, self.process.answer

    def prepare(self, benchmark: Benchmark) -> None:
        given = {"name": benchmark.name, "parameters": benchmark.parameters}
        self.send("prepare", key=str(benchmark), **given)

    def calls(self, benchmark: Benchmark) -> int:
        self.send("calls", key=str(benchmark))
        calls: int = self.answer()["calls"]
        return calls

    def turn(self, benchmark: Benchmark, calls: int) -> float:
        self.send("turn", key=str(benchmark), calls=calls, enough_s=benchmark.turn_ms / 1e3)
        taken_s: float = self.answer()["s"]
        return taken_s

    def close(self) -> None:
        """Wait for the process's end, and clear away what it has left."""
        self.process.close()
        self.directory.cleanup()

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Measured(NamedTuple):
    """Findings of one pair of processes: pairs of turns, and why others have none."""

    pairs: dict[Benchmark, list[Pair]]
    absent: dict[Benchmark, tuple[dict[str, str], dict[str, str]]]


def large_bytes() -> int:
    """Return the size of a large file: twice the largest cache of the processor, within limits."""
    sizes = [path.read_text().strip() for path in CACHES.glob("index*/size")]
    largest = max((int(size[:-1]) << 10 for size in sizes if size.endswith("K")), default=0)
    return min(max(2 * largest, FEWEST_BYTES), MOST_BYTES)


def measure(
    trees: tuple[Path, Path],
    suite: Path,
    benchmarks: list[Benchmark],
    rounds: int,
    tell: Tell = lambda what: None,
) -> Measured:
    """Start a process for each tree, and return their turns, which alternate: A B, B A, ..."""
    found = Measured({}, {})
    # Both read the same files: where a file lies in memory makes a difference, and a commit none.
    with (
        tempfile.TemporaryDirectory(prefix="mmapio-gate-") as shared,
        Side(trees[0], suite, shared=shared) as base,
        Side(trees[1], suite, shared=shared) as head,
    ):
        calls = {}
        for number, benchmark in enumerate(benchmarks):
            tell(f"setting up {number + 1} of {len(benchmarks)}, {benchmark}")
            for side in (base, head):  # both at once: the first time, they compile
                side.prepare(benchmark)
            answers = base.answer(), head.answer()
            if any(answers):
                found.absent[benchmark] = answers
            else:
                calls[benchmark] = base.calls(benchmark)
                found.pairs[benchmark] = []
        for number in range(rounds):
            tell(f"round {number + 1} of {rounds}")
            for benchmark in calls:
                pair = _pair(base, head, benchmark, calls[benchmark], number % 2 == 1)
                found.pairs[benchmark].append(pair)
    return found


def generations(
    trees: tuple[Path, Path],
    suite: Path,
    benchmarks: list[Benchmark],
    times: int,
    rounds: int,
    tell: Tell = lambda what: None,
) -> Iterator[Measured]:
    """Measure by so many pairs of processes, one after the other.

    Where its code and data happen to lie makes a process faster or slower than its twin, for as
    long as it lives.
    """
    for number in range(times):
        pair = f"processes {number + 1} of {times}"
        yield measure(
            trees, suite, benchmarks, rounds, lambda what, pair=pair: tell(f"{pair}: {what}")
        )


def _pair(base: Side, head: Side, benchmark: Benchmark, calls: int, head_first: bool) -> Pair:
    if head_first:
        later = head.turn(benchmark, calls)
        return Pair(base.turn(benchmark, calls), later)
    first = base.turn(benchmark, calls)
    return Pair(first, head.turn(benchmark, calls))
