"""Losses of a mapping: found by comparing the file, explained, and undone where they can be."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from types import TracebackType

from .. import _os, guard
from .._validation import round_down
from .._warning import warn
from ..errors import FileError, MappingLostError, file_error
from ..files.descriptors import replaced_error, size_of
from ..files.holes import has_hole, holes_of
from ..guard.lost_memory import lost_error, raise_if_part_lost
from .region import Region, places_of
from .source import Source, changing

__all__ = ["LossCheck", "check_file", "check_size", "fault_error", "recover"]


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
            warn(f"the mapping of {source.name} is not guarded: {reason}")
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

    A file that is not at any path is left alone: nobody can reach it.
    """
    source = region.source
    facts, known = source.facts_now(), source.facts
    if facts is None or known is None or start >= stop or known.is_device:
        return
    if facts.identity != known.identity:
        raise replaced_error(source.path or "", "was replaced by another")
    start, stop = source.offset + start, source.offset + stop
    watch = source.cut_watch or source.watch_cuts(facts.blocks)
    if facts.size < stop:
        watch.has_seen_cut, watch.seen = True, None
        raise lost_error(source, max(start, facts.size), stop, "truncated")
    if watch.has_seen_cut:
        was_cut = True
    elif watch.is_set:
        was_cut = facts.blocks != watch.blocks and watch.saw_cut(facts.blocks)
    else:
        was_cut = source.ends_in_data and facts.allocated < known.size and _has_lost_end(region)
        if not was_cut:
            last = round_down(region.address + region.size - 1, _os.PAGE_SIZE)
            watch.set(last, source.offset + last - region.address, facts.blocks, source.opened)
    if was_cut:
        _check_holes(region, start, stop, facts.size)
    is_whole = watch.is_set and not was_cut and facts.size >= source.offset + region.size
    watch.seen = (os.fsencode(source.path or ""), facts.packed) if is_whole else None


def check_size(source: Source, size: int) -> None:
    """Raise if a file is too short for a mapping of it: one that opens it anew would find less."""
    stop = source.offset + size
    with contextlib.suppress(OSError, TypeError):
        if os.stat(source.path).st_size >= stop:  # type: ignore[arg-type]  # faster than all facts
            return
    facts = source.facts_now()
    if facts is None or facts.is_device or facts.identity != source.identity or facts.size >= stop:
        return
    why = "as opening a file for writing does"
    raise lost_error(source, max(source.offset, facts.size), stop, "truncated", why)


def _has_lost_end(region: Region) -> bool:
    """Return whether a file that ended in data, and has fewer blocks now, ends in zeros."""
    with contextlib.suppress(OSError), region.source.opened() as fd:
        return not region.source.has_data_at(fd, region.size, True)
    return False


def _check_holes(region: Region, start: int, stop: int, size: int) -> None:
    """Raise if a range of a file that was cut off, and grew again, has not been written again."""
    source, hole = region.source, start
    with contextlib.suppress(OSError), source.opened() as fd:
        if next(holes_of(fd, size, source.offset), None) is None:
            source.forget_end()  # somebody has written it all
            return
        hole = next((at for at, _ in holes_of(fd, size, start)), size + _os.PAGE_SIZE)
    first = max(start, hole - _os.PAGE_SIZE + 1)  # in the page before, it may have been cut off
    if first < stop:
        more = "and something else grew it again; recover() takes it as it is now"
        raise lost_error(source, first, stop, "truncated", more)


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


@changing
def recover(source: Source) -> int:
    """Remap lost pages from the file; return how many bytes that was."""
    source.forget_end()
    lost = [region for region in places_of(source) if region.has_loss]
    if not lost:
        return 0
    with source.opened() as fd:
        left = max(0, size_of(fd, source.path) - source.offset)
        return sum(region.recover(fd, min(region.size, left)) for region in lost)
