"""Control groups of this process on Linux: cgroups(7)."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["groups_with"]

_GROUPS: Final = Path("/sys/fs/cgroup")
_OWN_GROUPS: Final = Path("/proc/self/cgroup")


def groups_with(controller: str) -> Iterator[tuple[Path, int]]:
    """Yield the folder of each group that limits this process, and the version of its files.

    Those above its own are among them: the limits of a parent bind as much.
    """
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        names = controllers.split(",")
        if names == [""] or controller in names:
            root, version = (_GROUPS / controller, 1) if controller in names else (_GROUPS, 2)
            yield from ((level, version) for level in _levels(root, group))


@functools.lru_cache(64)
def _levels(root: Path, group: str) -> tuple[Path, ...]:
    """Return the folders of a group and of those above it."""
    folder = root / group.lstrip("/")
    return tuple(level for level in (folder, *folder.parents) if level.is_relative_to(root))
