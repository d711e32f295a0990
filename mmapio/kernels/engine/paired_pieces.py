"""Two arrays of one shape as rows of native, contiguous, one-dimensional pieces."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from operator import mul
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine import pieces
from mmapio.kernels.engine.read_ahead import Window, require_following
from mmapio.kernels.engine.scan import Scan
from mmapio.kernels.engine.threads import run_workers
from mmapio.pagecache.memory_hints import memory_of

__all__ = ["PairedPieces", "visit_pairs"]

Visit = Callable[[int, NDArray[Any], NDArray[Any]], object]


class PairedPieces:
    """Pieces of two arrays of one shape: the same items of both.

    They are taken in the order of the first one's memory.

    Parameters
    ----------
    one, other : numpy.ndarray
        Of any strides, alignment and byte order.
    dtype : dtype
        What pieces of `other` are converted to.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.kernels.engine.paired_pieces import PairedPieces
    >>> table = np.arange(6).reshape(2, 3)
    >>> pairs = PairedPieces(np.asfortranarray(table), -table, np.float64)
    >>> pairs.take(0, pairs.buffers())
    (array([0, 3, 1, 4, 2, 5]), array([ 0., -3., -1., -4., -2., -5.]))
    """

    def __init__(self, one: NDArray[Any], other: NDArray[Any], dtype: Any) -> None:
        order = sorted(range(one.ndim), key=lambda axis: -abs(one.strides[axis]))
        self._arrays = [np.atleast_1d(each.transpose(order)) for each in (one, other)]
        self.nbytes = one.nbytes + other.nbytes
        self._dtypes = [one.dtype.newbyteorder("="), np.dtype(dtype)]
        are_direct = all(
            array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned
            for array, dtype in zip(self._arrays, self._dtypes, strict=True)
        )
        self._items = pieces._DIRECT_BYTES // 8 if are_direct else pieces._COPIED_ITEMS
        self._shape = self._arrays[0].shape
        self._axis, self._rows = pieces.cut(self._shape, self._items)
        self._per_axis = -(-self._shape[self._axis] // self._rows)

    def __len__(self) -> int:
        if not self._arrays[0].size:
            return 0
        return int(math.prod(self._shape[: self._axis]) * self._per_axis)

    def buffers(self) -> list[NDArray[Any]]:
        """Return what `take` copies into; each thread needs its own."""
        return [np.empty(self._items, dtype) for dtype in self._dtypes]

    def take(self, number: int, buffers: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return a piece of each array, read-only."""
        one, other = (
            self._row(array, number, buffer)
            for array, buffer in zip(self._arrays, buffers, strict=True)
        )
        return one, other

    def _row(self, array: NDArray[Any], number: int, buffer: NDArray[Any]) -> NDArray[Any]:
        """Return a view where items lie in one native stretch, or else a copy."""
        outer, part = divmod(number, self._per_axis)
        where = np.unravel_index(outer, self._shape[: self._axis]) if self._axis else ()
        piece = array[where][part * self._rows : (part + 1) * self._rows]
        is_direct = piece.flags.c_contiguous and piece.flags.aligned
        if is_direct and piece.dtype == buffer.dtype:
            row = piece.reshape(-1).view()
        else:
            row = buffer[: piece.size]
            np.copyto(row.reshape(piece.shape), piece, casting="unsafe")
        row.flags.writeable = False
        return row

    def windows(self) -> list[Window]:
        """Return the windows of both, the parts of which must follow each other in memory."""
        for array in self._arrays:
            require_following(array, self._axis)
        return [Window(memory_of(array)) for array in self._arrays]

    @contextlib.contextmanager
    def passing(self, windows: list[Window], number: int) -> Iterator[None]:
        """Surround the work on a piece."""
        with contextlib.ExitStack() as stack:
            for window, array in zip(windows, self._arrays, strict=False):
                last = number + 1 == len(self)
                stop = memory_of(array).size if last else self._offset(array, number + 1)
                stack.enter_context(window.passing(self._offset(array, number), stop))
            yield

    def _offset(self, array: NDArray[Any], number: int) -> int:
        """Return how many bytes of an array's memory lie before a piece."""
        outer, part = divmod(number, self._per_axis)
        where = np.unravel_index(outer, self._shape[: self._axis]) if self._axis else ()
        return int(sum(map(mul, [*where, part * self._rows], array.strides)))


def visit_pairs(visit: Visit, pairs: PairedPieces, how: Scan) -> None:
    """Call `visit` with the number of each pair of pieces, and with the two."""
    windows = pairs.windows() if how.drop_behind else []

    def work(buffers: list[NDArray[Any]], number: int) -> None:
        with pairs.passing(windows, number):
            visit(number, *pairs.take(number, buffers))

    run_workers(
        len(pairs),
        pairs.buffers,
        work,
        threads=how.threads,
        progress=how.progress,
        nbytes=pairs.nbytes,
    )
