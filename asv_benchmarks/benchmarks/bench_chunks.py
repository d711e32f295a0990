"""Users' own kernels over chunks, and files larger than memory: rows 4 and 22 of the targets."""

from __future__ import annotations

from typing import Any

import numba

import mmapio
from mmapio import kernels

from . import common, floor
from .common import InTemporaryDirectory, elapsed_s, run_fresh, target

CHUNK_BYTES = 4096
OF_BANDWIDTH = 1 / 0.9

PEAK = """
import threading, time
import numba, numpy
import mmapio
from mmapio import kernels

@numba.njit
def total(chunk):
    return chunk.sum()

@numba.njit
def add(x, y):
    return x + y

def resident():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) << 10

a = mmapio.open(sys.argv[1], dtype="i8")
kernels.reduce_chunks(a[:1], total, add, 0, drop_behind=True)  # compiles
start, peak, done = resident(), 0, threading.Event()

def watch():
    global peak
    while not done.wait(0.002):
        peak = max(peak, resident())

watcher = threading.Thread(target=watch)
watcher.start()
kernels.reduce_chunks(a, total, add, 0, drop_behind=True)
done.set()
watcher.join()
print(max(peak - start, 1))
"""


@numba.njit  # type: ignore[untyped-decorator]
def first(chunk: Any) -> Any:
    """Return the first item."""
    return chunk[0]


@numba.njit  # type: ignore[untyped-decorator]
def total(chunk: Any) -> Any:
    """Return the sum of the items."""
    return chunk.sum()


@numba.njit  # type: ignore[untyped-decorator]
def add(x: Any, y: Any) -> Any:
    """Add two results."""
    return x + y


class ReduceChunks(InTemporaryDirectory):
    """Row 4, the first byte of each 4 KiB of 16 MiB: at most 1.2 x the loop alone, and 2 us."""

    def setup(self) -> None:
        super().setup()
        self.ours = mmapio.open(self.noise("chunks.bin", 16 << 20), dtype="u1")
        self.ndarray = self.ours.ndarray
        for compiled in (self.time_reduce_chunks, self.time_floor):
            compiled()

    def time_reduce_chunks(self) -> None:
        kernels.reduce_chunks(self.ours, first, add, 0, chunk=CHUNK_BYTES)

    def time_floor(self) -> None:
        floor.first_bytes(self.ndarray, CHUNK_BYTES)

    @target(row=4, at_most=1.0)
    def track_share_of_what_is_allowed(self) -> float:
        """reduce_chunks, against 1.2 x the loop alone and 2 us (target: at most 1)."""
        ours, loop = common.medians_s(
            ["reduce_chunks(ours, first, add, 0, chunk=n)", "first_bytes(ndarray, n)"],
            {
                "reduce_chunks": kernels.reduce_chunks,
                "first_bytes": floor.first_bytes,
                "first": first,
                "add": add,
                "ours": self.ours,
                "ndarray": self.ndarray,
                "n": CHUNK_BYTES,
            },
        )
        return ours / (1.2 * loop + 2e-6)


class DropBehind(InTemporaryDirectory):
    """Row 22, a scan with `drop_behind`: at most 256 MiB resident, at 90 % of the usual speed."""

    def setup(self) -> None:
        super().setup()
        self.file = self.noise("large.bin", common.LARGE_BYTES)
        self.ours = mmapio.open(self.file, dtype="i8")
        kernels.reduce_chunks(self.ours[:1], total, add, 0)  # compiles

    def scan(self, drop_behind: bool) -> None:
        kernels.reduce_chunks(self.ours, total, add, 0, drop_behind=drop_behind)

    def cold_scan_s(self, drop_behind: bool) -> float:
        """Return how long a scan takes of a file that is on disk alone."""
        self.ours.close(force=True)
        common.evict(self.file)
        self.ours = mmapio.open(self.file, dtype="i8")
        return elapsed_s(lambda: self.scan(drop_behind))

    def time_drop_behind(self) -> None:
        self.scan(True)

    def time_unbounded(self) -> None:
        self.scan(False)

    @target(row=22, at_most=OF_BANDWIDTH)
    def track_ratio_unbounded_cold(self) -> float:
        """Scan from disk in bounded memory, against unbounded (target: at most 1.11)."""
        return common.ratio_of(lambda: self.cold_scan_s(True), lambda: self.cold_scan_s(False))

    @target(
        row=22,
        at_most=OF_BANDWIDTH,
        reason="nothing waits for a drive here, so that all that bounds the memory comes on top: a "
        "look at what was in memory before, and unmapping what was scanned",
    )
    def track_ratio_unbounded_cached(self) -> float:
        """The same of a cached file that was not mapped yet (target: at most 1.11)."""
        return common.ratio_of(lambda: self.mapped_scan_s(True), lambda: self.mapped_scan_s(False))

    def mapped_scan_s(self, drop_behind: bool) -> float:
        """Return how long a scan takes of a file that is in the page cache, not yet mapped."""
        self.ours.close(force=True)
        self.ours = mmapio.open(self.file, dtype="i8")
        return elapsed_s(lambda: self.scan(drop_behind))

    @target(row=22, at_most=256, unit="MiB")
    def track_peak(self) -> float:
        """Resident memory above the start of a scan in bounded memory (target: at most 256 MiB)."""
        return int(run_fresh(PEAK, self.file)) / (1 << 20)
