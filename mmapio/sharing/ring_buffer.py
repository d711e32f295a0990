"""`RingBuffer`: a queue of records from one producer to one consumer."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .._polling import poll
from .._validation import as_count, as_positive
from .._values import ItemStore, as_items
from ..atomics import AtomicCell
from ..errors import ArgumentError, FormatError
from ..guard.lost_memory import any_loss, raise_if_source_lost
from .shared_file import Contents, SharedFile, SharedObject, slots_for
from .turns import Turn

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

__all__ = ["RingBuffer"]


class _RingFile(SharedFile):
    """Slots for records, with the counts of those that were ever put in and taken out."""

    __slots__ = ("emptied", "filled", "items", "popping", "pushing")

    LINES = 2
    FEWEST_SLOTS = 1

    def __init__(self, contents: Contents) -> None:
        super().__init__(contents)
        self.filled = AtomicCell(self.lines, (0, 0))
        self.emptied = AtomicCell(self.lines, (1, 0))
        self.items = ItemStore(self.slots, "record")
        self.pushing, self.popping = Turn("push"), Turn("pop")

    def used(self) -> int:
        """Return the number of records in it, to its producer or its consumer."""
        used = int(self.filled.load() - self.emptied.load())
        if not 0 <= used <= len(self.slots):
            self.check()
            raise self._damaged()  # what `check` does not find, as two producers are at work
        return used

    def seen_used(self) -> int:
        """Return the number of records in it, to anybody, while both ends move."""
        emptied, filled, later = self.emptied.load(), self.filled.load(), self.emptied.load()
        if filled < emptied or filled - later > len(self.slots):
            self.extent.check()
            raise self._damaged()
        return min(int(filled - emptied), len(self.slots))

    def grown(self, count: AtomicCell, before: int) -> int:
        """Return a count of one's own, which another may have set back while this side waited."""
        now = int(count.load())
        if now < before:
            self.check()
            raise self._damaged()
        return now

    def check_numbers(self) -> None:
        """Raise FormatError if more was taken out than put in, or more put in than there is room.

        Both ends may move meanwhile.
        """
        self.seen_used()

    def _damaged(self) -> FormatError:
        return FormatError(
            f"{self.extent.name} is damaged, or used by two at once: it says that of "
            f"{self.filled.load()} records {self.emptied.load()} were taken out, and it has room "
            f"for {len(self.slots)}; open it anew in mode 'w+'"
        )


class RingBuffer(SharedObject):
    """A queue of records of one dtype from one producer to one consumer, in threads or processes.

    Neither side takes a lock. A record becomes visible once it is complete, and leaves once it is
    copied: a producer that is killed half way has sent nothing, and what a killed consumer was
    taking is taken by the next one. Only one producer and one consumer may be at work at a time.

    Made by `open` and `anonymous`. The second process opens the file by its path, or is sent the
    ring buffer by pickle.

    Parameters
    ----------
    mapping : MappedFile
        One that holds a ring buffer.

    Raises
    ------
    FormatError
        If it holds none.

    See Also
    --------
    mmapio.atomics.ring_push, mmapio.atomics.ring_pop : The same from kernels, with the arrays
        `lines` and `slots` of the ring buffer.

    Examples
    --------
    >>> import mmapio
    >>> events = mmapio.RingBuffer.open("events.ring", dtype="f8", capacity=1024)
    >>> events.push(1.5), events.push_many([2.5, 3.5])
    (True, 2)
    >>> other_side = mmapio.RingBuffer.open("events.ring")
    >>> other_side.pop(), other_side.pop_many(), other_side.pop()
    (np.float64(1.5), array([2.5, 3.5]), None)
    """

    __slots__ = ()

    KIND = "ring"
    _FILE = _RingFile

    _file: _RingFile

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        mode: str = "a+",
        dtype: npt.DTypeLike | None = None,
        capacity: int | None = None,
    ) -> Self:
        """Open a ring buffer in a file, or create one.

        Parameters
        ----------
        path : str or os.PathLike
            The file.
        mode : {"a+", "r+", "r", "x+", "w+"}, default "a+"
            As for `MappedFile.open`. Both sides need to write.
        dtype : dtype_like, optional
            Type of a record.
        capacity : int, optional
            How many records it holds. Both are needed to create a file; a file that is there must
            be as they say, if they are given.

        Returns
        -------
        RingBuffer
            The ring buffer; empty if it is new.

        Raises
        ------
        FormatError
            If the file holds no ring buffer, one of another dtype or capacity, or counts that
            cannot be.
        MissingFileError
            If there is no file, and no `dtype` and `capacity` to create one with.
        ArgumentError, ArgumentTypeError
            If `dtype`, `capacity` or `mode` cannot be used, or only one of the two is given.
        ExistingFileError, DirectoryError, AccessError, FileError
            As for `MappedFile.open`.

        Examples
        --------
        >>> import mmapio
        >>> with mmapio.RingBuffer.open("opened.ring", dtype="i8", capacity=4) as numbers:
        ...     numbers.push(7)
        True
        >>> mmapio.RingBuffer.open("opened.ring").pop()
        np.int64(7)
        """
        if (dtype is None) != (capacity is None):
            raise ArgumentError("dtype and capacity are given together, or both left to the file")
        wanted = None if dtype is None else slots_for(dtype, as_positive(capacity, "capacity"))
        return cls._open(path, mode, 2, wanted)

    @classmethod
    def anonymous(cls, dtype: npt.DTypeLike, capacity: int) -> Self:
        """Make a ring buffer in memory, which forked children share.

        Parameters
        ----------
        dtype : dtype_like
            Type of a record.
        capacity : int
            How many records it holds.

        Returns
        -------
        RingBuffer
            The ring buffer, empty.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            If `dtype` or `capacity` cannot be used.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.RingBuffer.anonymous("f8", 16)
        <RingBuffer <anonymous> 0 of 16 float64>
        """
        return cls._anonymous(2, slots_for(dtype, as_positive(capacity, "capacity")))

    @property
    def capacity(self) -> int:
        """Number of records that it has room for."""
        return len(self._file.slots)

    def __len__(self) -> int:
        """Return the number of records in it."""
        ring = self._file
        used = ring.seen_used()
        if any_loss():
            ring.extent.raise_if_lost()
        return used

    def push(self, record: Any, timeout: float | None = 0) -> bool:
        """Put a record in.

        Parameters
        ----------
        record : number, tuple, record or array_like
            A value that an item of the dtype holds; see `GrowableArray.append`.
        timeout : float or None, default 0
            How long to wait for room, in seconds; None: as long as it takes.

        Returns
        -------
        bool
            Whether there was room.

        Raises
        ------
        ReadOnlyError
            If the file was opened in mode ``"r"``.
        MappingLostError
            If a part of the file is missing, or the record lies in memory whose file has lost it.
        FormatError
            If its counts are damaged.
        ReplacedError
            If there is another file at the path by now; found while it waits.
        ClosedError
            If the ring buffer is closed.
        ArgumentError, ArgumentTypeError
            If the record does not fit the dtype; none is sent then.

        Examples
        --------
        >>> import mmapio
        >>> ring = mmapio.RingBuffer.anonymous("u1", 2)
        >>> [ring.push(i) for i in range(3)]
        [True, True, False]
        """
        ring = self._file
        turn, items = ring.pushing, ring.items
        me = turn.ask()
        try:
            turn.thread = me
            if not ring.is_writable:
                ring.extent.refuse()
            filled, capacity = ring.filled.load(), items.count
            if not 0 <= filled - ring.emptied.load() < capacity:
                if not self._comes(self._has_room, timeout):
                    return False
                filled = ring.grown(ring.filled, filled)
            items.store(filled % capacity, record)
            if not filled:
                ring.check()  # a count in the last page of a file that was cut off is 0, too
            if any_loss():
                raise_if_source_lost(record)
                ring.extent.raise_if_lost()  # and what nobody would find is not sent
            ring.filled.store(filled + 1)
            return True
        finally:
            turn.thread = 0

    def pop(self, timeout: float | None = 0) -> Any:
        """Take the oldest record out.

        Parameters
        ----------
        timeout : float or None, default 0
            How long to wait for one, in seconds; None: as long as it takes.

        Returns
        -------
        numpy scalar, record or numpy.ndarray
            A copy of it; None if there is none.

        Raises
        ------
        ReadOnlyError
            If the file was opened in mode ``"r"``.
        MappingLostError
            If a part of the file is missing.
        FormatError
            If its counts are damaged.
        ReplacedError
            If there is another file at the path by now; found while it waits.
        ClosedError
            If the ring buffer is closed.

        Examples
        --------
        >>> import mmapio
        >>> ring = mmapio.RingBuffer.anonymous("u1", 2)
        >>> _ = ring.push(7)
        >>> ring.pop(), ring.pop()
        (np.uint8(7), None)
        """
        ring = self._file
        turn, slots = ring.popping, ring.slots
        me = turn.ask()
        try:
            turn.thread = me
            if not ring.is_writable:
                ring.extent.refuse()
            emptied, capacity = ring.emptied.load(), len(slots)
            if not 0 < ring.filled.load() - emptied <= capacity:
                if not self._comes(self._has_records, timeout):
                    return None
                emptied = ring.grown(ring.emptied, emptied)
            record = slots[emptied % capacity].copy()
            if any_loss():
                ring.extent.raise_if_lost()
            ring.emptied.store(emptied + 1)
            return record
        finally:
            turn.thread = 0

    def push_many(self, records: npt.ArrayLike, timeout: float | None = 0) -> int:
        """Put records in, in order, as many as there is room for.

        Parameters
        ----------
        records : array_like
            Of values that the dtype holds; see `GrowableArray.append`.
        timeout : float or None, default 0
            How long to wait for room for all of them, in seconds; None: as long as it takes.

        Returns
        -------
        int
            How many there was room for: the first ones.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            If the records have another shape than those of the ring buffer, or one of them does not
            fit the dtype; none is sent then.
        ReadOnlyError, MappingLostError, FormatError, ReplacedError, ClosedError
            As for `push`.

        Examples
        --------
        >>> import mmapio
        >>> ring = mmapio.RingBuffer.anonymous("u1", 4)
        >>> ring.push_many(range(6)), len(ring)
        (4, 4)
        """
        turn = self._file.pushing
        me = turn.ask()
        try:
            turn.thread = me
            data = self._as_records(records)
            filled, sent = int(self._file.filled.load()), 0

            def send() -> bool:
                nonlocal filled, sent
                ring = self._file
                filled = ring.grown(ring.filled, filled)
                count = _push_block(ring, data[sent:])
                filled, sent = filled + count, sent + count
                return sent == len(data)

            self._comes(send, timeout)
            return sent
        finally:
            turn.thread = 0

    def pop_many(self, limit: int | None = None, timeout: float | None = 0) -> npt.NDArray[Any]:
        """Take records out, the oldest first, as many as there are.

        Parameters
        ----------
        limit : int, optional
            How many at most.
        timeout : float or None, default 0
            How long to wait for the first one, in seconds; None: as long as it takes.

        Returns
        -------
        numpy.ndarray
            Copies of them, perhaps of none.

        Raises
        ------
        ArgumentError
            If `limit` is negative.
        ReadOnlyError, MappingLostError, FormatError, ReplacedError, ClosedError
            As for `pop`.

        Examples
        --------
        >>> import mmapio
        >>> ring = mmapio.RingBuffer.anonymous("u1", 4)
        >>> _ = ring.push_many([1, 2, 3])
        >>> ring.pop_many(2), ring.pop_many()
        (array([1, 2], dtype=uint8), array([3], dtype=uint8))
        """
        turn = self._file.popping
        me = turn.ask()
        try:
            turn.thread = me
            ring = self._writable()
            emptied, capacity = ring.emptied.load(), ring.items.count
            most = capacity if limit is None else as_count(limit, "limit")
            has_records = 0 < ring.filled.load() - emptied <= capacity
            if most and not has_records and self._comes(self._has_records, timeout):
                emptied = ring.grown(ring.emptied, emptied)
            return _pop_block(ring, emptied, most)
        finally:
            turn.thread = 0

    def _as_records(self, records: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return an array of records that can be put in."""
        slots = self._writable().slots
        given = list(records) if isinstance(records, range) else records
        data = as_items(given, slots.dtype, "records")
        raise_if_source_lost(records)
        if data.shape[1:] != slots.shape[1:] or not data.ndim:
            raise ArgumentError(
                f"records must have shape {('n', *slots.shape[1:])}, got {data.shape}"
            )
        return data

    def _comes(self, happened: Callable[[], bool], timeout: float | None) -> bool:
        """Return True if something happens in time; it is looked at once before any waiting.

        Raise if it cannot happen any more, since the file is not the one of the other side.
        """
        ring = self._file
        if happened() or (timeout != 0 and poll(happened, timeout, ring.check)):
            return True
        if any_loss():
            ring.extent.raise_if_lost()
        return False

    def _has_records(self) -> bool:
        return self._file.used() > 0

    def _has_room(self) -> bool:
        ring = self._file
        return ring.used() < len(ring.slots)

    def _writable(self) -> _RingFile:
        """Return the file, to write to it."""
        ring = self._file
        if not ring.is_writable:
            ring.extent.refuse()
        return ring

    def _summary(self) -> str:
        return f"{len(self)} of {self.capacity} {self.slots.dtype}"


def _push_block(ring: _RingFile, data: npt.NDArray[Any]) -> int:
    """Put in the records that there is room for, and return their number."""
    filled, slots = ring.filled.load(), ring.slots
    count = min(len(slots) - ring.used(), len(data))
    start = filled % len(slots)
    first = slots[start : start + count]
    first[:] = data[: len(first)]
    slots[: count - len(first)] = data[len(first) : count]
    if not filled:
        ring.check()
    if any_loss():
        raise_if_source_lost(data)
        ring.extent.raise_if_lost()
    ring.filled.store(filled + count)
    return count


def _pop_block(ring: _RingFile, emptied: int, most: int) -> npt.NDArray[Any]:
    """Take out the records that are there, up to a number, and return copies of them."""
    slots, count = ring.slots, min(ring.used(), most)
    start = emptied % len(slots)
    first = slots[start : start + count]
    records = np.empty((count, *slots.shape[1:]), slots.dtype)
    records[: len(first)] = first
    records[len(first) :] = slots[: count - len(first)]
    if any_loss():
        ring.extent.raise_if_lost()
    ring.emptied.store(emptied + count)
    return records
