"""Run functions of your own over a file of any size, in threads, at the speed of compiled code.

A kernel gets one chunk of the file after another, and is compiled together with the loop around it.
"""

import tempfile
from pathlib import Path

import numba
import numpy as np

import mmapio
from mmapio import kernels


@numba.njit
def count_text(chunk):
    """Return the numbers of lines and words, and the length of the longest line."""
    lines = words = longest = start = 0
    before = ord("\n")
    for i, byte in enumerate(chunk):
        words += byte > ord(" ") and before <= ord(" ")
        if byte == ord("\n"):
            lines, longest, start = lines + 1, max(longest, i - start), i + 1
        before = byte
    return lines, words, longest


@numba.njit
def merge(x, y):
    return x[0] + y[0], x[1] + y[1], max(x[2], y[2])


@numba.njit
def calibrate(chunk, offset, gain):
    """Return as many rows as came, and the least and the greatest of them."""
    volts = (chunk - offset) * gain
    return volts, volts.min(), volts.max()


def main():
    with tempfile.TemporaryDirectory() as directory:
        text, raw, npy = (Path(directory, name) for name in ("text", "raw.dat", "volts.npy"))
        text.write_bytes(b"the first line\nand a longer second one\n" * 200_000)
        np.tile(np.arange(1000, dtype="i2"), 2000).tofile(raw)

        with mmapio.open(text, dtype="u1") as file:  # chunks end with a line: none is cut
            counts = kernels.reduce_chunks(file, count_text, merge, (0, 0, 0), delimiter=b"\n")
        print("{:,} lines, {:,} words, the longest line of {} bytes".format(*counts))

        with mmapio.open(raw, dtype="i2") as samples, mmapio.create(npy, samples.shape) as volts:
            lows, highs = np.empty((2, len(samples) // 100_000))  # a row for each chunk
            out = volts, lows, highs
            kernels.map_chunks(samples, calibrate, out, chunk=100_000, args=(500, 0.01))
            print(f"{len(volts):,} samples from {lows.min():.2f} to {highs.max():.2f} volts")


if __name__ == "__main__":
    main()
