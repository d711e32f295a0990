"""System calls of Windows, all of them in kernel32.

Sources, by the names of Microsoft's pages: CreateFileMappingW, MapViewOfFileEx, UnmapViewOfFile,
FlushViewOfFile, FlushFileBuffers, VirtualAlloc, VirtualFree, VirtualQuery,
MEMORY_BASIC_INFORMATION, SetFileInformationByHandle, FILE_END_OF_FILE_INFO,
GetFileInformationByHandleEx, FILE_STANDARD_INFO, "Memory Protection Constants",
PrefetchVirtualMemory, WIN32_MEMORY_RANGE_ENTRY, VirtualLock, VirtualUnlock,
GetProcessWorkingSetSize, QueryWorkingSetEx,
PSAPI_WORKING_SET_EX_BLOCK.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import msvcrt
import os
import sys
from ctypes.wintypes import BOOL, DWORD, HANDLE, LPCWSTR, LPVOID
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..modes import Access
from ._facts import CacheFacts, FileFacts
from ._memory import Advice, Area, Backing, LockLimit, MemoryUse
from ._rings import FilePlace, RingPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray  # slow to import
    from typing_extensions import Buffer  # of collections.abc since Python 3.12

assert sys.platform == "win32"  # so that mypy passes over this file elsewhere

PAGE_SIZE: Final = mmap.PAGESIZE
GRANULARITY: Final = mmap.ALLOCATIONGRANULARITY
CAN_MAP_PAST_END: Final = False
# Past the end of any file: a lock keeps others from the bytes that it is on.
_LOCKED_BYTE: Final = 0x7FFF_0000
# FlushViewOfFile starts the writing; only FlushFileBuffers waits for the drive.
SYNC_NEEDS_FILE: Final = True
PREFETCH_BYTES: Final = 0
# WaitOnAddress wakes the threads of one process only.
HAS_FUTEX: Final = False

_PAGE_READONLY: Final = 0x02
_PAGE_READWRITE: Final = 0x04
_PAGE_WRITECOPY: Final = 0x08
_FILE_MAP_COPY: Final = 0x1
_FILE_MAP_WRITE: Final = 0x2
_FILE_MAP_READ: Final = 0x4
_MEM_COMMIT_RESERVE: Final = 0x1000 | 0x2000
_MEM_RELEASE: Final = 0x8000
_MEM_MAPPED: Final = 0x40000
_WINDOW_BYTES: Final = 64 << 20  # asked for at a time: 16 bytes of each page
_FILE_STANDARD_INFO: Final = 1
_FILE_END_OF_FILE_INFO: Final = 6
_ERROR_NOT_LOCKED: Final = 158
_ERROR_WORKING_SET_QUOTA: Final = 1453

# What the section must allow, and what the view of it.
_FILE_PROTECTION: Final = {
    Access.READ: (_PAGE_READONLY, _FILE_MAP_READ),
    Access.WRITE: (_PAGE_READWRITE, _FILE_MAP_READ | _FILE_MAP_WRITE),
    Access.COPY: (_PAGE_WRITECOPY, _FILE_MAP_COPY),
}

_kernel32: Final = ctypes.WinDLL("kernel32", use_last_error=True)


def _function(name: str, result: Any, *arguments: Any) -> Any:
    found = getattr(_kernel32, name)
    found.restype, found.argtypes = result, arguments
    return found


_SIZE: Final = ctypes.c_size_t
_create_file_mapping: Final = _function(
    "CreateFileMappingW", HANDLE, HANDLE, LPVOID, DWORD, DWORD, DWORD, LPCWSTR
)
_map_view: Final = _function("MapViewOfFileEx", LPVOID, HANDLE, DWORD, DWORD, DWORD, _SIZE, LPVOID)
_unmap_view: Final = _function("UnmapViewOfFile", BOOL, LPVOID)
_flush_view: Final = _function("FlushViewOfFile", BOOL, LPVOID, _SIZE)
_virtual_alloc: Final = _function("VirtualAlloc", LPVOID, LPVOID, _SIZE, DWORD, DWORD)
_virtual_free: Final = _function("VirtualFree", BOOL, LPVOID, _SIZE, DWORD)
_virtual_query: Final = _function("VirtualQuery", _SIZE, LPVOID, LPVOID, _SIZE)
_flush_file: Final = _function("FlushFileBuffers", BOOL, HANDLE)
_get_information: Final = _function(
    "GetFileInformationByHandleEx", BOOL, HANDLE, ctypes.c_int, LPVOID, DWORD
)
_set_information: Final = _function(
    "SetFileInformationByHandle", BOOL, HANDLE, ctypes.c_int, LPVOID, DWORD
)
_prefetch: Final = _function("PrefetchVirtualMemory", BOOL, HANDLE, _SIZE, LPVOID, DWORD)
# Of psapi.h; since Windows 7 it lies in kernel32 by this name.
_query_working_set: Final = _function("K32QueryWorkingSetEx", BOOL, HANDLE, LPVOID, DWORD)
_virtual_lock: Final = _function("VirtualLock", BOOL, LPVOID, _SIZE)
_virtual_unlock: Final = _function("VirtualUnlock", BOOL, LPVOID, _SIZE)
_working_set_size: Final = _function("GetProcessWorkingSetSize", BOOL, HANDLE, LPVOID, LPVOID)
_memory_status: Final = _function("GlobalMemoryStatusEx", BOOL, LPVOID)
_close_handle: Final = _function("CloseHandle", BOOL, HANDLE)


class _MemoryInformation(ctypes.Structure):
    """MEMORY_BASIC_INFORMATION."""

    _fields_ = (
        ("base_address", LPVOID),
        ("allocation_base", LPVOID),
        ("allocation_protect", DWORD),
        ("region_size", _SIZE),
        ("state", DWORD),
        ("protect", DWORD),
        ("type", DWORD),
    )


class _MemoryRange(ctypes.Structure):
    """WIN32_MEMORY_RANGE_ENTRY."""

    _fields_ = (("address", LPVOID), ("size", _SIZE))


_THIS_PROCESS: Final = HANDLE(-1)


def _checked(result: Any) -> Any:
    """Return the result of a call that gives 0 or NULL when it fails."""
    if not result:
        raise ctypes.WinError(ctypes.get_last_error())
    return result


def map_file(fd: int, offset: int, length: int, access: Access) -> int:
    """Map `length` bytes of a file, from a multiple of GRANULARITY on; return the address."""
    return _map(fd, offset, length, access, None)


def map_file_at(fd: int, offset: int, address: int, length: int, access: Access) -> None:
    """Map a file over a range of pages that the caller owns: all of one mapping."""
    # For a moment the range is free for others, and then this fails. Placeholders
    # (MapViewOfFile3) would close the gap, but only for what was a placeholder from the first.
    unmap(address, length)
    _map(fd, offset, length, access, address)


def _map(fd: int, offset: int, length: int, access: Access, address: int | None) -> int:
    of_section, of_view = _FILE_PROTECTION[access]
    # No size: that of the file. A larger one would make a writable file grow.
    handle = msvcrt.get_osfhandle(fd)
    section = _checked(_create_file_mapping(handle, None, of_section, 0, 0, None))
    try:
        high, low = divmod(offset, 1 << 32)
        size = _without_rounding(fd, offset, length)
        found: int = _checked(_map_view(section, of_view, high, low, size, address))
        return found
    finally:
        _close_handle(section)  # the view keeps the section


def _without_rounding(fd: int, offset: int, length: int) -> int:
    """Return `length` less what lies past the file's end on its last page.

    A view must end within its section; the rest of that page, in zeros, is mapped all the same.
    """
    beyond = offset + length - os.fstat(fd).st_size
    return length - beyond if 0 < beyond < PAGE_SIZE else length


def map_anonymous(length: int, huge: bool = False) -> int:
    """Map zeroed memory; return the address."""
    # Nobody could share it: processes do not fork here. Large pages are for those alone who have
    # the right to lock memory (SeLockMemoryPrivilege).
    found: int = _checked(_virtual_alloc(None, length, _MEM_COMMIT_RESERVE, _PAGE_READWRITE))
    return found


def cover(address: int, length: int, access: Access) -> None:
    """Put private zero pages over a range of pages that the caller owns: all of one mapping."""
    # As in `map_file_at`, the range is free for a moment.
    unmap(address, length)
    protection = _PAGE_READONLY if access is Access.READ else _PAGE_READWRITE
    _checked(_virtual_alloc(address, length, _MEM_COMMIT_RESERVE, protection))


def unmap(address: int, length: int) -> None:
    """Give a mapped range of pages back: all of one mapping, a file's or not."""
    known = _MemoryInformation()
    _checked(_virtual_query(address, ctypes.byref(known), ctypes.sizeof(known)))
    if known.allocation_base != address:
        # UnmapViewOfFile would unmap all of the view that the address lies in.
        raise OSError(errno.EINVAL, "Windows cannot unmap a part of a mapping")
    if known.type == _MEM_MAPPED:
        _checked(_unmap_view(address))
    else:
        _checked(_virtual_free(address, 0, _MEM_RELEASE))


def map_code(code: bytes) -> int:
    """Map machine code, executable and not writable; return the address."""
    raise OSError(errno.ENOTSUP, "this system has no way to map code that mmapio knows")


def map_copied(fd: int, offset: int) -> int:
    """Map a page of a file of which this process has a copy, which it loses if the file is cut."""
    raise OSError(errno.ENOTSUP, "Windows lets nobody cut off a file that is mapped")


def is_copied(page: int) -> bool:
    """Return whether this process still has its copy of a page that `map_copied` has mapped."""
    raise OSError(errno.ENOTSUP, "Windows lets nobody cut off a file that is mapped")


def sync(address: int, length: int, failed: list[int]) -> None:
    """Hand the dirty pages of a range to the drive, `sync_file` waits; note in `failed` if not."""
    try:
        _checked(_flush_view(address, length))
    except OSError as error:
        failed.append(error.errno or 0)
        raise


def advise(address: int, length: int, advice: Advice) -> None:
    """Advise the system about a range that begins at a page."""
    if advice is Advice.WILLNEED:
        memory = _MemoryRange(address, length)
        _checked(_prefetch(_THIS_PROCESS, 1, ctypes.byref(memory), 0))
    elif advice in (Advice.DONTNEED, Advice.PAGEOUT):
        # To unlock what is not locked takes it out of the working set, Microsoft's page says.
        unlock(address, length)
    elif advice is not Advice.NORMAL:
        raise OSError(errno.ENOTSUP, f"Windows has nothing like MADV_{advice.name}")


def prefetch(fd: int, offset: int, length: int) -> None:
    """Start to read a range of a file into the cache: PREFETCH_BYTES at the most."""
    raise OSError(errno.ENOTSUP, "Windows reads ahead in memory that maps a file: by `advise`")


def expect_random(fd: int) -> None:
    """Read what is asked for of an open file, and no more; Windows takes no such advice."""


def drop_cached(fd: int, offset: int, length: int) -> None:
    """Drop the clean pages that lie in a range of a file, and that nobody maps, from the cache."""
    raise OSError(errno.ENOTSUP, "Windows drops nothing from its cache on request")


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Let a range of a file read zeros, and give back the blocks that lie in it."""
    raise OSError(errno.ENOTSUP, "no hole is punched on Windows")


def lock(address: int, length: int) -> None:
    """Read in the pages that hold a range, and keep them in memory."""
    if not _virtual_lock(address, length):
        code = ctypes.get_last_error()
        if code == _ERROR_WORKING_SET_QUOTA:
            raise OSError(errno.ENOMEM, "more than the minimum working set can hold")
        raise ctypes.WinError(code)


def unlock(address: int, length: int) -> None:
    """Let the system take the pages that hold a range; locks of one page do not add up."""
    if not _virtual_unlock(address, length):
        code = ctypes.get_last_error()
        if code != _ERROR_NOT_LOCKED:
            raise ctypes.WinError(code)


def lock_limit() -> LockLimit:
    """Return how many bytes this process may lock: a little less than its minimum working set."""
    least, most = _SIZE(), _SIZE()
    _checked(_working_set_size(_THIS_PROCESS, ctypes.byref(least), ctypes.byref(most)))
    return LockLimit(least.value, "SetProcessWorkingSetSize raises it")


def available_memory() -> int | None:
    """Return how many bytes of memory can be had: what is free, and what is cached."""
    # MEMORYSTATUSEX: its size, the load, then 7 sizes of which the second is the available memory.
    known = (ctypes.c_uint64 * 8)(64)
    _checked(_memory_status(known))
    return known[2]


def smaps(address: int, length: int) -> list[Area]:
    """Return the areas that a range lies in; none, for Windows does not report them."""
    return []


def is_resident(address: int) -> bool:
    """Return whether a page that begins at an address is in memory, as far as the system tells."""
    return False


def resident(address: int, length: int) -> NDArray[np.uint8]:
    """Return 1 for each page of a range that is in memory, else 0."""
    # QueryWorkingSetEx tells what is mapped, not what is in memory.
    raise OSError(errno.ENOTSUP, "Windows does not tell which pages are in memory")


def cache_facts(fd: int, offset: int, length: int) -> CacheFacts:
    """Return the cached pages of a range of a file; Windows does not report them."""
    raise OSError(errno.ENOTSUP, "Windows does not tell what its cache holds of a file")


def sees_cache(fd: int) -> bool:
    """Return True: no process may ask more about the page cache than another."""
    return True


def backing(address: int, length: int) -> Backing:
    """Return the backing of a range; Windows can neither unmap nor page out a part of it."""
    return Backing(shared=False, read_ahead_bytes=0)


def file_at(address: int, length: int) -> FilePlace | None:
    """Return which file a range maps; Windows reads no faster by its descriptor."""
    return None


def file_system(fd: int) -> str:
    """Return the kind of file system that a file lies in; Windows does not report it."""
    return ""


def mapped_by(fd: int) -> list[int]:
    """Return the processes that map a file; Windows does not report them."""
    return []


def address_space_left() -> int | None:
    """Return how many bytes this process may still map; None: there is no limit."""
    return None


def memory_use(address: int, length: int) -> MemoryUse:
    """Return how much of a range of pages is in the working set of this process."""
    mapped = 0
    for low in range(address, address + length, _WINDOW_BYTES):
        pages = -(-(min(low + _WINDOW_BYTES, address + length) - low) // PAGE_SIZE)
        # PSAPI_WORKING_SET_EX_INFORMATION: an address, and flags of which the first is Valid.
        known = np.zeros((pages, 2), np.uintp)
        known[:, 0] = low + np.arange(pages, dtype=np.uintp) * PAGE_SIZE
        _checked(_query_working_set(_THIS_PROCESS, known.ctypes.data, known.nbytes))
        mapped += int(np.count_nonzero(known[:, 1] & 1))
    return MemoryUse(mapped * PAGE_SIZE, None)


def sync_file(fd: int) -> None:
    """Make everything written to a file durable."""
    # os.fsync calls this too, but turns every error into EBADF.
    _checked(_flush_file(msvcrt.get_osfhandle(fd)))


def sync_data(fd: int) -> None:
    """Make what was written to a file durable, with its size but not the times of its inode."""
    sync_file(fd)


def write_at(fd: int, data: Buffer, offset: int) -> int:
    """Write bytes to a file from an offset on; return how many went there."""
    os.lseek(fd, offset, os.SEEK_SET)
    return os.write(fd, data)


def write_next(fd: int, data: Buffer) -> int:
    """Write bytes to a file from its own position on, and move that; return how many went there."""
    return os.write(fd, data)


def lock_file(fd: int) -> bool:
    """Lock a file until its descriptor, and all copies of that, are closed; False if it is."""
    os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    return True


def unlock_file(fd: int) -> None:
    """Unlock a file at once, rather than when the system thinks fit: LockFileEx's page."""
    os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
    msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)


def lock_holder(fd: int) -> int | None:
    """Return the process that locked a file; Windows does not report it."""
    return None


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    # Windows has no such call: NTFS keeps names in its own log.


def ring_setup(entries: int) -> RingPlan:
    """Make a ring for requests."""
    raise OSError(errno.ENOSYS, "only Linux has rings of requests")


def ring_enter(fd: int, submit: int, wait: int) -> int:
    """Hand over requests, and wait for completions."""
    raise OSError(errno.ENOSYS, "only Linux has rings of requests")


def futex_wait(address: int, expected: int, timeout_s: float) -> None:
    """Sleep while 32 bits of shared memory are as expected."""
    raise OSError(errno.ENOTSUP, "Windows has no futex between processes")


def futex_wake(address: int) -> None:
    """Wake all that sleep on an address."""
    raise OSError(errno.ENOTSUP, "Windows has no futex between processes")


def start_writeback(fd: int, offset: int, length: int) -> None:
    """Start to write the dirty pages of a range of a file, without waiting."""
    # Windows has no such call for a file, only for a view of it: `sync`.


def write_back(fd: int, offset: int, length: int) -> None:
    """Write the dirty pages of a range of a file and wait; that does not make them durable."""
    # Windows has no such call for a file, only for a view of it: `sync`.


def identify(fd: int) -> FileFacts:
    """Return the facts about an open file."""
    facts = os.fstat(fd)
    # Until Python 3.12 the time of birth goes by the name of st_ctime.
    born_s, born_ns = divmod(getattr(facts, "st_birthtime_ns", facts.st_ctime_ns), 10**9)
    return FileFacts(
        facts.st_mode,
        facts.st_ino,
        facts.st_size,
        _blocks(fd),
        born_s,
        born_ns,
        facts.st_dev,
        0,
    )


def identify_path(path: str) -> FileFacts:
    """Return the facts about the file at a path."""
    fd = os.open(path, os.O_RDONLY | os.O_BINARY)
    try:
        return identify(fd)
    finally:
        os.close(fd)


def _blocks(fd: int) -> int:
    """Return how many blocks of 512 bytes a file takes on the drive; 0 for what is no file."""
    # FILE_STANDARD_INFO: 24 bytes, the first 8 of them AllocationSize.
    known = (ctypes.c_int64 * 3)()
    handle = msvcrt.get_osfhandle(fd)
    found = _get_information(handle, _FILE_STANDARD_INFO, known, ctypes.sizeof(known))
    return known[0] // 512 if found else 0


def peek(fd: int, offset: int, length: int, wait: bool) -> bytes:
    """Return some bytes of a file; unless this waits, only what the drive need not be asked for."""
    return b""  # nobody can cut off a file that is mapped


def allocate(fd: int, offset: int, length: int) -> None:
    """Give a range of a file its blocks, growing the file; raise ENOSPC where there are none."""
    # A file without holes has its blocks up to its end; os.ftruncate would write zeros to them.
    end = offset + length
    if end > os.fstat(fd).st_size:
        size = ctypes.byref(ctypes.c_int64(end))
        handle = msvcrt.get_osfhandle(fd)
        _checked(_set_information(handle, _FILE_END_OF_FILE_INFO, size, 8))


def open_nameless(directory: str) -> int | None:
    """Return the descriptor of a new file that has no name yet; None where that is unknown."""
    return None


def publish_nameless(fd: int, path: str) -> None:
    """Give a nameless file its name; FileExistsError where the name is taken."""
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), path)


def copy_contents(source: int, target: int, size: int) -> None:
    """Copy `size` bytes from one open file to another, empty one."""
    copy_range(source, 0, target, 0, size)


def copy_range(source: int, start: int, target: int, at: int, length: int) -> None:
    """Copy a range of a file to another place of another; a source that shrinks ends the copy."""
    os.lseek(source, start, os.SEEK_SET)
    os.lseek(target, at, os.SEEK_SET)
    while length and (block := os.read(source, min(length, 1 << 20))):
        length -= len(block)
        while block:
            block = block[os.write(target, block) :]
