"""How a scan by a user's kernel is cut, and who does which part of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from mmapio._ranges import as_integer
from mmapio.errors import ArgumentError
from mmapio.kernels._behind import Window
from mmapio.kernels._pool import run_chunks, thread_count

__all__ = ["Spans", "cut", "scan"]

_CHUNK_BYTES = 1 << 20
_SPAN_BYTES = 4 << 20
# What one thread is done with before a second one could have begun.
_SHORT_NS = 100_000
_FEW_SPANS = 32


class Spans(NamedTuple):
    """Rows cut into chunks, and whole chunks put together to spans, which threads take."""

    total: int
    rows: int
    chunk_rows: int
    span_rows: int

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return -(-self.rows // self.chunk_rows)


def cut(array: NDArray[Any], chunk: int | None) -> Spans:
    """Cut an array along its first axis."""
    rows = len(array) or 1
    row_bytes = array.nbytes // rows or 1
    chunk = as_integer(chunk, "chunk") if chunk is not None else _CHUNK_BYTES // row_bytes or 1
    if chunk < 1:
        raise ArgumentError(f"chunk must be 1 row or more, got {chunk}")
    chunk = min(chunk, rows)
    span = chunk * (_SPAN_BYTES // (chunk * row_bytes) or 1)
    return Spans(-(-len(array) // span), len(array), chunk, span)


def scan(
    spans: Spans,
    go_on: Callable[[int, int], None],
    take: Callable[[int, int], None],
    windows: Sequence[Window],
    threads: int | None,
    progress: bool,
    nbytes: int,
) -> None:
    """Do all spans: the first ones by ``go_on(first, last)``, the others by ``take(first, last)``.

    The latter is called for one span at a time, from many threads, within windows over arrays of
    as many rows.
    """
    threads = thread_count(threads)
    done = 0 if progress or windows or not spans.total else _go_alone(spans.total, go_on)

    def body(number: int, worker: int) -> None:
        span = done + number
        start, stop = span * spans.span_rows, min((span + 1) * spans.span_rows, spans.rows)
        with contextlib.ExitStack() as stack:
            for window in windows:
                stack.enter_context(window.passing(start, stop))
            take(span, span + 1)

    if done < spans.total:
        run_chunks(spans.total - done, body, threads=threads, progress=progress, nbytes=nbytes)


def _go_alone(spans: int, go_on: Callable[[int, int], None]) -> int:
    """Let this thread do the first span, or all if that takes no time; return how many."""
    start = time.perf_counter_ns()
    go_on(0, 1)
    spent_ns = time.perf_counter_ns() - start
    if spans == 1 or spans > _FEW_SPANS or spent_ns * spans > _SHORT_NS:
        return 1
    go_on(1, spans)
    return spans
