"""The truth about contended atomics: threads and processes lose nothing, and plain code does.

The same functions run as kernels in threads, as Python in processes and, with one operation
replaced by a plain load and store, as the mutants that must fail.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest

import mmapio
from mmapio import atomics

INTEGERS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
FLOATS = ("f4", "f8")
DTYPES = (*INTEGERS, *FLOATS, "?")
CELLS, OTHERS = 8, 4
PROCESSES, THREADS = 2, 2


def integers_truth(ops: Any) -> Callable[..., int]:
    """Return what one of several workers does to cells of integers, and how far it moved one."""
    load, exchange, compare_exchange = ops.load, ops.exchange, ops.compare_exchange
    fetch_add, fetch_sub = ops.fetch_add, ops.fetch_sub
    fetch_and, fetch_or, fetch_xor = ops.fetch_and, ops.fetch_or, ops.fetch_xor
    fetch_min, fetch_max = ops.fetch_min, ops.fetch_max

    def work(a, ready, workers, seed, rounds):
        atomics.fetch_add(ready, 0, 1)
        while atomics.load(ready, 0) < workers:
            pass
        moved, random = 0, seed
        for _ in range(rounds):
            fetch_add(a, 0, 3)
            fetch_sub(a, 1, 3)
            done = False
            while not done:
                old = np.int64(load(a, 2))
                _, done = compare_exchange(a, 2, old, (old + 1) % 100)
            # whatever the order, the moves of all workers add up to the way the cell went
            random = (random * 75 + 74) % 65537
            value = random % 100
            old = np.int64(fetch_or(a, 3, value))
            moved += (old | value) - old
            old = np.int64(fetch_max(a, 3, value >> 1))
            moved += max(old, value >> 1) - old
            old = np.int64(fetch_xor(a, 3, value))
            moved += (old ^ value) - old
            old = np.int64(exchange(a, 3, value))
            moved += value - old
            old = np.int64(fetch_min(a, 3, 90 - (value >> 1)))
            moved += min(old, 90 - (value >> 1)) - old
            old = np.int64(fetch_and(a, 3, 127 - (value >> 2)))
            moved += (old & (127 - (value >> 2))) - old
        return moved

    return work


def floats_truth(ops: Any) -> Callable[..., float]:
    """Return what one of several workers does to cells of floats, and how far it moved one."""
    load, exchange, compare_exchange = ops.load, ops.exchange, ops.compare_exchange
    fetch_add, fetch_sub = ops.fetch_add, ops.fetch_sub
    fetch_min, fetch_max = ops.fetch_min, ops.fetch_max

    def work(a, ready, workers, seed, rounds):
        atomics.fetch_add(ready, 0, 1)
        while atomics.load(ready, 0) < workers:
            pass
        moved, random = 0.0, seed
        for _ in range(rounds):
            fetch_add(a, 0, 1.5)
            fetch_sub(a, 1, 1.5)
            done = False
            while not done:
                old = np.float64(load(a, 2))
                _, done = compare_exchange(a, 2, old, old + 0.5)
            random = (random * 75 + 74) % 65537
            value = random % 100 * 0.25
            old = np.float64(fetch_max(a, 3, value))
            moved += max(old, value) - old
            old = np.float64(fetch_min(a, 3, 20.0 - value))
            moved += min(old, 20.0 - value) - old
            old = np.float64(exchange(a, 3, value))
            moved += value - old
        return moved

    return work


def bools_truth(ops: Any) -> Callable[..., int]:
    """Return what one of several workers does to flags, and how far it moved one."""
    store, exchange, compare_exchange = ops.store, ops.exchange, ops.compare_exchange
    fetch_and, fetch_or, fetch_xor = ops.fetch_and, ops.fetch_or, ops.fetch_xor

    def work(a, ready, workers, seed, rounds):
        atomics.fetch_add(ready, 0, 1)
        while atomics.load(ready, 0) < workers:
            pass
        moved, random = 0, seed
        for _ in range(rounds):
            _, locked = compare_exchange(a, 0, False, True, order="acquire")
            if locked:
                ready[2] += 1  # not atomic: the lock has to protect it
                atomics.fetch_add(ready, 3, 1)
                store(a, 0, False, order="release")
            random = (random * 75 + 74) % 65537
            value = random % 3 == 0
            old = fetch_or(a, 3, value)
            moved += int(old | value) - int(old)
            old = fetch_xor(a, 3, True)
            moved += int(not old) - int(old)
            old = exchange(a, 3, value)
            moved += int(value) - int(old)
            old = fetch_and(a, 3, not value)
            moved += int(old & (not value)) - int(old)
        return moved

    return work


TRUTHS = {"i": integers_truth, "u": integers_truth, "f": floats_truth, "b": bools_truth}


def is_true(a: np.ndarray, ready: np.ndarray, workers: int, rounds: int, moved: float) -> bool:
    """Return whether the cells are what that many rounds of that many workers make of them."""
    if a.dtype.kind == "b":
        return bool(ready[2] == ready[3] > 0 and int(a[3]) == moved)
    total = workers * rounds
    step, exchanged = (1.5, total * 0.5) if a.dtype.kind == "f" else (3, total % 100)
    sums = np.array([total * step, -total * step]).astype(a.dtype)
    return bool((a[:2] == sums).all() and a[2] == exchanged and a[3] == moved)


def contend(kernel: Callable[..., Any], dtype: str, workers: int, rounds: int) -> bool:
    """Run `kernel` in threads over fresh memory and return whether the outcome is true."""
    a, ready = np.zeros(CELLS, dtype), np.zeros(OTHERS, "i8")
    moved = in_threads(kernel, a, ready, workers, range(1, workers + 1), rounds)
    return is_true(a, ready, workers, rounds, moved)


def in_threads(
    kernel: Callable[..., Any],
    a: np.ndarray,
    ready: np.ndarray,
    workers: int,
    seeds: range,
    rounds: int,
) -> float:
    """Run `kernel` in a thread for each seed and return how far they moved a cell together."""
    moves: list[float] = []
    threads = [
        threading.Thread(
            target=lambda seed=seed: moves.append(kernel(a, ready, workers, seed, rounds))
        )
        for seed in seeds
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(moves)


# each width and both signs; the threads of processes below have the rest
@pytest.mark.parametrize("dtype", ["i1", "u2", "i4", "u8", "f4", "f8", "?"])
def test_threads_lose_nothing(dtype):
    kernel = numba.njit(nogil=True)(TRUTHS[np.dtype(dtype).kind](atomics))
    contend(kernel, dtype, 1, 1)
    assert contend(kernel, dtype, 2, 20_000)
    assert contend(kernel, dtype, 3, 4_000)


# --- processes -------------------------------------------------------------------------------


def shared(path: str, offset: int, dtype: str, count: int) -> np.ndarray:
    """Return cells of a file, mapped with nothing but the standard library."""
    with open(path, "r+b") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0), dtype, count, offset)


def places(path: str, number: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells and the plain words of the number-th dtype, one page for each."""
    return shared(path, number * 4096, dtype, CELLS), shared(path, number * 4096 + 64, "i8", OTHERS)


def run_worker(path: str, workers: int, seed: int, rounds: int) -> None:
    """Work as one of several processes, and write how far each dtype's cell was moved."""
    for number, dtype in enumerate(DTYPES):
        work = TRUTHS[np.dtype(dtype).kind](atomics)
        moved = work(*places(path, number, dtype), workers, seed, rounds)
        sys.stdout.write(f"{moved}\n")


def start_worker(*arguments: object) -> subprocess.Popen[str]:
    """Start this file as a new process."""
    path = os.pathsep.join(
        [str(Path(mmapio.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    command = [sys.executable, "-W", "error", __file__, *map(str, arguments)]
    environment, pipe = os.environ | {"PYTHONPATH": path}, subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)


def are_true(path: Path, processes: list[subprocess.Popen[str]], workers: int, rounds: int) -> bool:
    """Return whether the cells of all dtypes are what the processes made of them."""
    moves = [[float(line) for line in process.communicate()[0].split()] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return all(
        is_true(*places(str(path), number, DTYPES[number]), workers, rounds, sum(moved))
        for number, moved in enumerate(zip(*moves, strict=True))
    )


def test_processes_lose_nothing(tmp_path):
    path, rounds = tmp_path / "cells", 500
    path.write_bytes(bytes(4096 * len(DTYPES)))
    processes = [start_worker("work", path, 2, seed, rounds) for seed in (1, 2)]
    assert are_true(path, processes, 2, rounds)


# --- threads of processes --------------------------------------------------------------------


def run_threads(path: str, mutant: str, seed: int, rounds: int) -> None:
    """Work as `THREADS` threads of one of `PROCESSES` processes, in kernels over one mapping.

    As the mutant of one operation, on the first dtype only.
    """
    dtypes = DTYPES[:1] if mutant in MUTANTS else DTYPES
    work = [compiled_truth(np.dtype(dtype), mutant) for dtype in dtypes]
    sys.stdout.write("compiled\n")
    sys.stdout.flush()
    sys.stdin.readline()  # until the others are there: the threads would spin
    mapping = mmapio.MappedFile.open(path, "r+")
    for number, dtype in enumerate(dtypes):
        a = mapping.view(number * 4096, CELLS * np.dtype(dtype).itemsize, dtype)
        ready = mapping.view(number * 4096 + 64, OTHERS * 8, "i8")
        seeds = range(seed, seed + THREADS)
        moved = in_threads(work[number], a, ready, PROCESSES * THREADS, seeds, rounds)
        sys.stdout.write(f"{moved}\n")


def compiled_truth(dtype: np.dtype[Any], mutant: str) -> Callable[..., Any]:
    """Return a kernel, compiled; numba's cache has it for the processes that come after."""
    is_mutant = mutant in MUTANTS
    truth = TRUTHS[dtype.kind](mutated(mutant) if is_mutant else atomics)
    kernel: Callable[..., Any] = numba.njit(nogil=True, cache=not is_mutant)(truth)
    kernel(np.zeros(CELLS, dtype), np.zeros(OTHERS, "i8"), 1, 1, 1)
    return kernel


def run_processes(path: Path, mutant: str, rounds: int) -> bool:
    """Return whether the outcome is true of `PROCESSES` processes of `THREADS` threads each."""
    path.write_bytes(bytes(4096 * len(DTYPES)))
    processes = []
    for number in range(PROCESSES):
        process = start_worker("threads", path, mutant, 1 + number * THREADS, rounds)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "compiled\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return are_true(path, processes, PROCESSES * THREADS, rounds)


def test_threads_of_processes_lose_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    assert run_processes(tmp_path / "cells", "none", 20_000)


def test_a_plain_load_and_store_of_threads_of_processes_is_caught(tmp_path):
    deadline_s = time.monotonic() + 60  # on a busy machine they may not meet at once
    while run_processes(tmp_path / "cells", "fetch_add", 1_000_000):
        assert time.monotonic() < deadline_s


# --- a process that is killed ----------------------------------------------------------------


def run_until_killed(path: str) -> None:
    """Add to both halves of a word until the process is killed, in long kernel calls."""
    cells = shared(path, 0, "u8", 1)
    add_to_halves(cells, 1)
    sys.stdout.write("adding\n")
    sys.stdout.flush()
    while True:
        add_to_halves(cells, 1_000_000)


@numba.njit(nogil=True)
def add_to_halves(cells, rounds):
    for _ in range(rounds):
        atomics.fetch_add(cells, 0, (1 << 32) + 1)


def test_a_killed_process_leaves_the_word_whole(tmp_path):
    path = tmp_path / "cells"
    path.write_bytes(bytes(8))
    workers = [start_worker("until-killed", path) for _ in range(3)]
    cell = atomics.AtomicCell(shared(str(path), 0, "u8", 1), 0)
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "adding\n"
        before = cell.value
        while cell.value == before:
            pass
        worker.kill()
        worker.communicate()
        assert worker.returncode < 0
    found = cell.value
    assert found >> 32 == found & 0xFFFF_FFFF > 3
    assert cell.fetch_add(1) == found
    assert cell.value == found + 1


# --- mutants ---------------------------------------------------------------------------------


@numba.njit
def plain_exchange(a, i, value):
    old = atomics.load(a, i, order="relaxed")
    atomics.store(a, i, value, order="relaxed")
    return old


@numba.njit
def plain_compare_exchange(a, i, expected, desired, order="seq_cst"):
    old = atomics.load(a, i, order="relaxed")
    if old == expected:
        atomics.store(a, i, desired, order="relaxed")
        return old, True
    return old, False


def plain(change: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Return the mutant of an operation: the load and the store of it, and nothing between.

    Relaxed loads and stores are plain instructions; they only keep LLVM from merging the loop.
    """
    compiled = numba.njit(change)

    @numba.njit
    def operation(a, i, value):
        old = atomics.load(a, i, order="relaxed")
        atomics.store(a, i, compiled(old, value), order="relaxed")
        return old

    return operation


MUTANTS = {
    "exchange": plain_exchange,
    "compare_exchange": plain_compare_exchange,
    "fetch_add": plain(lambda old, value: old + value),
    "fetch_sub": plain(lambda old, value: old - value),
    "fetch_and": plain(lambda old, value: old & value),
    "fetch_or": plain(lambda old, value: old | value),
    "fetch_xor": plain(lambda old, value: old ^ value),
    "fetch_min": plain(lambda old, value: min(old, value)),
    "fetch_max": plain(lambda old, value: max(old, value)),
}


def mutated(operation: str) -> SimpleNamespace:
    """Return the atomics with one operation that is not."""
    real = {name: getattr(atomics, name) for name in (*MUTANTS, "load", "store")}
    return SimpleNamespace(**{**real, operation: MUTANTS[operation]})


CAUGHT = [("i8", operation) for operation in MUTANTS]
CAUGHT += [("f8", "fetch_min"), ("u1", "fetch_sub"), ("?", "compare_exchange")]


@pytest.mark.parametrize(("dtype", "operation"), CAUGHT)
def test_a_plain_load_and_store_is_caught(dtype, operation):
    kernel = numba.njit(nogil=True)(TRUTHS[np.dtype(dtype).kind](mutated(operation)))
    contend(kernel, dtype, 1, 1)
    rounds, deadline_s = 20_000, time.monotonic() + 30
    while contend(kernel, dtype, 2, rounds):  # on a busy machine the threads may not meet at once
        assert time.monotonic() < deadline_s
        rounds = min(2 * rounds, 1_000_000)


if __name__ == "__main__":
    if sys.argv[1] == "until-killed":
        run_until_killed(sys.argv[2])
    elif sys.argv[1] == "threads":
        run_threads(*sys.argv[2:4], *map(int, sys.argv[4:]))
    else:
        run_worker(sys.argv[2], *map(int, sys.argv[3:]))
