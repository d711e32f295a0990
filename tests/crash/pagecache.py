"""What the kernel says of a file's pages: cachestat(2), Linux 6.5 and later.

A page is dirty when it was written to and the drive does not have it; then it is under writeback;
then clean. So a test need not believe what the library says of itself.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

_CACHESTAT = 451  # of x86-64 and of every newer table of system calls


class Pages(NamedTuple):
    """How many pages of a file are in memory, and in which state."""

    cached: int
    dirty: int
    under_writeback: int
    evicted: int
    recently_evicted: int


def pages(path: Path, offset: int = 0, length: int = 0) -> Pages:
    """Return what the kernel says of a range of a file; of all of it if there is no length."""
    span, found = (ctypes.c_uint64 * 2)(offset, length), (ctypes.c_uint64 * 5)()
    fd = os.open(path, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(_CACHESTAT, fd, span, found, 0):
            raise OSError(ctypes.get_errno(), "cachestat")
    finally:
        os.close(fd)
    return Pages(*found)


def unwritten(path: Path, offset: int = 0, length: int = 0) -> int:
    """Return how many pages of a range of a file the drive does not have yet."""
    found = pages(path, offset, length)
    return found.dirty + found.under_writeback


def skip_unless_told(folder: Path) -> None:
    """Skip the test where the kernel does not say which pages of a folder's files are dirty."""
    if sys.platform != "linux":
        pytest.skip("only Linux has cachestat")
    probe = folder / "probe"
    with open(probe, "wb") as file:
        file.write(b"x" * 4096)
        file.flush()
        try:
            before = unwritten(probe)
        except OSError as error:
            pytest.skip(f"this kernel has no cachestat: {error}")
        os.fsync(file.fileno())
        after = unwritten(probe)
    probe.unlink()
    if (before, after) != (1, 0):
        pytest.skip("the temporary directory is on a file system that keeps its files in memory")
