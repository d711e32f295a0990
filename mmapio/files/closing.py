"""Closing of descriptors."""

from __future__ import annotations

import errno
import os

__all__ = ["close_file"]


def close_file(fd: int) -> None:
    """Close a descriptor that is open.

    It is closed whatever the system says: close(2). And what that may tell, that bytes were not
    written, a sync tells where they were to be durable; here it would be too late for anything.
    """
    try:
        os.close(fd)
    except OSError as error:
        if error.errno == errno.EBADF:  # a mistake of ours, which may close another's next time
            raise
