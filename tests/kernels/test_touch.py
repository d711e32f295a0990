"""`touch_pages`: afterwards every page is mapped, and no byte has changed."""

from __future__ import annotations

import mmap
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.array_utils import byte_bounds
from numpy.typing import NDArray

import mmapio
from mmapio import _os, atomics
from mmapio.errors import ArgumentError, ReadOnlyError
from mmapio.kernels import touch
from mmapio.kernels.engine import read_ahead
from mmapio.kernels.touch import touch_pages

PAGE = _os.PAGE_SIZE
SIZE = 200 * PAGE

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mapped")

Opener = Callable[[str], NDArray[np.uint8]]


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    """Return a function that maps a file of 200 pages in a mode."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    return lambda mode: mmapio.open(path, mode, dtype="u1")


@pytest.fixture(params=["faults", "populating", "at once"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make small arrays go one of the ways that large ones can go."""
    monkeypatch.setattr(touch, "_TRIAL_BYTES", 4 * PAGE)
    monkeypatch.setattr(touch, "_PIECE_BYTES", 16 * PAGE)
    if request.param != "at once":
        chosen = touch._by_faults if request.param == "faults" else touch._by_populating
        monkeypatch.setattr(touch, "_SHORT_BYTES", 0)
        monkeypatch.setattr(touch, "_WHOLE_NS", 0)
        monkeypatch.setattr(touch, "_time_ns", _timing_for(chosen))
    return str(request.param)


def _timing_for(chosen: Any) -> Any:
    """Return a clock for which one way takes no time."""

    def time_ns(way: Any, memory: Any, write: bool) -> int:
        way(memory, write)
        return 0 if way is chosen else 1

    return time_ns


def entries(a: NDArray[Any]) -> NDArray[np.uint64]:
    """Return what proc_pid_pagemap(5) tells of the pages of an array."""
    start, stop = byte_bounds(a)
    first, last = start // PAGE, -(-stop // PAGE)
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek(first * 8)
        return np.frombuffer(pagemap.read((last - first) * 8), np.uint64)


def is_mapped(a: NDArray[Any]) -> NDArray[np.bool]:
    return (entries(a) >> np.uint64(63)).astype(bool)


def pages_of(a: NDArray[Any]) -> int:
    if not a.size:
        return 0
    start, stop = byte_bounds(a)
    return (stop - 1) // PAGE - start // PAGE + 1


@linux
@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_page_is_mapped_and_no_byte_changes(
    opened: Opener, way: str, write: bool, threads: int
) -> None:
    a = opened("r+" if write else "r")
    assert not is_mapped(a).all()
    assert touch_pages(a, write=write, threads=threads) == SIZE // PAGE
    assert is_mapped(a).all()
    assert bytes(a) == Path(a.mapping.path).read_bytes()


@linux
def test_a_slice_maps_its_own_pages(opened: Opener, way: str) -> None:
    a = opened("r")
    part = a[3 * PAGE - 1 : 150 * PAGE + 1]
    assert touch_pages(part) == 149
    assert is_mapped(part).all()


@linux
@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("bounds", [(3 * PAGE - 1, 150 * PAGE + 1), (5, 6), (PAGE, 9 * PAGE)])
def test_the_first_and_the_last_page_of_a_slice(
    way: str, write: bool, bounds: tuple[int, int]
) -> None:
    """In memory that has no file, where a fault maps no page but its own."""
    memory = mmap.mmap(-1, SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    a = np.frombuffer(memory, "u1")
    part = a[slice(*bounds)]
    touch_pages(part, write=write)
    assert is_mapped(part).all()
    assert is_mapped(a).sum() == pages_of(part)


@linux
@pytest.mark.parametrize("write", [False, True])
def test_cold_files_are_read_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: bool
) -> None:
    size = 20 << 20
    path = tmp_path / "cold"
    path.write_bytes(os.urandom(size))
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    for far in (0, 1 << 60):  # to leave reading ahead to the system, and to do it
        monkeypatch.setattr(read_ahead, "_FAR_BYTES", far)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        a = np.memmap(path, "u1", "r+")
        assert touch_pages(a, write=write) == size // PAGE
        assert is_mapped(a).all()
        assert bytes(a) == path.read_bytes()
        del a
    os.close(fd)


@linux
@pytest.mark.parametrize("write", [False, True])
def test_a_private_mapping_gets_pages_of_its_own_only_for_writing(
    opened: Opener, way: str, write: bool
) -> None:
    """An addition of zero that was optimised into a load would not make them."""
    a = opened("c")
    touch_pages(a, write=write)
    in_file = (entries(a) >> np.uint64(61) & np.uint64(1)).astype(bool)
    assert in_file.all() if not write else not in_file.any()
    assert bytes(a) == Path(a.mapping.path).read_bytes()


def test_no_store_of_another_thread_is_lost(opened: Opener, way: str) -> None:
    a = opened("r+")
    a[:] = 0
    counters = a[::PAGE]
    stop = threading.Event()

    def count() -> None:
        while not stop.is_set():
            for i in range(0, counters.size, 7):
                atomics.fetch_add(counters, i, 1)
                added[i] += 1

    added = [0] * counters.size
    thread = threading.Thread(target=count)
    thread.start()
    for _ in range(300):
        touch_pages(a, write=True, threads=2)
    stop.set()
    thread.join()
    assert sum(added) > 0
    assert counters.tolist() == [count % 256 for count in added]


def test_where_populating_fails_faults_do_it(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(touch, "hint", lambda *arguments: False)
    calls: list[bool] = []
    faults = touch._by_faults

    def by_faults(memory: NDArray[np.uint8], write: bool) -> int:
        calls.append(write)
        return faults(memory, write)

    monkeypatch.setattr(touch, "_by_faults", by_faults)
    a = opened("r+")
    for write in (False, True):
        assert touch._by_populating(np.asarray(a), write) == SIZE // PAGE
    assert calls == [False, True]


@given(
    st.tuples(*[st.integers(0, 40)] * 3),
    st.tuples(*[st.integers(-3, 3).filter(bool)] * 3),
    st.permutations(range(3)),
    st.booleans(),
)
def test_any_layout(
    shape: tuple[int, ...], steps: tuple[int, ...], axes: list[int], write: bool
) -> None:
    base = np.arange(41 * 41 * 41, dtype="u2").reshape(41, 41, 41)
    before = base.copy()
    cut = tuple(slice(1, 1 + stop) for stop in shape)
    a = base[cut][tuple(slice(None, None, step) for step in steps)].transpose(axes)
    assert touch_pages(a, write=write) == pages_of(a)
    np.testing.assert_array_equal(base, before)


@pytest.mark.parametrize(
    "a",
    [
        np.zeros(()),
        np.zeros((0, 4)),
        np.zeros(5, "f8,S3"),
        np.array([None, "x"]),
        np.zeros(3, ">c16"),
        np.broadcast_to(np.zeros(2), (5, 2)),
        np.asfortranarray(np.zeros((300, 70))),
    ],
    ids=lambda a: f"{a.dtype} {a.shape}",
)
def test_any_dtype(a: NDArray[Any]) -> None:
    assert touch_pages(a) == pages_of(a)


def test_large_arrays_on_the_heap() -> None:
    a = np.ones(70 << 20, "u1")
    assert touch_pages(a) == touch_pages(a, write=True) == pages_of(a)
    assert a.all()


@pytest.mark.parametrize("is_whole", [True, False])
def test_what_is_populated_at_once_is_not_tried_by_faults(
    monkeypatch: pytest.MonkeyPatch, is_whole: bool
) -> None:
    ways: list[str] = []

    def populating(memory: NDArray[np.uint8], write: bool) -> int:
        ways.append("populating")
        return 0

    def faults(memory: NDArray[np.uint8], write: bool) -> int:
        ways.append("faults")
        return 0

    monkeypatch.setattr(touch, "_by_populating", populating)
    monkeypatch.setattr(touch, "_by_faults", faults)
    monkeypatch.setattr(touch, "_WHOLE_NS", 1 << 60 if is_whole else 0)
    touch_pages(np.zeros(70 << 20, "u1"))
    assert ("faults" not in ways) == is_whole


def test_writing_to_what_is_read_only_is_refused(opened: Opener) -> None:
    with pytest.raises(ReadOnlyError, match="for writing"):
        touch_pages(opened("r"), write=True)
    fixed = np.zeros(3)
    fixed.flags.writeable = False
    with pytest.raises(ReadOnlyError):
        touch_pages(fixed, write=True)


@pytest.mark.parametrize("threads", [0, -1, 1.5])
def test_numbers_of_threads_that_are_none(threads: Any) -> None:
    """Also where one thread is enough."""
    for size in (0, 1, 5 * PAGE):
        with pytest.raises(ArgumentError, match="threads must be"):
            touch_pages(np.zeros(size, "u1"), threads=threads)


def test_progress(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tqdm = pytest.importorskip("tqdm")
    seen = []

    class Bar(tqdm.tqdm):  # type: ignore[misc]
        def close(self) -> None:
            seen.append(self.total)
            super().close()

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    a = np.zeros(SIZE, "u1")
    assert touch_pages(a, progress=True) == touch_pages(a)
    if way != "at once":
        assert seen[0] == SIZE - 8 * PAGE
