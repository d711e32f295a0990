"""`mmapio flush`: what another process has stored is on the disk."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmapio import _os
from mmapio.pagecache.residency import residency_of

pytestmark = pytest.mark.page_cache
SIZE = 3_000_000

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    return path


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
