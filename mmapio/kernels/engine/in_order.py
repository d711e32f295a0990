"""Results of pieces, handed on in the order of the pieces, whichever thread is done first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from mmapio import _forking

__all__ = ["InOrder"]

_MOST_EARLY = 8
_PATIENCE_S = 0.1  # Ctrl-C is answered then, and so is the error of another thread


class InOrder:
    """Results handed on in the order of their numbers; those that come too early are kept.

    Rounding then does not depend on threads, and few results are in memory at a time.

    Parameters
    ----------
    combine : callable
        Gets the parts of each result, by one thread at a time.

    Examples
    --------
    >>> from mmapio.kernels.engine.in_order import InOrder
    >>> results = InOrder(print)
    >>> results.add(1, "second")
    >>> results.add(0, "first")
    first
    second
    """

    def __init__(self, combine: Callable[..., object]) -> None:
        self._combine = combine
        self._early: dict[int, tuple[Any, ...]] = {}
        self._next = 0
        self.renew()
        _forking.renew_in_child(self)

    def renew(self) -> None:
        """Make a new lock: a child forked within the call has no thread to let go of the old."""
        self._moved = threading.Condition()

    def wait_for(self, number: int) -> None:
        """Wait a while if the result of a piece would be much too early, and had to be kept."""
        with self._moved:
            self._moved.wait_for(lambda: number - self._next <= _MOST_EARLY, _PATIENCE_S)

    def add(self, number: int, *result: Any) -> None:
        """Take the result of a piece."""
        with self._moved, np.errstate(all="ignore"):
            self._early[number] = result
            while self._next in self._early:
                self._combine(*self._early.pop(self._next))
                self._next += 1
            self._moved.notify_all()
