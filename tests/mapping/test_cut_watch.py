"""The copy of a last page: kept while holes are punched, lost with a cut, and never leaked."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from mmapio import MappedFile, MappingLostError, _os
from mmapio.mapping import cut_watch
from mmapio.mapping.cut_watch import CutWatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of page copies")

PAGE = _os.PAGE_SIZE
SIZE = 10 * PAGE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"x" * SIZE)
    return path


def own_areas(path: Path) -> int:
    return sum(str(path) in line for line in Path("/proc/self/maps").read_text().splitlines())


@pytest.mark.parametrize(
    ("left", "is_kept"),
    [(0, False), (PAGE, False), (SIZE - PAGE, False), (SIZE - PAGE + 1, True), (SIZE, True)],
)
def test_a_copy_goes_with_a_cut_before_its_page(path: Path, left: int, is_kept: bool) -> None:
    with open(path, "r+b") as file:
        page = _os.map_copied(file.fileno(), SIZE - PAGE)
        assert _os.is_copied(page)
        _os.punch_hole(file.fileno(), 0, SIZE)
        file.write(b"y" * SIZE)
        assert _os.is_copied(page)
        file.truncate(left)
        file.truncate(SIZE)
        assert _os.is_copied(page) is is_kept
        _os.unmap(page, PAGE)
        assert path.stat().st_size == SIZE


def test_past_the_end_there_is_nothing_to_copy(path: Path) -> None:
    before = own_areas(path)
    with open(path, "rb") as file, pytest.raises(OSError, match=r"."):
        _os.map_copied(file.fileno(), SIZE)
    assert own_areas(path) == before


def test_a_look_at_what_is_on_the_drive_reads_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(path, "rb") as file:
        page = _os.map_copied(file.fileno(), 0)
        asked = []

        def is_resident(address: int) -> bool:
            asked.append(address)
            return False

        monkeypatch.setattr(_os, "is_resident", is_resident)
        watch = CutWatch(1)
        for _ in range(127):
            watch.set(page, 0, 1, lambda: contextlib.nullcontext(file.fileno()))
            assert not watch.is_set
        assert len(asked) == 4 + 4  # at looks 8, 16, 32 and 64
        _os.unmap(page, PAGE)


@pytest.mark.parametrize("name", ["map_copied", "is_resident", "is_copied"])
def test_without_a_copy_nothing_is_claimed(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOMEM, "no")

    m = MappedFile.open(path, "r+")
    monkeypatch.setattr(_os, name, fail)
    m.check()
    m.write(0, bytes(SIZE))
    with open(path, "rb+") as file:
        _os.punch_hole(file.fileno(), 0, SIZE - PAGE)
    m.write(SIZE - 1, b"y")
    m.check()
    m.close()


def test_a_copy_is_given_back_with_the_mapping(path: Path) -> None:
    for end in ("close", "drop", "resize", "recover"):
        m: MappedFile | None = MappedFile.open(path, "r+")
        assert m is not None
        assert own_areas(path) == 1
        m.check()
        assert own_areas(path) == 2
        if end == "close":
            m.close()
        elif end == "resize":
            m.resize(SIZE - 1)
            m.resize(SIZE)
            assert own_areas(path) == 1
            m.check()
        elif end == "recover":
            m.recover()
            assert own_areas(path) == 1
        m = None
        assert own_areas(path) == 0


def test_a_handler_that_makes_the_copy_first_leaves_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = MappedFile.open(path, "r+")
    make = _os.map_copied

    def map_copied(fd: int, offset: int) -> int:
        monkeypatch.setattr(_os, "map_copied", make)
        page = make(fd, offset)
        m.check()
        return page

    monkeypatch.setattr(_os, "map_copied", map_copied)
    m.check()
    assert own_areas(path) == 2
    m.close()
    assert own_areas(path) == 0


def test_copies_leave_areas_of_memory_to_mappings(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cut_watch, "_copies", set())
    monkeypatch.setattr(cut_watch, "_MOST_COPIES", 2)
    mappings = [MappedFile.open(path, "r+") for _ in range(4)]
    for m in mappings:
        m.check()
    assert own_areas(path) == 4 + 2
    mappings.pop(0).close()
    for m in mappings:
        m.check()
    assert own_areas(path) == 3 + 2
    del m, mappings
    assert own_areas(path) == 0


def test_a_child_has_a_copy_of_its_own(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    m.check()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            m.check()
            os.truncate(path, 0)
            os.truncate(path, SIZE)
            try:
                m.check()
            except MappingLostError:
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with pytest.raises(MappingLostError):
        m.check()


@pytest.mark.page_cache
def test_to_open_and_check_a_file_reads_nothing_of_it(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        _os.drop_cached(file.fileno(), 0, SIZE)
    m = MappedFile.open(path, "r+")
    for _ in range(10):
        m.check()
    assert m.residency().resident == 0
