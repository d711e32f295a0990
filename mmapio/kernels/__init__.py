"""Kernels: compiled scans over arrays, in threads that hold no GIL. Importing this imports numba.

Functions that reduce or search an array also work inside the user's own `@njit` code, under the
same names: in one thread there, over arrays of bool, integers, float32 and float64. Without a copy,
these are arrays of one axis, and those whose items lie one after another.

Examples
--------
>>> import numpy as np
>>> from mmapio import kernels
>>> d = kernels.describe(np.array([[3, 1], [2, 9]], dtype=">u4"))
>>> d.count, d.min, d.max, d.sum
(4, 1, 9, 15)
>>> import numba
>>> @numba.njit
... def row_sums(a):
...     return [kernels.sum(row) for row in a]
>>> row_sums(np.array([[3, 1], [2, 9]]))
[4, 11]
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mmapio.kernels.extremes import argmax, argmin, max, min, minmax
from mmapio.kernels.find import count, count_nonzero, find, find_all
from mmapio.kernels.scan import mean, sum, var

if TYPE_CHECKING:
    from mmapio.kernels.bytescan import byte_counts
    from mmapio.kernels.checksum import checksum
    from mmapio.kernels.describe import Description, describe
    from mmapio.kernels.gather import gather, scatter
    from mmapio.kernels.histogram import histogram
    from mmapio.kernels.reduce import map_chunks, reduce_chunks
    from mmapio.kernels.scatter_add import scatter_add
    from mmapio.kernels.touch import touch_pages

__all__ = [
    "Description",
    "argmax",
    "argmin",
    "byte_counts",
    "checksum",
    "compile_all",
    "count",
    "count_nonzero",
    "describe",
    "find",
    "find_all",
    "gather",
    "histogram",
    "map_chunks",
    "max",
    "mean",
    "min",
    "minmax",
    "reduce_chunks",
    "scatter",
    "scatter_add",
    "sum",
    "touch_pages",
    "var",
]

# What users' kernels may call is there before numba looks for it; the rest when it is asked for,
# for it takes longer to import than the first call of a function.
_HOMES = {
    "Description": "describe",
    "byte_counts": "bytescan",
    "checksum": "checksum",
    "describe": "describe",
    "gather": "gather",
    "histogram": "histogram",
    "map_chunks": "reduce",
    "reduce_chunks": "reduce",
    "scatter": "gather",
    "scatter_add": "scatter_add",
    "touch_pages": "touch",
}


def compile_all(progress: Callable[[int, int], object] | None = None) -> int:
    """Compile every kernel for every type that it reads, or load it from the cache.

    Parameters
    ----------
    progress : callable, optional
        Called as ``progress(done, total)`` before the first kernel and after each.

    Returns
    -------
    int
        How many are ready. They take about a minute to compile, and are kept on disk.

    Raises
    ------
    FileError
        If they are ready in this process, but cannot be kept on disk for others.

    Examples
    --------
    >>> from mmapio import kernels
    >>> kernels.compile_all()  # doctest: +SKIP
    138
    """
    for module in sorted(set(_HOMES.values())):
        importlib.import_module(f".{module}", __name__)
    jit = importlib.import_module(".engine.jit", __name__)
    return int(jit.compile_all(progress))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps a function reachable whose module has its name, and is imported by itself."""

    def __setattr__(self, name: str, value: object) -> None:
        is_home = isinstance(value, ModuleType) and _HOMES.get(name) == name
        super().__setattr__(name, getattr(value, name) if is_home else value)


sys.modules[__name__].__class__ = _Package
