"""Memory areas of this process, from /proc/self/smaps.

Source: proc_pid_smaps(5).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Final

assert sys.platform == "linux"  # so that mypy passes over this file elsewhere

from ._memory import Area  # noqa: E402

__all__ = ["smaps"]

_HEAD: Final = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) ")


def smaps(address: int, length: int) -> list[Area]:
    """Return the areas that a range lies in; none where the system does not report them."""
    try:
        with open("/proc/self/smaps", "rb") as lines:
            return list(_areas(lines, address, address + length))
    except OSError:
        return []


def _areas(lines: Iterator[bytes], start: int, stop: int) -> Iterator[Area]:
    """Read the areas that overlap a range; they come in the order of their addresses."""
    area: Area | None = None
    for line in lines:
        head = _HEAD.match(line)
        if head is None:
            if area is not None:
                area = _with_line(area, line)
            continue
        if area is not None:
            yield area
        low, high = int(head[1], 16), int(head[2], 16)
        if low >= stop:
            return
        area = Area(low, high, {}, frozenset()) if high > start else None
    if area is not None:
        yield area


def _with_line(area: Area, line: bytes) -> Area:
    """Add what a line tells of an area: a number of kB in a field, or the flags."""
    name, _, rest = line.decode("ascii", "replace").partition(":")
    words = rest.split()
    if name == "VmFlags":
        return area._replace(flags=frozenset(words))
    if words[-1:] == ["kB"]:
        area.fields[name] = int(words[0]) << 10
    return area
