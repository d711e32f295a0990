"""Flushing of mapped memory: by policies, by ranges, and the last time before it goes."""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import sys
import weakref
from collections.abc import Callable
from threading import get_ident

from .. import _os
from .._pacing import PIECE_BYTES
from ..durability.background import flusher
from ..errors import (
    ClosedError,
    FileError,
    FlushError,
    ReplacedError,
    UnsupportedError,
    file_error,
)
from ..files.publishing import is_passing
from ..files.writeback import write_back
from ..modes import Access
from .region import Region, places_of
from .source import Source

__all__ = [
    "check_flushes",
    "flush_due",
    "flush_range",
    "flush_rest",
    "follow_policy",
    "note_write",
    "start_range",
    "sync_errors",
    "sync_range",
]

# As of a system without such a call, or a sandbox: pages go out when the system thinks fit.
_NO_WRITEBACK = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM, errno.ESPIPE)


def follow_policy(region: Region) -> None:
    """Flush a mapping by the policy of its options from now on, as long as it is open."""
    source = region.source
    policy = source.options.flush_policy
    if policy is None or policy.kind == "manual":
        return
    source.keep_account()
    by_time = policy.kind == "every_millis"
    # By other policies, the thread only waits for the mapping to go without being closed.
    task = functools.partial(_flush_open, weakref.ref(source))
    flusher.add(policy.amount / 1000 if by_time else math.inf, task)
    source.end_with(_Ending(source, task))


def _flush_open(of: weakref.ref[Source]) -> bool:
    """Flush what a policy has left to do, in the thread; return False when nothing is left to do.

    The mapping is not kept alive, and no array of it held: a close waits, and is not refused.
    """
    source = of()
    if source is None or source.closed:
        return False
    places = places_of(source)
    if places:
        _raise_end(flush_rest(places[-1]))
    return source.ledger is None or source.ledger.failure is None


def _raise_end(error: BaseException | None) -> None:
    """Raise what `on_error` has raised to end the program; the thread reports it."""
    if error is not None and not isinstance(error, FileError):
        raise error


class _Ending:
    """End of a mapping with a flush policy: what is not durable yet is flushed in the thread.

    Its methods are for finalizers as well: they take no lock, and wait for nothing.
    """

    def __init__(self, source: Source, task: Callable[[], bool]) -> None:
        self._ledger = source.keep_account()
        self._task = task

    def takes(self, region: Region) -> bool:
        """Return whether the last region of a mapping that goes is taken, to be flushed."""
        ledger = self._ledger
        if ledger.failure is not None:  # no flush does any good, and the thread has given it up
            return False
        if ledger.policy.kind != "every_millis" and not ledger.has_pending:
            return False
        flusher.finish(functools.partial(_flush_and_give_back, [region]))
        flusher.remove(self._task)
        return True

    def cancel(self) -> None:
        """Do nothing at the end: the mapping was closed, or has gone."""
        flusher.remove(self._task)

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # Only its source has it. Ctrl-C can come before `__init__` has set the task.
        if not finalizing() and hasattr(self, "_task"):
            self.cancel()


def flush_rest(region: Region) -> BaseException | None:
    """Flush what a policy has left to do; return the error, having called `on_error` with it.

    If that raises, it stops nobody from going on: an error is reported as one that nobody handles,
    and what ends the program is returned to be raised in the end.
    """
    source = region.source
    if not source.flushes_itself or source.closed:
        return None
    ledger = source.keep_account()
    known = ledger.failure or source.name_failure
    if ledger.policy.kind != "every_millis" and not ledger.has_pending:
        return None
    try:
        _write_ahead(source, 0, region.size)
        _sync(region, 0, region.size)
    except ClosedError:
        return None
    except FlushError as error:
        if known is None and ledger.policy.on_error is not None:
            try:
                ledger.policy.on_error(error)
            except Exception:
                sys.excepthook(*sys.exc_info())
            except BaseException as end:
                return end
        return error
    return None


def _flush_and_give_back(left: list[Region]) -> bool:
    """End a mapping that nobody has closed, and of which no array is left: whoever comes first."""
    try:
        region = left.pop()
    except IndexError:
        return False
    try:
        error = flush_rest(region)
        if error is not None:
            raise error
    finally:
        region.source.wait_for_syncs()  # of another thread, which may have seen it
        region.give_back()
    return False


def check_flushes(source: Source) -> None:
    """Raise what a flush has failed with, in the background maybe, if the policy is to flush."""
    if source.flushes_itself and source.ledger is not None:
        source.ledger.check()


def note_write(region: Region, start: int, length: int) -> None:
    """Note that bytes were written, and flush if that is the policy."""
    source = region.source
    ledger = source.ledger
    if ledger is None:
        if region.access is not Access.WRITE or not source.has_file:
            return
        ledger = source.keep_account()
    if ledger.add(start, length):
        flush_due(region)


def flush_due(region: Region) -> None:
    """Flush what a write has made due by the policy."""
    source = region.source
    ledger = source.keep_account()
    _write_ahead(source, *ledger.extent())
    if ledger.policy.kind == "always":
        _sync(region, 0, region.size)
    else:
        _sync(region, *ledger.extent())


def flush_range(region: Region, start: int, length: int, wait: bool) -> bool:
    """Make a range durable; without waiting, start to write it and promise nothing.

    Return whether nothing need be looked for after that: the file is as it was when all was well.
    """
    if wait:
        return sync_range(region, start, length)
    start_range(region, start, length)
    return True


def sync_range(region: Region, start: int, length: int) -> bool:
    """Make a range durable; return what `flush_range` does."""
    source = region.source
    if length == 0 or not source.is_written_back:
        return True
    if length > PIECE_BYTES:
        _write_ahead(source, start, length)
    return _sync(region, start, length)


def start_range(region: Region, start: int, length: int) -> None:
    """Start to write a range."""
    source = region.source
    if length == 0 or not source.is_written_back:
        return
    ledger = source.ledger or source.keep_account()
    if ledger.failure is not None:
        ledger.check()
    try:
        source.start_writing(start, length)
    except ReplacedError:
        pass  # what is at the path now has nothing of ours
    except FileError:
        raise
    except OSError as error:
        if is_passing(error):
            raise file_error(error, _doing(start, length), source.path) from error
        if error.errno not in _NO_WRITEBACK:
            raise ledger.fail(error, _doing(start, length), source.path) from error


def _sync(region: Region, start: int, length: int) -> bool:
    """Make a range durable; the caller holds no lock of the mapping, nor of anything else.

    Return whether the file is known to be as it was when its mapping was last checked.

    A signal handler that flushes within the sync of the thread that it interrupts does so at once.
    Of the two, each has a result of its own, and a failure counts for both.
    """
    source = region.source
    ledger = source.ledger or source.keep_account()
    opened = source.opened() if _os.SYNC_NEEDS_FILE else None
    with ledger.syncing:
        if ledger.failure is not None or ledger.unheard:
            ledger.check()
        pending, syncing, me = ledger.pending(), source.syncing, get_ident()
        is_first = me not in syncing
        try:
            syncing[me] = None  # whoever closes waits for this
            if source.closed or region.start == region.end:
                raise ClosedError(f"the mapping of {source.name} is closed")
            is_unchanged = source.sync_memory(region.address + start, length, ledger.unheard)
            if opened is not None:
                with opened as fd:
                    _os.sync_file(fd)
            if source.name_is_new:
                source.make_name_durable()
        except OSError as error:
            if isinstance(error, FileError):
                raise
            if source.closed:  # by a handler of this thread
                raise ClosedError(f"the mapping of {source.name} was closed meanwhile") from error
            raise ledger.fail(error, _doing(start, length), source.path) from error
        finally:
            if is_first:
                syncing.pop(me, None)
        if source.closed:
            raise ClosedError(f"the mapping of {source.name} was closed meanwhile")
        if pending:
            ledger.settle(pending, start, start + length)
        return is_unchanged


def _write_ahead(source: Source, start: int, length: int) -> None:
    """Write most of a large range in pieces: before the sync, which Ctrl-C cannot end."""
    if length > PIECE_BYTES and not source.closed:
        with contextlib.suppress(FileError, UnsupportedError), source.opened() as fd:
            write_back(fd, source.offset + start, source.offset + start + length)


def _doing(start: int, length: int) -> str:
    return f"flush {length} bytes at {start}"


class sync_errors:  # noqa: N801, used as contextlib's are; in a third of the time of a generator
    """Let a sync that fails be the last one; raise what an earlier one has failed with."""

    __slots__ = ("_arguments", "_doing", "_ledger", "_source")

    def __init__(self, source: Source, doing: Callable[..., str], *arguments: int) -> None:
        self._source = source
        self._ledger = source.ledger or source.keep_account()
        self._doing = doing
        self._arguments = arguments

    def __enter__(self) -> None:
        self._ledger.check()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, FileError):
            doing = self._doing(*self._arguments)
            raise self._ledger.fail(error, doing, self._source.path) from error
