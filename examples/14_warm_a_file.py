"""Bring a file into memory before a benchmark, so that it measures the work and not the drive.

The page cache decides how long the first pass over a file takes. `residency` tells what of the file
is in it, `touch_pages` brings the rest in, and asking again tells whether all of it stayed.
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np

import mmapio
from mmapio import kernels


def show(title, array):
    """Print how much of an array is in memory, and where."""
    report = array.residency()
    bar = report.text(40, ascii_only=True).splitlines()[1].split()[0]
    print(f"{title:<7} {bar} {report.fraction:.0%}")
    return report


def leave_half(path):
    """Do what a busy machine does by itself: drop the second half of a file from the cache."""
    with open(path, "rb") as file:
        if hasattr(os, "posix_fadvise"):
            half = os.fstat(file.fileno()).st_size // 2
            os.fsync(file.fileno())  # dirty pages are not dropped
            os.posix_fadvise(file.fileno(), half, 0, os.POSIX_FADV_DONTNEED)


def main():
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "volts.npy")
        mmapio.save(path, np.arange(4 << 20, dtype="f4"))
        leave_half(path)

        with mmapio.open(path) as volts:
            show("before", volts)
            volts.touch_pages()
            warm = show("after", volts)

            if warm.fraction == 1:
                begin = time.perf_counter()
                total = kernels.sum(volts)
                seconds = time.perf_counter() - begin
                print(f"sum {total:.6g} at {volts.nbytes / seconds / 1e9:.1f} GB/s, from memory")
            print(f"{volts[:1000].residency().resident} bytes hold the first 1000 items")


if __name__ == "__main__":
    main()
