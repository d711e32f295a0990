"""Bounds of chunks: multiples of their size, or ends of records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from mmapio.kernels.engine.jit import part

__all__ = ["NO_RECORDS", "RECORDS"]

Limits = tuple[Callable[..., int], Callable[..., int]]


@part()
def _start_of_rows(a: NDArray[Any], start: int, end: int, mark: int) -> int:
    """Return the first place from `start` on where a chunk begins; `end` if none does before."""
    return start


@part()
def _stop_of_rows(a: NDArray[Any], stop: int, mark: int) -> int:
    """Return where a chunk ends that is to end at `stop`."""
    return min(stop, len(a))


@part()
def _start_of_records(a: NDArray[Any], start: int, end: int, mark: int) -> int:
    """Look no further than `end`: one record as long as the file must not be read by all spans."""
    return _after(a, start - 1, end - 1, mark, end) if start else 0


@part()
def _stop_of_records(a: NDArray[Any], stop: int, mark: int) -> int:
    return _after(a, stop - 1, len(a), mark, len(a))


@part()
def _after(a: NDArray[Any], start: int, end: int, mark: int, otherwise: int) -> int:
    """Return the place after the first `mark` between `start` and `end`."""
    for at in range(start, end):
        if a[at] == mark:
            return at + 1
    return otherwise


NO_RECORDS: Limits = _start_of_rows, _stop_of_rows
RECORDS: Limits = _start_of_records, _stop_of_records
