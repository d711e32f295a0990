"""Room in memory: whether a range can be brought in, asked before it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Final

import numpy as np

from .. import _os
from .._formatting import size
from .._pacing import SMALL_BYTES, paced
from .._validation import LARGEST
from ..errors import InsufficientMemoryError, UnsupportedError

__all__ = ["bytes_to_come", "check_room"]

# What is left to all others: who takes the last page has the system look for one to kill.
_KEPT_SHARE: Final = 16


def check_room(
    nbytes: int, doing: str, instead: Callable[[], str], to_come: Callable[[], int]
) -> None:
    """Raise if bytes are more than the memory that can be had, less those that are there already.

    What is there, `to_come` finds out: that takes longer than to see that there is room for all.
    """
    if nbytes <= SMALL_BYTES:
        return
    available = _os.available_memory()
    if available is None:
        return
    room = available - available // _KEPT_SHARE
    if nbytes <= room:
        return
    most = _memory_of_machine()  # to count the pages of much more than that would take minutes
    missing = nbytes if nbytes - most > room else to_come()
    if missing > room:
        part = "" if missing == nbytes else f", {size(missing)} of which are still to come,"
        raise InsufficientMemoryError(
            f"cannot {doing} {size(nbytes)}{part} with {size(available)} of memory available; "
            f"{instead()}"
        )


def _memory_of_machine() -> int:
    """Return how many bytes of anything can be in memory at most."""
    if sys.platform == "win32":
        return LARGEST
    try:
        return os.sysconf("SC_PHYS_PAGES") * _os.PAGE_SIZE
    except (OSError, ValueError):  # it is not told
        return LARGEST


def bytes_to_come(
    address: int, length: int, *, writing: bool = False, counts_cached: bool = True
) -> int:
    """Return how many bytes of a range need memory that is not theirs already.

    Parameters
    ----------
    address, length : int
        The range, from the first byte of a page on.
    writing : bool
        Pages of a private mapping are to be copied: that they are in the page cache is no help.
    counts_cached : bool
        What is in memory needs no more. If not, only what is locked does not: the rest may be page
        cache, which counts as available, until a lock takes it.

    Examples
    --------
    >>> import mmapio
    >>> from mmapio.pagecache.memory_room import bytes_to_come
    >>> a = mmapio.anonymous(1 << 20, "u1")
    >>> bytes_to_come(a.ctypes.data, a.nbytes) == a.nbytes
    True
    """
    there = 0
    for area in _os.smaps(address, length):
        low, high = max(area.low, address), min(area.high, address + length)
        if area.flags & {"ht", "lo"}:  # huge pages that are set aside; and what is locked
            there += high - low
        elif "sh" not in area.flags and "wr" in area.flags and (writing or not counts_cached):
            there += min(area.fields.get("Anonymous", 0), high - low)
        elif counts_cached:
            there += _resident(low, high)
    return max(0, length - there)


def _resident(low: int, high: int) -> int:
    try:
        pages = sum(
            int(np.count_nonzero(_os.resident(start, stop - start)))
            for start, stop in paced(low, high, 1 << 30)
        )
    except (OSError, UnsupportedError):
        return 0
    return min(pages * _os.PAGE_SIZE, high - low)
