"""Closing of a mapping: refused while arrays are alive, or safe for them."""

from __future__ import annotations

import contextlib
import enum

from ..errors import FileError, InUseError, clear_errors, file_error
from .flushing import flush_rest
from .region import Region, newest_place, places_of, references_to_bytes
from .source import Source

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
    if source.busy:
        source.stop_copying()  # as may be a call that a signal handler has interrupted
    error = flush_rest(newest_place(source)) if source.flushes_itself else None
    with source.lock:
        if source.ledger is None:  # as of most mappings: there is no sync to wait for
            _close(source, when_in_use, own)
        else:
            with source.ledger.syncing:
                _close(source, when_in_use, own)
    if error is not None:
        raise error


def _close(source: Source, when_in_use: WhenInUse, own: int) -> None:
    if source.closed:
        return
    handle = source.handle()
    if handle is not None:
        handle._hide()  # from here on it gives nobody a view
    try:
        uses = uses_of(source, own)
        is_used = sum(uses.values()) > own
        if is_used and when_in_use is WhenInUse.REFUSE:
            raise InUseError(
                f"cannot close the mapping of {source.name}: arrays over it are alive; "
                "drop them, or close(force=True), after which they read zeros"
            )
        if is_used and when_in_use is WhenInUse.KEEP:
            uses = {}
        if is_used or own:
            _cover([region for region, count in uses.items() if count])
        source.close()
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise file_error(error, "close the mapping", source.path) from error
    finally:
        if handle is not None:
            handle._look()
        if source.closed:
            for region, count in uses.items():
                if not count:
                    region.give_back()


def _cover(regions: list[Region]) -> None:
    """Put zero pages over all of some regions, or over none of them."""
    covered: list[Region] = []
    try:
        for region in regions:
            region.cover(-region.address)
            covered.append(region)
    except BaseException:
        for region in covered:
            with contextlib.suppress(FileError), region.source.opened() as fd:
                region.uncover(fd, region.capacity)
        raise
    for region in regions:
        region.forget()


def uses_of(source: Source, own: int = 0) -> dict[Region, int]:
    """Return how many references there are to the bytes of each region; `own` are no use."""
    uses = {region: references_to_bytes(region) for region in places_of(source)}
    if sum(uses.values()) > own:
        source.wait_for_copies()
        clear_errors()  # what only they hold, nobody uses; also errors of those copies
        uses = {region: references_to_bytes(region) for region in uses}
    return uses
