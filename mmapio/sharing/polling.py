"""Polling with pauses that grow, where no system call can wait."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

__all__ = ["deadline_of", "poll"]

_FIRST_PAUSE_S = 1e-6
_LONGEST_PAUSE_S = 1e-3


def deadline_of(timeout_s: float | None) -> float:
    """Return the time at which a time-out ends, by `time.monotonic`; None never does."""
    return math.inf if timeout_s is None else time.monotonic() + timeout_s


def poll(happened: Callable[[], bool], timeout_s: float | None) -> bool:
    """Return True as soon as something has happened, False if it has not in time."""
    if happened():
        return True
    deadline, pause_s = deadline_of(timeout_s), _FIRST_PAUSE_S
    while (left_s := deadline - time.monotonic()) > 0:
        time.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        if happened():
            return True
    return False
