"""What the crash tests interrupt: it appends, commits, truncates, and says what is safe.

After each step it prints ``safe N`` once its N first steps may not be lost any more. So after an
interruption the file must be as it was after the last step that was said to be safe, or after the
one that was under way: nothing else.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np

import mmapio

STEPS = 33  # the last one is no truncate, of which the cut itself need not be durable
ROW = np.dtype([("number", "u8"), ("step", "u8"), ("check", "u8"), ("rest", "u8", 5)])


def rows(first: int, count: int, step: int) -> np.ndarray:
    """Return rows that differ from step to step, and each of which is whole or is not."""
    found = np.zeros(count, ROW)
    found["number"] = np.arange(first, first + count)
    found["step"] = step
    found["rest"] = found["number"][:, np.newaxis] * 1000 + np.arange(5)
    found["check"] = found["number"] * 31 + found["step"] * 7 + 1
    return found


def plan(step: int, count: int) -> tuple[int, int]:
    """Return how many rows a step truncates to, and how many it appends."""
    keep = count - count // 3 if step % 4 == 3 else count
    return keep, 1 + step * 7 % 20


def states(steps: int = STEPS) -> list[np.ndarray]:
    """Return the rows that are there before the first step and after each."""
    found = [rows(0, 0, 0)]
    for step in range(steps):
        keep, more = plan(step, len(found[-1]))
        # To truncate is durable of itself; so a step does one or the other.
        if keep < len(found[-1]):
            found.append(found[-1][:keep])
        else:
            found.append(np.concatenate([found[-1], rows(len(found[-1]), more, step)]))
    return found


def is_allowed(content: bytes | None, safe: int, expected: list[np.ndarray]) -> bool:
    """Tell whether a file is as the program may leave it, that had so many steps safe."""
    if content is None:
        return safe == 0  # not even its name
    try:
        found = np.load(io.BytesIO(content))
    except (ValueError, EOFError, OSError):
        return False
    under_way = expected[safe : safe + 2]
    return found.dtype == ROW and any(np.array_equal(found, state) for state in under_way)


def run(path: str, steps: int, durable: bool) -> None:
    """Go on from where the file is, or from the beginning."""
    g = mmapio.GrowableArray.open(path, "a+", dtype=ROW)
    for step in range(steps):
        keep, more = plan(step, len(g))
        if keep < len(g):
            g.truncate(keep)
        else:
            new = rows(len(g), more, step)
            for row in new[:2]:
                g.append(row)
            g.extend(new[2:])
            g.commit(durable)
        os.write(1, f"safe {step + 1}\n".encode())


def save(path: str) -> None:
    """Replace a file again and again."""
    for number in range(3):
        mmapio.save(path, np.full(1000, number))
        os.write(1, f"safe {number + 1}\n".encode())


def safe_steps(printed: str) -> int:
    """Return how many steps a program that was interrupted has said to be safe."""
    return max((int(line.split()[1]) for line in printed.splitlines()), default=0)


def content_of(path: Path) -> bytes | None:
    """Return what is in a file; None if it is not there."""
    return path.read_bytes() if path.exists() else None


if __name__ == "__main__":
    if sys.argv[1] == "save":
        save(sys.argv[2])
    else:
        run(sys.argv[2], int(sys.argv[3]), sys.argv[1] == "durable")
