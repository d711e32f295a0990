"""Bytes of a mapping: read, written, viewed as arrays, and cut into pieces."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import numpy as np
from numpy import ndarray

from .. import _os
from .._validation import Bytes, as_bytes, as_count, as_dtype, as_flag, as_positive, bounded
from ..errors import ArgumentError, ClosedError, MisalignedError
from ..guard.lost_memory import (
    any_loss,
    raise_if_array_lost,
    raise_if_part_lost,
    raise_if_source_lost,
)
from ..modes import Access
from .flushing import check_flushes, flush_due, note_write
from .region import Region, newest_place, raise_read_only, region_of
from .span import Hold, Span

if TYPE_CHECKING:  # numpy.typing is slow to import, and atomics import numba
    import numpy.typing as npt

    from ..atomics import AtomicArray, AtomicCell
    from .reader import MappedReader
    from .segment import Segment

__all__ = ["MappedBytes"]

_UINT8: Final = np.dtype(np.uint8)

W = TypeVar("W")
R = TypeVar("R")


def _copying(method: Callable[[MappedBytes, Any, W], R]) -> Callable[[MappedBytes, Any, W], R]:
    """Count a call as one that copies: `close` and `resize` wait for it, and are not refused.

    Such a call takes no lock, so that threads can copy at once. An interrupt may come at any time,
    and leaves no call counted that is over.
    """

    @functools.wraps(method)
    def counted(self: MappedBytes, offset: Any, what: W) -> R:
        busy, me = self._source.busy, get_ident()
        try:
            busy[me] = None
            return method(self, offset, what)
        finally:
            busy.pop(me, None)

    return counted


class MappedBytes:
    """Bytes of a mapping, which are read, written and viewed in place.

    Parameters
    ----------
    region : Region
        The mapped memory.
    """

    __slots__ = ("__weakref__", "_place", "_source", "_state")

    def __init__(self, region: Region) -> None:
        self._source = region.source
        # Bytes and size in one attribute, so that nobody sees the one without the other.
        # None when it is closed, and while `close` and `resize` look whether arrays are alive.
        self._state: tuple[Bytes, int] | None = None
        # The memory itself, which must not go while there is no state, whatever may come between.
        self._place: Region | None = None
        self._look()
        self._source.hand_out(self)

    def _look(self) -> None:
        """Take note of where the mapping lies now, and of its size."""
        self._place = region = None if self._source.closed else newest_place(self._source)
        self._state = None if region is None else (region.bytes(), region.size)

    def _hide(self) -> None:
        """Give nobody a view until the next `_look`, and hold none."""
        self._state = None

    @property
    def _region(self) -> Region:
        """The memory that the mapping lies in now."""
        return region_of((self._state or self._open_state())[0])

    def _hold(self) -> Hold:
        return Hold(self._source)

    def _span(self, offset: object = 0, length: object = None) -> Span:
        return Span(self._source, offset, length)

    @property
    def size(self) -> int:
        """Length of the mapping in bytes."""
        while True:
            try:
                # In one step, for nobody else to see the bytes that the state holds in use.
                return self._state[1]  # type: ignore[index]
            except TypeError:
                self._open_state()

    def view(
        self, offset: int = 0, length: int | None = None, dtype: npt.DTypeLike | None = None
    ) -> npt.NDArray[Any]:
        """Return a range of the mapping as an array over the same memory.

        Parameters
        ----------
        offset : int, default 0
            First byte.
        length : int, optional
            Length in bytes; up to the end if left out.
        dtype : dtype_like, optional
            Type of the items; bytes (``uint8``) if left out.

        Returns
        -------
        numpy.ndarray
            One dimension (and those of `dtype`), ``length // itemsize`` items; writable if the
            mapping is. While it lives, so does the memory.

        Raises
        ------
        OutOfBoundsError
            If the range does not lie within the mapping.
        ArgumentError
            If the length is no multiple of the item size, or the dtype holds objects.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.anonymous(16)
        >>> m.view(8, 8, "<u4")[:] = 7
        >>> m.view(8, 4)
        array([7, 0, 0, 0], dtype=uint8)
        """
        # The short way: plain integers that are right. All else goes through the checks.
        state = self._state or self._open_state()
        if (
            dtype is None
            and type(offset) is int
            and type(length) is int
            and 0 <= offset <= (stop := offset + length) <= state[1]
        ):
            return state[0][offset:stop]
        data, size = state
        start, count = bounded(offset, length, size)
        found = data[start : start + count]
        if dtype is None:
            return found
        kind = as_dtype(dtype)
        if count % kind.itemsize:
            raise ArgumentError(
                f"length {count} is not a multiple of the {kind.itemsize} bytes of dtype {kind}"
            )
        if kind.subdtype is not None:  # its dimensions come last, as in numpy
            return found.view(kind.base).reshape(-1, *kind.shape)
        return found.view(kind)

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        r"""Return a copy of a range of the mapping.

        Parameters
        ----------
        offset : int, default 0
            First byte.
        length : int, optional
            Length in bytes; up to the end if left out.

        Returns
        -------
        bytes
            Exactly the bytes asked for.

        Raises
        ------
        OutOfBoundsError
            If the range does not lie within the mapping.
        MappingLostError
            If a part of it has been lost under the mapping.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.MappedFile.anonymous(16).read(4, 2)
        b'\x00\x00'
        """
        found = self._copied_out(offset, length)
        if any_loss():
            self._span(offset, len(found)).check_lost()
        return found

    @_copying
    def _copied_out(self, offset: int, length: int | None) -> bytes:
        return self.view(offset, length).tobytes()

    def read_into(self, offset: int, out: Any) -> int:
        """Fill a buffer with the bytes from an offset on.

        Parameters
        ----------
        offset : int
            First byte.
        out : writable buffer or numpy.ndarray
            Where they go, in C order; it must be contiguous.

        Returns
        -------
        int
            How many bytes were copied: as many as `out` holds.

        Raises
        ------
        OutOfBoundsError
            If the mapping ends before `out` is full; nothing is copied then.
        MappingLostError
            If a part of the range has been lost under the mapping.
        ArgumentError
            If `out` is read-only or not contiguous.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> out = bytearray(4)
        >>> mmapio.MappedFile.anonymous(16).read_into(8, out)
        4
        """
        if isinstance(out, np.ndarray) and not out.flags.c_contiguous:
            raise ArgumentError("out must be contiguous in C order")
        target = as_bytes(out)
        if not target.flags.writeable:
            raise ArgumentError("out must be writable")
        self._copy_out(offset, target)
        if any_loss():
            self._span(offset, len(target)).check_lost()
        return len(target)

    @_copying
    def _copy_out(self, offset: int, target: Bytes) -> None:
        target[:] = self.view(offset, len(target))

    def write(self, offset: int, data: Any) -> int:
        r"""Copy bytes into the mapping.

        Parameters
        ----------
        offset : int
            Where the first byte goes.
        data : buffer or numpy.ndarray
            What to write, in C order.

        Returns
        -------
        int
            How many bytes were written: all of them.

        Raises
        ------
        OutOfBoundsError
            If the data do not fit; nothing is written then.
        MappingLostError
            If a part of the range has been lost under the mapping; or the data lie in another one,
            and were.
        ArgumentError, ArgumentTypeError
            If the data are no bytes, such as Python objects, or have a mask.
        ReadOnlyError
            If the mapping is read-only.
        FlushError
            If a sync that the flush policy asks for fails, or has failed before.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.anonymous(16)
        >>> m.write(4, b"abc")
        3
        >>> m.read(4, 4)
        b'abc\x00'
        """
        is_plain = type(data) is ndarray and data.dtype is _UINT8 and data.ndim == 1
        source = data if is_plain else as_bytes(data)
        if any_loss():
            raise_if_source_lost(data)
        start = offset if type(offset) is int else as_count(offset, "offset")
        busy, me, length = self._source.busy, get_ident(), len(source)
        try:  # as `_copying` does
            busy[me] = None
            region = self._copy_in(start, source, length)
        finally:
            busy.pop(me, None)
        if any_loss():
            raise_if_part_lost(region, start, start + length)
            raise_if_source_lost(data)
        ledger = self._source.ledger
        if ledger is None:
            note_write(region, start, length)
        elif ledger.add(start, length):
            flush_due(region)
        return length

    def _copy_in(self, offset: int, source: Bytes, length: int) -> Region:
        """Copy bytes into the mapping, and return where it lies."""
        data, size = self._state or self._open_state()
        if not 0 <= offset <= size - length:
            bounded(offset, length, size)
        region = self._place or region_of(data)
        if region.access is Access.READ:
            raise_read_only(region)
        ledger = self._source.ledger
        if ledger is not None and (ledger.failure is not None or ledger.unheard):
            check_flushes(self._source)
        data[offset : offset + length] = source
        return region

    def chunks(self, nbytes: int, copy: bool = False) -> Iterator[npt.NDArray[np.uint8]]:
        """Iterate over the mapping in pieces of one size; the last one may be short.

        Parameters
        ----------
        nbytes : int
            Length of a piece in bytes.
        copy : bool, default False
            Yield copies, which do not keep the mapping in use.

        Returns
        -------
        iterator of numpy.ndarray
            Arrays of ``uint8`` over the same memory, writable if the mapping is. The mapping's
            size is taken when the iteration starts.

        Raises
        ------
        ArgumentError
            If `nbytes` is not 1 or more.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> [len(chunk) for chunk in mmapio.MappedFile.anonymous(10).chunks(4)]
        [4, 4, 2]
        """
        step = as_positive(nbytes, "nbytes")
        return _pieces(self.view(), 0, step, copy)

    def pages(self, copy: bool = False) -> Iterator[npt.NDArray[np.uint8]]:
        """Iterate over the mapping page by page, as memory is divided.

        Parameters
        ----------
        copy : bool, default False
            Yield copies, which do not keep the mapping in use.

        Returns
        -------
        iterator of numpy.ndarray
            Arrays of ``uint8`` over the same memory, writable if the mapping is. The last may be
            short, and the first too if the mapping starts inside of a page.

        Raises
        ------
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmap, mmapio
        >>> m = mmapio.MappedFile.anonymous(mmap.PAGESIZE + 1)
        >>> [len(page) for page in m.pages()] == [mmap.PAGESIZE, 1]
        True
        """
        # The file's pages are the memory's: both begin where the offset is a multiple.
        return _pieces(self.view(), -self._source.offset % _os.PAGE_SIZE, _os.PAGE_SIZE, copy)

    def segment(self, offset: int, length: int) -> Segment:
        """Return a range of the mapping that is checked anew at every use.

        Parameters
        ----------
        offset : int
            First byte.
        length : int
            Length in bytes.

        Returns
        -------
        Segment
            The range; it keeps no memory in use, and never writes past its own end.

        Raises
        ------
        OutOfBoundsError
            If the range does not lie within the mapping.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> len(mmapio.MappedFile.anonymous(16).segment(4, 8))
        8
        """
        from .segment import Segment  # not at import: most mappings do without one

        return Segment(self, *bounded(offset, as_count(length, "length"), self.size))

    def reader(self) -> MappedReader:
        r"""Return a stream over the mapping, for whatever reads files.

        Returns
        -------
        MappedReader
            A seekable `io.RawIOBase`; it keeps no memory in use.

        Raises
        ------
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.MappedFile.anonymous(16).reader().read(3)
        b'\x00\x00\x00'
        """
        from .reader import MappedReader

        self._open_state()
        return MappedReader(self)

    def atomic(self, offset: int, dtype: npt.DTypeLike) -> AtomicCell:
        """Return one number of the mapping as a cell that changes in one step.

        Parameters
        ----------
        offset : int
            Its first byte: in memory, a multiple of its size.
        dtype : dtype_like
            Bool, an integer of 8 to 64 bits, float32 or float64, in this machine's byte order.

        Returns
        -------
        mmapio.atomics.AtomicCell
            Its methods cost about what an empty Python function costs. While it lives, so does the
            memory. Of a copy-on-write mapping (mode ``c``), what it stores stays private.

        Raises
        ------
        OutOfBoundsError
            If the number does not lie within the mapping.
        MisalignedError
            If it does not lie at a multiple of its own size.
        ReadOnlyError
            By every method but `load`, if the mapping is read-only.
        ArgumentError, ArgumentTypeError
            If the dtype has no atomic operations.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.anonymous(64)
        >>> hits = m.atomic(8, "u8")
        >>> hits.fetch_add(2), hits.value
        (0, 2)
        """
        from ..atomics import AtomicCell

        return AtomicCell(self._cells(offset, 1, dtype), 0)

    def atomic_array(self, offset: int, count: int, dtype: npt.DTypeLike) -> AtomicArray:
        """Return numbers that lie one after another in the mapping as cells; see `atomic`.

        Parameters
        ----------
        offset : int
            First byte of the first one: in memory, a multiple of its size.
        count : int
            How many.
        dtype : dtype_like
            As for `atomic`.

        Returns
        -------
        mmapio.atomics.AtomicArray
            Its methods take an index first.

        Raises
        ------
        OutOfBoundsError
            If the numbers do not lie within the mapping; and by every method, if the index is none
            of theirs.
        MisalignedError, ReadOnlyError, ArgumentError, ArgumentTypeError, ClosedError
            As for `atomic`.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.anonymous(64)
        >>> bins = m.atomic_array(16, 4, "u4")
        >>> bins.fetch_add(3, 5), bins.load(-1), len(bins)
        (0, 5, 4)
        """
        from ..atomics import AtomicArray

        return AtomicArray(self._cells(offset, as_count(count, "count"), dtype))

    def _cells(self, offset: int, count: int, dtype: npt.DTypeLike) -> np.ndarray[Any, Any]:
        """Return a view that has cells, or say what is wrong in terms of the mapping."""
        kind = as_dtype(dtype)
        view = self.view(offset, count * kind.itemsize, kind)
        past = view.ctypes.data % kind.itemsize
        if past and kind.kind in "biuf" and kind.itemsize <= 8:
            raise MisalignedError(
                f"an atomic {kind} must lie at a multiple of {kind.itemsize} bytes of memory; "
                f"offset {offset} of the mapping of {self._source.name} is {past} past one"
            )
        return view

    @property
    def path(self) -> str | None:
        """Absolute path of the file; None where there is none."""
        return self._source.path

    @property
    def _buffer(self) -> Bytes:
        """Bytes that the buffer protocol shows to others."""
        data, size = self._open_state()
        return data[:size]

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(self._buffer)  # type: ignore[arg-type]

    def __release_buffer__(self, buffer: memoryview) -> None:
        # Only with this does numpy.frombuffer hold on to the buffer, and not to `self` alone.
        buffer.release()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        # Asked when the buffer protocol fails: numpy would hide that error, this raises it.
        return np.array(self._buffer, dtype, copy=copy)

    def __len__(self) -> int:
        return self.size

    def _open_state(self) -> tuple[Bytes, int]:
        while (state := self._state) is None:
            # Wait for a close that is under way: it may find arrays alive and give up.
            was_busy = self._source.stop_copying()
            with self._source.lock:
                if self._state is None:
                    if self._source.closed:
                        self._raise_closed()
                    self._source.check_settled()
                    self._look()
            if was_busy:  # first, and then it looks again: the next to close waits for this
                self._source.busy[get_ident()] = None
        return state

    def _raise_closed(self) -> NoReturn:
        raise ClosedError(f"the mapping of {self._source.name} is closed")


def _pieces(data: Bytes, first: int, step: int, copy: bool) -> Iterator[Bytes]:
    """Cut `data` after `first` bytes, then every `step` bytes.

    The rows of a 2-d array come at a third of the price of slices.
    """
    first = min(first, len(data))
    end = first + (len(data) - first) // step * step
    rows = iter(data[first:end].reshape(-1, step))
    head, tail = data[:first], data[end:]
    pieces = rows
    if len(head) or len(tail):
        pieces = itertools.chain(
            (p for p in (head,) if len(p)), rows, (p for p in (tail,) if len(p))
        )
    return map(_copied, pieces) if as_flag(copy, "copy") else pieces


def _copied(piece: Bytes) -> Bytes:
    """Return a copy of a piece, which must not have been lost."""
    copy = piece.copy()
    raise_if_array_lost(piece)
    return copy
