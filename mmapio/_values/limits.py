"""Limits of dtypes: the integers that they hold, and the digits of their floats."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

__all__ = ["digits_in", "digits_of", "integers_in", "is_float", "limits_of"]


@functools.cache
def integers_in(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Return the least and the greatest of the integers that a dtype holds all exactly."""
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind in "iu":
        return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    return -(2 ** digits_in(dtype)), 2 ** digits_in(dtype)


def is_float(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype is one of numpy's own for floats or complex numbers."""
    return dtype.kind in "fc" and dtype.isbuiltin != 2


def digits_in(dtype: np.dtype[Any]) -> int:
    """Return how many binary digits a float or the parts of a complex number have."""
    return int(np.finfo(dtype).nmant) + 1


def limits_of(dtype: np.dtype[Any]) -> str:
    low, high = integers_in(dtype)
    return f"it holds {low} to {high}" if high > 1 else "it holds 0 and 1"


def digits_of(dtype: np.dtype[Any]) -> str:
    return f"it would be rounded to {digits_in(dtype)} binary digits; give a float if it may be"
