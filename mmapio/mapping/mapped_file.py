"""`MappedFile`: a file, or memory without one, as bytes in place."""

from __future__ import annotations

import os
import sys
import weakref
from types import TracebackType
from typing import Any, Self

from .. import _os
from .._validation import as_count, as_nbytes, bounded
from ..durability.policy import FlushPolicy
from ..errors import ArgumentError, UnsupportedError, file_error
from ..files.descriptors import check_mappable
from ..modes import Mode
from ._watching import WatchedContent
from .flushing import follow_policy
from .options import Touch, as_options
from .region import Region, WhenInUse, close_region, regions_of
from .source import Source

__all__ = ["MappedFile", "handle_of", "is_shared_by_path"]


class MappedFile(WatchedContent):
    """A file, or memory without one, as bytes in place; made by `open`, `anonymous`, `from_fd`.

    Stores through views go straight to the file's pages: every process that maps the file sees
    them at once, and they survive the death of this process. `flush` makes them survive a power
    loss as well. A mapping can be used from several threads.

    A ``with`` block closes the mapping at its end. Unlike `close` it does not refuse when arrays
    over the mapping are alive: they keep the memory until they go.

    Parameters
    ----------
    region : Region
        The mapped memory; use the class methods instead.

    Examples
    --------
    >>> import mmapio
    >>> with mmapio.MappedFile.open("numbers.bin", "x+", size=1 << 20) as m:
    ...     m.view(0, 32, "f8")[:] = [1, 2, 3, 4]
    ...     m.flush()
    """

    __slots__ = ("__weakref__",)

    def __init__(self, region: Region) -> None:
        if sys.version_info < (3, 12):
            _give_buffer_protocol(type(self))
        super().__init__(region)
        self._source.handle = weakref.ref(self)

    @classmethod
    def open(
        cls,
        path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
        mode: str = "r",
        size: int | None = None,
        *,
        offset: int = 0,
        length: int | None = None,
        capacity: int | str | None = None,
        reserve: bool = True,
        flush_policy: FlushPolicy | None = None,
        guard: bool = True,
        touch: Touch = "never",
        advise: str | None = None,
        hugepages: bool = False,
        lock: bool = False,
    ) -> Self:
        """Map a file, or a part of it.

        Parameters
        ----------
        path : str, bytes or os.PathLike
            The file.
        mode : {"r", "r+", "w+", "x+", "a+", "c"}, default "r"
            ``r`` read only; ``r+`` read and write; ``w+`` create, or replace what is there, which
            whoever maps it keeps; ``x+`` create, an error if it is there; ``a+`` open, or create
            if it is not there; ``c`` copy on write: stores stay private and are never written.
        size : int, optional
            Size in bytes of a file that is created; needed by the modes that create.
        offset : int, default 0
            First byte of the file to map; need not be a multiple of anything.
        length : int, optional
            Bytes to map; up to the end of the file if left out.
        capacity : int or str, optional
            Bytes up to which `resize` can grow in place, as in ``"64 GiB"``. It costs address
            space, not memory.
        reserve : bool, default True
            Give the file its blocks when it is created or grown, so that a full disk is an error
            there and then. False makes a file with holes.
        flush_policy : FlushPolicy, optional
            When what is written is made durable; only by `flush` if left out.
        guard : bool, default True
            Let bytes that the file loses under the mapping become zeros and a `MappingLostError`.
            Without it, or where there is none, they end the process.
        touch : {"never", "eager"}, default "never"
            ``eager`` maps all pages at once, as `touch_pages` does.
        advise : str, optional
            Advice on all of it, as for the method `advise`; what tells how it will be used holds
            for what `resize` adds as well.
        hugepages : bool, default False
            Use huge pages where the system can, which `is_hugepage_backed` tells. With
            ``touch="eager"`` what is there is put into them at once.
        lock : bool, default False
            Keep all of it in memory, as the method `lock` does, and what `resize` adds too.

        Returns
        -------
        MappedFile
            The mapping. It keeps no file descriptor.

        Raises
        ------
        MissingFileError, ExistingFileError, DirectoryError, AccessError, FileError
            If the file cannot be opened, created or mapped; `errno` tells why, ENOSPC among them.
        OutOfBoundsError
            If `offset` and `length` reach past the end of the file.
        UnsupportedError
            If the system does not take the advice.
        ArgumentError
            If an argument has a value that cannot be used.

        Notes
        -----
        If `advise` or `lock` fails, nothing is created, and what is at the path is as it was.

        Examples
        --------
        >>> import mmapio
        >>> with mmapio.MappedFile.open(mmapio.__file__) as m:
        ...     m.read(0, 3)
        b'\"\"\"'
        """
        region = Region.of_path(
            path,
            Mode.parse(mode),
            size,
            offset=offset,
            length=length,
            capacity=capacity,
            reserve=reserve,
            guarded=guard,
            prepare=as_options(touch, advise, hugepages, lock),
        )
        follow_policy(region, flush_policy)
        return cls(region)

    @classmethod
    def from_fd(
        cls,
        fd: int,
        mode: str = "r",
        *,
        offset: int = 0,
        length: int | None = None,
        capacity: int | str | None = None,
        flush_policy: FlushPolicy | None = None,
        guard: bool = True,
        touch: Touch = "never",
        advise: str | None = None,
        hugepages: bool = False,
        lock: bool = False,
    ) -> Self:
        """Map an open file, which may have no path.

        Parameters
        ----------
        fd : int
            Descriptor; it is duplicated, so the caller can close it at once.
        mode : {"r", "r+", "c"}, default "r"
            As in `open`; no more than the descriptor was opened for.
        offset, length, capacity, flush_policy, guard, touch, advise, hugepages, lock : optional
            As in `open`.

        Returns
        -------
        MappedFile
            The mapping. Having no path to come back by, it keeps its duplicate open.

        Raises
        ------
        FileError
            If the descriptor is not open, or cannot be mapped in this mode.
        OutOfBoundsError
            If `offset` and `length` reach past the end of the file.
        ArgumentError
            If the mode is one that creates.

        Examples
        --------
        >>> import mmapio, tempfile
        >>> with tempfile.TemporaryFile() as file:
        ...     _ = file.write(b"hello"); file.flush()
        ...     m = mmapio.MappedFile.from_fd(file.fileno())
        >>> m.read()
        b'hello'
        """
        kind, prepare = Mode.parse(mode), as_options(touch, advise, hugepages, lock)
        if kind.settled is not kind:
            raise ArgumentError(f"mode {mode!r} creates a file; a descriptor has one: use 'r+'")
        number = as_count(fd, "fd")
        try:
            own = os.dup(number)
        except OverflowError:
            raise ArgumentError(f"fd {number} is no descriptor") from None
        except OSError as error:
            raise file_error(error, f"map descriptor {number}", None) from error
        source = Source(None, kind, fd=own)  # closes `own` when it goes
        source.facts = facts = check_mappable(own, None)
        source.guarded = guard
        source.offset, count = bounded(offset, length, facts.size)
        room = 0 if capacity is None else as_nbytes(capacity, "capacity")
        region = Region.of_file(own, source, count, room)
        if prepare is not None:
            prepare(region)
        follow_policy(region, flush_policy)
        return cls(region)

    @classmethod
    def anonymous(
        cls,
        size: int,
        *,
        capacity: int | str | None = None,
        touch: Touch = "never",
        advise: str | None = None,
        hugepages: bool = False,
        lock: bool = False,
    ) -> Self:
        """Map zeroed memory without a file, which forked children share.

        Parameters
        ----------
        size : int
            Length in bytes.
        capacity : int or str, optional
            Bytes up to which `resize` can grow it.
        touch, advise, hugepages, lock : optional
            As in `open`.

        Returns
        -------
        MappedFile
            The mapping.

        Raises
        ------
        FileError
            If there is not that much memory, or not that much may be locked.
        UnsupportedError, ArgumentError
            As in `open`.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.MappedFile.anonymous(4096)
        <MappedFile <anonymous> mode='r+' size=4096 open>
        """
        room = 0 if capacity is None else as_nbytes(capacity, "capacity")
        prepare = as_options(touch, advise, hugepages, lock)
        source = Source(None, Mode.UPDATE)
        region = Region.of_nothing(source, as_count(size, "size"), room, hugepages)
        if prepare is not None:
            prepare(region)
        return cls(region)

    @property
    def mode(self) -> str:
        """The mode it was opened in."""
        mode: str = self._source.mode.value
        return mode

    @property
    def capacity(self) -> int:
        """Bytes up to which `resize` can grow in place."""
        return self.region.capacity

    @property
    def offset(self) -> int:
        """First byte of the file that is mapped."""
        return self._source.offset

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._source.closed

    def fileno(self) -> int:
        """Return a descriptor of the file, which stays the mapping's own.

        Returns
        -------
        int
            Descriptor; open until the mapping is closed.

        Raises
        ------
        ReplacedError
            If the path no longer leads to the file that is mapped.
        UnsupportedError
            If there is no file.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio, os
        >>> with mmapio.MappedFile.open(mmapio.__file__) as m:
        ...     os.fstat(m.fileno()).st_size == m.size
        True
        """
        with self._source.lock:
            self._open_state()
            return self._source.descriptor()

    def touch_pages(
        self,
        offset: int = 0,
        length: int | None = None,
        *,
        write: bool = False,
        threads: int | None = None,
    ) -> int:
        """Map every page of a range, reading in what is missing; see `kernels.touch_pages`.

        Parameters
        ----------
        offset : int, default 0
            First byte; need not be a multiple of anything.
        length : int, optional
            Length in bytes; up to the end if left out.
        write, threads
            As for `kernels.touch_pages`.

        Returns
        -------
        int
            How many pages the range lies on.

        Raises
        ------
        OutOfBoundsError
            If the range does not lie within the mapping.
        ReadOnlyError
            If `write` is asked of a read-only mapping.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.MappedFile.anonymous(100).touch_pages()
        1
        """
        from ..kernels import touch_pages

        return touch_pages(self.view(offset, length), write=write, threads=threads)

    def close(self, force: bool = False) -> None:
        """Give the memory back; a second time does nothing.

        Parameters
        ----------
        force : bool, default False
            Close even while arrays over the mapping are alive. They stay safe to use: they read
            zeros from then on, and what is stored in them is lost.

        Raises
        ------
        InUseError
            If arrays over the mapping are alive, and `force` is False.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.anonymous(4)
        >>> _ = m.write(0, b"abcd")
        >>> view = m.view()
        >>> m.close(force=True)
        >>> view
        array([0, 0, 0, 0], dtype=uint8)
        """
        self._close(WhenInUse.ZERO if force else WhenInUse.REFUSE)

    def detach(self) -> int:
        """Close the mapping and return a descriptor of its file.

        Returns
        -------
        int
            Descriptor, which is the caller's to close.

        Raises
        ------
        InUseError
            If arrays over the mapping are alive; it stays open then.
        ReplacedError
            If the path no longer leads to the file that is mapped.
        UnsupportedError
            If there is no file.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio, os
        >>> m = mmapio.MappedFile.open(mmapio.__file__)
        >>> fd = m.detach()
        >>> os.close(fd)
        """
        with self._source.lock:
            self._open_state()
            with self._source.opened() as fd:
                own = os.dup(fd)
            try:
                self.close()
            except BaseException:
                os.close(own)
                raise
            return own

    def __enter__(self) -> Self:
        self._open_state()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Not strict as `close` is: a loop variable may well hold the last chunk.
        self._close(WhenInUse.KEEP)

    def _close(self, when_in_use: WhenInUse) -> None:
        with self._source.lock:
            if not self.closed:
                close_region(self.region, when_in_use, own=0)

    def __repr__(self) -> str:
        state = self.state
        size = f"size={state[1]} open" if state else "closed"
        return f"<MappedFile {self._source.name} mode={self.mode!r} {size}>"

    def __reduce__(self) -> tuple[Any, ...]:
        _, size = self._open_state()
        source = self._source
        if not is_shared_by_path(self):
            raise UnsupportedError(
                f"the mapping of {source.name} in mode {self.mode!r} cannot be pickled: another "
                "process finds no such bytes by a path; pickle a copy of them"
            )
        mode = source.mode.settled.value
        return _reopen, (source.path, mode, source.identity, source.offset, size)


def is_shared_by_path(mapping: MappedFile) -> bool:
    """Tell whether another process can map the same bytes, by their path."""
    source = mapping._source
    return source.path is not None and source.mode is not Mode.COPY


def handle_of(region: Region) -> MappedFile:
    """Return the one `MappedFile` of a region; a new one if nobody holds it any more."""
    source = region.source
    with source.lock:
        handle: MappedFile | None = source.handle() if source.handle is not None else None
        return MappedFile(regions_of(region)[-1]) if handle is None else handle


def _reopen(path: str, mode: str, identity: _os.Identity, offset: int, length: int) -> MappedFile:
    """Map the file that was pickled, which must still be the same one."""
    kind = Mode.parse(mode)
    return MappedFile(Region.of_path(path, kind, offset=offset, length=length, identity=identity))


def _give_buffer_protocol(cls: type[MappedFile]) -> None:
    """Let classes in Python export buffers before PEP 688 came with 3.12."""
    if cls not in _GIVEN:
        from .._os._buffer311 import export_buffer

        export_buffer(cls, "_buffer")
        _GIVEN.add(cls)


_GIVEN: set[type[MappedFile]] = set()
