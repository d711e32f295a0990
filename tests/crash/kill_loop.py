"""Fork a writer, kill it at some moment, look at what it has left; again and again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from pathlib import Path

from workload import content_of, is_allowed, run, safe_steps, states

import mmapio

STEPS = 16


def killed(path: Path, after_s: float, durable: bool) -> int:
    """Run the workload in a child, kill it after so long, and return how many steps were safe."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(tell, 1)
        os.write(1, b"safe 0\n")
        with contextlib.suppress(BaseException):
            run(str(path), STEPS, durable)
        os._exit(0)
    os.close(tell)
    os.read(told, 7)  # it runs
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    printed = b""
    while block := os.read(told, 4096):
        printed += block
    os.close(told)
    return safe_steps(printed.decode())


def main(folder: str, rounds: int) -> None:
    """Print how many rounds lost nothing, and how many of those were killed half way."""
    path, expected = Path(folder, "log.npy"), states(STEPS)
    generator, longest_s = random.Random(rounds), 1e-3
    good = half_way = 0
    mmapio.GrowableArray.open(path, "x+", dtype="u1")  # imports all there is to import
    for number in range(rounds):
        path.unlink(missing_ok=True)
        safe = killed(path, generator.uniform(0, longest_s), durable=number % 4 == 0)
        longest_s *= 0.99 if safe == STEPS else 1.01  # so that most die before they are done
        half_way += 0 < safe < STEPS
        allowed = is_allowed(content_of(path), safe, expected)
        if path.exists():
            with mmapio.GrowableArray.open(path, "r+") as g:
                allowed = allowed and len(g) in [len(s) for s in expected[safe : safe + 2]]
        good += allowed
    os.write(1, f"{good} {half_way}".encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
