"""Power cuts in memory: what a drive may hold of a file whose system calls are known.

Between two syncs a drive may have written any of what is pending, in any order, sector by sector:
of each sector, the old content or any that it had since, and any size that the file had since. So
a cut is a place in the trace, and a choice for each sector and for the size.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from straced import Call

SECTOR = 512


class Moment(NamedTuple):
    """The files that the drive may hold between two calls."""

    safe: int
    durable: bytes
    sizes: list[int]
    sectors: dict[int, list[bytes]]
    name: str  # "none", "new" or "durable"


class Write(NamedTuple):
    offset: int
    data: bytes


class Resize(NamedTuple):
    size: int


class Sync(NamedTuple):
    of: str  # "file" or "name"


class Name(NamedTuple):
    path: str


class Safe(NamedTuple):
    steps: int


Step = Write | Resize | Sync | Name | Safe


def steps_of(calls: list[Call], folder: str) -> list[Step]:
    """Return what a program did to the one file in a folder, and when it said what is safe."""
    found: list[Step] = []
    at = 0
    for call in calls:
        if call.data.startswith(b"safe "):
            found.append(Safe(int(call.data.split()[1])))
        elif call.name in ("linkat", "rename", "renameat", "renameat2") and call.result == 0:
            found.append(Name(call.data.decode()))
        elif call.result < 0 or not call.file.startswith(folder):
            continue
        elif call.name == "lseek":
            at = call.result
        elif call.name == "write":
            found.append(Write(at, call.data[: call.result]))
            at += call.result
        elif call.name == "pwrite64":
            found.append(Write(call.numbers[-1], call.data[: call.result]))
        elif call.name == "ftruncate":
            found.append(Resize(call.numbers[1]))
        elif call.name == "fallocate":
            found.append(Resize(sum(call.numbers[-2:])))
        elif call.name in ("fsync", "fdatasync"):
            found.append(Sync("name" if call.file == folder else "file"))
    return found


def moments(steps: list[Step]) -> list[Moment]:
    """Return what may be on the drive before each step and after the last."""
    cached, durable = bytearray(), b""
    sizes, sectors, safe, name = [0], {}, 0, "none"
    found = []
    for step in steps:
        if isinstance(step, Write):
            end = step.offset + len(step.data)
            cached.extend(bytes(max(0, end - len(cached))))
            cached[step.offset : end] = step.data
            sizes = [*sizes, len(cached)]
            sectors = _with(sectors, cached, step.offset // SECTOR, -(-end // SECTOR))
        elif isinstance(step, Resize):
            last = len(cached) // SECTOR
            cached = cached[: step.size] + bytes(max(0, step.size - len(cached)))
            sizes = [*sizes, step.size]
            sectors = _with(sectors, cached, step.size // SECTOR, last + 1)
        elif isinstance(step, Safe):
            safe = step.steps
        elif isinstance(step, Name):
            name = "new"
        elif step.of == "name":
            name = "durable"
        else:
            durable, sizes, sectors = bytes(cached), [len(cached)], {}
        found.append(Moment(safe, durable, sizes, sectors, name))
    return found


def _with(
    sectors: dict[int, list[bytes]], cached: bytearray, first: int, end: int
) -> dict[int, list[bytes]]:
    new = dict(sectors)
    for sector in range(first, end):
        now = bytes(cached[sector * SECTOR : (sector + 1) * SECTOR]).ljust(SECTOR, b"\0")
        new[sector] = [*new.get(sector, []), now]
    return new


def cut(moment: Moment, generator: random.Random) -> bytes | None:
    """Return what is in the file when the power comes back; None if it has no name."""
    if moment.name == "none" or (moment.name == "new" and generator.random() < 0.5):
        return None
    size = generator.choice(moment.sizes)
    found = bytearray(moment.durable[:size].ljust(size, b"\0"))
    for sector, versions in moment.sectors.items():
        choice = generator.randrange(-1, len(versions))
        if choice >= 0:
            start = sector * SECTOR
            end = min(start + SECTOR, size)
            if start < end:
                found[start:end] = versions[choice][: end - start]
    return bytes(found)
