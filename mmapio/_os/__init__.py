"""The operating system: one function per system call, the same names on every platform.

Callers write ``_os.sync(...)``, through the package, so that tests can put a failing one in place.
"""

from __future__ import annotations

import os
import sys

if os.environ.get("MMAPIO_OS") == "stub":
    from ._stub import *
elif sys.platform == "linux":
    from ._linux import *
elif sys.platform == "win32":
    from ._windows import *
else:
    from ._posix import *
from ._facts import CacheFacts, FileFacts, Identity
from ._memory import Advice, Area, Backing, LockLimit, MemoryUse

__all__ = [
    "CAN_MAP_PAST_END",
    "GRANULARITY",
    "HAS_FUTEX",
    "PAGE_SIZE",
    "PREFETCH_BYTES",
    "SYNC_NEEDS_FILE",
    "Advice",
    "Area",
    "Backing",
    "CacheFacts",
    "FileFacts",
    "Identity",
    "LockLimit",
    "MemoryUse",
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
