"""What the system is to do with the memory of a mapping: advice, locks, and giving it back."""

from __future__ import annotations

from .._validation import bounded
from ._safety import GuardedContent
from .page_advice import (
    advise_pages,
    as_advice,
    in_huge_pages,
    lock_pages,
    prefetch_pages,
    punch_pages,
    release_pages,
    unlock_pages,
)

__all__ = ["AdvisedContent"]


class AdvisedContent(GuardedContent):
    """Bytes that the system is told about: the part of `MappedFile` that controls its pages."""

    __slots__ = ()

    def advise(self, advice: str, offset: int = 0, length: int | None = None) -> None:
        """Tell the system what is to happen to a range; no advice costs data.

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

        Raises
        ------
        UnsupportedError
            If this system does not take the advice, on this mapping at least.
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
        with self._source.lock:
            start, count = bounded(offset, length, self.size)
            advise_pages(self.region, start, count, kind)

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
        with self._source.lock:
            start, count = bounded(offset, length, self.size)
            prefetch_pages(self.region, start, count)

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
        # As in a flush no bytes are held: a close in the meantime waits, and is not refused.
        region = self.region
        release_pages(region, *bounded(offset, length, self.size), evict)

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
        `MappingLostError`. `check` of other mappings, opened before, takes the hole for a loss.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.anonymous(100_000)
        >>> m.view()[:] = 1
        >>> m.punch_hole(10, 99_980)
        >>> int(m.view().sum())
        20
        """
        with self._source.lock:
            start, count = bounded(offset, length, self.size)
            punch_pages(self.region, start, count)

    def lock(self, offset: int = 0, length: int | None = None) -> None:
        """Read a range in, and keep it in memory until `unlock`, or the end of the mapping.

        Parameters
        ----------
        offset : int, default 0
            First byte; need not be a multiple of anything.
        length : int, optional
            Length in bytes; up to the end if left out.

        Raises
        ------
        FileError
            If it is more than this process may lock: the message has the limit, and how to raise
            it. Nothing is locked then.
        MappingLostError
            If the file has lost some of it.
        OutOfBoundsError
            If the range does not lie within the mapping.
        ClosedError
            If the mapping is closed.

        Notes
        -----
        The pages that the range lies on are locked (mlock(2)). Locks do not add up: one `unlock`
        undoes any number of them. In mode ``c`` all pages become this process's own. What a
        `resize` adds is not locked, unless ``lock=True`` was given to `open`.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.anonymous(4096)
        >>> m.lock()
        >>> m.unlock()
        """
        with self._source.lock:
            start, count = bounded(offset, length, self.size)
            lock_pages(self.region, start, count)

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
        with self._source.lock:
            start, count = bounded(offset, length, self.size)
            unlock_pages(self.region, start, count)

    def is_hugepage_backed(self) -> bool | None:
        """Tell whether any of the mapping is in huge pages now.

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
        with self._source.lock:
            return in_huge_pages(self.region)
