"""Registry of locks, threads and tables that a forked child needs new ones of.

A lock that another thread holds while the process forks is never released in the child, and a
thread that is noted as running is not there. So each object that has one registers here, and is
told to replace them before the child does anything else (fork(2), pthread_atfork(3)).
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable
from typing import Protocol

__all__ = ["renew_in_child", "renew_with"]


class _Renewable(Protocol):
    """An object with locks or threads of its own."""

    def renew(self) -> None: ...


_objects: weakref.WeakSet[_Renewable] = weakref.WeakSet()
_functions: list[Callable[[], object]] = []


def renew_in_child(thing: _Renewable) -> None:
    """Call the `renew` of an object in every child that is forked while it lives."""
    _objects.add(thing)


def renew_with(function: Callable[[], object]) -> Callable[[], object]:
    """Call a function in every forked child, when all objects have been renewed."""
    _functions.append(function)
    return function


def _renew() -> None:
    for renew in (*(thing.renew for thing in list(_objects)), *_functions):
        try:
            renew()
        except Exception:  # the child would go on with the locks of all others
            sys.excepthook(*sys.exc_info())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
