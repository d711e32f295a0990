"""Kernels over a file in memory, in one thread and in all, beside numpy."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable

import my_kernels
import numpy as np

import mmapio
from mmapio import kernels

LIMIT = 0.5
ROUNDS = 11


class Above:
    """Items above a limit, of files of two sizes."""

    params = ([1 << 20, 32 << 20], [1, None])
    param_names = ("nbytes", "threads")

    def setup(self, nbytes: int, threads: int | None) -> None:
        self.directory = tempfile.TemporaryDirectory()
        path = os.path.join(self.directory.name, "items.npy")
        mmapio.save(path, np.random.default_rng(0).random(nbytes // 8))
        self.items = mmapio.open(path)
        kernels.touch_pages(self.items)
        self.kernel(threads)  # compiles

    def teardown(self, nbytes: int, threads: int | None) -> None:
        del self.items
        self.directory.cleanup()

    def kernel(self, threads: int | None) -> tuple[int, float]:
        return my_kernels.above(self.items, LIMIT, threads)

    def numpy(self) -> tuple[int, float]:
        found = self.items.ndarray[self.items.ndarray > LIMIT]
        return len(found), found.sum()

    def time_kernel(self, nbytes: int, threads: int | None) -> None:
        self.kernel(threads)

    def track_ratio_numpy(self, nbytes: int, threads: int | None) -> float:
        """Return the kernel's time as a multiple of numpy's, both timed in turns."""
        works = (lambda: self.kernel(threads), self.numpy)
        turns = [[elapsed_s(work) for work in works] for _ in range(ROUNDS)]
        ours, theirs = map(statistics.median, zip(*turns, strict=True))
        return ours / theirs

    track_ratio_numpy.unit = "x"  # type: ignore[attr-defined]


def elapsed_s(work: Callable[[], object]) -> float:
    """Return how long one call takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
