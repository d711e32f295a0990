"""Requests to store values as a dtype, and the errors for values that do not fit it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

__all__ = ["TAKES", "Asked"]

_LONGEST: Final = 60  # characters of a value that a message shows
# The kinds of dtype that each kind takes values of, and what those are called.
TAKES: Final = {
    "b": ("biu", "booleans, 0 and 1"),
    "i": ("biu", "integers"),
    "u": ("biu", "integers"),
    "f": ("biuf", "integers and floats"),
    "c": ("biufc", "numbers"),
    "m": ("ium", "integers, and periods in days, seconds and so on or in months and years"),
    "M": ("M", "dates"),
    "S": ("SU", "texts"),
    "U": ("SU", "texts"),
    "V": ("SV", "bytes"),
}


class Asked(NamedTuple):
    """Values that are to be stored: as which dtype, by which name, and from which index on."""

    dtype: np.dtype[Any]
    name: str
    first: int = 0

    def place(self, shape: tuple[int, ...], at: int) -> str:
        """Name the item that is number `at` of a shape."""
        index = [int(i) for i in np.unravel_index(at, shape)] if shape else []
        if index:
            index[0] += self.first
        return f"{self.name}[{', '.join(map(str, index))}]" if index else self.name

    def refuse(self, given: npt.NDArray[Any], at: int, why: str) -> NoReturn:
        """Raise the error for a value that does not fit."""
        raise ArgumentError(
            f"{self.place(given.shape, at)} is {_shown(given, at)}, which does not fit dtype "
            f"{self.dtype}: {why}"
        )

    def refuse_kind(self, given: npt.NDArray[Any], at: int = 0) -> NoReturn:
        """Raise the error for a value of a kind that is not stored as the dtype's."""
        value = given.reshape(-1)[at]
        what = type(value).__name__ if given.dtype.hasobject else str(given.dtype)
        wanted = TAKES.get(self.dtype.kind, ("", "its own"))[1]
        if self.dtype.fields or self.dtype.isbuiltin == 2:
            wanted = "records" if self.dtype.fields else "numbers of its kind"
        raise ArgumentTypeError(
            f"{self.place(given.shape, at)} is {_shown(given, at)}, of type {what}, which does not "
            f"fit dtype {self.dtype}: it takes {wanted}; convert the values first"
        )


def _shown(given: npt.NDArray[Any], at: int) -> str:
    """Return one of some values as a message shows it: as users write it, and not at any length."""
    value = given.reshape(-1)[at]
    shown = repr(value.item() if given.dtype.kind in "biufcSU" else value)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
