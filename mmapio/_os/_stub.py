"""A platform that can do nothing: the package imports, and every call says so plainly."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedError
from ..modes import Access
from ._facts import CacheFacts, FileFacts
from ._memory import Advice, Area, Backing, LockLimit, MemoryUse

if TYPE_CHECKING:
    from typing_extensions import Buffer  # of collections.abc since Python 3.12

__all__ = [
    "CAN_MAP_PAST_END",
    "GRANULARITY",
    "HAS_FUTEX",
    "PAGE_SIZE",
    "PREFETCH_BYTES",
    "SYNC_NEEDS_FILE",
    "advise",
    "allocate",
    "backing",
    "cache_facts",
    "copy_contents",
    "copy_range",
    "cover",
    "drop_cached",
    "file_system",
    "futex_wait",
    "futex_wake",
    "identify",
    "identify_path",
    "lock",
    "lock_file",
    "lock_holder",
    "lock_limit",
    "map_anonymous",
    "map_file",
    "map_file_at",
    "mapped_by",
    "memory_use",
    "open_nameless",
    "prefetch",
    "publish_nameless",
    "punch_hole",
    "resident",
    "sees_cache",
    "smaps",
    "start_writeback",
    "sync",
    "sync_data",
    "sync_directory",
    "sync_file",
    "unlock",
    "unmap",
    "write_at",
]

PAGE_SIZE: Final = mmap.PAGESIZE
GRANULARITY: Final = mmap.ALLOCATIONGRANULARITY
CAN_MAP_PAST_END: Final = False
SYNC_NEEDS_FILE: Final = False
HAS_FUTEX: Final = False
PREFETCH_BYTES: Final = 0


def _refuse() -> NoReturn:
    raise UnsupportedError("this platform cannot map files; mmapio needs Linux, macOS or Windows")


def map_file(fd: int, offset: int, length: int, access: Access) -> int:
    """Refuse."""
    _refuse()


def map_file_at(fd: int, offset: int, address: int, length: int, access: Access) -> None:
    """Refuse."""
    _refuse()


def map_anonymous(length: int, huge: bool = False) -> int:
    """Refuse."""
    _refuse()


def cover(address: int, length: int, access: Access) -> None:
    """Refuse."""
    _refuse()


def unmap(address: int, length: int) -> None:
    """Refuse."""
    _refuse()


def sync(address: int, length: int) -> None:
    """Refuse."""
    _refuse()


def sync_file(fd: int) -> None:
    """Refuse."""
    _refuse()


def sync_data(fd: int) -> None:
    """Refuse."""
    _refuse()


def write_at(fd: int, data: Buffer, offset: int) -> int:
    """Refuse."""
    _refuse()


def lock_file(fd: int) -> bool:
    """Refuse."""
    _refuse()


def lock_holder(fd: int) -> int | None:
    """Refuse."""
    _refuse()


def sync_directory(path: str) -> None:
    """Refuse."""
    _refuse()


def futex_wait(address: int, expected: int, timeout_s: float) -> None:
    """Refuse."""
    _refuse()


def futex_wake(address: int) -> None:
    """Refuse."""
    _refuse()


def start_writeback(fd: int, offset: int, length: int) -> None:
    """Refuse."""
    _refuse()


def identify(fd: int) -> FileFacts:
    """Refuse."""
    _refuse()


def identify_path(path: str) -> FileFacts:
    """Refuse."""
    _refuse()


def allocate(fd: int, offset: int, length: int) -> None:
    """Refuse."""
    _refuse()


def open_nameless(directory: str) -> int | None:
    """Refuse."""
    _refuse()


def publish_nameless(fd: int, path: str) -> None:
    """Refuse."""
    _refuse()


def copy_contents(source: int, target: int, size: int) -> None:
    """Refuse."""
    _refuse()


def copy_range(source: int, start: int, target: int, at: int, length: int) -> None:
    """Refuse."""
    _refuse()


def advise(address: int, length: int, advice: Advice) -> None:
    """Refuse."""
    _refuse()


def resident(address: int, length: int) -> NDArray[np.uint8]:
    """Refuse."""
    _refuse()


def cache_facts(fd: int, offset: int, length: int) -> CacheFacts:
    """Refuse."""
    _refuse()


def sees_cache(fd: int) -> bool:
    """Refuse."""
    _refuse()


def backing(address: int, length: int) -> Backing:
    """Refuse."""
    _refuse()


def file_system(fd: int) -> str:
    """Refuse."""
    _refuse()


def mapped_by(fd: int) -> list[int]:
    """Refuse."""
    _refuse()


def memory_use(address: int, length: int) -> MemoryUse:
    """Refuse."""
    _refuse()


def smaps(address: int, length: int) -> list[Area]:
    """Refuse."""
    _refuse()


def drop_cached(fd: int, offset: int, length: int) -> None:
    """Refuse."""
    _refuse()


def prefetch(fd: int, offset: int, length: int) -> None:
    """Refuse."""
    _refuse()


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Refuse."""
    _refuse()


def lock(address: int, length: int) -> None:
    """Refuse."""
    _refuse()


def unlock(address: int, length: int) -> None:
    """Refuse."""
    _refuse()


def lock_limit() -> LockLimit:
    """Refuse."""
    _refuse()
