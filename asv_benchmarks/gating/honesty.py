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
from .decision import FAILURES, Estimate
from .plants import PLANTS, Grown, Plant, grown, plant
from .trials import Trials

DESCRIPTION = (
    "Try the gate: is it quiet where nothing changed, and does it find what was made slower?"
)
RUNS = 20
TIMES = 5


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


class Trial(NamedTuple):
    """Two trees to let the gate compare, and what runs it."""

    base: Path
    head: Path
    under: Sequence[str]

    def run(self, only: str | None = None) -> Run:
        """Let the gate compare the trees, by all benchmarks or by some."""
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            options = ["--no-instructions", "--json", file.name]
            options += [] if only is None else ["--only", only]
            trees = [str(self.base), str(self.head)]
            command = [*self.under, sys.executable, str(HERE / "gate.py"), *trees, *options]
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


def false_alarms(trial: Trial, runs: int, trials: Trials) -> int:
    """Return how many runs over two copies of one tree failed."""
    for number in range(len(trials.quiet), runs):
        run = trial.run()
        trials.add_quiet(run.passed)
        _print(f"nothing changed, {number + 1:2}: {_told(run)}")
    return trials.quiet[:runs].count(False)


def times_found(what: Plant, trial: Trial, directory: Path, times: int, trials: Trials) -> int:
    """Return how often the gate finds a slow-down by the benchmark that it was made for.

    -1 if it could not be made on this machine.
    """
    known = trials.of(what.name)
    if "code" in known:
        tree = plant(what, trial.base, directory, known["code"])
    else:
        made = grown(what, trial.base, directory, HERE)
        trials.add_plant(what.name, made.code if made.is_made else None)
        tree = made.tree
        _print(f"{what.name}: {_described(made)}")
    if trials.of(what.name)["code"] is None:
        return -1
    for number in range(len(trials.of(what.name)["found"]), times):
        run = trial._replace(head=tree).run(what.benchmark)
        found = what.benchmark in run.failures()
        trials.add_found(what.name, found)
        _print(f"{what.name}, {number + 1}: {'found' if found else 'MISSED'}; {_told(run)}")
    return sum(trials.of(what.name)["found"][:times])


def main(arguments: Sequence[str]) -> int:
    """Try all, and print a line for each run."""
    options = _parser().parse_args(arguments)
    wanted = [what for what in PLANTS if what.name in options.plants]
    trials = Trials(options.state, HERE.parent)
    with tempfile.TemporaryDirectory(prefix="mmapio-honesty-") as name:
        directory = Path(name)
        one, other = (copy_of(HERE.parent, directory / side) for side in ("one", "other"))
        trial = Trial(one, other, shlex.split(options.under))
        failed = false_alarms(trial, options.runs, trials)
        counts = {
            what: times_found(what, trial, directory / what.name, options.times, trials)
            for what in wanted
        }
    made = {what: found for what, found in counts.items() if found >= 0}
    _print(f"{failed} of {options.runs} runs failed where nothing changed")
    for what, found in counts.items():
        told = f"found {found} of {options.times} times" if found >= 0 else "could not be made here"
        _print(f"{what.name}: {told}")
    all_found = all(found == options.times for found in made.values())
    return 0 if not failed and all_found else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="honesty.py", description=DESCRIPTION)
    parser.add_argument("--runs", type=int, default=RUNS, help="with nothing changed; 20")
    parser.add_argument("--times", type=int, default=TIMES, help="runs for each slow-down; 5")
    names = [what.name for what in PLANTS]
    parser.add_argument("--plants", nargs="*", default=names, choices=names, metavar="NAME")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="keep what was found, and go on from there the next time, unless the code has changed",
    )
    parser.add_argument("--under", default="", help="what runs each run: 'nice -n -5'")
    return parser


def _described(made: Grown) -> str:
    """Say how much slower a plant makes its benchmark, or why it is none."""
    tried = ", ".join(f"{share:.0%}" for share in made.tried)
    if made.is_made:
        return f"made slower by {_share(made.slower)}, at attempt {len(made.tried)}"
    return f"could not be made here: attempts gave {tried}, the last one {_share(made.slower)}"


def _share(slower: Estimate) -> str:
    ratio, low, high = (f"{value - 1:.0%}" for value in slower)
    return f"{ratio} ({low} to {high})"


def _status_of(command: Sequence[str]) -> int:
    """Run a command; whoever ends this process ends that as well, which then clears up."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
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
