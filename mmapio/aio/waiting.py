"""Waiting without blocking the event loop: for a thread, or for another process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, cast

from .._extras import require
from .._polling import pauses
from ..errors import ArgumentTypeError

__all__ = ["check_kind", "in_thread", "until"]

Result = TypeVar("Result")

# A loop with many tasks that wait must have time for others.
_LONGEST_PAUSE_S: Final = 5e-3


def check_kind(thing: object, *kinds: type) -> None:
    """Raise ArgumentTypeError if a thing is of none of some classes."""
    if not isinstance(thing, kinds):
        wanted = " or a ".join(kind.__name__ for kind in kinds)
        raise ArgumentTypeError(f"this is for a {wanted}, not {type(thing).__name__!r}")


async def until(
    happened: Callable[[], bool],
    timeout_s: float | None,
    check: Callable[[], object] | None = None,
) -> bool:
    """Poll until something has happened; return False if it has not in time.

    It does not suspend between the event and its return, so a task that is cancelled loses nothing.
    """
    if happened():
        return True
    for pause_s in pauses(timeout_s, check, _LONGEST_PAUSE_S):
        await _pause(pause_s)
        if happened():
            return True
    return False


async def _pause(seconds: float) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        await require("anyio", "trio").sleep(seconds)
    else:
        await asyncio.sleep(seconds)


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


async def in_thread(function: Callable[[], Result]) -> Result:
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
        future.exception()  # marks it as retrieved: the cancellation is raised instead
