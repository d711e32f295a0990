"""Region of mapped memory: its address, its length, its lifetime, and the arrays over it.

Every array over a mapping has, at the end of its chain of bases, the one `Region` that owns the
memory; so the memory is given back when the last array is gone, and not before::

    Region  <-  root  <-  bytes (ndarray of uint8 over all of it)  <-  every view

Memory whose chain of bases leads elsewhere, by a buffer or DLPack, is found by its address.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

import numpy as np

from .. import _forking, _os, guard
from .._validation import Bytes, round_down, round_up
from ..errors import FileError, ReadOnlyError, file_error
from ..guard import lost_memory
from ..modes import Access
from .source import Source

__all__ = [
    "Region",
    "is_all_bytes",
    "newest_place",
    "other_references",
    "places_of",
    "raise_read_only",
    "references_to_bytes",
    "region_at",
    "region_of",
]


class _Regions:
    """All regions, by the address of their first page; no lock: each change is one step."""

    def __init__(self) -> None:
        self.refs: dict[int, weakref.ref[Region]] = {}
        _forking.renew_in_child(self)

    def renew(self) -> None:
        """Renew the sources of all, so that none needs to be noted by itself when it is made."""
        for region in self:
            region.source.renew()

    def __iter__(self) -> Iterator[Region]:
        return (region for ref in list(self.refs.values()) if (region := ref()) is not None)

    def at(self, address: int) -> Region | None:
        """Return the region that an address lies in."""
        return next((region for region in self if region.start <= address < region.end), None)


_regions = _Regions()
_refs = _regions.refs
_asarray = np.asarray
_READ: Final = Access.READ  # to look it up in the enum takes as long as to compare it


class _Root:
    """The object that the bytes of a region are made from.

    It shows where the memory lies only until they are: from then on numpy can make nothing of it
    that nobody would count.
    """

    __slots__ = ("__array_interface__", "region")

    __array_interface__: dict[str, Any]
    region: Region


class Region:
    """The owner of a mapped range of whole pages.

    The pages lie from `start` to `end`, which are equal once they are given back. `address` is that
    of the first byte asked for, `size` how many bytes from there are in use, `capacity` how many
    can be without mapping anew, and `reached` the largest that `size` has been.
    """

    __slots__ = (
        "__weakref__",
        "_bytes",
        "_covered_from",
        "_successor",
        "access",
        "address",
        "capacity",
        "end",
        "reached",
        "row",
        "size",
        "source",
        "start",
    )

    def __init__(
        self, start: int, end: int, address: int, size: int, source: Source, capacity: int
    ) -> None:
        self.start = start
        self.end = end
        self._covered_from = end
        self._bytes: weakref.ref[Bytes] | None = None
        self._successor: Region | None = None
        self.address = address
        self.size = size
        self.reached = size
        self.capacity = capacity
        self.source = source
        self.access = source.mode.access
        _refs[start] = own = weakref.ref(self)
        source.add_place(own)
        # Of the guard; 0: not guarded. Last: from here on the memory is given back with the region,
        # wherever Ctrl-C comes.
        self.row = 0

    @classmethod
    def of_file(cls, fd: int, source: Source, size: int, capacity: int = 0) -> Region:
        """Map a file from `source.offset` on, which need not be page-aligned."""
        wanted = capacity if capacity > size and _os.CAN_MAP_PAST_END else size
        if wanted == 0:
            # The kernel maps no empty file. A page that is nobody's stands in for it; to grow is
            # to move.
            return cls.of_nothing(source, stands_in=True)
        lead = source.offset % _os.GRANULARITY
        pages = round_up(lead + wanted, _os.PAGE_SIZE)
        try:
            start = _os.map_file(fd, source.offset - lead, pages, source.mode.access)
        except OSError as error:
            hint = ""
            if isinstance(error, PermissionError) and source.mode.access is Access.WRITE:
                hint = (
                    "is the descriptor for reading only? open the file in 'r+b', or map it in 'r'"
                )
            raise file_error(error, f"map {wanted} bytes", source.path, hint) from error
        room = pages - lead if _os.CAN_MAP_PAST_END else size
        region = cls(start, start + pages, start + lead, size, source, room)
        if source.options.guard:
            guard.watch(region, start, pages, source.offset - lead)
        return region

    @classmethod
    def of_nothing(
        cls, source: Source, size: int = 0, capacity: int = 0, *, stands_in: bool = False
    ) -> Region:
        """Map zeroed memory that forked children share; or a page with room for nothing."""
        pages = round_up(max(size, capacity, 1), _os.PAGE_SIZE)
        huge = source.options.hugepages  # then it begins where huge pages can
        try:
            start = _os.map_anonymous(pages, huge and not stands_in)
        except OSError as error:
            raise file_error(error, f"map {pages} bytes of memory", None) from error
        return cls(start, start + pages, start, size, source, 0 if stands_in else pages)

    # Arrays over it ------------------------------------------------------------------------------

    def bytes(self) -> Bytes:
        """Return the one array, while it lives, that all views of this region are made from."""
        known = self._bytes
        found = None if known is None else known()
        return self._made_bytes() if found is None else found

    def _made_bytes(self) -> Bytes:
        source = self.source
        if source.busy or source.syncing:
            source.stop_copying()
        with source.lock:  # two arrays would be one too many to count references to
            known = self._bytes
            found = known() if known is not None else None
            if found is None:
                root = _Root()
                root.region = self
                root.__array_interface__ = {
                    "version": 3,
                    "data": (self.address, self.access is _READ),
                    "shape": (self.capacity if self.start < self.end else 0,),
                    "typestr": "|u1",
                }
                found = _asarray(root)
                del root.__array_interface__
                ref = weakref.ref(found)
                if self._bytes is not known:  # a signal handler has made one meanwhile
                    return self.bytes()
                self._bytes = ref
            return found

    def known_bytes(self) -> Bytes | None:
        """Return the array that all views are made from, if it is alive."""
        return None if self._bytes is None else self._bytes()

    def move_to(self, successor: Region) -> None:
        """Note where the mapping has moved to, which lives as long as this."""
        self._successor = successor

    def settle(self, size: int) -> None:
        """Note how much of the mapping is in use."""
        self.size = min(size, self.capacity)
        self.reached = max(self.size, self.reached)

    # Its pages -----------------------------------------------------------------------------------

    def size_of_pages(self, size: int) -> int:
        """Return up to where the pages reach that hold the first `size` bytes."""
        return min(round_up(self.address + size, _os.PAGE_SIZE) - self.address, self.capacity)

    def whole_pages(self, offset: int, length: int) -> tuple[int, int]:
        """Return the address and the length of the pages that hold a range of bytes."""
        start = round_down(self.address + offset, _os.PAGE_SIZE)
        return start, self.address + offset + length - start

    def cover(self, size: int) -> None:
        """Put zero pages over all whole pages past `size`, so that no view can fault there.

        A negative size counts too: what precedes the first byte may lie in the same page.
        """
        start = max(round_up(self.address + size, _os.PAGE_SIZE), self.start)
        if start < self._covered_from and self.capacity:
            end, self._covered_from = self._covered_from, start  # first: to undo twice is no harm
            try:
                _os.cover(start, end - start, self.access)
            except OSError as error:
                self._covered_from = end
                raise self._error(error, "cover memory with zeros") from error

    def is_covered(self, size: int) -> bool:
        """Return whether zero pages lie over a part of the first `size` bytes."""
        return self._covered_from < min(self.address + size, self.end)

    def uncover(self, fd: int, size: int) -> None:
        """Map the file again over what was covered, but no further than the page `size` is in."""
        end = min(round_up(self.address + size, _os.PAGE_SIZE), self.end)
        if self._covered_from < end:
            start, self._covered_from = self._covered_from, end
            offset = self.source.offset + start - self.address
            try:
                _os.map_file_at(fd, offset, start, end - start, self.access)
            except BaseException as error:
                self._covered_from = start
                if isinstance(error, OSError):
                    raise self._error(error, f"map {end - start} bytes") from error
                raise
        if lost_memory.any_loss():
            self.recover(fd, size)

    # What it has lost ----------------------------------------------------------------------------

    def take_row(self, row: int) -> None:
        """Note the row of the guard's table that stands for it."""
        self.row = row

    @property
    def has_loss(self) -> bool:
        """True if zeros lie where the file has lost something, which may be there again."""
        return lost_memory.any_loss() and guard.loss_of(self.row) is not None

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

    def forget(self) -> None:
        """Let the guard forget the memory: it is the file's no longer."""
        row, self.row = self.row, 0
        if row:
            guard.forget(row)

    def _error(self, error: OSError, doing: str) -> FileError:
        return file_error(error, doing, self.source.path)

    # The end -------------------------------------------------------------------------------------

    def give_back(self) -> None:
        """Unmap the memory; no array over it may be alive."""
        end = self.end
        start, self.start = self.start, end
        if start < end:
            row, self.row = self.row, 0
            if row:  # first: what is unmapped may be another's a moment later
                guard.forget(row)
            _refs.pop(start, None)
            try:
                _os.unmap(start, end - start)
            except OSError as error:
                self.start = start  # it is there still, and may go with this
                raise self._error(error, "unmap the memory") from error

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # While the interpreter shuts down the modules that unmap may be gone; the kernel unmaps.
        # Ctrl-C can come before `__init__` has set what there is to unmap. Nothing here may wait:
        # the collector runs it in the midst of whatever holds a lock. So what a policy is still to
        # flush is handed to the thread that flushes, and the memory with it.
        if finalizing() or not hasattr(self, "row"):
            return
        if self.source.ending is None or not self._is_taken_to_be_flushed():
            self.give_back()

    def _is_taken_to_be_flushed(self) -> bool:
        source = self.source
        if source.ending is None or source.closed or any(p is not self for p in source.places):
            return False
        return source.ending.takes(self)


def raise_read_only(region: Region) -> NoReturn:
    """Refuse to change a read-only mapping."""
    raise ReadOnlyError(f"the mapping of {region.source.name} is read-only; open it in 'r+'")


def references_to_bytes(region: Region) -> int:
    """Return how many arrays, and others, refer to the bytes of a region."""
    data = region.known_bytes()
    return 0 if data is None else other_references(data)


def region_of(data: Bytes) -> Region:
    """Return the region whose bytes these are."""
    root = data.base
    assert isinstance(root, _Root)
    return root.region


def is_all_bytes(data: object) -> bool:
    """Return whether this is the array of all the bytes of a region."""
    return type(data) is np.ndarray and isinstance(data.base, _Root)


def places_of(source: Source) -> list[Region]:
    """Return all regions that show the bytes of a mapping and are mapped, the newest last."""
    return source.places


def newest_place(source: Source) -> Region:
    """Return the region that an open mapping lies in now."""
    newest: Region = source.newest_place
    return newest


def region_at(array: np.ndarray[Any, Any]) -> Region | None:
    """Return the region that an array lies in; None for memory that is not mapped here."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, _Root):
        return base.region
    if base is None:  # numpy's own memory
        return None
    address: int = array.__array_interface__["data"][0]
    return _regions.at(address)


def other_references(array: object) -> int:
    """Return how many references to `array` there are besides one variable of the caller."""
    return sys.getrefcount(array) - _OF_ONE_VARIABLE


def _references_of_one_variable() -> int:
    # Measured, not written down: how many a call itself holds differs between Python versions.
    variable = object()
    return other_references(variable)


_OF_ONE_VARIABLE = 0
_OF_ONE_VARIABLE = _references_of_one_variable()
