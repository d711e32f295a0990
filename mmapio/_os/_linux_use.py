"""How much of a range of memory Linux has mapped in for this process, and how much in swap.

Sources: proc_pid_smaps(5), proc_pid_pagemap(5).
"""

from __future__ import annotations

import os
import sys
from typing import Final

import numpy as np

assert sys.platform == "linux"  # so that mypy passes over this file elsewhere

from ._linux_smaps import smaps  # noqa: E402
from ._memory import MemoryUse  # noqa: E402
from ._posix import PAGE_SIZE  # noqa: E402

__all__ = ["memory_use"]

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
        # The figures of an area are of all of it; of a part, its pages tell one by one.
        if (here or away) and high - low < area.high - area.low:
            here, away = _of_pages(low, high)
        rss += here
        swap += away
    return MemoryUse(rss, swap)


def _of_pages(start: int, stop: int) -> tuple[int, int]:
    present = swapped = 0
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        for low in range(start, stop, _WINDOW_BYTES):
            pages = (min(low + _WINDOW_BYTES, stop) - low) // PAGE_SIZE
            at = low // PAGE_SIZE * _ENTRY_BYTES
            entries = np.frombuffer(os.pread(pagemap.fileno(), pages * _ENTRY_BYTES, at), np.uint64)
            present += int(np.count_nonzero(entries & _PRESENT))
            swapped += int(np.count_nonzero(entries & _SWAPPED))
    return present * PAGE_SIZE, swapped * PAGE_SIZE
