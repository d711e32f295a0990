"""System calls of POSIX, with what macOS and the BSDs add; Linux takes most of them from here.

Sources: POSIX.1-2017 mmap(2), msync(2), mlock(2), posix_fallocate(3); macOS fcntl(2) and msync(2);
madvise(2) and mincore(2) of Linux, macOS and FreeBSD.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import resource
import struct
import sys
from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np

from ..modes import Access
from ._facts import CacheFacts, FileFacts, facts_of_stat
from ._memory import Advice, Area, Backing, LockLimit, MemoryUse
from ._rings import FilePlace, RingPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray  # slow to import
    from typing_extensions import Buffer  # of collections.abc since Python 3.12

assert sys.platform != "win32"  # so that mypy passes over this file there

PAGE_SIZE: Final = mmap.PAGESIZE
GRANULARITY: Final = mmap.ALLOCATIONGRANULARITY
CAN_MAP_PAST_END: Final = True
# msync hands the pages to the drive, but only F_FULLFSYNC makes a Mac's drive write them.
SYNC_NEEDS_FILE: Final = sys.platform == "darwin"
HAS_FUTEX: Final = False
PREFETCH_BYTES: Final = 1 << 20

_SHARED: Final = mmap.MAP_SHARED
_PRIVATE: Final = mmap.MAP_PRIVATE
_ANONYMOUS: Final = mmap.MAP_ANONYMOUS
# Not in the mmap module of Python 3.11; the values are those of <sys/mman.h>.
_FIXED: Final = 0x10
_NORESERVE: Final = {"linux": 0x4000, "darwin": 0x40}.get(sys.platform, 0)
_SHARED_MEMORY: Final = _SHARED | _ANONYMOUS | _NORESERVE
_MS_SYNC: Final = 4 if sys.platform == "linux" else 0x10
# Indexed by Access.
_PROTECTION: Final = (
    mmap.PROT_READ,
    mmap.PROT_READ | mmap.PROT_WRITE,
    mmap.PROT_READ | mmap.PROT_WRITE,
)
_FILE_FLAGS: Final = (_SHARED, _SHARED, _PRIVATE | _NORESERVE)
# What all have. By DONTNEED only Linux means what Advice says; the others take it for a hint.
_ADVICE: Final[dict[Advice, int]] = {
    Advice.NORMAL: 0,
    Advice.RANDOM: 1,
    Advice.SEQUENTIAL: 2,
    Advice.WILLNEED: 3,
    Advice.DONTNEED: 4,
    Advice.PAGEOUT: 4,
}
if sys.platform == "linux":
    _ADVICE[Advice.REMOVE] = 9
    _ADVICE[Advice.DONTFORK] = 10
    _ADVICE[Advice.DOFORK] = 11
    _ADVICE[Advice.MERGE] = 12
    _ADVICE[Advice.UNMERGE] = 13
    _ADVICE[Advice.HUGEPAGE] = 14
    _ADVICE[Advice.NOHUGEPAGE] = 15
    _ADVICE[Advice.COLD] = 20
    _ADVICE[Advice.PAGEOUT] = 21
    _ADVICE[Advice.POPULATE_READ] = 22
    _ADVICE[Advice.POPULATE_WRITE] = 23
    _ADVICE[Advice.COLLAPSE] = 25
# Of macOS; not in the fcntl module.
_F_PREALLOCATE: Final = 42
_F_RDADVISE: Final = 44
_F_PUNCHHOLE: Final = 99
_MS_INVALIDATE: Final = 2
_HOW_TO_LOCK_MORE: Final = (
    "`ulimit -l` shows the limit in KiB and raises it up to the hard limit, which root sets: by "
    "memlock in /etc/security/limits.conf, LimitMEMLOCK= of systemd, --ulimit memlock=-1 of Docker"
)

_libc: Final = ctypes.CDLL(None, use_errno=True)
_mmap: Final = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_longlong,
)
_munmap: Final = _libc.munmap
_munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_msync: Final = _libc.msync
_msync.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_madvise: Final = _libc.madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_mincore: Final = _libc.mincore
_mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
_mlock: Final = _libc.mlock
_mlock.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_munlock: Final = _libc.munlock
_munlock.argtypes = (ctypes.c_void_p, ctypes.c_size_t)

_OnePage: Final = ctypes.c_char * 1
_MAP_FAILED: Final = ctypes.c_void_p(-1).value


def _raise_errno() -> NoReturn:
    """Raise what the last call through ctypes left as its error."""
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code))


def _map(address: int | None, length: int, protection: int, flags: int, fd: int, at: int) -> int:
    found: int | None = _mmap(address, length, protection, flags, fd, at)
    if found is None or found == _MAP_FAILED:
        _raise_errno()
    return found


def map_file(fd: int, offset: int, length: int, access: Access) -> int:
    """Map `length` bytes of a file, from a multiple of GRANULARITY on; return the address."""
    return _map(None, length, _PROTECTION[access], _FILE_FLAGS[access], fd, offset)


def map_file_at(fd: int, offset: int, address: int, length: int, access: Access) -> None:
    """Map a file over a range of pages that the caller owns."""
    _map(address, length, _PROTECTION[access], _FILE_FLAGS[access] | _FIXED, fd, offset)


def map_anonymous(length: int, huge: bool = False) -> int:
    """Map zeroed memory that forked children share; return the address."""
    return _map(None, length, _PROTECTION[Access.WRITE], _SHARED_MEMORY, -1, 0)


def cover(address: int, length: int, access: Access) -> None:
    """Put private zero pages over a range of pages that the caller owns."""
    flags = _PRIVATE | _ANONYMOUS | _NORESERVE | _FIXED
    _map(address, length, _PROTECTION[access], flags, -1, 0)


def unmap(address: int, length: int) -> None:
    """Give a mapped range of pages back."""
    if _munmap(address, length):
        _raise_errno()


def map_code(code: bytes) -> int:
    """Map machine code, executable and not writable; return the address."""
    raise OSError(errno.ENOTSUP, "this system has no way to map code that mmapio knows")


def map_copied(fd: int, offset: int) -> int:
    """Map a page of a file of which this process has a copy, which it loses if the file is cut."""
    raise OSError(errno.ENOTSUP, "this system does not tell which pages are copies")


def is_copied(page: int) -> bool:
    """Return whether this process still has its copy of a page that `map_copied` has mapped."""
    raise OSError(errno.ENOTSUP, "this system does not tell which pages are copies")


def sync(address: int, length: int, failed: list[int]) -> None:
    """Write the dirty pages of a mapped range to the drive and wait; add to `failed` if that fails.

    The system tells of a failure once. It is noted in the same step, before a signal handler can
    sync once more, or raise, and nobody would know of it.
    """
    failed += filter(None, map(_msync, (address,), (length,), (_MS_SYNC,)))
    if failed:
        _raise_errno()


def advise(address: int, length: int, advice: Advice) -> None:
    """Advise the system about a range that begins at a page; see madvise(2)."""
    if advice not in _ADVICE:
        raise OSError(errno.ENOTSUP, f"this system has no MADV_{advice.name}")
    if _madvise(address, length, _ADVICE[advice]):
        _raise_errno()


def is_resident(address: int) -> bool:
    """Return whether a page that begins at an address is in memory, as far as the system tells."""
    page = _OnePage()
    return _mincore(address, PAGE_SIZE, page) == 0 and page.raw != b"\0"


def resident(address: int, length: int) -> NDArray[np.uint8]:
    """Return 1 for each page of a range that is in memory, else 0; see mincore(2).

    Linux says 1 of all pages of a file that this process neither owns nor may write to.
    """
    pages = ctypes.create_string_buffer(-(-length // PAGE_SIZE))
    if _mincore(address, length, pages):
        _raise_errno()
    # The other bits mean something on some systems only.
    return np.frombuffer(memoryview(pages), np.uint8) & np.uint8(1)


def prefetch(fd: int, offset: int, length: int) -> None:
    """Start to read a range of a file into the cache: PREFETCH_BYTES at the most."""
    if sys.platform == "darwin":
        # struct radvisory: offset, count.
        fcntl.fcntl(fd, _F_RDADVISE, struct.pack("qi4x", offset, length))
    else:
        os.posix_fadvise(fd, offset, length, os.POSIX_FADV_WILLNEED)


def cache_facts(fd: int, offset: int, length: int) -> CacheFacts:
    """Return the cached pages of a range of a file; POSIX does not report them."""
    raise OSError(errno.ENOTSUP, "this system does not tell what its page cache holds of a file")


def sees_cache(fd: int) -> bool:
    """Return True if this process may ask how much of a file is cached."""
    return True


def expect_random(fd: int) -> None:
    """Read what is asked for of an open file, and no more; only Linux takes that advice."""


def drop_cached(fd: int, offset: int, length: int) -> None:
    """Drop the clean pages that lie in a range of a file, and that nobody maps, from the cache."""
    if sys.platform != "darwin":
        os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)
        return
    # A Mac takes that from a mapping only.
    lead = offset % PAGE_SIZE
    address = map_file(fd, offset - lead, length + lead, Access.READ)
    try:
        if _msync(address, length + lead, _MS_INVALIDATE):
            _raise_errno()
    finally:
        unmap(address, length + lead)


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Let a range of a file read zeros, and give back the blocks that lie in it."""
    if sys.platform != "darwin":
        raise OSError(errno.ENOTSUP, "this system cannot punch holes into files")
    # struct fpunchhole: flags, reserved, offset, length; these last in whole blocks.
    block = os.fstatvfs(fd).f_frsize
    low, high = offset + -offset % block, (offset + length) // block * block
    if low < high:
        fcntl.fcntl(fd, _F_PUNCHHOLE, struct.pack("IIqq", 0, 0, low, high - low))
    edges = ((offset, low), (high, offset + length)) if low < high else ((offset, offset + length),)
    for start, stop in edges:
        os.pwrite(fd, bytes(stop - start), start)


def lock(address: int, length: int) -> None:
    """Read in the pages that hold a range, and keep them in memory; see mlock(2)."""
    if _mlock(address, length):
        _raise_errno()


def unlock(address: int, length: int) -> None:
    """Let the system take the pages that hold a range; locks of one page do not add up."""
    if _munlock(address, length):
        _raise_errno()


def lock_limit() -> LockLimit:
    """Return how many bytes this process may lock, by its soft limit; see getrlimit(2)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return LockLimit(None if soft == resource.RLIM_INFINITY else soft, _HOW_TO_LOCK_MORE)


def available_memory() -> int | None:
    """Return how many bytes of memory can be had; POSIX does not report it."""
    return None


def smaps(address: int, length: int) -> list[Area]:
    """Return the areas that a range lies in; none, for POSIX does not report them."""
    return []


def backing(address: int, length: int) -> Backing:
    """Return the backing of a range; POSIX does not report it."""
    return Backing(shared=False, read_ahead_bytes=0)


def file_at(address: int, length: int) -> FilePlace | None:
    """Return which file a range maps; POSIX does not report it."""
    return None


def file_system(fd: int) -> str:
    """Return the kind of file system that a file lies in; POSIX does not report it."""
    return ""


def mapped_by(fd: int) -> list[int]:
    """Return the processes that map a file; POSIX does not report them."""
    return []


def memory_use(address: int, length: int) -> MemoryUse:
    """Return how much of a range this process has mapped in; POSIX does not tell."""
    return MemoryUse(None, None)


def address_space_left() -> int | None:
    """Return how many bytes this process may still map, by its soft limit; None: no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    try:
        with open("/proc/self/statm", "rb") as sizes:  # proc_pid_statm(5): in pages
            return max(0, soft - int(sizes.read().split()[0]) * PAGE_SIZE)
    except OSError:  # how much is used is not told
        return soft


def sync_file(fd: int) -> None:
    """Make everything written to a file durable."""
    if sys.platform == "darwin":
        try:
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY):
                raise  # others come from file systems that have no such call: of a network, for one
    os.fsync(fd)


def sync_data(fd: int) -> None:
    """Make what was written to a file durable, with its size but not the times of its inode."""
    if sys.platform == "darwin":
        sync_file(fd)
    else:
        os.fdatasync(fd)


def write_at(fd: int, data: Buffer, offset: int) -> int:
    """Write bytes to a file from an offset on; return how many went there."""
    return os.pwrite(fd, data, offset)


def write_next(fd: int, data: Buffer) -> int:
    """Write bytes to a file from its own position on, and move that; return how many went there."""
    return os.write(fd, data)


def lock_file(fd: int) -> bool:
    """Lock a file until its descriptor, and all copies of that, are closed; False if it is."""
    # Not fcntl's locks, which a process loses when it closes any descriptor of the file.
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock_file(fd: int) -> None:
    """Unlock a file at once, whoever has copies of its descriptor, as a forked child does."""
    fcntl.flock(fd, fcntl.LOCK_UN)


def lock_holder(fd: int) -> int | None:
    """Return the process that locked a file; POSIX does not report it."""
    return None


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def ring_setup(entries: int) -> RingPlan:
    """Make a ring for requests."""
    raise OSError(errno.ENOSYS, "only Linux has rings of requests")


def ring_enter(fd: int, submit: int, wait: int) -> int:
    """Hand over requests, and wait for completions."""
    raise OSError(errno.ENOSYS, "only Linux has rings of requests")


def futex_wait(address: int, expected: int, timeout_s: float) -> None:
    """Sleep while 32 bits of shared memory are as expected."""
    raise OSError(errno.ENOTSUP, "this system has no futex between processes")


def futex_wake(address: int) -> None:
    """Wake all that sleep on an address."""
    raise OSError(errno.ENOTSUP, "this system has no futex between processes")


def start_writeback(fd: int, offset: int, length: int) -> None:
    """Start to write the dirty pages of a range of a file, without waiting."""
    # POSIX has no such call: pages go out when the system thinks fit.


def write_back(fd: int, offset: int, length: int) -> None:
    """Write the dirty pages of a range of a file and wait; that does not make them durable."""
    # POSIX has no such call: they are written by the one that makes them durable.


def identify(fd: int) -> FileFacts:
    """Return the facts about an open file."""
    return facts_of_stat(fd)


def identify_path(path: str) -> FileFacts:
    """Return the facts about the file at a path."""
    return facts_of_stat(path)


def peek(fd: int, offset: int, length: int, wait: bool) -> bytes:
    """Return some bytes of a file; unless this waits, only what the drive need not be asked for."""
    return os.pread(fd, length, offset) if wait else b""


def allocate(fd: int, offset: int, length: int) -> None:
    """Give a range of a file its blocks, growing the file; raise ENOSPC where there are none."""
    if sys.platform == "darwin":
        # struct fstore: flags F_ALLOCATEALL, position F_PEOFPOSMODE, offset, length, bytes got.
        missing = offset + length - os.fstat(fd).st_size
        if missing > 0:
            fcntl.fcntl(fd, _F_PREALLOCATE, struct.pack("IiqqQ", 4, 3, 0, missing, 0))
            os.ftruncate(fd, offset + length)
    else:
        os.posix_fallocate(fd, offset, length)


def open_nameless(directory: str) -> int | None:
    """Return the descriptor of a new file that has no name yet; None where that is unknown."""
    return None


def publish_nameless(fd: int, path: str) -> None:
    """Give a nameless file its name; FileExistsError where the name is taken."""
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), path)


def copy_contents(source: int, target: int, size: int) -> None:
    """Copy the first `size` bytes of an open file to an empty one."""
    copy_range(source, 0, target, 0, size)
    os.ftruncate(target, size)


def copy_range(source: int, start: int, target: int, at: int, length: int) -> None:
    """Copy a range of a file to another place of another; a source that shrinks ends the copy."""
    done = 0
    while done < length:
        block = os.pread(source, min(length - done, 1 << 20), start + done)
        if not block:
            return
        done += os.pwrite(target, block, at + done)
