"""Atomic cells in the bytes of a mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._validation import as_count, as_dtype
from ..errors import MisalignedError
from .mapped_bytes import MappedContent

if TYPE_CHECKING:  # numpy.typing is slow to import, and atomics import numba
    import numpy.typing as npt

    from ..atomics import AtomicArray, AtomicCell

__all__ = ["AtomicContent"]


class AtomicContent(MappedContent):
    """Bytes that threads and processes may change at once: the part of `MappedFile` for that."""

    __slots__ = ()

    def atomic(self, offset: int, dtype: npt.DTypeLike) -> AtomicCell:
        """Return one number of the mapping as a cell that changes in one step.

        Parameters
        ----------
        offset : int
            Its first byte: in memory, a multiple of its size.
        dtype : dtype_like
            Bool, an integer of 8 to 64 bits, float32 or float64, in this machine's byte order.

        Returns
        -------
        mmapio.atomics.AtomicCell
            Its methods cost about what an empty Python function costs. While it lives, so does the
            memory. Of a copy-on-write mapping (mode ``c``), what it stores stays private.

        Raises
        ------
        OutOfBoundsError
            If the number does not lie within the mapping.
        MisalignedError
            If it does not lie at a multiple of its own size.
        ReadOnlyError
            By every method but `load`, if the mapping is read-only.
        ArgumentError, ArgumentTypeError
            If the dtype has no atomic operations.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.anonymous(64)
        >>> hits = m.atomic(8, "u8")
        >>> hits.fetch_add(2), hits.value
        (0, 2)
        """
        from ..atomics import AtomicCell

        return AtomicCell(self._cells(offset, 1, dtype), 0)

    def atomic_array(self, offset: int, count: int, dtype: npt.DTypeLike) -> AtomicArray:
        """Return numbers that lie one after another in the mapping as cells; see `atomic`.

        Parameters
        ----------
        offset : int
            First byte of the first one: in memory, a multiple of its size.
        count : int
            How many.
        dtype : dtype_like
            As for `atomic`.

        Returns
        -------
        mmapio.atomics.AtomicArray
            Its methods take an index first.

        Raises
        ------
        OutOfBoundsError
            If the numbers do not lie within the mapping; and by every method, if the index is none
            of theirs.
        MisalignedError, ReadOnlyError, ArgumentError, ArgumentTypeError, ClosedError
            As for `atomic`.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.anonymous(64)
        >>> bins = m.atomic_array(16, 4, "u4")
        >>> bins.fetch_add(3, 5), bins.load(-1), len(bins)
        (0, 5, 4)
        """
        from ..atomics import AtomicArray

        return AtomicArray(self._cells(offset, as_count(count, "count"), dtype))

    def _cells(self, offset: int, count: int, dtype: npt.DTypeLike) -> np.ndarray[Any, Any]:
        """Return a view that has cells, or say what is wrong in terms of the mapping."""
        kind = as_dtype(dtype)
        view = self.view(offset, count * kind.itemsize, kind)
        past = view.ctypes.data % kind.itemsize
        if past and kind.kind in "biuf" and kind.itemsize <= 8:
            raise MisalignedError(
                f"an atomic {kind} must lie at a multiple of {kind.itemsize} bytes of memory; "
                f"offset {offset} of the mapping of {self._source.name} is {past} past one"
            )
        return view
