"""Advice to the system about ranges of memory, and facts about them."""

from __future__ import annotations

import enum
from typing import NamedTuple

__all__ = ["Advice", "Area", "Backing", "LockLimit", "MemoryUse"]


class Advice(enum.IntEnum):
    """Advice about the pages of a range, named as in madvise(2)."""

    # How they will be used, which is how far the system reads ahead.
    NORMAL = enum.auto()
    RANDOM = enum.auto()
    SEQUENTIAL = enum.auto()
    # Start to read them in, without waiting.
    WILLNEED = enum.auto()
    # Unmap them. On Linux, what is not in a file or in shared memory is lost with that.
    DONTNEED = enum.auto()
    # The first to go when memory is short; on Linux from 5.4.
    COLD = enum.auto()
    # Unmap them and give their memory back; nothing is lost.
    PAGEOUT = enum.auto()
    # Map them, reading them in; on Linux from 5.14.
    POPULATE_READ = enum.auto()
    # Map them for writing, without a change to a byte; on Linux from 5.14.
    POPULATE_WRITE = enum.auto()
    # Put them into huge pages when it suits the system, never, or now (on Linux from 6.1).
    HUGEPAGE = enum.auto()
    NOHUGEPAGE = enum.auto()
    COLLAPSE = enum.auto()
    # Whether forked children have them.
    DONTFORK = enum.auto()
    DOFORK = enum.auto()
    # Whether pages with the same content may become one.
    MERGE = enum.auto()
    UNMERGE = enum.auto()
    # Give back shared memory, or what a file has there: it reads zeros.
    REMOVE = enum.auto()


class Backing(NamedTuple):
    """Backing of a memory range: file, anonymous memory or nothing.

    `shared` tells that all of it is a file or shared memory, which loses nothing when it is
    unmapped. `read_ahead_bytes` is how far the system reads ahead of page faults by itself.
    """

    shared: bool
    read_ahead_bytes: int


class Area(NamedTuple):
    """A run of addresses that the system keeps as one: fields in bytes, flags of two letters."""

    low: int
    high: int
    fields: dict[str, int]
    flags: frozenset[str]


class LockLimit(NamedTuple):
    """Bytes that this process may lock in memory, how to raise that limit, and those it has locked.

    No number: as many as there are, or it is not known.
    """

    nbytes: int | None
    how_to_raise: str
    locked: int = 0


class MemoryUse(NamedTuple):
    """Bytes of a range that this process has mapped in, and in swap; None: that is not told."""

    rss: int | None
    swap: int | None
