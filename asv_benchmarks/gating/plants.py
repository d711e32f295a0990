"""Slow-downs made on purpose, each of a quarter of the time of one benchmark."""

from __future__ import annotations

import ast
import shutil
import statistics
import timeit
from pathlib import Path
from typing import NamedTuple

from .chosen import Benchmark, listed_in
from .sides import Side, generations

SHARE = 0.25
TOLERANCE = 0.03
ATTEMPTS = 6
PROCESSES, TURNS = 3, 9
LONG_S = 2e-6
# A module for planted trees, with a decorator.
LONGER = "_longer"
DECORATOR = """
import os
from time import perf_counter

WAITS = "/proc/thread-self/schedstat"
FD = os.open(WAITS, os.O_RDONLY) if os.path.exists(WAITS) else None


def now_s():
    # Without the time in line for a CPU, as the gate has it.
    return perf_counter() - (int(os.pread(FD, 64, 0).split()[1]) / 1e9 if FD else 0)


def longer(share):
    def decorate(function):
        def slower(*arguments, **keywords):
            begin = now_s()
            result = function(*arguments, **keywords)
            end = now_s()
            while now_s() - end < (end - begin) * share:
                pass
            return result

        return slower

    return decorate
"""


class Plant(NamedTuple):
    """A function of mmapio to slow down, and what is to find out.

    The benchmark calls it `calls` times. What is planted is `code`; where there is none, so many
    statements without effect that they take the share of the benchmark's time.
    """

    name: str
    file: str
    function: str
    benchmark: str
    calls: int = 1
    code: str = ""


PLANTS = (
    Plant("view", "mapping/mapped_bytes.py", "view", "slices.View.time_view_1000_times", 1000),
    Plant("open", "arrays/opening.py", "open", "open.OpenRaw.time_open(8388608)"),
    Plant(
        "flush",
        "mapping/mapped_file.py",
        "flush",
        "flush.FlushOnePage.time_flush",
        # A disk is fast one moment and slow the next: what is a quarter now would not be one then.
        code=f"@__import__('mmapio.{LONGER}', fromlist='.').longer({SHARE})",
    ),
    Plant("append", "arrays/growable_array.py", "append", "growth.Append.time_append(64)", 1000),
    Plant(
        "kernel",
        "kernels/statistics/sums.py",
        "_exact_sum",
        "scan.SumOfBytes.time_mmapio",
        # The same compiled code, over a quarter of the items once more.
        code="map_pieces(int_sum, pieces_of(array.reshape(-1)[: array.size // 4]), how)",
    ),
)


def plant(what: Plant, tree: Path, directory: Path, code: str) -> Path:
    """Return a copy of a tree with code in the first line of a function, or as a decorator."""
    shutil.copytree(tree / "mmapio", directory / "mmapio")  # with its compiled kernels
    (directory / "mmapio" / f"{LONGER}.py").write_text(DECORATOR, encoding="utf-8")
    file = directory / "mmapio" / what.file
    file.write_text(
        planted(file.read_text(encoding="utf-8"), what.function, code), encoding="utf-8"
    )
    return directory


def planted(source: str, function: str, code: str) -> str:
    """Return a source with a line before the body of the one function of that name.

    A decorator goes before the function.

    Examples
    --------
    >>> print(planted('def f():\\n    "Do."\\n    return 1', "f", "pass"))
    def f():
        "Do."
        pass
        return 1
    """
    nodes = ast.walk(ast.parse(source))
    (place,) = (n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == function)
    body = place.body[1] if isinstance(place.body[0], ast.Expr) else place.body[0]
    before: ast.stmt = place if code.startswith("@") else body
    lines = source.splitlines()
    lines.insert(before.lineno - 1, " " * before.col_offset + code)
    return "\n".join(lines) + "\n" * source.endswith("\n")


def grown(what: Plant, clean: Path, directory: Path, suite: Path) -> tuple[Path, float]:
    """Return a tree that is slower by the share, and by how much it really is.

    A loop is made longer or shorter until that is true, by the very processes that the gate uses.
    """
    (benchmark,) = (one for one in listed_in(suite) if str(one) == what.benchmark)
    unit, units = "", 0
    if not what.code:
        unit, units = _filling(_time_s(benchmark, clean, suite) * SHARE / what.calls)
    for attempt in range(ATTEMPTS):
        code = what.code or filled(unit, units)
        tree = plant(what, clean, directory / str(attempt), code)
        share = _share(benchmark, (clean, tree), suite)
        if what.code or abs(share - SHARE) < TOLERANCE:
            break
        units = max(1, round(units * min(4, SHARE / max(share, 0.05))))
    return tree, share


def filled(unit: str, units: int) -> str:
    """Return a line of code that does nothing, so many times.

    Examples
    --------
    >>> filled("_ = 0", 3)
    '_ = 0; _ = 0; _ = 0'
    >>> filled("pass", 3)
    'for _ in range(3): pass'
    """
    return f"for _ in range({units}): pass" if unit == "pass" else "; ".join([unit] * units)


def _filling(wanted_s: float) -> tuple[str, int]:
    """Return what to repeat how often, for about so long; the head of a loop takes long itself."""
    unit = "pass" if wanted_s > LONG_S else "_ = 0"
    each_s = min(timeit.repeat(filled(unit, 1000), number=1000)) / 1000 / 1000
    return unit, max(1, round(wanted_s / each_s))


def _time_s(benchmark: Benchmark, tree: Path, suite: Path) -> float:
    with Side(tree, suite) as side:
        side.prepare(benchmark)
        side.answer()
        calls = side.calls(benchmark)
        return statistics.median(side.turn(benchmark, calls).s for _ in range(TURNS))


def _share(benchmark: Benchmark, trees: tuple[Path, Path], suite: Path) -> float:
    found = [
        statistics.median(pair.head.s / pair.base.s for pair in measured.pairs[benchmark])
        for measured in generations(trees, suite, [benchmark], PROCESSES, TURNS)
    ]
    return statistics.median(found) - 1
