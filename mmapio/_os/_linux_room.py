"""Memory that this process can have on Linux, and how much of it may be locked.

Sources: proc_meminfo(5), proc_pid_status(5), capabilities(7), the kernel's
Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

assert sys.platform == "linux"  # so that mypy passes over this file elsewhere

from . import _posix  # noqa: E402
from ._memory import LockLimit  # noqa: E402

if TYPE_CHECKING:  # pathlib is slow to import
    from pathlib import Path

__all__ = ["available_memory", "lock_limit"]

_MEMORY: Final = "/proc/meminfo"
_STATUS: Final = "/proc/self/status"
_CAP_IPC_LOCK: Final = 1 << 14
# The files of a group: its limits, what it uses, and what of that is page cache, in memory.stat.
_FILES: Final = {
    1: (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_"),
    2: (("memory.max", "memory.high"), "memory.current", ""),
}
_NO_LIMIT: Final = 1 << 62


def available_memory() -> int | None:
    """Return how many bytes can be had without swapping, what is cached included; None: not told.

    That is what the machine has, or what the control groups of this process leave to it.
    """
    rooms = [*_fields(_MEMORY, "MemAvailable:"), *_rooms_of_groups()]
    return min(rooms) if rooms else None


def lock_limit() -> LockLimit:
    """Return how many bytes this process may lock, and has: who has CAP_IPC_LOCK has no limit."""
    limit = _posix.lock_limit()
    locked = next(_fields(_STATUS, "VmLck:"), 0)
    is_free = any(value & _CAP_IPC_LOCK for value in _fields(_STATUS, "CapEff:"))
    return limit._replace(nbytes=None if is_free else limit.nbytes, locked=locked)


def _fields(path: str, name: str) -> Iterator[int]:
    """Yield the number after a name in a file of /proc: bytes, or a set of bits."""
    with contextlib.suppress(OSError, ValueError), open(path, "rb") as file:
        for line in file.read().decode("ascii", "replace").splitlines():
            if line.startswith(name):
                words = line.split()
                yield int(words[1]) << 10 if words[2:] == ["kB"] else int(words[1], 16)
                return


def _rooms_of_groups() -> Iterator[int]:
    """Yield what each group that limits this process has left."""
    from ._groups import groups_with  # not at import, for pathlib

    for folder, version in groups_with("memory"):
        yield from _room(folder, *_FILES[version])


def _room(folder: Path, limits: tuple[str, ...], usage: str, prefix: str) -> Iterator[int]:
    """Yield what a group has left, with what of it is in the page cache and can go."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        least = min(_limit(folder / name) for name in limits)
        if least < _NO_LIMIT:
            used = int((folder / usage).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            cached = [int(stat[f"{prefix}{kind}_file"]) for kind in ("active", "inactive")]
            yield max(0, least - used + sum(cached))


def _limit(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a third of the time of `read_text`
    try:
        text = os.read(fd, 64).strip()
    finally:
        os.close(fd)
    return _NO_LIMIT if text == b"max" else int(text)
