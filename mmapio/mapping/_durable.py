"""What of a mapping is durable: `flush`, the flush policy, and what is pending."""

from __future__ import annotations

from .._validation import bounded
from ..durability.policy import FlushPolicy
from ..modes import Access
from .flushing import check_flushes, flush_range, note_write
from .losses import check_file, check_region
from .mapped_bytes import raise_read_only
from .resizing import ResizableContent

__all__ = ["DurableContent"]


class DurableContent(ResizableContent):
    """Bytes that can be made durable: the part of `MappedFile` that flushes."""

    __slots__ = ()

    @property
    def flush_policy(self) -> FlushPolicy:
        """When what is written is made durable without `flush`."""
        ledger = self._source.ledger
        return FlushPolicy.manual() if ledger is None else ledger.policy

    @property
    def pending_bytes(self) -> int:
        """Bytes written by `write`, and told of by `mark_dirty`, that no flush has made durable.

        Bytes written twice count twice.
        """
        ledger = self._source.ledger
        return 0 if ledger is None else ledger.pending_bytes

    @property
    def pending_writes(self) -> int:
        """How many calls of `write` and `mark_dirty` no flush has made durable as a whole."""
        ledger = self._source.ledger
        return 0 if ledger is None else ledger.pending_writes

    def mark_dirty(self, offset: int = 0, length: int | None = None) -> None:
        """Tell of a store through an array: it counts as `write` does, for the flush policy too.

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
        region = self.region
        start, count = bounded(offset, length, self.size)
        if region.access is Access.READ:
            raise_read_only(region)
        check_flushes(region)
        note_write(region, start, count)

    def flush(self, offset: int = 0, length: int | None = None, wait: bool = True) -> None:
        """Write what was stored in a range to the drive.

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
        # No bytes are held, so a close in the meantime is not refused: it waits.
        region = self.region
        start, count = bounded(offset, length, region.size)
        flush_range(region, start, count, wait)
        if count and region.access is Access.WRITE and region.source.has_file:
            check_region(region, start, start + count)
            if wait:
                with region.source.lock:  # nobody resizes or closes meanwhile; others may have
                    if not region.source.closed:
                        check_file(region, start, min(start + count, region.size))
