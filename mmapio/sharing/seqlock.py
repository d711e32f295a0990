"""`SeqLock`: a record that is replaced while others read it, and never seen in part."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

from .._validation import as_count
from .._values import ItemStore
from ..atomics import AtomicCell
from ..atomics._cells import compiled_fence
from ..errors import ArgumentError, FormatError
from ..guard.lost_memory import any_loss, raise_if_source_lost
from .shared_file import Contents, SharedFile, SharedObject, slots_for
from .turns import Turn

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

__all__ = ["SeqLock"]


class _SeqLockFile(SharedFile):
    """Slots that records take turns in, and the number of records written so far."""

    __slots__ = ("fence", "items", "number", "writing")

    FEWEST_SLOTS = 2

    def __init__(self, contents: Contents) -> None:
        super().__init__(contents)
        self.number = AtomicCell(self.lines, (0, 0))
        self.items = ItemStore(self.slots, "record")
        self.writing = Turn("write")
        self.fence = compiled_fence()

    def check_numbers(self) -> None:
        """Raise FormatError if the number of records is negative."""
        if (number := self.number.load()) < 0:
            name = self.extent.name
            raise FormatError(f"{name} is damaged: it says that {number} records were written")


class SeqLock(SharedObject):
    """One record of any dtype that a writer replaces as a whole, and any number of readers copy.

    Readers take no lock, never make the writer wait, and never see a part of one record beside a
    part of another. A writer that is killed half way leaves the record before it for all to see,
    and another one may go on. Only one writer may be at work at a time.

    Made by `open` and `anonymous`. The second process opens the file by its path, or is sent the
    seqlock by pickle.

    Parameters
    ----------
    mapping : MappedFile
        One that holds a seqlock.

    Raises
    ------
    FormatError
        If it holds none.

    See Also
    --------
    mmapio.atomics.seqlock_read, mmapio.atomics.seqlock_write : The same from kernels, with the
        arrays `lines` and `slots` of the seqlock.

    Notes
    -----
    Each record goes into the next of several slots. A reader has to try again only if the writer
    fills all the others while it copies one.

    Examples
    --------
    >>> import mmapio
    >>> position = mmapio.SeqLock.open("position.lock", dtype=[("x", "f8"), ("y", "f8")])
    >>> position.write((1.5, 2.5))
    1
    >>> mmapio.SeqLock.open("position.lock", "r").read()
    np.void((1.5, 2.5), dtype=[('x', '<f8'), ('y', '<f8')])
    """

    __slots__ = ()

    KIND = "seqlock"
    _FILE = _SeqLockFile

    _file: _SeqLockFile

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        mode: str = "a+",
        dtype: npt.DTypeLike | None = None,
        slots: int = 8,
    ) -> Self:
        """Open a seqlock in a file, or create one.

        Parameters
        ----------
        path : str or os.PathLike
            The file.
        mode : {"a+", "r+", "r", "x+", "w+"}, default "a+"
            As for `MappedFile.open`.
        dtype : dtype_like, optional
            Type of the record; needed to create a file. A file that is there must have it, if one
            is given.
        slots : int, default 8
            How many records there is room for, 2 or more: of a file that is created, or is opened
            with a `dtype`. A short record that is written without a pause needs more of them.

        Returns
        -------
        SeqLock
            The seqlock; its record is all zeros if it is new.

        Raises
        ------
        FormatError
            If the file holds no seqlock, or one of another dtype or number of slots.
        MissingFileError
            If there is no file, and no `dtype` to create one for.
        ArgumentError, ArgumentTypeError
            If `dtype`, `slots` or `mode` cannot be used.
        ExistingFileError, DirectoryError, AccessError, FileError
            As for `MappedFile.open`.

        Examples
        --------
        >>> import mmapio
        >>> with mmapio.SeqLock.open("settings.lock", dtype=("i4", 3)) as settings:
        ...     settings.write([1, 2, 3])
        1
        >>> mmapio.SeqLock.open("settings.lock").read()
        array([1, 2, 3], dtype=int32)
        """
        count = _as_slots(slots)
        return cls._open(path, mode, 1, None if dtype is None else slots_for(dtype, count))

    @classmethod
    def anonymous(cls, dtype: npt.DTypeLike, slots: int = 8) -> Self:
        """Make a seqlock in memory, which forked children share.

        Parameters
        ----------
        dtype : dtype_like
            Type of the record.
        slots : int, default 8
            How many records there is room for; 2 or more.

        Returns
        -------
        SeqLock
            The seqlock; its record is all zeros.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            If `dtype` or `slots` cannot be used.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.SeqLock.anonymous("f8").read()
        np.float64(0.0)
        """
        return cls._anonymous(1, slots_for(dtype, _as_slots(slots)))

    def write(self, record: Any) -> int:
        """Replace the record.

        Parameters
        ----------
        record : number, tuple, record or array_like
            A value that an item of the dtype holds; see `GrowableArray.append`.

        Returns
        -------
        int
            How many have been written up to this one.

        Raises
        ------
        ReadOnlyError
            If the file was opened in mode ``"r"``.
        MappingLostError
            If a part of the file is missing, or the record lies in memory whose file has lost it;
            the record is the one before then.
        ClosedError
            If the seqlock is closed.
        ArgumentError, ArgumentTypeError
            If it does not fit the dtype; the record is the one before then.

        Examples
        --------
        >>> import mmapio
        >>> temperature = mmapio.SeqLock.anonymous("f4")
        >>> temperature.write(20.5), temperature.write(21)
        (1, 2)
        """
        file = self._file
        number, items, turn = file.number, file.items, file.writing
        me = turn.ask()
        try:
            turn.thread = me
            latest: int = number.load()
            if not file.is_writable:
                file.extent.refuse()
            file.fence()
            items.store((latest + 1) % items.count, record)
            if not latest:
                file.check()  # the number in the last page of a file that was cut off is 0, too
            if any_loss():
                raise_if_source_lost(record)
                file.extent.raise_if_lost()
            number.store(latest + 1)
            return latest + 1
        finally:
            turn.thread = 0

    def read(self) -> Any:
        """Return a copy of the newest record.

        Returns
        -------
        numpy scalar, record or numpy.ndarray
            The record, whole.

        Raises
        ------
        MappingLostError
            If a part of the file is missing.
        ClosedError
            If the seqlock is closed.

        Examples
        --------
        >>> import mmapio
        >>> temperature = mmapio.SeqLock.anonymous("f4")
        >>> _ = temperature.write(20.5)
        >>> temperature.read()
        np.float32(20.5)
        """
        file = self._file
        load, slots = file.number.load, file.slots
        count = len(slots)
        while True:
            number = load()
            record = slots[number % count].copy()
            file.fence()
            if load() - number < count - 1:
                break
        if not number:
            file.check()
        if any_loss():
            file.extent.raise_if_lost()
        return record

    @property
    def count(self) -> int:
        """Number of records written so far."""
        file = self._file
        number = int(file.number.load())
        if any_loss():
            file.extent.raise_if_lost()
        return number

    def _summary(self) -> str:
        return f"of {self.slots.dtype} {self.slots.shape[1:] or ''}".rstrip()


def _as_slots(value: object) -> int:
    count = as_count(value, "slots")
    if count < 2:
        raise ArgumentError(f"slots must be 2 or more, got {count}")
    return count
