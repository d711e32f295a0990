"""Every public kernel over a file that a thread or a process keeps changing.

As a script: ``storm.py FILE WRITERS CALLS SECONDS [NAME ...]`` calls each kernel, or those that are
named, so often, or for so long, beside a ``thread``, a ``process`` or ``both``; checks that every
result is true of some mixture of what was in the file, and prints how often each was called. A
stray access is a signal that ends the process. 100,000 calls of each take some minutes.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

import mmapio
from mmapio import kernels
from mmapio.errors import ArgumentError, OutOfBoundsError

Words = NDArray[np.uint64]
Storm = Callable[[Words], bool]

NBYTES = 24 << 10  # some blocks, and what does not fill one
ROWS, COLUMNS = 50, 5
_DATA = (
    *(0x3FF0000000000000, 0x7FF8000000000000, 0xFFF0000000000000, 0x7FC000007FC00000),
    *(0, 1, 5, ROWS - 1, 0xFFFFFFFFFFFFFFFF, 0x8000000000000000, 0x7FFFFFFFFFFFFFFF, 1 << 40),
    *(0x0A0A0A0A0A0A0A0A, 0x616161616161610A, 0x6161616161616161, 0x0000000500000001),
    *(0x0123456789ABCDEF, 0x7FEFFFFFFFFFFFFF, 0x0101010101010101, 0x7F7FFFFFFF7FFFFF),
)
PATTERNS = np.array(_DATA, np.uint64)


# Writers ----------------------------------------------------------------------------------------


@numba.njit(nogil=True)
def _store(words: Words, patterns: Words, rounds: int, seed: int) -> None:
    """Fill runs of the words with patterns: whole blocks, and single words in between."""
    state = np.uint64(seed)
    for _ in range(rounds):
        state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        pattern = patterns[(state >> np.uint64(33)) % np.uint64(patterns.size)]
        first = (state >> np.uint64(40)) % np.uint64(words.size)
        length = np.uint64(1) << ((state >> np.uint64(20)) % np.uint64(13))
        for at in range(first, min(first + length, np.uint64(words.size))):
            words[at] = pattern


def _write(path: str, stopped: Callable[[], bool]) -> None:
    words = np.asarray(mmapio.open(path, "r+"))
    seed = 1
    while not stopped():
        _store(words, PATTERNS, 300, seed)
        seed += 1


def _write_alone(path: str, parent: int) -> None:
    _write(path, lambda: os.getppid() != parent)


# Kernels ----------------------------------------------------------------------------------------


class Counted:
    """The public kernels, whose calls are counted: a round of some storms has eight of them."""

    calls = 0

    def __getattr__(self, name: str) -> Any:
        kernel = self.each(getattr(kernels, name))
        setattr(self, name, kernel)
        return kernel

    def each(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that counts its calls."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return kernel(*args, **kwargs)

        return call


counted = Counted()


@numba.njit
def _size(chunk: Any) -> Any:
    return chunk.size


@numba.njit
def _add(x: Any, y: Any) -> Any:
    return x + y


@numba.njit
def _plus(chunk: Any, first: Any) -> Any:
    return chunk + first[0]


@numba.njit
def _least(chunk: Any, first: Any) -> Any:
    return chunk[: first.size] + first


@numba.njit(nogil=True)
def _inside(a: Any, value: Any) -> Any:
    n, fine = a.size, True
    for at in (kernels.argmin(a), kernels.argmax(a), kernels.find(a, value) + 1):
        fine &= 0 <= at <= n
    for found in (kernels.count(a, value), kernels.count_nonzero(a)):
        fine &= 0 <= found <= n
    places = kernels.find_all(a, value)
    for i in range(places.size):
        fine &= 0 <= places[i] < n and (i == 0 or places[i - 1] < places[i])
    lo, hi = kernels.minmax(a)
    kernels.sum(a), kernels.mean(a), kernels.var(a), kernels.min(a), kernels.max(a)
    return fine and (lo <= hi or lo != lo)


@numba.njit(nogil=True)
def _patterns_inside(a: Any, pattern: Any) -> Any:
    at, places, fine = kernels.find(a, pattern), kernels.find_all(a, pattern), True
    for i in range(places.size):
        fine &= 0 <= places[i] <= a.size - pattern.size
    return fine and -1 <= at <= a.size - pattern.size


def _ascend(places: NDArray[np.int64], size: int) -> bool:
    inside = places.size == 0 or (places[0] >= 0 and places[-1] < size)
    return bool(inside and (np.diff(places) > 0).all())


def _table(words: Words, dtype: str = "f8") -> NDArray[Any]:
    return words.view(dtype)[: ROWS * COLUMNS].reshape(ROWS, COLUMNS)


def _described(a: NDArray[Any]) -> bool:
    d = counted.describe(a, bins=64)
    binned, finite = int(d.counts.sum()), d.finite
    others = finite.count != binned + d.nans or not 0 <= d.zeros <= binned
    if others or d.count != a.size or d.infs != d.count - finite.count:
        return False
    figures = finite.min, finite.mean, finite.max, finite.var
    if not binned:
        return all(map(math.isnan, figures))
    largest = max(abs(finite.min), abs(finite.max))
    if largest > 1e150:  # sums overflow
        return True
    slack = 1e-9 * max(1, largest)
    return finite.min - slack <= finite.mean <= finite.max + slack and finite.var >= 0


def _described_by_axis(words: Words) -> bool:
    found = [
        counted.describe(_table(words, dtype), axis) for dtype in ("f8", "i8") for axis in (0, 1)
    ]
    found.append(counted.describe(_table(words, "m8[s]"), 0))
    return all(
        ((part >= 0) & (part <= d.count)).all() for d in found for part in (d.nans, d.infs, d.zeros)
    )


def _binned(a: NDArray[Any], *how: Any) -> bool:
    try:
        counts, edges = counted.histogram(a, *how)
    except ArgumentError:  # the range is not finite
        return True
    return 0 <= int(counts.sum()) <= a.size and edges.size == counts.size + 1


def _in_bounds(work: Callable[[], object]) -> bool:
    try:
        work()
    except OutOfBoundsError:
        return True
    return True


def _gathered(words: Words) -> bool:
    """Gather rows that are copied as rows, and those that are copied as items."""
    rows, indices = np.arange(3.0 * ROWS).reshape(ROWS, 3), words.view("i8")[:6]
    for source in (rows, rows[:, 0].copy()):
        try:
            found = counted.gather(source, indices)
        except OutOfBoundsError:
            continue
        if not np.isin(found.reshape(6, -1)[:, 0], rows[:, 0]).all():
            return False
    return True


def _gathered_into(words: Words) -> bool:
    rows = np.arange(40, dtype="u8") + words[0]
    counted.gather(rows, np.arange(39, -1, -1), out=words[40:80])
    return True


def _stored(store: Callable[..., None]) -> Storm:
    """Store by changing indices, and changing values, between walls that must not be touched."""

    def call(words: Words) -> bool:
        room = np.full((ROWS + 20, 2), 7, "i8")
        target = room[10:-10]
        indices, values = words.view("i8")[:6], words.view("i8")[40:46, None]
        _in_bounds(lambda: store(target, indices, values))
        _in_bounds(
            lambda: store(words.view("i8")[: ROWS * 4].reshape(-1, 2), indices, indices[:, None])
        )
        return bool((room[:10] == 7).all() and (room[-10:] == 7).all())

    return call


def _mapped(words: Words) -> bool:
    values = words.view("f8")
    counted.map_chunks(values, _plus, values, chunk=100, args=(values[5:6],))
    sums = np.zeros(-(-words.size // 100))
    counted.map_chunks(words, _size, sums, chunk=100)
    return int(sums.sum()) == words.size


def _reduced(words: Words) -> bool:
    lines = words.view("u1")
    found = counted.reduce_chunks(lines, _size, _add, 0, chunk=64, delimiter=b"\n")
    values = words.view("f8")[:3000]
    total = counted.reduce_chunks(values, _least, _add, values[:8], chunk=100, args=(values[:8],))
    return found >= 0 and total.shape == (8,)


def _each(*dtypes: str) -> Callable[[Callable[[NDArray[Any]], bool]], Storm]:
    """Return what calls a case for items of several types."""

    def decorate(case: Callable[[NDArray[Any]], bool]) -> Storm:
        return lambda words: all(case(words.view(dtype)) for dtype in dtypes)

    return decorate


def _by_axis(kernel: Callable[..., Any]) -> Storm:
    def case(words: Words) -> bool:
        for a in (words.view("f8"), words.view("i8")):
            kernel(a)
        kernel(words.view("f8")[::2])
        return all(np.shape(kernel(_table(words, t), axis=0))[-1] == COLUMNS for t in ("f8", "i8"))

    return case


_numbers = _each("f8", "i8", "u1")
STORMS: dict[str, list[Storm]] = {
    **{name: [_by_axis(getattr(counted, name))] for name in ("sum", "mean", "std", "var")},
    **{name: [_by_axis(getattr(counted, name))] for name in ("min", "max", "minmax")},
    "argmax": [_numbers(lambda a: 0 <= counted.argmax(a) < a.size)],
    "argmin": [_numbers(lambda a: 0 <= counted.argmin(a) < a.size)],
    "byte_counts": [_each("u1")(lambda a: int(counted.byte_counts(a).sum()) == a.size)],
    "checksum": [lambda words: 0 <= counted.checksum(words) < 1 << 32],
    "count": [_numbers(lambda a: 0 <= counted.count(a, 1) <= a.size)],
    "count_nonzero": [_numbers(lambda a: 0 <= counted.count_nonzero(a) <= a.size)],
    "describe": [_each("f8", "i8", "u1")(_described), _described_by_axis],
    "find": [
        _numbers(lambda a: -1 <= counted.find(a, 1) < a.size),
        _each("u1")(lambda a: -1 <= counted.find(a, memoryview(a[:5])) < a.size),
    ],
    "find_all": [
        _numbers(lambda a: _ascend(counted.find_all(a, 1), a.size)),
        _each("u1")(lambda a: _ascend(counted.find_all(a, memoryview(a[:3])), a.size)),
    ],
    "gather": [_gathered, _gathered_into],
    "histogram": [
        _each("f8", "i8")(_binned),
        _each("f8", "i8")(lambda a: _binned(a, [0, 1, 2, 5, 100])),
        _each("f8", "i8")(lambda a: _binned(a, 7, (0, 6))),
    ],
    "map_chunks": [_mapped],
    "reduce_chunks": [_reduced],
    "scatter": [_stored(counted.scatter)],
    "scatter_add": [_stored(counted.scatter_add)],
    "touch_pages": [lambda words: counted.touch_pages(words, write=True) > 0],
    "inside": [
        lambda words: counted.each(_inside)(words.view("f8"), 1.0),
        lambda words: counted.each(_patterns_inside)(words.view("u1"), words.view("u1")[17:20]),
    ],
}


def run(path: str, writers: str, calls: int, seconds: float, names: list[str]) -> None:
    """Call kernels beside writers; raise if a result is not true of any mixture."""
    ended = threading.Event()
    if writers != "process":
        threading.Thread(target=_write, args=(path, ended.is_set), daemon=True).start()
    if writers != "thread":
        spawn = multiprocessing.get_context("spawn")
        spawn.Process(target=_write_alone, args=(path, os.getpid()), daemon=True).start()
    words = np.asarray(mmapio.open(path, "r+"))
    before = words.copy()
    while (words == before).all():
        time.sleep(0.01)
    for name in names or [*STORMS]:
        all(storm(words) for storm in STORMS[name])  # the first calls compile
        counted.calls, end = 0, time.monotonic() + seconds
        while counted.calls < calls and time.monotonic() < end:
            for number, storm in enumerate(STORMS[name]):
                assert storm(words), f"{name}[{number}]: not true of any mixture"
        print(name, counted.calls, flush=True)  # noqa: T201
    ended.set()


if __name__ == "__main__":
    file, by, most, limit_s, *wanted = sys.argv[1:]
    if not os.path.exists(file):
        mmapio.create(file, NBYTES // 8, "u8")
    run(file, by, int(most), float(limit_s), wanted)
