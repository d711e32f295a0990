"""Keys of extremes: numbers whose order is that of the items they stand for, or the reverse of it.

So one kernel finds the least items and the greatest, and the same that finds them among signed
integers finds them among unsigned ones. A key is the item itself with some bits flipped: of an
unsigned integer the highest, which makes it a signed one; to reverse the order, of an integer all,
and of a float the sign.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from mmapio.kernels.engine.jit import by_type, inside

__all__ = ["finished", "flip_for", "flip_of", "items_by", "key_of", "value_of"]


@functools.lru_cache(64)
def flip_for(dtype: np.dtype[Any], greatest: bool) -> Any:
    """Return the bits to flip, as an integer, for a search of the least item, or the greatest."""
    integer = np.dtype(f"i{dtype.itemsize}").type
    top = np.iinfo(integer).min
    if dtype.kind == "f":
        return integer(top if greatest else 0)
    flip = top if dtype.kind == "u" else 0
    return integer(~flip if greatest else flip)


def items_by(flip: Any, dtype: np.dtype[Any]) -> Callable[[Any], Any]:
    """Return what finds the item that a key stands for, as a number of Python."""
    if dtype.kind == "f":
        return operator.neg if flip else _as_it_is
    flip = int(flip)
    if dtype.kind == "u":
        most = (1 << 8 * dtype.itemsize) - 1
        return lambda key: (key ^ flip) & most
    if dtype.kind == "b":
        return lambda key: bool(key ^ flip)
    return operator.invert if flip else _as_it_is


def _as_it_is(key: Any) -> Any:
    return key


@by_type
def flip_of(x: Any, greatest: bool) -> Any:
    """Return the bits to flip in the items of an array."""


@by_type
def key_of(value: Any, flip: Any) -> Any:
    """Return the key of an item, and its bits."""


@by_type
def value_of(key: Any, flip: Any, like: Any) -> Any:
    """Return the item of the type of `like` that a key stands for."""


@by_type
def finished(key: Any, has_nan: Any, is_negative: Any) -> Any:
    """Return a NaN, if there is any; else the key, of two zeros the one that is wanted."""


@inside(flip_of)
def _flip_of(x: Any, greatest: Any) -> Callable[..., Any]:
    dtype = np.dtype(str(x.dtype))
    least, most = flip_for(dtype, False), flip_for(dtype, True)
    return lambda x, greatest: most if greatest else least


@inside(key_of)
def _key_of(value: Any, flip: Any) -> Callable[..., Any]:
    number, integer = _types(value)
    if isinstance(value, types.Float):

        def impl(value: Any, flip: Any) -> Any:
            bits = integer(number(value).view(integer) ^ flip)
            return bits.view(number), bits

        return impl

    def impl_integer(value: Any, flip: Any) -> Any:
        bits = integer(number(value).view(integer) ^ flip)
        return bits, bits

    return impl_integer


@inside(value_of)
def _value_of(key: Any, flip: Any, like: Any) -> Callable[..., Any]:
    number, integer = _types(like)
    if isinstance(like, types.Float):
        return lambda key, flip, like: integer(number(key).view(integer) ^ flip).view(number)
    return lambda key, flip, like: integer(integer(key) ^ flip).view(number)


@inside(finished)
def _finished(key: Any, has_nan: Any, is_negative: Any) -> Callable[..., Any]:
    if not isinstance(key, types.Float):
        return lambda key, has_nan, is_negative: key
    number, _ = _types(key)
    nan, zero, negative = number(np.nan), number(0.0), number(-0.0)

    def impl(key: Any, has_nan: Any, is_negative: Any) -> Any:
        if has_nan:
            return nan
        if key == zero:
            return negative if is_negative else zero
        return key

    return impl


def _types(value: Any) -> tuple[Any, Any]:
    """Return numpy's type of a number, and of the signed integers of its size."""
    dtype = np.dtype(str(value))
    return dtype.type, np.dtype(f"i{dtype.itemsize}").type
