"""Growth of cost with work: the last lines of the targets, as row 28.

Files are as large as `MMAPIO_BENCHMARK_BYTES` says, a GiB if it says nothing; the targets speak of
16 GiB, which take 24 GiB of memory. Sparse files are of 16 TiB always.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

import mmapio
from mmapio import kernels

from . import common
from .common import InTemporaryDirectory, medians_s, run_fresh, target

SPARSE_BYTES = 16 << 40
MOST_ROWS = 10**8
MAPPINGS = 1_000 if common.IS_QUICK else 10_000
DESCRIPTORS = 100 if common.IS_QUICK else 1024

OPEN_MANY = """
import io, resource, time
import numpy as np
import mmapio
directory, count, descriptors = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
paths = [f"{directory}/{number}.npy" for number in range(count)]
content = io.BytesIO()
np.save(content, np.zeros(512))
for path in paths:
    with open(path, "wb") as file:
        file.write(content.getbuffer())
resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
arrays, ends = [], [time.perf_counter()]
for path in paths:
    arrays.append(mmapio.open(path))
    ends.append(time.perf_counter())
assert sum(a[-1] for a in arrays) == 0
took = [end - begin for begin, end in zip(ends, ends[1:])]
part = count // 10
median = lambda some: sorted(some)[len(some) // 2]
print(median(took[-part:]) / median(took[:part]))
"""


class Scan(InTemporaryDirectory):
    """Scans of 1/16 of the file up to all of it: the time of a byte changes by at most 10 %."""

    def setup(self) -> None:
        super().setup()
        self.ours = mmapio.open(self.noise("large.bin", common.LARGE_BYTES), dtype="u1")
        kernels.touch_pages(self.ours)

    def times_s(self) -> dict[int, float]:
        """Return how long the scan of so many bytes takes."""
        parts = {f"part{n}": self.ours.ndarray[: self.ours.size >> n] for n in range(5)}
        names: dict[str, Any] = {"scan": kernels.sum, **parts}
        found = medians_s([f"scan({part})" for part in parts], names)
        return {a.size: s for a, s in zip(parts.values(), found, strict=True)}

    @target(row=28, at_most=1.1)
    def track_ratio_linear(self) -> float:
        """Scans of 1/16 to all of a file, time of a byte, most by least (target: at most 1.1)."""
        of_a_byte = [seconds / nbytes for nbytes, seconds in self.times_s().items()]
        return max(of_a_byte) / min(of_a_byte)


class AppendMany(InTemporaryDirectory):
    """Append of 1,000 rows of 8 bytes to 10^4 that are there, and to 10^8: the same time.

    If a large file has less than 10^8, as many as it has.
    """

    def setup(self) -> None:
        super().setup()
        if not hasattr(os, "pwrite"):
            raise NotImplementedError("a mapped file cannot grow on this system")
        self.most = min(MOST_ROWS, common.LARGE_BYTES // 8)
        self.few, self.many = self.grown("few.npy", 10**4), self.grown("many.npy", self.most)

    def grown(self, name: str, rows: int) -> mmapio.GrowableArray:
        array = mmapio.GrowableArray.open(self.path(name), "x+", dtype="f8", capacity="4 GiB")
        for block in np.array_split(np.zeros(rows), -(-rows >> 20)):
            array.extend(block)
        array.commit()
        return array

    @target(row=28, at_most=1.1)
    def track_ratio_rows(self) -> float:
        """Append 1,000 rows of 8 bytes to a large file, against to 10^4 (target: at most 1.1)."""
        names: dict[str, Any] = {"few": self.few, "many": self.many, "thousand": range(1000)}
        code = "for i in thousand: {0}.append(1.0)\n{0}.commit(False)"
        many, few = medians_s([code.format("many"), code.format("few")], names)
        return many / few


class OpenSparse(InTemporaryDirectory):
    """A sparse file of 16 TiB opens, and is sliced, in the time that 1 MiB takes."""

    def setup(self) -> None:
        self.directory = common.directory_in("tmpfs")  # a file of ext4 ends a page before
        self.large = self.zeros("large.bin", SPARSE_BYTES)
        self.small = self.zeros("small.bin", 1 << 20)

    @target(
        row=28,
        at_most=1.1,
        reason="the system calls are the same ones; the last page of 16 TiB needs page tables of "
        "its own",
    )
    def track_ratio_open(self) -> float:
        """Open 16 TiB, slice its end, one element, against 1 MiB (target: at most 1.1)."""
        names = {"open": mmapio.open, "large": self.large, "small": self.small}
        code = "a = open({}, dtype='u1'); a[-4096:][0]; a.close()"
        large, small = medians_s([code.format("large"), code.format("small")], names)
        return large / small


class OpenMany(InTemporaryDirectory):
    """10,000 arrays of as many files at once, with 1,024 descriptors."""

    @target(row=28, at_most=1.5)
    def track_ratio_last(self) -> float:
        """Open the last 1,000 of 10,000 arrays, against the first 1,000 (target: at most 1.5)."""
        if os.name == "nt":
            raise common.Skip("this system has no limit of descriptors to be held to")
        arguments = (self.directory.name, str(MAPPINGS), str(DESCRIPTORS))
        return float(run_fresh(OPEN_MANY, *arguments))
