"""Trials of the gate: runs where nothing changed, and runs with slow-downs made on purpose."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .chosen import HERE
from .decision import FAILURES
from .plants import PLANTS, Plant, grown

DESCRIPTION = (
    "Try the gate: is it quiet where nothing changed, and does it find what was made slower?"
)
RUNS = 20
FALSE_ALARMS = 1


class Run(NamedTuple):
    """A run of the gate: its rows, and how long it took."""

    rows: dict[str, dict[str, Any]]
    passed: bool
    taken_s: float

    def failures(self) -> dict[str, str]:
        """Return the benchmarks that failed, with how slow they are, or why they did not run."""
        return {
            name: f"{row['again']['ratio']:.2f}" if row["again"] else row["reason"]
            for name, row in self.rows.items()
            if row["verdict"] in FAILURES
        }


def gate(base: Path, head: Path, under: Sequence[str]) -> Run:
    """Let the gate compare two trees."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        options = ["--no-instructions", "--json", file.name]
        command = [*under, sys.executable, str(HERE / "gate.py"), str(base), str(head), *options]
        begin = time.perf_counter()
        status = _status_of(command)
        taken_s = time.perf_counter() - begin
        facts = json.loads(file.read() or '{"passed": null}')
    if facts["passed"] is None or status != (0 if facts["passed"] else 1):
        raise RuntimeError(f"the gate ended with status {status}")
    return Run({row["benchmark"]: row for row in facts["rows"]}, facts["passed"], taken_s)


def copy_of(tree: Path, directory: Path) -> Path:
    """Copy the package alone: the benchmarks are those beside this file."""
    shutil.copytree(tree / "mmapio", directory / "mmapio")
    return directory


def false_alarms(trees: tuple[Path, Path], runs: int, under: Sequence[str]) -> int:
    """Return how many runs over two copies of one tree failed."""
    failed = 0
    for number in range(runs):
        run = gate(*trees, under)
        failed += not run.passed
        _print(f"nothing changed, {number + 1:2}: {_told(run)}")
    return failed


def is_found(what: Plant, clean: Path, directory: Path, under: Sequence[str]) -> bool:
    """Return whether the gate tells of a slow-down by the benchmark that it was made for."""
    tree, share = grown(what, clean, directory, HERE)
    run = gate(clean, tree, under)
    found = what.benchmark in run.failures()
    _print(
        f"{what.name} made slower by {share:.0%}: {'found' if found else 'MISSED'}; {_told(run)}"
    )
    return found


def main(arguments: Sequence[str]) -> int:
    """Try all, and print a line for each run."""
    parser = argparse.ArgumentParser(description=DESCRIPTION)
    parser.add_argument("--runs", type=int, default=RUNS, help="with nothing changed")
    names = [what.name for what in PLANTS]
    parser.add_argument("--plants", nargs="*", default=names, choices=names, metavar="NAME")
    parser.add_argument("--under", default="", help="what runs each run: 'nice -n -5'")
    options = parser.parse_args(arguments)
    under = shlex.split(options.under)
    wanted = [what for what in PLANTS if what.name in options.plants]
    with tempfile.TemporaryDirectory(prefix="mmapio-honesty-") as name:
        directory = Path(name)
        trees = tuple(copy_of(HERE.parent, directory / side) for side in ("one", "other"))
        failed = false_alarms((trees[0], trees[1]), options.runs, under)
        found = sum(is_found(what, trees[0], directory / what.name, under) for what in wanted)
    _print(f"{failed} of {options.runs} runs failed where nothing changed;")
    _print(f"{found} of {len(wanted)} slow-downs of a quarter were found")
    return 0 if failed <= FALSE_ALARMS and found == len(wanted) else 1


def _status_of(command: Sequence[str]) -> int:
    """Run a command; whoever ends this process ends that as well, which then clears up."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            raise


def _told(run: Run) -> str:
    verdict = "pass" if run.passed else "FAIL"
    worst = ", ".join(f"{name} {found}" for name, found in run.failures().items())
    looked_twice = sum(row["again"] is not None for row in run.rows.values())
    return f"{verdict} in {run.taken_s:.0f} s, {looked_twice} looked at twice {worst}".rstrip()


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201, a table for a terminal is what this file is for
