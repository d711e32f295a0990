"""A process that cuts a file off, again and again, under threads of another that use it."""

from __future__ import annotations

import faulthandler
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mmapio
from mmapio import MappedFile, MappingLostError, _os, guard, kernels

PAGE = _os.PAGE_SIZE
PAGES = 256
HAMMERING = ("copy", "store", "sum", "block")


def truncate_for_ever(path: str) -> None:
    """Cut a file off at any byte, and let it grow again, until the end is told."""
    generator = random.Random(0)
    while True:
        os.truncate(path, generator.randrange(PAGES * PAGE))
        time.sleep(generator.random() / 1000)
        with open(path, "r+b") as file:
            file.write(b"\1" * (PAGES * PAGE))
        time.sleep(generator.random() / 1000)


def use(m: MappedFile, how: str) -> None:
    """Use all of a mapping once, as one of four threads does."""
    if how == "copy":
        m.read()
    elif how == "store":
        m.write(PAGE + 1, b"\1" * (PAGES * PAGE - PAGE - 1))
    elif how == "sum":
        kernels.sum(m.view())
    else:
        with m.guard():
            m.view()[::-PAGE] = 1
            np.count_nonzero(m.view())


def hammer(path: str, seconds: float) -> None:
    """Use a file in four threads; print how often each has gone well and has met a loss."""
    faulthandler.enable()
    m = MappedFile.open(path, "r+")
    kernels.sum(m.view())  # compiles it
    sys.stdout.write("mapped\n")
    sys.stdout.flush()
    begin = time.monotonic()
    counts = {how: [0, 0] for how in HAMMERING}
    unexpected: list[BaseException] = []

    def enough() -> bool:
        taken = time.monotonic() - begin
        # A slow machine may need longer, to have each thread meet one.
        return taken > seconds + 30 or (taken > seconds and all(n for _, n in counts.values()))

    def go_on(how: str) -> None:
        try:
            while not enough():
                try:
                    use(m, how)
                    counts[how][0] += 1
                except MappingLostError:
                    counts[how][1] += 1
                    m.recover()
        except BaseException as error:
            unexpected.append(error)

    threads = [threading.Thread(target=go_on, args=(how,)) for how in HAMMERING]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if unexpected:
        raise unexpected[0]
    for how in HAMMERING:
        sys.stdout.write(f"{how} {counts[how][0]} {counts[how][1]}\n")


@pytest.mark.skipif(guard.why_not() is not None, reason=str(guard.why_not()))
def test_nobody_dies_of_a_truncator(
    tmp_path: Path, start_worker: Callable[..., subprocess.Popen[str]], scale: float
) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"\1" * (PAGES * PAGE))
    user = start_worker(__file__, "use", path, 5 * scale)
    assert user.stdout is not None
    assert user.stdout.readline() == "mapped\n"
    truncator = start_worker(__file__, "truncate", path)
    told, _ = user.communicate(timeout=5 * scale + 60)
    assert user.returncode == 0
    assert truncator.poll() is None
    counts = {how: list(map(int, rest)) for how, *rest in map(str.split, told.splitlines())}
    assert set(counts) == set(HAMMERING)
    assert all(lost > 0 for _, lost in counts.values()), counts
    assert sum(well for well, _ in counts.values()) > 0, counts


def test_a_file_of_a_hundred_mappings_is_lost_by_all(tmp_path: Path) -> None:
    if guard.why_not() is not None:
        pytest.skip(str(guard.why_not()))
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(10 * PAGE))
    arrays = [mmapio.open(path, dtype="u1", offset=i) for i in range(100)]
    os.truncate(path, 0)
    for each in arrays:
        assert each[-1] == 0
        with pytest.raises(MappingLostError):
            each.check()


if __name__ == "__main__":
    if sys.argv[1] == "truncate":
        truncate_for_ever(sys.argv[2])
    else:
        hammer(sys.argv[2], float(sys.argv[3]))
