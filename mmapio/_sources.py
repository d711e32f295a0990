"""Stamp of source files, by which compiled code on disk is known to be stale."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

__all__ = ["sources_stamp"]

_PACKAGE = os.path.dirname(__file__)


def sources_stamp(*folders: str) -> int:
    """Return a number that changes with any source in folders of mmapio and in their subfolders.

    Sizes and times will do, as they do for Python's own bytecode; to read the sources takes four
    times as long, and the disk where nothing else has read them.
    """
    return zlib.crc32(repr(sorted(_facts(folders))).encode())


def _facts(folders: tuple[str, ...]) -> Iterator[tuple[str, int, int]]:
    """Yield the path, the size and the time of each source; none of a package in an archive."""
    for folder in folders:
        for parent, _, files in os.walk(os.path.join(_PACKAGE, folder)):
            for file in files:
                if file.endswith(".py"):
                    path = os.path.join(parent, file)
                    stat = os.stat(path)
                    yield path.removeprefix(_PACKAGE), stat.st_size, stat.st_mtime_ns
