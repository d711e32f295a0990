"""Indices of rows, as users give them and as kernels take them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmapio._validation import refuse_masks, steps
from mmapio._values import as_array
from mmapio.errors import ArgumentTypeError, OutOfBoundsError
from mmapio.guard.lost_memory import raise_if_source_lost
from mmapio.kernels.rows.copying import Numbers, normalize, strays

__all__ = ["Indices", "Numbers", "row_numbers"]

_BLOCK = 1 << 16
_INT64 = np.dtype(np.int64)


class Indices(NamedTuple):
    """Indices in one line, not checked yet; others may change them at any time."""

    given: Any
    flat: NDArray[Any]  # of int64 or uint64 as int64, or of what is still to be converted
    shape: tuple[int, ...]
    rows: int
    back: int  # what is added to those out of bounds: no number if they are unsigned
    is_direct: bool

    @classmethod
    def of(cls, given: Any, rows: int) -> Indices:
        """Look at indices as they were given, and refuse what are no integers."""
        if type(given) is np.ndarray and given.dtype is _INT64 and given.flags.carray:
            flat = given.reshape(-1) if given.ndim != 1 else given.view()
            flat.flags.writeable = False
            return cls(given, flat, given.shape, rows, rows, True)
        refuse_masks(given)
        found = as_array(given, "indices")
        kind = found.dtype.kind
        if kind == "b":
            raise ArgumentTypeError(
                "indices must be integers, got a boolean mask; numpy.flatnonzero(mask) are its"
                " indices"
            )
        if not found.size and not isinstance(given, np.ndarray | np.generic):
            found, kind = found.astype(np.int64), "i"  # numpy makes floats of an empty list
        if kind not in "iu":
            raise ArgumentTypeError(f"indices must be integers, got {found.dtype}")
        flat = found.reshape(-1)
        if flat.itemsize == 8:
            flat = flat.view(np.dtype(np.int64).newbyteorder(flat.dtype.byteorder))
        flags = flat.flags
        direct = flat.dtype == np.int64 and flags.c_contiguous and flags.aligned
        if direct:
            flat = flat.view()
            flat.flags.writeable = False
        return cls(given, flat, found.shape, rows, rows if kind == "i" else 0, direct)

    def apart_from(self, array: NDArray[Any]) -> Indices:
        """Return the same in memory of their own, if stores to an array could change them."""
        if not np.may_share_memory(self.flat, array):
            return self
        flat = self.flat.copy()
        flat.flags.writeable = False
        return self._replace(flat=flat)

    def part(self, first: int, last: int) -> tuple[Numbers, int, int]:
        """Return some as kernels take them: the array, and from where to where they lie in it."""
        if self.is_direct:
            return self.flat, first, last
        flat = self.flat[first:last].astype(np.int64)
        flat.flags.writeable = False
        return flat, 0, last - first

    def check(self) -> None:
        """Raise OutOfBoundsError for the first index that no row has."""
        for first, last in steps(0, self.flat.size, _BLOCK):
            flat, start, stop = self.part(first, last)
            if strays(flat[start:stop], self.rows, self.back):
                self.numbers()
        raise_if_source_lost(self.given)

    def sample(self, step: int) -> Iterator[int]:
        """Yield one number of a row out of so many, as far as they are in bounds."""
        for index in self.flat[::step].tolist():
            number = index if 0 <= index < self.rows else index + self.back
            if 0 <= number < self.rows:
                yield number

    def numbers(self) -> Numbers:
        """Return a copy that was checked: the numbers of rows that the indices mean."""
        numbers = np.empty(self.flat.size, np.int64)
        for first, last in steps(0, numbers.size, _BLOCK):
            flat, start, stop = self.part(first, last)
            good = normalize(flat[start:stop], self.rows, self.back, numbers[first:last])
            if good < last - first:
                raise_if_source_lost(self.given)
                raise self.outside(first + good)
        raise_if_source_lost(self.given)
        return numbers

    def outside(self, at: int) -> OutOfBoundsError:
        """Return the error for an index that no row has."""
        index = np.asarray(self.given).reshape(-1)[at]
        return OutOfBoundsError(f"index {index} is out of bounds for axis 0 with size {self.rows}")


def row_numbers(indices: Any, rows: int) -> tuple[Numbers, tuple[int, ...]]:
    """Return the numbers of rows that indices mean, in one line, and the shape of the indices."""
    found = Indices.of(indices, rows)
    return found.numbers(), found.shape
