"""Scans of warm memory: rows 5, 6 and 24 of the targets."""

from __future__ import annotations

import statistics

import numpy as np

import mmapio
from mmapio import kernels

from . import common, floor
from .common import InTemporaryDirectory, run_fresh, target

# What is allowed of the time in which the machine can read memory, by the faster of two ways.
OF_BANDWIDTH = 1.05
DTYPES = ("f4", "f8", "i4", "u1")

FIRST_CALL = """
from time import perf_counter
begin = perf_counter()
{code}
print(perf_counter() - begin)
"""
CALL_A_KERNEL = """
import numpy
a = numpy.ones(1000)
from mmapio import kernels
kernels.sum(a)
"""


class SumOfBytes(InTemporaryDirectory):
    """Row 5, sum of bytes: 95 % of memory bandwidth, and ten times the speed of `numpy.sum`."""

    def setup(self) -> None:
        super().setup()
        self.ours = mmapio.open(self.noise("bytes.bin", common.LARGE_BYTES), dtype="u1")
        kernels.touch_pages(self.ours)
        self.names = {
            "ours": self.ours,
            "bytes_": self.ours.ndarray,
            "sum_": kernels.sum,
            "read_all": floor.read_all,
            "read_all_ahead": floor.read_all_ahead,
            "np": np,
        }
        self.time_mmapio()  # compiles, and so does what it is compared with
        self.time_floor()

    def time_mmapio(self) -> None:
        kernels.sum(self.ours)

    def time_numpy(self) -> None:
        np.sum(self.ours.ndarray)

    def time_floor(self) -> None:
        floor.read_all(self.ours.ndarray)

    @target(
        row=5,
        at_most=OF_BANDWIDTH,
        reason="it is met where nothing else takes a CPU from one of the threads",
    )
    def track_ratio_bandwidth(self) -> float:
        """Sum of bytes, against reading memory in threads (target: at most 1.05)."""
        ours, *reading = common.medians_s(
            ["sum_(ours)", "read_all(bytes_)", "read_all_ahead(bytes_)"], self.names
        )
        return ours / min(reading)

    @target(
        row=5,
        at_most=1 / 10,
        reason="memory cannot be read ten times as fast as np.sum reads it",
    )
    def track_ratio_numpy(self) -> float:
        """Sum of bytes, against np.sum (target: at most 1/10)."""
        return common.ratio("sum_(ours)", "np.sum(bytes_)", self.names)


class SumInCache:
    """Sum of what fits into every processor's second level of cache, with room: for the gate."""

    def setup(self) -> None:
        self.items = np.random.default_rng(0).random(1 << 15)
        self.time_mmapio()  # compiles

    def time_mmapio(self) -> None:
        kernels.sum(self.items)


class Scans(InTemporaryDirectory):
    """Row 6, other scans: each at 95 % of memory bandwidth, or five times the speed of numpy."""

    params = (
        common.few(["count", "find", "histogram", "minmax", "sum"]),
        common.few(sorted(DTYPES)),
    )
    param_names = ("scan", "dtype")
    statements = {  # noqa: RUF012
        "count": ("count(ours, 7)", "np.count_nonzero(items == 7)"),
        "find": ("find(ours, 200)", "np.argmax(items == 200)"),  # there is none
        "histogram": ("histogram(ours, 64, ends)", "np.histogram(items, 64, ends)"),
        "minmax": ("minmax(ours)", "(np.min(items), np.max(items))"),
        "sum": ("sum(ours)", "np.sum(items)"),
    }

    def setup(self, scan: str, dtype: str) -> None:
        super().setup()
        # Twenty of these files are made; and numpy takes seconds for a histogram of a GiB.
        nbytes = common.LARGE_BYTES >> (6 if scan == "histogram" else 3)
        items = np.random.default_rng(0).random(1 << 16) * (1 if dtype.startswith("f") else 100)
        path = self.path("items.npy")
        np.save(path, np.resize(items.astype(dtype), nbytes // np.dtype(dtype).itemsize))
        self.ours = mmapio.open(path)
        kernels.touch_pages(self.ours)
        self.names = {
            "ours": self.ours,
            "items": self.ours.ndarray,
            "read_all": floor.read_all,
            "read_all_ahead": floor.read_all_ahead,
            "np": np,
            "ends": (0, 1) if dtype.startswith("f") else (0, 100),
            scan: getattr(kernels, scan),
        }
        self.time_mmapio(scan, dtype)  # compiles

    def time_mmapio(self, scan: str, dtype: str) -> None:
        eval(self.statements[scan][0], dict(self.names))

    def time_numpy(self, scan: str, dtype: str) -> None:
        eval(self.statements[scan][1], dict(self.names))

    @target(
        row=6,
        at_most=1.0,
        reason="what more than reading is done with each item takes the last few per cent: floats "
        "are looked at for NaN (minmax), the error of each addition is kept (sum), bytes are "
        "compared before they are added up (count, find)",
    )
    def track_share_of_what_is_allowed(self, scan: str, dtype: str) -> float:
        """Scan, against 95 % of bandwidth or 5 x numpy, whichever is slower (target: at most 1)."""
        ours, numpy, *reading = common.medians_s(
            [*self.statements[scan], "read_all(items)", "read_all_ahead(items)"], self.names
        )
        return min(ours / min(reading) / OF_BANDWIDTH, ours / numpy * 5)


class FirstCall:
    """Row 24, the first call of a kernel in a fresh process: numba's import and 150 ms at most.

    Its compiled code is on disk.
    """

    rounds = 1
    repeat = 3

    def timeraw_mmapio(self) -> tuple[str, str]:
        return CALL_A_KERNEL, common.FIND_MMAPIO

    def timeraw_numba(self) -> tuple[str, str]:
        return "import numba", common.FIND_MMAPIO

    @target(row=24, at_most=150, unit="ms")
    def track_beyond_numba(self) -> float:
        """First kernel call in a fresh process, beyond numba's import (target: at most 150 ms)."""
        ours, numba = (FIRST_CALL.format(code=code) for code in (CALL_A_KERNEL, "import numba"))
        run_fresh(ours)  # the first time compiles
        turns = [
            (float(run_fresh(ours)), float(run_fresh(numba))) for _ in range(common.FRESH_ROUNDS)
        ]
        first_call, import_s = map(statistics.median, zip(*turns, strict=True))
        return max(first_call - import_s, 1e-9) * 1e3
