r"""Files of shared objects: a header that names the kind, lines of numbers, and slots.

Layout, in the byte order of the machine::

    0       8 bytes   b"mmapio\0\1", the last byte being the version of this layout
    8       16 bytes  what it is, such as b"ring", and zeros
    24      8 bytes   how many lines there are, uint64
    32      32 bytes  zeros
    64      ...       a .npy header (NEP 1), which tells dtype and shape of the slots
    ...               lines of 128 bytes, each of which begins with an int64 that is shared
    ...               the slots

Lines begin at the first multiple of 128 after the header, slots where the lines end. A line is as
long as what processors move between each other: 64 bytes, on some of them two or in pairs.
"""

from __future__ import annotations

import functools
import struct
from math import prod
from types import TracebackType
from typing import Any, ClassVar, Final, NamedTuple, NoReturn, Self

import numpy as np

from .._validation import LARGEST, as_dtype, full_shape, round_up
from ..errors import (
    ArgumentError,
    ArgumentTypeError,
    ClosedError,
    FormatError,
    MmapioError,
    ReadOnlyError,
    UnsupportedError,
)
from ..files.npy import encode_header, read_header
from ..guard.lost_memory import lost_error, raise_if_lost
from ..mapping.losses import LossCheck
from ..mapping.mapped_file import MappedFile
from ..mapping.opening import map_path
from ..mapping.options import MapOptions
from ..mapping.region import Region
from ..modes import Mode

__all__ = [
    "Contents",
    "Extent",
    "SharedFile",
    "SharedObject",
    "Slots",
    "check_mapping",
    "no_slots",
    "slots_for",
]

_MAGIC: Final = b"mmapio\0\1"
_HEADER: Final = struct.Struct("=8s16sQ32x")
_LINE_BYTES: Final = 128

Lines = np.ndarray[Any, np.dtype[np.int64]]
Holds = tuple[int, np.dtype[Any], tuple[int, ...]]  # lines, and dtype and shape of the slots
Slots = tuple[np.dtype[Any], tuple[int, ...]]  # dtype and shape


class Extent:
    """Range of a mapping that an object lies in, from its header on, and which must stay its own.

    It holds none of the object's arrays, so that whoever waits for the object can have it.

    Parameters
    ----------
    mapping : MappedFile
        The mapping.
    name : str
        What lies there, and in which file, for messages.
    offset, length : int
        The range.
    header : bytes
        The first bytes of it, which never change.
    """

    __slots__ = ("_address", "_header", "_length", "_offset", "mapping", "name")

    def __init__(
        self, mapping: MappedFile, name: str, offset: int, length: int, header: bytes = b""
    ) -> None:
        self.mapping = mapping
        self.name = name
        self._offset = offset
        self._length = length
        self._header = header
        # Where the object's arrays lie, and stay when the mapping is resized
        self._address = mapping.view(offset, 0).ctypes.data

    def check(self) -> None:
        """Raise if the range was lost, or if something else lies there or at the path."""
        self.raise_if_lost()
        self.mapping._span(self._offset, self._length).check()
        header = self._header
        if header and (found := self.mapping.read(self._offset, len(header))) != header:
            if any(found):
                raise FormatError(f"{self.name} was overwritten: its header is another")
            source = self.mapping._source
            start = source.offset + self._offset
            more = "and something else grew it again"
            raise lost_error(source, start, start + self._length, "truncated", more)

    def refuse(self, *_: object) -> NoReturn:
        """Raise the error for something that is stored into a file that is open for reading."""
        raise ReadOnlyError(f"{self.name} is open for reading; open it in 'r+'")

    def raise_if_lost(self) -> None:
        """Raise if the guard has met a loss in the range."""
        raise_if_lost(self._address, self._length)


class Contents(NamedTuple):
    """Lines of one shared int64 each, slots after them, and where in a mapping they lie."""

    extent: Extent
    lines: Lines
    slots: np.ndarray[Any, Any]


class SharedFile:
    """Lines and slots of an object, in a mapping that it keeps open."""

    __slots__ = ("extent", "is_writable", "lines", "slots")

    LINES: ClassVar[int | None] = 1  # how many there are; None: any number of them
    FEWEST_SLOTS: ClassVar[int] = 0

    def __init__(self, contents: Contents) -> None:
        self.extent, self.lines, self.slots = contents
        self.is_writable = self.lines.flags.writeable
        fewest = self.FEWEST_SLOTS
        if self.LINES not in (None, len(self.lines)) or fewest > len(self.slots):
            raise FormatError(
                f"{self.extent.name} is damaged: it has {len(self.lines)} lines and "
                f"{len(self.slots)} slots, not {self.LINES} and at least {fewest}"
            )

    @property
    def mapping(self) -> MappedFile:
        """The mapping."""
        return self.extent.mapping

    def arguments(self) -> tuple[Any, ...]:
        """Return what another process makes the object of."""
        if not self.mapping._source.has_file:
            raise UnsupportedError(
                f"{self.extent.name} cannot be pickled: another process finds it by no path; only "
                "children made by fork share it, so use one in a file"
            )
        return (self.mapping,)

    def check(self) -> None:
        """Raise if the file was lost, replaced or damaged."""
        self.extent.check()
        self.check_numbers()

    def check_numbers(self) -> None:
        """Raise FormatError if the lines hold numbers that nobody has put there."""

    def close(self, reason: str) -> None:
        """Let those that wait for a change raise `ClosedError`; the memory goes with its users."""


class SharedObject:
    """An object that processes share: methods over one `SharedFile`, until it is closed.

    It keeps its memory alive, and gives it back when it goes; `close` does that at once. It is
    pickled by reference, as the mapping is.
    """

    __slots__ = ("_file",)

    KIND: ClassVar[str]
    _FILE: ClassVar[type[SharedFile]]

    _file: SharedFile

    def __init__(self, mapping: MappedFile) -> None:
        self._file = self._FILE(_read(mapping, self.KIND))
        self._file.check_numbers()

    @classmethod
    def _open(
        cls, path: object, mode: str, lines: int, slots: Slots | None, *, exact: bool = True
    ) -> Self:
        """Open or create a file; an existing one must be as asked for, unless `exact` is False.

        Without slots, only an existing file is opened, whatever its size.
        """
        kind = Mode.parse(mode)
        if kind is Mode.COPY:
            raise ArgumentError(f"mode 'c' is a private copy, but a {cls.KIND} is there to share")
        if slots is None and kind in (Mode.CREATE, Mode.REPLACE):
            raise ArgumentError(f"mode {mode!r} creates a {cls.KIND}: give its dtype and its size")
        header, size = b"", None
        if kind.creates and slots is not None:
            header, size = _header(cls.KIND, lines, slots)
        wanted = (lines, *slots) if exact and slots is not None else None
        use = functools.partial(cls._in, wanted)
        return map_path(path, MapOptions(kind, size=size), header, use=use)

    @classmethod
    def _in(cls, wanted: Holds | None, region: Region) -> Self:
        """Return the object that lies in mapped memory; it must hold what is wanted."""
        found = cls(MappedFile(region))
        holds = len(found.lines), found.slots.dtype, found.slots.shape
        if wanted is not None and holds != wanted:
            raise FormatError(
                f"{found.path!r} holds a {cls.KIND} of {_in_words(*holds)}, not of "
                f"{_in_words(*wanted)}"
            )
        return found

    @classmethod
    def _anonymous(cls, lines: int, slots: Slots) -> Self:
        """Make one in memory that forked children share."""
        header, size = _header(cls.KIND, lines, slots)
        mapping = MappedFile.anonymous(size)
        mapping.write(0, header)
        return cls(mapping)

    @property
    def lines(self) -> Lines:
        """The shared numbers, each the first of a row: an array for kernels."""
        return self._file.lines

    @property
    def slots(self) -> np.ndarray[Any, Any]:
        """The stored items: an array for kernels."""
        return self._file.slots

    @property
    def path(self) -> str | None:
        """Absolute path of the file; None where there is none."""
        return self._file.mapping.path

    @property
    def mapping(self) -> MappedFile:
        """The mapping that it lies in."""
        return self._file.mapping

    def check(self) -> None:
        """Raise if the file was cut off, replaced or damaged since it was opened.

        Raises
        ------
        MappingLostError
            If the file became shorter, if its disk was full when something was stored, or if the
            drive failed.
        ReplacedError
            If there is another file at the path now, which whoever opens it from now on shares.
        FormatError
            If something else was written over it.
        ClosedError
            If it is closed.

        Notes
        -----
        Methods that find bytes missing raise MappingLostError themselves, and those that wait do
        all of this every 0.1 s. It is left to this method to notice what no access shows: another
        file at the path, and zeros in the page that holds the new end of a file.

        Examples
        --------
        >>> import os, mmapio
        >>> counter = mmapio.ShardedCounter.open("checked.counter")
        >>> counter.check()
        >>> os.truncate("checked.counter", 0)
        >>> counter.check()
        Traceback (most recent call last):
        mmapio.errors.MappingLostError: [Errno ...] bytes 0 to 8448 of the file were lost under \
the mapping, and read zeros: another program has cut the file off: '...checked.counter'
        """
        self._file.check()

    def guard(self) -> LossCheck:
        """Return a context manager that checks at its end, for code that uses the object.

        Returns
        -------
        LossCheck
            For a ``with`` block; see `MappedFile.guard`.

        Raises
        ------
        ClosedError
            If it is closed.

        Examples
        --------
        >>> import mmapio
        >>> counter = mmapio.ShardedCounter.open("guarded.counter")
        >>> with counter.guard():
        ...     for _ in range(1000):
        ...         counter.add(1)
        """
        return LossCheck(self._file.mapping._source, self.check)

    def recover(self) -> int:
        """Remap lost pages from the file, as far as it reaches now.

        Returns
        -------
        int
            Bytes of memory that show the file again; see `MappedFile.recover`. What is still lost,
            `check` tells.

        Raises
        ------
        ReplacedError
            If the path no longer leads to the file that was opened.
        ClosedError
            If it is closed.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.ShardedCounter.open("whole.counter").recover()
        0
        """
        return self._file.mapping.recover()

    def close(self) -> None:
        """Let go of the memory; arrays made from it keep it until they go.

        Examples
        --------
        >>> import mmapio
        >>> counter = mmapio.ShardedCounter.anonymous()
        >>> counter.close()
        >>> counter.value
        Traceback (most recent call last):
        mmapio.errors.ClosedError: the counter is closed
        """
        # So that methods need not ask first, which the fastest of them would feel.
        file, self._file = self._file, _Closed(self.KIND)  # type: ignore[assignment]
        file.close(f"the {self.KIND} is closed")

    def __enter__(self) -> Self:
        _ = self._file.extent  # a closed object has none
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._file.arguments()

    def __repr__(self) -> str:
        try:
            return f"<{type(self).__name__} {self.path or '<anonymous>'} {self._summary()}>"
        except ClosedError:
            return f"<{type(self).__name__} closed>"
        except MmapioError:
            return f"<{type(self).__name__} {self.path} lost or damaged>"

    def _summary(self) -> str:
        """Return the content in a few words, for `repr`."""
        raise NotImplementedError


class _Closed:
    """Stand-in for the file of a closed object: it has nothing, and says why."""

    __slots__ = ("_kind",)

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def close(self, reason: str) -> None:
        """Do nothing, as a second time."""

    def __getattr__(self, name: str) -> NoReturn:
        raise ClosedError(f"the {self._kind} is closed")


def slots_for(dtype: Any, count: int) -> Slots:
    """Return dtype and shape of so many items; a dtype of subarrays adds axes, as in numpy."""
    item = as_dtype(dtype)
    return item.base, full_shape((count, *item.shape), item.base.itemsize)


def no_slots() -> Slots:
    """Return dtype and shape for an object that has no slots."""
    return slots_for("u1", 0)


def _header(kind: str, lines: int, slots: Slots) -> tuple[bytes, int]:
    """Return the header of a new file, and the size of the file."""
    dtype, shape = slots
    header = _HEADER.pack(_MAGIC, kind.encode(), lines) + encode_header(dtype, shape)
    return header, _size(len(header), lines, slots)


def _size(header: int, lines: int, slots: Slots) -> int:
    dtype, shape = slots
    return round_up(header, _LINE_BYTES) + lines * _LINE_BYTES + prod(shape) * dtype.itemsize


def _read(mapping: MappedFile, kind: str) -> Contents:
    """Return lines and slots of the object of that kind that a mapping holds."""
    check_mapping(mapping)
    name, size = mapping.path or "<anonymous>", mapping.size
    if size < _HEADER.size:
        raise FormatError(f"{name} is no {kind}: it has {size} bytes, and a header {_HEADER.size}")
    magic, found, lines = _HEADER.unpack(mapping.read(0, _HEADER.size))
    if magic[:-1] != _MAGIC[:-1]:
        raise FormatError(f"{name} is no {kind}: it begins with {magic!r}, not {_MAGIC!r}")
    if magic != _MAGIC:
        raise FormatError(f"{name} has layout {magic[-1]}; this mmapio knows {_MAGIC[-1]}")
    other = found.rstrip(b"\0").decode("latin1")
    if other != kind:
        raise FormatError(f"{name} is no {kind} but a {other!r}")
    at = _HEADER.size
    header = read_header(lambda offset, n: mapping.read(at + offset, n), size - at)
    slots = header.dtype, header.shape
    needed = _size(at + header.data_offset, lines, slots)
    if not 0 < lines <= LARGEST // _LINE_BYTES or needed > size or header.dtype.itemsize == 0:
        raise FormatError(
            f"{name} is cut off or damaged: a {kind} of {_in_words(lines, *slots)} takes {needed} "
            f"bytes, and {size} are there"
        )
    if not header.shape or header.fortran_order:
        raise FormatError(f"{name} is damaged: slots {header.shape} are not those of a {kind}")
    start = round_up(at + header.data_offset, _LINE_BYTES)
    shared = mapping.view(start, lines * _LINE_BYTES, np.int64)
    data = mapping.view(start + lines * _LINE_BYTES, needed - start - lines * _LINE_BYTES)
    first = mapping.read(0, at + header.data_offset)
    extent = Extent(mapping, f"the {kind} in {mapping._source.name}", 0, needed, first)
    return Contents(
        extent, shared.reshape(lines, -1), data.view(header.dtype).reshape(header.shape)
    )


def check_mapping(mapping: object) -> None:
    """Raise ArgumentTypeError if it is no mapping."""
    if not isinstance(mapping, MappedFile):
        kind = type(mapping).__name__
        raise ArgumentTypeError(f"mapping must be a MappedFile, got {kind!r}; `open` takes paths")


def _in_words(lines: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    """Return a description of lines and slots, for messages."""
    what = f"{lines} line{'s' if lines != 1 else ''}"
    return f"{what} and slots {shape} of {dtype}" if prod(shape) else what
