"""A user's kernel and the loop around it where numba compiles nothing: with NUMBA_DISABLE_JIT=1."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmapio.errors import KernelError

__all__ = ["plain_loop", "read_only", "require_function", "silent"]


def require_function(function: Any, role: str) -> None:
    """Refuse what cannot be called; compiled functions are functions of Python then."""
    if not callable(function):
        raise KernelError(f"{role} must be a function, and {type(function).__name__!r} is not")


def plain_loop(run: Callable[..., Any]) -> Callable[..., Any]:
    """Run a loop over what nobody can change: the array that comes first, and `args`, the last."""
    quiet = silent(run)

    def call(a: NDArray[Any], *how: Any) -> Any:
        return quiet(read_only(a), *how[:-1], read_only(how[-1]))

    return call


def silent(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a function without numpy's warnings, which compiled code has not."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*args)

    return call


def read_only(value: Any) -> Any:
    """Return read-only views of arrays, within tuples too, as compiled kernels get them."""
    if isinstance(value, tuple):
        items = tuple(map(read_only, value))
        return type(value)(*items) if hasattr(value, "_fields") else items
    if isinstance(value, np.ndarray):
        value = value.view()
        value.flags.writeable = False
    return value
