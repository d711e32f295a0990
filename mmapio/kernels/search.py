"""Counting and finding values, and patterns of bytes.

Every function also works inside the user's own `@njit` code.
"""

from __future__ import annotations

import contextlib
import numbers as abstract
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from mmapio.errors import ArgumentError, ArgumentTypeError
from mmapio.guard.lost_memory import noticing
from mmapio.kernels._match_bits import (
    mark_matches,
    mark_places,
    places_equal,
    places_in,
    words_for,
    write_places,
)
from mmapio.kernels._search import (
    all_matches,
    border_table,
    borders,
    count_equal,
    count_matches,
    find_match,
    find_pattern,
    first_equal,
    pattern_matches,
)
from mmapio.kernels.engine.jit import inside, machine_code
from mmapio.kernels.engine.overloads import (
    check_bytes,
    item_type,
    pattern_of,
    row_of,
    unordered_row_of,
)
from mmapio.kernels.engine.pieces import (
    Pieces,
    map_pieces,
    numbers,
    pieces_of,
    share_pieces,
    visit_pieces,
)
from mmapio.kernels.engine.scan import Scan, scan_of
from mmapio.kernels.engine.short_way import Plan, Short, seen_as, shortly
from mmapio.kernels.engine.threads import run_chunks
from mmapio.kernels.statistics.dates import dates_in

__all__ = ["count", "count_nonzero", "find", "find_all"]

_ROOM = 1 << 16
_NOTHING = 0.5  # which no integer equals
_PIECES = 16  # lengths of the pattern in a piece, at least
_WHOLE = 1 << 24  # whole numbers that float32 holds
_PATTERNS = (bytes, bytearray, memoryview)
_NUMBERS = (abstract.Real, np.bool)
_SEEN = seen_as(
    {item: f"u{np.dtype(item).itemsize}" for item in "?bhilqBHILQ"} | {"f4": "f4", "f8": "f8"}
)


def _planned(kernel: Callable[..., Any], absent: Callable[[], Any]) -> Plan:
    """Return what plans to run a kernel for a lone piece and the item that equals a value."""

    def plan(dtype: np.dtype[Any], row: Any) -> Short:
        find = machine_code(kernel, row, row.dtype)
        item_for = _item_finder(dtype)

        def short(piece: NDArray[Any], value: Any) -> Any:
            if isinstance(value, _PATTERNS):
                return None
            item = item_for(value)
            return absent() if item is None else find(piece, item)

        return short

    return plan


def _plan_nonzero(_dtype: np.dtype[Any], row: Any) -> Short:
    """Plan to count how many items of a lone piece are not zero."""
    count_equal = machine_code(count_matches, row, row.dtype)
    return lambda piece: piece.size - count_equal(piece, 0)


def _item_finder(dtype: np.dtype[Any]) -> Callable[[Any], Any]:
    """Return what finds the item that equals a value, as kernels compare it, or None."""
    if dtype.kind == "f":
        same = (dtype.type, float) if dtype.itemsize == 8 else (dtype.type,)

        def find_float(value: Any) -> Any:
            if type(value) in same or _is_short_and_whole(value):
                return value
            return _item(dtype, value)

        return find_float
    bits = (1 << 8 * dtype.itemsize) - 1
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)

    def find(value: Any) -> int | None:
        if type(value) is int:
            return value & bits if low <= value <= high else None
        if type(value) is dtype.type:
            return int(value) & bits
        item = _item(dtype, value)
        return None if item is None else int(item) & bits

    return find


@shortly(_planned(count_matches, lambda: 0), _SEEN, 2)
@noticing
def count(
    a: Any,
    value: Any,
    *,
    threads: int | None = None,
    progress: bool = False,
    drop_behind: bool = False,
) -> int:
    """Count the items that equal a value.

    Parameters
    ----------
    a : array_like
        Of bool, integers or floats of at most 64 bits, in any shape, layout and byte order.
    value : number
        Among floats, compared as numpy does: a Python float is first rounded to the array's own
        precision, a numpy scalar is not. A NaN equals nothing, and the two zeros are equal.
        Among integers, compared exactly: a float equals one of them at most, where numpy rounds
        those beyond 2**53 to floats first. Inside kernels, numba's ``==`` decides.
    threads : int, optional
        By default ``MMAPIO_NUM_THREADS``, else the CPUs that this process may use.
    progress : bool
        Show a progress bar on a terminal (needs tqdm).
    drop_behind : bool
        Scan a file that is larger than memory: read ahead, and release behind the scan what was
        not in memory before; see `reduce_chunks`.

    Returns
    -------
    int
        What ``np.count_nonzero(a == value)`` returns, but for large integers, without an array of
        bool in between.

    Raises
    ------
    ArgumentTypeError
        If the dtype is none of these, or `value` is no real number.
    ArgumentError
        If `threads` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> kernels.count(np.array([[3, 1], [3, 9]], dtype=">i2"), 3)
    2
    >>> import numba
    >>> @numba.njit
    ... def share(a, value):
    ...     return kernels.count(a, value) / a.size
    >>> share(np.array([1.0, 2.0]), 2)
    0.5
    """
    how = scan_of(threads, progress, drop_behind)
    array, item = _matchable("count", a, value)
    if item is None:
        return 0
    pieces = pieces_of(array, apart=True)
    return sum(map_pieces(lambda piece: count_matches(piece, item), pieces, how))


@shortly(_plan_nonzero, _SEEN)
@noticing
def count_nonzero(
    a: Any, *, threads: int | None = None, progress: bool = False, drop_behind: bool = False
) -> int:
    """Count the items that are not zero.

    Parameters
    ----------
    a, threads, progress, drop_behind
        As for `count`.

    Returns
    -------
    int
        What numpy's `count_nonzero` returns; a NaN is not zero.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        As for `count`.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> kernels.count_nonzero(np.array([0.0, -0.0, 3.0, np.nan]))
    2
    >>> import numba
    >>> @numba.njit
    ... def is_sparse(a):
    ...     return 10 * kernels.count_nonzero(a) < a.size
    >>> is_sparse(np.zeros(10, "u1"))
    True
    """
    dates = dates_in(a)
    array = numbers("count_nonzero", a if dates is None else dates.ticks)
    zeros = count(array, 0, threads=threads, progress=progress, drop_behind=drop_behind)
    return int(array.size) - zeros


@shortly(_planned(find_match, lambda: -1), _SEEN, 2, ordered=True)
@noticing
def find(
    a: Any,
    value_or_bytes: Any,
    *,
    threads: int | None = None,
    progress: bool = False,
    drop_behind: bool = False,
) -> int:
    """Return where a value, or a pattern of bytes, is first.

    Parameters
    ----------
    a : array_like
        As for `count`; of bytes (uint8 or int8) if a pattern is looked for.
    value_or_bytes : number, bytes, bytearray or memoryview
        A number is compared as by `count`; a pattern, of any length, matches as many items in
        a row, also across the ends of rows. Inside kernels, an array of uint8 is one as well.
    threads, progress, drop_behind
        As for `count`.

    Returns
    -------
    int
        An index into ``a.flat``, or -1 if there is none. The search ends there. An array that
        is not C-ordered is searched in the order of its indices, so it is copied through the
        cache piece by piece, and takes no `drop_behind`.

    Raises
    ------
    ArgumentTypeError
        If the dtype is not one that can be searched, or the value is none of these.
    ArgumentError
        If the pattern is empty, or `threads` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> text = np.frombuffer(b"to be or not to be", "u1")
    >>> kernels.find(text, b"be"), kernels.find(text, b"bee"), kernels.find(text, ord("r"))
    (3, -1, 7)
    >>> import numba
    >>> @numba.njit
    ... def first_word(text):
    ...     return text[:kernels.find(text, b" ")]
    >>> first_word(text).tobytes()
    b'to'
    """
    how = scan_of(threads, progress, drop_behind)
    sought = _sought("find", a, value_or_bytes)
    found: list[int] = []

    def visit(number: int, piece: NDArray[Any]) -> None:
        at = sought.first(piece)
        if at >= 0:
            found.append(sought.pieces.start(number) + at)
            raise _Found

    with contextlib.suppress(_Found):
        visit_pieces(visit, sought.pieces, how, sought.first)
    return min(found, default=-1)


@shortly(_planned(places_in, lambda: np.empty(0, np.int64)), _SEEN, 2, ordered=True)
@noticing
def find_all(
    a: Any,
    value_or_bytes: Any,
    *,
    threads: int | None = None,
    progress: bool = False,
    drop_behind: bool = False,
) -> NDArray[np.int64]:
    """Return all places of a value, or of a pattern of bytes.

    Parameters
    ----------
    a, value_or_bytes, threads, progress, drop_behind
        As for `find`.

    Returns
    -------
    numpy.ndarray
        int64, ascending: what ``np.flatnonzero(a == value)`` returns, compared as by `count`.
        Occurrences of a pattern may overlap, and each is listed.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        As for `find`.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> text = np.frombuffer(b"banana", "u1")
    >>> kernels.find_all(text, b"ana"), kernels.find_all(text, ord("n"))
    (array([1, 3]), array([2, 4]))
    >>> import numba
    >>> @numba.njit
    ... def gaps(a, value):
    ...     return np.diff(kernels.find_all(a, value))
    >>> gaps(np.array([5, 0, 0, 5, 5]), 5)
    array([3, 1])
    """
    how = scan_of(threads, progress, drop_behind)
    sought = _sought("find_all", a, value_or_bytes)
    found = _marked(sought, how)
    ends = np.cumsum([0, *(marks.count if marks else 0 for marks in found)])
    out = np.empty(ends[-1], np.int64)

    def write(number: int, _worker: int) -> None:
        marks = found[number]
        if marks is not None:
            marks.write(sought.pieces.start(number), out[ends[number] : ends[number + 1]])

    run_chunks(len(found), write, threads=how.threads)
    return out


class _Found(Exception):  # noqa: N818  # it is good news
    """End of a search: pieces before that of an occurrence are being searched, or were."""


class _Sought(NamedTuple):
    """Pieces to search, and functions that find the first place in one, or mark all places."""

    pieces: Pieces
    first: Callable[[NDArray[Any]], int]
    mark: Callable[[NDArray[Any], NDArray[np.uint64]], int]


class _Marks:
    """Places in a piece, as bits or, where that takes less memory, as numbers.

    Nobody else changes these, as others may change the piece: so the room that is made for them
    is right.
    """

    def __init__(self, bits: NDArray[np.uint64], count: int) -> None:
        self.count = count
        self._is_sparse = count < bits.size
        if self._is_sparse:
            self._held: NDArray[Any] = np.empty(count, np.int64)
            write_places(bits, 0, self._held)
        else:
            self._held = bits.copy()

    def write(self, start: int, out: NDArray[np.int64]) -> None:
        """Write the places, counted from `start`, and let go of them."""
        if self._is_sparse:
            np.add(self._held, start, out=out)
        else:
            write_places(self._held, start, out)
        self._held = self._held[:0].copy()


def _marked(sought: _Sought, how: Scan) -> list[_Marks | None]:
    """Mark the places in each piece, in bits that stay in the cache."""
    pieces = sought.pieces
    found: list[_Marks | None] = [None] * len(pieces)

    def work(room: list[NDArray[Any]], number: int) -> None:
        piece = pieces.take(number, room[0])
        words = words_for(piece.size)
        if room[1].size < words:
            room[1] = np.empty(words, np.uint64)
        bits = room[1][:words]
        count = sought.mark(piece, bits)
        if count:
            found[number] = _Marks(bits, count)

    share_pieces(lambda: [pieces.buffer(), np.empty(0, np.uint64)], work, pieces, how, sought.mark)
    return found


def _sought(function: str, a: Any, value_or_bytes: Any) -> _Sought:
    if isinstance(value_or_bytes, _PATTERNS):
        return _sought_bytes(function, a, np.frombuffer(bytes(value_or_bytes), np.uint8))
    return _sought_value(function, a, value_or_bytes)


def _sought_value(function: str, a: Any, value: Any) -> _Sought:
    array, item = _matchable(function, a, value)

    pieces = Pieces(np.zeros(0)) if item is None else pieces_of(array, ordered=True, apart=True)
    return _Sought(
        pieces,
        lambda piece: find_match(piece, item),
        lambda piece, bits: mark_matches(piece, item, bits),
    )


def _sought_bytes(function: str, a: Any, pattern: NDArray[np.uint8]) -> _Sought:
    """Cut pieces far longer than the pattern, so that little is read twice at their ends."""
    array = numbers(function, a)
    if array.dtype.kind not in "iu" or array.itemsize > 1:
        raise ArgumentTypeError(
            f"bytes are found in arrays of uint8 or int8, got {array.dtype}; take a view of it"
        )
    if not pattern.size:
        raise ArgumentError("the pattern to find is empty")
    table = border_table(pattern)

    def places(piece: NDArray[np.uint8], room: int) -> Iterator[NDArray[np.int64]]:
        at, out = 0, np.empty(room, np.int64)
        while at < piece.size:
            found, at = find_pattern(piece, pattern, table, at, out)
            yield out[:found].copy()

    def first_place(piece: NDArray[np.uint8]) -> int:
        return next((int(found[0]) for found in places(piece, 1) if found.size), -1)

    def mark(piece: NDArray[np.uint8], bits: NDArray[np.uint64]) -> int:
        bits[:] = 0
        count = 0
        for some in places(piece, _ROOM):
            mark_places(some, bits)
            count += some.size
        return count

    unit, extra = _PIECES * pattern.size, pattern.size - 1
    pieces = Pieces(array.view(np.uint8), ordered=True, unit=unit, extra=extra)
    return _Sought(pieces, first_place, mark)


def _matchable(function: str, a: Any, value: Any) -> tuple[NDArray[Any], Any]:
    """Return an array, and the one item that equals a value, or None, as kernels compare them."""
    dates = dates_in(a)
    if dates is not None:
        ticks = dates.item(value)
        return _matchable(function, dates.ticks, _NOTHING if ticks is None else ticks)
    array = numbers(function, a)
    item = _item(array.dtype.newbyteorder("="), value)
    if array.dtype.kind == "f":
        return array, item if item is None or item.itemsize > 2 else np.float32(item)
    bits = f"u{array.itemsize}"
    return array.view(array.dtype.str[0] + bits), None if item is None else item.view(bits)


def _item(dtype: np.dtype[Any], value: Any) -> Any:
    """Return the one item that equals a value, or None."""
    if type(value) is int and dtype.kind in "iu":
        try:
            return dtype.type(value)
        except OverflowError:
            return None
    if dtype.char in "fd" and _is_short_and_whole(value):  # nothing is lost or warned of
        return dtype.type(value)
    if not isinstance(value, _NUMBERS):
        raise ArgumentTypeError(
            f"a value must be a real number, and a pattern bytes such as b'ab', got {value!r}"
        )
    try:
        with np.errstate(all="ignore"):
            item = dtype.type(value)
            return item if item == value else None
    except (OverflowError, ValueError):
        return None


def _is_short_and_whole(value: Any) -> bool:
    """Return True for some of the numbers that float32 holds."""
    return type(value) in (int, float) and -_WHOLE <= value <= _WHOLE and value == int(value)


# Inside kernels ---------------------------------------------------------------------------------


@inside(count)
def _count_inside(a: Any, value: Any) -> Callable[..., Any]:
    item_type("count", a)
    return lambda a, value: count_equal(unordered_row_of(a), value)


@inside(count_nonzero)
def _count_nonzero_inside(a: Any) -> Callable[..., Any]:
    item_type("count_nonzero", a)
    return lambda a: a.size - count_equal(unordered_row_of(a), 0)


@inside(find)
def _find_inside(a: Any, value_or_bytes: Any) -> Callable[..., Any]:
    if not isinstance(value_or_bytes, types.Buffer):
        item_type("find", a)
        return lambda a, value_or_bytes: first_equal(row_of(a), value_or_bytes)
    check_bytes("find", a, value_or_bytes)

    def impl(a: Any, value_or_bytes: Any) -> Any:
        pattern, out = pattern_of(value_or_bytes), np.empty(1, np.int64)
        found, _ = pattern_matches(row_of(a), pattern, borders(pattern), 0, out)
        return out[0] if found else -1

    return impl


@inside(find_all)
def _find_all_inside(a: Any, value_or_bytes: Any) -> Callable[..., Any]:
    if isinstance(value_or_bytes, types.Buffer):
        check_bytes("find_all", a, value_or_bytes)
        return lambda a, value_or_bytes: all_matches(row_of(a), pattern_of(value_or_bytes))
    item_type("find_all", a)
    return lambda a, value_or_bytes: places_equal(row_of(a), value_or_bytes)
