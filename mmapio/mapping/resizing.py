"""Resizing of a mapping: the file, its memory, and what arrays over it see."""

from __future__ import annotations

import contextlib
import errno
import os

from .. import _os
from .._validation import LARGEST, as_count
from ..errors import ArgumentError, FileError, InUseError, UnsupportedError
from ..files.descriptors import set_size
from ..modes import Access
from .closing import uses_of
from .page_advice import extend_options
from .region import Region, places_of, raise_read_only
from .source import Source, changing

__all__ = ["check_unused", "follow_file", "resize_source"]


@changing
def resize_source(source: Source, region: Region, size: object, force: bool) -> None:
    """Grow or shrink the file of a mapping, whose lock is held; `region` is its newest."""
    new, old = as_count(size, "size"), region.size
    _check_resizable(source, region, old, new)
    if not force and (new < old or new > region.capacity):
        _refuse_used(source, region, new)
    if not source.has_file:
        extend_options(region, old, new)
        # Also what arrays over what was once cut off have stored there since.
        region.bytes()[min(old, new) : max(old, min(new, region.reached))] = 0
        try:
            _settle(source, new)
        except BaseException:  # Ctrl-C: half of it is no size at all
            _settle(source, new)
            raise
        return
    with source.opened_here() as fd:
        _check_whole(source, fd, old)
        if new < old:
            _shrink(source, fd, old, new)
        elif new > old:
            _grow(source, region, fd, old, new)


@changing
def follow_file(source: Source, region: Region, size: int) -> None:
    """Reach to where the file was grown or cut by other means; the mapping's lock is held."""
    moves = size > region.capacity
    hidden = [place for place in places_of(source) if place.is_covered(size) or place.has_loss]
    if moves or hidden:
        with source.opened_here() as fd:
            for place in hidden:
                place.uncover(fd, size)
            if moves:
                region.move_to(_with_room(fd, source, size))
    _settle(source, size)


def _with_room(fd: int, source: Source, size: int) -> Region:
    """Map a file with room for as much again, if there is address space for it."""
    try:
        return Region.of_file(fd, source, size, 2 * size)
    except FileError as error:
        if error.errno != errno.ENOMEM:
            raise
        return Region.of_file(fd, source, size)


@changing
def check_unused(source: Source, region: Region, new: int) -> None:
    """Refuse to resize under arrays that would not follow."""
    _refuse_used(source, region, new)


def _refuse_used(source: Source, region: Region, new: int) -> None:
    handle = source.handle()
    if handle is not None:
        handle._hide()  # until it is known, nobody is given a view
    try:
        if not any(uses_of(source).values()):
            return
    finally:
        if handle is not None:
            handle._look()
    if new < region.size:
        raise InUseError(
            f"cannot shrink the mapping of {source.name}: arrays over it are alive; drop them, or "
            "resize(..., force=True), after which those over what is cut off read zeros"
        )
    raise InUseError(
        f"cannot grow the mapping of {source.name} to {new} bytes in place: its capacity is "
        f"{region.capacity}, and arrays over it are alive; open it with a larger capacity=, "
        "drop them, or resize(..., force=True), after which they stay where they are"
    )


def _check_resizable(source: Source, region: Region, old: int, new: int) -> None:
    if region.access is Access.READ:
        raise_read_only(region)
    if region.access is Access.COPY:
        raise UnsupportedError(f"the mapping of {source.name} is a private copy: no resize")
    if not source.has_file:
        if new > region.capacity:
            raise UnsupportedError(
                f"{source.name} memory grows up to its capacity, {region.capacity} bytes; "
                f"{new} were asked for"
            )
    elif new < old and not _os.CAN_MAP_PAST_END:
        raise UnsupportedError("this platform cannot shrink a file while it is mapped")
    elif source.offset + new > LARGEST:
        raise ArgumentError(f"size {new} is larger than any file ({LARGEST})")


def _check_whole(source: Source, fd: int, size: int) -> None:
    if source.facts is not None and source.facts.is_device:
        raise UnsupportedError(f"{source.name} is a device, which has the size that it has")
    end, known = os.fstat(fd).st_size, source.offset + size
    if end != known:
        raise UnsupportedError(
            f"the mapping of {source.name} ends at byte {known} of a file of {end}; "
            "only one that reaches to the end can be resized"
        )


def _shrink(source: Source, fd: int, old: int, new: int) -> None:
    places, left = places_of(source), old
    try:
        # First the zero pages, then the cut: a thread that reads there finds one or the other.
        for place in places:
            place.cover(new)
        set_size(fd, source.offset + old, source.offset + new, False, source.path)
        left = new
    finally:
        try:
            _end_shrink(source, fd, places, old, left)
        except BaseException:  # Ctrl-C can come here as well
            _end_shrink(source, fd, places, old, left)
            raise


def _end_shrink(source: Source, fd: int, places: list[Region], old: int, left: int) -> None:
    """Show what is left of a file, which tells how far it went: Ctrl-C can come before the cut."""
    left = _size_now(fd, source.offset + left) - source.offset
    for place in places:
        place.uncover(fd, left)
    _settle(source, left)
    ledger = source.ledger
    if ledger is not None and left < old:  # what was cut off is never to be flushed
        ledger.settle(ledger.pending(), left, old)


def _size_now(fd: int, known: int) -> int:
    """Return the size of a file; what it is known to be if that cannot be asked for."""
    try:
        return os.fstat(fd).st_size
    except OSError:
        return known


def _grow(source: Source, region: Region, fd: int, old: int, new: int) -> None:
    # Stores past the end of the file, but within its last page, would come to light.
    stop = min(new, region.size_of_pages(old))
    if old < stop:
        region.bytes()[old:stop] = 0
    known = places_of(source)
    try:  # from here on, for Ctrl-C can come when the file has just grown
        set_size(fd, source.offset + old, source.offset + new, source.options.reserve, source.path)
        for place in known:
            place.uncover(fd, new)
        if new > region.capacity:
            moved = Region.of_file(fd, source, new)
            extend_options(moved, 0, new)
            region.move_to(moved)
        else:
            extend_options(region, old, new)
    except BaseException:
        with contextlib.suppress(FileError):
            for place in places_of(source):
                if place in known:
                    place.cover(old)
                else:  # moved to, and held by the frames of this error, maybe
                    source.wait_for_syncs()  # of the background thread, which may have seen it
                    place.give_back()
            set_size(fd, source.offset + new, source.offset + old, False, source.path)
        raise
    try:
        _settle(source, new)
    except BaseException:  # Ctrl-C: the file has grown
        _settle(source, new)
        raise


def _settle(source: Source, size: int) -> None:
    source.forget_end()
    for place in places_of(source):
        place.settle(size)
    handle = source.handle()
    if handle is not None:
        handle._look()
