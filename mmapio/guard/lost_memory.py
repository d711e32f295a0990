"""Whether memory was lost while it was used: asked by modules that know of no mapping.

Kernels see plain arrays and know no mapping. So what tells of losses is put in here by those that
do: `faults` by the guard, `raise_if_lost` by the regions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

__all__ = ["faults", "noticing", "raise_if_lost"]

P = ParamSpec("P")
R = TypeVar("R")

# Its first number is how many faults the guard has met in all mappings, so 0 costs one look.
faults: Sequence[int] = (0,)


def raise_if_lost(thing: object) -> None:
    """Raise MappingLostError if it is an array over memory that was lost."""


def noticing(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function raise at its end if an array it was given has lost memory."""

    @functools.wraps(function)
    def noticed(*args: P.args, **kwargs: P.kwargs) -> R:
        result = function(*args, **kwargs)
        if faults[0]:
            for each in (*args, *kwargs.values()):
                raise_if_lost(each)
        return result

    return noticed
