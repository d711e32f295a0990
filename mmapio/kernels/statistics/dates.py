"""Dates and periods as the integers that they are, in one place for all scans.

Kernels read the ticks of datetime64 and timedelta64: integers of 64 bits, of which the least is
NaT. What is found is made dates and periods of the same unit again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from mmapio._values.items import as_items
from mmapio.errors import ArgumentError, ArgumentTypeError
from mmapio.kernels.engine.pieces import Pieces, plain

__all__ = [
    "NAT",
    "Dates",
    "PresentPieces",
    "average",
    "dated",
    "dates_in",
    "deviation",
    "extremes",
    "first_nat",
    "rounded",
    "same",
    "ticks_of",
    "total",
    "truncated",
    "without_variance",
]

P = ParamSpec("P")
R = TypeVar("R")
Scanner = Callable[..., Any]

NAT = int(np.iinfo(np.int64).min)
_WRAP = 1 << 64


class Dates:
    """An array of dates or periods, and its ticks.

    Parameters
    ----------
    array : numpy.ndarray
        Of datetime64 or timedelta64, in any layout and byte order.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.kernels.statistics.dates import Dates
    >>> dates = Dates(np.array(["1970-01-03", "1970-01-02"], ">M8[D]"))
    >>> dates.ticks, dates.made_of(5), dates.periods_of(5)
    (array([2, 1], dtype='>i8'), np.datetime64('1970-01-06'), np.timedelta64(5,'D'))
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        self.ticks: NDArray[Any] = array.view(f"{array.dtype.str[0]}i8")
        self.dtype = array.dtype.newbyteorder("=")
        self.are_periods = array.dtype.kind == "m"

    def made_of(self, ticks: Any) -> Any:
        """Return dates or periods with these ticks: a scalar, or an array."""
        return np.asarray(ticks, np.int64).view(self.dtype)[()]

    def periods_of(self, ticks: Any) -> Any:
        """Return periods with these ticks, in the unit of the array."""
        period = np.dtype(self.dtype.str.replace("M8", "m8"))
        return np.asarray(ticks, np.int64).view(period)[()]

    def item(self, value: Any) -> int | None:
        """Return the ticks of the one item that equals a value, or None."""
        if getattr(value, "tzinfo", None) is not None:
            raise ArgumentTypeError(
                f"value has a time zone, {value!r}; convert it to UTC, and leave that out"
            )
        try:
            items = as_items(value, self.dtype, "value")
        except ArgumentTypeError:
            raise
        except ArgumentError:  # between two ticks, or beyond them
            return None
        if items.ndim:
            raise ArgumentTypeError(f"value must be a single one, got shape {items.shape}")
        ticks = int(items.view(np.int64))
        return None if ticks == NAT else ticks


def dates_in(a: Any) -> Dates | None:
    """Return dates and periods in an array or a list of them; None if there are others."""
    dtype = getattr(a, "dtype", None)
    if dtype is None and isinstance(a, list | tuple):
        first = a[0] if a else None
        dtype = getattr(first, "dtype", None)
    return Dates(plain(a)) if getattr(dtype, "kind", None) in ("m", "M") else None


def dated(rule: Callable[..., Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a scan of numbers take dates and periods as well.

    Parameters
    ----------
    rule : callable
        Called as ``rule(dates, function, *others, **options)`` where the first argument has dates:
        it calls the function with ticks, and makes dates of what that returns.

    Returns
    -------
    callable
        A decorator that keeps the type of what it decorates.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.kernels.statistics.dates import dated
    >>> @dated(lambda dates, function: dates.made_of(function(dates.ticks)))
    ... def last(a):
    ...     return a[-1]
    >>> last([3, 4]), last(np.array([3, 4], "m8[s]"))
    (4, np.timedelta64(4,'s'))
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def scan(*args: P.args, **kwargs: P.kwargs) -> R:
            a = args[0] if args else kwargs.get("a")
            dates = dates_in(a)
            if dates is None:
                return function(*args, **kwargs)
            options = {name: value for name, value in kwargs.items() if name != "a"}
            others = args[1:]
            return cast("R", rule(dates, function, *others, **options))

        return scan

    return decorate


# Rules ------------------------------------------------------------------------------------------


def same(dates: Dates, function: Scanner, *args: Any, **options: Any) -> Any:
    """Return what is found of ticks as it is: a number of items, or a place."""
    return function(dates.ticks, *args, **options)


def extremes(dates: Dates, function: Scanner, *args: Any, **options: Any) -> tuple[Any, Any]:
    """Return the first and the last date; both are NaT if any is."""
    lo, hi = (np.asarray(each) for each in function(dates.ticks, *args, **options))
    return dates.made_of(lo), dates.made_of(np.where(lo == NAT, lo, hi))


def first_nat(least: Scanner) -> Callable[..., Any]:
    """Return the rule of the place of the last date: that of the first NaT, if there is any."""

    def rule(dates: Dates, function: Scanner, **options: Any) -> Any:
        at = least(dates.ticks, **options)
        is_nat = int(dates.ticks.flat[at]) == NAT
        return at if is_nat else function(dates.ticks, **options)

    return rule


def total(least: Scanner) -> Callable[..., Any]:
    """Return the rule of the sum of periods, which wraps, and is NaT if any is."""

    def rule(dates: Dates, function: Scanner, *args: Any, **options: Any) -> Any:
        if not dates.are_periods:
            raise ArgumentTypeError(
                f"dates cannot be added, got {dates.dtype}; subtract one from all, or take the mean"
            )
        sums = function(dates.ticks, *args, **options)
        return dates.made_of(_or_nat(sums, least, dates, *args, **options))

    return rule


def average(least: Scanner, add: Scanner) -> Callable[..., Any]:
    """Return the rule of the mean: exact, and rounded towards zero, as numpy rounds periods."""

    def rule(dates: Dates, function: Scanner, *args: Any, **options: Any) -> Any:
        means = np.asarray(function(dates.ticks, *args, **options))
        if not dates.ticks.size:
            return dates.made_of(np.full(means.shape, NAT))
        sums = np.asarray(add(dates.ticks, *args, **options))
        count = dates.ticks.size // max(1, sums.size)
        found = ticks_of(
            _quotient(low, mean, count)
            for low, mean in zip(sums.reshape(-1).tolist(), means.reshape(-1).tolist(), strict=True)
        )  # others may have stored between two passes: then they do not belong together
        found = found.reshape(sums.shape)
        return dates.made_of(_or_nat(found, least, dates, *args, **options))

    return rule


def _quotient(low: int, mean: float, count: int) -> int:
    """Divide a sum, of which its low bits are known and, rounded, the mean."""
    near = int(mean) * count
    return truncated(low + round((near - low) / _WRAP) * _WRAP, count)


def truncated(total: int, count: int) -> int:
    """Divide, and round towards zero."""
    return total // count if total >= 0 else -(-total // count)


def without_variance(dates: Dates, _function: Scanner, *_args: Any, **_options: Any) -> Any:
    """Refuse what has no type."""
    raise ArgumentTypeError(
        f"the variance of {dates.dtype} has no type: it is in squared units; std is a period"
    )


def deviation(least: Scanner) -> Callable[..., Any]:
    """Return the rule of the standard deviation: a period, rounded, and NaT if any is."""

    def rule(dates: Dates, function: Scanner, *args: Any, ddof: int = 0, **options: Any) -> Any:
        found = rounded(function(dates.ticks, *args, ddof=ddof, **options))
        return dates.periods_of(_or_nat(found, least, dates, *args, **options))

    return rule


def rounded(values: Any) -> NDArray[np.int64]:
    """Return floats as ticks; NaT of what is none, or beyond 64 bits."""
    found = np.asarray(values)
    return np.where(np.abs(found) < -NAT, np.rint(found), NAT).astype(np.int64)


def _or_nat(found: Any, least: Scanner, dates: Dates, *args: Any, **options: Any) -> Any:
    """Return ticks; NaT where there is any."""
    if not dates.ticks.size:
        return found
    lowest = np.asarray(least(dates.ticks, *args, **options))
    return np.where(lowest == NAT, NAT, found)


# For `describe` ---------------------------------------------------------------------------------


class PresentPieces(Pieces):
    """Pieces of ticks without NaT, in copies, so that no NaT is stored after it was looked for."""

    def buffer(self) -> NDArray[Any]:
        """Return what `take` copies into."""
        return np.empty(self.items, self.dtype)

    def take(self, number: int, buffer: NDArray[Any]) -> NDArray[Any]:
        """Return the dates of a piece, read-only."""
        piece = super().take(number, buffer)
        if self.direct:
            buffer[: piece.size] = piece
            piece = buffer[: piece.size]
        if (piece == NAT).any():
            piece = piece[piece != NAT]
        piece.flags.writeable = False
        return piece

    def first(self) -> int:
        """Return one of the ticks; 0 if there are none."""
        buffer = self.buffer() if len(self) else np.empty(0)
        taken = (self.take(number, buffer) for number in range(len(self)))
        return next((int(piece[0]) for piece in taken if piece.size), 0)


def ticks_of(values: Iterable[Any]) -> NDArray[np.int64]:
    """Return integers as ticks, of which none is NaT or beyond 64 bits."""
    return np.array([max(NAT + 1, min(int(value), -NAT - 1)) for value in values], np.int64)
