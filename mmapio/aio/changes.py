"""Changes of a file, for coroutines that watch it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections import deque
from types import TracebackType
from typing import Self

from .. import _forking
from .._extras import require
from .._polling import poll
from ..files.watch import Change, Counter
from ..mapping.mapped_file import MappedFile
from .waiting import check_kind

__all__ = ["Changes", "watch"]

# Nobody waits for the thread of a task that was cancelled: it ends by itself after this time.
_LONGEST_WAIT_S = 1.0


def watch(
    mapping: MappedFile, *, debounce_ms: int = 50, generation: Counter | None = None
) -> Changes:
    """Watch the file at the path of a mapping.

    Parameters
    ----------
    mapping : MappedFile
        Its mapping, which has to be kept: the watch ends with it.
    debounce_ms, generation : optional
        As for `MappedFile.watch`.

    Returns
    -------
    Changes
        An asynchronous iterator over the changes, from now on.

    Raises
    ------
    MmapioError
        As `MappedFile.watch` does.

    Examples
    --------
    >>> import asyncio, mmapio, os
    >>> m = mmapio.MappedFile.open("watched.bin", "x+", size=10)
    >>> async def main():
    ...     async with mmapio.aio.watch(m) as changes:
    ...         os.truncate("watched.bin", 5)
    ...         async for change in changes:
    ...             return change.kind, change.new_size
    >>> asyncio.run(main())
    ('resized', 5)
    """
    check_kind(mapping, MappedFile)
    return Changes(mapping, debounce_ms, generation)


class Changes:
    """Changes of a file, for ``async for``; made by `watch`.

    It ends when it is stopped or its mapping is closed, and in a forked child, which has no watch.
    A change that a cancelled task did not get goes to the next one. Dropping the object, or leaving
    an ``async with`` block, stops the watch.

    Parameters
    ----------
    mapping, debounce_ms, generation
        As for `watch`.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> m = mmapio.MappedFile.open("quiet.bin", "x+", size=10)
    >>> async def main():
    ...     changes = mmapio.aio.watch(m)
    ...     changes.stop()
    ...     return [change async for change in changes]
    >>> asyncio.run(main())
    []
    """

    def __init__(
        self, mapping: MappedFile, debounce_ms: int = 50, generation: Counter | None = None
    ) -> None:
        self._inbox = inbox = _Inbox()  # the watch does not keep what its user may drop
        watch = mapping._watch(inbox.put, debounce_ms, generation, inbox.end)
        self._end = weakref.finalize(self, watch.stop, wait=False)

    def stop(self) -> None:
        """Stop watching; whoever waits for a change gets none.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.open("stopped.bin", "x+", size=10)
        >>> changes = mmapio.aio.watch(m)
        >>> changes.stop()
        """
        self._end()
        self._inbox.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        return await self._inbox.get()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class _Inbox:
    """Changes that a thread puts in, and coroutines of any loop take out."""

    def __init__(self) -> None:
        self._changes: deque[Change] = deque()
        self.renew()
        self._has_ended = False
        _forking.renew_in_child(self)

    def renew(self) -> None:
        """End, as in a forked child: it has neither the thread that watches nor the loops."""
        self._lock = threading.RLock()  # a signal handler may stop the watch
        self._awaited: set[asyncio.Future[None]] = set()
        self._has_ended = True

    def put(self, change: Change) -> None:
        self._changes.append(change)
        self._wake()

    def end(self) -> None:
        self._has_ended = True
        self._wake()

    async def get(self) -> Change:
        while True:
            if self._changes:
                return self._changes.popleft()
            if self._has_ended:
                raise StopAsyncIteration
            await self._wait()

    def _has_news(self) -> bool:
        return bool(self._changes) or self._has_ended

    def _wake(self) -> None:
        with self._lock:
            for future in list(self._awaited):
                with contextlib.suppress(RuntimeError):  # its loop was closed
                    future.get_loop().call_soon_threadsafe(_settle, future)
            self._awaited.clear()

    async def _wait(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            run_sync = require("anyio.to_thread", "trio").run_sync
            await run_sync(poll, self._has_news, _LONGEST_WAIT_S, abandon_on_cancel=True)
            return
        future = loop.create_future()
        with self._lock:
            self._awaited.add(future)
        try:
            if not self._has_news():
                await future
        finally:
            with self._lock:
                self._awaited.discard(future)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():  # it may have been cancelled meanwhile
        future.set_result(None)
