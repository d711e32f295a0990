"""Holes of files: ranges that read zeros and take no room on the disk (lseek(2), SEEK_HOLE)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

__all__ = ["has_hole", "holes_of"]


def holes_of(fd: int, size: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield offset and length of each hole from `start` on, as far as the file system tells."""
    if sys.platform == "win32":
        return
    at = start
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_HOLE)
        except OSError:  # the file system does not tell
            return
        if start >= size:
            return
        try:
            at = os.lseek(fd, start, os.SEEK_DATA)
        except OSError:  # no more data
            at = size
        yield start, at - start


def has_hole(fd: int, start: int, stop: int) -> bool:
    """Return whether a range of a file has a hole; OSError where the file system does not tell."""
    return sys.platform != "win32" and os.lseek(fd, start, os.SEEK_HOLE) < stop
