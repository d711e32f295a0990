"""Closing of a mapping: refused while arrays are alive, or safe for them."""

from __future__ import annotations

import enum

from ..errors import ClosedError, FileError, InUseError, clear_errors, file_error
from .flushing import flush_rest
from .region import Region, newest_place, places_of, references_to_bytes
from .source import Source, closing

__all__ = ["WhenInUse", "close_source", "uses_of"]


class WhenInUse(enum.Enum):
    """Treatment of arrays that are alive when their mapping is closed."""

    REFUSE = enum.auto()  # to close
    ZERO = enum.auto()  # their memory, which stays until they go
    KEEP = enum.auto()  # their memory as it is until they go


def close_source(source: Source, when_in_use: WhenInUse, own: int = 0) -> None:
    """Close a mapping; `own` references to its bytes belong to the array that asks for it.

    It stays open, and can be closed once more, if anything fails before its memory is given back.
    """
    is_used_here = source.is_used_here()  # by a call that a signal handler has interrupted
    if is_used_here:
        when_in_use = WhenInUse.KEEP  # it goes on, and nothing that it stores gets lost
    error = None if source.ending is None else _last_flush(source)
    if source.busy or source.syncing:
        source.stop_copying()
    with source.lock:
        if source.syncing:
            source.wait_for_syncs()
        _close(source, when_in_use, own, is_used_here)
    if error is not None:
        raise error


def _last_flush(source: Source) -> BaseException | None:
    """Flush what a policy has left to do; return the error to raise in the end."""
    try:
        return flush_rest(newest_place(source))
    except ClosedError:
        return None


@closing
def _close(source: Source, when_in_use: WhenInUse, own: int, is_used_here: bool) -> None:
    """Close a mapping whose lock is held; what this thread still uses is unmapped when it goes."""
    if source.closed:
        if not is_used_here:
            _give_back({place: references_to_bytes(place) for place in places_of(source)})
        return
    handle = source.handle()
    uses: dict[Region, int] = {}
    try:
        if handle is not None:
            handle._hide()  # from here on it gives nobody a view
        uses = {} if is_used_here else uses_of(source, own)
        is_used = sum(uses.values()) > own
        if is_used and when_in_use is WhenInUse.REFUSE:
            raise InUseError(
                f"cannot close the mapping of {source.name}: arrays over it are alive; "
                "drop them, or close(force=True), after which they read zeros"
            )
        if is_used and when_in_use is WhenInUse.KEEP:
            uses = {}
        if is_used or own:
            _close_covered(source, [region for region, count in uses.items() if count])
        else:
            source.close()
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise file_error(error, "close the mapping", source.path) from error
    finally:
        if handle is not None:
            handle._look()
        if source.closed:
            _give_back(uses)


def _give_back(uses: dict[Region, int]) -> None:
    """Unmap the regions that nobody uses; one that cannot be is left to the next close."""
    failure: FileError | None = None
    for region, count in uses.items():
        if not count:
            try:
                region.give_back()
            except FileError as error:
                failure = error
    if failure is not None:
        raise failure


def _close_covered(source: Source, regions: list[Region]) -> None:
    """Put zero pages over all of some regions and close; if that fails, over none of them."""
    try:
        for region in regions:
            region.cover(-region.address)
        source.close()
    except BaseException:
        if not source.closed:
            _uncover(source, regions)
        raise
    for region in regions:
        region.forget()


def _uncover(source: Source, regions: list[Region]) -> None:
    """Map the file again over regions; if that fails too, they stay zeros, and it is closed."""
    try:
        with source.opened() as fd:
            for region in regions:
                region.uncover(fd, region.capacity)
    except OSError:
        source.close()


def uses_of(source: Source, own: int = 0) -> dict[Region, int]:
    """Return how many references there are to the bytes of each region; `own` are no use."""
    uses = {region: references_to_bytes(region) for region in places_of(source)}
    if sum(uses.values()) > own:
        source.wait_for_copies()
        clear_errors()  # what only they hold, nobody uses; also errors of those copies
        uses = {region: references_to_bytes(region) for region in uses}
    return uses
