"""Make one histogram of many files, in several processes that add to one mapped array.

`scatter_add` adds in one step each, so no addition is lost, whoever else adds to the same bins;
there is nothing to send back and nothing to merge.
"""

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import mmapio
from mmapio import kernels

FILES, VALUES, BINS = 4, 250_000, 100


def add_file(path, bins):
    values = mmapio.open(path)
    inside = values[(values >= -5) & (values < 5)]
    kernels.scatter_add(bins, ((inside + 5) * (BINS / 10)).astype("i4"), 1)
    return len(values)


def main():
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory, f"part{number}.npy") for number in range(FILES)]
        for seed, path in enumerate(paths):
            mmapio.save(path, np.random.default_rng(seed).standard_normal(VALUES))

        with mmapio.create(Path(directory, "bins.npy"), BINS, "u8") as bins:
            with ProcessPoolExecutor(2, mp_context=spawn) as pool:
                read = sum(pool.map(add_file, paths, [bins] * FILES))
            print(f"{read} values in {FILES} files, {bins.sum()} of them in {BINS} bins")
            print(f"{bins[40:60].sum() / read:.0%} lie within one standard deviation")
        del bins


if __name__ == "__main__":
    main()
