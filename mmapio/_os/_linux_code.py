"""Machine code in memory: never writable and executable at once.

Sources: mmap(2), mprotect(2), memfd_create(2), PR_SET_MDWE of prctl(2); SELinux' execmem. On
AArch64, Linux makes a page's instructions visible when it first becomes executable: __set_ptes in
arch/arm64/include/asm/pgtable.h calls __sync_icache_dcache.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import sys
from typing import Final

assert sys.platform == "linux"  # so that mypy passes over this file elsewhere

from ._posix import _ANONYMOUS, _PRIVATE, PAGE_SIZE, _libc, _map, _raise_errno, unmap  # noqa: E402

__all__ = ["map_code"]

_mprotect: Final = _libc.mprotect
_mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

_READ_WRITE: Final = mmap.PROT_READ | mmap.PROT_WRITE
_READ_EXECUTE: Final = mmap.PROT_READ | mmap.PROT_EXEC
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

_MFD_NOEXEC_SEAL: Final = 8
_NAME: Final = "mmapio-code"


def map_code(code: bytes) -> int:
    """Map machine code, executable and not writable; return the address."""
    # Some systems refuse that memory once written becomes executable, but not that a file does.
    for way in (_map_anonymous_code, _map_file_of_code):
        try:
            return way(code)
        except (OSError, AttributeError) as error:  # an old libc has no files in memory
            number = getattr(error, "errno", errno.ENOSYS)
    raise OSError(number, f"no memory for machine code can be had, {os.strerror(number)}")


def _map_anonymous_code(code: bytes) -> int:
    length = len(code) + -len(code) % PAGE_SIZE
    address = _map(None, length, _READ_WRITE, _PRIVATE | _ANONYMOUS, -1, 0)
    ctypes.memmove(address, code, len(code))
    try:
        if _mprotect(address, length, _READ_EXECUTE):
            _raise_errno()
    except OSError:
        unmap(address, length)
        raise
    return address


def _map_file_of_code(code: bytes) -> int:
    """Map a file in memory that nobody can change any more.

    Not the file on disk: if that is cut, or its server is gone, the code is as well.
    """
    fd = _new_file_in_memory()
    try:
        if os.write(fd, code) != len(code):
            raise OSError("no room for machine code")
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        return _map(None, len(code), _READ_EXECUTE, _PRIVATE, fd, 0)
    finally:
        os.close(fd)


def _new_file_in_memory() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:  # that it is not for execve, which systems may insist on
        return os.memfd_create(_NAME, flags | _MFD_NOEXEC_SEAL)
    except OSError:  # before Linux 6.3
        return os.memfd_create(_NAME, flags)
