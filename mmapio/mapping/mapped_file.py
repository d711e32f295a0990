"""`MappedFile`: a file, or memory without one, as bytes in place."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .. import _os
from .._validation import Progress, as_count, as_flag
from ..durability.policy import FlushPolicy
from ..errors import UnsupportedError
from ..guard.lost_memory import any_loss
from ..modes import Mode
from .closing import WhenInUse, close_source
from .flushing import start_range, sync_range
from .losses import LossCheck, check_size
from .mapped_bytes import MappedBytes
from .opening import map_descriptor, map_memory, map_path, mode_of_descriptor
from .options import MapOptions, Touch, as_advice
from .region import Region
from .source import Source
from .span import Hold

if TYPE_CHECKING:
    from ..files.watch import Change, Counter, Watch
    from ..pagecache.residency import Residency

__all__ = ["MappedFile", "handle_of", "is_shared_by_path"]


class MappedFile(MappedBytes):
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

    __slots__ = ()

    def __init__(self, region: Region) -> None:
        if sys.version_info < (3, 12):
            _give_buffer_protocol(type(self))
        super().__init__(region)

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
            The file, or a device; a character device, which has no size, needs a `length`.
        mode : {"r", "r+", "w+", "x+", "a+", "c"}, default "r"
            ``r`` read only; ``r+`` read and write; ``w+`` create, or replace what is there, which
            whoever maps it keeps; ``x+`` create, an error if it is there; ``a+`` open, or create
            if it is not there or empty; ``c`` copy on write: stores stay private and are never
            written.
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
        options = MapOptions(
            mode,
            size=size,
            offset=offset,
            length=length,
            capacity=capacity,
            reserve=reserve,
            flush_policy=flush_policy,
            guard=guard,
            touch=touch,
            advise=advise,
            hugepages=hugepages,
            lock=lock,
        )
        return map_path(path, options, use=cls)

    @classmethod
    def from_fd(
        cls,
        fd: int,
        mode: str = "r",
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
        """Map an open file, which may have no path.

        Parameters
        ----------
        fd : int
            Descriptor; it is duplicated, so the caller can close it at once.
        mode : {"r", "r+", "c"}, default "r"
            As in `open`; no more than the descriptor was opened for.
        offset, length, capacity, reserve, flush_policy, guard : optional
            As in `open`.
        touch, advise, hugepages, lock : optional
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
        options = MapOptions(
            mode_of_descriptor(mode),
            offset=offset,
            length=length,
            capacity=capacity,
            reserve=reserve,
            flush_policy=flush_policy,
            guard=guard,
            touch=touch,
            advise=advise,
            hugepages=hugepages,
            lock=lock,
        )
        return cls(map_descriptor(fd, options))

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
        options = MapOptions(
            Mode.UPDATE,
            capacity=capacity,
            touch=touch,
            advise=advise,
            hugepages=hugepages,
            lock=lock,
        )
        return cls(map_memory(as_count(size, "size"), options))

    @property
    def mode(self) -> str:
        """The mode it was opened in."""
        mode: str = self._source.mode.value
        return mode

    @property
    def capacity(self) -> int:
        """Bytes up to which `resize` can grow in place."""
        return self._hold().capacity()

    @property
    def offset(self) -> int:
        """First byte of the file that is mapped."""
        return self._source.offset

    @property
    def closed(self) -> bool:
        """True if the mapping was closed."""
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
        return self._hold().descriptor()

    # Durability ----------------------------------------------------------------------------------

    @property
    def flush_policy(self) -> FlushPolicy:
        """Flush policy: when writes are made durable without `flush`."""
        ledger = self._source.ledger
        return FlushPolicy.manual() if ledger is None else ledger.policy

    @property
    def pending_bytes(self) -> int:
        """Bytes written by `write`, and reported by `mark_dirty`, that no flush has made durable.

        Bytes written twice count twice.
        """
        ledger = self._source.ledger
        return 0 if ledger is None else ledger.pending_bytes

    @property
    def pending_writes(self) -> int:
        """Number of calls of `write` and `mark_dirty` not yet durable as a whole."""
        ledger = self._source.ledger
        return 0 if ledger is None else ledger.pending_writes

    def mark_dirty(self, offset: int = 0, length: int | None = None) -> None:
        """Count a store through an array as a write, for the flush policy too.

        Parameters
        ----------
        offset : int, default 0
            First byte.
        length : int, optional
            Length in bytes; up to the end if left out.

        Raises
        ------
        OutOfBoundsError
            If the range does not lie within the mapping.
        ReadOnlyError
            If the mapping is read-only.
        FlushError
            If the policy flushes now, and a sync fails or has failed before.
        ClosedError
            If the mapping is closed.

        Notes
        -----
        Nothing depends on it but counting: `flush`, and the policies ``always`` and
        ``every_millis``, write whatever is dirty, however it was stored.

        Examples
        --------
        >>> import mmapio
        >>> with mmapio.MappedFile.open("marked.bin", "x+", size=64) as m:
        ...     m.view(0, 8, "f8")[0] = 1.5
        ...     m.mark_dirty(0, 8)
        ...     m.pending_bytes
        8
        """
        self._span(offset, length).mark_dirty()

    def flush(self, offset: int = 0, length: int | None = None, wait: bool = True) -> None:
        """Write a range to disk, as far as it was changed.

        Parameters
        ----------
        offset : int, default 0
            First byte; need not be a multiple of anything.
        length : int, optional
            Length in bytes; up to the end if left out.
        wait : bool, default True
            Return when the bytes are durable: they survive a power loss. False only starts the
            writing (Linux; elsewhere nothing happens), and promises nothing.

        Raises
        ------
        FlushError
            If the drive reports an error; what was to be written may be lost. Every later flush
            raises it again, until the file is opened anew: asked twice, the system would say that
            all is well.
        MappingLostError, ReplacedError
            If some of the bytes are no longer in the file, or the file no longer at its path; see
            `check`; the latter only if it waits. What is left is written all the same.
        OutOfBoundsError
            If the range does not lie within the mapping.
        ClosedError
            If the mapping is closed.

        Notes
        -----
        Read-only, copy-on-write and anonymous mappings have nothing to write. Durable means
        ``msync(MS_SYNC)`` (msync(2)), not the ``MS_ASYNC`` that Linux ignores; to start writing
        means ``sync_file_range(SYNC_FILE_RANGE_WRITE)`` (sync_file_range(2)), for which the mapping
        keeps a descriptor from then on.

        Examples
        --------
        >>> import mmapio
        >>> with mmapio.MappedFile.open("flushed.bin", "x+", size=100) as m:
        ...     _ = m.write(50, b"kept")
        ...     m.flush(50, 4)
        """
        # The short way: plain integers that are right. All else goes through the checks.
        try:
            size = self._state[1]  # type: ignore[index]  # in one step, as in `size`
        except TypeError:
            size = self.size
        place = self._place
        if (
            type(offset) is int
            and type(length) is int
            and 0 <= offset <= offset + length <= size
            and place is not None
        ):
            if wait is False:
                start_range(place, offset, length)
                if any_loss():
                    self._span(offset, length).check_flushed(False)
                return
            if wait is True:
                if not sync_range(place, offset, length) or any_loss():
                    self._span(offset, length).check_flushed(True)
                return
        self._span(offset, length).flush(wait)

    # Size ----------------------------------------------------------------------------------------

    def resize(self, size: int, force: bool = False) -> None:
        """Grow or shrink the file, and the mapping with it.

        Parameters
        ----------
        size : int
            New length of the mapping in bytes. What is gained reads zeros.
        force : bool, default False
            Resize even if arrays over the mapping are alive that will not follow. Those over what
            is cut off read zeros from then on, and see nothing of what comes there later but whole
            pages. If the mapping has to move, those made before keep the old place, which shows the
            same bytes of the same file.

        Raises
        ------
        InUseError
            If arrays over the mapping are alive, and it is to shrink, or to grow past its
            capacity, and `force` is False.
        FileError
            If the file cannot be resized, on a full disk for one; it is as it was then.
        ReadOnlyError
            If the mapping is read-only.
        UnsupportedError
            If it is copy-on-write, anonymous and out of capacity, or does not reach to the end of
            its file.
        ClosedError
            If the mapping is closed.

        Notes
        -----
        Up to `capacity` the memory stays where it is, and every array over it valid; other
        processes that map the file with as much capacity see what it gains. Past that, the mapping
        moves.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.open("grown.bin", "x+", size=10, capacity="1 GiB")
        >>> head = m.view(0, 10)
        >>> m.resize(20)
        >>> m.write(0, b"seen")
        4
        >>> bytes(head[:4]), len(m)
        (b'seen', 20)
        """
        self._hold().resize(size, force)

    def _follow(self, size: int) -> None:
        """Reach to where the file was grown or cut by other means than `resize`."""
        self._hold().follow(size)

    # Pages ---------------------------------------------------------------------------------------

    def advise(
        self, advice: str, offset: int = 0, length: int | None = None, *, force: bool = False
    ) -> None:
        """Advise the system on the use of a range; no advice costs data.

        Parameters
        ----------
        advice : str
            One of

            - ``"normal"``, ``"random"``, ``"sequential"``: how it will be read, which is how far
              the system reads ahead;
            - ``"willneed"``, ``"dontneed"``: as `prefetch` and `release`;
            - ``"cold"``, ``"pageout"``: to be the first to go when memory is short, or go now;
            - ``"populate_read"``, ``"populate_write"``: map every page, reading in what is missing,
              or giving it blocks;
            - ``"hugepage"``, ``"nohugepage"``, ``"collapse"``: use huge pages from now on, never,
              or put what is there into them now;
            - ``"dontfork"``, ``"dofork"``: whether forked children have it;
            - ``"merge"``, ``"unmerge"``: whether pages with the same content may become one.
        offset : int, default 0
            First byte; need not be a multiple of anything.
        length : int, optional
            Length in bytes; up to the end if left out.
        force : bool, default False
            Populate even what does not fit into the memory that is available.

        Raises
        ------
        UnsupportedError
            If this system does not take the advice, on this mapping at least.
        InsufficientMemoryError
            If what is missing of a range that was to be populated does not fit into memory, and
            `force` is False.
        MappingLostError
            If the file has lost a page that was to be populated.
        FileError
            If there is no space on the disk for what was to be populated for writing.
        ReadOnlyError
            If a read-only mapping is to be populated for writing.
        ArgumentError
            If there is no such advice.
        OutOfBoundsError
            If the range does not lie within the mapping.
        ClosedError
            If the mapping is closed.

        Notes
        -----
        It holds for the pages that the range lies on, whole ones, until other advice is given; for
        what a later `resize` adds, only as an option of `open` (madvise(2)). All systems take
        ``"normal"``, ``"willneed"`` and ``"dontneed"``; Windows no others but ``"pageout"``.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.open(mmapio.__file__)
        >>> m.advise("normal")
        >>> m.advise("willneed", 100, 1000)
        """
        kind = as_advice(advice)
        self._span(offset, length).advise(kind, force)

    def prefetch(self, offset: int = 0, length: int | None = None) -> None:
        """Start to read a range into memory, and return at once.

        Parameters
        ----------
        offset : int, default 0
            First byte; need not be a multiple of anything.
        length : int, optional
            Length in bytes; up to the end if left out.

        Raises
        ------
        OutOfBoundsError
            If the range does not lie within the mapping.
        ReplacedError
            If the path no longer leads to the file that is mapped.
        ClosedError
            If the mapping is closed.

        Notes
        -----
        The pages go to the system's page cache (posix_fadvise(2)); `touch_pages` waits for them,
        and maps them as well. A thread reads what is larger than 1 MiB, until the mapping is
        closed.

        Examples
        --------
        >>> import mmapio
        >>> with mmapio.MappedFile.open(mmapio.__file__) as m:
        ...     m.prefetch()
        """
        self._span(offset, length).prefetch()

    def release(self, offset: int = 0, length: int | None = None, evict: bool = False) -> None:
        """Take a range out of this process's memory; its bytes are there again when it is used.

        Parameters
        ----------
        offset : int, default 0
            First byte; need not be a multiple of anything.
        length : int, optional
            Length in bytes; up to the end if left out.
        evict : bool, default False
            Take it out of the system's page cache as well, having made durable what is dirty. What
            other mappings hold in memory stays there.

        Raises
        ------
        UnsupportedError
            If the range is locked, or the system evicts nothing when it is asked to.
        FlushError, FileError
            If what is dirty cannot be written; nothing is evicted then.
        OutOfBoundsError
            If the range does not lie within the mapping.
        ClosedError
            If the mapping is closed.

        Notes
        -----
        Nothing is lost: pages of a file, and of memory without one, stay in the page cache
        (``MADV_DONTNEED`` on shared memory, madvise(2)). What was stored in mode ``c`` is nowhere
        else, so it stays, or goes to swap space; the rest of such a mapping may leave the page
        cache too (``MADV_PAGEOUT``). With `evict` memory without a file goes to swap space.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.open("released.bin", "x+", size=1 << 20)
        >>> _ = m.write(0, b"kept")
        >>> m.release(evict=True)
        >>> m.read(0, 4)
        b'kept'
        """
        self._span(offset, length).release(evict)

    def punch_hole(self, offset: int, length: int) -> None:
        """Let a range read zeros, and give the blocks that lie in it back to the file system.

        Parameters
        ----------
        offset, length : int
            First byte, and length in bytes; need not be multiples of anything, but only whole
            blocks are given back.

        Raises
        ------
        UnsupportedError
            If the mapping is copy-on-write, or the file system cannot do it.
        ReadOnlyError
            If the mapping is read-only.
        OutOfBoundsError
            If the range does not lie within the mapping.
        FlushError
            If the policy flushes now, and a sync fails.
        ClosedError
            If the mapping is closed.

        Notes
        -----
        It is seen by all who map or read the file (``FALLOC_FL_PUNCH_HOLE``, fallocate(2)), and
        durable after `flush`. What is stored there later needs new blocks: on a full disk it raises
        `MappingLostError`. `check` of another mapping, if it is its first one, takes a hole at the
        end of the file for a loss.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.anonymous(100_000)
        >>> m.view()[:] = 1
        >>> m.punch_hole(10, 99_980)
        >>> int(m.view().sum())
        20
        """
        self._span(offset, length).punch_hole()

    def lock(
        self,
        offset: int = 0,
        length: int | None = None,
        *,
        force: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Read a range in, and keep it in memory until `unlock`, or the end of the mapping.

        Parameters
        ----------
        offset : int, default 0
            First byte; need not be a multiple of anything.
        length : int, optional
            Length in bytes; up to the end if left out.
        force : bool, default False
            Lock even what does not fit into the memory that is available: the system then takes
            memory from other processes, and ends some of them when there is none left.
        progress : callable, optional
            Called as ``progress(done, total)``, in bytes.

        Raises
        ------
        FileError
            If it is more than this process may lock: the message has the limit, and how to raise
            it. Nothing is locked then.
        InsufficientMemoryError
            If it does not fit into the memory that is available, to the machine or to the control
            group of the process, and `force` is False. Nothing is locked then.
        MappingLostError
            If the file has lost some of it.
        OutOfBoundsError
            If the range does not lie within the mapping.
        ClosedError
            If the mapping is closed.

        Notes
        -----
        The pages that the range lies on are locked (mlock(2)). Locks do not add up: one `unlock`
        undoes any number of them. In mode ``c`` all pages become this process's own. Holes of a
        file become pages of zeros, which are locked like others; they get no blocks. What a
        `resize` adds is not locked, unless ``lock=True`` was given to `open`.

        It is done piece by piece. When it is interrupted, by Ctrl-C or by `progress`, what it has
        locked is unlocked.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.anonymous(4096)
        >>> m.lock()
        >>> m.unlock()
        """
        self._span(offset, length).lock(force, progress)

    def unlock(self, offset: int = 0, length: int | None = None) -> None:
        """Let the system take a range out of memory again, should it have to.

        Parameters
        ----------
        offset : int, default 0
            First byte; need not be a multiple of anything. The pages that it lies on are unlocked.
        length : int, optional
            Length in bytes; up to the end if left out.

        Raises
        ------
        OutOfBoundsError
            If the range does not lie within the mapping.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.MappedFile.anonymous(4096).unlock()
        """
        self._span(offset, length).unlock()

    def is_hugepage_backed(self) -> bool | None:
        """Return whether any of the mapping is in huge pages now.

        Returns
        -------
        bool or None
            None where the system does not tell, as only Linux does.

        Raises
        ------
        ClosedError
            If the mapping is closed.

        Notes
        -----
        It reads /proc/self/smaps, and touches no page (proc_pid_smaps(5)).

        Examples
        --------
        >>> import mmapio
        >>> mmapio.MappedFile.anonymous(4096).is_hugepage_backed()
        False
        """
        return self._hold().is_hugepage_backed()

    def touch_pages(
        self,
        offset: int = 0,
        length: int | None = None,
        *,
        write: bool = False,
        threads: int | None = None,
        force: bool = False,
    ) -> int:
        """Map every page of a range, reading in what is missing; see `kernels.touch_pages`.

        Parameters
        ----------
        offset : int, default 0
            First byte; need not be a multiple of anything.
        length : int, optional
            Length in bytes; up to the end if left out.
        write, threads, force
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
        InsufficientMemoryError
            If what is missing does not fit into memory, and `force` is False.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.MappedFile.anonymous(100).touch_pages()
        1
        """
        return self._span(offset, length).touch(write, threads, force)

    def residency(
        self, offset: int = 0, length: int | None = None, *, buckets: int | None = 128
    ) -> Residency:
        """Report how much of a range is in memory; this reads nothing in and dirties nothing.

        Parameters
        ----------
        offset : int, default 0
            First byte; need not be a multiple of anything.
        length : int, optional
            Length in bytes; up to the end if left out.
        buckets : int or None, default 128
            Into how many even parts of whole pages the map divides the range. None: into pages,
            each 0 or 1, which costs a look at each page and 12 bytes of memory for it.

        Returns
        -------
        Residency
            Figures in bytes of the pages that the range lies on, and the map.

        Raises
        ------
        AccessError
            If the system does not tell this process: on Linux it must own the file, or be allowed
            to write to it.
        OutOfBoundsError
            If the range does not lie within the mapping.
        ReplacedError
            If the path no longer leads to the file that is mapped.
        ClosedError
            If the mapping is closed.

        Notes
        -----
        Of a file the figures are those of the page cache, which all processes share: by
        cachestat(2), a call whose time depends on what is in memory rather than on the length; by
        mincore(2) before Linux 6.5 and on macOS, where only `resident` is known. Windows tells
        only what of a mapping this process itself holds: that is `resident` there. What this
        process has mapped in, and in swap, is from proc_pid_smaps(5), for a part of a mapping
        from proc_pid_pagemap(5).

        Examples
        --------
        >>> import mmapio
        >>> with mmapio.MappedFile.open("seen.bin", "x+", size=1 << 20) as m:
        ...     _ = m.write(0, bytes(1 << 20))
        ...     m.residency(0, 1 << 19).resident
        524288
        """
        return self._span(offset, length).residency(buckets)

    # Losses and changes --------------------------------------------------------------------------

    @property
    def guarded(self) -> bool:
        """True if a loss of the file raises an error, instead of ending the process."""
        return self._hold().is_guarded()

    def check(self, offset: int = 0, length: int | None = None) -> None:
        """Raise if a range of the mapping has been lost since the file was opened.

        Parameters
        ----------
        offset : int, default 0
            First byte.
        length : int, optional
            Length in bytes; up to the end if left out.

        Raises
        ------
        MappingLostError
            If the file became shorter, if its disk was full when something was stored, or if the
            drive failed.
        ReplacedError
            If there is another file at the path now.
        OutOfBoundsError
            If the range does not lie within the mapping.
        ClosedError
            If the mapping is closed.

        Notes
        -----
        It looks for what the guard has met, and compares the file's size: bytes are also lost
        without a signal, in the page that holds the end of a file. That a file was cut off before
        its last page, and then grew again, is noticed on Linux from the first look on, and often
        before; ``docs/safety.md`` says when not.

        Examples
        --------
        >>> import os, mmapio
        >>> m = mmapio.MappedFile.open("checked.bin", "x+", size=100)
        >>> m.check()
        >>> os.truncate("checked.bin", 50)
        >>> m.check(0, 50)
        >>> m.check()
        Traceback (most recent call last):
        mmapio.errors.MappingLostError: [Errno ...] bytes 50 to 100 of the file were lost under \
the mapping, and read zeros: another program has cut the file off: '...checked.bin'
        """
        self._span(offset, length).check()

    def guard(self) -> LossCheck:
        """Return a context manager that checks at its end, for code that works on arrays.

        Returns
        -------
        LossCheck
            For a ``with`` block; it does what `check` does at both ends of it. An error that the
            block raises becomes the cause of the one about the loss, if there was one.

        Warns
        -----
        RuntimeWarning
            If there is no guard on this platform; what `check` finds without one is found.

        Raises
        ------
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import os, mmapio
        >>> m = mmapio.MappedFile.open("guarded.bin", "x+", size=100_000)
        >>> try:
        ...     with m.guard():
        ...         os.truncate("guarded.bin", 0)
        ...         total = m.view().sum()
        ... except mmapio.MappingLostError as error:
        ...     print(total, error.cause)
        0 truncated
        """
        self._hold().check_open()
        return LossCheck(self._source, self.check)

    def recover(self) -> int:
        """Remap lost pages from the file, as far as it reaches now.

        What was stored in the zeros that had taken its place is lost with them. In mode ``c`` so
        is all that was stored between the first and the last byte that were lost.

        Returns
        -------
        int
            Bytes of memory that show the file again: whole pages. What is still lost, `check`
            tells.

        Raises
        ------
        ReplacedError
            If the path no longer leads to the file that was mapped.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import os, mmapio
        >>> m = mmapio.MappedFile.open("recovered.bin", "x+", size=8192)
        >>> os.truncate("recovered.bin", 0)
        >>> m.view().any()
        np.False_
        >>> with open("recovered.bin", "wb") as file:
        ...     _ = file.write(b"again" * 2000)
        >>> m.recover()
        8192
        >>> bytes(m.view(0, 5))
        b'again'
        """
        return self._hold().recover()

    def watch(
        self,
        callback: Callable[[Change], object],
        *,
        debounce_ms: int = 50,
        generation: Counter | None = None,
    ) -> Watch:
        """Call back whenever the file at the path of the mapping changes, or is another one.

        Parameters
        ----------
        callback : callable
            Called with each `Change`, in a thread of its own. An exception that it raises goes to
            `threading.excepthook`, and the watch goes on.
        debounce_ms : int, default 50
            How many milliseconds nothing must happen before what has happened is told of, as one
            change. A file that never rests is told of at ten times that.
        generation : Generation, optional
            What is bumped by those who store through mappings of the file: it is told as
            ``"modified"``, because the system tells of no such store.

        Returns
        -------
        Watch
            To `stop` it. It goes on whether or not that is held, until the mapping is closed or
            goes; a callback that holds the mapping keeps it.

        Raises
        ------
        MissingExtraError
            If watchfiles is not installed.
        UnsupportedError
            If there is no file with a path.
        FileError
            If its folder cannot be watched, or the system watches no more folders.
        ArgumentError, ArgumentTypeError
            If an argument has a value, or a type, that cannot be used.
        ClosedError
            If the mapping is closed.

        Notes
        -----
        It is the path that is watched, by its folder (inotify(7), or what other systems have): also
        the file that is renamed over the first one, and the one created where that was removed. A
        change before the watch began, but after the file was opened, is told of if there is another
        file by now, or none.

        What raises no event is seen at a look once a second: changes on a network file system by
        other machines, and, on Linux, the first store through a mapping after its pages were
        written to the drive, for only then the time of the file changes.

        A child made by `fork` has no watch.

        Examples
        --------
        >>> import mmapio, os, queue
        >>> m = mmapio.MappedFile.open("seen.bin", "x+", size=10)
        >>> changes = queue.Queue()
        >>> watch = m.watch(changes.put)
        >>> mmapio.delete("seen.bin")
        >>> changes.get(timeout=30).kind
        'removed'
        >>> watch.stop()
        """
        return self._watch(callback, debounce_ms, generation)

    def _watch(
        self,
        callback: Callable[[Change], object],
        debounce_ms: int,
        generation: Counter | None,
        at_end: Callable[[], object] | None = None,
    ) -> Watch:
        source = self._source
        self._hold().check_open()
        if source.path is None:
            raise UnsupportedError(f"{source.name} has no path to watch; open the file by one")
        from ..files.watch import Watch  # not at import: few files are watched

        alive = functools.partial(_is_open, weakref.ref(source))
        return Watch(source.path, callback, source.facts, alive, debounce_ms, generation, at_end)

    # The end -------------------------------------------------------------------------------------

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
        self._close(WhenInUse.ZERO if as_flag(force, "force") else WhenInUse.REFUSE)

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
        return self._hold().detach(self.close)

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
        close_source(self._source, when_in_use)

    def __repr__(self) -> str:
        size = "closed" if self.closed else f"size={self.size} open"
        return f"<MappedFile {self._source.name} mode={self.mode!r} {size}>"

    def __reduce__(self) -> tuple[Any, ...]:
        _, size = self._open_state()
        source = self._source
        if not is_shared_by_path(self):
            raise UnsupportedError(
                f"the mapping of {source.name} in mode {self.mode!r} cannot be pickled: another "
                "process finds no such bytes by a path; pickle a copy of them"
            )
        check_size(source, size)  # it is 0 by now if the pickle is written over the file
        mode = source.mode.settled.value
        return _reopen, (source.path, mode, source.identity, source.offset, size)


def is_shared_by_path(mapping: MappedFile) -> bool:
    """Return whether another process can map the same bytes, by their path."""
    source = mapping._source
    if source.path is None or source.mode is Mode.COPY:
        return False
    return source.facts is None or not source.facts.is_endless  # as /dev/zero: each has its own


def handle_of(source: Source) -> MappedFile:
    """Return the one `MappedFile` of a mapping; a new one if nobody holds it any more."""
    handle = source.handle()
    if handle is None:
        handle = Hold(source).handle(MappedFile)
    assert isinstance(handle, MappedFile)
    return handle


def _is_open(held: weakref.ref[Source]) -> bool:
    source = held()
    return source is not None and not source.closed


def _reopen(path: str, mode: str, identity: _os.Identity, offset: int, length: int) -> MappedFile:
    """Map the file that was pickled, which must still be the same one."""
    options = MapOptions(mode, offset=offset, length=length)
    return map_path(path, options, identity=identity, use=MappedFile)


def _give_buffer_protocol(cls: type[MappedFile]) -> None:
    """Let classes in Python export buffers before PEP 688 came with 3.12.

    That takes a compiler, which may not be had: there may be no address space for it, or code made
    at run time be forbidden. All but the buffer is there then, as without the guard.
    """
    if cls not in _GIVEN:
        from .._os._buffer311 import export_buffer

        with contextlib.suppress(OSError, ImportError, MemoryError, RuntimeError, AttributeError):
            export_buffer(cls, "_buffer")
        _GIVEN.add(cls)


_GIVEN: set[type[MappedFile]] = set()
