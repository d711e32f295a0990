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
from typing import Final, TypeVar

from .. import _os, guard
from .._validation import LARGEST, as_count, bounded
from ..errors import ArgumentError, FileError, file_error
from ..files.closing import close_file
from ..files.descriptors import (
    as_path,
    check_mappable,
    check_readable,
    open_file,
    open_or_create,
    read_at,
    replaced_error,
)
from ..files.publishing import publishing_error
from ..modes import Mode
from .closing import WhenInUse, close_source
from .flushing import follow_policy
from .options import MapOptions
from .page_advice import apply_options
from .region import Region
from .source import Source

__all__ = [
    "HEAD_BYTES",
    "give_up",
    "map_descriptor",
    "map_existing",
    "map_memory",
    "map_open_file",
    "map_path",
    "mode_of_descriptor",
    "used",
]

Result = TypeVar("Result")

HEAD_BYTES: Final = 256  # hold nearly every header whole
# Where these are in what `_os.map_whole` returns.
_HEAD_AT: Final = _os.MAPPED.size
_SIZE: Final = _os.FileFacts._fields.index("size")


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
    if not options.mode.creates:
        region, _ = map_existing(name, options, identity, room)
        return used(region, use)
    if options.size is not None and options.mode is not Mode.OPEN_OR_CREATE:
        bounded(options.offset, options.length, options.size)  # before room is made for it
    if options.is_plain_new and not durable and identity is None:
        found = _map_new(name, options, prefix, use)
        if found is not None:
            return found
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


def map_existing(
    path: str,
    options: MapOptions,
    identity: _os.Identity | None = None,
    room: int | None = None,
    *,
    look: bool = False,
) -> tuple[Region, bytes | None]:
    """Map a file that is there; return the memory and, if asked to `look`, the file's first bytes.

    These are read, not taken from the memory: a page of it that is used takes longer to come than
    all else here. Devices may tell other things to those who read them, so it is None for them.
    """
    if options.whole is not None:
        found = _map_whole(path, options, options.whole, HEAD_BYTES if look else 0)
        if found is not None:
            if identity is not None and found[0].source.identity != identity:
                close_source(found[0].source, WhenInUse.KEEP)
                raise replaced_error(path, "was replaced by another")
            return found
    region = None
    fd, facts = open_file(path, options.mode, devices=True)
    try:
        if identity is not None and facts.identity != identity:
            raise replaced_error(path, "was replaced by another")
        region = map_open_file(fd, Source(options, path, facts), facts, room)
        head = read_at(fd, 0, HEAD_BYTES) if look and facts.is_regular else None
        closing, fd = fd, -1
        close_file(closing)  # Ctrl-C may come in it
        return region, head
    except BaseException as error:
        if region is not None:
            close_source(region.source, WhenInUse.KEEP)
        _raise_as_ours(error, options, path)
        raise
    finally:
        if fd >= 0:
            close_file(fd)


def _map_whole(
    path: str, options: MapOptions, how: tuple[int, int, int], head: int
) -> tuple[Region, bytes] | None:
    """Map all of a file in one call, and read its `head`; None if that takes more steps."""
    name = os.fsencode(path)
    row, row_at, handler = guard.take_row(name) if options.guard else (0, 0, 0)
    held: list[bytes | None] = [None]
    source, fd = None, -1
    try:
        found = _os.map_whole(name, *how, row_at, handler, head, held)
        if found is None:
            guard.forget(row)
            return None
        address, length, fd, known, is_on_top, *facts = _os.MAPPED.unpack_from(found)
        source = Source(options, path, tuple.__new__(_os.FileFacts, facts))
        region = Region(address, address + length, address, facts[_SIZE], source, length)
        if row:
            guard.watch_row(region, row, is_on_top)
        if fd >= 0:
            source.note_end(fd, address, region.size)
        if options.prepares or options.flush_policy is not None:
            _prepare(region)
        closing, fd = fd, -1
        if closing >= 0:
            close_file(closing)  # Ctrl-C may come in it
        return region, found[_HEAD_AT : _HEAD_AT + known]
    except BaseException:
        fd = _undone(held, source, row, fd)
        raise
    finally:
        if fd >= 0:
            close_file(fd)


def _undone(held: list[bytes | None], source: Source | None, row: int, fd: int) -> int:
    """Undo a call of `_os` that has mapped a file, as far as it came; return what is to be closed.

    The memory is its region's, once there is one: until then nobody gives it back but this.
    """
    region = next(iter(source.places), None) if source is not None else None
    if source is not None and region is not None and hasattr(region, "row"):
        is_taken = region.row == row
        close_source(source, WhenInUse.KEEP)
        if not is_taken:
            guard.forget(row)
        return fd
    guard.forget(row)
    if held[0] is None:
        return fd
    address, length, opened, *_ = _os.MAPPED.unpack_from(held[0])
    _os.unmap(address, length)
    return int(opened)


def _map_new(
    path: str, options: MapOptions, prefix: bytes, use: Callable[[Region], Result]
) -> Result | None:
    """Create a file and map all of it in few calls; None if that takes more steps.

    There is no trace of it then: what is wrong is found step by step.
    """
    replaces = options.mode is Mode.REPLACE
    if replaces and os.path.lexists(path):
        return None
    name = os.fsencode(path)
    row, row_at, handler = guard.take_row(name) if options.guard else (0, 0, 0)
    folder = name[: name.rindex(b"/") + 1]
    held: list[bytes | None] = [None]
    source, fd = None, -1
    result: Result | None = None
    try:
        made = _os.map_new(folder, options.size or 0, prefix, name, row_at, handler, held)
        if made is None:
            guard.forget(row)
            return None
        address, length, fd, _, is_on_top, *facts = _os.MAPPED.unpack(made)
        source = Source(options, path, tuple.__new__(_os.FileFacts, facts), is_new=True)
        region = Region(address, address + length, address, facts[_SIZE], source, length)
        if row:
            guard.watch_row(region, row, is_on_top)
        result = use(region)
        if not _is_published(fd, path, replaces):
            result = None
            close_source(source, WhenInUse.KEEP)
        closing, fd = fd, -1
        close_file(closing)  # Ctrl-C may come in it
        return result
    except BaseException as error:
        result = None  # or its memory would stay as long as the error
        fd = _undone(held, source, row, fd)
        _raise_as_ours(error, options, path)
        raise
    finally:
        if fd >= 0:
            close_file(fd)


def _is_published(fd: int, path: str, replaces: bool) -> bool:
    """Give a new file its name; return False if that is taken, and what is there to be replaced."""
    try:
        _os.publish_nameless(fd, path)
    except OSError as error:
        if replaces and isinstance(error, FileExistsError):
            return False
        raise publishing_error(error, path, os.path.dirname(path), "create", replaces) from error
    return True


def used(region: Region, use: Callable[[Region], Result]) -> Result:
    """Return what `use` makes of memory that was just mapped; if it fails, that is closed."""
    try:
        return use(region)
    except BaseException as error:
        give_up(region, error)
        raise


def give_up(region: Region, error: BaseException) -> None:
    """Close memory that was just mapped, since what was to use it has failed."""
    _give_up(region.source, error)


def _give_up(source: Source, error: BaseException) -> None:
    close_source(source, WhenInUse.KEEP)
    _raise_as_ours(error, source.options, source.path)


def _raise_as_ours(error: BaseException, options: MapOptions, path: str | None) -> None:
    """Raise FileError in place of an error that the system reports while a file is opened."""
    if isinstance(error, OSError) and not isinstance(error, FileError):
        raise file_error(error, f"open in mode {options.mode.value!r}", path) from error


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
    source = Source(options, path, facts, is_new=is_new)
    return used(map_open_file(fd, source, facts, room), use)


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
    length = facts.size
    if wanted is not None or options.offset:
        _, length = bounded(options.offset, wanted, length)
    region = Region.of_file(fd, source, length, options.capacity)
    try:
        source.note_end(fd, region.address, length)
        _prepare(region)
        return region
    except BaseException:
        close_source(source, WhenInUse.KEEP)
        raise


def _prepare(region: Region) -> None:
    """Do with new memory what the options ask for."""
    options = region.source.options
    if options.prepares:
        apply_options(region)
    if options.flush_policy is not None:
        follow_policy(region)
