"""Checks and conversions that public functions share inside users' kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from mmapio.errors import ArgumentError, ArgumentTypeError
from mmapio.kernels.engine.jit import by_type, inside

__all__ = ["check_bytes", "item_type", "no_axis", "pattern_of", "row_of", "unordered_row_of"]


def item_type(function: str, a: Any) -> Any:
    """Return the type of the items of an array, or say what else came."""
    item = getattr(a, "dtype", None)
    is_number = isinstance(item, types.Boolean | types.Integer) or item in (
        types.float32,
        types.float64,
    )
    if not isinstance(a, types.Array) or not is_number:
        raise ArgumentTypeError(
            f"inside kernels, {function} needs an array of bool, integers, float32 or float64,"
            f" got {a}"
        )
    return item


def no_axis(function: str, axis: Any) -> None:
    """Refuse an axis: inside kernels, the whole of an array is reduced."""
    if not isinstance(getattr(axis, "value", axis), types.NoneType | None):
        raise ArgumentTypeError(
            f"inside kernels, {function} has no axis; call it for each row, kernels.{function}(row)"
        )


def check_bytes(function: str, a: Any, pattern: Any) -> None:
    """Refuse to look for bytes in what are not bytes."""
    is_pattern = isinstance(pattern, types.Bytes) or (
        item_type(function, pattern) == types.uint8 and pattern.ndim == 1
    )
    if item_type(function, a) != types.uint8 or not is_pattern:
        raise ArgumentTypeError(
            f"inside kernels, {function} looks for bytes in arrays of uint8, got {pattern} and {a}"
        )


@by_type
def row_of(a: Any) -> Any:
    """Return the items of an array in the order of their indices.

    Those of several axes are copied, unless they lie in that order.
    """


@by_type
def unordered_row_of(a: Any) -> Any:
    """Return the items of an array in any order.

    Those of several axes are copied, unless they lie one after another.
    """


@by_type
def pattern_of(value: Any) -> Any:
    """Return bytes as an array."""


@inside(row_of)
def _row_of(a: Any) -> Callable[..., Any]:
    if isinstance(a.dtype, types.Boolean):
        return lambda a: row_of(np.ascontiguousarray(a).view(np.uint8))
    return (lambda a: a) if a.ndim == 1 else lambda a: a.ravel()


@inside(unordered_row_of)
def _unordered_row_of(a: Any) -> Callable[..., Any]:
    if a.ndim > 1 and a.layout == "F":
        return lambda a: row_of(a.T)
    return lambda a: row_of(a)


@inside(pattern_of)
def _pattern_of(value: Any) -> Callable[..., Any]:
    is_array = isinstance(value, types.Array)

    def impl(value: Any) -> Any:
        if not len(value):
            raise ArgumentError("the pattern to find is empty")
        return value if is_array else np.frombuffer(value, np.uint8)

    return impl
