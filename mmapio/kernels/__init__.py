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
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mmapio.kernels.search import count, count_nonzero, find, find_all
from mmapio.kernels.statistics.extremes import argmax, argmin, max, min, minmax
from mmapio.kernels.statistics.sums import mean, std, sum, var

if TYPE_CHECKING:
    from mmapio.kernels.checksums import checksum
    from mmapio.kernels.chunks.map_reduce import map_chunks, reduce_chunks
    from mmapio.kernels.rows.adding import scatter_add
    from mmapio.kernels.rows.gathering import gather, scatter
    from mmapio.kernels.statistics.counts import byte_counts
    from mmapio.kernels.statistics.description import Description, describe
    from mmapio.kernels.statistics.histograms import histogram
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
    "std",
    "sum",
    "touch_pages",
    "var",
]

# What users' kernels may call is there before numba looks for it; the rest when it is asked for,
# for it takes longer to import than the first call of a function.
_HOMES = {
    "Description": "statistics.description",
    "byte_counts": "statistics.counts",
    "checksum": "checksums",
    "describe": "statistics.description",
    "gather": "rows.gathering",
    "histogram": "statistics.histograms",
    "map_chunks": "chunks.map_reduce",
    "reduce_chunks": "chunks.map_reduce",
    "scatter": "rows.gathering",
    "scatter_add": "rows.adding",
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
        How many are ready. They take a minute or two to compile, and are kept on disk; with
        ``NUMBA_DISABLE_JIT=1`` there are none.

    Raises
    ------
    FileError
        If they are ready in this process, but cannot be kept on disk for others.

    Examples
    --------
    >>> from mmapio import kernels
    >>> kernels.compile_all()  # doctest: +SKIP
    192
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
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
