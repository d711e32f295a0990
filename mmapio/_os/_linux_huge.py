"""Memory in huge pages on Linux.

Sources: madvise(2); the kernel's Documentation/admin-guide/mm/transhuge.rst.
"""

from __future__ import annotations

import functools
import sys

assert sys.platform == "linux"  # so that mypy passes over this file elsewhere

from ..modes import Access  # noqa: E402
from . import _posix  # noqa: E402

__all__ = ["map_anonymous"]


def map_anonymous(length: int, huge: bool = False) -> int:
    """Map zeroed memory that forked children share; return the address.

    `huge` lets it begin where a huge page can, which Linux sees to for files only.
    """
    step = _huge_page_bytes() if huge else 0
    if step == 0 or length < step:
        return _posix.map_anonymous(length)
    # Mapped anew in the middle of a larger range: of that itself, huge pages could begin only
    # where it does.
    start = _posix.map_anonymous(length + step)
    first = start + -start % step
    _posix._map(
        first,
        length,
        _posix._PROTECTION[Access.WRITE],
        _posix._SHARED_MEMORY | _posix._FIXED,
        -1,
        0,
    )
    for low, high in ((start, first), (first + length, start + length + step)):
        if low < high:
            _posix.unmap(low, high - low)
    return first


@functools.cache
def _huge_page_bytes() -> int:
    """Return how large huge pages are; 0 where there are none."""
    try:
        with open("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size") as size:
            return int(size.read())
    except OSError:
        return 0
