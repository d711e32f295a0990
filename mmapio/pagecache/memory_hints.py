"""Memory of arrays as pages: addresses, residency, and hints to the system.

Hints are hints: where the system knows no such advice, or refuses it, nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from mmapio import _os
from mmapio._os import Advice
from mmapio._validation import round_down, round_up, steps
from mmapio.errors import UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray  # slow to import

__all__ = [
    "all_resident",
    "drop_cached",
    "hint",
    "memory_at",
    "memory_of",
    "missing_runs",
    "prefetch",
    "runs",
    "what_backs",
]

# One call on a larger range can end early: Linux reads no further than the device's largest
# request or its readahead, whichever is more, and the latter is 128 KiB by default.
_PREFETCH_BYTES = 128 << 10
_DROPPED_BYTES = 256 << 20  # at a time: it takes some 10 ms


class _Span:
    """A range of memory as numpy wants it described; it keeps the owner alive."""

    def __init__(self, owner: NDArray[Any] | None, start: int, stop: int) -> None:
        self.owner = owner
        self.__array_interface__ = {
            "version": 3,
            "data": (start, owner is not None and not owner.flags.writeable),
            "shape": (stop - start,),
            "typestr": "|u1",
        }


def memory_of(a: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the memory of an array of any layout, from its lowest byte to its highest."""
    if a.flags.c_contiguous and not a.dtype.hasobject:
        flat = a if a.ndim == 1 else a.reshape(-1)
        return flat.view(np.uint8)
    start, stop = byte_bounds(a)
    return np.asarray(_Span(a, start, stop if a.size else start))


def memory_at(address: int, length: int) -> NDArray[np.uint8]:
    """Return memory that the caller has mapped; nothing keeps it."""
    return np.asarray(_Span(None, address, address + length))


def hint(start: int, stop: int, advice: Advice) -> bool:
    """Advise the system on the pages of a range of addresses; return whether it took the advice."""
    start = round_down(start, _os.PAGE_SIZE)
    try:
        _os.advise(start, round_up(stop - start, _os.PAGE_SIZE), advice)
    except (OSError, UnsupportedError):
        return False
    return True


def prefetch(start: int, stop: int) -> None:
    """Start to read a range of addresses in."""
    for low, high in steps(start, stop, _PREFETCH_BYTES):
        hint(low, high, Advice.WILLNEED)


def drop_cached(fd: int, start: int, stop: int) -> None:
    """Drop the clean pages of a range of a file, which nobody maps, from the cache."""
    while start < stop:
        # Pages that the cache keeps as one go if all of them do: a border must not part them.
        end = min(round_down(start + _DROPPED_BYTES, _DROPPED_BYTES), stop)
        _os.drop_cached(fd, start, end - start)
        start = end


def all_resident(addresses: Iterable[int]) -> bool:
    """Return True if the page of each address is in memory, or if the system cannot say."""
    try:
        return all(_os.resident(round_down(at, _os.PAGE_SIZE), 1)[0] for at in addresses)
    except (OSError, UnsupportedError):
        return True


def missing_runs(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield where runs of pages that are missing from memory begin and end, as addresses."""
    start = round_down(start, _os.PAGE_SIZE)
    try:
        pages = _os.resident(start, stop - start)
    except (OSError, UnsupportedError):
        return
    for low, high in runs(pages == 0):
        yield start + low, start + high


def runs(pages: NDArray[Any]) -> list[tuple[int, int]]:
    """Return where runs of pages of which something is true begin and end, in bytes."""
    edges = np.flatnonzero(np.diff(pages != 0, prepend=False, append=False)) * _os.PAGE_SIZE
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def what_backs(start: int, stop: int) -> _os.Backing:
    """Return what lies behind a range of addresses; nothing, where the system does not tell."""
    try:
        return _os.backing(start, stop - start)
    except UnsupportedError:
        return _os.Backing(shared=False, read_ahead_bytes=0)
