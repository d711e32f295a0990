"""Mappings with room to grow: address space beyond the end of the file, which costs no memory."""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable
from typing import Final

from .. import _os
from ..errors import FileError
from ..files.descriptors import identify
from ..mapping.mapped_file import MappedFile
from ..mapping.opening import map_open_file, map_path
from ..mapping.options import MapOptions
from ..mapping.source import Source

__all__ = ["CAPACITY", "map_file_with_room", "map_path_with_room"]

CAPACITY: Final = "64 GiB"


def map_path_with_room(
    path: str, options: MapOptions, identity: _os.Identity | None = None
) -> MappedFile:
    """Map the file at a path, which must have the identity, if one is given."""
    map_it = functools.partial(map_path, path, identity=identity, use=MappedFile)
    return _with_room(options, map_it)


def map_file_with_room(path: str, options: MapOptions, fd: int) -> MappedFile:
    """Map a file that is open, and may have no name yet."""
    facts = identify(fd, path)

    def map_it(options: MapOptions) -> MappedFile:
        return MappedFile(map_open_file(fd, Source(options, path, facts), facts))

    return _with_room(options, map_it)


def _with_room(options: MapOptions, map_it: Callable[[MapOptions], MappedFile]) -> MappedFile:
    """Map a file with its capacity: as much as there is address space for, if not all of it."""
    while True:
        try:
            return map_it(options)
        except FileError as error:
            if error.errno != errno.ENOMEM or options.capacity == 0:
                raise
            options = options._replace(capacity=options.capacity // 2)
