"""Sums, means and variances of an array, or along some of its axes.

Every function also works inside the user's own `@njit` code.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from mmapio._validation import as_integer
from mmapio.guard.lost_memory import noticing
from mmapio.kernels.engine.jit import inside, machine_code
from mmapio.kernels.engine.overloads import item_type, no_axis, unordered_row_of
from mmapio.kernels.engine.pieces import (
    Pieces,
    map_pieces,
    numbers,
    pieces_of,
    plain,
    visit_pieces,
)
from mmapio.kernels.engine.scan import Scan, scan_of
from mmapio.kernels.engine.short_way import Short, seen_as, shortly
from mmapio.kernels.statistics._axes import Axis, reduced_axes
from mmapio.kernels.statistics._columns import (
    axis_means,
    axis_sums,
    axis_variances,
)
from mmapio.kernels.statistics._lines import along, table_means, table_sums
from mmapio.kernels.statistics._moments import (
    FLOATS,
    INTEGERS,
    SMALL,
    add_moments,
    compensated_sum,
    exact_sum,
    int_sum,
    moments,
    nearby,
    rounded_sum,
    split_int_sum,
    split_small_sum,
    split_sum,
    variance,
    word_sum,
    words_sum,
)
from mmapio.kernels.statistics.dates import average, dated, deviation, total, without_variance
from mmapio.kernels.statistics.extremes import min as least

__all__ = ["mean", "std", "sum", "var"]

_HALF = 1 << 63
_WORD = (1 << 64) - 1
_SEEN = seen_as({item: item for item in (*FLOATS, *INTEGERS)} | {"?": "u1"})


def _plan_sum(dtype: np.dtype[Any], row: Any) -> Short:
    """Plan to add the items of a lone piece; None of floats whose sum overflowed, or is none."""
    if dtype.kind == "f":
        add_floats = machine_code(split_sum, row)

        def add(piece: NDArray[Any]) -> float | None:
            total, error = add_floats(piece)
            return total + error if -math.inf < total < math.inf else None

        return add
    if dtype.itemsize < 8:  # the sum of so few needs no second part
        add_small = machine_code(int_sum, row)
        return lambda piece: add_small(piece)[1]
    add_large = machine_code(word_sum, row.copy(dtype=types.int64))
    return add_large if dtype.kind == "i" else lambda piece: add_large(piece) & _WORD


def _plan_mean(dtype: np.dtype[Any], row: Any) -> Short:
    """Plan to average the items of a lone piece, of floats where `_plan_sum` adds them."""
    if dtype.kind == "f":
        add = _plan_sum(dtype, row)

        def average(piece: NDArray[Any]) -> float | None:
            total = add(piece)
            return None if total is None else total / piece.size

        return average
    add_integers = machine_code(int_sum, row)
    return lambda piece: exact_sum((add_integers(piece),)) / piece.size


@shortly(_plan_sum, _SEEN, along=along(table_sums))
@noticing
@dated(total(least))
def sum(
    a: Any,
    axis: Axis = None,
    *,
    threads: int | None = None,
    progress: bool = False,
    drop_behind: bool = False,
) -> Any:
    """Add the items of an array.

    Parameters
    ----------
    a : array_like
        Of bool, integers, floats of at most 64 bits, or complex numbers made of these; in any
        shape, layout and byte order.
    axis : {None, int, tuple of int}
        The axis or axes to add along, as for `numpy.sum`; by default along all of them. Items
        are read in the order of memory, whichever axes these are.
    threads : int, optional
        By default ``MMAPIO_NUM_THREADS``, else the CPUs that this process may use. The result
        does not depend on it.
    progress : bool
        Show a progress bar on a terminal (needs tqdm).
    drop_behind : bool
        Scan a file that is larger than memory: read ahead, and release behind the scan what was
        not in memory before; see `reduce_chunks`.

    Returns
    -------
    int, float, complex or numpy.ndarray
        The sum of integers is exact modulo 2**64, like numpy's: it wraps into the range of
        uint64 if they are unsigned, and of int64 otherwise (`describe` and `mean` do not wrap).
        Floats are added in float64, whatever their size; see the notes. A NaN makes the sum NaN.
        Along some axes, an array of int64, uint64, float64 or complex128. 0 if there are no items.

    Raises
    ------
    ArgumentTypeError
        If the dtype is none of these.
    ArgumentError
        If `axis` or `threads` is out of range; such an axis is also `numpy.exceptions.AxisError`.

    Notes
    -----
    Eight floats at a time are added plainly, and their sums with the rounding error of each
    addition (Knuth, TAOCP 4.2.2). So the error is at most some 3 * 2**-53 of the sum of all
    magnitudes, however many items there are; the bound of numpy's pairwise sum is 6 times that and
    more. That of a single array may be smaller by either.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> kernels.sum(np.arange(6, dtype=">u2"))
    15
    >>> kernels.sum(np.arange(6.0).reshape(3, 2), axis=0)
    array([6., 9.])

    Inside a kernel of one's own, in one thread:

    >>> import numba
    >>> @numba.njit
    ... def share(a, i):
    ...     return a[i] / kernels.sum(a)
    >>> share(np.arange(5.0), 4)
    0.4
    """
    array, how = plain(a), scan_of(threads, progress, drop_behind)
    if array.dtype.kind == "c":
        return _complex(sum, array, axis, how)
    numbers("sum", array)
    if (axes := reduced_axes(array, axis)) is not None:
        return axis_sums(array, axes, how)
    if array.dtype.kind == "f":
        return _float_sum(array, how)
    return _wrapped(_integer_sum(array, how), array.dtype.kind)


@shortly(_plan_mean, _SEEN, along=along(table_means))
@noticing
@dated(average(least, sum))
def mean(
    a: Any,
    axis: Axis = None,
    *,
    threads: int | None = None,
    progress: bool = False,
    drop_behind: bool = False,
) -> Any:
    """Average the items of an array.

    Parameters
    ----------
    a, axis, threads, progress, drop_behind
        As for `sum`.

    Returns
    -------
    float, complex or numpy.ndarray
        The exact sum of integers, or the sum of floats as of `sum`, divided by their number and
        rounded. Along some axes, an array of float64 or complex128; integers of 64 bits are then
        added as floats. NaN if there are no items, or if any is NaN.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        As for `sum`.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> kernels.mean(np.full(1000, 2**63 - 1))
    9.223372036854776e+18
    >>> import numba
    >>> @numba.njit
    ... def centre(a):
    ...     return a - kernels.mean(a)
    >>> centre(np.arange(3.0))
    array([-1.,  0.,  1.])
    """
    array, how = plain(a), scan_of(threads, progress, drop_behind)
    if array.dtype.kind == "c":
        return _complex(mean, array, axis, how)
    numbers("mean", array)
    if (axes := reduced_axes(array, axis)) is not None:
        return axis_means(array, axes, how)
    add = _float_sum if array.dtype.kind == "f" else _exact_sum
    return add(array, how) / array.size if array.size else math.nan


@noticing
@dated(without_variance)
def var(
    a: Any,
    axis: Axis = None,
    *,
    ddof: int = 0,
    threads: int | None = None,
    progress: bool = False,
    drop_behind: bool = False,
) -> Any:
    """Return the variance of the items of an array, in one pass over its memory.

    Parameters
    ----------
    a : array_like
        Of bool, integers or floats of at most 64 bits, in any shape, layout and byte order.
    axis, threads, progress, drop_behind
        As for `sum`.
    ddof : int
        What is subtracted from the number of items before squared deviations are divided by it.

    Returns
    -------
    float or numpy.ndarray
        Computed in float64; along some axes, an array of it. NaN if there are no items, or if
        any is NaN or infinite.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        As for `sum`.

    Notes
    -----
    Blocks that stay in the cache are read twice, around their own mean, and merged as in Chan,
    Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979. Means are kept as differences from one of the items, so values far from
    zero lose no digits.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> kernels.var(np.arange(7)), kernels.var(np.arange(7), ddof=1)
    (4.0, 4.666666666666667)
    >>> import numba
    >>> @numba.njit
    ... def spread(a):
    ...     return np.sqrt(kernels.var(a))
    >>> spread(np.arange(7))
    2.0
    """
    return _var(numbers("var", a), axis, ddof, scan_of(threads, progress, drop_behind))


@noticing
@dated(deviation(least))
def std(
    a: Any,
    axis: Axis = None,
    *,
    ddof: int = 0,
    threads: int | None = None,
    progress: bool = False,
    drop_behind: bool = False,
) -> Any:
    """Return the standard deviation of the items of an array: the square root of `var`.

    Parameters
    ----------
    a, axis, ddof, threads, progress, drop_behind
        As for `var`.

    Returns
    -------
    float or numpy.ndarray
        As for `var`. Of dates and periods, a period of their unit, rounded; NaT if any is.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        As for `var`.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> kernels.std(np.arange(7)), kernels.std(np.array([[1.0, 5.0], [3.0, 5.0]]), axis=0)
    (2.0, array([1., 0.]))
    >>> import numba
    >>> @numba.njit
    ... def standardised(a):
    ...     return (a - kernels.mean(a)) / kernels.std(a)
    >>> standardised(np.array([1.0, 3.0]))
    array([-1.,  1.])
    """
    found = _var(numbers("std", a), axis, ddof, scan_of(threads, progress, drop_behind))
    return np.sqrt(found) if isinstance(found, np.ndarray) else math.sqrt(found)


def _var(array: NDArray[Any], axis: Axis, ddof: int, how: Scan) -> Any:
    ddof = as_integer(ddof, "ddof")
    if (axes := reduced_axes(array, axis)) is not None:
        return axis_variances(array, axes, ddof, how)
    pieces = pieces_of(array)
    rows = np.zeros((len(pieces), 4))
    first = array[(0,) * array.ndim] if array.size and pieces.dtype.kind != "f" else 0
    shared = pieces.dtype.type(first)

    def visit(number: int, piece: NDArray[Any]) -> None:
        base: Any = shared
        if piece.dtype.kind == "f":
            base = rows[number, 3] = nearby(float(piece[0]))
        moments(piece, base, rows[number])

    visit_pieces(visit, pieces, how)
    return variance(rows, ddof)


def _float_sum(array: NDArray[Any], how: Scan) -> float:
    pieces = pieces_of(array, apart=True)
    parts = map_pieces(split_sum, pieces, how)
    total = _rounded(parts)
    return total if math.isfinite(total) else _sum_of_small(pieces, parts, how)


def _sum_of_small(pieces: Pieces, parts: list[tuple[float, float]], how: Scan) -> float:
    """Return a sum that overflowed on the way, or is none.

    Pieces that have no finite sum are read again, up to the first NaN.
    """

    def visit(number: int, piece: NDArray[Any]) -> None:
        total, error = parts[number]
        if math.isfinite(total):
            parts[number] = total * SMALL, error * SMALL
        else:
            parts[number] = split_small_sum(piece)

    visit_pieces(visit, pieces, how)
    return _rounded(parts) / SMALL


def _rounded(parts: list[tuple[float, float]]) -> float:
    if len(parts) == 1:
        [(total, error)] = parts
        return total + error if math.isfinite(total) else total
    return rounded_sum([total for total, _ in parts], [error for _, error in parts])


def _wrapped(total: int, kind: str) -> int:
    """Return a sum of integers as 64 bits hold it."""
    low = 0 if kind == "u" else -_HALF
    return (total - low) % (2 * _HALF) + low


def _integer_sum(array: NDArray[Any], how: Scan) -> int:
    """Return the sum of integers modulo 2**64."""
    if array.itemsize < 8:
        return _exact_sum(array, how)
    words = array.view(f"{array.dtype.str[0]}i8")
    return functools.reduce(
        operator.add, map_pieces(word_sum, pieces_of(words, apart=True), how), 0
    )


def _exact_sum(array: NDArray[Any], how: Scan) -> int:
    return exact_sum(map_pieces(int_sum, pieces_of(array, apart=True), how))


def _complex(
    function: Callable[..., Any],
    array: NDArray[Any],
    axis: Axis,
    how: Scan,
) -> Any:
    """Reduce real and imaginary parts by themselves; a product with 1j would spoil infinities."""
    real = np.asarray(function(array.real, axis, **asdict(how)))
    out = real.astype(np.complex128)
    out.imag = function(array.imag, axis, **asdict(how))
    return out if out.ndim else out.item()


# Inside kernels ---------------------------------------------------------------------------------


@inside(sum)
def _sum_inside(a: Any) -> Callable[..., Any]:
    item = item_type("sum", a)
    if isinstance(item, types.Float):
        return lambda a: compensated_sum(unordered_row_of(a))
    word = np.int64 if getattr(item, "signed", True) else np.uint64

    if getattr(item, "bitwidth", 8) == 64:
        return lambda a: word(words_sum(unordered_row_of(a)))

    def impl(a: Any) -> Any:
        high, low = split_int_sum(unordered_row_of(a))
        return word((high << 32) + low)

    return impl


@inside(mean)
def _mean_inside(a: Any) -> Callable[..., Any]:
    if isinstance(item_type("mean", a), types.Float):
        return lambda a: compensated_sum(unordered_row_of(a)) / a.size

    def impl(a: Any) -> Any:
        high, low = split_int_sum(unordered_row_of(a))
        return (high * 2.0**32 + low) / a.size

    return impl


@inside(var)
def _var_inside(a: Any, axis: Any = None, ddof: Any = 0) -> Callable[..., Any]:
    is_float = isinstance(item_type("var", a), types.Float)
    no_axis("var", axis)

    def impl(a: Any, axis: Any = None, ddof: Any = 0) -> Any:
        row = np.zeros(3)
        items = unordered_row_of(a)
        if items.size:
            add_moments(items, nearby(np.float64(items[0])) if is_float else items[0], row)
        return row[2] / max(items.size - ddof, 0)

    return impl


@inside(std)
def _std_inside(a: Any, axis: Any = None, ddof: Any = 0) -> Callable[..., Any]:
    item_type("std", a)
    no_axis("std", axis)
    return lambda a, axis=None, ddof=0: np.sqrt(var(a, ddof=ddof))
