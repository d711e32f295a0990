"""A kernel over files: how many items are above a limit, and what they add up to."""

from __future__ import annotations

from typing import Any

import numba

from mmapio import kernels


@numba.njit(fastmath={"reassoc", "nsz"})
def _above(chunk: Any, limit: float) -> tuple[int, float]:
    found, total = 0, 0.0
    for item in chunk:
        is_above = item > limit  # without a branch, so that it becomes vector instructions
        found += is_above
        total += is_above * item
    return found, total


@numba.njit
def _add(x: Any, y: Any) -> Any:
    return x[0] + y[0], x[1] + y[1]


def above(a: Any, limit: float, threads: int | None = None) -> tuple[int, float]:
    """Return how many items are above a limit, and their sum."""
    found: tuple[int, float] = kernels.reduce_chunks(
        a, _above, _add, (0, 0.0), args=(limit,), threads=threads
    )
    return found
