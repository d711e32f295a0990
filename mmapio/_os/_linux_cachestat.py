"""State of the Linux page cache, read without touching the data.

Sources: cachestat(2), a system call since Linux 6.5, and mm/filemap.c and mm/mincore.c of Linux
for who is told the truth.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

assert sys.platform == "linux"  # so that mypy passes over this file elsewhere

from ._facts import CacheFacts  # noqa: E402
from ._posix import PAGE_SIZE, _libc, _raise_errno  # noqa: E402

__all__ = ["cache_facts", "sees_cache"]

_SYS_CACHESTAT: Final = 451  # on every processor but alpha
_Range: Final = ctypes.c_uint64 * 2
_Counts: Final = ctypes.c_uint64 * 5

# By index: an attribute would be the one object that others have given their own arguments to.
_syscall: Final = _libc["syscall"]
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, _Range, _Counts, ctypes.c_uint)


def cache_facts(fd: int, offset: int, length: int) -> CacheFacts:
    """Return the cached pages of a range of a file; ENOSYS before Linux 6.5."""
    counts = _Counts()
    # A length of 0 would mean: up to the end.
    if length and _syscall(_SYS_CACHESTAT, fd, _Range(offset, length), counts, 0):
        _raise_errno()
    return CacheFacts(*(count * PAGE_SIZE for count in counts))


def sees_cache(fd: int) -> bool:
    """Return True if this process may ask how much of a file is cached.

    Since Linux 5.0 only who owns a file or may write to it is: to others mincore(2) says that all
    of it is, and cachestat(2) of newer kernels (seen with 6.18) EPERM.
    """
    user = os.geteuid()
    if user == 0 or user == os.fstat(fd).st_uid:
        return True
    return os.access(f"/proc/self/fd/{fd}", os.W_OK, effective_ids=True)
