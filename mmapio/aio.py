"""Functions for asyncio and trio, which wait for drives without blocking the event loop.

Each function does in a thread what the one of its name does, or at once where nothing can wait. A
task that is cancelled leaves all of it done, or nothing: what has begun is finished first.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import weakref
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from . import _forking
from ._extras import require
from ._validation import Path, as_bytes
from .arrays import opening
from .arrays.mapped_array import MappedArray
from .errors import ArgumentTypeError
from .files import whole_files
from .files.watch import Change, Counter
from .mapping.mapped_file import MappedFile

__all__ = ["Changes", "copy", "delete", "flush", "open", "watch", "write"]

Result = TypeVar("Result")

# So much is copied in less time than it takes to wake a thread.
_QUICK_BYTES = 1 << 16
# A thread whose task was cancelled is waited for by nobody, and waits no longer than this itself.
_LONGEST_WAIT_S = 1.0


async def open(path: Path, mode: str = "r", **options: Any) -> MappedArray:
    """Open a file as an array, in place.

    Parameters
    ----------
    path, mode : str
        As for `mmapio.open`.
    **options : optional
        As for `mmapio.open`.

    Returns
    -------
    MappedArray
        The array.

    Raises
    ------
    MmapioError
        As `mmapio.open` does.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> a = mmapio.create("opened.npy", 3)
    >>> asyncio.run(mmapio.aio.open("opened.npy"))
    MappedArray([0., 0., 0.])
    """
    return await _in_thread(functools.partial(opening.open, path, mode, **options))


async def write(mapping: MappedFile, offset: int, data: Any) -> int:
    """Copy bytes into a mapping, and flush them if its policy says so.

    Parameters
    ----------
    mapping : MappedFile
        Where to.
    offset : int
        Where the first byte goes.
    data : buffer or numpy.ndarray
        What to write; it must not change until this returns.

    Returns
    -------
    int
        How many bytes were written: all of them.

    Raises
    ------
    MmapioError
        As `MappedFile.write` does.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> m = mmapio.MappedFile.anonymous(16)
    >>> asyncio.run(mmapio.aio.write(m, 4, b"abc"))
    3
    """
    _check_mapping(mapping, MappedFile)
    # A store to a page of a file may read it in, or wait until the drive has taken it.
    if not mapping._source.has_file and as_bytes(data).nbytes <= _QUICK_BYTES:
        return mapping.write(offset, data)
    return await _in_thread(functools.partial(mapping.write, offset, data))


async def flush(
    mapping: MappedFile | MappedArray,
    offset: int = 0,
    length: int | None = None,
    wait: bool = True,
) -> None:
    """Write the changes in a range of a mapping, or in an array, to disk.

    Parameters
    ----------
    mapping : MappedFile or MappedArray
        What was stored to.
    offset, length, wait : optional
        As for `MappedFile.flush`; an array is flushed whole.

    Raises
    ------
    FlushError
        If the drive reports an error, now or before.
    MmapioError
        As `MappedFile.flush` does.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> a = mmapio.create("flushed.npy", 3)
    >>> a[:] = 1
    >>> asyncio.run(mmapio.aio.flush(a))
    """
    _check_mapping(mapping, MappedFile | MappedArray)
    if isinstance(mapping, MappedArray):
        span, call = mapping._span(), functools.partial(mapping.flush, wait)
    else:
        span = mapping._span(offset, length)
        call = functools.partial(mapping.flush, offset, length, wait)
    if span.is_written_back():
        await _in_thread(call)


async def copy(src: Path, dst: Path) -> None:
    """Copy a file, in place of what is at `dst`.

    Parameters
    ----------
    src, dst : str, bytes or os.PathLike
        As for `mmapio.copy`.

    Raises
    ------
    MmapioError
        As `mmapio.copy` does.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> a = mmapio.create("one.npy", 3)
    >>> asyncio.run(mmapio.aio.copy("one.npy", "two.npy"))
    >>> len(mmapio.open("two.npy"))
    3
    """
    await _in_thread(functools.partial(whole_files.copy, src, dst))


async def delete(path: Path) -> None:
    """Delete a file; whoever maps it keeps it until they close it.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        As for `mmapio.delete`.

    Raises
    ------
    MmapioError
        As `mmapio.delete` does.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> a = mmapio.create("three.npy", 3)
    >>> asyncio.run(mmapio.aio.delete("three.npy"))
    """
    await _in_thread(functools.partial(whole_files.delete, path))


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
    _check_mapping(mapping, MappedFile)
    return Changes(mapping, debounce_ms, generation)


class Changes:
    """Changes of a file, for ``async for``; made by `watch`.

    It ends when it is stopped or its mapping is closed, and in a forked child, which watches
    nothing. What a cancelled task did not get, the next one gets. Dropping it, or leaving an
    ``async with`` block, stops it.

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


def _check_mapping(mapping: object, kinds: Any) -> None:
    if not isinstance(mapping, kinds):
        kind = type(mapping).__name__
        raise ArgumentTypeError(f"this is for a MappedFile, or an array to flush, not {kind!r}")


class _Inbox:
    """Changes that a thread puts in, and coroutines of any loop take out."""

    def __init__(self) -> None:
        self._changes: deque[Change] = deque()
        self.renew()
        self._has_ended = False
        _forking.renew_in_child(self)

    def renew(self) -> None:
        """End, as in a forked child: it has neither the thread that watches nor the loops."""
        self._news = threading.Event()  # there are changes, or there will be none
        self._lock = threading.Lock()
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
            self._news.clear()  # before it looks: what comes later sets it again
            if self._changes:
                return self._changes.popleft()
            if self._has_ended:
                raise StopAsyncIteration
            await self._wait()

    def _wake(self) -> None:
        self._news.set()
        with self._lock:
            for future in self._awaited:
                with contextlib.suppress(RuntimeError):  # its loop was closed
                    future.get_loop().call_soon_threadsafe(_settle, future)
            self._awaited.clear()

    async def _wait(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            run_sync = require("anyio.to_thread", "trio").run_sync
            await run_sync(self._news.wait, _LONGEST_WAIT_S, abandon_on_cancel=True)
            return
        future = loop.create_future()
        with self._lock:
            self._awaited.add(future)
        try:
            if not (self._changes or self._has_ended):
                await future
        finally:
            with self._lock:
                self._awaited.discard(future)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():  # it may have been cancelled meanwhile
        future.set_result(None)


class _Call(Generic[Result]):
    """A call that somebody may take back as long as it has not begun."""

    def __init__(self, function: Callable[[], Result]) -> None:
        self._function = function
        # Taken for good by who begins it, or takes it back. Nobody waits for it, so that a child
        # that is forked meanwhile cannot hang.
        self._lock = threading.Lock()

    def __call__(self) -> Result | None:
        return self._function() if self._lock.acquire(blocking=False) else None

    def take_back(self) -> bool:
        return self._lock.acquire(blocking=False)


async def _in_thread(function: Callable[[], Result]) -> Result:
    """Call a function in a thread, and let no cancellation leave it half done."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        # Another loop than asyncio's: anyio finds out which, and waits as is done below.
        found: Result = await require("anyio.to_thread", "trio").run_sync(function)
        return found
    call = _Call(function)
    future = loop.run_in_executor(None, call)
    try:
        return cast(Result, await asyncio.shield(future))
    except asyncio.CancelledError:
        if not call.take_back():
            await _until_done(future)
        raise


async def _until_done(future: asyncio.Future[Any]) -> None:
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue  # once more: it is on its way
    if not future.cancelled():
        future.exception()  # so that nobody misses it: the cancellation is told instead


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
