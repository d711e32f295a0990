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

__all__ = ["equal_key", "is_nan_key", "key_of", "value_of"]


@by_type
def key_of(value: Any) -> Any:
    """Return the key of a number."""


@by_type
def value_of(key: Any, like: Any) -> Any:
    """Return the number of the type of `like` that has a key."""


@by_type
def equal_key(key: Any, like: Any) -> Any:
    """Return the one key of all that equals a number of the type of `like`."""


@by_type
def is_nan_key(key: Any, like: Any) -> Any:
    """Return True for the key of a NaN of the type of `like`."""


@inside(key_of)
def _key_of(value: Any) -> Callable[..., Any]:
    if not isinstance(value, types.Float):
        return lambda value: value
    number, integer, magnitude, sign_bits = _format(value)

    def impl(value: Any) -> Any:
        bits = integer(number(value).view(integer))
        return integer(bits ^ integer(integer(bits >> sign_bits) & magnitude))

    return impl


@inside(value_of)
def _value_of(key: Any, like: Any) -> Callable[..., Any]:
    if not isinstance(like, types.Float):
        return lambda key, like: key
    number, integer, magnitude, sign_bits = _format(like)

    def impl(key: Any, like: Any) -> Any:
        bits = integer(key ^ integer(integer(key >> sign_bits) & magnitude))
        return integer(bits).view(number)

    return impl


@inside(equal_key)
def _equal_key(key: Any, like: Any) -> Callable[..., Any]:
    if not isinstance(like, types.Float):
        return lambda key, like: key
    zero = _format(like)[1](0)
    return lambda key, like: zero if key == -1 else key


@inside(is_nan_key)
def _is_nan_key(key: Any, like: Any) -> Callable[..., Any]:
    if not isinstance(like, types.Float):
        return lambda key, like: False
    number, integer, _, _ = _format(like)
    infinity = integer(number(np.inf).view(integer))
    return lambda key, like: key > infinity or key < ~infinity


def _format(value: Any) -> tuple[Any, Any, Any, Any]:
    """Return a float type, the integers of its size, the mask of its magnitude, and a shift."""
    number, integer = (np.float32, np.int32) if value.bitwidth == 32 else (np.float64, np.int64)
    return number, integer, integer(np.iinfo(integer).max), integer(value.bitwidth - 1)
