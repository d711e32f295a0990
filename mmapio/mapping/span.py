"""Span of a mapping: a range of its bytes, held open, checked, and looked at for losses."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from .._os import Advice
from .._validation import Bytes, Progress, as_flag, as_progress, bounded
from ..errors import ClosedError, FileError, file_error
from ..files.closing import close_file
from ..guard.lost_memory import any_loss, raise_if_part_lost
from ..modes import Access
from .flushing import check_flushes, flush_range, note_write
from .losses import check_file, recover
from .page_advice import (
    advise_pages,
    in_huge_pages,
    prefetch_pages,
    punch_pages,
    release_pages,
)
from .page_locks import lock_pages, unlock_pages
from .region import Region, newest_place, raise_read_only
from .resizing import check_unused, follow_file, resize_source
from .source import Source

if TYPE_CHECKING:
    from ..pagecache.residency import Residency

__all__ = ["Hold", "Span"]

H = TypeVar("H", bound="Hold")
P = ParamSpec("P")
R = TypeVar("R")


def _held(method: Callable[Concatenate[H, P], R]) -> Callable[Concatenate[H, P], R]:
    """Run a method while nobody closes or resizes the mapping, and look for losses at its end.

    The lock is taken here and not by an `__enter__` of our own, in which an interrupt could come
    between any two instructions, and leave it locked.
    """

    @functools.wraps(method)
    def holding(self: H, *args: P.args, **kwargs: P.kwargs) -> R:
        source = self.source
        if source.busy or source.syncing:
            source.stop_copying()  # as may be a call that a signal handler has interrupted
        with source.lock:
            self._look()
            try:
                result = method(self, *args, **kwargs)
            except OSError as error:
                if isinstance(error, FileError):
                    raise
                doing = method.__name__.strip("_").replace("_", " ")
                raise file_error(error, doing, source.path) from error
            if any_loss():
                self._look_for_losses()
            return result

    return cast(Callable[Concatenate[H, P], R], holding)


class Hold:
    """A mapping, each method of which holds it: nobody closes or resizes it meanwhile.

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

    def _look(self) -> None:
        """Look where the mapping lies, once; raise if it is closed."""
        source = self.source
        if source.closed:
            raise ClosedError(f"the mapping of {source.name} is closed")
        self.region = self._region or newest_place(source)

    def _look_for_losses(self) -> None:
        """Raise if memory that was asked for was lost: none was."""

    @_held
    def check_open(self) -> None:
        """Raise if the mapping is closed."""

    @_held
    def bytes(self) -> Bytes:
        """Return all of the memory as an array, with its room to grow."""
        return self.region.bytes()

    @_held
    def capacity(self) -> int:
        """Return the bytes up to which the mapping can grow in place."""
        return self.region.capacity

    @_held
    def is_guarded(self) -> bool:
        """Return whether a loss of the file becomes an error here, and not the process's end."""
        return self.region.row != 0

    @_held
    def is_written_back(self) -> bool:
        """Return whether what is stored goes to a file, so that there is something to flush."""
        return self._is_written_back()

    def _is_written_back(self) -> bool:
        return self.region.access is Access.WRITE and self.source.has_file

    @_held
    def is_hugepage_backed(self) -> bool | None:
        """Return whether any of the mapping is in huge pages; None where nobody knows."""
        return in_huge_pages(self.region)

    @_held
    def descriptor(self) -> int:
        """Return a descriptor of the file that is the mapping's own."""
        return self.source.descriptor()

    def detach(self, close: Callable[[], object]) -> int:
        """Return a descriptor of the file for the caller, once `close` has closed the mapping."""
        own = self._duplicate()
        try:
            close()  # without the lock: it may flush
        except BaseException:
            close_file(own)
            raise
        return own

    @_held
    def _duplicate(self) -> int:
        with self.source.opened() as fd:
            return os.dup(fd)

    @_held
    def handle(self, make: Callable[[Region], Any]) -> Any:
        """Return the handle that users hold of the mapping; if nobody does, make one."""
        found = self.source.handle()
        return make(newest_place(self.source)) if found is None else found

    @_held
    def check_unused(self, size: int) -> None:
        """Refuse to resize under arrays that would not follow."""
        check_unused(self.source, self.region, size)

    def resize(self, size: int, force: bool) -> None:
        """Grow or shrink the file, and the mapping with it."""
        self.source.check_unused_here()
        self._resize(size, as_flag(force, "force"))

    @_held
    def _resize(self, size: int, force: bool) -> None:
        resize_source(self.source, self.region, size, force)

    @_held
    def follow(self, size: int) -> None:
        """Reach to where the file was grown or cut by other means."""
        follow_file(self.source, self.region, size)

    @_held
    def recover(self) -> int:
        """Remap lost pages from the file; return how many bytes of memory that was."""
        return recover(self.source)


class Span(Hold):
    """A range of a mapping's bytes, each method of which holds, checks and works on it.

    Together with `Hold` this alone takes the lock of a mapping, looks at where it lies and how long
    it is, refuses what is closed or out of bounds, and looks for losses at the end. So whatever
    works on a range of a mapping is a method here, and a line wherever users reach it.

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
        self.source = source  # not by `super`: this is on the way of every call
        self._region = region
        self._offset = offset
        self._length = length

    def _look(self) -> None:
        Hold._look(self)
        self.start, self.length = bounded(self._offset, self._length, self.region.size)

    def _look_for_losses(self) -> None:
        raise_if_part_lost(self.region, self.start, self.start + self.length)

    @_held
    def check_lost(self) -> None:
        """Raise if the guard has met a loss in the range."""

    @_held
    def check(self) -> None:
        """Raise if a part of the range was lost."""
        self._check()

    def _check(self) -> None:
        stop = min(self.start + self.length, self.region.size)
        raise_if_part_lost(self.region, self.start, stop)
        if not self.source.is_changing:  # else the call that this interrupts has yet to settle it
            check_file(self.region, self.start, stop)

    # Durability -----------------------------------------------------------------------------------

    @_held
    def check_writable(self) -> None:
        """Raise if the range cannot be stored to, or if a flush of it has failed."""
        if self.region.access is Access.READ:
            raise_read_only(self.region)
        check_flushes(self.source)

    def mark_dirty(self) -> None:
        """Note that the range was stored to through an array."""
        self.check_writable()
        note_write(self.region, self.start, self.length)

    def flush(self, wait: bool) -> None:
        """Write what was stored to the drive; others may use the mapping while this waits."""
        if wait is not True:
            wait = as_flag(wait, "wait")
        if not self.is_written_back():
            return
        is_unchanged = flush_range(self.region, self.start, self.length, wait)
        if not is_unchanged or any_loss():
            self.check_flushed(wait)

    def check_flushed(self, wait: bool) -> None:
        """Raise if a part of the range was lost, unless somebody has closed the mapping since."""
        if self.source.busy or self.source.syncing:
            self.source.stop_copying()
        with self.source.lock:
            if not self.source.closed:  # by somebody who has waited for a flush
                self._look()
                if wait:
                    self._check()
                else:
                    self._look_for_losses()

    # Pages ----------------------------------------------------------------------------------------

    @_held
    def advise(self, advice: Advice, force: bool) -> None:
        """Give advice on the range; no advice costs data."""
        insists = as_flag(force, "force")
        advise_pages(self.region, self.start, self.length, advice, force=insists)

    @_held
    def prefetch(self) -> None:
        """Start to read the range into memory."""
        prefetch_pages(self.region, self.start, self.length)

    def release(self, evict: bool) -> None:
        """Take the range out of this process, or out of the page cache as well."""
        if as_flag(evict, "evict") and self.is_written_back():
            flush_range(self.region, self.start, self.length, True)
        self._release(evict)

    @_held
    def _release(self, evict: bool) -> None:
        release_pages(self.region, self.start, self.length, evict)

    def punch_hole(self) -> None:
        """Let the range read zeros, and give its blocks back."""
        self._punch_hole()
        note_write(self.region, self.start, self.length)

    @_held
    def _punch_hole(self) -> None:
        punch_pages(self.region, self.start, self.length)

    @_held
    def lock(self, force: bool, progress: Progress | None) -> None:
        """Keep the range in memory."""
        force, progress = as_flag(force, "force"), as_progress(progress)
        lock_pages(self.region, self.start, self.length, force=force, progress=progress)

    @_held
    def unlock(self) -> None:
        """Let the system take the range out of memory again."""
        unlock_pages(self.region, self.start, self.length)

    @_held
    def touch(self, write: bool, threads: int | None, force: bool) -> int:
        """Map every page of the range; return how many there are."""
        from ..kernels import touch_pages

        data = self.region.bytes()[self.start : self.start + self.length]
        return touch_pages(data, write=write, threads=threads, force=force)

    @_held
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
