"""Kernels as users write them, which the tests of several modules run."""

from __future__ import annotations

import functools
from typing import Any

import numba

njit = functools.partial(numba.njit, nogil=True)


@njit
def add(x: Any, y: Any) -> Any:
    return x + y


@njit
def first(chunk: Any) -> Any:
    return chunk[0]


@njit
def total(chunk: Any) -> float:
    return float(chunk.sum())


@njit
def scaled(chunk: Any, factor: Any) -> Any:
    return chunk * factor


@njit
def extremes(chunk: Any) -> Any:
    return chunk.min(), chunk.max()
