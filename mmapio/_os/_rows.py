"""Plan by which rows of an array are recognised, and appended to a file as they are."""

from __future__ import annotations

from math import prod
from struct import Struct
from typing import Any, Final, NamedTuple, Self

import numpy as np

__all__ = ["TAIL_BYTES", "RowPlan"]

TAIL_BYTES: Final = 64  # so many that were written last are told at the most

_words: Final = Struct("=QQQQQ")


class RowPlan(NamedTuple):
    """Plan by which rows are recognised: its words are what native code reads.

    `dtype` is the address of a dtype, `losses` that of a word which is not 0 once memory of a file
    was lost in this process, or 0. With `many` an array has one dimension more than a row.
    """

    dtype: int
    dimensions: int
    losses: int
    row_bytes: int
    many: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, dtype: np.dtype[Any], shape: tuple[int, ...], losses: int, many: bool) -> Self:
        """Return the plan for rows of a dtype, which must live as long, and a shape."""
        nbytes = dtype.itemsize * prod(shape)
        return cls(id(dtype), len(shape), losses, nbytes, int(many), shape)

    @classmethod
    def unpack(cls, words: bytes) -> Self:
        """Return the plan that was packed."""
        head, shape = words[: _words.size], words[_words.size :]
        dtype, dimensions, losses, row_bytes, many = _words.unpack(head)
        sizes = tuple(memoryview(shape).cast("Q"))
        return cls(dtype, dimensions, losses, row_bytes, many, sizes)

    def pack(self) -> bytes:
        """Return its words."""
        return _words.pack(*self[:5]) + b"".join(size.to_bytes(8, "little") for size in self.shape)
