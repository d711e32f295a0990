"""Sending arrays to other processes: row 26 of the targets."""

from __future__ import annotations

import pickle

import numpy as np

import mmapio

from . import common
from .common import InTemporaryDirectory, run_fresh, target

REOPEN = """
import pickle, statistics, time
data, rounds = bytes.fromhex(sys.argv[1]), int(sys.argv[2])

def reopen_s():
    begin = time.perf_counter()
    pickle.loads(data)[0]
    return time.perf_counter() - begin

reopen_s()  # the first one imports mmapio
print(statistics.median(reopen_s() for _ in range(rounds)))
"""


class Pickle(InTemporaryDirectory):
    """Row 26, send a MappedArray to another process: at most 1 KiB pickled, 1 ms to re-open.

    Whatever its size; `numpy.memmap` copies all of it (`PickleMemmap`).
    """

    params = (1 << 20, 1 << 30)
    param_names = ("nbytes",)

    def setup(self, nbytes: int) -> None:
        super().setup()
        self.ours = mmapio.open(self.zeros("sent.bin", nbytes), "r+", dtype="u1")

    def time_send(self, nbytes: int) -> None:
        pickle.loads(pickle.dumps(self.ours))

    @target(row=26, at_most=1024, unit="bytes")
    def track_pickled(self, nbytes: int) -> int:
        """Pickled MappedArray (target: at most 1 KiB)."""
        return len(pickle.dumps(self.ours))

    @target(row=26, at_most=1.0, unit="ms")
    def track_reopen(self, nbytes: int) -> float:
        """Re-open a pickled MappedArray in another process, one element (target: at most 1 ms)."""
        sent = pickle.dumps(self.ours).hex()
        return float(run_fresh(REOPEN, sent, str(common.ROUNDS))) * 1e3


class PickleMemmap(InTemporaryDirectory):
    """The peer of row 26, `numpy.memmap`; no larger, for each benchmark holds two copies of it."""

    params = (1 << 20, 64 << 20)
    param_names = ("nbytes",)

    def setup(self, nbytes: int) -> None:
        super().setup()
        self.memmap = np.memmap(self.zeros("sent.bin", nbytes), "u1", "r+")

    def time_send(self, nbytes: int) -> None:
        pickle.loads(pickle.dumps(self.memmap))

    def track_pickled(self, nbytes: int) -> int:
        """Pickled np.memmap."""
        return len(pickle.dumps(self.memmap))

    track_pickled.unit = "bytes"  # type: ignore[attr-defined]
