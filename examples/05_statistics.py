"""Know a large array without loading it: extremes, moments, histograms, and where things are.

Each function reads the file in all threads, and takes next to no memory; arrays may be of any type
of number, byte order and layout.
"""

import tempfile
from pathlib import Path

import numpy as np

import mmapio
from mmapio import kernels

COLUMNS = "temperature", "humidity", "wind"


def overview(readings):
    """One pass tells all of this, and leaves out what is missing."""
    found = kernels.describe(readings, bins=16)
    print(f"{found.count:,} items, {found.nans} of them NaN, from {found.min:g} to {found.max:g}")
    print(f"{found.counts.sum():,} are in the {len(found.counts)} bins of its histogram")


def columns(readings):
    """With axis=0, a tall table is reduced to one row."""
    means = kernels.mean(readings, axis=0)
    lows, highs = kernels.minmax(readings, axis=0)
    for name, mean, low, high in zip(COLUMNS, means, lows, highs, strict=True):
        print(f"{name:<11} {low:6.1f} to {high:5.1f}, {mean:5.1f} on average")


def questions(readings):
    """A column is a strided view; the kernels take it as it is."""
    wind = readings[:, COLUMNS.index("wind")]
    print(f"strongest in row {kernels.argmax(wind):,}; calm in {kernels.count(wind, 0):,} rows")
    counts, edges = kernels.histogram(wind, bins=[0, 5, 10, 15])
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        print(f"wind from {low:2} to {high:2}: {count / len(wind):.1%}")


def main():
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "readings.npy")
        with mmapio.create(path, (1_000_000, len(COLUMNS)), "f4") as readings:
            t = np.linspace(0, 20 * np.pi, len(readings))
            readings[:] = np.stack([15 - 10 * np.cos(t), 60 + 30 * np.cos(t), t % 12], axis=1)
            readings[::50_000, 2] = 0

        with mmapio.open(path) as readings:
            columns(readings)
            questions(readings)
        with mmapio.open(path, "c") as readings:  # changes stay in memory
            readings[:10] = np.nan
            overview(readings)


if __name__ == "__main__":
    main()
