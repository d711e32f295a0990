"""Parts that the benchmarks share: a place to work in, and figures with targets."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import numpy as np

import mmapio
from mmapio import _os
from mmapio.kernels.engine.jit import KERNELS

try:  # asv takes it from a benchmark itself, and a NotImplementedError from `setup` alone
    from asv_runner.benchmarks.mark import SkipNotImplemented as Skip
except ImportError:
    Skip = NotImplementedError

Method = TypeVar("Method", bound=Callable[..., Any])

# A quick run only shows that everything runs.
IS_QUICK = bool(os.environ.get("MMAPIO_BENCHMARK_QUICK"))
# How many samples of each side a median is of; fewer of those that take an interpreter each, and of
# work so long that so many would take more than the budget. With these, all of asv's figures take
# minutes; `thorough` is for a table that is printed once.
ROUNDS = 301
FEWEST_ROUNDS = 3
BUDGET_S = 0.02 if IS_QUICK else 0.2
FRESH_ROUNDS = 1 if IS_QUICK else 3
# Of files that are to be larger than any cache of the processor.
LARGE_BYTES = int(os.environ.get("MMAPIO_BENCHMARK_BYTES", 1 << 26 if IS_QUICK else 1 << 30))
# Long against the clock's resolution, short against the turns that a busy machine gives to
# processes: so that most samples are not interrupted, and the median is of one that is not.
SAMPLE_S = 2e-4
# A directory for files that several processes only read: made once, and linked from there.
SHARED = os.environ.get("MMAPIO_BENCHMARK_SHARED")
TMPFS = "/dev/shm"
# So often a short statement is repeated in a row: the loop around it costs next to nothing then.
UNROLLED = 10

# The first lines of code that is to find, in a fresh interpreter, the very mmapio measured here.
FIND_MMAPIO = f"import sys; sys.path.append({os.path.dirname(os.path.dirname(mmapio.__file__))!r})"


class Target(NamedTuple):
    """The most that a figure may be, and the row of the table of targets that says so.

    Where it differs, it is by the first parameter of the benchmark.
    """

    row: int
    at_most: float | dict[Any, float]
    reason: str = ""

    def most(self, parameters: tuple[Any, ...]) -> float:
        """Return the most that the figure for some parameters may be."""
        most = self.at_most
        return most[parameters[0]] if isinstance(most, dict) else most


def target(
    row: int, at_most: float | dict[Any, float], unit: str = "x", reason: str = ""
) -> Callable[[Method], Method]:
    """Set the target of a ``track_`` method; `asv_benchmarks/ratios.py` holds it to that.

    The page of figures gives the reason where the target is missed.
    """

    def mark(method: Method) -> Method:
        vars(method).update(target=Target(row, at_most, reason), unit=unit)
        return method

    return mark


def directory_in(place: str) -> tempfile.TemporaryDirectory[str]:
    """Make a directory on tmpfs, or where `TMPDIR` says."""
    parent = TMPFS if place == "tmpfs" else None
    if parent and not os.path.isdir(parent):
        raise NotImplementedError(f"there is no {parent}")
    return tempfile.TemporaryDirectory(prefix="mmapio-benchmark-", dir=parent)


def few(values: Sequence[Any], count: int = 1) -> list[Any]:
    """Return a list of parameters, of which a quick run takes the first ones."""
    return list(values)[: count if IS_QUICK else None]


def thorough() -> None:
    """Let the figures that are measured from now on be medians of more samples."""
    globals().update(FEWEST_ROUNDS=7, BUDGET_S=2.0, FRESH_ROUNDS=21)


class InTemporaryDirectory:
    """A benchmark with a directory of its own, made by `setup` and gone after `teardown`."""

    # asv does `setup` again before each sample, and some make files of a GiB.
    rounds = 1
    repeat = (1, 5, 1.0)
    warmup_time = 0.0

    def setup(self, *_: Any) -> None:
        self.directory = directory_in("disk")

    def teardown(self, *_: Any) -> None:
        directory = vars(self).get("directory")  # None: setup gave up
        vars(self).clear()  # Windows deletes no file while arrays over it are alive
        if directory is not None:
            directory.cleanup()

    def path(self, name: str) -> str:
        """Return the path of a file of that name in the directory."""
        return os.path.join(self.directory.name, name)

    def zeros(self, name: str, nbytes: int) -> str:
        """Make a file of `nbytes` zeros, which take no room on disk, and return its path."""
        with open(self.path(name), "wb") as file:
            file.truncate(nbytes)
        return self.path(name)

    def noise(self, name: str, nbytes: int) -> str:
        """Make a file of `nbytes` random bytes, which is in the page cache, and return its path."""
        path = self.path(name)
        if SHARED is None:
            return fill(path, nbytes)
        shared = os.path.join(SHARED, f"noise-{nbytes}")
        if not os.path.exists(shared):
            own = fill(f"{shared}-{os.getpid()}", nbytes)
            os.replace(own, shared)
        try:
            os.link(shared, path)
        except OSError:  # another file system
            fill(path, nbytes)
        return path


def fill(path: str, nbytes: int) -> str:
    """Make a file of random bytes, and return its path."""
    block = np.random.default_rng(0).bytes(min(nbytes, 16 << 20))
    with open(path, "wb") as file:
        for at in range(0, nbytes, len(block)):
            file.write(block[: nbytes - at])
    return path


def medians_s(statements: list[str], names: dict[str, Any]) -> list[float]:
    """Return the median time of each statement, timed in turns in this process.

    What slows the machine down for a while, slows all of them alike. The names are local
    variables of the statements, as they are where speed matters.
    """
    return medians([sampler(code, names) for code in statements])


def medians(
    samplers: list[Callable[[], float]],
    of: Callable[[tuple[float, ...]], float] = statistics.median,
) -> list[float]:
    """Return the median, or `of`, of what each sampler returns, called in turns."""
    begin = time.perf_counter()
    turns = [[sample() for sample in samplers]]
    turn_s = time.perf_counter() - begin
    rounds = min(ROUNDS, max(FEWEST_ROUNDS, int(BUDGET_S / turn_s)))
    turns += [[sample() for sample in samplers] for _ in range(rounds - 1)]
    return [of(figures) for figures in zip(*turns, strict=True)]


def ratio(ours: str, peer: str, names: dict[str, Any]) -> float:
    """Return the median time of one statement as a multiple of another's."""
    our_s, peer_s = medians_s([ours, peer], names)
    return our_s / peer_s


def ratio_of(
    ours: Callable[[], float],
    peer: Callable[[], float],
    of: Callable[[tuple[float, ...]], float] = statistics.median,
) -> float:
    """Return the median, or `of`, of what one sampler returns as a multiple of another's."""
    our, other = medians([ours, peer], of)
    return our / other


def elapsed_s(work: Callable[[], object]) -> float:
    """Return how long one call takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def size(nbytes: int) -> str:
    """Return a number of bytes in the largest unit that divides it."""
    for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if nbytes >> shift and not nbytes & ((1 << shift) - 1):
            return f"{nbytes >> shift} {unit}"
    return f"{nbytes} B"


def evict(path: str) -> None:
    """Take a file out of the page cache, or skip the benchmark where that cannot be done."""
    if not hasattr(os, "posix_fadvise"):
        raise Skip("this system cannot take a file out of its page cache")
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with mmapio.MappedFile.from_fd(file.fileno()) as mapping:
            left = int(_os.resident(mapping.view().ctypes.data, mapping.size).sum())
    if left:
        raise Skip(f"{left} pages of {path} stay in the page cache")


def compile_kernels(module: ModuleType) -> None:
    """Compile all kernels of a module of mmapio, for the types that it names."""
    for dispatcher, signatures in KERNELS:
        if dispatcher.py_func.__module__ == module.__name__:
            for types in signatures():
                dispatcher.compile(types)


def sync_data(fd: int) -> None:
    """Make what was written durable, as cheaply as the system can."""
    getattr(os, "fdatasync", os.fsync)(fd)


def run_fresh(code: str, *arguments: str) -> str:
    """Run code in a fresh interpreter, and return what it printed."""
    # -P: not the mmapio of the working directory.
    command = [sys.executable, "-P", "-c", f"{FIND_MMAPIO}\n{code}", *arguments]
    # With it our modules would be compiled each time, and those that pip installed would not.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env).stdout


def sampler(code: str, names: dict[str, Any]) -> Callable[[], float]:
    """Return a function that takes a sample of a statement's time; making it warms the caches."""
    local, scope = f"({', '.join(names)},) = names.values()", {"names": names}
    once_s = timeit.timeit(code, local, number=1, globals=scope)
    in_a_row = UNROLLED if once_s * UNROLLED < SAMPLE_S else 1
    timer = timeit.Timer("\n".join([code] * in_a_row), local, globals=scope)
    count = 1
    while timer.timeit(count) < SAMPLE_S:
        count *= 2
    return lambda: timer.timeit(count) / (count * in_a_row)
