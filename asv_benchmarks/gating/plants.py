"""Slow-downs made on purpose, each of a quarter of the time of one benchmark.

In Python, statements without effect are planted; in a kernel, instructions without effect within
its loop. How many of them are a quarter differs from one processor to the next, and is found out.
"""

from __future__ import annotations

import ast
import shutil
import statistics
import timeit
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .chosen import Benchmark, listed_in
from .decision import Estimate, estimate
from .sides import Side, generations

SHARE = 0.25
# What passes for a quarter, and what growing stops at. A processor does some of what is planted in
# a kernel beside its own work, or none, and one instruction more can take a sixth of a loop.
LEAST, MOST = 0.2, 0.4
ENOUGH, TOO_MUCH = 0.24, 0.35
ATTEMPTS = 14
FARTHEST = 32  # what is next tried has at most so many times as many units
PROCESSES, TURNS = 3, 9
# To make sure of a plant: its slow-down has to be there whatever else the machine does meanwhile.
SURE_PROCESSES = 7
SURELY = 1.1
LONG_S = 2e-6
UNITS = "UNITS"

# Modules for planted trees: a decorator, and instructions that no compiler leaves out.
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
BUSY = "_busy"
LOOP = '''
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

binding.initialize_native_asmparser()
NOTHING = ir.FunctionType(ir.VoidType(), [])
AT_ONCE = 8
MOST_IN_LINE = 1024


@intrinsic(prefer_literal=True)
def busy(typing, count):
    """Do nothing so many times: an instruction that takes its turn, whatever is beside it."""
    # A loop of few turns is a branch that is foretold, or is not: so there is none.
    in_line = getattr(count, "literal_value", MOST_IN_LINE + 1)

    def emit(context, builder, signature, arguments):
        if in_line <= MOST_IN_LINE:
            builder.asm(NOTHING, "nop;" * in_line, "", [], True)
            return context.get_dummy_value()
        whole = context.cast(builder, arguments[0], signature.args[0], types.intp)
        with cgutils.for_range(builder, builder.udiv(whole, whole.type(AT_ONCE))):
            builder.asm(NOTHING, "nop;" * AT_ONCE, "", [], True)
        return context.get_dummy_value()

    return types.void(count), emit
'''


class Plant(NamedTuple):
    """A function of mmapio to slow down, and what is to find out.

    What is planted is `code`, before the line of the function that begins with `before`, or before
    its body. ``UNITS`` in it is a number that is grown. Where there is no code, so many statements
    without effect are planted that they take the share of the benchmark's time, which calls the
    function `calls` times.
    """

    name: str
    file: str
    function: str
    benchmark: str
    calls: int = 1
    code: str = ""
    before: str = ""

    @property
    def grows(self) -> bool:
        """Return whether the number of units decides how slow it is."""
        return not self.code or UNITS in self.code


def _in_kernel(
    name: str, file: str, function: str, benchmark: str, before: str = "", turns: str = UNITS
) -> Plant:
    return Plant(name, f"{file}.py", function, benchmark, code=f"busy({turns})", before=before)


_OF_ITEMS = f"x.size * {UNITS} >> 10"
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
    # Kernels, each over what is in cache and over more than that.
    _in_kernel(
        "sum-in-cache",
        "kernels/statistics/_moments",
        "quick_sum",
        "scan.SumInCache.time_mmapio",
        turns=_OF_ITEMS,
    ),
    _in_kernel(
        "sum",
        "kernels/statistics/_moments",
        "split_int_sum",
        "scan.SumOfBytes.time_mmapio",
        before="low += np.int64(_small_sum(",
    ),
    _in_kernel(
        "gather-in-cache",
        "kernels/rows/copying",
        "_gather_long",
        "gather.GatherInCache.time_mmapio",
        before="copy_row(target",
    ),
    _in_kernel(
        "gather",
        "kernels/rows/copying",
        "_gather_long",
        "gather.GatherWarm.time_mmapio",
        before="copy_row(target",
    ),
    _in_kernel(
        "atomics-in-cache",
        "atomics/_overloads",
        "kernel_operation",
        "atomics.InOneThread.time_fetch_add",
        before="return _ir.operate(",
    ),
    _in_kernel(
        "atomics",
        "kernels/rows/sums",
        "add_each",
        "atomics.ScatterAddLarge.time_scatter_add",
        before="at, value = start",
    ),
    _in_kernel(
        "reduce_chunks-in-cache",
        "kernels/chunks/compiling",
        "_loop",
        "chunks.ReduceChunks.time_reduce_chunks",
        before="value = kernel(",
    ),
    _in_kernel(
        "reduce_chunks",
        "kernels/chunks/compiling",
        "_loop",
        "chunks.DropBehind.time_unbounded",
        before="value = kernel(",
    ),
)


class Grown(NamedTuple):
    """A planted tree, how much slower it makes the benchmark, and whether that is a plant.

    `code` is what was planted; `tried` has the slow-down of each attempt.
    """

    tree: Path
    slower: Estimate
    code: str
    tried: list[float]

    @property
    def is_made(self) -> bool:
        """Return whether the slow-down is a quarter, and surely there."""
        return self.slower.low > SURELY and 1 + LEAST <= self.slower.ratio <= 1 + MOST


def plant(what: Plant, tree: Path, directory: Path, code: str) -> Path:
    """Return a copy of a tree with code in a function, or as a decorator of it."""
    shutil.copytree(tree / "mmapio", directory / "mmapio")  # with its compiled kernels
    for name, source in ((LONGER, DECORATOR), (BUSY, LOOP)):
        (directory / "mmapio" / f"{name}.py").write_text(source, encoding="utf-8")
    file = directory / "mmapio" / what.file
    source = planted(file.read_text(encoding="utf-8"), what.function, code, what.before)
    file.write_text(source, encoding="utf-8")
    return directory


def planted(source: str, function: str, code: str, before: str = "") -> str:
    """Return a source with a line in the one function of that name.

    It goes before the first statement that begins so, or before the body; a decorator before the
    function. What calls `busy` gets its import.

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
    lines = source.splitlines()
    at = place if code.startswith("@") else next(_statements(place, lines, before))
    lines.insert(at.lineno - 1, " " * at.col_offset + code)
    if code.startswith("busy("):
        imports = next(n for n, line in enumerate(lines) if line.startswith(("import ", "from mm")))
        lines.insert(imports, f"from mmapio.{BUSY} import busy")
    return "\n".join(lines) + "\n" * source.endswith("\n")


def _statements(place: ast.FunctionDef, lines: list[str], before: str) -> Iterator[ast.stmt]:
    """Yield the statements of a function that begin so, or the first one of its body."""
    if not before:
        yield place.body[1] if isinstance(place.body[0], ast.Expr) else place.body[0]
    for node in ast.walk(place):
        if isinstance(node, ast.stmt) and lines[node.lineno - 1].lstrip().startswith(before):
            yield node


def grown(what: Plant, clean: Path, directory: Path, suite: Path) -> Grown:
    """Return a tree that is slower by the share, by as many units as that takes here."""
    benchmark = benchmark_of(what, suite)
    unit, units = "", 1
    if not what.code:
        unit, units = _filling(_time_s(benchmark, clean, suite) * SHARE / what.calls)
    low, high = 0, None
    tried: list[float] = []
    for attempt in range(ATTEMPTS):
        code = what.code.replace(UNITS, str(units)) if what.code else filled(unit, units)
        tree = plant(what, clean, directory / str(attempt), code)
        slower = _slower(benchmark, (clean, tree), suite, PROCESSES)
        if not what.grows or ENOUGH <= slower.ratio - 1 <= TOO_MUCH:  # else it needs no closer look
            slower = _slower(benchmark, (clean, tree), suite, SURE_PROCESSES)
        share = slower.ratio - 1
        tried.append(share)
        made = Grown(tree, slower, code, tried)
        if made.is_made or not what.grows or ENOUGH <= share <= TOO_MUCH:
            break
        if share < ENOUGH:
            low = units
        else:
            high = units
        wanted = _next(low, high, units, share)
        if wanted in (low, high):
            break  # one unit more is too much
        units = wanted
    return made


def benchmark_of(what: Plant, suite: Path) -> Benchmark:
    """Return the benchmark of the gate that is to find a plant."""
    (benchmark,) = (one for one in listed_in(suite) if str(one) == what.benchmark)
    return benchmark


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


def _next(low: int, high: int | None, units: int, share: float) -> int:
    """Return how many units to try next: by proportion, and between what is too few and too many.

    Examples
    --------
    >>> _next(10, None, 10, 0.125), _next(10, None, 10, 0.0), _next(10, 40, 40, 4.0)
    (22, 320, 25)
    """
    wanted = max(1, round(units * min(FARTHEST, (ENOUGH + 0.04) / max(share, 1e-3))))
    if high is None:
        return max(wanted, units + 1)
    return wanted if low < wanted < high else (low + high) // 2


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
        return statistics.median(side.turn(benchmark, calls) for _ in range(TURNS))


def _slower(
    benchmark: Benchmark, trees: tuple[Path, Path], suite: Path, processes: int
) -> Estimate:
    """Return the time over the second tree as a multiple of that over the first."""
    return estimate(
        [
            [pair.ratio for pair in measured.pairs[benchmark]]
            for measured in generations(trees, suite, [benchmark], processes, TURNS)
        ]
    )
