"""The process dies, or the kernel reports an error, at each moment: nothing safe is lost."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from straced import strace
from workload import content_of, is_allowed, safe_steps, states

import mmapio

linux = pytest.mark.skipif(sys.platform != "linux", reason="strace is for Linux")
STEPS = 4  # the last one truncates
KILLED = (137, -9)
CALLS = ("linkat", "fallocate", "fsync", "pwrite64", "fdatasync", "ftruncate")


def injected(what: str, path: Path, *arguments: str) -> Iterator[tuple[int, str]]:
    """Do something to the first call, the second, ... until there is no such call any more."""
    for turn in itertools.count(1):
        path.unlink(missing_ok=True)
        options = ("--seccomp-bpf", "-e", f"inject={what}:when={turn}")
        status, printed, _ = strace(*arguments, options=options)
        yield status, printed
        if status == 0:
            assert turn > 1, f"{what} never happened"
            return


@linux
@pytest.mark.parametrize("call", CALLS)
def test_a_kill_at_any_system_call_loses_nothing(tmp_path: Path, call: str) -> None:
    path, expected = tmp_path / "log.npy", states(STEPS)
    arguments = ("durable", str(path), str(STEPS))
    for status, printed in injected(f"{call}:signal=KILL", path, *arguments):
        assert status in (0, *KILLED)
        safe = safe_steps(printed)
        assert is_allowed(content_of(path), safe, expected)
        if path.exists():
            with mmapio.GrowableArray.open(path, "a+") as g:
                assert len(g) in [len(state) for state in expected[safe : safe + 2]]
                g.append(g[0] if len(g) else np.zeros((), g.dtype))


@linux
@pytest.mark.parametrize("call", ["fsync", "fdatasync"])
def test_an_error_of_any_sync_is_told_and_loses_nothing(tmp_path: Path, call: str) -> None:
    path, expected = tmp_path / "log.npy", states(STEPS)
    arguments = ("durable", str(path), str(STEPS))
    for status, printed in injected(f"{call}:error=EIO", path, *arguments):
        assert status in (0, 1)
        assert is_allowed(content_of(path), safe_steps(printed), expected)


@linux
@pytest.mark.parametrize("call", ["linkat", "fallocate", "fsync", "rename", "write"])
def test_a_kill_while_saving_leaves_the_old_file_or_the_new(tmp_path: Path, call: str) -> None:
    path = tmp_path / "saved.npy"
    for status, printed in injected(f"{call}:signal=KILL", path, "save", str(path)):
        assert status in (0, *KILLED)
        safe = safe_steps(printed)
        # File by file they are 0, 1 and 2: the last that was safe, or the one under way.
        if safe or path.exists():
            found = np.load(path)
            assert found.shape == (1000,)
            assert len(np.unique(found)) == 1
            assert found[0] in (safe - 1, safe)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
@pytest.mark.timeout(900)  # two minutes of work, on a machine that has other work to do
def test_a_kill_at_any_moment_loses_nothing(scale: float) -> None:
    """A quarter of the rounds commit durably; what a kill leaves does not depend on that."""
    rounds = int(5000 * scale)
    where = "/dev/shm" if os.path.isdir("/dev/shm") else None  # no drive is asked: it takes less
    halves = []
    with tempfile.TemporaryDirectory(dir=where) as one, tempfile.TemporaryDirectory() as two:
        for folder, part in ((one, rounds - rounds // 10), (two, rounds // 10)):
            loop = [sys.executable, str(Path(__file__).with_name("kill_loop.py"))]
            done = subprocess.run(
                [*loop, folder, str(part)],
                env=os.environ | {"PYTHONPATH": str(Path(mmapio.__file__).parents[1])},
                capture_output=True,
                text=True,
                timeout=400 * max(1, scale),
            )
            assert done.returncode == 0, done.stderr
            good, half_way = map(int, done.stdout.split())
            assert good == part
            halves.append(half_way)
    assert sum(halves) > rounds // 20, "most were killed before they began, or when they were done"
