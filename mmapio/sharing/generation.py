"""`Generation`: a number in a file that tells others that the file has changed."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Self

from .._polling import deadline_of
from .._validation import as_integer
from ..atomics import AtomicCell
from ..guard.lost_memory import any_loss
from .shared_file import Contents, Extent, SharedFile, SharedObject, check_mapping, no_slots
from .waiting import LONGEST_SLEEP_S, Word

if TYPE_CHECKING:
    from ..mapping.mapped_file import MappedFile

__all__ = ["Generation"]


class _GenerationFile(SharedFile):
    """One number that is waited for; `offset` is its own in a mapping of the caller's layout."""

    __slots__ = ("add", "cell", "offset", "word")

    def __init__(self, contents: Contents, offset: int | None = None) -> None:
        super().__init__(contents)
        self.offset = offset
        self.cell = AtomicCell(self.lines, (0, 0))
        self.add: Any = self.cell.fetch_add if self.lines.flags.writeable else self.extent.refuse
        self.word = Word(self.cell, self.lines, self.extent.check)

    def close(self, reason: str) -> None:
        """Let those that wait raise `ClosedError`."""
        self.word.close(reason)

    def arguments(self) -> tuple[Any, ...]:
        """Return what another process makes the object of."""
        return (*super().arguments(), self.offset)


class Generation(SharedObject):
    """Shared number that is increased to announce a change, and can be waited for.

    Stores through a mapping raise no file event. With this, who stores calls `bump`, and all
    others, in any thread or process, wait for it: in `wait_for_change`, or with ``await`` in
    `changed`.

    Made by `open` and `anonymous`, in a file of its own, or by `at`, in any file. The second
    process opens the file by its path, or is sent the generation by pickle.

    Parameters
    ----------
    mapping : MappedFile
        One that holds a generation.
    offset : int, optional
        First of its 8 bytes, as in `at`; left out if the mapping is one that `open` would make.

    Raises
    ------
    FormatError
        If it holds none.
    OutOfBoundsError, MisalignedError
        As in `at`.

    Notes
    -----
    On Linux waiting is a futex(2), which wakes within microseconds and costs nothing meanwhile; on
    other systems it is polling, with pauses that grow to 1 ms. A kernel can bump it by
    ``atomics.fetch_add(generation.lines, (0, 0), 1)``; that wakes nobody, but a sleeper
    looks every 0.1 s. It is a signed integer of 64 bits, and wraps around.

    Examples
    --------
    >>> import mmapio
    >>> generation = mmapio.Generation.open("table.generation")
    >>> seen = generation.value
    >>> generation.bump()
    1
    >>> mmapio.Generation.open("table.generation", "r").wait_for_change(seen)
    1
    """

    __slots__ = ()

    KIND = "generation"
    _FILE = _GenerationFile

    _file: _GenerationFile

    def __init__(self, mapping: MappedFile, offset: int | None = None) -> None:
        if offset is None:
            super().__init__(mapping)
            return
        check_mapping(mapping)
        mapping.atomic(offset, "i8")  # says what is wrong with it
        lines = mapping.view(offset, 8, "i8").reshape(1, 1)
        name = f"the generation in {mapping._source.name}"
        contents = Contents(Extent(mapping, name, offset, 8), lines, mapping.view(offset, 0))
        self._file = _GenerationFile(contents, offset)

    @classmethod
    def open(cls, path: str | os.PathLike[str], mode: str = "a+") -> Self:
        """Open a generation in a file of its own, or create one.

        Parameters
        ----------
        path : str or os.PathLike
            The file.
        mode : {"a+", "r+", "r", "x+", "w+"}, default "a+"
            As for `MappedFile.open`. To wait, reading is enough.

        Returns
        -------
        Generation
            The generation; at 0 if it is new.

        Raises
        ------
        FormatError
            If the file holds no generation.
        ArgumentError
            If `mode` is ``"c"``.
        MissingFileError, ExistingFileError, DirectoryError, AccessError, FileError
            As for `MappedFile.open`.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.Generation.open("opened.generation").bump()
        1
        """
        return cls._open(path, mode, 1, no_slots())

    @classmethod
    def anonymous(cls) -> Self:
        """Make a generation in memory, which forked children share.

        Returns
        -------
        Generation
            The generation, at 0.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.Generation.anonymous()
        <Generation <anonymous> at 0>
        """
        return cls._anonymous(1, no_slots())

    @classmethod
    def at(cls, mapping: MappedFile, offset: int) -> Self:
        """Use 8 bytes of a mapping as a generation, next to the data it is about.

        Parameters
        ----------
        mapping : MappedFile
            A file, or memory, whose layout is the caller's.
        offset : int
            First of the 8 bytes: in memory, a multiple of 8.

        Returns
        -------
        Generation
            The generation, at the number that is there.

        Raises
        ------
        OutOfBoundsError
            If the 8 bytes do not lie within the mapping.
        MisalignedError
            If they do not lie at a multiple of 8.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.anonymous(4096)
        >>> mmapio.Generation.at(m, 8).bump()
        1
        >>> m.view(8, 8, "i8")
        array([1])
        """
        return cls(mapping, as_integer(offset, "offset"))

    @property
    def value(self) -> int:
        """Current number."""
        file = self._file
        number = int(file.cell.load())
        if any_loss():
            file.extent.raise_if_lost()
        return number

    def bump(self) -> int:
        """Add one, and wake all that wait.

        Returns
        -------
        int
            The number after it.

        Raises
        ------
        ReadOnlyError
            If the file was opened in mode ``"r"``.
        MappingLostError
            If a part of the file is missing.
        ClosedError
            If the generation is closed.

        Examples
        --------
        >>> import mmapio
        >>> generation = mmapio.Generation.anonymous()
        >>> generation.bump(), generation.bump()
        (1, 2)
        """
        number = self._file
        before = int(number.add(1))
        number.word.wake()
        if not before:
            number.check()  # the number in the last page of a file that was cut off is 0, too
        if any_loss():
            number.extent.raise_if_lost()
        return before + 1 if before < 2**63 - 1 else -(2**63)

    def wait_for_change(self, seen: int, timeout: float | None = None) -> int:
        """Wait until the number has changed.

        Parameters
        ----------
        seen : int
            The number that was seen before.
        timeout : float, optional
            How long to wait at most, in seconds; as long as it takes if left out.

        Returns
        -------
        int
            The number now; `seen` if the time ran out.

        Raises
        ------
        ArgumentTypeError
            If `seen` is no integer.
        MappingLostError, ReplacedError, FormatError
            As for `check`, which is called every 0.1 s.
        ClosedError
            If the generation is closed.

        Examples
        --------
        >>> import mmapio, threading
        >>> generation = mmapio.Generation.anonymous()
        >>> generation.wait_for_change(0, timeout=0.01)
        0
        >>> threading.Timer(0.01, generation.bump).start()
        >>> generation.wait_for_change(0)
        1
        """
        known, deadline = as_integer(seen, "seen"), deadline_of(timeout)
        word = self._file.word  # which keeps the memory if this is closed meanwhile
        while (now := word.look(known)) == known and (left_s := deadline - time.monotonic()) > 0:
            word.sleep(known, min(left_s, LONGEST_SLEEP_S))
        return now

    async def changed(self, seen: int) -> int:
        """Wait until the number has changed, without blocking the event loop.

        Parameters
        ----------
        seen : int
            The number that was seen before.

        Returns
        -------
        int
            The number now.

        Raises
        ------
        ArgumentTypeError
            If `seen` is no integer.
        MappingLostError, ReplacedError, FormatError
            As for `check`, which is called every 0.1 s.
        ClosedError
            If the generation is closed.

        Notes
        -----
        All that await one `Generation` share one thread, which waits for them and ends with them.

        Examples
        --------
        >>> import asyncio, mmapio, threading
        >>> generation = mmapio.Generation.anonymous()
        >>> async def main():
        ...     threading.Timer(0.01, generation.bump).start()
        ...     return await asyncio.wait_for(generation.changed(0), timeout=10)
        >>> asyncio.run(main())
        1
        """
        return await self._file.word.changed(as_integer(seen, "seen"))

    def _summary(self) -> str:
        return f"at {self.value}"
