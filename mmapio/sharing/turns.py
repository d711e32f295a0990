"""Turns of the two ends of a shared object: a call that interrupts another one is refused.

Each end is one thread's, which takes no lock. But a signal handler, or a finalizer, may call it
while that thread is within such a call. What it stored then would be overwritten.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from threading import get_ident
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from .. import _forking
from ..errors import InUseError

__all__ = ["in_turn"]

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")
_Method = Callable[Concatenate[S, P], R]

_process = object()  # another one in a child, which has none of the threads


@_forking.renew_with
def _start_afresh() -> None:
    """Forget whose turn it was in the parent."""
    global _process
    _process = object()


def in_turn(end: str) -> Callable[[_Method[S, P, R]], _Method[S, P, R]]:
    """Let a method of an end, such as "push", refuse to run within another of the same thread."""

    def decorate(method: _Method[S, P, R]) -> _Method[S, P, R]:
        @functools.wraps(method)
        def alone(self: Any, *args: P.args, **kwargs: P.kwargs) -> R:
            turns, me = self._file.turns, (get_ident(), _process)
            if turns.get(end) == me:
                raise InUseError(
                    f"cannot {end} now: the call that this one interrupts does so as well; do it "
                    "when that has returned"
                )
            try:
                turns[end] = me
                return method(self, *args, **kwargs)
            finally:
                turns[end] = None

        return cast("_Method[S, P, R]", alone)

    return decorate
