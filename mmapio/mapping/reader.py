"""A mapping as a stream, for whatever reads files."""

from __future__ import annotations

import io
import os
from typing import Any, Protocol

from .._validation import as_count, as_integer
from ..errors import ArgumentError, ArgumentTypeError, ClosedError

__all__ = ["MappedReader"]


class _Mapping(Protocol):
    """Part of a mapping that a reader uses."""

    @property
    def size(self) -> int: ...
    @property
    def path(self) -> str | None: ...
    def read(self, offset: int = 0, length: int | None = None) -> bytes: ...
    def read_into(self, offset: int, out: Any) -> int: ...


class MappedReader(io.RawIOBase):
    """A seekable binary stream over a mapping, made by `MappedFile.reader`.

    It holds no memory and keeps no descriptor: the mapping can be resized or closed under it, and
    closing the stream leaves the mapping open.

    Parameters
    ----------
    mapping : MappedFile
        What to read.

    Examples
    --------
    >>> import json, mmapio
    >>> m = mmapio.MappedFile.anonymous(8)
    >>> m.write(0, b'{"a": 1}')
    8
    >>> json.load(m.reader())
    {'a': 1}
    """

    mode = "rb"

    def __init__(self, mapping: _Mapping) -> None:
        self._mapping = mapping
        self._position = 0
        self.name = mapping.path or "<anonymous>"

    def readable(self) -> bool:
        """Return True: the stream can be read.

        Returns
        -------
        bool
            True.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.MappedFile.anonymous(8).reader().readable()
        True
        """
        self._check_open()
        return True

    def seekable(self) -> bool:
        """Return True: the position can be changed.

        Returns
        -------
        bool
            True.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.MappedFile.anonymous(8).reader().seekable()
        True
        """
        self._check_open()
        return True

    def read(self, size: int | None = -1) -> bytes:
        r"""Read bytes from the position on.

        Parameters
        ----------
        size : int, optional
            How many; all up to the end if negative or None.

        Returns
        -------
        bytes
            At most `size` of them; none at the end.

        Raises
        ------
        ClosedError
            If the stream or the mapping is closed.
        ArgumentTypeError
            If `size` is no integer.

        Examples
        --------
        >>> import mmapio
        >>> reader = mmapio.MappedFile.anonymous(8).reader()
        >>> reader.read(3), len(reader.read(2**40))
        (b'\x00\x00\x00', 5)
        """
        self._check_open()
        # Not by that of io, which makes a buffer of the size first.
        count = -1 if size is None else as_integer(size, "size")
        left = self._left()
        count = left if count < 0 else min(count, left)
        data = self._mapping.read(self._position, count) if count else b""
        self._position += count
        return data

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the position on.

        Parameters
        ----------
        buffer : writable buffer
            Where the bytes go.

        Returns
        -------
        int
            How many bytes were read; 0 at the end.

        Raises
        ------
        ClosedError
            If the stream or the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.MappedFile.anonymous(8).reader().readinto(bytearray(100))
        8
        """
        self._check_open()
        try:
            out = memoryview(buffer).cast("B")
        except TypeError as error:
            raise ArgumentTypeError(f"buffer must be a writable buffer: {error}") from None
        count = min(len(out), self._left())
        if count:
            self._mapping.read_into(self._position, out[:count])
            self._position += count
        return count

    def readall(self) -> bytes:
        """Read up to the end.

        Returns
        -------
        bytes
            What is left.

        Raises
        ------
        ClosedError
            If the stream or the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> len(mmapio.MappedFile.anonymous(8).reader().readall())
        8
        """
        self._check_open()
        count = self._left()
        data = self._mapping.read(self._position, count) if count else b""
        self._position += count
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position; past the end is allowed, before the start is an error.

        Parameters
        ----------
        offset : int
            Bytes to move.
        whence : {0, 1, 2}, default 0
            From the start, from the position, or from the end.

        Returns
        -------
        int
            The new position.

        Raises
        ------
        ArgumentError
            If the position would lie before the start, or `whence` is unknown.

        Examples
        --------
        >>> import mmapio
        >>> reader = mmapio.MappedFile.anonymous(8).reader()
        >>> reader.seek(-3, 2)
        5
        >>> reader.seek(-6, 1)
        Traceback (most recent call last):
        mmapio.errors.ArgumentError: position must be 0 or more, got -1
        """
        self._check_open()
        if not isinstance(whence, int):
            raise ArgumentError(f"whence must be 0, 1 or 2, got {whence!r}")
        if whence == os.SEEK_SET:
            origin = 0
        elif whence == os.SEEK_CUR:
            origin = self._position
        elif whence == os.SEEK_END:
            origin = self._mapping.size
        else:
            raise ArgumentError(f"whence must be 0, 1 or 2, got {whence!r}")
        self._position = as_count(origin + as_integer(offset, "offset"), "position")
        return self._position

    def tell(self) -> int:
        """Return the position.

        Returns
        -------
        int
            Bytes from the start.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.MappedFile.anonymous(8).reader().tell()
        0
        """
        self._check_open()
        return self._position

    def _left(self) -> int:
        return max(0, self._mapping.size - self._position)

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedError(f"the reader of {self.name!r} is closed")
