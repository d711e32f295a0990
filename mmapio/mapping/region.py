"""One span of mapped memory: its address, its length, its lifetime, and the arrays over it.

Every array over a mapping has, at the root of its chain of bases, the one `Region` that owns the
memory; so the memory is given back when the last array is gone, and not before::

    Region  <-  bytes (ndarray of uint8 over all of it)  <-  every view
"""

from __future__ import annotations

import enum
import os
import sys
import weakref
from collections.abc import Callable

import numpy as np

from .. import _os, guard
from .._validation import Bytes, as_nbytes, bounded, round_down, round_up
from ..errors import FileError, FlushError, InUseError, file_error
from ..files.descriptors import as_path, open_file, open_or_create, replaced_error
from ..guard import lost_memory
from ..modes import Access, Mode
from .source import Source

__all__ = [
    "Region",
    "WhenInUse",
    "close_region",
    "last_flush",
    "other_references",
    "references_to_bytes",
    "region_of",
    "regions_of",
]


class Region:
    """The owner of a mapped span of whole pages.

    `address` is that of the first byte asked for, `size` how many bytes from there are in use,
    and `capacity` how many can be without mapping anew.
    """

    __slots__ = (
        "__array_interface__",
        "__weakref__",
        "_bytes",
        "_covered_from",
        "_end",
        "_start",
        "access",
        "address",
        "capacity",
        "reached",
        "row",
        "size",
        "source",
        "successor",
    )

    def __init__(
        self, start: int, end: int, address: int, size: int, source: Source, capacity: int
    ) -> None:
        self._start = start
        self._end = end
        self._covered_from = end
        self._bytes: weakref.ref[Bytes] | None = None
        self.address = address
        self.size = size
        self.reached = size  # the largest that `size` has been
        self.capacity = capacity
        self.source = source
        self.successor: Region | None = None  # where the mapping moved to; lives as long as this
        self.access = source.mode.access
        self.row = 0  # of the guard; 0: not guarded
        self.__array_interface__ = {
            "version": 3,
            "data": (address, self.access is Access.READ),
            "shape": (self.capacity,),
            "typestr": "|u1",
        }

    @classmethod
    def of_file(cls, fd: int, source: Source, size: int, capacity: int = 0) -> Region:
        """Map a file from `source.offset` on, which need not be page-aligned."""
        wanted = max(size, capacity) if _os.CAN_MAP_PAST_END else size
        if wanted == 0:
            # The kernel maps no empty file. A page that is nobody's stands in for it; to grow is
            # to move.
            region = cls.of_nothing(source)
            region.capacity = 0
            return region
        lead = source.offset % _os.GRANULARITY
        pages = round_up(lead + wanted, _os.PAGE_SIZE)
        try:
            start = _os.map_file(fd, source.offset - lead, pages, source.mode.access)
        except OSError as error:
            raise file_error(error, f"map {wanted} bytes", source.path) from error
        room = pages - lead if _os.CAN_MAP_PAST_END else size
        region = cls(start, start + pages, start + lead, size, source, room)
        if source.guarded:
            guard.watch(region, start, pages, source.offset - lead)
        return region

    @classmethod
    def of_nothing(
        cls, source: Source, size: int = 0, capacity: int = 0, huge: bool = False
    ) -> Region:
        """Map zeroed memory that forked children share; `huge`: where huge pages can begin."""
        pages = round_up(max(size, capacity, 1), _os.PAGE_SIZE)
        try:
            start = _os.map_anonymous(pages, huge)
        except OSError as error:
            raise file_error(error, f"map {pages} bytes of memory", None) from error
        return cls(start, start + pages, start, size, source, pages)

    @classmethod
    def of_path(
        cls,
        path: object,
        mode: Mode,
        size: int | None = None,
        prefix: bytes = b"",
        *,
        offset: int = 0,
        length: int | None = None,
        capacity: int | str | None = None,
        reserve: bool = True,
        durable: bool = False,
        guarded: bool = True,
        identity: _os.Identity | None = None,
        prepare: Callable[[Region], None] | None = None,
    ) -> Region:
        """Open or create a file, as `MappedFile.open` says, and map it.

        A file that is created has `size` bytes, begins with `prefix`, and is made `durable` on
        request; one that is opened must have the `identity`, if one is given. `prepare` is called
        with the region, before a new file gets its name; if it raises, none does.
        """
        name = as_path(path)
        room = 0 if capacity is None else as_nbytes(capacity, "capacity")
        wanted = (offset, length, room, reserve, guarded, prepare)
        early: list[Region] = []
        if mode.settled is mode and size is None:
            (fd, facts), created = open_file(name, mode), False
        else:
            fd, facts, created = open_or_create(
                name,
                mode,
                size,
                prefix,
                reserve,
                durable,
                lambda size: bounded(offset, length, size),
                None
                if prepare is None
                else lambda fd: early.append(
                    cls._of_open_file(fd, name, mode, _os.identify(fd), True, *wanted)
                ),
            )
        try:
            if identity is not None and facts.identity != identity:
                raise replaced_error(name, "was replaced by another")
            if created and early:
                return early[-1]
            return cls._of_open_file(fd, name, mode, facts, created, *wanted)
        finally:
            os.close(fd)

    @classmethod
    def _of_open_file(
        cls,
        fd: int,
        name: str,
        mode: Mode,
        facts: _os.FileFacts,
        created: bool,
        offset: int,
        length: int | None,
        room: int,
        reserve: bool,
        guarded: bool,
        prepare: Callable[[Region], None] | None,
    ) -> Region:
        start, count = bounded(offset, length, facts.size)
        source = Source(name, mode, start, facts)
        source.reserve = reserve
        source.guarded = guarded
        source.name_is_new = created
        region = cls.of_file(fd, source, count, room)
        if prepare is not None:
            prepare(region)
        return region

    def bytes(self) -> Bytes:
        """Return the one array, while it lives, that all views of this region are made from."""
        found = self._bytes() if self._bytes is not None else None
        if found is None:
            found = np.asarray(self)
            self._bytes = weakref.ref(found)
        return found

    def cover(self, size: int) -> None:
        """Put zero pages over all whole pages past `size`, so that no view can fault there."""
        start = round_up(self.address + size, _os.PAGE_SIZE)
        if start < self._covered_from and self.capacity:
            end, self._covered_from = self._covered_from, start  # first: to undo twice is no harm
            try:
                _os.cover(start, end - start, self.access)
            except OSError as error:
                raise self._error(error, "cover what is cut off") from error

    def cover_all(self) -> None:
        """Put zero pages over everything, the first page too if it is shared with what precedes."""
        try:
            _os.cover(self._start, self._end - self._start, self.access)
        except OSError as error:
            raise self._error(error, "cover the mapping") from error
        self._covered_from = self._start
        self._forget()

    def is_covered(self, size: int) -> bool:
        """Tell whether zero pages lie over a part of the first `size` bytes."""
        return self._covered_from < min(self.address + size, self._end)

    def uncover(self, fd: int, size: int) -> None:
        """Map the file again over what was covered, but no further than the page `size` is in."""
        end = min(round_up(self.address + size, _os.PAGE_SIZE), self._end)
        if self._covered_from < end:
            start, self._covered_from = self._covered_from, end
            offset = self.source.offset + start - self.address
            try:
                _os.map_file_at(fd, offset, start, end - start, self.access)
            except OSError as error:
                raise self._error(error, f"map {end - start} bytes") from error
        if lost_memory.faults[0]:
            self.recover(fd, size)

    @property
    def has_loss(self) -> bool:
        """Whether zeros lie where the file has lost something, which may be there again."""
        return bool(lost_memory.faults[0]) and guard.loss_of(self.row) is not None

    def recover(self, fd: int, size: int) -> int:
        """Map the file again over what was lost, as far as its `size` bytes reach.

        Return how many bytes of memory that is.
        """
        loss = guard.loss_of(self.row)
        if loss is None:
            return 0
        end = min(round_up(self.address + size, _os.PAGE_SIZE), self._covered_from, loss.high)
        if end <= loss.low:
            return 0
        guard.reset(self.row, end, loss.high)  # first: what is lost from here on is noted anew
        offset = self.source.offset + loss.low - self.address
        try:
            _os.map_file_at(fd, offset, loss.low, end - loss.low, self.access)
        except BaseException as error:
            guard.reset(self.row, loss.low, loss.high)
            if isinstance(error, OSError):
                raise self._error(error, f"map {end - loss.low} bytes") from error
            raise
        return end - loss.low

    def _forget(self) -> None:
        row, self.row = self.row, 0
        guard.forget(row)

    def _error(self, error: OSError, doing: str) -> FileError:
        return file_error(error, doing, self.source.path)

    def size_of_pages(self, size: int) -> int:
        """Return up to where the pages reach that hold the first `size` bytes."""
        return min(round_up(self.address + size, _os.PAGE_SIZE) - self.address, self.capacity)

    def whole_pages(self, offset: int, length: int) -> tuple[int, int]:
        """Return the address and the length of the pages that hold a range of bytes."""
        start = round_down(self.address + offset, _os.PAGE_SIZE)
        return start, self.address + offset + length - start

    def give_back(self) -> None:
        """Unmap the memory; no array over it may be alive."""
        start, self._start = self._start, self._end
        if start < self._end:
            self._forget()  # first: what is unmapped may be another's a moment later
            _os.unmap(start, self._end - start)

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # While the interpreter shuts down the modules that unmap may be gone; the kernel unmaps.
        # Ctrl-C can come before `__init__` has set what there is to unmap.
        if not finalizing() and hasattr(self, "row"):
            error = last_flush(self)
            self.give_back()
            if error is not None:
                raise error


class WhenInUse(enum.Enum):
    """What to do about arrays that are alive when their mapping is closed."""

    REFUSE = enum.auto()  # to close
    ZERO = enum.auto()  # their memory, which stays until they go
    KEEP = enum.auto()  # their memory as it is until they go


def close_region(region: Region, when_in_use: WhenInUse, own: int) -> None:
    """Close a mapping; `own` references to its bytes belong to the array that asks for it."""
    error = last_flush(region)
    _close_region(region, when_in_use, own)
    if error is not None:
        raise error


def last_flush(region: Region) -> FlushError | None:
    """Flush what the policy is to, before the memory goes; return what that failed with."""
    source = region.source
    if source.last_flush is None or source.closed:
        return None
    return source.last_flush(region)


def _close_region(region: Region, when_in_use: WhenInUse, own: int) -> None:
    source = region.source
    with source.lock, source.syncs():
        if source.closed:
            return
        regions = regions_of(region)
        handle = source.handle() if source.handle is not None else None
        if handle is not None:
            handle.state = None  # from here on it gives nobody a view
        try:
            views = [references_to_bytes(each) for each in regions]
            in_use = sum(views) > own
            if in_use and when_in_use is WhenInUse.REFUSE:
                raise InUseError(
                    f"cannot close the mapping of {source.name}: arrays over it are alive; "
                    "drop them, or close(force=True), after which they read zeros"
                )
            source.closed = True
        finally:
            if handle is not None and not source.closed:
                handle.state = (regions[-1].bytes(), regions[-1].size)
        source.close()
        if in_use and when_in_use is WhenInUse.KEEP:
            return
        for each, count in zip(regions, views, strict=True):
            if count:
                each.cover_all()
            else:
                each.give_back()


def references_to_bytes(region: Region) -> int:
    """Return how many arrays, and others, refer to the bytes of a region."""
    data = region.bytes()
    return other_references(data)


def region_of(data: Bytes) -> Region:
    """Return the region whose bytes these are."""
    region = data.base
    assert isinstance(region, Region)
    return region


def regions_of(region: Region) -> list[Region]:
    """Return all memory that maps the same file for the same handle, the newest last."""
    moved = region.source.regions
    return [each for ref in moved if (each := ref()) is not None] if moved else [region]


def other_references(array: object) -> int:
    """Return how many references to `array` there are besides one variable of the caller."""
    return sys.getrefcount(array) - _OF_ONE_VARIABLE


def _references_of_one_variable() -> int:
    # Measured, not written down: how many a call itself holds differs between Python versions.
    variable = object()
    return other_references(variable)


_OF_ONE_VARIABLE = 0
_OF_ONE_VARIABLE = _references_of_one_variable()
