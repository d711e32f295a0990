"""Closing: whole or not at all, and never waiting in a finalizer."""

from __future__ import annotations

import errno
import gc
import os
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import FlushPolicy, MappedFile, _os
from mmapio.errors import ClosedError, FileError

SIZE = 10_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes([7]) * SIZE)
    return path


def failing(*arguments: Any) -> Any:
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def mapped_here(path: Path) -> int:
    return Path("/proc/self/maps").read_text().count(str(path))


def test_a_close_that_fails_leaves_the_mapping_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = MappedFile.open(path, "r+")
    view = m.view()
    with monkeypatch.context() as patch:
        patch.setattr(_os, "cover", failing)
        with pytest.raises(FileError, match="cannot cover memory with zeros"):
            m.close(force=True)
    assert not m.closed
    assert m.read(0, 3) == bytes(view[:3]) == b"\7\7\7"
    m.close(force=True)
    assert m.closed
    assert not view.any()


def test_a_close_that_fails_at_the_second_place_leaves_the_first(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = MappedFile.open(path, "r+")
    old = m.view()
    m.resize(1 << 20, force=True)
    new, cover, calls = m.view(), _os.cover, iter([True, False])

    def fail_once(*arguments: Any) -> None:
        if not next(calls, True):
            failing()
        cover(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(_os, "cover", fail_once)
        with pytest.raises(FileError):
            m.close(force=True)
    new[0] = 8
    assert (old[0], new[0], m.read(0, 1), path.read_bytes()[0]) == (8, 8, b"\x08", 8)
    os.truncate(path, 0)
    if m.guarded:
        with pytest.raises(mmapio.MappingLostError):
            m.read()
    m.close(force=True)
    assert not old.any()
    assert not new.any()


def test_memory_that_cannot_be_given_back_is_an_error_of_ours(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = MappedFile.open(path)
    region = m._region  # its finalizer would try too, and could only report it
    with monkeypatch.context() as patch:
        patch.setattr(_os, "unmap", failing)
        with pytest.raises(FileError, match="cannot unmap"):
            m.close()
    assert m.closed
    assert mapped_here(path) == 1
    m.close()  # which can be tried again
    assert mapped_here(path) == 0
    del region


# Names that lead to memory ------------------------------------------------------------------------


def test_memory_is_shown_by_arrays_alone(path: Path) -> None:
    """An array that numpy can make, but nobody counts, would outlive its memory."""
    m = MappedFile.open(path, "r+")
    view = m.view()
    root = view.base.base  # of what all views have for their base
    assert not hasattr(root, "__array_interface__")
    assert not hasattr(m._region, "__array_interface__")
    del view
    m.close()
    with pytest.raises((ClosedError, IndexError)):
        np.array(root)[0]


def test_a_region_of_a_closed_mapping_shows_nothing(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    region = m._region
    m.close()
    assert region.bytes().size == 0


@pytest.mark.parametrize("rounds", [200])
def test_threads_that_view_at_once_get_one_array(rounds: int) -> None:
    """Of two, one would not be counted."""
    with ThreadPoolExecutor(4) as pool:
        for _ in range(rounds):
            a = mmapio.anonymous(100, "u1")
            region = a._region
            assert region is not None
            del a
            found = list(pool.map(lambda _, r=region: r.bytes(), range(4)))
            assert len({id(each) for each in found}) == 1


# Finalizers ---------------------------------------------------------------------------------------


class Cycle:
    """Garbage that only the collector finds."""

    def __init__(self, held: object) -> None:
        self.held, self.me = held, self


class CollectingLock:
    """A lock that is held while the garbage collector runs."""

    def __init__(self, lock: Any) -> None:
        self.lock = lock

    def __enter__(self) -> None:
        assert self.lock.acquire(timeout=30)
        gc.collect()

    def __exit__(self, *error: object) -> None:
        self.lock.release()


def test_the_collector_may_run_while_a_lock_is_held(path: Path) -> None:
    """It ends old places of mappings, and whole mappings; none of that waits for the lock."""
    m = MappedFile.open(path, "r+", flush_policy=FlushPolicy.every_writes(2))
    for _ in range(5):
        Cycle(m.view(0, 8))
        m.resize(m.size + (1 << 20), force=True)  # to another place
        other = MappedFile.open(path, "r+", flush_policy=FlushPolicy.every_millis(10**6))
        Cycle(other.view())
        del other
        ledger = m._source.ledger
        assert ledger is not None
        plain = ledger.syncing
        ledger.syncing = CollectingLock(plain)  # type: ignore[assignment]
        for _ in range(3):
            m.write(0, b"x" * 8)
        ledger.syncing = plain
    m.close(force=True)


def test_a_mapping_that_only_the_collector_finds_is_flushed_and_unmapped(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    sync = _os.sync

    def note(address: int, length: int, failed: list[int]) -> None:
        if length == SIZE:  # and not a mapping that another test has left
            synced.append(address)
        sync(address, length, failed)

    monkeypatch.setattr(_os, "sync", note)
    m = MappedFile.open(path, "r+", flush_policy=FlushPolicy.every_bytes(10**6))
    m.write(0, b"last")
    Cycle(m.view())
    gone = weakref.ref(m)
    del m
    gc.collect()
    assert gone() is None
    wait_until(lambda: mapped_here(path) == 0)
    assert len(synced) == 1


def test_a_mapping_whose_flush_has_failed_is_unmapped_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(_os, "sync", failing)
        policy = FlushPolicy.every_millis(1, lambda error: told.append(1))
        m = MappedFile.open(path, "r+", flush_policy=policy)
        wait_until(lambda: bool(told))
    del m
    assert mapped_here(path) == 0


def test_the_end_of_the_interpreter_waits_for_the_last_flush(
    path: Path, run_python: Callable[..., str]
) -> None:
    """And makes none of its own of memory that is gone by then."""
    code = """if True:
        import os, sys, time
        import mmapio
        sync = mmapio._os.sync
        def slow(*arguments):
            time.sleep(0.3)
            sync(*arguments)
            os.write(1, b"synced\\n")
        policy = mmapio.FlushPolicy.every_millis(10_000)
        m = mmapio.MappedFile.open(sys.argv[1], "r+", flush_policy=policy)
        mmapio._os.sync = slow
        m.write(0, b"x")
        del m
        time.sleep(float(sys.argv[2]))
    """
    for pause_s in (0, 0.1):
        out = run_python(code, str(path), str(pause_s), MMAPIO_NATIVE="0")
        assert out == "synced\n"


def test_what_is_clean_goes_at_once(path: Path) -> None:
    for policy in (None, FlushPolicy.manual(), FlushPolicy.every_bytes(10**6)):
        m = MappedFile.open(path, "r+", flush_policy=policy)
        view = m.view()
        del m, view
        assert mapped_here(path) == 0


def test_an_old_place_is_not_flushed_when_it_goes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = MappedFile.open(path, "r+", flush_policy=FlushPolicy.every_millis(10**6))
    view = m.view()
    m.resize(1 << 20, force=True)
    monkeypatch.setattr(_os, "sync", failing)
    del view
    monkeypatch.undo()
    m.close()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_two_threads_may_close_a_mapping_that_flushes_itself(tmp_path: Path) -> None:
    for number in range(50):
        path = tmp_path / str(number)
        m = MappedFile.open(path, "x+", size=100, flush_policy=FlushPolicy.every_writes(100))
        m.write(0, b"kept")
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda each: each.close(), [m, m, m]))
        m.close()
        assert path.read_bytes()[:4] == b"kept"
