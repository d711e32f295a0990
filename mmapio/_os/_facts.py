"""Facts about open files, as platforms report them."""

from __future__ import annotations

import os
import stat
from struct import Struct
from typing import Final, NamedTuple

__all__ = ["MAPPED", "CacheFacts", "FileFacts", "Identity"]

# Device (two parts), inode, and when it was born (seconds, nanoseconds): the last tells a file
# from a later one that was given the same inode number.
Identity = tuple[int, int, int, int, int]


# Inode, size, blocks, birth and device, as Linux has them in struct statx.
_pack: Final = Struct("=QQQqQII").pack


class FileFacts(NamedTuple):
    """Facts about an open file; sizes in bytes."""

    type_and_permissions: int
    inode: int
    size: int
    blocks: int
    born_s: int
    born_ns: int
    device_major: int
    device_minor: int

    @property
    def allocated(self) -> int:
        """Bytes that the file takes on the drive; holes take none."""
        return self.blocks * 512

    @property
    def identity(self) -> Identity:
        """Identity of the file: device, inode, birth time."""
        return self.device_major, self.device_minor, self.inode, self.born_s, self.born_ns

    @property
    def packed(self) -> bytes:
        """All but type and permissions, for `sync_unchanged`; larger numbers lose their tops."""
        _, inode, size, blocks, born_s, born_ns, major, minor = self
        mask, half = (1 << 64) - 1, (1 << 32) - 1
        return _pack(inode & mask, size, blocks, born_s, born_ns, major & half, minor & half)

    @property
    def is_regular(self) -> bool:
        """True if it is a regular file, the only kind that has a size and can grow."""
        return stat.S_ISREG(self.type_and_permissions)

    @property
    def is_device(self) -> bool:
        """True if it is a block or a character device."""
        kind = self.type_and_permissions
        return stat.S_ISBLK(kind) or stat.S_ISCHR(kind)

    @property
    def is_endless(self) -> bool:
        """True if it is a character device, which has no size."""
        return stat.S_ISCHR(self.type_and_permissions)

    @property
    def is_directory(self) -> bool:
        """True if it is a directory."""
        return stat.S_ISDIR(self.type_and_permissions)


# The packed result of `map_new`, and of `map_whole`, whose head follows: address, length,
# descriptor or -1, length of the head, whether the handler is on top, and the fields of
# `FileFacts`.
MAPPED: Final = Struct("=QQqqQ QQQQqQQQ")


class CacheFacts(NamedTuple):
    """Contents of the page cache for a range of a file, in bytes of whole pages.

    Dirty pages differ from the drive; those under writeback are on their way. Evicted ones were in
    the cache once, and `recently_evicted` ones would be still if memory had been less scarce.
    """

    resident: int
    dirty: int
    writeback: int
    evicted: int
    recently_evicted: int


def facts_of_stat(file: int | str) -> FileFacts:
    """Return the facts that `os.stat` has about a file; few systems report its birth time."""
    found = os.stat(file)
    seconds, fraction = divmod(getattr(found, "st_birthtime", 0.0), 1)
    blocks = getattr(found, "st_blocks", -(-found.st_size // 512))
    return FileFacts(
        found.st_mode,
        found.st_ino,
        found.st_size,
        blocks,
        int(seconds),
        int(fraction * 1e9),
        found.st_dev,
        0,
    )
