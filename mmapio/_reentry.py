"""Recognition of calls that a signal handler, or a callback, makes within another call.

Python runs a signal handler between two steps of whatever the main thread is doing, a finalizer in
any thread. What they call must not wait for what they have interrupted.
"""

from __future__ import annotations

import sys

__all__ = ["is_within_call"]

_PACKAGE = __name__.partition(".")[0]


def is_within_call() -> bool:
    """Return True if the caller was called by code of others that another call of ours runs."""
    frame, is_others = sys._getframe(1), False
    while True:
        name = frame.f_globals.get("__name__")
        is_ours = isinstance(name, str) and name.partition(".")[0] == _PACKAGE
        if is_ours and is_others:
            return True
        is_others = is_others or not is_ours
        if frame.f_back is None:
            return False
        frame = frame.f_back
