"""Polling with pauses that grow, where no system call can wait."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from numbers import Real
from typing import Final

from .errors import ArgumentTypeError

__all__ = ["deadline_of", "pauses", "poll"]

_FIRST_PAUSE_S: Final = 1e-6
_LONGEST_PAUSE_S: Final = 1e-3
_CHECK_S: Final = 0.1  # between two calls of `check`


def deadline_of(timeout_s: float | None) -> float:
    """Return the time at which a time-out ends, by `time.monotonic`; None never does."""
    if timeout_s is None:
        return math.inf
    if not isinstance(timeout_s, Real):
        kind = type(timeout_s).__name__
        raise ArgumentTypeError(f"timeout must be a number of seconds or None, got {kind!r}")
    return time.monotonic() + timeout_s


def pauses(
    timeout_s: float | None,
    check: Callable[[], object] | None = None,
    longest_s: float = _LONGEST_PAUSE_S,
) -> Iterator[float]:
    """Yield the pauses of a polling loop, in seconds, until a time-out.

    Every 0.1 s `check` is called, which raises if the event can no longer happen.
    """
    deadline, pause_s = deadline_of(timeout_s), _FIRST_PAUSE_S
    next_check = time.monotonic() + _CHECK_S
    while (left_s := deadline - (now := time.monotonic())) > 0:
        if check is not None and now >= next_check:
            next_check = now + _CHECK_S
            check()
        yield min(pause_s, left_s)
        pause_s = min(2 * pause_s, longest_s)


def poll(
    happened: Callable[[], bool],
    timeout_s: float | None,
    check: Callable[[], object] | None = None,
) -> bool:
    """Return True as soon as something has happened, False if it has not in time."""
    if happened():
        return True
    for pause_s in pauses(timeout_s, check):
        time.sleep(pause_s)
        if happened():
            return True
    return False
