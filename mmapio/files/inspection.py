"""Headers, sizes and holes of files, found out without reading their data."""

from __future__ import annotations

import functools
import math
import os
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from numpy.lib import format as numpy_format

from .descriptors import as_path, read_at, reading
from .header_seal import settled_header
from .holes import holes_of
from .npy import MAGIC, NpyHeader, begins_as_npy

__all__ = ["FileInfo", "inspect", "is_npy"]

_PAGE: Final = 4096  # alignment beyond this tells nothing


@dataclass(frozen=True)
class FileInfo:
    """Header, sizes and disk layout of a file.

    Attributes
    ----------
    path : str
        The file.
    size : int
        Its size in bytes.
    allocated : int
        Bytes that it takes on the disk.
    holes : tuple of (int, int)
        Offset and length of the ranges that read zeros and take nothing on the disk, as far as the
        file system tells.
    version : str
        Of the `.npy` format; empty if the file is none.
    header : NpyHeader or None
        What the header of a `.npy` file says.
    """

    path: str
    size: int
    allocated: int
    holes: tuple[tuple[int, int], ...]
    version: str
    header: NpyHeader | None

    @property
    def allocated_percent(self) -> float:
        """Share of the size that is allocated on the disk, in percent, up to 100."""
        return min(100.0, 100 * self.allocated / self.size) if self.size else 100.0

    @property
    def hole_bytes(self) -> int:
        """Total length of the holes."""
        return sum(length for _, length in self.holes)

    @property
    def data_offset(self) -> int:
        """Byte at which the data begin."""
        return self.header.data_offset if self.header else 0

    @property
    def data_bytes(self) -> int:
        """Bytes of the data, or those there should be."""
        return self.header.file_size - self.header.data_offset if self.header else self.size

    @property
    def missing(self) -> int:
        """Bytes of data that the file is too short for."""
        return max(0, self.data_offset + self.data_bytes - self.size)

    @property
    def trailing(self) -> int:
        """Bytes that follow the data."""
        return max(0, self.size - self.data_offset - self.data_bytes)

    @property
    def alignment(self) -> int:
        """The largest power of two, up to a page, that the offset of the data is a multiple of."""
        return math.gcd(self.data_offset, _PAGE)

    @property
    def items_aligned(self) -> bool:
        """True if every item lies at a multiple of its alignment."""
        return self.header is None or self.data_offset % self.header.dtype.alignment == 0

    def to_json(self) -> dict[str, Any]:
        """Return the facts as a dict that JSON can hold.

        Returns
        -------
        dict
            All of the attributes; those of the header one by one, if there is one.
        """
        facts = {
            "path": self.path,
            "kind": "npy" if self.header else "bytes",
            "bytes": self.size,
            "allocated": self.allocated,
            "allocated_percent": self.allocated_percent,
            "holes": len(self.holes),
            "hole_bytes": self.hole_bytes,
        }
        return facts | self._header_to_json() if self.header else facts

    def _header_to_json(self) -> dict[str, Any]:
        header = self.header
        assert header is not None
        return {
            "version": self.version,
            "dtype": numpy_format.dtype_to_descr(header.dtype),
            "shape": list(header.shape),
            "order": header.order,
            "count": prod(header.shape),
            "data_offset": self.data_offset,
            "data_bytes": self.data_bytes,
            "missing": self.missing,
            "trailing": self.trailing,
            "alignment": self.alignment,
            "items_aligned": self.items_aligned,
        }


def inspect(path: str | os.PathLike[str]) -> FileInfo:
    """Return header, sizes and disk layout of a file, without reading its data.

    Parameters
    ----------
    path : str or os.PathLike
        The file. A `.npy` file whose data are cut off is told of too.

    Returns
    -------
    FileInfo
        Size, place on the disk, and header.

    Raises
    ------
    FileError
        If the file cannot be opened.
    FormatError
        If it begins as a `.npy` file does, and its header is malformed.

    Examples
    --------
    >>> import mmapio
    >>> from mmapio.files.inspection import inspect
    >>> mmapio.create("few.npy", 3, "f8").close()
    >>> inspect("few.npy").data_offset
    128
    """
    with reading(as_path(path)) as (fd, facts):
        read = functools.partial(read_at, fd)
        header, version = None, ""
        if begins_as_npy(read):
            header, _, size = settled_header(fd)
            facts = facts._replace(size=size)  # it may be appended to: this one is the header's
            version = "{}.{}".format(*read(len(MAGIC), 2))
        holes = tuple(holes_of(fd, facts.size))
    return FileInfo(os.fspath(path), facts.size, facts.allocated, holes, version, header)


def is_npy(path: str | os.PathLike[str]) -> bool:
    """Return whether a file begins as a `.npy` file does."""
    with reading(as_path(path)) as (fd, _):
        return begins_as_npy(functools.partial(read_at, fd))
