"""Losses of a mapping: found by comparing the file, explained, and undone where they can be."""

from __future__ import annotations

import contextlib
import errno
import os
import warnings
from collections.abc import Callable
from types import TracebackType

from .. import _os, guard
from ..errors import FileError, MappingLostError, file_error
from ..files.descriptors import replaced_error
from ..files.holes import has_hole
from ..guard.lost_memory import lost_error, raise_if_part_lost
from .region import Region, places_of
from .source import Source

__all__ = ["LossCheck", "check_file", "fault_error", "recover"]


class LossCheck:
    """Context manager that raises at its end if memory that the block may have used was lost.

    Parameters
    ----------
    source : Source
        The file.
    check : callable
        Raises if any of the memory was lost.
    """

    def __init__(self, source: Source, check: Callable[[], None]) -> None:
        self._source = source
        self._check = check

    def __enter__(self) -> None:
        source, reason = self._source, guard.why_not()
        if reason is not None and source.options.guard and source.has_file and "=0" not in reason:
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


def check_file(region: Region, start: int, stop: int) -> None:
    """Raise if a range of the mapping is no longer what is in the file at its path.

    That a file became shorter shows in its size, and that it did and grew again, in a hole where
    all was full. A file that is not at any path is left alone: nobody can reach it.
    """
    source = region.source
    facts, known = source.facts_now(), source.facts
    if facts is None or known is None or start >= stop:
        return
    if facts.identity != known.identity:
        raise replaced_error(source.path or "", "was replaced by another")
    start, stop = source.offset + start, source.offset + stop
    if facts.size < stop:
        raise lost_error(source, max(start, facts.size), stop, "truncated")
    if known.allocated >= known.size and facts.allocated < min(
        known.size, source.full_to, facts.size
    ):
        raise lost_error(source, start, stop, "truncated", "and something else grew it again")


def fault_error(region: Region, start: int, stop: int, writing: bool) -> FileError:
    """Return the error for pages of a range that could not be read in, or be given blocks."""
    source = region.source
    try:
        raise_if_part_lost(region, start, stop)
        check_file(region, start, stop)
    except FileError as error:
        return error
    start, stop = source.offset + start, source.offset + stop
    with contextlib.suppress(OSError, FileError), source.opened() as fd:
        if writing and has_hole(fd, start, stop):
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return file_error(full, f"give bytes {start} to {stop} their blocks", source.path)
    return lost_error(source, start, stop, "I/O error")


def recover(source: Source) -> int:
    """Remap lost pages from the file; return how many bytes that was."""
    source.expect_holes_from(0)
    lost = [region for region in places_of(source) if region.has_loss]
    if not lost:
        return 0
    with source.opened() as fd:
        left = max(0, _os.identify(fd).size - source.offset)
        return sum(region.recover(fd, min(region.size, left)) for region in lost)
