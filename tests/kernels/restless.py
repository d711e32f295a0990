"""Kernels in plain Python over arrays that change at every look: a stray index is an IndexError.

As a script, with NUMBA_DISABLE_JIT=1: ``restless.py ROUNDS [NAME ...]`` runs what `storm`
runs. There is no writer beside it: whoever reads an item changes others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import storm
from numpy.typing import NDArray

from mmapio import kernels
from mmapio.kernels.chunks import compiling, uncompiled
from mmapio.kernels.engine.pieces import Pieces
from mmapio.kernels.engine.uncompiled import _chosen
from mmapio.kernels.rows import indices

WORDS = 700
SOUGHT = np.array([1, 0x3FF0000000000000, 0x0101010101010101], np.uint64)
CHEAP = {"find", "gather", "map_chunks", "scatter", "scatter_add"}  # called ten times as often
_rng = np.random.default_rng(15)
_memory = np.zeros(WORDS, np.uint64)


class Restless(np.ndarray[Any, Any]):
    """A view of the memory, which changes whenever an item or a part of it is read."""

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        _mood.change(_word(super().__getitem__(slice(key, None))) if isinstance(key, int) else None)
        return found


def _word(a: NDArray[Any]) -> int:
    """Return the number of the word that an array begins with."""
    begin, base = (x.__array_interface__["data"][0] for x in (a, _memory))
    return min((begin - base) // 8, WORDS - 1)


class Mood:
    """Rhythm of the changes to the memory, and the values stored: others in each call."""

    def __init__(self) -> None:
        self.reads = int(_rng.choice([1, 3, 30, 300]))  # between two changes
        self.patterns = _rng.choice(storm.PATTERNS, int(_rng.choice([2, 3, 10])))
        kind = _rng.random()
        if kind < 0.3:  # indices of rows, most of the time
            self.patterns[1:] = 1
            _memory[:] = 1
        elif kind < 0.7:  # what is looked for, and is gone
            self.patterns[-1] = _rng.choice(SOUGHT)
        self.spreads = _rng.choice([[WORDS], [1, 16], [1, 100, WORDS]][_rng.integers(3)], 8)
        self._left = 0

    def change(self, read: int | None) -> None:
        """Store a pattern in a word, in some that follow it, or in all; often in what was read."""
        self._left -= 1
        if self._left < 0:
            self._left = int(_rng.integers(2 * self.reads))
            length = int(_rng.choice(self.spreads))
            first = int(_rng.integers(WORDS - length + 1))
            if read is not None and _rng.random() < 0.5:
                first, length = read, 1
            _memory[first : first + length] = _rng.choice(self.patterns)


_mood = Mood()


def restless(value: Any) -> Any:
    """Return views of the memory in place of arrays; what has memory of its own cannot change."""
    if isinstance(value, tuple):
        return tuple(map(restless, value))
    if isinstance(value, np.ndarray) and np.may_share_memory(value, _memory):
        return value.view(Restless)
    return value


def patched(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that hands such views on, or gets them."""
    return lambda *args: restless(function(*map(restless, args)))


def inside(function: Callable[..., Any], *args: Any) -> Any:
    """Run what users' kernels call."""
    with np.errstate(all="ignore"):
        return _chosen(function, *map(numba.typeof, args))(*args)


def in_kernels(a: NDArray[Any], value: Any) -> bool:
    a, value = restless(a), restless(value)
    is_pattern, n = isinstance(value, np.ndarray), a.size
    alone = (kernels.sum, kernels.mean, kernels.var, kernels.min, kernels.max, kernels.minmax)
    for kernel in () if is_pattern else alone:
        inside(kernel, a)
    extremes = () if is_pattern else (inside(kernels.argmin, a), inside(kernels.argmax, a))
    counts = (
        () if is_pattern else (inside(kernels.count, a, value), inside(kernels.count_nonzero, a))
    )
    places = inside(kernels.find_all, a, value)
    fine = all(0 <= at < n for at in extremes) and all(0 <= count <= n for count in counts)
    return fine and -1 <= inside(kernels.find, a, value) < n and storm._ascend(places, n)


def run(rounds: int, names: list[str]) -> None:
    """Call each storm so often; raise if an index is out of bounds, or a result impossible."""
    global _mood
    Pieces.take = patched(Pieces.take)  # type: ignore[method-assign]
    indices.normalize = patched(indices.normalize)
    uncompiled.read_only = compiling.read_only = patched(uncompiled.read_only)
    storm._inside = storm._patterns_inside = in_kernels
    for name in names or storm.STORMS:
        for _ in range(10 * rounds if name in CHEAP else rounds):
            for number, call in enumerate(storm.STORMS[name]):
                _mood = Mood()
                try:
                    assert call(_memory), f"{name}[{number}]: not true of any mixture"
                except (OverflowError, ValueError) as error:
                    # Of an item that was finite before; compiled code makes some number of it.
                    if "convert" not in str(error):
                        raise
        print(name, flush=True)  # noqa: T201


if __name__ == "__main__":
    run(int(sys.argv[1]), sys.argv[2:])
