"""Scan a file that is larger than the memory it may take: what was read is given back at once.

Without `drop_behind` a scan leaves the whole file in memory, where it pushes out what others need.
With it, the next part is read in while the last one is released.
"""

import tempfile
from pathlib import Path

import numba

import mmapio
from mmapio import kernels

MIB = 1 << 20


@numba.njit
def total(chunk):
    return chunk.sum()


@numba.njit
def add(x, y):
    return x + y


def resident(name="VmRSS"):
    """Return the MiB of memory that this process has in use; NaN where Linux does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(dict(line.split(":", 1) for line in lines)[name].split()[0]) // 1024
    except OSError:
        return float("nan")


def scan(file, **options):
    """Print what a scan takes at most, and what it leaves."""
    before = resident()
    if before > 0:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is measured from here on
    found = kernels.reduce_chunks(file, total, add, 0, **options)
    peak, after = resident("VmHWM") - before, resident() - before
    print(f"{options or 'plain'}: sum {found}, {peak} MiB more at most, {after} MiB at the end")


def main():
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "large.npy")
        with mmapio.create(path, 512 * MIB // 8, "i8", reserve=False) as numbers:
            numbers[:: 64 * MIB // 8] = 1  # the rest takes no room on the disk
        with mmapio.open(path) as numbers:
            kernels.reduce_chunks(numbers[:1], total, add, 0)  # compiles
            scan(numbers, drop_behind=True)
            scan(numbers)


if __name__ == "__main__":
    main()
