"""Turns of the two ends of a shared object: a call that interrupts another one is refused.

Each end is one thread's, which takes no lock. But a signal handler, or a finalizer, may call it
while that thread is within such a call. What it stored then would be overwritten.
"""

from __future__ import annotations

from threading import get_ident

from .. import _forking
from ..errors import InUseError

__all__ = ["Turn"]


class Turn:
    """The turn of one end, such as "push": the thread that is within a call of it, or 0.

    A call asks first, and then takes the turn within the ``try`` whose ``finally`` ends it, so that
    Ctrl-C between the two leaves nothing taken::

        me = turn.ask()
        try:
            turn.thread = me
            ...
        finally:
            turn.thread = 0

    Not a context manager, which takes as long as all that a short record needs.
    """

    __slots__ = ("__weakref__", "_end", "thread")

    def __init__(self, end: str) -> None:
        self._end = end
        self.thread = 0
        _forking.renew_in_child(self)

    def ask(self) -> int:
        """Return the calling thread, or raise InUseError if it is within a call of this end."""
        me = get_ident()
        if self.thread == me:
            raise InUseError(
                f"cannot {self._end} now: the call that this one interrupts does so as well; do it "
                "when that has returned"
            )
        return me

    def renew(self) -> None:
        """End the turn of a thread that a forked child does not have: others reuse its number."""
        self.thread = 0
