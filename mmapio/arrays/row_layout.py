"""Layout of the rows of a growable array's file: their type and shape, and where they begin."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from .._validation import full_shape
from ..errors import ArgumentError, FormatError
from ..files.npy import NpyHeader
from ..modes import Mode

__all__ = ["RowLayout", "check_layout", "empty_file", "layout_of", "new_row_type"]


class RowLayout(NamedTuple):
    """Type and shape of a row, and the offset of the first one in the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    data_offset: int
    nbytes: int

    def end(self, count: int) -> int:
        """Return the offset in the file at which so many rows end."""
        return self.data_offset + count * self.nbytes


def layout_of(header: NpyHeader, name: str) -> RowLayout:
    """Return the layout of the rows of a file, which must be able to grow in number."""
    if header.shape == ():
        raise FormatError(f"{name} holds a single item, which has no first axis to grow along")
    if header.fortran_order and len(header.shape) > 1:
        raise FormatError(
            f"{name} is in Fortran order, where rows are not in one piece: save it in C order"
        )
    nbytes = prod(header.shape[1:]) * header.dtype.itemsize
    layout = RowLayout(header.dtype, header.shape[1:], header.data_offset, nbytes)
    if nbytes == 0:
        raise FormatError(
            f"{name} has rows of shape {layout.shape}, of no bytes, which cannot grow"
        )
    return layout


def empty_file(name: str) -> FormatError:
    """Return the error for a file that has nothing in it, not even a header."""
    return FormatError(f"{name} is empty, not a .npy file; mode 'a+' with dtype=... begins one")


def new_row_type(
    mode: Mode, dtype: np.dtype[Any] | None, shape: tuple[int, ...] | None
) -> tuple[np.dtype[Any], tuple[int, ...]] | None:
    """Return dtype and shape of the rows of a new file; None if no file is to be created."""
    if not mode.creates or (dtype is None and mode is Mode.OPEN_OR_CREATE):
        return None
    if dtype is None:
        raise ArgumentError(f"mode {mode.value!r} creates a file and needs the dtype of its items")
    full = full_shape((*(shape or ()), *dtype.shape), dtype.base.itemsize)
    if 0 in full:
        raise ArgumentError(f"rows of shape {full} have no bytes, and cannot grow in number")
    return dtype.base, full


def check_layout(
    layout: RowLayout, dtype: np.dtype[Any] | None, shape: tuple[int, ...] | None, path: str
) -> None:
    """Raise an error if rows have another type or shape than was asked for."""
    if dtype is not None and dtype.base != layout.dtype:
        raise FormatError(f"{path!r} has dtype {layout.dtype}, not {dtype}")
    inner = dtype.shape if dtype is not None else ()
    if shape is not None and (*shape, *inner) != layout.shape:
        raise FormatError(f"{path!r} has rows of shape {layout.shape}, not {(*shape, *inner)}")
