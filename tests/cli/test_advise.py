"""`mmapio advise`: what the system says of the files afterwards."""

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

import numpy as np
import pytest

import mmapio
from mmapio import _os
from mmapio._polling import poll
from mmapio.cli import advise
from mmapio.cli.advise import ADVICE, advise_file
from mmapio.errors import ArgumentError
from mmapio.pagecache.residency import residency_of

pytestmark = pytest.mark.page_cache
SIZE = 3_000_000

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
    pages = np.array([0, 1, 1, 0, 1], "u1")
    monkeypatch.setattr(_os, "resident", lambda *_: pages)
    page = _os.PAGE_SIZE
    with mmapio.MappedFile.open(path) as m:
        found = list(advise._cached(m, 100 * page, 5 * page - 7))
    assert found == [(101 * page, 103 * page), (104 * page, 105 * page - 7)]


@pytest.mark.parametrize("advice", [*advise._PASSING, "nonsense"])
def test_advice_that_would_not_last_is_refused(
    run_command: Callable[..., Any], path: Path, advice: str
) -> None:
    found = run_command("advise", advice, path)
    assert (found.status, found.out) == (2, "")
    why = "got 'nonsense'" if advice == "nonsense" else "would end with this command"
    assert why in " ".join(re.sub("[│]", " ", found.err).split())
    with pytest.raises(ArgumentError, match=why):
        advise_file(path, advice)


def test_all_advice_of_mappings_is_known(path: Path) -> None:
    known = {advice.name.lower() for advice in _os.Advice} - {"remove"}
    assert known == {*ADVICE, *advise._PASSING}
