"""Ranges cut into pieces that are short in time, so that Ctrl-C and other threads need not wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

__all__ = ["PIECE_BYTES", "SMALL_BYTES", "paced"]

# Pages in the page cache are mapped and locked at some 10 GiB/s: 64 MiB take 6 ms, and what a call
# costs beside that is lost in it. From a slow drive they take longer, and the pieces get smaller.
PIECE_BYTES: Final = 64 << 20
# A range that one call may do, for which nothing need be asked first.
SMALL_BYTES: Final = 4 << 20
_FIRST_BYTES: Final = 8 << 20
# Pieces end where huge pages do, which a border in the middle would split.
_ALIGN_BYTES: Final = 2 << 20
_SHORT_S: Final = 0.02
_LONG_S: Final = 0.08


def paced(start: int, stop: int, most: int = PIECE_BYTES) -> Iterator[tuple[int, int]]:
    """Yield the bounds of consecutive ranges, as long as the last ones let them be in time.

    The time is that between two steps of the loop. `most` is how many bytes one has at the most.
    """
    step = min(_FIRST_BYTES, most)
    while start < stop:
        end = stop if stop - start <= step else (start + step) // _ALIGN_BYTES * _ALIGN_BYTES
        begin = time.monotonic()
        yield start, end
        took = time.monotonic() - begin
        start = end
        if took < _SHORT_S:
            step = min(2 * step, most)
        elif took > _LONG_S:
            step = max(step // 2, _ALIGN_BYTES)
