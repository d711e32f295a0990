"""`ShardedCounter`: a number that threads and processes add to without contention."""

from __future__ import annotations

import os
from typing import Any, Final, Self

from .._validation import as_positive
from ..atomics import AtomicArray, AtomicCell
from ..guard.lost_memory import any_loss
from .shared_file import Contents, SharedFile, SharedObject, no_slots

__all__ = ["ShardedCounter"]

_SHARDS: Final = 64


class _CounterFile(SharedFile):
    """Cells that make up the counter, one of them this process's own."""

    __slots__ = ("add", "load")

    LINES = None

    def __init__(self, contents: Contents) -> None:
        super().__init__(contents)
        lines = self.lines
        own = os.getpid() % len(lines)
        cell = AtomicCell(lines, (own, 0))
        self.add: Any = cell.fetch_add if lines.flags.writeable else self.extent.refuse
        self.load: Any = AtomicArray(lines[:, 0]).load


class ShardedCounter(SharedObject):
    """Counter made of several cells, on cache lines of their own, so that they do not contend.

    Processors that add to one cell pass its cache line back and forth at every addition. Here each
    thread adds to a cell of its own, and the value is the sum of all. It is a signed integer of 64
    bits, which wraps around.

    Made by `open` and `anonymous`. The second process opens the file by its path, or is sent the
    counter by pickle.

    Parameters
    ----------
    mapping : MappedFile
        One that holds a counter.

    Raises
    ------
    FormatError
        If it holds none.

    See Also
    --------
    mmapio.atomics.sharded_add : Add from a kernel, with the array `lines` of the counter.

    Notes
    -----
    In a kernel the cell is chosen by where the thread's stack lies, or by a number that is passed
    in. From Python it is chosen by the process: the threads of one process take turns anyway. Two
    that share a cell still lose nothing, they only wait for each other. In a build of Python
    without the global lock, threads add faster from kernels.

    Examples
    --------
    >>> import mmapio, numba
    >>> from mmapio import atomics
    >>> counter = mmapio.ShardedCounter.open("hits.counter")
    >>> counter.add(2)
    >>> @numba.njit(nogil=True)
    ... def count(lines, n):
    ...     for _ in range(n):
    ...         atomics.sharded_add(lines, 1)
    >>> count(counter.lines, 1000)
    >>> counter.value, mmapio.ShardedCounter.open("hits.counter", "r").value
    (1002, 1002)
    """

    __slots__ = ()

    KIND = "counter"
    _FILE = _CounterFile

    _file: _CounterFile

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], mode: str = "a+", shards: int | None = None
    ) -> Self:
        """Open a counter in a file, or create one.

        Parameters
        ----------
        path : str or os.PathLike
            The file.
        mode : {"a+", "r+", "r", "x+", "w+"}, default "a+"
            As for `MappedFile.open`.
        shards : int, optional
            How many cells; 64 for a new file if left out. A file that is there must have as many,
            if any number is given.

        Returns
        -------
        ShardedCounter
            The counter; at 0 if it is new.

        Raises
        ------
        FormatError
            If the file holds no counter, or one of another number of cells.
        ArgumentError
            If `shards` is not 1 or more, or `mode` is ``"c"``.
        MissingFileError, ExistingFileError, DirectoryError, AccessError, FileError
            As for `MappedFile.open`.

        Examples
        --------
        >>> import mmapio
        >>> with mmapio.ShardedCounter.open("opened.counter", shards=8) as counter:
        ...     counter.add(1)
        >>> mmapio.ShardedCounter.open("opened.counter").value
        1
        """
        count = _SHARDS if shards is None else as_positive(shards, "shards")
        return cls._open(path, mode, count, no_slots(), exact=shards is not None)

    @classmethod
    def anonymous(cls, shards: int = _SHARDS) -> Self:
        """Make a counter in memory, which forked children share.

        Parameters
        ----------
        shards : int, default 64
            How many cells, of 128 bytes each.

        Returns
        -------
        ShardedCounter
            The counter, at 0.

        Raises
        ------
        ArgumentError
            If `shards` is not 1 or more.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.ShardedCounter.anonymous(2)
        <ShardedCounter <anonymous> at 0 in 2 cells>
        """
        return cls._anonymous(as_positive(shards, "shards"), no_slots())

    def add(self, value: int = 1) -> None:
        """Add to the counter.

        Parameters
        ----------
        value : int, default 1
            What to add; it may be negative.

        Raises
        ------
        ReadOnlyError
            If the file was opened in mode ``"r"``.
        ArgumentError, ArgumentTypeError
            If `value` is no integer, or one that does not fit into 64 bits.
        ClosedError
            If the counter is closed.

        Examples
        --------
        >>> import mmapio
        >>> counter = mmapio.ShardedCounter.anonymous()
        >>> counter.add(5)
        >>> counter.add(-2)
        >>> counter.value
        3
        """
        self._file.add(value)

    @property
    def value(self) -> int:
        """Sum of all cells: all that was added before, and some of what is being added now.

        It raises MappingLostError if a part of the file is missing; `add` never does.
        """
        file = self._file
        total: int = sum(map(file.load, range(len(file.lines))))
        if not total:
            file.check()  # so are cells in the last page of a file that was cut off
        if any_loss():
            file.extent.raise_if_lost()
        return (total + 2**63) % 2**64 - 2**63

    def _summary(self) -> str:
        return f"at {self.value} in {len(self.lines)} cells"
