"""`mmapio evict`: what is in memory afterwards, and why."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import _os
from mmapio.pagecache.residency import residency_of

PAGE = _os.PAGE_SIZE
SIZE = 1 << 20
pytestmark = [
    pytest.mark.page_cache,
    pytest.mark.skipif(
        sys.platform == "win32", reason="Windows does not tell what its cache holds of a file"
    ),
]


def refusing(code: int) -> Callable[..., Any]:
    def refuse(*_: object) -> Any:
        raise OSError(code, os.strerror(code))

    return refuse


def test_touch_and_evict_a_tree(run_command: Callable[..., Any], tree: Path, cold: Path) -> None:
    found = run_command("evict", tree)
    assert (found.status, found.err) == (0, "")
    assert "\n4 files\n  " in found.out
    assert found.out.rstrip().endswith(" evicted")
    assert residency_of(tree / "deep" / "a").resident == 0
    found = run_command("touch", tree, "--threads", "2")
    assert (found.status, found.err) == (0, "")
    assert residency_of(tree / "deep" / "a").fraction == 1
    assert residency_of(tree / "b").fraction == 1


def test_evict_loses_nothing_that_was_stored(run_command: Callable[..., Any], cold: Path) -> None:
    path = cold
    a = mmapio.open(path, "r+", dtype="<u4")
    a[:] = np.arange(a.size)
    del a
    (found,) = run_command("evict", "--json", path).json
    assert found["reasons"] == []
    assert found["resident"] == 0
    assert np.array_equal(np.fromfile(path, "<u4"), np.arange(SIZE // 4))


def test_evict_tells_who_keeps_a_file(run_command: Callable[..., Any], cold: Path) -> None:
    path = cold
    if sys.platform != "linux":
        pytest.skip("only Linux tells who maps a file")
    with mmapio.MappedFile.open(path) as mapping:
        mapping.touch_pages()
        found = run_command("evict", path)
        assert found.status == 0
        assert f"  1.00 MiB stays: mapped by process {os.getpid()}\n" in found.out
    assert run_command("evict", path).out == f"{path}\n  1.00 MiB evicted\n"


@pytest.fixture
def on_tmpfs() -> Iterator[Path]:
    if sys.platform != "linux" or not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no /dev/shm")
    path = Path("/dev/shm") / f"mmapio-test-{os.getpid()}"
    path.write_bytes(b"x" * PAGE)
    yield path
    path.unlink()


def test_evict_tells_what_lies_in_memory_only(
    run_command: Callable[..., Any], on_tmpfs: Path
) -> None:
    found = run_command("evict", on_tmpfs)
    assert "stays: tmpfs has no other place for it\n" in found.out
    assert on_tmpfs.read_bytes() == b"x" * PAGE


def test_a_platform_that_cannot_evict(
    run_command: Callable[..., Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_os, "drop_cached", refusing(errno.ENOTSUP))
    found = run_command("evict", path)
    assert (found.status, found.out) == (1, "")
    assert f"not supported: {str(path)!r}" in found.err


def test_an_error_of_the_drive(
    run_command: Callable[..., Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_os, "sync_data", refusing(errno.EIO))
    found = run_command("evict", path)
    assert found.status == 1
    assert "cannot evict: Input/output error" in found.err
    assert residency_of(path).fraction == 1
