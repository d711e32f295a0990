"""The least that a machine allows: loops over plain arrays, compiled by numba, and nothing else."""

from __future__ import annotations

import os
import threading
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["first_bytes", "read_all", "touch"]

CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _add_words(words: NDArray[np.uint64]) -> Any:
    total = np.uint64(0)
    for i in range(words.size):
        total += words[i]
    return total


def read_all(data: NDArray[Any]) -> None:
    """Read every byte once, in as many threads as there are CPUs: what memory bandwidth allows."""
    words = data.reshape(-1).view(np.uint64)
    step = -(-words.size // CPUS)
    parts = [words[at : at + step] for at in range(0, words.size, step)]
    threads = [threading.Thread(target=_add_words, args=(part,)) for part in parts[1:]]
    for thread in threads:
        thread.start()
    _add_words(parts[0])
    for thread in threads:
        thread.join()


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def touch(data: NDArray[np.uint8], page: int) -> int:
    """Read a byte of every page, in one thread, as the crate's `touch_pages` does."""
    total = 0
    for at in range(0, data.size, page):
        total += data[at]
    return total


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def first_bytes(data: NDArray[np.uint8], chunk: int) -> int:
    """Add up the first byte of each chunk."""
    total = 0
    for at in range(0, data.size, chunk):
        total += data[at]
    return total
