"""Comparison of the speed of two commits: `gate.py` runs it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import instructions
from .chosen import HERE, LIST, Benchmark, listed_in, suite_of
from .decision import (
    MEASURED,
    Estimate,
    Verdict,
    estimate,
    has_passed,
    is_suspect,
    is_unsure,
    verdict,
)
from .progress import Progress
from .sides import Pair, WorkerError, generations, large_bytes
from .trees import TreeError, merge_base, tree_of

DESCRIPTION = (
    "Compare the speed of two commits on this machine, and fail if a benchmark got slower."
)
REPOSITORY = HERE.parent
THRESHOLD = 0.15  # the most that may be lost
# Pairs of processes, one after the other, and the rounds of each: at first, and for suspects.
FIRST = (3, 6)
AGAIN = (5, 12)
LOOKS = 4  # the most at a suspect, while it is unsure
QUICK = (1, 2)


class Row(NamedTuple):
    """A line of the table: all that is known of one benchmark in the end."""

    benchmark: Benchmark
    verdict: Verdict
    first: Estimate | None = None
    again: Estimate | None = None
    base_s: float | None = None
    head_s: float | None = None
    instructions: tuple[int, ...] | None = None
    reason: str = ""

    @property
    def estimate(self) -> Estimate | None:
        """Return the one that decided."""
        return self.again or self.first

    def line(self) -> str:
        found = self.estimate
        if found is None:
            return f"{self.benchmark!s:50} {self.verdict}: {self.reason}"
        counted = "-"
        if self.instructions:
            base, head = self.instructions
            counted = f"{(head / base - 1) * 100:+.1f} %"
        times = f"{_duration(self.base_s)} {_duration(self.head_s)}"
        interval = f"{found.low:5.2f} to {found.high:4.2f}"
        looks = ", after another look" if self.again else ""
        return (
            f"{self.benchmark!s:50} {times} {found.ratio:6.2f} {interval} {counted:>9} "
            f" {self.verdict}{looks}"
        )

    def facts(self) -> dict[str, Any]:
        """Return all of it as what JSON knows."""
        looks = {"first": self.first, "again": self.again}
        told = {name: look._asdict() for name, look in looks.items() if look is not None}
        plain = self._asdict() | told
        return plain | {"benchmark": str(self.benchmark)}


class Comparison(NamedTuple):
    """Two source trees, the benchmarks to run over them, and how hard to look."""

    trees: tuple[Path, Path]
    suite: Path
    benchmarks: list[Benchmark]
    threshold: float = THRESHOLD
    first: tuple[int, int] = FIRST
    again: tuple[int, int] = AGAIN

    def rows(self, counting: bool) -> list[Row]:
        """Measure all, then once more what seems to be slower."""
        groups, absent = self.look(self.benchmarks, *self.first)
        first = {benchmark: _estimate(pairs) for benchmark, pairs in groups.items()}
        suspects = [name for name, found in first.items() if is_suspect(found, self.threshold)]
        suspects = [name for name in suspects if name not in absent]
        more: dict[Benchmark, list[list[Pair]]] = {}
        again: dict[Benchmark, Estimate] = {}
        for _ in range(LOOKS):
            if not suspects:
                break
            _print(f"once more: {', '.join(map(str, suspects))}")
            found, absent_again = self.look(suspects, *self.again)
            absent |= absent_again
            for benchmark, pairs in found.items():
                more.setdefault(benchmark, []).extend(pairs)
                again[benchmark] = _estimate(more[benchmark])
            unsure = [name for name in found if is_unsure(again[name], self.threshold)]
            suspects = [name for name in unsure if name not in absent]
        groups |= more
        counted = self.counted(list(groups)) if counting else {}
        rows = {
            benchmark: Row(
                benchmark,
                verdict(first[benchmark], again.get(benchmark), self.threshold),
                first[benchmark],
                again.get(benchmark),
                *_times(groups[benchmark]),
                counted.get(benchmark),
            )
            for benchmark in groups
        }
        rows |= {name: _absent(name, *answers, name in groups) for name, answers in absent.items()}
        return [rows[benchmark] for benchmark in self.benchmarks]

    def look(self, benchmarks: list[Benchmark], times: int, rounds: int) -> Any:
        """Return the pairs of turns of each benchmark, by processes, and what did not run."""
        groups: dict[Benchmark, list[list[Pair]]] = {}
        absent: dict[Benchmark, Any] = {}
        told = Progress(sys.stderr)
        for found in generations(self.trees, self.suite, benchmarks, times, rounds, told.tell):
            absent |= found.absent
            for benchmark, pairs in found.pairs.items():
                groups.setdefault(benchmark, []).append(pairs)
        told.end()
        return groups, absent

    def counted(self, benchmarks: list[Benchmark]) -> dict[Benchmark, tuple[int, ...]]:
        wanted = [benchmark for benchmark in benchmarks if benchmark.instructions]
        told = Progress(sys.stderr)
        told.tell(f"counting the instructions of {len(wanted)} benchmarks")
        told.end()
        return instructions.count(self.trees, self.suite, wanted)


def removed(base: Path, benchmarks: list[Benchmark]) -> list[Row]:
    """Return a row for each benchmark that the base names and the head does not."""
    now = set(map(str, benchmarks))
    before = listed_in(base / HERE.name)
    gone = [benchmark for benchmark in before if str(benchmark) not in now]
    return [
        Row(benchmark, Verdict.REMOVED, reason="the head does not list it") for benchmark in gone
    ]


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="mmapio-gate-") as directory:
        try:
            base = options.base or merge_base(REPOSITORY, options.head)
            trees, names = zip(
                *(
                    tree_of(REPOSITORY, what, _made(Path(directory, side)))
                    for side, what in (("base", base), ("head", options.head))
                ),
                strict=True,
            )
        except TreeError as error:
            print(error, file=sys.stderr)  # noqa: T201
            return 2
        listed = listed_in(suite_of(trees[1]))
        if options.only is not None and not _wanted(listed, options.only):
            print(_unknown(options.only, listed), file=sys.stderr)  # noqa: T201
            return 2
        _print(f"base: {names[0]}\nhead: {names[1]}\n{_machine()}")
        return _compare(trees, names, options)


def _compare(trees: tuple[Path, Path], names: tuple[str, str], options: Any) -> int:
    suite = suite_of(trees[1])
    wanted = _wanted(listed_in(suite), options.only)
    looks = (QUICK, QUICK) if options.quick else (FIRST, AGAIN)
    comparison = Comparison(trees, suite, wanted, options.threshold, *looks)
    counting = not options.no_instructions and instructions.can_count()
    try:
        rows = comparison.rows(counting)
    except WorkerError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    if options.only is None:
        rows += removed(trees[0], wanted)
    passed = has_passed([row.verdict for row in rows])
    head = f"{'base':>10} {'head':>10} {'ratio':>6} {'95 %':>13} {'instr.':>9}"
    _print(f"{'benchmark':50} {head}  verdict")
    for row in rows:
        _print(row.line())
    _print(_summary(rows, options.threshold))
    if options.json:
        facts = {"base": names[0], "head": names[1], "threshold": options.threshold}
        facts |= {"passed": passed, "rows": [row.facts() for row in rows]}
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0 if passed else 1


def _wanted(listed: list[Benchmark], part: str | None) -> list[Benchmark]:
    return [benchmark for benchmark in listed if part is None or part in str(benchmark)]


def _unknown(part: str, listed: list[Benchmark]) -> str:
    names = "".join(f"\n  {benchmark}" for benchmark in listed)
    return f"no benchmark of {LIST} has {part!r} in its name; there are:{names}"


def _summary(rows: list[Row], threshold: float) -> str:
    measured, slower, broken = (
        sum(row.verdict in which for row in rows)
        for which in (MEASURED, {Verdict.SLOWER}, {Verdict.BROKEN})
    )
    if not has_passed([row.verdict for row in rows]) and not (slower or broken):
        return "FAIL: nothing was measured"
    told = f"{measured} measured, {slower} slower by more than {threshold:.0%}, {broken} broken"
    return f"FAIL: {told}" if slower or broken else f"pass: {told}"


def _absent(benchmark: Benchmark, base: dict[str, str], head: dict[str, str], ran: bool) -> Row:
    """Return the row of a benchmark that did not run on both sides.

    Both have the same benchmarks on the same machine: what one side alone skips, its code skips.
    One that ran at first cannot be cleared of what was found then.
    """
    if ran:
        sides = {"base": base, "head": head}
        why = [f"{side}: {', '.join(told.values())}" for side, told in sides.items() if told]
        return Row(benchmark, Verdict.BROKEN, reason=f"ran, and then did not; {', '.join(why)}")
    if "failed" in head:
        return Row(benchmark, Verdict.BROKEN, reason=head["failed"])
    if "skipped" in head:
        told = Verdict.BROKEN if not base else Verdict.SKIPPED
        return Row(benchmark, told, reason=f"head: {head['skipped']}")
    return Row(benchmark, Verdict.NEW, reason=f"the base has none ({', '.join(base.values())})")


def _estimate(groups: list[list[Pair]]) -> Estimate:
    return estimate([[pair.ratio for pair in pairs] for pairs in groups])


def _times(groups: list[list[Pair]]) -> tuple[float, float]:
    """Return the median time of each side."""
    pairs = [pair for group in groups for pair in group]
    sides = ([pair.base_s for pair in pairs], [pair.head_s for pair in pairs])
    base_s, head_s = map(statistics.median, sides)
    return base_s, head_s


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gate.py", description=DESCRIPTION)
    parser.add_argument("base", nargs="?", help="a commit or a source tree; the merge base")
    parser.add_argument("head", nargs="?", default="HEAD", help="a commit or a source tree; HEAD")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="0.15 is 15 %%")
    parser.add_argument("--only", metavar="PART", help="benchmarks with this in their names")
    parser.add_argument("--quick", action="store_true", help="try it out: too short to be trusted")
    parser.add_argument("--no-instructions", action="store_true", help="count no instructions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file")
    return parser


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _machine() -> str:
    return (
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} CPUs; large files have {large_bytes() >> 20} MiB"
    )


def _duration(seconds: float | None) -> str:
    """Return a time with its unit.

    Examples
    --------
    >>> _duration(0.00123)
    '   1.23 ms'
    """
    assert seconds is not None
    for unit, factor in (("s ", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:7.4g} {unit}"
    return f"{seconds * 1e9:7.4g} ns"


def _print(lines: str) -> None:
    print(lines, flush=True)  # noqa: T201, a table for a terminal is what this file is for
