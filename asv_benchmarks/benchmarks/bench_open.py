"""Opening and creating files: rows 15, 16 and 17 of the targets."""

from __future__ import annotations

import itertools
import mmap
import os

import numpy as np
from numpy.typing import NDArray

import mmapio

from .common import InTemporaryDirectory, ratio, target


def mapped(path: str, access: int = mmap.ACCESS_READ) -> NDArray[np.uint8]:
    """Map a file by what takes the least time: the standard library's mmap, and frombuffer."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return np.frombuffer(mmap.mmap(fd, 0, access=access), "u1")
    finally:
        os.close(fd)


NAMES = {
    "open": mmapio.open,
    "create": mmapio.create,
    "load": np.load,
    "memmap": np.memmap,
    "mapped": mapped,
}


class OpenRaw(InTemporaryDirectory):
    """Row 15, open, look at one element, close: at most the time of `numpy.memmap`, at any size."""

    params = (8 << 20, 1 << 30)
    param_names = ("nbytes",)
    peer = "a = memmap(path, 'u1', 'r'); a[0]; del a"  # which has no other way to close

    def setup(self, nbytes: int) -> None:
        super().setup()
        self.file = self.zeros("raw.bin", nbytes)

    def time_open(self, nbytes: int) -> None:
        a = mmapio.open(self.file, dtype="u1")
        a[0]
        a.close()

    def time_memmap(self, nbytes: int) -> None:
        a = np.memmap(self.file, "u1", "r")
        a[0]

    @target(
        row=15,
        at_most=1.0,
        reason="`close` maps zeros over memory that an array still shows, and unmaps them "
        "later: two system calls, where np.memmap has no way to close; the guard and "
        "the file's identity are two more",
    )
    def track_ratio_memmap(self, nbytes: int) -> float:
        """Open a raw file, one element, close, against np.memmap (target: at most 1.0)."""
        ours = "a = open(path, dtype='u1'); a[0]; a.close()"
        return ratio(ours, self.peer, NAMES | {"path": self.file})

    @target(
        row=15,
        at_most=1.0,
        reason="the guard, and what tells the file from all others, take a system call each",
    )
    def track_ratio_memmap_dropped(self, nbytes: int) -> float:
        """Open a raw file, one element, dropped as np.memmap must be (target: at most 1.0)."""
        ours = "a = open(path, dtype='u1'); a[0]; del a"
        return ratio(ours, self.peer, NAMES | {"path": self.file})

    def time_frombuffer(self, nbytes: int) -> None:
        mapped(self.file)[0]

    def track_ratio_frombuffer(self, nbytes: int) -> float:
        """Open a raw file, one element, dropped, against mmap.mmap and frombuffer (no target)."""
        ours = "a = open(path, dtype='u1'); a[0]; del a"
        return ratio(ours, "mapped(path)[0]", NAMES | {"path": self.file})

    track_ratio_frombuffer.unit = "x"  # type: ignore[attr-defined]


class OpenNpy(InTemporaryDirectory):
    """Row 16, open a ``.npy`` and look at one element: at most half of ``np.load(mmap_mode=)``."""

    params = (8 << 20, 1 << 30)
    param_names = ("nbytes",)

    def setup(self, nbytes: int) -> None:
        super().setup()
        self.file = self.path("array.npy")
        mmapio.create(self.file, nbytes // 8, "f8", reserve=False).close()

    def time_open(self, nbytes: int) -> None:
        mmapio.open(self.file)[0]

    def time_load(self, nbytes: int) -> None:
        np.load(self.file, mmap_mode="r")[0]

    @target(
        row=16,
        at_most=0.5,
        reason="nearly all of it is what opening a raw file takes: the system calls, the guard, "
        "and a page fault",
    )
    def track_ratio_load(self, nbytes: int) -> float:
        """Open a .npy file, one element, against np.load(mmap_mode='r') (target: at most 0.5)."""
        peer = "load(path, mmap_mode='r')[0]"
        return ratio("open(path)[0]", peer, NAMES | {"path": self.file})


class Create(InTemporaryDirectory):
    """Row 17, create 4 KiB with its blocks reserved: at most 0.6 x `numpy.memmap`, no reserving."""

    def setup(self) -> None:
        super().setup()
        self.new_paths = map(self.path, map(str, itertools.count()))

    def time_create(self) -> None:
        mmapio.create(next(self.new_paths), 4096, "u1", raw=True)

    def time_memmap(self) -> None:
        np.memmap(next(self.new_paths), "u1", "w+", shape=4096)

    @target(
        row=17,
        at_most=0.6,
        reason="blocks are reserved, which np.memmap leaves to the first store, and the file gets "
        "its name when it is whole",
    )
    def track_ratio_memmap(self) -> float:
        """Create a file of 4 KiB, blocks reserved, against np.memmap 'w+' (target: at most 0.6)."""
        ours = "create(next(paths), 4096, 'u1', raw=True)"
        peer = "memmap(next(paths), 'u1', 'w+', shape=4096)"
        return ratio(ours, peer, NAMES | {"paths": self.new_paths})
