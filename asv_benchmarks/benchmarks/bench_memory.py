"""Memory that work takes beyond the pages of its file, which the system gets back when it likes.

asv's own `peakmem_` counts those as well: of a scan of 1 GiB that is all of it. So the anonymous
part alone is looked at, a thousand times a second, in a fresh process.
"""

from __future__ import annotations

import os

import numpy as np

import mmapio
from mmapio import kernels

from . import common
from .common import InTemporaryDirectory, run_fresh

PEAK = """
import threading
import numpy as np
import mmapio
from mmapio import kernels
large, small, mappings = sys.argv[1], sys.argv[2], int(sys.argv[3])

def anonymous():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("RssAnon"))
    return int(line.split()[1]) << 10

def ours(path):
    return mmapio.open(path, dtype="i4", shape=(-1, 1024))

def memmap(path):
    return np.memmap(path, "i4", "r").reshape(-1, 1024)

def some(rows):
    return np.arange(8192) * 7919 % len(rows)

def work(path, count):
    {work}

work(small, 16)  # imports, compiles, starts threads
start, peak, done = anonymous(), 0, threading.Event()

def watch():
    global peak
    while not done.wait(0.001):
        peak = max(peak, anonymous())

watcher = threading.Thread(target=watch)
watcher.start()
kept = work(large, mappings)
peak = max(peak, anonymous())
done.set()
watcher.join()
print(max(peak - start, 1))
"""
WORK = {
    "append": (
        """
    with mmapio.GrowableArray.open(path + ".npy", "w+", dtype="i4", row_shape=1024) as g:
        for rows in ours(path).chunks(16):
            g.extend(rows)""",
        """
    rows = memmap(path)
    for at in range(0, len(rows), 16):
        mode = "r+" if at else "w+"
        np.memmap(path + ".raw", "i4", mode, at << 12, (16, 1024))[:] = rows[at:at + 16]""",
    ),
    "count": ("kernels.count(ours(path), 7)", "np.count_nonzero(memmap(path) == 7)"),
    "describe": (
        "kernels.describe(ours(path))",
        "a = memmap(path); (a.min(), a.max(), a.mean(), a.std())",
    ),
    "find": ("kernels.find(ours(path), -7)", "np.argmax(memmap(path) == -7)"),
    "gather": (
        "rows = ours(path); return kernels.gather(rows, some(rows))",
        "rows = memmap(path); return rows[some(rows)]",
    ),
    "histogram": (
        "kernels.histogram(ours(path), 64, (-(1 << 31), 1 << 31))",
        "np.histogram(memmap(path), 64, (-(1 << 31), 1 << 31))",
    ),
    "open": (
        "return [ours(small) for _ in range(count)]",
        "return [memmap(small) for _ in range(count)]",
    ),
    "reduce_chunks": (
        """
    kernels.reduce_chunks(ours(path), total, add, 0)

import numba

@numba.njit
def total(chunk):
    return chunk.sum()

@numba.njit
def add(x, y):
    return x + y""",
        "sum(int(chunk.sum()) for chunk in memmap(path))",
    ),
    "sum": ("kernels.sum(ours(path))", "np.sum(memmap(path))"),
}
IMPLEMENTATIONS = ("mmapio", "numpy.memmap")
MAPPINGS = 10_000


class Anonymous(InTemporaryDirectory):
    """The most anonymous memory that work takes, of a file of an eighth of a GiB.

    ``append`` copies the file, ``gather`` returns 32 MiB, ``open`` has 10,000 arrays at once.
    """

    params = (common.few(sorted(WORK)), IMPLEMENTATIONS)
    param_names = ("work", "implementation")

    def setup(self, work: str, implementation: str) -> None:
        if not os.path.exists("/proc/self/status"):
            raise NotImplementedError("this system does not tell what memory is anonymous")
        super().setup()
        self.small = self.noise("small.bin", 64 << 10)
        self.large = self.noise("large.bin", common.LARGE_BYTES >> 3)
        ours, theirs = WORK[work]
        self.code = PEAK.format(work=ours if implementation == "mmapio" else theirs)

    def track_peak_anonymous(self, work: str, implementation: str) -> float:
        """Peak of anonymous memory, beyond that before the work."""
        return int(run_fresh(self.code, self.large, self.small, str(MAPPINGS))) / (1 << 20)

    track_peak_anonymous.unit = "MiB"  # type: ignore[attr-defined]


class WithFilePages(InTemporaryDirectory):
    """Memory as asv counts it: with the pages of the file that are mapped at that time."""

    def setup(self) -> None:
        super().setup()
        self.file = self.noise("rows.bin", common.LARGE_BYTES >> 3)
        with mmapio.open(self.file, dtype="i4") as a:
            kernels.sum(a[:1])

    def peakmem_sum(self) -> None:
        with mmapio.open(self.file, dtype="i4") as a:
            kernels.sum(a)

    def peakmem_numpy_memmap_sum(self) -> None:
        np.sum(np.memmap(self.file, "i4", "r"))
