"""System calls of Linux on the page cache, and on the blocks behind it.

Sources: posix_fadvise(2), fallocate(2), madvise(2).
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

assert sys.platform == "linux"  # so that mypy passes over this file elsewhere

from ._posix import _libc, _raise_errno  # noqa: E402

__all__ = ["PREFETCH_BYTES", "drop_cached", "prefetch", "punch_hole"]

_KEEP_SIZE: Final = 1
_PUNCH_HOLE: Final = 2
# A call on a larger range can end early: Linux reads no further than the device's largest request
# or its readahead, whichever is more, and the latter is 128 KiB by default.
PREFETCH_BYTES: Final = 128 << 10

_fallocate: Final = getattr(_libc, "fallocate64", None) or _libc.fallocate  # musl has one only
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong)


def drop_cached(fd: int, offset: int, length: int) -> None:
    """Drop the clean pages that lie in a range of a file, and that nobody maps, from the cache."""
    os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)


def prefetch(fd: int, offset: int, length: int) -> None:
    """Start to read a range of a file into the cache: PREFETCH_BYTES at the most."""
    os.posix_fadvise(fd, offset, length, os.POSIX_FADV_WILLNEED)


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Let a range of a file read zeros, and give back the blocks that lie in it."""
    if _fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, offset, length):
        _raise_errno()
