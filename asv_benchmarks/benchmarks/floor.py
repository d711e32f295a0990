"""The least that a machine allows: loops over plain arrays, compiled by numba, and nothing else."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

__all__ = ["first_bytes", "read_all", "read_all_ahead", "touch"]

CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
LINE_WORDS, BLOCK_WORDS, AHEAD_WORDS = (
    8,
    32,
    1024,
)  # AHEAD: beyond where processors look by themselves

Loop = Callable[[NDArray[np.uint64]], Any]


@intrinsic  # type: ignore[untyped-decorator]
def _prefetch(_typing: Any, words: Any, at: Any) -> Any:
    """Ask for the cache line of a word, which may lie anywhere: that is no access."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), cgutils.voidptr_t)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [place, number(0), number(3), number(1)])  # to read, to be kept
        return context.get_dummy_value()

    return types.void(words, at), emit


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _add_words(words: NDArray[np.uint64]) -> Any:
    total = np.uint64(0)
    for i in range(words.size):
        total += words[i]
    return total


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _add_words_ahead(words: NDArray[np.uint64]) -> Any:
    total = np.uint64(0)
    whole = words.size // BLOCK_WORDS * BLOCK_WORDS
    for i in range(0, whole, BLOCK_WORDS):
        for line in range(0, BLOCK_WORDS, LINE_WORDS):
            _prefetch(words, i + line + AHEAD_WORDS)
        for k in range(BLOCK_WORDS):
            total += words[i + k]
    for i in range(whole, words.size):
        total += words[i]
    return total


def read_all(data: NDArray[Any]) -> None:
    """Read every byte once, in as many threads as there are CPUs: what memory bandwidth allows."""
    _in_threads(_add_words, data)


def read_all_ahead(data: NDArray[Any]) -> None:
    """Read every byte once as `read_all`, asking for memory 8 KiB ahead.

    A processor's own read-ahead ends with each page of 4 KiB. Which of both is faster depends on
    the processor: where one thread takes all that the memory gives, this only costs instructions.
    """
    _in_threads(_add_words_ahead, data)


def _in_threads(loop: Loop, data: NDArray[Any]) -> None:
    words = data.reshape(-1).view(np.uint64)
    step = -(-words.size // CPUS)
    parts = [words[at : at + step] for at in range(0, words.size, step)]
    threads = [threading.Thread(target=loop, args=(part,)) for part in parts[1:]]
    for thread in threads:
        thread.start()
    loop(parts[0])
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
