"""Indices of rows, as users give them and as kernels take them."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmapio._validation import LARGEST
from mmapio.errors import ArgumentError, ArgumentTypeError, OutOfBoundsError
from mmapio.kernels.rows.copying import Numbers, normalize

__all__ = ["Numbers", "as_numbers", "outside", "row_numbers"]


def row_numbers(indices: Any, rows: int) -> tuple[Numbers, tuple[int, ...]]:
    """Return the numbers of rows that indices mean, in one line, and the shape of the indices."""
    flat, shape = as_numbers(indices)
    numbers = np.empty_like(flat)
    good = normalize(flat, rows, numbers)
    if good < flat.size:
        raise outside(np.asarray(indices).reshape(-1)[good], rows)
    return numbers, shape


def as_numbers(indices: Any) -> tuple[Numbers, tuple[int, ...]]:
    """Return indices as they are, in one line, and their shape."""
    try:
        found = np.asarray(indices)
    except ValueError as error:  # numpy's own, on lists of different lengths
        raise ArgumentError(f"indices cannot be made an array: {error}") from None
    if found.dtype.kind == "b":
        raise ArgumentTypeError(
            "indices must be integers, got a boolean mask; numpy.flatnonzero(mask) are its indices"
        )
    if not found.size and not isinstance(indices, np.ndarray | np.generic):
        found = found.astype(np.int64)  # numpy makes floats of an empty list
    if found.dtype.kind not in "iu":
        raise ArgumentTypeError(f"indices must be integers, got {found.dtype}")
    if found.dtype.kind == "u" and found.itemsize == 8:
        found = np.minimum(found, np.uint64(LARGEST))
    return np.ascontiguousarray(found, np.int64).reshape(-1), found.shape


def outside(index: object, rows: int) -> OutOfBoundsError:
    """Return the error for an index that no row has."""
    return OutOfBoundsError(f"index {index} is out of bounds for axis 0 with size {rows}")
