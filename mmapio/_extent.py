"""How far a mapping reaches: `resize`."""

from __future__ import annotations

import contextlib
import weakref

from . import _os
from ._content import MappedContent
from ._ranges import as_count
from .errors import FileError, ReadOnlyError, UnsupportedError
from .flags import Access
from .region import Bytes, Region, region_of, regions_of
from .source import set_size

__all__ = ["ResizableContent"]


class ResizableContent(MappedContent):
    """Bytes that can grow and shrink: the part of `MappedFile` that resizes."""

    __slots__ = ()

    def resize(self, size: int) -> None:
        """Grow or shrink the file, and the mapping with it; arrays over it stay valid.

        Parameters
        ----------
        size : int
            New length of the mapping in bytes. What is gained reads zeros. Arrays over what is cut
            off read zeros from then on, and see nothing of what comes there later but whole pages.

        Raises
        ------
        FileError
            If the file cannot be resized, on a full disk for one; it is as it was then.
        ReadOnlyError
            If the mapping is read-only.
        UnsupportedError
            If it is copy-on-write, anonymous and out of capacity, or does not reach to the end of
            its file.
        ClosedError
            If the mapping is closed.

        Notes
        -----
        Within `capacity` the memory stays where it is. Past it the mapping moves, and arrays made
        before keep the old place, which shows the same bytes of the same file.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.open("grown.bin", "x+", size=10)
        >>> head = m.view(0, 10)
        >>> m.resize(20)
        >>> m.write(0, b"seen")
        4
        >>> bytes(head[:4]), len(m)
        (b'seen', 20)
        """
        new = as_count(size, "size")
        with self._source.lock:
            data, old = self._open_state()
            self._check_resizable(region_of(data), old, new)
            if not self._source.has_file:
                data[new:old] = 0
                self._settle(data, new)
            elif new < old:
                self._shrink(data, old, new)
            elif new > old:
                self._grow(data, old, new)

    def _check_resizable(self, region: Region, old: int, new: int) -> None:
        source = self._source
        if region.access is Access.READ:
            raise ReadOnlyError(f"the mapping of {source.name} is read-only; open it in 'r+'")
        if region.access is Access.COPY:
            raise UnsupportedError(f"the mapping of {source.name} is a private copy: no resize")
        if not source.has_file:
            if new > region.capacity:
                raise UnsupportedError(
                    f"{source.name} memory grows up to its capacity, {region.capacity} bytes; "
                    f"{new} were asked for"
                )
        elif new < old and not _os.CAN_MAP_PAST_END:
            raise UnsupportedError("this platform cannot shrink a file while it is mapped")
        elif (end := _os.identify(source.descriptor()).size) != source.offset + old:
            raise UnsupportedError(
                f"the mapping of {source.name} ends at byte {source.offset + old} of a file of "
                f"{end}; only one that reaches to the end can be resized"
            )

    def _shrink(self, data: Bytes, old: int, new: int) -> None:
        source, fd = self._source, self._source.descriptor()
        # First the zero pages, then the cut: a thread that reads there finds one or the other.
        for region in self._regions():
            region.cover(new)
        try:
            set_size(fd, source.offset + old, source.offset + new, False, source.path)
        except BaseException:
            for region in self._regions():
                region.uncover(fd)
            raise
        self._settle(data, new)

    def _grow(self, data: Bytes, old: int, new: int) -> None:
        source, fd = self._source, self._source.descriptor()
        set_size(fd, source.offset + old, source.offset + new, source.reserve, source.path)
        try:
            for region in self._regions():
                region.uncover(fd)
            if new > region_of(data).capacity:
                data = self._move(region_of(data), Region.of_file(fd, source, new))
        except BaseException:
            with contextlib.suppress(FileError):
                set_size(fd, source.offset + new, source.offset + old, False, source.path)
            raise
        self._settle(data, new)

    def _move(self, old: Region, new: Region) -> Bytes:
        """Note that arrays may live in both places, and return the bytes of the new one."""
        others = [] if self._source.regions else [old]
        self._source.regions += map(weakref.ref, [*others, new])
        return new.bytes()

    def _settle(self, data: Bytes, size: int) -> None:
        self.state = (data, size)
        for region in self._regions():
            region.size = min(size, region.capacity)

    def _regions(self) -> list[Region]:
        """Return all memory that arrays of this file may lie in."""
        return regions_of(self.region)
