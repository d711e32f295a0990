"""Least and greatest items of an array, and where they are; numpy's rules for NaNs.

Every function also works inside the user's own `@njit` code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from mmapio.errors import ArgumentError
from mmapio.guard.lost_memory import noticing
from mmapio.kernels.engine.jit import inside
from mmapio.kernels.engine.overloads import item_type, row_of, unordered_row_of
from mmapio.kernels.engine.pieces import numbers
from mmapio.kernels.engine.scan import Scan, scan_of
from mmapio.kernels.engine.short_way import shortly
from mmapio.kernels.statistics._axes import Axis, reduced_axes
from mmapio.kernels.statistics._column_kernels import BOTH, GREATEST, LEAST
from mmapio.kernels.statistics._column_places import has_columns, place_in_columns
from mmapio.kernels.statistics._columns import axis_extremes
from mmapio.kernels.statistics._extremes import (
    SEEN,
    array_extreme,
    array_range,
    extreme_of,
    lone_extreme,
    lone_place,
    lone_range,
    minmax_of,
    place_of,
    where_extreme,
)
from mmapio.kernels.statistics._lines import along, table_extremes
from mmapio.kernels.statistics.dates import dated, extremes, first_nat, same

__all__ = ["argmax", "argmin", "max", "min", "minmax"]


def _along(*greatest: bool) -> Callable[..., Any]:
    """Return what finds extremes along an axis of a small array: one, or both."""
    if len(greatest) == 1:
        [which] = greatest
        return along(lambda row, table: table_extremes(row, table, which))
    return along(lambda row, table: tuple(table_extremes(row, table, which) for which in greatest))


@shortly(lone_range, SEEN, along=_along(False, True))
@noticing
@dated(extremes)
def minmax(
    a: Any,
    axis: Axis = None,
    *,
    threads: int | None = None,
    progress: bool = False,
    drop_behind: bool = False,
) -> tuple[Any, Any]:
    """Return the least and the greatest item of an array, in one pass.

    Parameters
    ----------
    a : array_like
        Of bool, integers or floats of at most 64 bits, dates or periods (datetime64, timedelta64),
        in any shape, layout and byte order.
    axis, threads, progress, drop_behind
        As for `sum`.

    Returns
    -------
    tuple of two bool, int, float or numpy.ndarray
        Both are NaN if any item is, as numpy's `min` and `max` are (`describe` leaves NaNs out).
        Along some axes, arrays of the array's own type.

    Raises
    ------
    ArgumentError
        If there are no items, or `axis` or `threads` is out of range.
    ArgumentTypeError
        If the dtype is none of these.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> kernels.minmax(np.array([[3, 1], [2, 9]], ">i4"))
    (1, 9)
    >>> kernels.minmax([[3.0, 1.0], [2.0, 9.0]], axis=0)
    (array([2., 1.]), array([3., 9.]))
    >>> import numba
    >>> @numba.njit
    ... def scaled(a):
    ...     lo, hi = kernels.minmax(a)
    ...     return (a - lo) / (hi - lo)
    >>> scaled(np.array([1.0, 2.0, 5.0]))
    array([0.  , 0.25, 1.  ])
    """
    return _minmax("minmax", a, axis, scan_of(threads, progress, drop_behind))


@shortly(lone_extreme(False), SEEN, along=_along(False))
@noticing
@dated(lambda dates, _, *args, **options: minmax(dates.array, *args, **options)[0])
def min(
    a: Any,
    axis: Axis = None,
    *,
    threads: int | None = None,
    progress: bool = False,
    drop_behind: bool = False,
) -> Any:
    """Return the least item of an array.

    Parameters
    ----------
    a, axis, threads, progress, drop_behind
        As for `minmax`.

    Returns
    -------
    bool, int, float or numpy.ndarray
        As for `minmax`.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        As for `minmax`.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> kernels.min(np.array([3.0, -1.0])), kernels.min(np.array([3.0, np.nan]))
    (-1.0, nan)
    >>> import numba
    >>> @numba.njit
    ... def all_positive(a):
    ...     return kernels.min(a) > 0
    >>> all_positive(np.arange(3))
    False
    """
    return _minmax("min", a, axis, scan_of(threads, progress, drop_behind))[0]


@shortly(lone_extreme(True), SEEN, along=_along(True))
@noticing
@dated(lambda dates, _, *args, **options: minmax(dates.array, *args, **options)[1])
def max(
    a: Any,
    axis: Axis = None,
    *,
    threads: int | None = None,
    progress: bool = False,
    drop_behind: bool = False,
) -> Any:
    """Return the greatest item of an array.

    Parameters
    ----------
    a, axis, threads, progress, drop_behind
        As for `minmax`.

    Returns
    -------
    bool, int, float or numpy.ndarray
        As for `minmax`.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        As for `minmax`.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> kernels.max(np.array([[3, 1], [2, 9]]), axis=0)
    array([3, 9])
    >>> import numba
    >>> @numba.njit
    ... def normed(a):
    ...     return a / kernels.max(np.abs(a))
    >>> normed(np.array([1.0, -2.0]))
    array([ 0.5, -1. ])
    """
    return _minmax("max", a, axis, scan_of(threads, progress, drop_behind))[1]


@shortly(lone_place(False), SEEN, ordered=True)
@noticing
@dated(same)
def argmin(
    a: Any, *, threads: int | None = None, progress: bool = False, drop_behind: bool = False
) -> int:
    """Return where the least item of an array is first.

    Parameters
    ----------
    a, threads, progress, drop_behind
        As for `minmax`.

    Returns
    -------
    int
        An index into ``a.flat``, as numpy's `argmin` returns; that of the first NaN, if there is
        any. A table in F order is searched as it lies; any other array that is not C-ordered in
        the order of its indices, so it is copied through the cache piece by piece, and takes no
        `drop_behind`.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        As for `minmax`.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> kernels.argmin(np.array([[3, 1], [1, 9]]))
    1
    >>> import numba
    >>> @numba.njit
    ... def nearest(a, value):
    ...     return kernels.argmin(np.abs(a - value))
    >>> nearest(np.arange(5.0), 3.3)
    3
    """
    return _where("argmin", a, scan_of(threads, progress, drop_behind))


@shortly(lone_place(True), SEEN, ordered=True)
@noticing
@dated(first_nat(argmin))
def argmax(
    a: Any, *, threads: int | None = None, progress: bool = False, drop_behind: bool = False
) -> int:
    """Return where the greatest item of an array is first.

    Parameters
    ----------
    a, threads, progress, drop_behind
        As for `minmax`.

    Returns
    -------
    int
        As for `argmin`.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        As for `minmax`.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> kernels.argmax(np.array([[3, 1], [1, 9]])), kernels.argmax([1.0, np.nan, 2.0])
    (3, 1)
    >>> import numba
    >>> @numba.njit
    ... def peak(rows):
    ...     return [kernels.argmax(row) for row in rows]
    >>> peak(np.eye(3))
    [0, 1, 2]
    """
    return _where("argmax", a, scan_of(threads, progress, drop_behind))


def _minmax(function: str, a: Any, axis: Axis, how: Scan) -> tuple[Any, Any]:
    """Find both, or the one that is wanted in the place of both."""
    array = _filled(function, a, axis)
    dtype = array.dtype.newbyteorder("=")
    if (axes := reduced_axes(array, axis)) is not None:
        which = {"min": LEAST, "max": GREATEST}.get(function, BOTH)
        lo, hi = axis_extremes(array, axes, which, how)
        return lo.astype(dtype, copy=False), hi.astype(dtype, copy=False)
    if function == "minmax":
        return array_range(array, how)
    found = array_extreme(array, function == "max", how)
    return found, found


def _filled(function: str, a: Any, axis: Axis = None) -> NDArray[Any]:
    """Refuse what has no extremes."""
    array = numbers(function, a)
    axes = reduced_axes(array, axis)
    if not (array.size if axes is None else math.prod(array.shape[axis] for axis in axes)):
        raise ArgumentError(f"{function} of an array without items, of shape {array.shape}")
    return array


def _where(function: str, a: Any, how: Scan) -> int:
    array, greatest = _filled(function, a), function == "argmax"
    if has_columns(array):
        place = place_in_columns(array, greatest, how)
        if place is not None:
            return place
    return where_extreme(array, greatest, how)


# Inside kernels ---------------------------------------------------------------------------------


@inside(minmax)
def _minmax_inside(a: Any) -> Callable[..., Any]:
    is_bool = isinstance(item_type("minmax", a), types.Boolean)

    def impl(a: Any) -> Any:
        if not a.size:
            raise ArgumentError("minmax of an array without items")
        lo, hi = minmax_of(unordered_row_of(a))
        return lo, hi

    def impl_bool(a: Any) -> Any:
        lo, hi = minmax(a.view(np.uint8))
        return lo != 0, hi != 0

    return impl_bool if is_bool else impl


@inside(min)
def _min_inside(a: Any) -> Callable[..., Any]:
    is_bool = isinstance(item_type("min", a), types.Boolean)

    def impl(a: Any) -> Any:
        if not a.size:
            raise ArgumentError("min of an array without items")
        return extreme_of(unordered_row_of(a), False)

    return (lambda a: min(a.view(np.uint8)) != 0) if is_bool else impl


@inside(max)
def _max_inside(a: Any) -> Callable[..., Any]:
    is_bool = isinstance(item_type("max", a), types.Boolean)

    def impl(a: Any) -> Any:
        if not a.size:
            raise ArgumentError("max of an array without items")
        return extreme_of(unordered_row_of(a), True)

    return (lambda a: max(a.view(np.uint8)) != 0) if is_bool else impl


@inside(argmin)
def _argmin_inside(a: Any) -> Callable[..., Any]:
    item_type("argmin", a)

    def impl(a: Any) -> int:
        if not a.size:
            raise ArgumentError("argmin of an array without items")
        return place_of(row_of(a), False)

    return impl


@inside(argmax)
def _argmax_inside(a: Any) -> Callable[..., Any]:
    item_type("argmax", a)

    def impl(a: Any) -> int:
        if not a.size:
            raise ArgumentError("argmax of an array without items")
        return place_of(row_of(a), True)

    return impl
