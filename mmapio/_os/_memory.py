"""What the system can be told about a range of memory, and what it tells."""

from __future__ import annotations

import enum
from typing import NamedTuple

__all__ = ["Advice", "Backing", "MemoryUse"]


class Advice(enum.IntEnum):
    """What is to happen to the pages of a range; each is named as in madvise(2)."""

    # Start to read them in, without waiting.
    WILLNEED = enum.auto()
    # Unmap them. What is not in a file or in shared memory is lost with that.
    DONTNEED = enum.auto()
    # Unmap them and give their memory back; nothing is lost.
    PAGEOUT = enum.auto()
    # Map them, reading them in; on Linux from 5.14.
    POPULATE_READ = enum.auto()
    # Map them for writing, without a change to a byte; on Linux from 5.14.
    POPULATE_WRITE = enum.auto()


class Backing(NamedTuple):
    """What lies behind a range of memory.

    `shared` tells that all of it is a file or shared memory, which loses nothing when it is
    unmapped. `read_ahead_bytes` is how far the system reads ahead of page faults by itself.
    """

    shared: bool
    read_ahead_bytes: int


class MemoryUse(NamedTuple):
    """Bytes of a range that this process has mapped in, and in swap; None: that is not told."""

    rss: int | None
    swap: int | None
