"""What of a mapping is in memory: `residency`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._validation import bounded
from ._durable import DurableContent

if TYPE_CHECKING:
    from ..pagecache.residency import Residency

__all__ = ["ResidentContent"]


class ResidentContent(DurableContent):
    """Bytes that may be in memory or not: the part of `MappedFile` that tells."""

    __slots__ = ()

    def residency(
        self, offset: int = 0, length: int | None = None, *, buckets: int | None = 128
    ) -> Residency:
        """Tell what of a range is in memory; asking reads nothing in and dirties nothing.

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
        from ..pagecache.residency import residency_of_memory

        with self._source.lock:  # nobody closes it meanwhile
            region, source = self.region, self._source
            start, count = bounded(offset, length, self.size)
            return residency_of_memory(
                region.address + start,
                count,
                buckets,
                path=source.path,
                offset=source.offset + start,
                opened=source.opened if source.has_file else None,
            )
