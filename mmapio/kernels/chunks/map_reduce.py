"""`reduce_chunks` and `map_chunks`: the user's own kernels over the chunks of an array."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmapio import _forking
from mmapio._validation import refuse_masks
from mmapio.errors import ArgumentError, ArgumentTypeError, KernelError, ReadOnlyError
from mmapio.guard.lost_memory import noticing
from mmapio.kernels.chunks.compiling import Args, Compiled, owned, reduction
from mmapio.kernels.chunks.messages import name_of
from mmapio.kernels.chunks.spans import Pace, Spans, cut, run_spans
from mmapio.kernels.chunks.storing import MisfitError, compiled_map
from mmapio.kernels.engine.jit import JIT_DISABLED
from mmapio.kernels.engine.pieces import plain
from mmapio.kernels.engine.read_ahead import Window
from mmapio.kernels.engine.uncompiled import plain_numbers

__all__ = ["map_chunks", "reduce_chunks"]

# Of numpy's search for a common byte, which can take forever; a few steps do for columns.
_SHARING_WORK = 1000

FoldState = tuple[int, int, bool, Any, bool, Any]
Run = Callable[[int, int, FoldState], tuple[int, FoldState]]


@noticing
def reduce_chunks(
    a: NDArray[Any],
    kernel: Any,
    combine: Any,
    init: Any,
    *,
    chunk: int | None = None,
    args: Args = (),
    threads: int | None = None,
    progress: bool = False,
    drop_behind: bool = False,
    delimiter: bytes | None = None,
) -> Any:
    r"""Apply a kernel to each chunk of an array, and combine the results in order.

    Parameters
    ----------
    a : numpy.ndarray
        In native byte order, with one or more axes; it is cut along the first.
    kernel : callable
        Compiled with `numba.njit`; called as ``kernel(chunk, *args)``, where `chunk` is a
        read-only array of rows of `a`. Returns a number, a new array, or a tuple of these.
    combine : callable
        Compiled with `numba.njit`; called as ``combine(x, y)``, where `x` is of the type of `init`
        and `y` is that too or a result of `kernel`. Returns what `init` could hold. It must be
        associative, for partial results are combined with each other; it may change and return
        `x`, if that is an array. Arrays are not compared by their shapes: numba's ``x += y``
        reads and writes past the end of the shorter one, so all must be as long as `init`.
    init : number, numpy.ndarray or tuple of these
        What the result of the first chunk is combined with. It decides the type of the result; but
        a Python number becomes uint64, float64 or complex128 if `kernel` returns what only that
        can hold, so that 0 will do for all of them.
    chunk : int, optional
        Rows in a chunk; the last one may have fewer. By default as many as make up 1 MiB.
    args : tuple
        More arguments of `kernel`. All threads share them, so arrays among them are read-only.
    threads : int, optional
        By default ``MMAPIO_NUM_THREADS``, else the CPUs that this process may use. The result does
        not depend on it.
    progress : bool
        Show a progress bar on a terminal (needs tqdm).
    drop_behind : bool
        Scan a file that is larger than memory: read in ahead, and release behind what was not in
        memory before. Rows must follow each other in memory. Of a copy-on-write mapping (mode "c")
        what was in memory before stays mapped, for it may be written to meanwhile: it counts as
        resident, but is the page cache's, which the system can take back.
    delimiter : bytes, optional
        One byte that ends each record, such as ``b"\n"``. Chunks, of an array of bytes, then end
        with a record, so they are a little longer than `chunk`, or much where a record is. The
        last record may lack its delimiter.

    Returns
    -------
    number, numpy.ndarray or tuple of these
        ``combine(...combine(combine(init, kernel(chunk 0)), kernel(chunk 1))...)``; numbers are
        Python's. A copy of `init` if there are no rows.

    Raises
    ------
    KernelError
        If `kernel` or `combine` is not compiled with numba, takes other arguments, does not
        compile, or returns what `init` cannot hold.
    ArgumentError, ArgumentTypeError
        If another argument is out of range or of a wrong type.

    Notes
    -----
    Both functions are compiled together with the loop around them when they are first used
    together on such types, which takes about a second; then a chunk costs a few nanoseconds on top
    of what the kernel does.

    Examples
    --------
    >>> import numba
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> @numba.njit
    ... def peak(chunk, scale):
    ...     return chunk.max() * scale
    >>> @numba.njit
    ... def larger(x, y):
    ...     return max(x, y)
    >>> kernels.reduce_chunks(np.arange(1000.0), peak, larger, -np.inf, args=(10,))
    9990.0

    Lines of text, none of which is cut:

    >>> @numba.njit
    ... def lines(chunk):
    ...     return 1 if chunk[-1] == 10 else 0
    >>> @numba.njit
    ... def add(x, y):
    ...     return x + y
    >>> text = np.frombuffer(b"one\ntwo\nthree\n", "u1")
    >>> kernels.reduce_chunks(text, lines, add, 0, chunk=1, delimiter=b"\n")
    3
    """
    array, mark = _checked(a, delimiter)
    spans = cut(array, chunk)
    args = _checked_args(args)
    for value in init if isinstance(init, tuple) else (init,):
        _check_native("init", value)
    run, merge, kind = reduction(kernel, combine, array, init, args, delimiter is not None)
    init = owned(init, kind)

    def go(last: int, limit: int, state: FoldState) -> tuple[int, FoldState]:
        found: tuple[int, FoldState] = run(
            array, spans.chunk_rows, spans.span_rows, last, mark, limit, state, args
        )
        return found

    fold = _Fold(go, merge, init)
    windows = [Window(array)] if drop_behind else []
    run_spans(spans, fold.go_on, fold.add, windows, threads, progress, array.nbytes)
    return plain_numbers(fold.acc) if JIT_DISABLED else fold.acc


@noticing
def map_chunks(
    a: NDArray[Any],
    kernel: Any,
    out: NDArray[Any] | tuple[NDArray[Any], ...],
    *,
    chunk: int | None = None,
    args: Args = (),
    threads: int | None = None,
    progress: bool = False,
    drop_behind: bool = False,
) -> None:
    """Apply a kernel to each chunk of an array, and store the results in another.

    Parameters
    ----------
    a : numpy.ndarray
        In native byte order, with one or more axes; it is cut along the first.
    kernel : callable
        As for `reduce_chunks`. It may return its chunk too, or a view of that.
    out : numpy.ndarray or tuple of numpy.ndarray
        Takes the results, or a tuple of arrays the parts of results that are tuples. With one axis
        more than the result it has a row for each chunk; with as many axes, a row for each row of
        `a`. It may be `a` itself, and else must not overlap it, nor another one. Results are cast
        as numpy casts into an `out`, by its rule "same_kind": float64 to float32, not to int64.
    chunk : int, optional
        Rows in a chunk; the last one may have fewer. By default as many as make up 1 MiB.
    args : tuple
        More arguments of `kernel`. All threads share them, so arrays among them are read-only.
    threads : int, optional
        By default ``MMAPIO_NUM_THREADS``, else the CPUs that this process may use.
    progress : bool
        Show a progress bar on a terminal (needs tqdm).
    drop_behind : bool
        As for `reduce_chunks`; an `out` with a row for each row of `a` is released too.

    Raises
    ------
    KernelError
        If `kernel` is not compiled with numba, takes other arguments, does not compile, or
        returns what `out` cannot hold, by its type or shape.
    ReadOnlyError
        If `out` is read-only.
    ArgumentError, ArgumentTypeError
        If another argument is out of range or of a wrong type.

    Examples
    --------
    >>> import numba
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> @numba.njit
    ... def scaled(chunk, factor):
    ...     return chunk * factor
    >>> out = np.empty(4)
    >>> kernels.map_chunks(np.arange(4.0), scaled, out, args=(0.5,))
    >>> out
    array([0. , 0.5, 1. , 1.5])

    One row for each chunk:

    >>> @numba.njit
    ... def extremes(chunk):
    ...     return chunk.min(), chunk.max()
    >>> lows, highs = np.empty(2), np.empty(2)
    >>> kernels.map_chunks(np.arange(4.0), extremes, (lows, highs), chunk=2)
    >>> lows, highs
    (array([0., 2.]), array([1., 3.]))
    """
    array, _ = _checked(a, None)
    spans = cut(array, chunk)
    args = _checked_args(args)
    outs = tuple(map(_checked_out, out if isinstance(out, tuple) else (out,)))
    run, by_rows = compiled_map(
        kernel, array, outs, not isinstance(out, tuple), args, spans.chunk_rows
    )
    for each, rows in zip(outs, by_rows, strict=True):
        _require_place(each, array, spans, rows)
    _require_apart(outs)
    chunks_per_span = spans.chunks_per_span

    def store(first: int, last: int, pace: Pace) -> None:
        first, last = first * chunks_per_span, min(last * chunks_per_span, spans.chunks)
        try:
            while first < last and not pace.ended:
                stop, began = min(first + pace.chunks, last), time.perf_counter_ns()
                run(array, spans.chunk_rows, first, stop, outs, args)
                pace.learn(stop - first, time.perf_counter_ns() - began)
                first = stop
        except MisfitError as error:
            number, shape = error.args
            raise KernelError(
                f"{name_of(kernel, 'kernel')} returned shape {shape} for chunk {number}, which "
                f"does not fit into out, of shape {' and '.join(str(o.shape) for o in outs)}"
            ) from None

    passed = [array, *(each for each, rows in zip(outs, by_rows, strict=True) if rows)]
    windows = [Window(each) for each in passed] if drop_behind else []
    run_spans(spans, store, store, windows, threads, progress, array.nbytes)


class _Fold:
    """Results of spans, combined in their order, whoever comes first."""

    def __init__(self, run: Run, merge: Compiled, init: Any) -> None:
        self._run = run
        self._merge = merge
        self.renew()
        _forking.renew_in_child(self)
        self._next = 0
        self._waiting: dict[int, tuple[bool, Any]] = {}
        self.acc = init

    def renew(self) -> None:
        """Make a new lock: a child forked within the call has no thread to let go of the old."""
        self._lock = threading.Lock()

    def go_on(self, first: int, last: int, pace: Pace) -> None:
        """Take the next spans, as the only one who does."""
        _, self.acc = self._part(first, last, True, pace)
        self._next = last

    def add(self, span: int, end: int, pace: Pace) -> None:
        """Take any span, at the same time as others."""
        found = self._part(span, end, False, pace)
        if pace.ended:
            return
        with self._lock:
            self._waiting[span] = found
            while self._next in self._waiting:
                started, part = self._waiting.pop(self._next)
                self._next += 1
                if started:
                    self.acc = self._merge(self.acc, part)

    def _part(self, first: int, last: int, started: bool, pace: Pace) -> tuple[bool, Any]:
        """Return what spans make, and whether there was anything in them."""
        acc = self.acc
        state: FoldState = first, 0, started, acc, True, acc
        while state[0] < last and not pace.ended:
            limit = pace.chunks
            began = time.perf_counter_ns()
            left, state = self._run(last, limit, state)
            pace.learn(limit - left, time.perf_counter_ns() - began)
        return state[2], state[3]


def _checked(a: NDArray[Any], delimiter: bytes | None) -> tuple[NDArray[Any], int]:
    """Return an array that kernels can take, and the byte that ends a record."""
    array = plain(a)
    if isinstance(a, bytes):
        raise ArgumentTypeError("a must be an array, got bytes; numpy.frombuffer(a, 'u1') is one")
    if not array.ndim:
        raise ArgumentError(f"{type(a).__name__} of 0 dimensions has no rows to cut into chunks")
    if array.dtype.hasobject:
        raise ArgumentTypeError(f"kernels take no Python objects, got {array.dtype}")
    _check_native("a", array)
    if delimiter is None:
        return array, 0
    if not isinstance(delimiter, bytes) or len(delimiter) != 1:
        raise ArgumentError(f"delimiter must be one byte, such as b'\\n', got {delimiter!r}")
    if array.ndim != 1 or array.itemsize != 1:
        raise ArgumentError(
            f"delimiter is for one-dimensional arrays of bytes, got {array.dtype} with shape "
            f"{array.shape}"
        )
    return array.view(np.uint8), delimiter[0]


def _check_native(name: str, value: Any) -> None:
    """Refuse another byte order, which numba does not know."""
    if isinstance(value, np.ndarray) and not value.dtype.isnative:
        raise ArgumentTypeError(
            f"kernels take native byte order only, got {value.dtype.str}; "
            f"{name}.astype({name}.dtype.newbyteorder('=')) makes such a copy"
        )


def _checked_args(args: Args) -> Args:
    """Refuse above all an array, whose rows would else be as many arguments."""
    if not isinstance(args, tuple | list):
        kind = type(args).__name__
        raise ArgumentTypeError(f"args must be a tuple, such as (value,), got {kind!r}")
    for number, value in enumerate(args):
        _check_native(f"args[{number}]", value)
    return tuple(args)


def _checked_out(out: Any) -> NDArray[Any]:
    if not isinstance(out, np.ndarray):
        kind = type(out).__name__
        raise ArgumentTypeError(f"out must be an array or a tuple of arrays, got {kind!r}")
    refuse_masks(out)
    if not out.flags.writeable:
        raise ReadOnlyError("cannot store into out, which is read-only")
    _check_native("out", out)
    return np.asarray(out)


def _require_place(out: NDArray[Any], a: NDArray[Any], spans: Spans, by_rows: bool) -> None:
    rows, what = (spans.rows, "row") if by_rows else (spans.chunks, "chunk")
    if len(out) != rows:
        raise KernelError(f"out has {len(out)} rows, but there are {rows} {what}s to store")
    same = by_rows and out.__array_interface__["data"] == a.__array_interface__["data"]
    if _overlap(out, a) and not (same and out.strides == a.strides):
        raise ArgumentError("out must not overlap the array, unless it is the same")


def _require_apart(outs: tuple[NDArray[Any], ...]) -> None:
    for (first, one), (second, other) in itertools.combinations(enumerate(outs), 2):
        if _overlap(one, other):
            raise ArgumentError(
                f"out[{first}] and out[{second}] overlap, so that one result would replace another"
            )


def _overlap(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Return True if arrays share a byte, or if that is too hard to find out."""
    try:
        return np.shares_memory(one, other, max_work=_SHARING_WORK)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True
