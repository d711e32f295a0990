"""Keys: integers in the order of the values that they stand for.

Vector instructions find extremes of integers; of floats that may be NaN, compiled code compares
one at a time. A float's key is its bits, in negative numbers with those below the sign flipped:
NaNs lie beyond the infinities, and the negative zero, whose key is -1, below the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from mmapio.kernels.engine.jit import by_type, inside

__all__ = ["key_of"]


@by_type
def key_of(value: Any) -> Any:
    """Return the key of a number."""


@inside(key_of)
def _key_of(value: Any) -> Callable[..., Any]:
    if not isinstance(value, types.Float):
        return lambda value: value
    number, integer, magnitude, sign_bits = _format(value)

    def impl(value: Any) -> Any:
        bits = integer(number(value).view(integer))
        return integer(bits ^ integer(integer(bits >> sign_bits) & magnitude))

    return impl


def _format(value: Any) -> tuple[Any, Any, Any, Any]:
    """Return a float type, the integers of its size, the mask of its magnitude, and a shift."""
    number, integer = (np.float32, np.int32) if value.bitwidth == 32 else (np.float64, np.int64)
    return number, integer, integer(np.iinfo(integer).max), integer(value.bitwidth - 1)
