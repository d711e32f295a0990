"""Work that no commit changes, of the same character as what is timed beside it.

A machine that is slow for a while is slow for both, and not for all work alike: a busy disk does
not slow a loop. So there is one kind for each.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable

import numpy as np

MEMORY_BYTES = 16 << 20  # more than a core's own caches hold
PAGE = bytes(range(256)) * 16


def python(_directory: str) -> Callable[[], object]:
    """Return a loop of the interpreter: calls, attributes, slices, small objects."""

    def work() -> None:
        kept = [b"0123456789"] * 8
        for i in range(500):
            part = kept[i & 7]
            kept[i & 7] = part[:]
            divmod(i, 7)
            max(len(part), i)

    return work


def system(directory: str) -> Callable[[], object]:
    """Return some system calls: open a file, look at it, map it, touch it, let it go."""
    path = os.path.join(directory, "system.bin")
    with open(path, "wb") as file:
        file.write(PAGE)  # a fault maps all pages that it finds in the cache: let there be one

    def work() -> None:
        fd = os.open(path, os.O_RDWR)
        os.fstat(fd)
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as mapped:
            mapped[0]
        os.close(fd)

    return work


def memory(_directory: str) -> Callable[[], object]:
    """Return a read of memory."""
    from benchmarks import floor  # what imports numba only where it is needed

    data = np.ones(MEMORY_BYTES, "u1")
    return lambda: floor.read_all(data)


def disk(directory: str) -> Callable[[], object]:
    """Return a durable write of one page."""
    fd = os.open(os.path.join(directory, "disk.bin"), os.O_CREAT | os.O_RDWR)
    os.write(fd, PAGE)
    sync = getattr(os, "fdatasync", os.fsync)

    def work() -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, PAGE)
        sync(fd)

    return work


KINDS = {kind.__name__: kind for kind in (python, system, memory, disk)}
