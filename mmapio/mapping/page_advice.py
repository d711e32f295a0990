"""Advice on the pages of a mapping, locks on them, and giving them back.

The caller keeps the mapping open. All of it works on whole pages. What loses nothing takes every
page that holds a byte of the range; what does, which is `punch_pages` alone, changes no byte
outside of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import weakref
from typing import Final

from .. import _os
from .._os import Advice
from .._validation import round_down, round_up, steps
from ..errors import FileError, MmapioError, UnsupportedError, file_error
from ..guard.lost_memory import raise_if_part_lost
from ..modes import Access
from .flushing import flush_range, note_write
from .losses import fault_error
from .options import MapOptions
from .region import Region, raise_read_only
from .source import Source

__all__ = [
    "advise_pages",
    "apply_options",
    "extend_options",
    "in_huge_pages",
    "lock_pages",
    "prefetch_pages",
    "punch_pages",
    "release_pages",
    "unlock_pages",
]

# A larger range is read in by a thread: the system lets whoever asks for much wait for the drive.
_AT_ONCE_BYTES: Final = 1 << 20

_SPEED: Final = "do without: it only makes things faster"
_INSTEAD: Final = {
    Advice.COLD: "release() takes pages from this process at once",
    Advice.DONTNEED: "close the mapping to give its memory back",
    Advice.PAGEOUT: "release(evict=True) drops what is in a file",
    Advice.POPULATE_READ: "touch_pages() does the same",
    Advice.POPULATE_WRITE: "touch_pages(write=True) does the same",
    Advice.DONTFORK: "start processes by 'spawn', which hands on no memory",
    Advice.DOFORK: "open the file by its path in the other process",
}
# Advice that is given once, and holds for pages that are not there yet.
_LASTING: Final = frozenset(
    {
        Advice.NORMAL,
        Advice.RANDOM,
        Advice.SEQUENTIAL,
        Advice.HUGEPAGE,
        Advice.NOHUGEPAGE,
        Advice.DONTFORK,
        Advice.DOFORK,
        Advice.MERGE,
        Advice.UNMERGE,
    }
)
_HUGE_FIELDS: Final = (
    "AnonHugePages",
    "ShmemPmdMapped",
    "FilePmdMapped",
    "Shared_Hugetlb",
    "Private_Hugetlb",
)


def apply_options(region: Region) -> None:
    """Apply the options to new memory; raise at the first that fails."""
    options = region.source.options
    if not options.prepares:
        return
    _advise_lasting(region, options, 0)
    if options.advise is not None and options.advise not in _LASTING:
        advise_pages(region, 0, region.size, options.advise)
    if options.touch:
        from ..kernels import touch_pages

        touch_pages(region.bytes()[: region.size])
        if options.hugepages:
            with contextlib.suppress(MmapioError):
                advise_pages(region, 0, region.size, Advice.COLLAPSE)
    if options.lock:
        lock_pages(region, 0, region.size)


def extend_options(region: Region, old: int, new: int) -> None:
    """Apply the options that last to memory that a resize has added."""
    options = region.source.options
    if new > old and options.prepares:
        _advise_lasting(region, options, old)
        if options.lock:
            lock_pages(region, old, new - old)


def _advise_lasting(region: Region, options: MapOptions, start: int) -> None:
    """Give the advice that lasts, on all the room that there is from a byte on."""
    length = region.capacity - start
    if options.hugepages:
        # A wish: what the system cannot do costs speed and nothing else.
        with contextlib.suppress(MmapioError):
            advise_pages(region, start, length, Advice.HUGEPAGE)
    if options.advise is not None and options.advise in _LASTING:
        advise_pages(region, start, length, options.advise)


def advise_pages(region: Region, start: int, length: int, advice: Advice) -> None:
    """Give advice on the pages that hold a range; never does it cost data."""
    if advice is Advice.DONTNEED:
        release_pages(region, start, length)
    elif advice is Advice.WILLNEED:
        prefetch_pages(region, start, length)
    elif advice is Advice.POPULATE_WRITE and region.access is Access.READ:
        raise_read_only(region)
    elif length:
        _advise(region, start, length, advice)


def _advise(region: Region, start: int, length: int, advice: Advice) -> None:
    try:
        _os.advise(*region.whole_pages(start, length), advice)
    except OSError as error:
        if error.errno == errno.EFAULT:
            writing = advice is Advice.POPULATE_WRITE
            raise fault_error(region, start, start + length, writing) from error
        raise _refusal(region, start, length, advice, error) from error
    raise_if_part_lost(region, start, start + length)


def _refusal(
    region: Region, start: int, length: int, advice: Advice, error: OSError
) -> FileError | UnsupportedError:
    """Return the error for advice that the system did not take."""
    name, source = advice.name.lower(), region.source
    if error.errno not in (errno.EINVAL, errno.ENOTSUP):
        return file_error(error, f"advise {name!r} on {length} bytes at {start}", source.path)
    if any("lo" in area.flags for area in _os.smaps(*region.whole_pages(start, length))):
        return UnsupportedError(
            f"{_platform()} takes no advice {name!r} on memory that is locked; unlock() that of "
            f"{source.name} first"
        )
    return UnsupportedError(
        f"{_platform()} takes no advice {name!r} on the mapping of {source.name}; "
        f"{_INSTEAD.get(advice, _SPEED)}"
    )


def _platform() -> str:
    """Return what to call this system in a message."""
    if sys.platform == "linux":
        return f"Linux {os.uname().release}"
    return {"darwin": "macOS", "win32": "Windows"}.get(sys.platform, sys.platform)


def prefetch_pages(region: Region, start: int, length: int) -> None:
    """Start to read in the pages that hold a range, without waiting for any."""
    source = region.source
    if length == 0:
        return
    if not source.has_file or _os.PREFETCH_BYTES == 0:
        _advise(region, start, length, Advice.WILLNEED)
        return
    low, high = _in_file(region, start, length)
    with source.opened() as fd:
        if high - low <= _AT_ONCE_BYTES or not _start_reading(fd, low, high, source):
            _read_ahead(fd, low, min(high, low + _AT_ONCE_BYTES))


def _in_file(region: Region, start: int, length: int) -> tuple[int, int]:
    """Return where in the file the pages begin and end that hold a range."""
    low = region.source.offset + start
    return round_down(low, _os.PAGE_SIZE), round_up(low + length, _os.PAGE_SIZE)


def _read_ahead(fd: int, low: int, high: int) -> None:
    # It only makes things faster: what the system does not read ahead is read when it is used.
    with contextlib.suppress(OSError):
        for start, stop in steps(low, high, _os.PREFETCH_BYTES):
            _os.prefetch(fd, start, stop - start)


def _start_reading(fd: int, low: int, high: int, source: Source) -> bool:
    """Let a thread read a range ahead; tell whether this process can have one."""
    own = None
    try:
        own = os.dup(fd)
        what = own, low, high, weakref.ref(source)
        threading.Thread(target=_read_behind, args=what, daemon=True).start()
    except (OSError, RuntimeError):  # so many descriptors or threads are there already
        if own is not None:
            os.close(own)
        return False
    return True


def _read_behind(fd: int, low: int, high: int, of: weakref.ref[Source]) -> None:
    """Read a range ahead in a thread, as long as its mapping is there."""
    try:
        for start, stop in steps(low, high, _AT_ONCE_BYTES):
            source = of()
            if source is None or source.closed:
                return
            del source
            _read_ahead(fd, start, stop)
    finally:
        os.close(fd)


def release_pages(region: Region, start: int, length: int, evict: bool = False) -> None:
    """Take the pages that hold a range out of this process, or out of the cache as well."""
    if length == 0:
        return
    source = region.source
    if not evict or not source.has_file:
        # Private memory would lose with DONTNEED what was stored in it.
        out = evict or region.access is Access.COPY
        _advise(region, start, length, Advice.PAGEOUT if out else Advice.DONTNEED)
        return
    _write_first(region, start, length)
    with source.opened() as fd:
        release_pages(region, start, length)
        low, high = _in_file(region, start, length)
        try:
            _os.drop_cached(fd, low, high - low)
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                raise UnsupportedError(
                    f"{_platform()} drops nothing from its page cache when it is asked to; "
                    "release() without evict=True takes pages from this process"
                ) from error
            raise file_error(error, f"evict {length} bytes at {start}", source.path) from error


def _write_first(region: Region, start: int, length: int) -> None:
    """Write what is dirty, by whomever it was stored: only what is clean can be dropped."""
    if region.access is Access.WRITE:
        flush_range(region, start, length, True)
        return
    with region.source.opened() as fd:
        try:
            _os.sync_data(fd)  # msync writes nothing for a mapping that cannot be stored to
        except OSError as error:
            doing = f"write {length} bytes at {start} before they are dropped"
            raise file_error(error, doing, region.source.path) from error


def punch_pages(region: Region, start: int, length: int) -> None:
    """Let a range read zeros, and give back the blocks, or the memory, that lie in it."""
    source = region.source
    if region.access is Access.READ:
        raise_read_only(region)
    if region.access is Access.COPY:
        raise UnsupportedError(
            f"the mapping of {source.name} is a private copy, which has no blocks; store zeros"
        )
    if length == 0:
        return
    if not source.has_file:
        _punch_memory(region, start, length)
        return
    with source.opened() as fd:
        try:
            _os.punch_hole(fd, source.offset + start, length)
        except OSError as error:
            if error.errno in (errno.ENOTSUP, errno.ENOSYS):
                raise UnsupportedError(
                    f"{_platform()} punches no holes into {source.name}, or its file system does "
                    "not; store zeros"
                ) from error
            raise file_error(error, f"punch {length} bytes at {start}", source.path) from error
        source.forget_end()
    note_write(region, start, length)


def _punch_memory(region: Region, start: int, length: int) -> None:
    """Let a range of memory that has no file read zeros; only its whole pages are given back."""
    data, stop = region.bytes(), start + length
    low = min(round_up(region.address + start, _os.PAGE_SIZE) - region.address, stop)
    high = max(round_down(region.address + stop, _os.PAGE_SIZE) - region.address, low)
    try:
        if low < high:
            _os.advise(region.address + low, high - low, Advice.REMOVE)
    except OSError:  # the system has no such advice, or the pages are locked
        high = low
    data[start:low] = 0
    data[high:stop] = 0


def lock_pages(region: Region, start: int, length: int) -> None:
    """Keep the pages that hold a range in memory; on failure, they are as they were."""
    if length == 0:
        return
    pages = region.whole_pages(start, length)
    try:
        _os.lock(*pages)
    except OSError as error:
        raise _not_locked(region, start, length, error) from error
    raise_if_part_lost(region, start, start + length)


def _not_locked(region: Region, start: int, length: int, error: OSError) -> FileError:
    """Return the error for a lock that failed, and undo what there is of it."""
    pages = region.whole_pages(start, length)
    areas = _os.smaps(*pages)
    limit, hint = _os.lock_limit(), ""
    if areas and all("lo" in area.flags for area in areas):
        _os.unlock(*pages)  # they are locked, but could not be read in
        if error.errno == errno.ENOMEM:
            return fault_error(region, start, start + length, False)
    elif limit.nbytes is not None:
        hint = f"this process may lock {limit.nbytes} bytes in all; {limit.how_to_raise}"
    return file_error(error, f"lock {length} bytes in memory", region.source.path, hint)


def unlock_pages(region: Region, start: int, length: int) -> None:
    """Let the system take the pages that hold a range."""
    if length == 0:
        return
    try:
        _os.unlock(*region.whole_pages(start, length))
    except OSError as error:
        raise file_error(error, f"unlock {length} bytes", region.source.path) from error


def in_huge_pages(region: Region) -> bool | None:
    """Return whether any of a mapping is in huge pages; None where the system cannot say."""
    areas = _os.smaps(*region.whole_pages(0, max(region.capacity, 1)))
    if not areas:
        return None
    return any(area.fields.get(name, 0) for area in areas for name in _HUGE_FIELDS)
