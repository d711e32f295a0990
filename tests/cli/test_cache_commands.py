"""`mmapio lock`, `advise` and `flush`: what the system says of the files afterwards."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest

import mmapio
from mmapio import _os
from mmapio.cli import page_cache
from mmapio.errors import ArgumentError
from mmapio.pagecache.residency import residency_of
from mmapio.sharing.polling import poll

pytestmark = pytest.mark.page_cache
SIZE = 3_000_000
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(mmapio.__file__).parents[1]), "COLUMNS": "80"}

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    return path


@pytest.fixture
def evictable(path: Path) -> Path:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        if _os.file_system(fd) in ("tmpfs", "ramfs", "hugetlbfs"):
            pytest.skip("the temporary directory lies in memory")
    finally:
        os.close(fd)
    return path


def cached(path: Path) -> int:
    """Return how many bytes of a file fincore sees in the page cache."""
    if shutil.which("fincore") is None:
        return residency_of(path).resident
    told = subprocess.run(
        ["fincore", "--json", "--bytes", str(path)], capture_output=True, text=True, check=True
    )
    return int(json.loads(told.stdout)["fincore"][0]["res"])


# Advice -------------------------------------------------------------------------------------------


@on_linux
@pytest.mark.parametrize("gone", ["dontneed", "pageout"])
@pytest.mark.parametrize("back", ["willneed", "populate_read"])
def test_advice_outlasts_the_command(
    run_command: Callable[..., Any], evictable: Path, gone: str, back: str
) -> None:
    assert cached(evictable) >= SIZE
    found = run_command("advise", gone, evictable)
    assert (found.status, found.err) == (0, "")
    assert found.out == f"{evictable}\n  0 bytes in memory, 2.86 MiB before\n"
    assert cached(evictable) == 0
    found = run_command("advise", back, evictable)
    assert (found.status, found.err) == (0, "")
    assert found.out.endswith(" in memory, 0 bytes before\n")
    assert poll(lambda: cached(evictable) >= SIZE, 60)


@on_linux
@pytest.mark.parametrize("advice", ["willneed", "populate_read"])
def test_holes_are_not_read_in(
    run_command: Callable[..., Any], evictable: Path, advice: str
) -> None:
    with evictable.open("r+b") as file:
        file.seek(64 << 20)
        file.write(b"after a hole")
        os.fsync(file.fileno())
    run_command("evict", evictable)
    assert run_command("advise", advice, evictable).status == 0
    assert poll(lambda: cached(evictable) > SIZE, 60)
    assert residency_of(evictable, 64 << 20, 12).fraction == 1
    assert cached(evictable) < 32 << 20


@on_linux
def test_cold_pages_stay_and_what_is_not_there_is_not_read(
    run_command: Callable[..., Any], evictable: Path
) -> None:
    run_command("advise", "dontneed", evictable)
    with evictable.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for at in (8192, 1_000_000):
            os.pread(file.fileno(), 5000, at)
    before = cached(evictable)
    assert 0 < before < SIZE
    (found,) = run_command("advise", "cold", "--json", evictable).json
    assert found == {
        "path": str(evictable),
        "bytes": SIZE,
        "advice": "cold",
        "before": before,
        "resident": before,
    }
    assert cached(evictable) == before


def test_ranges_in_memory_are_found(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = page_cache.np.array([0, 1, 1, 0, 1], "u1")
    monkeypatch.setattr(_os, "resident", lambda *_: pages)
    page = _os.PAGE_SIZE
    with mmapio.MappedFile.open(path) as m:
        found = list(page_cache._cached(m, 100 * page, 5 * page - 7))
    assert found == [(101 * page, 103 * page), (104 * page, 105 * page - 7)]


@pytest.mark.parametrize("advice", [*page_cache._PASSING, "nonsense"])
def test_advice_that_would_not_last_is_refused(
    run_command: Callable[..., Any], path: Path, advice: str
) -> None:
    found = run_command("advise", advice, path)
    assert (found.status, found.out) == (2, "")
    why = "got 'nonsense'" if advice == "nonsense" else "would end with this command"
    assert why in " ".join(re.sub("[│]", " ", found.err).split())
    with pytest.raises(ArgumentError, match=why):
        page_cache.advise(path, advice)


def test_all_advice_of_mappings_is_known(path: Path) -> None:
    known = {advice.name.lower() for advice in _os.Advice} - {"remove"}
    assert known == {*page_cache.ADVICE, *page_cache._PASSING}


# Flush --------------------------------------------------------------------------------------------


@on_linux
def test_flush_writes_what_another_process_has_stored(
    run_command: Callable[..., Any], path: Path, run_python: Callable[..., str]
) -> None:
    code = "import sys, mmapio; mmapio.MappedFile.open(sys.argv[1], 'r+').view()[:] = 1"
    run_python(code, str(path))
    (found,) = run_command("flush", "--json", path).json
    assert (found["path"], found["bytes"]) == (str(path), SIZE)
    assert residency_of(path).dirty in (0, None)


def test_flush_of_folders_and_what_is_wrong_with_some(
    run_command: Callable[..., Any], path: Path
) -> None:
    (path.parent / "folder").mkdir()
    (path.parent / "folder" / "empty").touch()
    found = run_command("flush", path, path.parent / "none", path.parent / "folder")
    assert found.status == 1
    assert re.fullmatch(r"mmapio: error: .*No such file or directory: '.*none'\n", found.err)
    lines = found.out.splitlines()
    assert lines[::2] == [str(path), str(path.parent / "folder" / "empty"), "2 files"]
    assert all(re.match("  .* in .* m?s|  .* us", line) for line in lines[1::2])


def test_a_flush_that_fails_is_told(
    run_command: Callable[..., Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(_os, "sync_file", fail)
    found = run_command("flush", path)
    assert found.status == 1
    assert "cannot flush: Input/output error" in found.err


# Lock ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(pexpect, "spawn"), reason="this platform has no pseudo-terminals")
def test_lock_holds_until_it_is_interrupted(path: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "small").write_bytes(b"small")
    command = ["-W", "error", "-m", "mmapio", "lock", path, tmp_path / "none", tmp_path / "folder"]
    terminal = pexpect.spawn(
        sys.executable,
        list(map(str, command)),
        env=ENVIRONMENT | {"TERM": "xterm"},
        encoding="utf-8",
        timeout=60,
    )
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
