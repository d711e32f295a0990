"""Making the bytes of mapped memory durable, and keeping account of it."""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable

from .. import _os
from ..durability.background import flusher
from ..durability.policy import FlushPolicy
from ..durability.write_ledger import Ledger, Write, hull
from ..errors import ArgumentError, ClosedError, FileError, FlushError, ReplacedError
from ..modes import Access
from .region import Region
from .source import Source

__all__ = ["check_flushes", "flush_range", "follow_policy", "guarding", "ledger_of", "note_write"]


def ledger_of(source: Source) -> Ledger:
    """Return the ledger of a mapping, which it has from its first write or flush on."""
    if source.ledger is None:
        with source.lock:
            if source.ledger is None:
                source.ledger = Ledger(FlushPolicy.manual())
    return source.ledger


def follow_policy(region: Region, policy: FlushPolicy | None) -> None:
    """Flush a mapping by a policy from now on, as long as it is open."""
    if policy is None or policy.kind == "manual":
        return
    source = region.source
    if region.access is not Access.WRITE:
        raise ArgumentError(f"{policy} is for modes that write, not {source.mode.value!r}")
    source.ledger = Ledger(policy)
    source.last_flush = _flush_last
    if policy.kind == "every_millis":
        source.regions = [weakref.ref(region)]
        task = _task(weakref.ref(source))
        source.at_end = functools.partial(flusher.remove, task)
        flusher.add(policy.amount / 1000, task)


def _task(of: weakref.ref[Source]) -> Callable[[], bool]:
    """Return what the thread is to do for a mapping: it must not keep that alive."""

    def flush() -> bool:
        source = of()
        if source is None or source.closed:
            return False
        # The memory is not held: a close in the meantime waits for the sync, and is not refused.
        regions = [region for ref in source.regions if (region := ref()) is not None]
        return not regions or _flush_last(regions[-1]) is None

    return flush


def _flush_last(region: Region) -> FlushError | None:
    """Flush all that a policy is to; return the error, told to whoever wanted to be told."""
    ledger = ledger_of(region.source)
    known = ledger.failure
    if ledger.policy.kind != "every_millis" and ledger.pending_writes == 0:
        return None
    try:
        _sync(region, 0, region.size)
    except ClosedError:
        return None
    except FlushError as error:
        if known is None and ledger.policy.on_error is not None:
            ledger.policy.on_error(error)
        return error
    return None


def check_flushes(region: Region) -> None:
    """Raise what a flush has failed with, in the background maybe, if the policy is to flush."""
    source = region.source
    if source.last_flush is not None and source.ledger is not None:
        source.ledger.check()


def note_write(region: Region, start: int, length: int) -> None:
    """Note that bytes were written, and flush if that is the policy."""
    source = region.source
    ledger = source.ledger
    if ledger is None:
        if region.access is not Access.WRITE or not source.has_file:
            return
        ledger = ledger_of(source)
    due = ledger.add(start, length)
    if due is None:
        return
    if ledger.policy.kind == "always":
        _sync(region, 0, region.size, due)
    else:
        _sync(region, *hull(due), due)


def flush_range(region: Region, start: int, length: int, wait: bool) -> None:
    """Make a range durable; without waiting, start to write it and promise nothing."""
    source = region.source
    if length == 0 or region.access is not Access.WRITE or not source.has_file:
        return
    if wait:
        _sync(region, start, length)
    else:
        _start(source, start, length)


def _start(source: Source, start: int, length: int) -> None:
    # What `guarding` does, without the price of a context: this is all that a caller waits for.
    ledger = source.ledger or ledger_of(source)
    if ledger.failure is not None:
        ledger.check()
    try:
        with source.lock:
            if not source.closed:  # nobody closes the descriptor while the lock is held
                _os.start_writeback(source.descriptor(), source.offset + start, length)
    except ReplacedError:
        pass  # what is at the path now has nothing of ours
    except FileError:
        raise
    except OSError as error:
        raise ledger.fail(error, _doing(start, length), source.path) from error


def _sync(region: Region, start: int, length: int, due: list[Write] | None = None) -> None:
    """Make a range durable, with what is due in it, or else with what is pending."""
    source = region.source
    ledger = source.ledger or ledger_of(source)
    # The file first: who closes or resizes holds the lock of that, and then waits for syncs.
    file = source.opened() if _os.SYNC_NEEDS_FILE else contextlib.nullcontext()
    with file as fd, ledger.syncing, guarding(source, _doing, start, length):
        taken = ledger.take(start, start + length) + (due or [])
        durable = False
        try:
            if source.closed:
                raise ClosedError(f"the mapping of {source.name} is closed")
            _os.sync(*region.whole_pages(start, length))
            if fd is not None:
                _os.sync_file(fd)
            if source.name_is_new:
                source.make_name_durable()
            durable = True
        finally:
            ledger.settle(taken, durable)


def _doing(start: int, length: int) -> str:
    return f"flush {length} bytes at {start}"


class guarding:  # noqa: N801, used as contextlib's are; in a third of the time of a generator
    """Let a sync that fails be the last one; raise what an earlier one has failed with."""

    __slots__ = ("_arguments", "_doing", "_ledger", "_source")

    def __init__(self, source: Source, doing: Callable[..., str], *arguments: int) -> None:
        self._source = source
        self._ledger = source.ledger or ledger_of(source)
        self._doing = doing
        self._arguments = arguments

    def __enter__(self) -> None:
        self._ledger.check()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, FileError):
            doing = self._doing(*self._arguments)
            raise self._ledger.fail(error, doing, self._source.path) from error
