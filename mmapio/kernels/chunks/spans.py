"""Spans of chunks: how an array is cut for a user's kernel, and which thread takes which part."""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from mmapio._validation import as_positive
from mmapio.kernels.engine.read_ahead import Window
from mmapio.kernels.engine.threads import run_chunks, thread_count

__all__ = ["Pace", "Spans", "cut", "run_spans"]

_CHUNK_BYTES = 1 << 20
_SPAN_BYTES = 4 << 20
# What one thread is done with before a second one could have begun.
_SHORT_NS = 100_000
_FEW_SPANS = 32
# How long a thread works before it looks whether the call has ended: Ctrl-C is to take no longer
# than 0.2 s. The first guess and the next one may be wrong by as much as this factor.
_PART_NS = 20_000_000
_GROWTH = 64
_LOOK_S = 0.001


class Spans(NamedTuple):
    """Rows cut into chunks, and whole chunks put together to spans, which threads take."""

    total: int
    rows: int
    chunk_rows: int
    span_rows: int

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.rows // self.chunk_rows)

    @property
    def chunks_per_span(self) -> int:
        """Number of chunks in a span; the last one may have fewer."""
        return self.span_rows // self.chunk_rows


def cut(array: NDArray[Any], chunk: int | None) -> Spans:
    """Cut an array along its first axis."""
    rows = len(array) or 1
    row_bytes = array.nbytes // rows or 1
    chunk = _CHUNK_BYTES // row_bytes or 1 if chunk is None else as_positive(chunk, "chunk")
    chunk = min(chunk, rows)
    span = chunk * (_SPAN_BYTES // (chunk * row_bytes) or 1)
    return Spans(-(-len(array) // span), len(array), chunk, span)


Take = Callable[[int, int, "Pace"], None]


class Pace:
    """Number of chunks a thread takes before it looks for an end of the call, as by Ctrl-C."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks
        self.ended = False

    def learn(self, chunks: int, spent_ns: int) -> None:
        """Aim at a time, but never far ahead of what was measured."""
        far = _GROWTH * chunks
        if spent_ns * _GROWTH <= _PART_NS:
            if far > self.chunks:
                self.chunks = far
        elif chunks:
            self.chunks = max(1, min(max(self.chunks, far), _PART_NS * chunks // spent_ns))


def run_spans(
    spans: Spans,
    go_on: Take,
    take: Take,
    windows: Sequence[Window],
    threads: int | None,
    progress: bool,
    nbytes: int,
) -> None:
    """Do all spans: the first ones by ``go_on(first, last, pace)``, the others by `take`.

    The latter is called for one span at a time, from many threads, within windows over arrays of
    as many rows. Both leave off, with their work undone, when the pace has ended.
    """
    if threads is not None:  # a look at the environment takes as long as a small array: later
        threads = thread_count(threads)
    pace = Pace(spans.chunks_per_span // _GROWTH or 1)
    done = 0 if progress or windows or not spans.total else _go_alone(spans.total, go_on, pace)

    def work(span: int) -> None:
        start, stop = span * spans.span_rows, min((span + 1) * spans.span_rows, spans.rows)
        with contextlib.ExitStack() as stack:
            for window in windows:
                stack.enter_context(window.passing(start, stop))
            take(span, span + 1, pace)

    if done < spans.total:
        threads = thread_count(threads)
        turns = _Turns(range(done, spans.total), work, pace, spans.chunks_per_span, threads)
        run_chunks(len(turns), turns.take, threads=threads, progress=progress, nbytes=nbytes)


def _go_alone(spans: int, go_on: Take, pace: Pace) -> int:
    """Let this thread do the first span, or all if that takes no time; return how many."""
    start = time.perf_counter_ns()
    go_on(0, 1, pace)
    spent_ns = time.perf_counter_ns() - start
    if spans == 1 or spans > _FEW_SPANS or spent_ns * spans > _SHORT_NS:
        return 1
    go_on(1, spans, pace)
    return spans


class _Turns:
    """Spans that threads take one by one, in their order.

    Ctrl-C reaches the caller's own thread alone. As long as it is in here it ends the pace, so that
    the others leave off; if it waited for them elsewhere, they would end their spans first, which
    can take seconds. So it stays until the last span is done, where spans take long and the other
    threads might take all that are left.
    """

    def __init__(
        self, spans: range, work: Callable[[int], None], pace: Pace, slow_below: int, threads: int
    ) -> None:
        self._spans = spans
        self._work = work
        self._pace = pace
        self._slow_below = slow_below
        self._threads = threads
        self._left = collections.deque(spans)
        self._done: collections.deque[int] = collections.deque()

    def __len__(self) -> int:
        return len(self._spans)

    def take(self, _number: int, worker: int) -> None:
        """Do the next span, if any is left."""
        try:
            self._take_next()
            slow = self._pace.chunks < self._slow_below
            if slow and not worker and len(self._left) < self._threads:
                self._stay()
        except BaseException:
            self._pace.ended = True
            raise

    def _take_next(self) -> None:
        if self._left and not self._pace.ended:
            try:
                span = self._left.popleft()
            except IndexError:
                return  # another thread was faster
            self._work(span)
            self._done.append(span)

    def _stay(self) -> None:
        while self._left and not self._pace.ended:
            self._take_next()
        while len(self._done) < len(self._spans) and not self._pace.ended:
            time.sleep(_LOOK_S)
