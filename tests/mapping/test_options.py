"""`touch`, `advise`, `hugepages` and `lock` when a mapping is opened: all of it, or no mapping."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import MappedFile, _os
from mmapio.errors import ArgumentError, FileError, InUseError, MappingLostError, UnsupportedError
from mmapio.mapping.region import Region

PAGE = _os.PAGE_SIZE
SIZE = 16 * PAGE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what was done")

Maker = Callable[..., Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def locks_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(address: int, length: int) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(_os, "lock", fail)
    # Of root there is none, and nothing to say about it.
    monkeypatch.setattr(_os, "lock_limit", lambda: _os.LockLimit(1 << 30, "raise it"))


def from_fd(path: Path, mode: str = "r", **options: Any) -> MappedFile:
    with open(path, "r+b") as file:
        return MappedFile.from_fd(file.fileno(), mode, **options)


def growable(path: Path, **options: Any) -> MappedFile:
    np.save(path, np.zeros(SIZE, "u1"))
    found = mmapio.GrowableArray.open(path, capacity=0, **options)
    return found._mapping


# Each opens, or makes, at least SIZE bytes.
MAKERS: dict[str, Maker] = {
    "r": lambda path, **options: MappedFile.open(path, **options),
    "r+": lambda path, **options: MappedFile.open(path, "r+", **options),
    "c": lambda path, **options: MappedFile.open(path, "c", **options),
    "a+": lambda path, **options: MappedFile.open(path, "a+", SIZE, **options),
    "w+": lambda path, **options: MappedFile.open(path, "w+", SIZE, **options),
    "x+": lambda path, **options: MappedFile.open(path.parent / "new", "x+", SIZE, **options),
    "from_fd": from_fd,
    "anonymous": lambda path, **options: MappedFile.anonymous(SIZE, **options),
    "open": lambda path, **options: mmapio.open(path, dtype="u1", **options),
    "create": lambda path, **options: mmapio.create(path.parent / "new", SIZE, "u1", **options),
    "overwrite": lambda path, **options: mmapio.create(
        path, SIZE, "u1", overwrite=True, raw=True, **options
    ),
    "array": lambda path, **options: mmapio.anonymous(SIZE, "u1", **options),
    "growable": lambda path, **options: growable(path.parent.with_suffix(".npy"), **options),
}
every_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))


def region_of(made: Any) -> Region:
    region: Region = (made if isinstance(made, MappedFile) else made.mapping)._region
    return region


def areas_of(region: Region, start: int = 0, stop: int | None = None) -> list[_os.Area]:
    stop = region.size if stop is None else stop
    return _os.smaps(*region.whole_pages(start, stop - start))


def flagged(region: Region, flag: str, stop: int | None = None) -> bool:
    """Return whether all of a region has a flag; or all up to a byte, and nothing after it."""
    held = all(flag in area.flags for area in areas_of(region, 0, stop))
    if stop is not None and stop < region.capacity:
        held = held and all(
            flag not in area.flags for area in areas_of(region, stop, region.capacity)
        )
    return held


def is_mapped(region: Region) -> bool:
    start, length = region.whole_pages(0, region.size)
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek(start // PAGE * 8)
        entries = np.frombuffer(pagemap.read(-(-length // PAGE) * 8), np.uint64)
    return bool((entries >> np.uint64(63)).all())


def left_open() -> tuple[list[str], int]:
    """Return the descriptors, and how many areas of memory map files of tests."""
    gc.collect()  # what earlier tests have left may go at any time
    with open("/proc/self/maps") as maps:
        return os.listdir("/proc/self/fd"), sum("pytest-of" in line for line in maps)


# What they do -------------------------------------------------------------------------------------


@every_maker
def test_without_options_nothing_is_done(path: Path, make: Maker) -> None:
    region = region_of(make(path))
    assert not region.source.options.prepares
    assert not any(flag in area.flags for area in areas_of(region) for flag in ("lo", "rr", "hg"))


@pytest.mark.page_cache
@every_maker
def test_each_option_has_its_effect(path: Path, make: Maker) -> None:
    region = region_of(make(path, touch="eager", advise="random", hugepages=True, lock=True))
    for flag in ("rr", "lo", "hg"):
        assert flagged(region, flag), flag
    assert is_mapped(region)


@pytest.mark.page_cache
@every_maker
def test_eager_touch_maps_every_page(path: Path, make: Maker) -> None:
    made = make(path, touch="eager")
    assert is_mapped(region_of(made))
    assert not flagged(region_of(made), "lo")


def test_a_npy_file_and_an_empty_one(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(10_000))
    a = mmapio.open(tmp_path / "x.npy", touch="eager", advise="sequential", lock=True)
    assert flagged(region_of(a), "sr")
    assert a.sum() == 49_995_000
    (tmp_path / "empty").touch()
    options: dict[str, Any] = {
        "touch": "eager",
        "advise": "random",
        "hugepages": True,
        "lock": True,
    }
    assert len(MappedFile.open(tmp_path / "empty", "r+", **options)) == 0
    assert len(MappedFile.anonymous(0, **options)) == 0


def test_asyncio_hands_them_on(path: Path) -> None:
    a = asyncio.run(mmapio.aio.open(path, dtype="u1", advise="random"))
    assert flagged(region_of(a), "rr")


@pytest.mark.page_cache
def test_advice_for_once_is_given_once(path: Path) -> None:
    m = MappedFile.open(path, advise="populate_read")
    assert is_mapped(m._region)
    m = MappedFile.open(path, "r+", advise="dontneed", touch="eager")
    assert is_mapped(m._region)


def test_huge_pages_of_memory_at_once() -> None:
    m = MappedFile.anonymous(4 << 20, hugepages=True, touch="eager")
    try:
        m.advise("collapse")
    except (UnsupportedError, FileError) as error:
        pytest.skip(f"no huge pages here: {error}")
    m = MappedFile.anonymous(4 << 20, hugepages=True, touch="eager")
    assert m.is_hugepage_backed() is True
    assert not m.view().any()


def test_huge_pages_are_a_wish(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(_os, "advise", refuse)
    m = MappedFile.open(path, hugepages=True, touch="eager")
    assert m.read() == path.read_bytes()
    assert m.is_hugepage_backed() is False


def test_huge_pages_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmapio._os._linux_huge._huge_page_bytes", lambda: 0)
    m = MappedFile.anonymous(4 << 20, hugepages=True)
    m.view()[:] = 1
    assert m.view().all()


# What goes wrong ----------------------------------------------------------------------------------


@every_maker
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"touch": "always"}, "touch must be 'never' or 'eager', got 'always'"),
        ({"touch": True}, "touch must be 'never' or 'eager', got True"),
        ({"advise": "nonsense"}, r"advice must be one of 'normal', .* got 'nonsense'"),
        ({"advise": 3}, r"advice must be one of 'normal', .* got 3"),
    ],
)
def test_an_option_that_there_is_not(
    path: Path, make: Maker, options: dict[str, Any], message: str
) -> None:
    before = path.read_bytes(), left_open()
    with pytest.raises(ArgumentError, match=message):
        make(path, **options)
    assert (path.read_bytes(), left_open()) == before
    assert os.listdir(path.parent) == [path.name]


@every_maker
@pytest.mark.usefixtures("locks_fail")
def test_an_option_that_fails_leaves_nothing_behind(path: Path, make: Maker) -> None:
    before = path.read_bytes(), left_open()
    with pytest.raises(FileError, match=r"cannot lock \d+ bytes in memory: .* may lock \d+ bytes"):
        make(path, lock=True, advise="random")
    assert (path.read_bytes(), left_open()) == before
    assert os.listdir(path.parent) == [path.name]


@every_maker
def test_advice_that_is_refused_leaves_nothing_behind(
    path: Path, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    before = path.read_bytes(), left_open()
    monkeypatch.setattr(_os, "advise", refuse)
    for advice in ("cold", "merge"):
        with pytest.raises(UnsupportedError, match=f"takes no advice {advice!r}"):
            make(path, advise=advice)
    assert (path.read_bytes(), left_open()) == before
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.usefixtures("locks_fail")
def test_whoever_comes_first_is_not_disturbed_by_an_option_that_fails(tmp_path: Path) -> None:
    """A file that another creates at the same moment is opened, and stays."""
    path = tmp_path / "raced"
    real = _os.publish_nameless

    def late(fd: int, name: str) -> None:
        if not path.exists():
            path.write_bytes(b"theirs" * PAGE)
        real(fd, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_os, "lock", lambda address, length: None)
        patch.setattr(_os, "publish_nameless", late)
        m = MappedFile.open(path, "a+", SIZE, lock=True)
    assert m.read(0, 6) == b"theirs"
    assert len(m) == 6 * PAGE


def test_a_file_that_is_cut_while_it_is_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _os.map_file

    def cut(*arguments: Any) -> int:
        os.truncate(path, PAGE)
        return real(*arguments)

    monkeypatch.setattr(_os, "map_file", cut)
    for options in ({"touch": "eager"}, {"lock": True}, {"advise": "populate_read"}):
        with open(path, "r+b") as file:
            file.truncate(SIZE)
        with pytest.raises(MappingLostError):
            MappedFile.open(path, **options)


# Growth -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "anonymous"])
def test_what_a_resize_adds_in_place_gets_the_same(path: Path, kind: str) -> None:
    options: dict[str, Any] = {"capacity": 64 * PAGE, "advise": "random", "lock": True}
    if kind == "file":
        m = MappedFile.open(path, "r+", **options)
    else:
        m = MappedFile.anonymous(SIZE, **options)
    region = m._region
    assert flagged(region, "lo", SIZE)  # the rest is not there yet
    assert all("rr" in area.flags for area in areas_of(region, 0, region.capacity))
    m.resize(SIZE + 10)
    assert flagged(region, "lo", SIZE + PAGE)
    m.resize(40 * PAGE)
    assert m._region is region
    assert flagged(region, "lo", 40 * PAGE)
    assert all("rr" in area.flags for area in areas_of(region, 0, region.capacity))
    m.resize(8 * PAGE)
    m.resize(48 * PAGE)
    assert flagged(region, "lo", 48 * PAGE)
    assert all("rr" in area.flags for area in areas_of(region, 0, region.capacity))


def test_what_moves_gets_the_same(path: Path) -> None:
    m = MappedFile.open(path, "r+", advise="sequential", lock=True)
    m.resize(1 << 20)
    assert flagged(m._region, "lo")
    assert flagged(m._region, "sr")


def test_growth_that_cannot_be_locked_is_undone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = MappedFile.open(path, "r+", capacity=64 * PAGE, lock=True)
    before = m.read()
    view = m.view(0, 10)
    monkeypatch.setattr(_os, "lock", lambda *arguments: (_ for _ in ()).throw(OSError(12, "no")))
    for size in (20 * PAGE, 1 << 20):
        with pytest.raises(FileError, match="cannot lock"):
            m.resize(size, force=True)
        assert (len(m), path.stat().st_size) == (SIZE, SIZE)
        assert m.read() == before
        assert flagged(m._region, "lo", SIZE)
    monkeypatch.undo()
    m.resize(20 * PAGE)
    assert view.tobytes() == before[:10]
    assert flagged(m._region, "lo", 20 * PAGE)


def test_methods_are_about_the_pages_there_are(path: Path) -> None:
    m = MappedFile.open(path, "r+", capacity=64 * PAGE)
    m.lock()
    m.advise("random")
    m.resize(32 * PAGE)
    assert flagged(m._region, "lo", SIZE)
    assert flagged(m._region, "rr", SIZE)


def test_an_array_that_grows_keeps_the_advice_and_the_lock_of_its_pages(tmp_path: Path) -> None:
    with mmapio.GrowableArray.open(tmp_path / "g.npy", "a+", dtype="u1", row_shape=PAGE) as g:
        g.extend(np.ones((8, PAGE), "u1"))
        m, first = g._mapping, g.array
        m.lock()
        m.advise("random")
        before = len(m)
        g.extend(np.ones((8, PAGE), "u1"))
        assert g.array.sum() == 16 * PAGE
        assert first.sum() == 8 * PAGE
        assert flagged(m._region, "lo", -(-before // PAGE) * PAGE)
        m.unlock()


def test_options_do_not_hold_the_mapping(path: Path) -> None:
    m = MappedFile.open(path, "r+", lock=True, advise="random", touch="eager")
    view = m.view()
    with pytest.raises(InUseError):
        m.close()
    del view
    m.close()
    before = left_open()
    MappedFile.open(path, "r+", lock=True, advise="random", touch="eager")
    assert left_open() == before
