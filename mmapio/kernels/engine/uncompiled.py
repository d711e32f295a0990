"""Kernels as plain Python, with ``NUMBA_DISABLE_JIT=1``: for debuggers and for coverage.

What Python does otherwise than compiled code is put right here, once for all kernels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np

__all__ = ["JIT_DISABLED", "as_compiled", "by_type", "define", "plain_numbers"]

P = ParamSpec("P")
R = TypeVar("R")
Typer = Callable[..., Callable[..., Any]]

JIT_DISABLED = bool(numba.config.DISABLE_JIT)

_typers: dict[Callable[..., object], Typer] = {}
_typeof: Any = numba.typeof


def as_compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Let a Python function be called as compiled code is: by numbers of 64 bits, which wrap.

    Parameters
    ----------
    function : callable
        A kernel.

    Returns
    -------
    callable
        The same, without numpy's warnings. Ints and floats reach it as int64 and float64, whose
        arithmetic is that of compiled code, and it returns Python's own numbers.

    Examples
    --------
    >>> from mmapio.kernels.engine.uncompiled import as_compiled
    >>> as_compiled(lambda x: x + 1)(2**63 - 1)
    -9223372036854775808
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with np.errstate(all="ignore"):
            found = function(*map(_typed, args), **kwargs)
        return cast("R", plain_numbers(found))

    return call


def plain_numbers(value: Any) -> Any:
    """Return numpy's numbers as Python's, within tuples too, as compiled code returns them.

    Parameters
    ----------
    value : object
        The result of a kernel.

    Returns
    -------
    object
        The same; dates, records and arrays are left as they are.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.kernels.engine.uncompiled import plain_numbers
    >>> plain_numbers((np.float32(0.5), np.uint8(3)))
    (0.5, 3)
    """
    if isinstance(value, tuple):
        items = tuple(map(plain_numbers, value))
        return type(value)(*items) if hasattr(value, "_fields") else items
    return value.item() if isinstance(value, np.number | np.bool) else value


def by_type(function: Callable[P, R]) -> Callable[P, R]:
    """Let the types of its arguments decide what a function does, in Python as in kernels.

    Parameters
    ----------
    function : callable
        Without a body: `inside`, of `mmapio.kernels.engine.jit`, says what each call runs.

    Returns
    -------
    callable
        What kernels call.

    Examples
    --------
    >>> from numba import types
    >>> from mmapio.kernels.engine.jit import inside
    >>> from mmapio.kernels.engine.uncompiled import by_type
    >>> @by_type
    ... def half(x):
    ...     "Return half of a number."
    >>> @inside(half)
    ... def _half(x):
    ...     return (lambda x: x // 2) if isinstance(x, types.Integer) else lambda x: x / 2
    >>> half(3), half(3.0)
    (1, 1.5)
    """

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return _chosen(call, *map(_typeof, args))(*args)

    return cast("Callable[P, R]", call)


def define(function: Callable[..., object], typer: Typer) -> None:
    """Note what runs in place of a function: what `typer` returns for the types of arguments.

    Parameters
    ----------
    function : callable
        As `by_type` returned it; of any other one, nothing depends on it.
    typer : callable
        Takes numba types.

    Examples
    --------
    >>> from mmapio.kernels.engine.uncompiled import by_type, define
    >>> zero = by_type(lambda: None)
    >>> define(zero, lambda: lambda: 0)
    >>> zero()
    0
    """
    _typers[function] = typer


@functools.lru_cache(1024)
def _chosen(function: Callable[..., object], *types: Any) -> Callable[..., Any]:
    return _typers[function](*types)


def _typed(value: Any) -> Any:
    if type(value) is int and -(1 << 63) <= value < 1 << 63:
        return np.int64(value)
    return np.float64(value) if type(value) is float else value
