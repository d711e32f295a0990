"""Mappings with room to grow: address space beyond the end of the file, which costs no memory."""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable
from typing import Final

from .. import _os
from .._validation import as_nbytes
from ..errors import FileError
from ..files.descriptors import identify
from ..mapping.mapped_file import MappedFile
from ..mapping.opening import map_open_file, map_path
from ..mapping.options import MapOptions
from ..mapping.source import Source

__all__ = ["CAPACITY", "map_file_with_room", "map_path_with_room"]

CAPACITY: Final = "64 GiB"
_CAPACITY_BYTES: Final = as_nbytes(CAPACITY, "capacity")
_SHARE: Final = 64  # what is left is for others: a mapping that has grown out of it moves


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
    """Map a file with its capacity, if there is address space for it.

    Where that is limited (``ulimit -v``), the capacity that nobody asked for is a small share of
    what is left, and what is too much becomes one.
    """
    left = _os.address_space_left()
    if left is not None and options.capacity == _CAPACITY_BYTES:
        options = options._replace(capacity=min(options.capacity, left // _SHARE))
    while True:
        try:
            return map_it(options)
        except FileError as error:
            if error.errno != errno.ENOMEM or options.capacity == 0:
                raise
            less = options.capacity // 2
            options = options._replace(capacity=less if left is None else min(less, left // _SHARE))
