"""Headers of `.npy` files that grow: the number of rows changes in place, by one write.

What may change lies within one sector of a drive, which a power loss leaves old or new. And it is
sealed, so that a reader that looks while it is being written can tell: a checksum of the text in
front of it stands in the padding, where `.npy` wants white space: a tab, then a blank or a tab
for each bit.
"""

from __future__ import annotations

import functools
import struct
import time
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .._validation import LARGEST, round_up
from ..errors import FormatError
from ..files.npy import MAGIC, NpyHeader, encode_header, read_header

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

__all__ = ["GrowingHeader", "is_sealed", "is_whole", "whole_header"]

_ALIGNMENT: Final = 64
_SECTOR: Final = 512
_SEAL_BITS: Final = 12
_MOST_DIGITS: Final = len(str(LARGEST))
_PATIENCE_S: Final = 1.0  # with a header that is being written, which takes a microsecond
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
        changing = _MOST_DIGITS + len(after) + 1 + _SEAL_BITS
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
        return (text + _seal(text)).ljust(self.length - 1) + b"\n"


def is_whole(header: bytes) -> bool:
    """Return True if a header was read whole, by its seal; headers of numpy have none."""
    text = header.rstrip()
    if not header.startswith(MAGIC):
        return True
    if b"\t" not in header:
        return text.endswith(b"}")
    return header[len(text) :].startswith(_seal(text))


def is_sealed(header: bytes) -> bool:
    """Return True if a header is one that was made to grow, and whole."""
    return b"\t" in header and is_whole(header)


def _seal(text: bytes) -> bytes:
    bits = f"1{zlib.crc32(text) % (1 << _SEAL_BITS):0{_SEAL_BITS}b}"
    return bits.encode().translate(_WHITE)


_WHITE: Final = bytes.maketrans(b"01", b" \t")


def whole_header(data: npt.NDArray[np.uint8]) -> tuple[NpyHeader, bytes]:
    """Return a header that another process may be writing: the old one or the new one, whole."""
    deadline_s = 0.0
    while True:
        raw = data[: _length_of_header(data)].tobytes()
        now_s = time.monotonic()
        deadline_s = deadline_s or now_s + _PATIENCE_S
        if is_whole(raw) or now_s > deadline_s:
            return read_header(functools.partial(_part, raw), len(raw)), raw


def _length_of_header(data: npt.NDArray[np.uint8]) -> int:
    start = data[:12].tobytes()
    if len(start) < 12 or not start.startswith(MAGIC):
        return len(start)
    length = 10 + int.from_bytes(start[8:10], "little")
    if start[6] > 1:
        length = 12 + int.from_bytes(start[8:12], "little")
    return min(length, len(data))


def _part(raw: bytes, offset: int, length: int) -> bytes:
    return raw[offset : offset + length]
