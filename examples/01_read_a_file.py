"""Read files without loading them: an array that numpy saved, an instrument's raw output, JSON.

Opening a file maps it: whatever its size that takes microseconds, and only what is looked at is
read from the disk.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

import mmapio


def read_npy(path):
    """A .npy file tells its own shape and type."""
    with mmapio.open(path) as temperatures:
        print(f"{temperatures.shape} of {temperatures.dtype}")
        print(f"warmest minute of 1 July: {temperatures[181].max():.2f} degrees")
        print(f"mean at noon, all year: {temperatures[:, 720].mean():.2f} degrees")


def read_raw(path):
    """Of a raw file, say what its bytes mean: here 16 of header, then big-endian numbers."""
    with mmapio.open(path, dtype=">i2", shape=(-1, 3), offset=16) as samples:
        print(f"{len(samples)} samples, the last one {samples[-1].tolist()}")


def read_text(path):
    """What wants a file object, gets one that reads from the mapping."""
    with mmapio.MappedFile.open(path) as file:
        station = json.load(file.reader())
        print(f"station {station['name']}, {file.size} bytes, begins with {file.read(0, 7)}")


def main():
    with tempfile.TemporaryDirectory() as directory:
        npy, raw, text = (Path(directory, name) for name in ("year.npy", "raw.dat", "about.json"))

        season = -np.cos(np.arange(365) / 365 * 2 * np.pi)[:, np.newaxis] * 10
        daytime = -np.cos(np.arange(1440) / 1440 * 2 * np.pi) * 5
        np.save(npy, (12 + season + daytime).astype("f4"))
        raw.write_bytes(b"INSTRUMENT 7".ljust(16) + np.arange(3000, dtype=">i2").tobytes())
        text.write_text('{"name": "Zugspitze", "height": 2962}')

        read_npy(npy)
        read_raw(raw)
        read_text(text)


if __name__ == "__main__":
    main()
