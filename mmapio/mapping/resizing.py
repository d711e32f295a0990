"""How far a mapping reaches: `resize`."""

from __future__ import annotations

import contextlib
import os
import weakref

from .. import _os
from .._validation import LARGEST, Bytes, as_count
from ..errors import ArgumentError, FileError, InUseError, UnsupportedError
from ..files.descriptors import set_size
from ..modes import Access
from ._advised import AdvisedContent
from .mapped_bytes import raise_read_only
from .region import Region, references_to_bytes, region_of, regions_of

__all__ = ["ResizableContent"]


class ResizableContent(AdvisedContent):
    """Bytes that can grow and shrink: the part of `MappedFile` that resizes."""

    __slots__ = ()

    def resize(self, size: int, force: bool = False) -> None:
        """Grow or shrink the file, and the mapping with it.

        Parameters
        ----------
        size : int
            New length of the mapping in bytes. What is gained reads zeros.
        force : bool, default False
            Resize even if arrays over the mapping are alive that will not follow. Those over what
            is cut off read zeros from then on, and see nothing of what comes there later but whole
            pages. If the mapping has to move, those made before keep the old place, which shows the
            same bytes of the same file.

        Raises
        ------
        InUseError
            If arrays over the mapping are alive, and it is to shrink, or to grow past its
            capacity, and `force` is False.
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
        Up to `capacity` the memory stays where it is, and every array over it valid; other
        processes that map the file with as much capacity see what it gains. Past that, the mapping
        moves.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.open("grown.bin", "x+", size=10, capacity="1 GiB")
        >>> head = m.view(0, 10)
        >>> m.resize(20)
        >>> m.write(0, b"seen")
        4
        >>> bytes(head[:4]), len(m)
        (b'seen', 20)
        """
        new = as_count(size, "size")
        with self._source.lock:
            region, old = self.region, self.size
            self._check_resizable(region, old, new)
            if not force and (new < old or new > region.capacity):
                self._check_unused(region, old, new)
            data = region.bytes()
            if not self._source.has_file:
                # Also what arrays over what was once cut off have stored there since.
                data[min(old, new) : max(old, min(new, region.reached))] = 0
                self._extend(region, old, new)
                self._settle(data, new)
                return
            with self._source.opened() as fd:
                self._check_whole(fd, old)
                if new < old:
                    self._shrink(fd, data, old, new)
                elif new > old:
                    self._grow(fd, data, old, new)

    def _follow(self, size: int) -> None:
        """Reach to where the file was grown or cut by other means than `resize`."""
        with self._source.lock:
            data, _ = self._open_state()
            region = region_of(data)
            moves = size > region.capacity
            regions = [each for each in self._regions() if each.is_covered(size) or each.has_loss]
            if moves or regions:
                with self._source.opened() as fd:
                    for each in regions:
                        each.uncover(fd, size)
                    if moves:
                        data = self._move(region, Region.of_file(fd, self._source, size, 2 * size))
            self._settle(data, size)

    def _check_unused(self, region: Region, old: int, new: int) -> None:
        """Refuse to resize under arrays that would not follow."""
        self.state = None  # until it is known, nobody is given a view
        try:
            in_use = any(map(references_to_bytes, regions_of(region)))
        finally:
            self.state = (region.bytes(), old)
        if not in_use:
            return
        name = self._source.name
        if new < old:
            raise InUseError(
                f"cannot shrink the mapping of {name}: arrays over it are alive; drop them, or "
                "resize(..., force=True), after which those over what is cut off read zeros"
            )
        raise InUseError(
            f"cannot grow the mapping of {name} to {new} bytes in place: its capacity is "
            f"{region.capacity}, and arrays over it are alive; open it with a larger capacity=, "
            "drop them, or resize(..., force=True), after which they stay where they are"
        )

    def _check_resizable(self, region: Region, old: int, new: int) -> None:
        source = self._source
        if region.access is Access.READ:
            raise_read_only(region)
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
        end, known = os.fstat(fd).st_size, self._source.offset + size
        if end != known:
            raise UnsupportedError(
                f"the mapping of {self._source.name} ends at byte {known} of a file of {end}; "
                "only one that reaches to the end can be resized"
            )

    def _shrink(self, fd: int, data: Bytes, old: int, new: int) -> None:
        source, regions = self._source, self._regions()
        try:
            # First the zero pages, then the cut: a thread that reads there finds one or the other.
            for region in regions:
                region.cover(new)
            set_size(fd, source.offset + old, source.offset + new, False, source.path)
        finally:
            # The file tells how it went: Ctrl-C can come before the cut, or just after it.
            left = os.fstat(fd).st_size - source.offset
            for region in regions:
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
                moved = Region.of_file(fd, source, new)
                self._extend(moved, 0, new)
                data = self._move(current, moved)
            else:
                self._extend(current, old, new)
        except BaseException:
            with contextlib.suppress(FileError):
                for region in self._regions():
                    region.cover(old)
                set_size(fd, source.offset + new, source.offset + old, False, source.path)
            raise
        self._settle(data, new)

    def _extend(self, region: Region, old: int, new: int) -> None:
        """Do to memory that is gained what was asked for when the mapping was opened."""
        extend = self._source.extend
        if extend is not None and new > old:
            extend(region, old, new)

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
