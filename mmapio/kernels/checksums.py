"""CRC-32 in threads: checksums of pieces, combined into that of the whole."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmapio.errors import ArgumentTypeError
from mmapio.guard.lost_memory import noticing
from mmapio.kernels._crc32 import crc32
from mmapio.kernels.engine.pieces import Pieces, map_pieces, plain
from mmapio.kernels.engine.scan import scan_of
from mmapio.kernels.engine.short_way import seen_as, shortly

__all__ = ["checksum"]

_SEEN = seen_as(dict.fromkeys("?bhilqBHILQefd", "u1"))
_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31  # the coefficient of x ** 0 is the highest bit


def _lone_checksum(piece: NDArray[Any]) -> int | None:
    """Return the checksum of a row of items; None if they lie apart."""
    if not piece.flags.c_contiguous:
        return None
    data = piece.view(np.uint8)
    data.setflags(write=False)  # kernels are compiled for that one kind of array
    return crc32(data)


@shortly(lambda dtype, row: _lone_checksum, _SEEN, ordered=True)
@noticing
def checksum(
    a: Any, *, threads: int | None = None, progress: bool = False, drop_behind: bool = False
) -> int:
    """Return the CRC-32 of the bytes of an array, as gzip, zip and PNG files carry it.

    Parameters
    ----------
    a : array_like
        Of any dtype but object, in any shape and layout. Its bytes are taken as they are, in the
        order of indices: other byte orders or types have other checksums, other layouts have not.
    threads : int, optional
        By default ``MMAPIO_NUM_THREADS``, else the CPUs that this process may use.
    progress : bool
        Show a progress bar on a terminal (needs tqdm).
    drop_behind : bool
        Scan a file that is larger than memory: read ahead, and release behind the scan what was
        not in memory before; see `reduce_chunks`. Only of arrays in C order.

    Returns
    -------
    int
        From 0 to 2**32 - 1: what ``zlib.crc32(a.tobytes())`` returns.

    Raises
    ------
    ArgumentTypeError
        If the items are objects.
    ArgumentError
        If `threads` is out of range.

    Examples
    --------
    >>> import zlib
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> kernels.checksum(np.frombuffer(b"123456789", "u1")) == zlib.crc32(b"123456789")
    True
    """
    array, how = plain(a), scan_of(threads, progress, drop_behind)
    if array.dtype.hasobject:
        raise ArgumentTypeError(f"objects have no bytes of their own, got {array.dtype}")
    if not array.nbytes:
        return 0
    pieces = Pieces(array.view(f"V{array.itemsize}"), ordered=True)
    parts = map_pieces(lambda piece: (crc32(piece.view(np.uint8)), piece.nbytes), pieces, how)
    return functools.reduce(_combined, parts, (0, 0))[0]


def _combined(before: tuple[int, int], after: tuple[int, int]) -> tuple[int, int]:
    """Return the checksum and the length of two stretches of bytes (zlib's crc32_combine)."""
    (crc, length), (more, size) = before, after
    return _times(_power(size), crc) ^ more, length + size


@functools.lru_cache
def _power(nbytes: int) -> int:
    """Return ``x ** (8 * nbytes)``, which takes a checksum past so many bytes."""
    power, square = _ONE, _ONE >> 8
    while nbytes:
        if nbytes & 1:
            power = _times(power, square)
        square = _times(square, square)
        nbytes >>= 1
    return power


def _times(a: int, b: int) -> int:
    """Multiply two polynomials over GF(2), modulo that of CRC-32."""
    product = 0
    while a:
        if a & _ONE:
            product ^= b
        a = a << 1 & 2 * _ONE - 1
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product
