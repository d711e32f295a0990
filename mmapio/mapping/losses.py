"""What a mapping has lost of its file: noticed, explained, and put back where it can be."""

from __future__ import annotations

import contextlib
import errno
import os
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.lib.array_utils import byte_bounds

from .. import _os, guard
from ..errors import FileError, MappingLostError, file_error
from ..files.descriptors import replaced_error
from ..files.holes import has_hole
from ..guard import lost_memory
from .region import Region, regions_of
from .source import Source

__all__ = [
    "Guarding",
    "check_file",
    "check_region",
    "fault_error",
    "lost_error",
    "raise_if_lost",
    "recover",
]

_CODES: Final = {
    "truncated": errno.ENODATA,
    "no space": errno.ENOSPC,
    "I/O error": errno.EIO,
    "memory error": errno.EIO,
}
_WHY: Final = {
    "truncated": "another program has cut the file off",
    "no space": "there was no space on the disk for what was stored there; free some",
    "I/O error": "the drive reports an I/O error",
    "memory error": "the memory has failed",
}
_MEMORY_CODES: Final = (4, 5)  # BUS_MCEERR_AR and BUS_MCEERR_AO


class Guarding:
    """A block that raises at its end if memory that it may have used was lost.

    Parameters
    ----------
    region : Region
        The memory.
    check : callable
        Raises if any of it was lost.
    """

    def __init__(self, region: Region, check: Callable[[], None]) -> None:
        self._region = region
        self._check = check

    def __enter__(self) -> None:
        source, reason = self._region.source, guard.why_not()
        if reason is not None and source.guarded and source.has_file and "=0" not in reason:
            message = f"the mapping of {source.name} is not guarded: {reason}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        guard.ensure()
        self._check()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._check()
        elif isinstance(error, Exception):
            # Zeros that nobody expected there are the likely reason of the error.
            try:
                self._check()
            except MappingLostError as lost:
                raise lost from error


def raise_if_lost(thing: object) -> None:
    """Raise MappingLostError if it is an array over memory that was lost."""
    base: Any = thing
    while isinstance(base, (np.ndarray, memoryview)):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if isinstance(base, Region) and isinstance(thing, np.ndarray) and thing.size:
        low, high = byte_bounds(thing)
        check_region(base, low - base.address, high - base.address)


lost_memory.raise_if_lost = raise_if_lost


def check_region(region: Region, start: int, stop: int) -> None:
    """Raise MappingLostError if the guard has met a loss in a range of the mapping."""
    if not lost_memory.faults[0]:
        return
    loss = guard.loss_of(region.row)
    if loss is None:
        return
    start += region.address
    stop = min(stop, region.size) + region.address
    if loss.low < stop and start < loss.high:
        # Of what precedes the mapping in its first page, nobody has asked.
        at = region.source.offset - region.address
        low = at + max(loss.low, region.address)
        high = at + min(loss.high, region.address + region.size)
        cause = _cause(region.source, low, high, loss)
        facts = _facts_now(region.source) if cause == "truncated" else None
        if facts is not None:
            # The page that holds the end is zeroed without a signal.
            low = max(min(low, facts.size), region.source.offset)
        raise lost_error(region.source, low, high, cause)


def check_file(region: Region, start: int, stop: int) -> None:
    """Raise if a range of the mapping is no longer what is in the file at its path.

    That a file became shorter shows in its size, and that it did and grew again, in a hole where
    all was full. A file that is not at any path is left alone: nobody can reach it.
    """
    source = region.source
    facts, known = _facts_now(source), source.facts
    if facts is None or known is None or start >= stop:
        return
    if facts.identity != known.identity:
        raise replaced_error(source.path or "", "was replaced by another")
    start, stop = source.offset + start, source.offset + stop
    if facts.size < stop:
        raise lost_error(source, max(start, facts.size), stop, "truncated")
    if known.allocated >= known.size and facts.allocated < min(
        known.size, source.cut_to, facts.size
    ):
        raise lost_error(source, start, stop, "truncated", "and something else grew it again")


def _facts_now(source: Source) -> _os.FileFacts | None:
    """Return what is known of the file now; None where there is none to ask about."""
    with source.lock:
        fd = source.kept_descriptor
        if fd is not None:
            return _os.identify(fd)
    if source.path is None:
        return None
    try:
        return _os.identify_path(source.path)
    except OSError:  # it was deleted, or lies where this process may not look any more
        return None


def lost_error(
    source: Source, start: int, stop: int, cause: str, more: str = ""
) -> MappingLostError:
    """Return the error for bytes of a file that were lost."""
    text = f"bytes {start} to {stop} of the file were lost under the mapping, and read zeros: "
    text += _WHY[cause] + (f", {more}" if more else "")
    arguments = (_CODES[cause], text) if source.path is None else (_CODES[cause], text, source.path)
    error = MappingLostError(*arguments)
    error.start, error.stop, error.cause = start, stop, cause
    return error


def fault_error(region: Region, start: int, stop: int, writing: bool) -> FileError:
    """Return the error for pages of a range that could not be read in, or be given blocks."""
    source = region.source
    try:
        check_region(region, start, stop)
        check_file(region, start, stop)
    except FileError as error:
        return error
    start, stop = source.offset + start, source.offset + stop
    with contextlib.suppress(OSError, FileError), source.opened() as fd:
        if writing and has_hole(fd, start, stop):
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return file_error(full, f"give bytes {start} to {stop} their blocks", source.path)
    return lost_error(source, start, stop, "I/O error")


def _cause(source: Source, low: int, high: int, loss: guard.Loss) -> str:
    """Find out why a page was lost: the signal says the same for all but the memory."""
    if loss.code in _MEMORY_CODES:
        return "memory error"
    if loss.past_end:
        return "truncated"
    with contextlib.suppress(OSError, FileError), source.opened() as fd:
        size = _os.identify(fd).size
        if size <= low:
            return "truncated"
        # Not only at `low`: blocks for the first part of what was stored may have been found.
        if has_hole(fd, low, min(high, size)):
            return "no space"
    return "I/O error"


def recover(region: Region, size: int) -> int:
    """Map the file again over what was lost of its mapping; return how many bytes that was."""
    source = region.source
    source.cut_to = 0  # holes are no surprise from here on
    lost = [each for each in regions_of(region) if guard.loss_of(each.row) is not None]
    if not lost:
        return 0
    with source.opened() as fd:
        left = _os.identify(fd).size - source.offset
        return sum(each.recover(fd, max(0, min(size, left))) for each in lost)
