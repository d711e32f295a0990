"""Opening of mappings: by path, by descriptor, or without a file.

There is one way for all: the options are checked, the file is opened or made ready without a name,
its memory is mapped and prepared, and only then does a new file get its name. So whatever fails,
what is at the path is as it was.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from typing import TypeVar

from .. import _os
from .._validation import LARGEST, as_count, bounded
from ..errors import ArgumentError, FileError, file_error
from ..files.closing import close_file
from ..files.descriptors import (
    as_path,
    check_mappable,
    check_readable,
    open_or_create,
    replaced_error,
)
from ..modes import Mode
from .closing import WhenInUse, close_source
from .flushing import follow_policy
from .options import MapOptions
from .page_advice import apply_options
from .region import Region
from .source import Source

__all__ = [
    "map_descriptor",
    "map_memory",
    "map_open_file",
    "map_path",
    "mode_of_descriptor",
]

Result = TypeVar("Result")


def map_path(
    path: object,
    options: MapOptions,
    prefix: bytes = b"",
    *,
    durable: bool = False,
    identity: _os.Identity | None = None,
    room: int | None = None,
    use: Callable[[Region], Result],
) -> Result:
    """Open or create a file, map it, and return what `use` makes of the memory.

    A file that is created begins with `prefix`, is made `durable` on request, and gets its name
    when `use` has succeeded; one that is opened must have the `identity`, if one is given. Of a
    device that has no size, `room` bytes are mapped.
    """
    name = as_path(path)
    if options.size is not None and options.mode is not Mode.OPEN_OR_CREATE:
        bounded(options.offset, options.length, options.size)  # before room is made for it
    return open_or_create(
        name,
        options.mode,
        options.size,
        functools.partial(_map_file, name, options, identity, room, use),
        devices=True,
        prefix=prefix,
        reserve=options.reserve,
        durable=durable,
    )


def _map_file(
    path: str,
    options: MapOptions,
    identity: _os.Identity | None,
    room: int | None,
    use: Callable[[Region], Result],
    fd: int,
    facts: _os.FileFacts,
    is_new: bool,
) -> Result:
    if identity is not None and facts.identity != identity:
        raise replaced_error(path, "was replaced by another")
    region = map_open_file(fd, Source(options, path, facts, is_new=is_new), facts, room)
    try:
        return use(region)
    except BaseException:
        close_source(region.source, WhenInUse.KEEP)
        raise


def mode_of_descriptor(mode: object) -> Mode:
    """Return a mode for a file that is open already."""
    kind = Mode.parse(mode)
    if kind.creates:
        raise ArgumentError(f"mode {mode!r} creates a file; a descriptor has one: use 'r+'")
    return kind


def map_descriptor(
    fd: object, options: MapOptions, path: str | None = None, room: int | None = None
) -> Region:
    """Map an open file, of which the mapping keeps a duplicate; `path` is for messages."""
    number = as_count(fd, "fd")
    try:
        own = os.dup(number)
    except OverflowError:
        raise ArgumentError(f"fd {number} is no descriptor") from None
    except OSError as error:
        raise file_error(error, f"map descriptor {number}", None) from error
    try:
        check_readable(own, path)
        facts = check_mappable(own, path, devices=True)
    except BaseException:
        close_file(own)
        raise
    source = Source(options, path, facts, own)
    try:
        return map_open_file(own, source, facts, room)
    except BaseException:
        close_source(source, WhenInUse.KEEP)  # now, and not when nobody holds the error any more
        raise


def map_memory(size: int, options: MapOptions) -> Region:
    """Map zeroed memory without a file, which forked children share."""
    region = Region.of_nothing(Source(options), size, options.capacity)
    try:
        if options.prepares:
            apply_options(region)
        return region
    except BaseException:
        close_source(region.source, WhenInUse.KEEP)  # now, and not when the error is forgotten
        raise


def map_open_file(fd: int, source: Source, facts: _os.FileFacts, room: int | None = None) -> Region:
    """Map a file that is open, and apply the options to its memory."""
    options = source.options
    wanted = options.length
    if wanted is None and facts.size == LARGEST:  # as of a character device
        wanted = room
        if room is None:
            reason = "cannot map a device that has no size; give a length, or a dtype and a shape"
            raise FileError(errno.ENODEV, reason, source.path)
    _, length = bounded(options.offset, wanted, facts.size)
    region = Region.of_file(fd, source, length, options.capacity)
    try:
        source.note_end(fd, region.address, length)
        if options.prepares:
            apply_options(region)
        if options.flush_policy is not None:
            follow_policy(region)
        return region
    except BaseException:
        close_source(source, WhenInUse.KEEP)
        raise
