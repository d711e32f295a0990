"""Any array as a row of native, contiguous, one-dimensional pieces."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pieces"]

_DIRECT_BYTES = 4 << 20
_COPIED_ITEMS = 1 << 16


class Pieces:
    """Cuts an array into pieces in the order of its memory, which no statistic depends on.

    What lies in one native stretch is cut into views. Anything else is copied piece by piece
    into a buffer that stays in the cache, where the same kernels read it.

    Parameters
    ----------
    array : numpy.ndarray
        Of any shape, strides, alignment and byte order.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.kernels._layout import Pieces
    >>> pieces = Pieces(np.arange(6, dtype=">i4").reshape(2, 3).T)
    >>> len(pieces), pieces.take(0, pieces.buffer())
    (1, array([0, 1, 2, 3, 4, 5], dtype=int32))
    """

    def __init__(self, array: NDArray[Any]) -> None:
        array = _by_memory(np.asarray(array))
        self.dtype = array.dtype.newbyteorder("=")
        self.direct = bool(
            array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative
        )
        if self.direct:
            array = array.reshape(-1)
        self._array = array
        self.items = max(1, _DIRECT_BYTES // array.itemsize) if self.direct else _COPIED_ITEMS
        self._axis, self._rows = _cut(array.shape, self.items)
        self._per_axis = -(-array.shape[self._axis] // self._rows)

    def __len__(self) -> int:
        if not self._array.size:
            return 0
        return int(math.prod(self._array.shape[: self._axis]) * self._per_axis)

    def buffer(self) -> NDArray[Any]:
        """Return what `take` copies into; each thread needs its own."""
        return np.empty(0 if self.direct else self.items, self.dtype)

    def take(self, number: int, buffer: NDArray[Any]) -> NDArray[Any]:
        """Return a piece, read-only: kernels are compiled for that one kind of array."""
        outer, part = divmod(number, self._per_axis)
        where = np.unravel_index(outer, self._array.shape[: self._axis]) if self._axis else ()
        piece = self._array[where][part * self._rows : (part + 1) * self._rows]
        if not self.direct:
            flat = buffer[: piece.size]
            np.copyto(flat.reshape(piece.shape), piece)
            piece = flat
        piece = piece.view()
        piece.flags.writeable = False
        return piece


def _by_memory(array: NDArray[Any]) -> NDArray[Any]:
    """Turn axes and directions so that memory is walked upwards, in long stretches."""
    forward = tuple(slice(None, None, -1 if step < 0 else 1) for step in array.strides)
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    turned = array[forward].transpose(order)
    return turned if turned.ndim else turned.reshape(1)


def _cut(shape: tuple[int, ...], items: int) -> tuple[int, int]:
    """Return the axis to cut along and the rows of it that fit into a piece."""
    inner = 1
    for axis in range(len(shape) - 1, 0, -1):
        if inner * shape[axis] > items:
            return axis, max(1, items // inner)
        inner *= shape[axis]
    return 0, max(1, items // max(1, inner))
