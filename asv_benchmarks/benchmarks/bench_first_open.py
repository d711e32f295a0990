"""Cost of the first file that a process opens: row 29 of the targets."""

from __future__ import annotations

import os
import statistics

import numpy as np

from . import common
from .common import InTemporaryDirectory, run_fresh, target

FIRST_OPEN = """
import os, sys
from time import perf_counter
import numpy as np
import mmapio

def resident():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

path, measured = sys.argv[1:]
if measured == "memory":
    before = resident()
    {work}
    print(resident() - before)
else:
    begin = perf_counter()
    {work}
    print(perf_counter() - begin)
"""
OURS = {"raw": "a = mmapio.open(path, dtype='u1'); a[0]", "npy": "a = mmapio.open(path); a[0]"}
PEERS = {
    "raw": "a = np.memmap(path, 'u1', 'r'); a[0]",
    "npy": "a = np.load(path, mmap_mode='r'); a[0]",
}


class FirstOpen(InTemporaryDirectory):
    """Row 29, the first file of a fresh process, one element: at most 3 ms beyond the imports.

    Once the guard's machine code is on disk, that is; the first sample of all puts it there.
    """

    repeat = 3
    params = ("npy", "raw")
    param_names = ("kind",)

    def setup(self, kind: str) -> None:
        super().setup()
        self.file = self.path(f"file.{kind}")
        with open(self.file, "wb") as file:
            if kind == "npy":
                np.save(file, np.zeros(1 << 17))
            else:
                file.write(bytes(1 << 20))

    def median(self, work: str, measured: str) -> float:
        """Return the median of so many fresh processes; the first one is not counted."""
        code = FIRST_OPEN.format(work=work)
        found = [
            float(run_fresh(code, self.file, measured)) for _ in range(common.FRESH_ROUNDS + 1)
        ]
        return statistics.median(found[1:])

    @target(row=29, at_most=3, unit="ms")
    def track_ours(self, kind: str) -> float:
        """First open of a file in a fresh process, one element (target: at most 3 ms)."""
        return self.median(OURS[kind], "time") * 1e3

    @target(row=29, at_most=2, unit="MiB")
    def track_memory(self, kind: str) -> float:
        """Resident memory that the first open in a process adds (target: at most 2 MiB)."""
        if not os.path.exists("/proc/self/statm"):
            raise NotImplementedError("this system does not tell how much memory is resident")
        return max(self.median(OURS[kind], "memory"), 1) / (1 << 20)

    def track_numpy(self, kind: str) -> float:
        """The same by np.memmap, and by np.load(mmap_mode='r')."""
        return self.median(PEERS[kind], "time") * 1e3

    track_numpy.unit = "ms"  # type: ignore[attr-defined]
