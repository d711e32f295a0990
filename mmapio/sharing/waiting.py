"""Sleeping until a shared number changes: in a thread, or on behalf of coroutines."""

from __future__ import annotations

import contextlib
import errno
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import _forking, _os
from .._polling import poll
from ..errors import ClosedError, MmapioError
from ..guard.lost_memory import any_loss

if TYPE_CHECKING:  # who awaits has imported it
    import asyncio

    from ..atomics import AtomicCell

__all__ = ["LONGEST_SLEEP_S", "Word"]

# A change by a kernel, or by a process that was killed at that moment, wakes nobody.
LONGEST_SLEEP_S: Final = 0.1

_LOW_HALF: Final = 4 if sys.byteorder == "big" else 0  # a futex has 32 bits


class Word:
    """An int64 in shared memory that others change; it keeps the memory alive.

    Parameters
    ----------
    cell : AtomicCell
        The number.
    memory : numpy.ndarray
        The array whose first bytes it is.
    check : callable
        Raises if the memory is no longer what the others share.
    """

    def __init__(
        self, cell: AtomicCell, memory: np.ndarray[Any, Any], check: Callable[[], object]
    ) -> None:
        self._load = cell.load
        self._check = check
        self._address = memory.ctypes.data + _LOW_HALF
        self._closed = ""  # what is said to those that wait, once it is
        self.renew()
        _forking.renew_in_child(self)

    def renew(self) -> None:
        """Forget coroutines and their thread: in a forked child, there are none of them."""
        self._lock = threading.RLock()  # a signal handler may ask for it as well
        self._awaited: dict[asyncio.Future[int], int] = {}  # with the number that each has seen
        self._is_watched = False

    def look(self, seen: int) -> int:
        """Return the number; raise if it is not `seen` or a later one because it was lost.

        A number only grows, but for one that is lost, which is 0.
        """
        now = int(self._load())
        if now <= seen or any_loss():
            self._verify()
        return now

    def close(self, reason: str) -> None:
        """Let all that wait in this process raise `ClosedError`, within `LONGEST_SLEEP_S`."""
        self._closed = reason

    def _verify(self) -> None:
        if self._closed:
            raise ClosedError(self._closed)
        self._check()

    def wake(self) -> None:
        """Wake all that sleep, in any process."""
        if _os.HAS_FUTEX:
            _os.futex_wake(self._address)

    def sleep(self, seen: int, timeout_s: float) -> None:
        """Sleep until the number may differ from `seen`, or the time is out."""
        if _os.HAS_FUTEX:
            try:
                _os.futex_wait(self._address, seen & 0xFFFF_FFFF, timeout_s)
            except OSError as error:
                if error.errno != errno.EFAULT:  # lost memory, which the next look finds
                    raise
        else:
            poll(lambda: self._load() != seen, timeout_s)

    async def changed(self, seen: int) -> int:
        """Return the number as soon as it differs from `seen`."""
        import asyncio

        now = self.look(seen)
        if now != seen:
            return now
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._awaited[future] = seen
            if not self._is_watched:
                self._is_watched = True
                threading.Thread(target=self._watch, name="mmapio-watch", daemon=True).start()
        try:
            return await future
        finally:
            with self._lock:
                self._awaited.pop(future, None)

    def _watch(self) -> None:
        """Wait for the coroutines, in a thread of its own, as long as there are any."""
        while True:
            now, failure = int(self._load()), None
            try:
                self._verify()
            except MmapioError as error:
                failure = error
            with self._lock:
                for future, seen in list(self._awaited.items()):
                    if seen != now or failure is not None:
                        del self._awaited[future]
                        with contextlib.suppress(RuntimeError):  # its loop was closed
                            future.get_loop().call_soon_threadsafe(_settle, future, now, failure)
                if not self._awaited:
                    self._is_watched = False
                    return
            self.sleep(now, LONGEST_SLEEP_S)


def _settle(future: asyncio.Future[int], value: int, failure: MmapioError | None) -> None:
    if future.done():  # it may have been cancelled meanwhile
        return
    if failure is None:
        future.set_result(value)
    else:
        future.set_exception(failure)
