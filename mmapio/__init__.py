"""Files as typed numpy arrays: in place, at memory speed, safe between threads and processes.

Examples
--------
>>> import mmapio
>>> a = mmapio.create("first.npy", (2, 3), "f8")
>>> a[:] = 1
>>> mmapio.open("first.npy").sum()
np.float64(6.0)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .arrays.mapped_array import MappedArray
from .arrays.memmap import memmap
from .arrays.opening import anonymous, create, open
from .durability.policy import FlushPolicy
from .errors import (
    AccessError,
    ArgumentError,
    ArgumentTypeError,
    ClosedError,
    DirectoryError,
    ExistingFileError,
    FileError,
    FlushError,
    FormatError,
    InsufficientMemoryError,
    InUseError,
    KernelError,
    LockedError,
    MappingLostError,
    MisalignedError,
    MissingExtraError,
    MissingFileError,
    MmapioError,
    OutOfBoundsError,
    ReadOnlyError,
    ReplacedError,
    UnsupportedError,
)
from .mapping.mapped_file import MappedFile
from .modes import Mode

if TYPE_CHECKING:  # what _HOMES says, for those who only read this
    from . import aio, atomics, kernels
    from .arrays.growable_array import GrowableArray
    from .files.conversion import to_npy, to_raw
    from .files.watch import Change, Watch
    from .files.whole_files import copy, delete, save
    from .mapping.reader import MappedReader
    from .mapping.segment import Segment
    from .pagecache.residency import Residency
    from .sharing.generation import Generation
    from .sharing.ring_buffer import RingBuffer
    from .sharing.seqlock import SeqLock
    from .sharing.sharded_counter import ShardedCounter

__version__ = "0.1.0"

__all__ = [
    "AccessError",
    "ArgumentError",
    "ArgumentTypeError",
    "Change",
    "ClosedError",
    "DirectoryError",
    "ExistingFileError",
    "FileError",
    "FlushError",
    "FlushPolicy",
    "FormatError",
    "Generation",
    "GrowableArray",
    "InUseError",
    "InsufficientMemoryError",
    "KernelError",
    "LockedError",
    "MappedArray",
    "MappedFile",
    "MappedReader",
    "MappingLostError",
    "MisalignedError",
    "MissingExtraError",
    "MissingFileError",
    "MmapioError",
    "Mode",
    "OutOfBoundsError",
    "ReadOnlyError",
    "ReplacedError",
    "Residency",
    "RingBuffer",
    "Segment",
    "SeqLock",
    "ShardedCounter",
    "UnsupportedError",
    "Watch",
    "aio",
    "anonymous",
    "atomics",
    "copy",
    "create",
    "delete",
    "kernels",
    "memmap",
    "open",
    "save",
    "to_npy",
    "to_raw",
]

# What opening an array does without is imported when it is first asked for: from here, or as a
# module of its own. Most of all numba, which costs more than all the rest.
_HOMES = {
    "Change": "files.watch",
    "Generation": "sharing.generation",
    "GrowableArray": "arrays.growable_array",
    "MappedReader": "mapping.reader",
    "Residency": "pagecache.residency",
    "RingBuffer": "sharing.ring_buffer",
    "Segment": "mapping.segment",
    "SeqLock": "sharing.seqlock",
    "ShardedCounter": "sharing.sharded_counter",
    "Watch": "files.watch",
    "copy": "files.whole_files",
    "delete": "files.whole_files",
    "save": "files.whole_files",
    "to_npy": "files.conversion",
    "to_raw": "files.conversion",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in _HOMES:
        return importlib.import_module(f".{name}", __name__)
    found = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
