"""Locks on the pages of a mapping: taken piece by piece, and undone if they are not all had."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Final

from .. import _os
from .._pacing import SMALL_BYTES, paced
from .._validation import Progress
from ..errors import FileError, file_error
from ..guard.lost_memory import raise_if_part_lost
from ..pagecache.memory_room import bytes_to_come, check_room
from .losses import fault_error
from .region import Region
from .source import Source

__all__ = ["lock_pages", "unlock_pages"]

_IN_MEMORY_ONLY: Final = ("tmpfs", "ramfs", "hugetlbfs", "devtmpfs")
_INSTEAD: Final = "lock a part of it, or all with lock(force=True)"
_UNLOCK_BYTES: Final = 1 << 30

Bounds = tuple[int, int]


def lock_pages(
    region: Region,
    start: int,
    length: int,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> None:
    """Keep the pages that hold a range in memory; on failure, they are as they were."""
    if length == 0:
        return
    address, nbytes = region.whole_pages(start, length)
    held = _held_before(region, address, nbytes)
    if not force:
        _check_room(region, address, nbytes, "lock")
    stop = address
    try:
        for low, high in paced(address, address + nbytes):
            if progress is not None:
                progress(low - address, nbytes)
            if not force and low > address:  # others may have taken the memory meanwhile
                _check_room(region, low, high - low, "lock another")
            stop = high
            try:
                _os.lock(low, high - low)
            except OSError as error:
                if _is_locked(low, high):  # but could not be read in
                    raise _unreadable(region, low, high, error) from error
                stop = low
                raise _over_limit(region, length, error) from error
        if progress is not None:
            progress(nbytes, nbytes)
    except BaseException:
        _undo(address, stop, held)
        raise
    raise_if_part_lost(region, start, start + length)


def unlock_pages(region: Region, start: int, length: int) -> None:
    """Let the system take the pages that hold a range."""
    if length == 0:
        return
    address, nbytes = region.whole_pages(start, length)
    try:
        for low, high in paced(address, address + nbytes, _UNLOCK_BYTES):
            _os.unlock(low, high - low)
    except OSError as error:
        raise file_error(error, f"unlock {length} bytes", region.source.path) from error


def _held_before(region: Region, address: int, nbytes: int) -> list[Bounds]:
    """Return the parts of a range that are locked; raise if no more of it may be.

    A range that a single call locks is left to the system: that refuses before it begins.
    """
    if nbytes <= SMALL_BYTES:
        return []
    limit, held = _os.lock_limit(), list[Bounds]()
    if limit.locked:
        areas = (area for area in _os.smaps(address, nbytes) if "lo" in area.flags)
        held = [(max(a.low, address), min(a.high, address + nbytes)) for a in areas]
    more = nbytes - sum(high - low for low, high in held)
    if limit.nbytes is not None and limit.locked + more > limit.nbytes:
        code = errno.ENOMEM if limit.nbytes else errno.EPERM  # as the system has it
        raise _over_limit(region, nbytes, OSError(code, os.strerror(code)))
    return held


def _over_limit(region: Region, nbytes: int, error: OSError) -> FileError:
    limit = _os.lock_limit()
    used = f", {limit.locked} of which are locked" if limit.locked else ""
    told = f"this process may lock {limit.nbytes} bytes in all{used}; {limit.how_to_raise}"
    hint = "" if limit.nbytes is None else told
    return file_error(error, f"lock {nbytes} bytes in memory", region.source.path, hint)


def _check_room(region: Region, address: int, nbytes: int, doing: str) -> None:
    """Raise if a range cannot be kept in memory with all else that needs some."""
    source, first = region.source, address - region.address

    def to_come() -> int:
        return bytes_to_come(address, nbytes, counts_cached=_is_in_memory_only(source))

    def instead() -> str:
        with contextlib.suppress(OSError, FileError):
            if source.has_file and source.has_hole(source.offset + first, source.offset + nbytes):
                return f"its holes become pages, too; {_INSTEAD}"
        return _INSTEAD

    check_room(nbytes, doing, instead, to_come)


def _is_in_memory_only(source: Source) -> bool:
    """Return whether what is in memory is not in a page cache that could be dropped."""
    with contextlib.suppress(OSError, FileError):
        if source.has_file:
            with source.opened() as fd:
                return _os.file_system(fd) in _IN_MEMORY_ONLY
    return not source.has_file


def _is_locked(low: int, high: int) -> bool:
    areas = _os.smaps(low, high - low)
    return bool(areas) and all("lo" in area.flags for area in areas)


def _unreadable(region: Region, low: int, high: int, error: OSError) -> FileError:
    start, stop = max(low - region.address, 0), high - region.address
    if error.errno == errno.ENOMEM:
        return fault_error(region, start, stop, False)
    return file_error(error, f"lock {stop - start} bytes in memory", region.source.path)


def _undo(start: int, stop: int, held: list[Bounds]) -> None:
    """Unlock a range but for what was locked before, however often Ctrl-C is pressed."""
    interrupt = None
    gaps = list(_gaps(start, stop, held))
    while gaps:
        try:
            for low, high in paced(*gaps[-1], _UNLOCK_BYTES):
                with contextlib.suppress(OSError):
                    _os.unlock(low, high - low)
            gaps.pop()
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


def _gaps(start: int, stop: int, held: list[Bounds]) -> Iterator[Bounds]:
    for low, high in (*held, (stop, stop)):
        if start < min(low, stop):
            yield start, min(low, stop)
        start = max(start, high)
