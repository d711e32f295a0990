"""A named range of a mapping, which knows its own end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .._validation import as_bytes, bounded
from ..guard.lost_memory import raise_if_source_lost

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

__all__ = ["Segment"]


class _Mapping(Protocol):
    """Part of a mapping that a segment uses."""

    def view(
        self, offset: int = 0, length: int | None = None, dtype: npt.DTypeLike | None = None
    ) -> npt.NDArray[Any]: ...
    def read(self, offset: int = 0, length: int | None = None) -> bytes: ...
    def write(self, offset: int, data: Any) -> int: ...


class Segment:
    """A range of bytes of a mapping, checked against the mapping's size at every use.

    A segment holds no memory: the mapping can be resized or closed under it. What then lies
    outside of the mapping raises `OutOfBoundsError`; a closed mapping raises `ClosedError`.

    Parameters
    ----------
    mapping : MappedFile
        The mapping; see `MappedFile.segment`, which makes segments.
    offset : int
        The segment's first byte, counted from the mapping's.
    length : int
        The segment's length in bytes.

    Examples
    --------
    >>> import mmapio
    >>> m = mmapio.MappedFile.anonymous(100)
    >>> record = m.segment(10, 4)
    >>> record.write(0, b"abcd")
    4
    >>> record.write(2, b"xyz")
    Traceback (most recent call last):
    mmapio.errors.OutOfBoundsError: offset 2 + length 3 = 5 reaches past the end, at 4 bytes
    """

    __slots__ = ("_mapping", "length", "offset")

    def __init__(self, mapping: _Mapping, offset: int, length: int) -> None:
        self._mapping = mapping
        self.offset = offset
        self.length = length

    def view(
        self, offset: int = 0, length: int | None = None, dtype: npt.DTypeLike | None = None
    ) -> npt.NDArray[Any]:
        """Return a range of the segment as an array over the same memory.

        Parameters
        ----------
        offset : int, default 0
            First byte, counted from the segment's.
        length : int, optional
            Length in bytes; up to the segment's end if left out.
        dtype : dtype_like, optional
            Type of the items; bytes (``uint8``) if left out.

        Returns
        -------
        numpy.ndarray
            One dimension; writable if the mapping is.

        Raises
        ------
        OutOfBoundsError
            If the range does not lie within the segment, or no longer within the mapping.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.anonymous(100)
        >>> m.segment(8, 16).view(dtype="<i4")
        array([0, 0, 0, 0], dtype=int32)
        """
        offset, length = bounded(offset, length, self.length)
        return self._mapping.view(self.offset + offset, length, dtype)

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        r"""Return a copy of a range of the segment.

        Parameters
        ----------
        offset : int, default 0
            First byte, counted from the segment's.
        length : int, optional
            Length in bytes; up to the segment's end if left out.

        Returns
        -------
        bytes
            The bytes.

        Raises
        ------
        OutOfBoundsError
            If the range does not lie within the segment, or no longer within the mapping.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.MappedFile.anonymous(100).segment(8, 4).read()
        b'\x00\x00\x00\x00'
        """
        offset, length = bounded(offset, length, self.length)
        return self._mapping.read(self.offset + offset, length)

    def write(self, offset: int, data: Any) -> int:
        """Copy bytes into the segment; never past its own end.

        Parameters
        ----------
        offset : int
            Where the first byte goes, counted from the segment's.
        data : buffer or numpy.ndarray
            What to write.

        Returns
        -------
        int
            How many bytes were written: all of them.

        Raises
        ------
        OutOfBoundsError
            If the data do not fit; nothing is written then.
        ReadOnlyError
            If the mapping is read-only.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.MappedFile.anonymous(100).segment(8, 4).write(1, b"abc")
        3
        """
        start, _ = bounded(offset, None, self.length)
        source = as_bytes(data)
        bounded(start, len(source), self.length)
        raise_if_source_lost(data)
        return self._mapping.write(self.offset + start, source)

    def __len__(self) -> int:
        return self.length

    def __repr__(self) -> str:
        return f"<Segment of {self.length} bytes at {self.offset} of {self._mapping!r}>"
