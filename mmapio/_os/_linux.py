"""System calls of Linux, where it has better ones than POSIX.

Sources: statx(2), sync_file_range(2), open(2) on O_TMPFILE, ioctl_ficlone(2), lseek(2),
proc_pid_maps(5), proc_pid_pagemap(5), proc_locks(5), preadv2(2), sysfs-class-bdi,
futex(2), syscall(2).
"""

from __future__ import annotations

import bisect
import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import struct
import sys
from typing import Final

assert sys.platform == "linux"  # so that mypy passes over this file elsewhere

from ..modes import Access  # noqa: E402
from ._facts import FileFacts, facts_of_stat  # noqa: E402
from ._memory import Backing  # noqa: E402
from ._posix import PAGE_SIZE, _libc, _raise_errno, map_file, unmap  # noqa: E402
from ._posix import copy_range as _copy_by_hand  # noqa: E402
from ._rings import FilePlace  # noqa: E402

_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_STATX_BASIC_AND_BIRTH: Final = 0xFFF
_SYNC_FILE_RANGE_WRITE: Final = 2
_SYNC_FILE_RANGE_WRITE_AND_WAIT: Final = 7
_FICLONE: Final = 0x40049409
_COPY_BYTES: Final = 8 << 20  # 0.1 s of a slow drive

# The number of the system call, by processor: those of 64 bits, whose timespec is two of them.
_SYS_FUTEX: Final = {
    "x86_64": 202,
    "aarch64": 98,
    "loongarch64": 98,
    "ppc64le": 221,
    "riscv64": 98,
    "s390x": 238,
}.get(os.uname().machine if sys.maxsize > 1 << 32 else "", 0)
_FUTEX_WAIT: Final = 0
_FUTEX_WAKE: Final = 1
_ALL_SLEEPERS: Final = 0x7FFF_FFFF
HAS_FUTEX: Final = _SYS_FUTEX > 0

_HAS_PROC: Final = os.path.exists("/proc/self/fd")  # not in every chroot

_statx: Final = getattr(_libc, "statx", None)  # glibc before 2.28 has none
if _statx is not None:
    _statx.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_char_p,
    )
# The members of struct statx that FileFacts has, in its order.
_StatxBuffer: Final = ctypes.c_char * 256
_STATX_FIELDS: Final = struct.Struct("=28xH2xQQQ24xqI44xII").unpack_from
_facts: Final = functools.partial(tuple.__new__, FileFacts)  # in a third of the time of _make

_syscall: Final = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (
    ctypes.c_long,
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_uint,
    ctypes.c_char_p,
    ctypes.c_void_p,
    ctypes.c_uint,
)

_pread: Final = _libc.pread
_pread.restype = ctypes.c_ssize_t
_pread.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_longlong)

_sync_file_range: Final = _libc.sync_file_range
_sync_file_range.argtypes = (
    ctypes.c_int,
    ctypes.c_longlong,
    ctypes.c_longlong,
    ctypes.c_uint,
)


def identify(fd: int) -> FileFacts:
    """Return the facts about an open file."""
    buffer = _StatxBuffer()
    if _statx is None or _statx(fd, b"", _AT_EMPTY_PATH, _STATX_BASIC_AND_BIRTH, buffer):
        return facts_of_stat(fd)
    return _facts(_STATX_FIELDS(buffer))


def identify_path(path: str) -> FileFacts:
    """Return the facts about the file at a path."""
    buffer = _StatxBuffer()
    name = os.fsencode(path)
    if _statx is None or _statx(_AT_FDCWD, name, 0, _STATX_BASIC_AND_BIRTH, buffer):
        return facts_of_stat(path)  # which also raises the error, with the path in it
    return _facts(_STATX_FIELDS(buffer))


def backing(address: int, length: int) -> Backing:
    """Return the backing of a range."""
    shared, device = [], ""
    for area in _areas():
        bounds, permissions, _, device_here, _ = area.split(maxsplit=4)
        low, high = (int(bound, 16) for bound in bounds.split("-"))
        if low < address + length and address < high:
            shared.append(permissions.endswith("s"))
            device = device_here
    return Backing(bool(shared) and all(shared), _read_ahead(device) if device else 0)


def file_at(address: int, length: int) -> FilePlace | None:
    """Return which file, shared with others, all of a range maps, and from which offset on."""
    areas = _areas()  # by address
    at = bisect.bisect(areas, address, key=lambda area: int(area.partition("-")[0], 16)) - 1
    found, end = set(), address
    while end < address + length:
        if not 0 <= at < len(areas):
            return None
        bounds, permissions, offset, device, inode, *path = areas[at].rstrip("\n").split(maxsplit=5)
        low, high = (int(bound, 16) for bound in bounds.split("-"))
        # Of a path, the system writes a line feed and a backslash as octal numbers.
        if not low <= end < high or permissions[3] != "s" or not path or "\\" in path[0]:
            return None
        major, minor = (int(number, 16) for number in device.split(":"))
        found.add(FilePlace(path[0], major, minor, int(inode), int(offset, 16) + address - low))
        at, end = at + 1, high
    return found.pop() if len(found) == 1 else None


def _areas() -> list[str]:
    """Return the lines that tell of this process's mappings; none where /proc is missing."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            return maps.readlines()
    except OSError:
        return []


def _read_ahead(device: str) -> int:
    """Return how far the system reads ahead on a device; 0 where it does not tell."""
    numbers = ":".join(str(int(number, 16)) for number in device.split(":"))
    try:
        with open(f"/sys/class/bdi/{numbers}/read_ahead_kb") as setting:
            return int(setting.read()) << 10
    except OSError:
        return 0


def lock_holder(fd: int) -> int | None:
    """Return the process that locked a file; None where the system does not report it."""
    facts = os.fstat(fd)
    try:
        with open("/proc/locks") as locks:
            held = [line.split() for line in locks]
    except OSError:
        return None
    device = f"{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}:{facts.st_ino}"
    # "1: FLOCK ADVISORY WRITE 4711 fe:00:1234 0 EOF"; who waits has "->" in front.
    pids = [int(line[4]) for line in held if line[1] == "FLOCK" and line[5] == device]
    return next((pid for pid in pids if pid > 0), None)


def start_writeback(fd: int, offset: int, length: int) -> None:
    """Start to write the dirty pages of a range of a file, without waiting."""
    # msync(MS_ASYNC) would be the name for it, but Linux does nothing on that.
    if _sync_file_range(fd, offset, length, _SYNC_FILE_RANGE_WRITE):
        _raise_errno()


def write_back(fd: int, offset: int, length: int) -> None:
    """Write the dirty pages of a range of a file and wait; that does not make them durable."""
    # An error is told once to each that has opened the file, and `fd` is to hear it from a sync:
    # sync_file_range advances its position in what has failed (errseq in Linux' documentation).
    own = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _sync_file_range(own, offset, length, _SYNC_FILE_RANGE_WRITE_AND_WAIT):
            _raise_errno()
    finally:
        os.close(own)


def futex_wait(address: int, expected: int, timeout_s: float) -> None:
    """Sleep while 32 bits of shared memory are as expected; until woken, or for no reason."""
    seconds = int(timeout_s)
    wait = struct.pack("=qq", seconds, int((timeout_s - seconds) * 1e9))
    awake = _syscall(_SYS_FUTEX, address, _FUTEX_WAIT, expected, wait, None, 0) == 0
    if not awake and ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT):
        _raise_errno()


def futex_wake(address: int) -> None:
    """Wake all that sleep on an address, in any process."""
    if _syscall(_SYS_FUTEX, address, _FUTEX_WAKE, _ALL_SLEEPERS, None, None, 0) < 0:
        _raise_errno()


def map_copied(fd: int, offset: int) -> int:
    """Map a page of a file of which this process has a copy, which it loses if the file is cut."""
    page = map_file(fd, offset, PAGE_SIZE, Access.COPY)
    # The copy is made by storing to it; what the kernel stores can fail, and raises no signal.
    if _pread(fd, page, 1, offset) != 1:
        code = ctypes.get_errno() or errno.ENODATA
        unmap(page, PAGE_SIZE)
        raise OSError(code, os.strerror(code))
    return page


def is_copied(page: int) -> bool:
    """Return whether this process still has its copy of a page that `map_copied` has mapped."""
    fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        (entry,) = struct.unpack("=Q", os.pread(fd, 8, page // PAGE_SIZE * 8))
    finally:
        os.close(fd)
    in_memory, in_swap, is_of_file = entry >> 63 & 1, entry >> 62 & 1, entry >> 61 & 1
    return bool((in_memory or in_swap) and not is_of_file)


def peek(fd: int, offset: int, length: int, wait: bool) -> bytes:
    """Return some bytes of a file; unless this waits, only what the drive need not be asked for."""
    if wait:
        return os.pread(fd, length, offset)
    block = bytearray(length)
    try:
        os.preadv(fd, [block], offset, os.RWF_NOWAIT)
        return bytes(block)
    except (AttributeError, OSError):  # they are on the drive, or the file system cannot tell
        return b""


def open_nameless(directory: str) -> int | None:
    """Return the descriptor of a new file that has no name yet; None where that is unknown."""
    if not _HAS_PROC:
        return None
    try:
        return os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
            return None
        raise


def publish_nameless(fd: int, path: str) -> None:
    """Give a nameless file its name; FileExistsError where the name is taken."""
    # Only with a src_dir_fd does Python call linkat, which can follow the link in /proc.
    os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)


def copy_contents(source: int, target: int, size: int) -> None:
    """Copy the first `size` bytes to an empty file: sharing blocks if it can, holes stay holes."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(target, _FICLONE, source)
        os.ftruncate(target, size)
        return
    os.ftruncate(target, size)
    copy_range(source, 0, target, 0, size)


def copy_range(source: int, start: int, target: int, at: int, length: int) -> None:
    """Copy a range of a file to a hole of another: holes stay holes; see copy_file_range(2).

    A source that shrinks ends the copy.
    """
    shift, stop, end = at - start, start + length, start
    while (start := _seek(source, end, os.SEEK_DATA)) < stop:
        end = min(_seek(source, start, os.SEEK_HOLE), stop)
        _copy_in_kernel(source, start, target, start + shift, end - start)


def _seek(fd: int, at: int, what: int) -> int:
    """Return the offset of the next data, or hole; past the end of any file if there is none."""
    try:
        return os.lseek(fd, at, what)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return sys.maxsize
        raise


def _copy_in_kernel(source: int, start: int, target: int, at: int, length: int) -> None:
    """Copy a range without taking it through this process, where the kernel can."""
    done = 0
    try:
        while done < length:
            piece = min(length - done, _COPY_BYTES)  # between two of which Ctrl-C can come
            copied = os.copy_file_range(source, target, piece, start + done, at + done)
            if copied == 0:
                return
            done += copied
    except (AttributeError, OSError):  # between two file systems, in a sandbox, on an old libc
        _copy_by_hand(source, start + done, target, at + done, length - done)
