"""Bytes of a memory range that are mapped in, and in swap, for this process.

Sources: proc_pid_smaps(5), proc_pid_pagemap(5), ioctl_pagemap_scan(2).
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from typing import Final

import numpy as np

assert sys.platform == "linux"  # so that mypy passes over this file elsewhere

from ._linux_smaps import smaps  # noqa: E402
from ._memory import MemoryUse  # noqa: E402
from ._posix import PAGE_SIZE  # noqa: E402

__all__ = ["memory_use"]

_PAGEMAP_SCAN: Final = 0xC0606610
# struct pm_scan_arg: its size, flags, start, end; where it stopped; the regions found, how many
# there is room for, how many pages at most; and four masks.
_SCAN: Final = struct.Struct("=12Q")
_STOPPED: Final = 4
# Past 512, which is how many it collects at a time, Linux 6.18 hands some out twice.
_REGIONS: Final = 256
_IS_PRESENT: Final = 1 << 3
_IS_SWAPPED: Final = 1 << 4

_WINDOW_BYTES: Final = 1 << 30
_ENTRY_BYTES: Final = 8
_PRESENT: Final = np.uint64(1 << 63)
_SWAPPED: Final = np.uint64(1 << 62)


def memory_use(address: int, length: int) -> MemoryUse:
    """Return how much of a range of pages this process has mapped in, and how much in swap."""
    rss = swap = 0
    areas = smaps(address, length) if length else []
    if length and not areas:
        return MemoryUse(None, None)
    for area in areas:
        low, high = max(area.low, address), min(area.high, address + length)
        here, away = area.fields.get("Rss", 0), area.fields.get("Swap", 0)
        # The figures of an area are of all of it; of a part, its pages tell.
        if (here or away) and high - low < area.high - area.low:
            here, away = _of_pages(low, high)
        rss += here
        swap += away
    return MemoryUse(rss, swap)


def _of_pages(start: int, stop: int) -> tuple[int, int]:
    fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _by_scanning(fd, start, stop)
    except OSError:  # before Linux 6.7, or in a sandbox
        return _by_reading(fd, start, stop)
    finally:
        os.close(fd)


def _by_scanning(fd: int, start: int, stop: int) -> tuple[int, int]:
    """Let the system look for pages, which skips what has none."""
    regions = np.zeros((_REGIONS, 3), np.uint64)  # where each begins and ends, and what it is
    wanted = _IS_PRESENT | _IS_SWAPPED
    present = swapped = 0
    while start < stop:
        room = regions.ctypes.data, _REGIONS, 0
        asked = bytearray(_SCAN.pack(_SCAN.size, 0, start, stop, 0, *room, 0, 0, wanted, wanted))
        found = regions[: fcntl.ioctl(fd, _PAGEMAP_SCAN, asked)]
        nbytes = found[:, 1] - found[:, 0]
        present += int(nbytes[found[:, 2] & _IS_PRESENT > 0].sum())
        swapped += int(nbytes[found[:, 2] & _IS_SWAPPED > 0].sum())
        start = _SCAN.unpack(asked)[_STOPPED]
    return present, swapped


def _by_reading(fd: int, start: int, stop: int) -> tuple[int, int]:
    """Look at each page."""
    present = swapped = 0
    for low in range(start, stop, _WINDOW_BYTES):
        pages = (min(low + _WINDOW_BYTES, stop) - low) // PAGE_SIZE
        at = low // PAGE_SIZE * _ENTRY_BYTES
        entries = np.frombuffer(os.pread(fd, pages * _ENTRY_BYTES, at), np.uint64)
        present += int(np.count_nonzero(entries & _PRESENT))
        swapped += int(np.count_nonzero(entries & _SWAPPED))
    return present * PAGE_SIZE, swapped * PAGE_SIZE
