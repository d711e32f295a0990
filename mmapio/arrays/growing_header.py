"""Headers of `.npy` files that grow: the number of rows changes in place, by one write.

What may change lies within one sector of a drive, which a power loss leaves old or new. And it is
sealed, so that a reader that looks while it is being written can tell.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np

from .._validation import LARGEST, round_up
from ..errors import FormatError
from ..files.header_seal import SEAL_BITS, seal
from ..files.npy import encode_header

__all__ = ["GrowingHeader"]

_ALIGNMENT: Final = 64
_SECTOR: Final = 512
_MOST_DIGITS: Final = len(str(LARGEST))
_SHAPE: Final = b"'shape': ("
_FIELDS: Final = {1: struct.Struct("<H"), 2: struct.Struct("<I"), 3: struct.Struct("<I")}


class GrowingHeader:
    """The header of an array whose number of rows is still open.

    It is `length` bytes long; of a file that is there already, as long as the file's is, and
    `fits` tells whether there is room in that for any number of rows.
    """

    __slots__ = ("_after", "_before", "fits", "length")

    def __init__(
        self, dtype: np.dtype[Any], row_shape: tuple[int, ...], length: int | None = None
    ) -> None:
        raw = encode_header(dtype, (0, *row_shape))
        field = _FIELDS[raw[6]]
        before, _, after = raw.rstrip().rpartition(b"(0")
        before += b"("
        changing = _MOST_DIGITS + len(after) + 1 + SEAL_BITS
        if len(before) % _SECTOR + changing > _SECTOR:  # move it to the next sector
            before = before.removesuffix(_SHAPE)
            before += b" " * (-(len(before) + len(_SHAPE)) % _SECTOR) + _SHAPE
        if changing > _SECTOR:
            raise FormatError(f"rows of shape {row_shape} have too many dimensions to grow")
        needed = len(before) + changing + 1
        self.length = round_up(needed, _ALIGNMENT) if length is None else length
        described = self.length - 8 - field.size
        self.fits = needed <= self.length and described < 1 << 8 * field.size
        if self.fits:
            before = before[:8] + field.pack(described) + before[8 + field.size :]
        self._before = before
        self._after = after

    def encode(self, rows: int) -> bytes:
        """Return the header of an array of so many rows."""
        text = b"%b%d%b" % (self._before, rows, self._after)
        return (text + seal(text)).ljust(self.length - 1) + b"\n"
