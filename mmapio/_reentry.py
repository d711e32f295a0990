"""Recognition of calls that a signal handler, or a callback, makes within another call.

Python runs a signal handler between two steps of whatever the main thread is doing, a finalizer in
any thread. What they call must not wait for what they have interrupted.
"""

from __future__ import annotations

import inspect
import sys
import threading
from types import FrameType

__all__ = ["is_in_handler", "is_within_call"]

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


def is_in_handler() -> bool:
    """Return True if a signal handler has called the caller, so that what it interrupts waits.

    Python tells nobody; but a handler is given the very frame that it is called from.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code, known = frame.f_code, frame.f_locals
        count = code.co_argcount + bool(code.co_flags & inspect.CO_VARARGS) + code.co_kwonlyargcount
        given = [known.get(name) for name in code.co_varnames[:count]]
        given += [each for some in given if isinstance(some, tuple) for each in some]
        if frame.f_back is not None and any(each is frame.f_back for each in given):
            return True
        frame = frame.f_back
    return False
