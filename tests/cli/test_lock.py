"""`mmapio lock`: what the system says of the files meanwhile."""

from __future__ import annotations

import re
import sys
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
