"""Functions for asyncio and trio, which wait for drives without blocking the event loop.

Each function does in a thread what the one of its name does, or at once where nothing can wait. A
task that is cancelled leaves all of it done, or nothing: what has begun is finished first.
"""

from .changes import Changes, watch
from .files import copy, delete, flush, open, write
from .growing import Rows, append, commit, extend, rows, truncate, wait
from .queues import pop, pop_many, push, push_many

__all__ = [
    "Changes",
    "Rows",
    "append",
    "commit",
    "copy",
    "delete",
    "extend",
    "flush",
    "open",
    "pop",
    "pop_many",
    "push",
    "push_many",
    "rows",
    "truncate",
    "wait",
    "watch",
    "write",
]


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
