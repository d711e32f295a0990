"""How far a mapping reaches: `resize`."""

from __future__ import annotations

import contextlib
import weakref

from . import _os
from ._ranges import LARGEST, as_count
from ._safety import GuardedContent
from .errors import ArgumentError, FileError, ReadOnlyError, UnsupportedError
from .flags import Access
from .region import Bytes, Region, region_of, regions_of
from .source import set_size

__all__ = ["ResizableContent"]


class ResizableContent(GuardedContent):
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
                # Also what arrays over what was once cut off have stored there since.
                data[min(old, new) : max(old, min(new, region_of(data).reached))] = 0
                self._settle(data, new)
                return
            with self._source.opened() as fd:
                self._check_whole(fd, old)
                if new < old:
                    self._shrink(fd, data, old, new)
                elif new > old:
                    self._grow(fd, data, old, new)

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
        elif source.offset + new > LARGEST:
            raise ArgumentError(f"size {new} is larger than any file ({LARGEST})")

    def _check_whole(self, fd: int, size: int) -> None:
        end, known = _os.identify(fd).size, self._source.offset + size
        if end != known:
            raise UnsupportedError(
                f"the mapping of {self._source.name} ends at byte {known} of a file of {end}; "
                "only one that reaches to the end can be resized"
            )

    def _shrink(self, fd: int, data: Bytes, old: int, new: int) -> None:
        source = self._source
        try:
            # First the zero pages, then the cut: a thread that reads there finds one or the other.
            for region in self._regions():
                region.cover(new)
            set_size(fd, source.offset + old, source.offset + new, False, source.path)
        finally:
            # The file tells how it went: Ctrl-C can come before the cut, or just after it.
            left = _os.identify(fd).size - source.offset
            for region in self._regions():
                region.uncover(fd, left)
            self._settle(data, left)

    def _grow(self, fd: int, data: Bytes, old: int, new: int) -> None:
        source, current = self._source, region_of(data)
        # Stores past the end of the file, but within its last page, would come to light.
        data[old : min(new, current.size_of_pages(old))] = 0
        set_size(fd, source.offset + old, source.offset + new, source.reserve, source.path)
        try:
            for region in self._regions():
                region.uncover(fd, new)
            if new > current.capacity:
                data = self._move(current, Region.of_file(fd, source, new))
        except BaseException:
            with contextlib.suppress(FileError):
                for region in self._regions():
                    region.cover(old)
                set_size(fd, source.offset + new, source.offset + old, False, source.path)
            raise
        self._settle(data, new)

    def _move(self, old: Region, new: Region) -> Bytes:
        """Note that arrays may live in both places, and return the bytes of the new one."""
        old.successor = new
        self._source.regions = list(map(weakref.ref, [*regions_of(old), new]))
        return new.bytes()

    def _settle(self, data: Bytes, size: int) -> None:
        self.state = (data, size)
        self._source.cut_to = min(self._source.cut_to, self._source.offset + size)
        for region in self._regions():
            region.size = min(size, region.capacity)
            region.reached = max(region.size, region.reached)

    def _regions(self) -> list[Region]:
        """Return all memory that arrays of this file may lie in."""
        return regions_of(self.region)
