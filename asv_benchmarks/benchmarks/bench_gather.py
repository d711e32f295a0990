"""Rows by their numbers: rows 20 and 21 of the targets."""

from __future__ import annotations

import numpy as np

import mmapio
from mmapio import kernels
from mmapio.kernels.rows import cold

from . import common
from .common import InTemporaryDirectory, elapsed_s, target


class GatherCold(InTemporaryDirectory):
    """Row 20, 8,192 random rows of 4 KiB from a disk: a fifth of the time of `numpy.memmap`."""

    def setup(self) -> None:
        super().setup()
        self.file = self.noise("cold.bin", common.LARGE_BYTES)
        rows = common.LARGE_BYTES // 4096
        self.indices = np.random.default_rng(0).integers(0, rows, min(8192, rows))

    def track_mmapio(self) -> float:
        """Gather of rows that are on disk alone."""
        return self.ours_s() * 1e3

    track_mmapio.unit = "ms"  # type: ignore[attr-defined]

    @target(row=20, at_most=1 / 5)
    def track_ratio_memmap(self) -> float:
        """Gather of rows from disk, against np.memmap's fancy indexing (target: at most 1/5)."""
        return common.ratio_of(self.ours_s, self.memmap_s)

    def ours_s(self) -> float:
        """Return how long it takes to gather the rows."""
        common.evict(self.file)
        with mmapio.open(self.file, dtype="u1", shape=(-1, 4096)) as a:
            return elapsed_s(lambda: kernels.gather(a, self.indices))

    def memmap_s(self) -> float:
        """Return how long numpy takes."""
        common.evict(self.file)
        a = np.memmap(self.file, "u1", "r").reshape(-1, 4096)
        return elapsed_s(lambda: a[self.indices])


class GatherColdFew(InTemporaryDirectory):
    """Row 20, 1,024 random rows of 4 KiB from a disk, by a ring of reads and by read-ahead."""

    params = ("read-ahead", "ring")
    param_names = ("way",)

    def setup(self, way: str) -> None:
        super().setup()
        self.file = self.noise("cold.bin", common.LARGE_BYTES)
        self.indices = np.random.default_rng(0).integers(0, common.LARGE_BYTES // 4096, 1024)
        self.most = cold._MOST_ROWS
        if way == "read-ahead":
            cold._MOST_ROWS = 0

    def teardown(self, way: str) -> None:
        cold._MOST_ROWS = self.most
        super().teardown()

    def track_mmapio(self, way: str) -> float:
        """Gather of few rows that are on disk alone."""
        common.evict(self.file)
        with mmapio.open(self.file, dtype="u1", shape=(-1, 4096)) as a:
            return elapsed_s(lambda: kernels.gather(a, self.indices)) * 1e3

    track_mmapio.unit = "ms"  # type: ignore[attr-defined]


class GatherInCache:
    """128 rows of 1 KiB from as many, all of which are in the second level of cache."""

    def setup(self) -> None:
        self.rows = np.random.default_rng(0).random((128, 128))
        self.indices = np.random.default_rng(0).integers(0, len(self.rows), 128)
        self.out = np.empty_like(self.rows)
        self.time_mmapio()  # compiles

    def time_mmapio(self) -> None:
        kernels.gather(self.rows, self.indices, self.out)


class GatherWarm(InTemporaryDirectory):
    """Row 21, 100,000 rows of 1 KiB from memory: 1.5 times the speed of `numpy.take`."""

    def setup(self) -> None:
        super().setup()
        path = self.noise("warm.bin", common.LARGE_BYTES)
        self.ours = mmapio.open(path, dtype="f4", shape=(-1, 256))
        kernels.touch_pages(self.ours)
        self.indices = np.random.default_rng(0).integers(0, len(self.ours), 100_000)
        self.out = np.empty((100_000, 256), "f4")
        self.time_mmapio()  # compiles

    def time_mmapio(self) -> None:
        kernels.gather(self.ours, self.indices, self.out)

    def time_numpy(self) -> None:
        np.take(self.ours.ndarray, self.indices, axis=0, out=self.out, mode="clip")

    @target(row=21, at_most=1 / 1.5)
    def track_ratio_numpy(self) -> float:
        """Gather of rows in memory, against np.take (target: at most 1/1.5)."""
        names = {
            "gather": kernels.gather,
            "take": np.take,
            "ours": self.ours,
            "ndarray": self.ours.ndarray,
            "indices": self.indices,
            "out": self.out,
        }
        # With the default mode, numpy would copy into a buffer first.
        peer = "take(ndarray, indices, axis=0, out=out, mode='clip')"
        return common.ratio("gather(ours, indices, out)", peer, names)
