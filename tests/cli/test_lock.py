"""`mmapio lock`: what the system says of the files meanwhile."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest

from mmapio import _os

pytestmark = pytest.mark.page_cache
SIZE = 3_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    return path


def test_lock_holds_until_it_is_interrupted(
    in_terminal: Callable[..., Any], path: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "small").write_bytes(b"small")
    terminal = in_terminal("lock", path, tmp_path / "none", tmp_path / "folder", TERM="xterm")
    terminal.expect("2.86 MiB locked in memory")
    terminal.expect("mmapio: error: .*No such file or directory")
    terminal.expect("5 bytes locked in memory")
    terminal.expect("2 files, 2.86 MiB locked until Ctrl-C")
    if sys.platform == "linux":
        status = Path(f"/proc/{terminal.pid}/status").read_text()
        assert re.search(r"^VmLck:\s+(\d+) kB$", status, re.M)[1] == str((733 + 1) * 4)
        smaps = Path(f"/proc/{terminal.pid}/smaps").read_text()
        assert re.search(rf"{re.escape(str(path))}\n(?:\w+: .*\n)*?Locked: +2932 kB", smaps)
    terminal.sendintr()
    terminal.expect("2 files, 2.86 MiB unlocked")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert "Traceback" not in (terminal.before or "")


def test_nothing_to_lock_is_nothing_to_wait_for(
    run_command: Callable[..., Any], tmp_path: Path
) -> None:
    found = run_command("lock", tmp_path / "none")
    assert (found.status, found.out) == (1, "")
    (tmp_path / "empty").touch()
    found = run_command("lock", tmp_path / "empty")
    assert found.status == 1
    assert found.err.startswith("mmapio: error: there is nothing to lock: ")


@pytest.mark.skipif(sys.platform != "linux", reason="limits are told elsewhere")
def test_a_lock_over_the_limit_says_how_to_raise_it(
    run_command: Callable[..., Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(_os, "lock", refuse)
    limit = _os.LockLimit(65536, "raise it with ulimit -l")
    monkeypatch.setattr(_os, "lock_limit", lambda: limit)
    found = run_command("lock", path)
    assert (found.status, found.out) == (1, "")
    assert "may lock 65536 bytes in all; raise it with ulimit -l" in found.err


@pytest.fixture
def holes(tmp_path: Path) -> Path:
    """Return a file of 24 MiB that is all hole."""
    path = tmp_path / "holes"
    with open(path, "wb") as file:
        file.truncate(24 << 20)
    return path


def test_a_file_that_does_not_fit_is_reported(
    run_command: Callable[..., Any], holes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_os, "available_memory", lambda: 16 << 20)
    found = run_command("lock", holes)
    assert (found.status, found.out) == (1, "")
    assert "cannot lock 24.00 MiB with 16.00 MiB of memory available; its holes" in found.err
    assert found.err.endswith("; --force does it all the same\n")
    assert "holes become pages of zeros" in " ".join(run_command("lock", "--help").out.split())


def test_force_locks_what_does_not_fit(
    run_command: Callable[..., Any], holes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_os, "available_memory", lambda: 16 << 20)
    monkeypatch.setattr(time, "sleep", stop)
    found = run_command("lock", "--force", holes)
    assert found.status == 130
    assert "24.00 MiB locked in memory, 24.00 MiB of them holes" in found.out


def test_lock_shows_how_far_it_is_and_ends_at_ctrl_c(
    in_terminal: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "large"
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    terminal = in_terminal("lock", path)
    terminal.expect(r"large: +\d+%\|")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert "Traceback" not in terminal.before
