"""Seals of `.npy` headers that change in place, so that a reader can tell one that it saw half.

A checksum of the text in front of it stands in the padding, where `.npy` wants white space: a tab,
then a blank or a tab for each bit.
"""

from __future__ import annotations

import functools
import time
from typing import Final

from .descriptors import read_at, size_of
from .npy import LARGEST_HEADER, MAGIC, NpyHeader, Read, plain_header, read_header

__all__ = ["SEAL_BITS", "is_sealed", "is_whole", "seal", "settled_header", "whole_header"]

SEAL_BITS: Final = 12
_SEALS: Final = 1 << SEAL_BITS
_PATIENCE_S: Final = 1.0  # with a header that is being written, which takes a microsecond
_FIRST_READ: Final = 256  # holds nearly every header whole
_WHITE: Final = bytes.maketrans(b"01", b" \t")


def seal(text: bytes) -> bytes:
    """Return the seal of a header's text, which ends with its last brace."""
    import zlib  # not at import: nearly no header that is read has a seal

    marked = zlib.crc32(text) % _SEALS + _SEALS  # its first bit, which is always set, is the tab
    return bin(marked)[2:].encode().translate(_WHITE)


def is_whole(header: bytes) -> bool:
    """Return True if a header was read whole, by its seal; headers of numpy have none."""
    if b"\t" not in header or not header.startswith(MAGIC):
        return True
    text = header.rstrip()
    return header.startswith(seal(text), len(text))


def is_sealed(header: bytes) -> bool:
    """Return True if a header is one that was made to grow, and whole."""
    return b"\t" in header and is_whole(header)


def whole_header(read: Read, size: int, start: bytes | None = None) -> tuple[NpyHeader, bytes]:
    """Return a header that another process may be writing: the old one or the new one, whole.

    The `start` of the file is read as well, unless the caller has done so.
    """
    if start is None:
        start = read(0, min(size, _FIRST_READ))
    raw, deadline_s = start[: _length(start)], 0.0
    if b"\t" not in raw:  # numpy's: nobody changes it in place
        known = plain_header(raw)
        if known is not None:
            return known, raw
        if start.find(b"\n", 12) > 0:
            header = read_header(lambda at, length: read(at, length) if at else start, size)
            return header, start[: header.data_offset]
    while True:
        raw = read(0, min(size, _FIRST_READ))
        length = min(_length(raw), size)
        raw = raw[:length] if length <= len(raw) else read(0, length)
        if is_whole(raw):
            break
        now_s = time.monotonic()
        deadline_s = deadline_s or now_s + _PATIENCE_S
        if now_s > deadline_s:
            break
        time.sleep(0)  # the writer may need this processor
    return read_header(functools.partial(_part, raw), len(raw)), raw


def settled_header(fd: int) -> tuple[NpyHeader, bytes, int]:
    """Return the header of a file that may be appended to, and the size that the file has by then.

    A header tells of rows that are there when it is written, so its size is taken after it. That is
    too small for the header only if the file is cut off: one that its writer has truncated in
    between has another header.
    """
    read, before = functools.partial(read_at, fd), b""
    while True:
        header, raw = whole_header(read, size_of(fd, None))
        size = size_of(fd, None)
        if size >= header.file_size or raw == before:
            return header, raw, size
        before = raw


def _length(start: bytes) -> int:
    """Return how long a header is by its first bytes."""
    if len(start) < 12 or not start.startswith(MAGIC):
        return min(len(start), 12)
    if start[6] < 2:
        return 10 + int.from_bytes(start[8:10], "little")
    length = int.from_bytes(start[8:12], "little")
    return 12 + length if length <= LARGEST_HEADER else 12  # which shows what is wrong


def _part(raw: bytes, offset: int, length: int) -> bytes:
    return raw[offset : offset + length]
