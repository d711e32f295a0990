"""Feed a training loop: every row of a large file once an epoch, in a new order, batch by batch.

`gather` copies rows by their numbers, in threads, and reads those that are not in memory together.
"""

import tempfile
from pathlib import Path

import numpy as np

import mmapio
from mmapio import kernels

BATCH = 256


class Batches:
    """Yields views of one buffer, which the next batch overwrites: nothing is allocated."""

    def __init__(self, features, labels, seed):
        self._features, self._labels = features, labels
        self._random = np.random.default_rng(seed)
        self._x = np.empty((BATCH, *features.shape[1:]), features.dtype)
        self._y = np.empty(BATCH, labels.dtype)

    def __iter__(self):
        order = self._random.permutation(len(self._labels))
        for rows in (order[first : first + BATCH] for first in range(0, len(order), BATCH)):
            x, y = self._x[: len(rows)], self._y[: len(rows)]
            yield kernels.gather(self._features, rows, x), kernels.gather(self._labels, rows, y)


def create(directory):
    """Images whose brightness is what is to be learned, and noise."""
    random, samples = np.random.default_rng(0), 20_000
    labels = mmapio.create(directory / "labels.npy", samples, "f4")
    features = mmapio.create(directory / "features.npy", (samples, 784), "f4")
    labels[:] = random.normal(size=samples)
    for x, y in zip(features.chunks(1000), labels.chunks(1000), strict=True):
        x[:] = random.normal(size=x.shape) / 10 + y[:, np.newaxis]


def main():
    with tempfile.TemporaryDirectory() as directory:
        create(Path(directory))
        paths = [Path(directory, name) for name in ("features.npy", "labels.npy")]
        with mmapio.open(paths[0]) as features, mmapio.open(paths[1]) as labels:
            batches, weights = Batches(features, labels, seed=1), np.zeros(784, "f4")
            for epoch in range(3):
                errors = []
                for x, y in batches:
                    residuals = x @ weights - y
                    weights -= 1e-3 * x.T @ residuals / len(y)
                    errors.append(float(residuals @ residuals) / len(y))
                print(f"epoch {epoch}: {len(errors)} batches, mean error {np.mean(errors):.5f}")


if __name__ == "__main__":
    main()
