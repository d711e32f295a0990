"""Measure how mmapio does beside its peers, and print a line for each target.

Usage: ``python asv_benchmarks/ratios.py [ROW ...]``, with the rows of the targets to measure; all
of them if there are none. The exit status is 1 if a target was missed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import os
import pkgutil
import platform
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import benchmarks
import numpy as np
from benchmarks import common
from ending import clear_up_when_ended

import mmapio


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
        try:
            figure = self.measure()
        except NotImplementedError as error:  # as asv understands it
            return Found(*self.target, self.name, what, method.unit, None, str(error))
        return Found(*self.target, self.name, what, method.unit, figure)


class Found(NamedTuple):
    """What a benchmark with a target found; it has a figure, or was skipped for a reason."""

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


@contextlib.contextmanager
def prepared(kind: type, parameters: tuple[Any, ...] = ()) -> Iterator[Any]:
    """Yield a benchmark between its `setup` and its `teardown`, if it has them, as asv does."""
    benchmark = kind()
    try:
        if hasattr(benchmark, "setup"):
            benchmark.setup(*parameters)
        yield benchmark
    finally:
        if hasattr(benchmark, "teardown"):
            benchmark.teardown(*parameters)


def classes() -> Iterator[type]:
    """Yield every class of benchmarks."""
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.name.startswith("bench_"):
            found = importlib.import_module(f"benchmarks.{module.name}")
            yield from (
                kind
                for kind in vars(found).values()
                if isinstance(kind, type) and kind.__module__ == found.__name__
            )


def combinations(kind: type) -> list[tuple[Any, ...]]:
    """Return all choices of parameters of a class, as asv understands them."""
    params: Any = getattr(kind, "params", ())
    several = bool(params) and isinstance(params[0], tuple | list)
    return list(itertools.product(*(params if several or not params else [params])))


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
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rows", nargs="*", type=int, metavar="ROW", help="all if there are none")
    wanted = parser.parse_args(arguments).rows
    clear_up_when_ended()
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
