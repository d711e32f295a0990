"""Many reads at once: the system calls of io_uring.

Sources: io_uring(7), io_uring_setup(2), io_uring_enter(2), and include/uapi/linux/io_uring.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from typing import Final

assert sys.platform == "linux"  # so that mypy passes over this file elsewhere

from ._posix import _libc, _raise_errno  # noqa: E402
from ._rings import RingPlan  # noqa: E402

__all__ = ["expect_random", "ring_enter", "ring_setup"]

_SYS_SETUP: Final = 425  # on every processor but alpha
_SYS_ENTER: Final = 426
_REQUESTS_FROM: Final = 0x1000_0000
_COMPLETION_BYTES: Final = 16
_GET_EVENTS: Final = 1
# One mapping for both rings, no completion is lost, and reads at an offset: Linux 5.6.
_NEEDED: Final = 1 | 2 | 8

_Params: Final = ctypes.c_char * 120
# Sizes and abilities, then the offsets of the parts of both rings.
_PARAMS: Final = struct.Struct("=2I12xI16x8I8x8I8x").unpack_from

# By index: an attribute would be the one object that others have given their own arguments to.
_setup: Final = _libc["syscall"]
_setup.restype = ctypes.c_long
_setup.argtypes = (ctypes.c_long, ctypes.c_uint, _Params)
_enter: Final = _libc["syscall"]
_enter.restype = ctypes.c_long
_enter.argtypes = (
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_uint,
    ctypes.c_uint,
    ctypes.c_uint,
    ctypes.c_void_p,
    ctypes.c_size_t,
)


def expect_random(fd: int) -> None:
    """Read what is asked for of an open file, and no more; see posix_fadvise(2)."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)


def ring_setup(entries: int) -> RingPlan:
    """Make a ring for so many requests, a power of two; ENOSYS where there is none."""
    params = _Params()
    fd = _setup(_SYS_SETUP, entries, params)
    if fd < 0:
        _raise_errno()
    found, room, features, *offsets = _PARAMS(params)
    head, tail, _, _, _, _, order, _, done_head, done_tail, _, _, _, done, _, _ = offsets
    if features & _NEEDED != _NEEDED:
        os.close(fd)
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    length = max(order + 4 * found, done + _COMPLETION_BYTES * room)
    parts = head, tail, order, done_head, done_tail, done
    return RingPlan(fd, found, room, length, _REQUESTS_FROM, *parts)


def ring_enter(fd: int, submit: int, wait: int) -> int:
    """Hand over requests, and wait until so many completions lie there; return how many it took."""
    taken: int = _enter(_SYS_ENTER, fd, submit, wait, _GET_EVENTS, None, 0)
    if taken < 0:
        _raise_errno()
    return taken
