"""Span of a mapping: a range of its bytes, held open, checked, and looked at for losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from .._os import Advice
from .._validation import Bytes, bounded
from ..errors import ClosedError
from ..guard.lost_memory import any_loss, raise_if_part_lost
from ..modes import Access
from .flushing import check_flushes, flush_range, note_write
from .losses import check_file, recover
from .page_advice import (
    advise_pages,
    in_huge_pages,
    lock_pages,
    prefetch_pages,
    punch_pages,
    release_pages,
    unlock_pages,
)
from .region import Region, newest_place, raise_read_only
from .resizing import check_unused, follow_file, resize_source
from .source import Source

if TYPE_CHECKING:
    from ..pagecache.residency import Residency

__all__ = ["Hold", "Span"]


class Hold:
    """A mapping held open, for a ``with`` block: nobody closes or resizes it meanwhile.

    Parameters
    ----------
    source : Source
        The mapping.
    region : Region, optional
        The memory, for an array that may lie in a place that the mapping has moved from; the newest
        if left out.
    """

    __slots__ = ("_region", "region", "source")

    def __init__(self, source: Source, region: Region | None = None) -> None:
        self.source = source
        self._region = region

    def __enter__(self) -> Self:
        source = self.source
        source.lock.acquire()
        try:
            if source.closed:
                raise ClosedError(f"the mapping of {source.name} is closed")
            self.region = self._region or newest_place(source)
        except BaseException:
            source.lock.release()
            raise
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.source.lock.release()

    @property
    def has_file(self) -> bool:
        """True if there is a file, so that a store may have to wait for a drive."""
        return self.source.has_file

    @property
    def is_written_back(self) -> bool:
        """True if what is stored goes to a file, so that there is something to flush."""
        return self.region.access is Access.WRITE and self.source.has_file

    @property
    def is_guarded(self) -> bool:
        """True if a loss of the file becomes an error here, rather than the process's end."""
        return self.region.row != 0

    @property
    def capacity(self) -> int:
        """Bytes up to which the mapping can grow in place."""
        return self.region.capacity

    def is_hugepage_backed(self) -> bool | None:
        """Return whether any of the mapping is in huge pages; None where nobody knows."""
        return in_huge_pages(self.region)

    def bytes(self) -> Bytes:
        """Return all of the memory as an array, with its room to grow."""
        return self.region.bytes()

    def check_unused(self, size: int) -> None:
        """Refuse to resize under arrays that would not follow."""
        check_unused(self.source, self.region, size)

    def resize(self, size: int, force: bool) -> None:
        """Grow or shrink the file, and the mapping with it."""
        resize_source(self.source, self.region, size, force)

    def follow(self, size: int) -> None:
        """Reach to where the file was grown or cut by other means."""
        follow_file(self.source, self.region, size)

    def recover(self) -> int:
        """Map the file again over what was lost; return how many bytes of memory that was."""
        return recover(self.source)


class Span(Hold):
    """A range of a mapping's bytes, held open, checked, and looked at for losses at the end.

    Together with `Hold` this alone takes the lock of a mapping, looks at where it lies and how long
    it is, and refuses what is closed or out of bounds. So whatever works on a range of a mapping is
    a method here, and a line wherever users reach it.

    Parameters
    ----------
    source : Source
        The mapping.
    offset, length : int, optional
        The range in bytes, as users gave it; all of it if left out.
    region : Region, optional
        As for `Hold`.
    """

    __slots__ = ("_length", "_offset", "length", "start")

    def __init__(
        self,
        source: Source,
        offset: object = 0,
        length: object = None,
        region: Region | None = None,
    ) -> None:
        super().__init__(source, region)
        self._offset = offset
        self._length = length

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.start, self.length = bounded(self._offset, self._length, self.region.size)
        except BaseException:
            self.source.lock.release()
            raise
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            if error is None and any_loss():
                raise_if_part_lost(self.region, self.start, self.start + self.length)
        finally:
            self.source.lock.release()

    # Reading and writing --------------------------------------------------------------------------

    def mark_dirty(self) -> None:
        """Note that the range was stored to through an array."""
        if self.region.access is Access.READ:
            raise_read_only(self.region)
        check_flushes(self.source)
        note_write(self.region, self.start, self.length)

    def flush(self, wait: bool) -> None:
        """Write what was stored to the drive; others may use the mapping while this waits."""
        region, source = self.region, self.source
        if not self.is_written_back:
            return
        source.lock.release()
        try:
            flush_range(region, self.start, self.length, wait)
        finally:
            source.lock.acquire()
        if wait and not source.closed:  # by somebody who has waited for this
            end = min(self.start + self.length, region.size)
            raise_if_part_lost(region, self.start, end)
            check_file(region, self.start, end)

    def check(self) -> None:
        """Raise if a part of the range was lost."""
        raise_if_part_lost(self.region, self.start, self.start + self.length)
        check_file(self.region, self.start, self.start + self.length)

    # Pages ----------------------------------------------------------------------------------------

    def advise(self, advice: Advice) -> None:
        """Give advice on the range; no advice costs data."""
        advise_pages(self.region, self.start, self.length, advice)

    def prefetch(self) -> None:
        """Start to read the range into memory."""
        prefetch_pages(self.region, self.start, self.length)

    def release(self, evict: bool) -> None:
        """Take the range out of this process, or out of the page cache as well."""
        release_pages(self.region, self.start, self.length, evict)

    def punch_hole(self) -> None:
        """Let the range read zeros, and give its blocks back."""
        punch_pages(self.region, self.start, self.length)

    def lock(self) -> None:
        """Keep the range in memory."""
        lock_pages(self.region, self.start, self.length)

    def unlock(self) -> None:
        """Let the system take the range out of memory again."""
        unlock_pages(self.region, self.start, self.length)

    def residency(self, buckets: int | None) -> Residency:
        """Report how much of the range is in memory."""
        from ..pagecache.residency import residency_of_memory  # slow to import

        region, source = self.region, self.source
        return residency_of_memory(
            region.address + self.start,
            self.length,
            buckets,
            path=source.path,
            offset=source.offset + self.start,
            opened=source.opened if source.has_file else None,
        )
