"""Dirty pages written piece by piece, before one call that would wait for all of them at once."""

from __future__ import annotations

import contextlib

from .. import _os
from .._pacing import PIECE_BYTES, paced

__all__ = ["write_back"]


def write_back(fd: int, start: int, stop: int) -> None:
    """Write what is dirty in a large range of a file, so that a sync has little left to wait for.

    A sync of it all is one system call, which Ctrl-C does not end. This promises nothing: what
    fails here fails again at the sync, which tells.
    """
    if stop - start <= PIECE_BYTES:
        return
    with contextlib.suppress(OSError):
        for low, high in paced(start, stop):
            _os.write_back(fd, low, high - low)
