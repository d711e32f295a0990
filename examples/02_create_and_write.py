"""Make a file that is an array: fill it in place, make it durable, replace it under its readers."""

import tempfile
from pathlib import Path

import numpy as np

import mmapio


def simulate(walks):
    """Store results as they come, some rows at a time; at no time is all of it in memory."""
    random = np.random.default_rng(seed=1)
    for some in walks.chunks(100):
        some[:] = random.choice([-1, 1], size=some.shape).cumsum(axis=1)


def create(path):
    """The file is there at once, with room on the disk for all that will be written."""
    with mmapio.create(path, shape=(1000, 500), dtype="i2") as walks:
        simulate(walks)
        walks.flush()  # from here on they survive a power cut
    steps = np.diff(np.load(path))
    print("numpy reads", steps.shape, "steps of", np.unique(steps).tolist())


def correct(path):
    """Change a few numbers of a large file; nothing but their pages is written to the disk."""
    with mmapio.open(path, "r+") as walks:
        walks[7, :10] = 0
        walks[7, :10].flush()
    print("corrected:", np.load(path)[7, :12].tolist())


def try_out(path):
    """Mode "c" is for playing: changes stay in this process, the file is as it was."""
    with mmapio.open(path, "c") as walks:
        walks[7] = 0
        print("tried out:", walks[7].any(), "here,", np.load(path)[7].any(), "in the file")


def replace(path):
    """A reader of the old file keeps it whole; who opens the path from now on gets the new one."""
    with mmapio.open(path) as old:
        mmapio.save(path, np.zeros(3))
        print("replaced:", old.shape, "for its reader,", np.load(path).shape, "for the next")


def main():
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "walks.npy")
        create(path)
        correct(path)
        try_out(path)
        replace(path)


if __name__ == "__main__":
    main()
