"""Slow-downs made on purpose, each of a quarter of the time of one benchmark."""

from __future__ import annotations

import ast
import bisect
import shutil
import statistics
import timeit
from pathlib import Path
from typing import NamedTuple

from .chosen import Benchmark, listed_in
from .sides import Side

SHARE = 0.25
TURNS = 9


class Plant(NamedTuple):
    """A function of mmapio to slow down, and what is to find out.

    The benchmark calls it `calls` times. What is planted is `code`, or a loop that takes the share
    of the benchmark's time.
    """

    name: str
    file: str
    function: str
    benchmark: str
    calls: int = 1
    code: str = ""


PLANTS = (
    Plant("view", "_content.py", "view", "views.View.time_view_1000_times", 1000),
    Plant("open", "opening.py", "open", "open.OpenRaw.time_open(8388608)"),
    Plant("flush", "_durable.py", "flush", "flush.FlushOnePage.time_flush"),
    Plant("append", "growable.py", "append", "growth.Append.time_append(64)", 1000),
    Plant(
        "kernel",
        "kernels/scan.py",
        "_exact_sum",
        "scan.SumOfBytes.time_mmapio",
        # The same compiled code, over a quarter of the items once more.
        code="map_pieces(int_sum, pieces_of(array.reshape(-1)[: array.size // 4]), threads, False)",
    ),
)


def plant(what: Plant, tree: Path, directory: Path, code: str) -> Path:
    """Return a copy of a tree with code in the first line of a function."""
    shutil.copytree(tree / "mmapio", directory / "mmapio")  # with its compiled kernels
    file = directory / "mmapio" / what.file
    file.write_text(
        planted(file.read_text(encoding="utf-8"), what.function, code), encoding="utf-8"
    )
    return directory


def planted(source: str, function: str, code: str) -> str:
    """Return a source with a line of code before the body of the one function of that name.

    Examples
    --------
    >>> print(planted('def f():\\n    "Do."\\n    return 1', "f", "pass"))
    def f():
        "Do."
        pass
        return 1
    """
    nodes = ast.walk(ast.parse(source))
    (body,) = (n.body for n in nodes if isinstance(n, ast.FunctionDef) and n.name == function)
    first = body[1] if isinstance(body[0], ast.Expr) else body[0]
    lines = source.splitlines()
    lines.insert(first.lineno - 1, " " * first.col_offset + code)
    return "\n".join(lines) + "\n" * source.endswith("\n")


def code_of(what: Plant, tree: Path, suite: Path) -> str:
    """Return the code to plant; where it is a loop, as long as this machine takes right now."""
    if what.code:
        return what.code
    (benchmark,) = (benchmark for benchmark in listed_in(suite) if str(benchmark) == what.benchmark)
    return loop_of(_time_s(benchmark, tree, suite) * SHARE / what.calls)


def loop_of(wanted_s: float) -> str:
    """Return a loop that takes so long."""

    def taken_s(turns: int) -> float:
        loop = timeit.Timer(_loop(turns))
        number = max(1, int(1e-3 / wanted_s))
        return min(loop.repeat(9, number)) / number

    turns = 1
    while taken_s(turns) < wanted_s:
        turns *= 2
    fewest = turns // 2
    return _loop(fewest + bisect.bisect_left(range(fewest, turns), wanted_s, key=taken_s))


def _loop(turns: int) -> str:
    return f"for _ in range({turns}): pass"


def _time_s(benchmark: Benchmark, tree: Path, suite: Path) -> float:
    with Side(tree, suite) as side:
        side.prepare(benchmark)
        side.answer()
        calls = side.calls(benchmark)
        return statistics.median(side.turn(benchmark, calls).s for _ in range(TURNS))
