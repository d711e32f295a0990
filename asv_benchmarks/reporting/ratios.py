"""Figures that are held to targets, and the table of them."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from typing import Any, NamedTuple

import numpy as np
from benchmarks import common

import mmapio

from .suite import classes, combinations, prepared

DESCRIPTION = "Measure how mmapio does beside its peers, and print a line for each target."


class Figure(NamedTuple):
    """A benchmark with a target, for one choice of its parameters."""

    kind: type
    method: str
    parameters: tuple[Any, ...]

    @property
    def target(self) -> Any:
        return getattr(self.kind, self.method).target

    @property
    def name(self) -> str:
        return f"{self.kind.__module__.rpartition('.')[2]}.{self.kind.__name__}.{self.method}"

    def measure(self) -> float:
        """Run the benchmark once."""
        with prepared(self.kind, self.parameters) as benchmark:
            return float(getattr(benchmark, self.method)(*self.parameters))

    def found(self) -> Found:
        """Measure, and hold the figure to its target."""
        method = getattr(self.kind, self.method)
        what, _, _ = method.__doc__.partition(" (target")
        names = getattr(self.kind, "param_names", ())
        what += "".join(map(_told, names, self.parameters))
        target = self.target
        try:
            figure: float | None = self.measure()
        except NotImplementedError as error:  # as asv understands it
            figure, skipped = None, str(error)
        else:
            skipped = ""
        row, reason, most = target.row, target.reason, target.most(self.parameters)
        return Found(row, most, reason, self.name, what, method.unit, figure, skipped)


class Found(NamedTuple):
    """Outcome of a benchmark with a target: a figure, or the reason why it was skipped."""

    row: int
    at_most: float
    reason: str
    name: str
    what: str
    unit: str
    figure: float | None
    skipped: str = ""

    @property
    def missed(self) -> bool:
        return self.figure is not None and self.figure > self.at_most

    def line(self) -> str:
        """Return the line of the table."""
        figure = f"{'-':>10}" if self.figure is None else f"{self.figure:10.4g}"
        verdict = "skip" if self.figure is None else "FAIL" if self.missed else "pass"
        what = f"{self.what}: {self.skipped}" if self.skipped else self.what
        return f"{self.row:3} {figure} {self.at_most:10.4g} {self.unit:5} {verdict}  {what}"


def figures() -> list[Figure]:
    """Return all that has a target, by row."""
    found = [
        Figure(kind, name, parameters)
        for kind in classes()
        for name, method in vars(kind).items()
        if hasattr(method, "target")
        for parameters in combinations(kind)
    ]
    return sorted(found, key=lambda figure: figure.target.row)


def main(arguments: list[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=DESCRIPTION)
    parser.add_argument("rows", nargs="*", type=int, metavar="ROW", help="all if there are none")
    wanted = parser.parse_args(arguments).rows
    found = figures()
    known = {figure.target.row for figure in found}
    rows = set(wanted) or known
    if not rows <= known:
        sys.exit(f"no benchmark has a target of row {min(rows - known)}; rows: {sorted(known)}")
    _print(
        f"mmapio {mmapio.__version__}, numpy {np.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs; "
        "ratios are of times, ours by the peer's"
    )
    _print("row     figure    at most unit")
    common.thorough()
    missed = 0
    for figure in found:
        if figure.target.row in rows:
            result = figure.found()
            _print(result.line())
            missed += result.missed
    return 1 if missed else 0


def _told(name: str, value: Any) -> str:
    """Return a parameter as the end of a line: sizes with their unit, other numbers with names.

    Examples
    --------
    >>> _told("nbytes", 1 << 30), _told("threads", 2), _told("place", "disk")
    (', 1 GiB', ', threads: 2', ', disk')
    """
    if name.endswith("bytes"):
        return f", {common.size(value)}"
    return f", {name}: {value}" if isinstance(value, int) else f", {value}"


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201, a table for a terminal is what this file is for
