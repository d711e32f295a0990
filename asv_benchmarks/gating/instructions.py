"""Counts of instructions: a figure that a busy machine does not change."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from .chosen import Benchmark
from .sides import Side, WorkerError

# Twice as many calls less once as many: what is left is free of what comes before and after them.
CALLS = 4


def can_count() -> bool:
    """Return whether valgrind is there, which executes a program one instruction at a time."""
    return shutil.which("valgrind") is not None


def count(
    trees: tuple[Path, ...], suite: Path, benchmarks: list[Benchmark]
) -> dict[Benchmark, tuple[int, ...]]:
    """Return the instructions of one call over each tree, of the benchmarks that run over all."""
    with tempfile.TemporaryDirectory(prefix="mmapio-gate-") as directory:
        counters = [_Counter(tree, suite, Path(directory, str(n))) for n, tree in enumerate(trees)]
        found = {}
        try:
            for benchmark in benchmarks:
                counts = _counts(counters, benchmark)
                if counts is not None:
                    found[benchmark] = counts
        except WorkerError:
            pass  # valgrind does not know all that a kernel of an operating system does
        finally:
            for counter in counters:
                counter.side.close()
        return found


class _Counter:
    """A process that valgrind runs: it writes a count at each call of `os.getppid`."""

    def __init__(self, tree: Path, suite: Path, out: Path) -> None:
        self.out = out
        options = ("--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={out}", "-q")
        self.side = Side(tree, suite, "valgrind", *options)

    def newest(self) -> int:
        """Return the instructions between the last two calls of `os.getppid`."""
        counts = self.out.parent.glob(f"{self.out.name}.*")
        newest = max(counts, key=lambda path: int(path.suffix[1:]))
        lines = newest.read_text(encoding="utf-8").splitlines()
        (summary,) = (line for line in lines if line.startswith("summary: "))
        return int(summary.split()[1])


def _counts(counters: list[_Counter], benchmark: Benchmark) -> tuple[int, ...] | None:
    """Return the instructions of a call over each tree; the processes work at the same time."""

    def ask(request: Callable[[Side], None]) -> list[dict[str, object]]:
        for counter in counters:
            request(counter.side)
        return [counter.side.answer() for counter in counters]

    if any(ask(lambda side: side.prepare(benchmark))):
        return None
    totals = []
    for calls in (CALLS, 2 * CALLS):
        ask(lambda side, calls=calls: side.send("repeat", key=str(benchmark), calls=calls))
        totals.append([counter.newest() for counter in counters])
    return tuple((twice - once) // CALLS for once, twice in zip(*totals, strict=True))
