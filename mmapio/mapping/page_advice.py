"""Advice on the pages of a mapping, and giving them back.

The caller keeps the mapping open. All of it works on whole pages. What loses nothing takes every
page that holds a byte of the range; what does, which is `punch_pages` alone, changes no byte
outside of it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
import threading
import weakref
from typing import Final

from .. import _os
from .._os import Advice
from .._pacing import paced
from .._validation import round_down, round_up, steps
from ..errors import FileError, MmapioError, UnsupportedError, file_error
from ..files.closing import close_file
from ..files.writeback import write_back
from ..guard.lost_memory import raise_if_part_lost
from ..modes import Access
from ..pagecache.memory_hints import drop_cached
from ..pagecache.memory_room import bytes_to_come, check_room
from .losses import fault_error
from .options import MapOptions
from .page_locks import lock_pages
from .region import Region, raise_read_only
from .source import Source

__all__ = [
    "advise_pages",
    "apply_options",
    "extend_options",
    "in_huge_pages",
    "prefetch_pages",
    "punch_pages",
    "release_pages",
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
# Advice on which the system acts at once, on every page, and not when these are used.
_ACTING: Final = frozenset(
    {
        Advice.WILLNEED,
        Advice.DONTNEED,
        Advice.COLD,
        Advice.PAGEOUT,
        Advice.POPULATE_READ,
        Advice.POPULATE_WRITE,
        Advice.COLLAPSE,
        Advice.UNMERGE,
        Advice.REMOVE,
    }
)
_BRINGING: Final = (Advice.POPULATE_READ, Advice.POPULATE_WRITE)
_SMALLER: Final = "bring in a part of it, or all with advise(..., force=True)"
_GIVING_BYTES: Final = 1 << 30  # at a time: to give blocks back takes less than to read them
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


def advise_pages(
    region: Region, start: int, length: int, advice: Advice, *, force: bool = False
) -> None:
    """Give advice on the pages that hold a range; never does it cost data.

    What is to be brought in must fit into memory, unless `force` is set.
    """
    if advice is Advice.DONTNEED:
        release_pages(region, start, length)
    elif advice is Advice.WILLNEED:
        prefetch_pages(region, start, length)
    elif advice is Advice.POPULATE_WRITE and region.access is Access.READ:
        raise_read_only(region)
    elif length:
        if advice in _BRINGING and not force:
            address, nbytes = region.whole_pages(start, length)
            writing = advice is Advice.POPULATE_WRITE
            come = functools.partial(bytes_to_come, address, nbytes, writing=writing)
            check_room(nbytes, "bring in", lambda: _SMALLER, come)
        _advise(region, start, length, advice)


def _advise(region: Region, start: int, length: int, advice: Advice) -> None:
    address, nbytes = region.whole_pages(start, length)
    if advice in _ACTING:
        pieces = paced(address, address + nbytes)
    else:  # a mark on the whole range, which pieces would cut up for a while
        pieces = iter([(address, address + nbytes)])
    failure = None
    for low, high in pieces:
        try:
            _os.advise(low, high - low, advice)
        except OSError as error:
            if error.errno == errno.EFAULT:
                first, writing = low - region.address, advice is Advice.POPULATE_WRITE
                stop = first + high - low
                raise fault_error(region, max(first, start), stop, writing) from error
            failure = error
            if advice is not Advice.COLLAPSE:  # of which the rest may still be done
                break
    if failure is not None:
        raise _refusal(region, start, length, advice, failure) from failure
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
            close_file(own)
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
        close_file(fd)


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
    if region.access is not Access.WRITE:  # else it was flushed before the lock was taken
        _write_first(region, start, length)
    with source.opened() as fd:
        release_pages(region, start, length)
        low, high = _in_file(region, start, length)
        try:
            drop_cached(fd, low, high)
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                raise UnsupportedError(
                    f"{_platform()} drops nothing from its page cache when it is asked to; "
                    "release() without evict=True takes pages from this process"
                ) from error
            raise file_error(error, f"evict {length} bytes at {start}", source.path) from error


def _write_first(region: Region, start: int, length: int) -> None:
    """Write what others have stored: only what is clean can be dropped."""
    with region.source.opened() as fd:
        write_back(fd, *_in_file(region, start, length))
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
        low = source.offset + start
        try:
            for at, stop in paced(low, low + length, _GIVING_BYTES):
                _os.punch_hole(fd, at, stop - at)
                source.forget_end()
        except OSError as error:
            if error.errno in (errno.ENOTSUP, errno.ENOSYS):
                raise UnsupportedError(
                    f"{_platform()} punches no holes into {source.name}, or its file system does "
                    "not; store zeros"
                ) from error
            raise file_error(error, f"punch {length} bytes at {start}", source.path) from error
        except BaseException:  # Ctrl-C, which leaves a hole behind
            source.forget_end()
            raise


def _punch_memory(region: Region, start: int, length: int) -> None:
    """Let a range of memory that has no file read zeros; only its whole pages are given back."""
    data, stop = region.bytes(), start + length
    low = min(round_up(region.address + start, _os.PAGE_SIZE) - region.address, stop)
    high = max(round_down(region.address + stop, _os.PAGE_SIZE) - region.address, low)
    try:
        if low < high:
            for at, end in paced(region.address + low, region.address + high, _GIVING_BYTES):
                _os.advise(at, end - at, Advice.REMOVE)
    except OSError:  # the system has no such advice, or the pages are locked
        high = low
    data[start:low] = 0
    data[high:stop] = 0


def in_huge_pages(region: Region) -> bool | None:
    """Return whether any of a mapping is in huge pages; None where the system cannot say."""
    areas = _os.smaps(*region.whole_pages(0, max(region.capacity, 1)))
    if not areas:
        return None
    return any(area.fields.get(name, 0) for area in areas for name in _HUGE_FIELDS)
