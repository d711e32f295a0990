"""Maps of resident pages of files and memory, made without reading, mapping in or dirtying any.

Where cachestat(2) is, each bucket of a map is one call, however long it is. Elsewhere mincore(2)
tells of each page, in windows, so that a file of any size takes bounded memory.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import _os
from .._validation import round_down, round_up, steps
from ..errors import AccessError, UnsupportedError, file_error
from ..modes import Access

__all__ = ["CacheMap", "edges_of", "map_of_file", "map_of_memory"]

Edges = np.ndarray[Any, np.dtype[np.int64]]
Shares = np.ndarray[Any, np.dtype[np.float32]]

# A byte of memory for each page of it: 256 KiB.
_WINDOW_BYTES = 1 << 30
# What says that there is no such call, or that a sandbox forbids it; the last also says that this
# process is not to know, which `sees_cache` tells apart.
_NOT_TOLD = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM)


class CacheMap(NamedTuple):
    """Resident bytes of a range, in whole pages, and the share of each bucket.

    None stands for what the system does not tell.
    """

    resident: int
    dirty: int | None
    writeback: int | None
    evicted: int | None
    recently_evicted: int | None
    resident_shares: Shares
    dirty_shares: Shares | None


def edges_of(start: int, length: int, buckets: int | None) -> Edges:
    """Return where the buckets of a range begin and end; None: each is a page.

    They consist of whole pages, and differ by one page at most.
    """
    first, stop = round_down(start, _os.PAGE_SIZE), round_up(start + length, _os.PAGE_SIZE)
    pages = (stop - first) // _os.PAGE_SIZE if length else 0
    count = pages if buckets is None else min(buckets, pages)
    each, longer = divmod(pages, max(count, 1))
    numbers = np.arange(count + 1, dtype=np.int64)
    found: Edges = first + (numbers * each + np.minimum(numbers, longer)) * _os.PAGE_SIZE
    return found


def map_of_file(fd: int, path: str | None, edges: Edges, *, by_page: bool) -> CacheMap:
    """Return how much of each bucket of a file is in the page cache.

    `by_page` tells that each bucket is a page: then dirty ones are counted, but not shown.
    """
    facts = _cache_facts(fd, int(edges[0]), int(edges[-1] - edges[0]))
    if facts is not None and not by_page:
        found = [_os.cache_facts(fd, low, high - low) for low, high in _pairs(edges)]
        resident = _shares([each.resident for each in found], edges)
        return CacheMap(*facts, resident, _shares([each.dirty for each in found], edges))
    if not _os.sees_cache(fd):
        raise AccessError(
            errno.EACCES,
            "cannot tell what of the file is in memory: the system tells only who owns it or may "
            "write to it",
            path,
        )
    counts = _pages_by_bucket(edges, lambda low, high: _resident_of_file(fd, path, low, high))
    shares = _shares(counts * _os.PAGE_SIZE, edges)
    if facts is not None:
        return CacheMap(*facts, shares, None)
    return CacheMap(int(counts.sum()) * _os.PAGE_SIZE, None, None, None, None, shares, None)


def map_of_memory(address: int, edges: Edges) -> CacheMap:
    """Return how much of each bucket of memory is resident; the first edge lies at the address."""
    base = address - int(edges[0])
    try:
        counts = _pages_by_bucket(edges, lambda low, high: _os.resident(base + low, high - low))
        nbytes = counts * _os.PAGE_SIZE
    except OSError as error:
        if error.errno not in _NOT_TOLD:
            raise
        used = [_os.memory_use(base + low, high - low).rss for low, high in _pairs(edges)]
        if None in used:
            raise UnsupportedError(f"{error.strerror}, nor what this process has mapped") from error
        nbytes = np.array(used, np.int64)
    return CacheMap(int(nbytes.sum()), None, None, None, None, _shares(nbytes, edges), None)


def _cache_facts(fd: int, offset: int, length: int) -> _os.CacheFacts | None:
    """Return the cache's figures for a range; None where only mincore may tell."""
    try:
        return _os.cache_facts(fd, offset, length)
    except OSError as error:
        if error.errno in _NOT_TOLD:
            return None
        raise


def _resident_of_file(fd: int, path: str | None, low: int, high: int) -> Any:
    """Return an array with a byte for each page of a range of a file: 1 if it is in memory."""
    start = round_down(low, _os.GRANULARITY)
    try:
        address = _os.map_file(fd, start, high - start, Access.READ)
    except OSError as error:
        raise file_error(error, "map", path) from error
    try:
        return _os.resident(address + low - start, high - low)
    except OSError as error:
        if error.errno not in _NOT_TOLD:
            raise
        raise UnsupportedError(
            f"{error.strerror}; map the file and ask the mapping, whose residency() tells what of "
            "it this process holds"
        ) from error
    finally:
        _os.unmap(address, high - start)


def _pages_by_bucket(edges: Edges, resident: Callable[[int, int], Any]) -> Edges:
    """Return how many pages of each bucket are resident, by asking for a window at a time."""
    counts: Edges = np.zeros(len(edges) - 1, np.int64)
    stop = int(edges[-1])
    for low, high in steps(int(edges[0]), stop, _WINDOW_BYTES):
        pages = resident(low, high)
        # The buckets that the window meets, and the pages of it at which they begin.
        first = int(np.searchsorted(edges, low, "right")) - 1
        last = int(np.searchsorted(edges, high, "left"))
        begins = np.maximum(edges[first:last] - low, 0) // _os.PAGE_SIZE
        counts[first:last] += np.add.reduceat(pages, begins, dtype=np.int64)
    return counts


def _shares(nbytes: Any, edges: Edges) -> Shares:
    """Return the bytes in each bucket as shares of its size."""
    found: Shares = (np.asarray(nbytes) / np.diff(edges)).astype(np.float32)
    return found


def _pairs(edges: Edges) -> list[tuple[int, int]]:
    return list(itertools.pairwise(edges.tolist()))
