"""Indices of rows, as users give them and as kernels take them."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmapio._validation import LARGEST, refuse_masks
from mmapio._values import as_array
from mmapio.errors import ArgumentTypeError, OutOfBoundsError
from mmapio.guard.lost_memory import raise_if_source_lost
from mmapio.kernels.rows.copying import Numbers, normalize

__all__ = ["Numbers", "row_numbers"]


def row_numbers(indices: Any, rows: int) -> tuple[Numbers, tuple[int, ...]]:
    """Return the numbers of rows that indices mean, in one line, and the shape of the indices."""
    flat, shape = _as_numbers(indices)
    numbers = np.empty_like(flat)
    good = normalize(flat, rows, numbers)
    raise_if_source_lost(indices)
    if good < flat.size:
        raise _outside(np.asarray(indices).reshape(-1)[good], rows)
    return numbers, shape


def _as_numbers(indices: Any) -> tuple[Numbers, tuple[int, ...]]:
    """Return indices as they are, in one line, and their shape."""
    refuse_masks(indices)
    found = as_array(indices, "indices")
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


def _outside(index: object, rows: int) -> OutOfBoundsError:
    """Return the error for an index that no row has."""
    return OutOfBoundsError(f"index {index} is out of bounds for axis 0 with size {rows}")
