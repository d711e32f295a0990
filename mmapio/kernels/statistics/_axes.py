"""The axes that a reduction is along, with numpy's meaning."""

from __future__ import annotations

import operator
from typing import Any

from numpy.exceptions import AxisError
from numpy.typing import NDArray

from mmapio.errors import ArgumentError, ArgumentTypeError

__all__ = ["Axis", "reduced_axes"]

Axis = int | tuple[int, ...] | None


class OutOfRangeAxisError(ArgumentError, AxisError):
    """Raised for an axis that an array does not have; numpy's error as well."""

    def __init__(self, message: str) -> None:
        AxisError.__init__(self, message)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self),)


def reduced_axes(array: NDArray[Any], axis: Axis) -> tuple[int, ...] | None:
    """Check `axis`, and return the axes in rising order; None if it is the whole array."""
    if axis is None:
        return None
    given = axis if isinstance(axis, tuple) else (axis,)
    ndim = max(1, array.ndim)  # not in the loop: an error would keep the array, as its own variable
    found = sorted({_checked(one, ndim) for one in given})
    if len(found) < len(given):
        raise ArgumentError(f"axis {axis!r} names an axis twice")
    return tuple(found) if len(found) < array.ndim else None


def _checked(axis: Any, ndim: int) -> int:
    try:
        number = operator.index(axis)
    except TypeError:
        raise ArgumentTypeError(
            f"axis must be None, an integer or a tuple of integers, got {axis!r}"
        ) from None
    if not -ndim <= number < ndim:
        raise OutOfRangeAxisError(
            f"axis {number} is out of range for an array of {ndim} dimensions"
        )
    return number % ndim
