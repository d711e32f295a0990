"""Locks on pages: what the kernel knows of them, what may not be locked, and what an end undoes."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mmapio
from mmapio import MappedFile, _os
from mmapio.errors import (
    FileError,
    InsufficientMemoryError,
    MappingLostError,
    UnsupportedError,
)

PAGE = _os.PAGE_SIZE
PAGES = 64
SIZE = PAGES * PAGE
CONTENT = np.random.default_rng(7).integers(1, 256, SIZE, "u1")
LARGE = 24 << 20
MIB = 1 << 20

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what it was told")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT.tobytes())
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Return a file that is locked in several pieces; it is all hole."""
    path = tmp_path / "large"
    with open(path, "wb") as file:
        file.truncate(LARGE)
    return path


def locked_pages(m: MappedFile) -> list[int]:
    """Return which pages are locked: all of an area that has pages locked is."""
    low = m._region.address - m._region.address % PAGE
    areas = _os.smaps(low, SIZE)
    assert all(area.fields["Locked"] == area.fields["Pss"] for area in areas if "lo" in area.flags)
    found = [(area.low, area.high) for area in areas if area.fields["Locked"]]
    return [n for n in range(PAGES) if any(a <= low + n * PAGE < b for a, b in found)]


def is_mapped(m: MappedFile) -> list[bool]:
    """Return for each page whether this process has it: bit 63 in proc_pid_pagemap(5)."""
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek(m._region.address // PAGE * 8)
        entries = np.frombuffer(pagemap.read(PAGES * 8), np.uint64)
    return [bool(entry) for entry in entries >> np.uint64(63)]


def opened(path: Path, mode: str) -> MappedFile:
    """Return a mapping of the content, of a file or of memory without one."""
    if mode != "anonymous":
        return MappedFile.open(path, mode)
    m = MappedFile.anonymous(SIZE)
    m.write(0, CONTENT)
    return m


# Locks --------------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("mode", ["r", "r+", "c", "anonymous"])
def test_a_lock_reads_in_and_the_kernel_knows_it(path: Path, mode: str) -> None:
    m = opened(path, mode)
    m.lock(4 * PAGE - 1, PAGE + 2)
    assert locked_pages(m) == [3, 4, 5]
    assert all(is_mapped(m)[3:6])
    m.lock(10 * PAGE, PAGE)
    m.lock(10 * PAGE, PAGE)
    assert locked_pages(m) == [3, 4, 5, 10]
    m.unlock(10 * PAGE, 1)  # undoes both
    m.unlock(4 * PAGE, 1)
    assert locked_pages(m) == [3, 5]
    m.lock()
    assert locked_pages(m) == list(range(PAGES))
    m.unlock()
    assert locked_pages(m) == []
    assert m.read() == CONTENT.tobytes()


@linux
def test_a_slice_locks_its_own_pages_and_the_lock_goes_with_the_mapping(path: Path) -> None:
    a = mmapio.open(path, dtype="u1", shape=(PAGES, PAGE), offset=0)
    a[2:5].lock()
    a[::-2][:2].lock()  # rows 63 and 61, so the span of three
    assert locked_pages(a.mapping) == [2, 3, 4, 61, 62, 63]
    a[3].unlock()
    assert locked_pages(a.mapping) == [2, 4, 61, 62, 63]
    before = locked_by_process()
    a.close()
    assert before - locked_by_process() == 5 * PAGE


def locked_by_process() -> int:
    _, _, rest = Path("/proc/self/status").read_text().partition("VmLck:")
    return int(rest.split()[0]) << 10


@linux
def test_an_offset_that_is_no_page_locks_the_pages_of_its_bytes(path: Path) -> None:
    m = MappedFile.open(path, offset=PAGE - 100)
    m.lock(0, 101)
    assert locked_pages(m) == [0, 1]


@linux
def test_what_is_locked_is_not_released_but_said_so(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    m.lock(PAGE, 1)
    for give_back in (m.release, lambda: m.release(evict=True), lambda: m.advise("cold")):
        with pytest.raises(UnsupportedError, match=r"that is locked; unlock\(\) that of .*file"):
            give_back()
    m.release(2 * PAGE)
    m.unlock()
    m.release()
    assert m.read() == CONTENT.tobytes()


OVER_THE_LIMIT = """
import ctypes, os, resource, sys, mmapio
resource.setrlimit(resource.RLIMIT_MEMLOCK, (int(sys.argv[2]),) * 2)
libc, head, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert libc.capget(head, sets) == 0
sets[0] &= ~(1 << 14)  # CAP_IPC_LOCK, with which there is no limit
assert libc.capset(head, sets) == 0
m = mmapio.MappedFile.open(sys.argv[1])
try:
    m.lock(0, 16384)
    print("locked some")
    m.lock()
except mmapio.FileError as error:
    print(type(error).__name__, error)
locked = sum(area.fields["Locked"] for area in mmapio._os.smaps(m._region.address, m.size))
print(locked, os.listdir("/proc/self/fd").__len__())
for make in (
    lambda: mmapio.MappedFile.open(sys.argv[1], lock=True),
    lambda: mmapio.anonymous(1 << 20, "u1", lock=True),
):
    try:
        make()
    except mmapio.FileError as error:
        print(type(error).__name__)
print(os.listdir("/proc/self/fd").__len__())
"""


@linux
def test_over_the_limit_says_how_much_and_how_to_raise_it(
    path: Path, run_python: Callable[..., str]
) -> None:
    lines = run_python(OVER_THE_LIMIT, str(path), "65536").splitlines()
    assert lines[0] == "locked some"
    assert "FileError [Errno 12] cannot lock 262144 bytes in memory: Cannot allocate" in lines[1]
    assert "this process may lock 65536 bytes in all" in lines[1]
    locked, descriptors = lines[2].split()
    assert locked == "16384"  # what was locked before, and no more
    assert lines[3:] == ["FileError", "FileError", descriptors]
    lines = run_python(OVER_THE_LIMIT, str(path), "0").splitlines()
    assert lines[0].startswith("AccessError [Errno 1] cannot lock 16384 bytes")
    assert "may lock 0 bytes in all" in lines[0]


@linux
def test_a_lock_of_what_was_lost_says_so_and_locks_nothing(path: Path) -> None:
    m = MappedFile.open(path)
    os.truncate(path, 10 * PAGE)
    with pytest.raises(MappingLostError, match="cut the file off"):
        m.lock()
    assert locked_pages(m) == []
    m.lock(0, 10 * PAGE)


def test_a_system_that_cannot_lock_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(address: int, length: int) -> None:
        raise OSError(errno.EAGAIN, "not now")

    m = MappedFile.open(path)
    monkeypatch.setattr(_os, "lock", fail)
    monkeypatch.setattr(_os, "unlock", fail)
    monkeypatch.setattr(_os, "lock_limit", lambda: _os.LockLimit(None, ""))
    with pytest.raises(FileError, match="cannot lock 5 bytes in memory: not now: "):
        m.lock(0, 5)
    with pytest.raises(FileError, match="cannot unlock 5 bytes: not now"):
        m.unlock(0, 5)


# What does not fit --------------------------------------------------------------------------------


def locks_of(m: MappedFile) -> list[tuple[int, int]]:
    """Return the ranges of a mapping that are locked, in bytes from its first."""
    first, length = m._region.whole_pages(0, m.size)
    areas = [area for area in _os.smaps(first, length) if "lo" in area.flags]
    return [(max(a.low, first) - first, min(a.high, first + length) - first) for a in areas]


def leave(monkeypatch: pytest.MonkeyPatch, available: int | None) -> None:
    monkeypatch.setattr(_os, "available_memory", lambda: available)


def test_what_does_not_fit_into_memory_is_not_locked(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[int]()
    monkeypatch.setattr(_os, "lock", lambda address, length: calls.append(length))
    leave(monkeypatch, 16 * MIB)
    m = MappedFile.open(large)
    said = r"cannot lock 24.00 MiB with 16.00 MiB of memory available; .*lock\(force=True\)"
    with pytest.raises(InsufficientMemoryError, match=said) as caught:
        m.lock()
    assert isinstance(caught.value, MemoryError)
    assert "its holes become pages" in str(caught.value) or sys.platform == "win32"
    for make in (
        lambda: MappedFile.open(large, lock=True),
        lambda: mmapio.open(large, dtype="u1", lock=True),
        lambda: mmapio.anonymous(LARGE, "u1", lock=True),
        lambda: mmapio.open(large, dtype="u1")[5:].lock(),
    ):
        with pytest.raises(InsufficientMemoryError):
            make()
    assert not calls
    m.lock(0, 8 * MIB)
    m.lock(force=True)
    mmapio.open(large, dtype="u1").lock(force=True)
    assert sum(calls) == 8 * MIB + 2 * LARGE
    leave(monkeypatch, None)
    m.lock()


def test_a_file_that_is_not_created_for_want_of_memory_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(monkeypatch, 16 * MIB)
    with pytest.raises(InsufficientMemoryError):
        mmapio.create(tmp_path / "new.npy", LARGE, "u1", lock=True)
    assert list(tmp_path.iterdir()) == []


@linux
def test_a_resize_that_cannot_lock_what_it_adds_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = MappedFile.open(tmp_path / "grown", "x+", size=PAGE, lock=True, capacity=LARGE)
    leave(monkeypatch, 16 * MIB)
    with pytest.raises(InsufficientMemoryError):
        m.resize(LARGE)
    assert m.size == PAGE == (tmp_path / "grown").stat().st_size


@linux
def test_what_is_locked_already_needs_no_more_memory(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = MappedFile.open(large)
    m.lock(0, 12 * MIB)
    leave(monkeypatch, 16 * MIB)
    m.lock()
    assert locks_of(m) == [(0, LARGE)]
    leave(monkeypatch, 1 * MIB)
    m.lock()


@linux
@pytest.mark.parametrize("lock", [True, False])
def test_memory_without_a_file_that_is_there_needs_no_more(
    monkeypatch: pytest.MonkeyPatch, lock: bool
) -> None:
    m = MappedFile.anonymous(LARGE)
    m.view(0, 12 * MIB)[:] = 1
    leave(monkeypatch, 16 * MIB)
    m.lock() if lock else m.touch_pages()
    leave(monkeypatch, 1 * MIB)
    m.lock() if lock else m.touch_pages()


@linux
def test_private_copies_need_memory_for_all_pages_but_those_copied(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = MappedFile.open(large, "c")
    m.view().max()  # all of it is in the page cache now
    leave(monkeypatch, 16 * MIB)
    with pytest.raises(InsufficientMemoryError):
        m.lock()
    with pytest.raises(InsufficientMemoryError):
        m.touch_pages(write=True)
    m.touch_pages()
    m.view(0, 12 * MIB)[:] = 1
    m.lock()


def test_memory_that_others_take_meanwhile_ends_a_lock(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = iter([1 << 40, MIB])
    locked, unlocked = list[int](), list[int]()
    monkeypatch.setattr(_os, "available_memory", lambda: next(rooms, MIB))
    monkeypatch.setattr(_os, "lock", lambda _, length: locked.append(length))
    monkeypatch.setattr(_os, "unlock", lambda _, length: unlocked.append(length))
    m = MappedFile.open(large)
    with pytest.raises(InsufficientMemoryError, match="cannot lock another"):
        m.lock()
    assert 0 < sum(locked) < LARGE
    assert sum(unlocked) >= sum(locked)


def test_a_limit_of_the_process_is_looked_at_before_anything_is_locked(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_os, "lock", lambda *_: pytest.fail("it was tried"))
    monkeypatch.setattr(_os, "smaps", lambda *_: [])
    monkeypatch.setattr(_os, "lock_limit", lambda: _os.LockLimit(LARGE, "raise it", 2 * MIB))
    said = f"may lock {LARGE} bytes in all, {2 * MIB} of which are locked; raise it"
    with pytest.raises(FileError, match=said) as caught:
        MappedFile.open(large).lock()
    assert caught.value.errno == errno.ENOMEM
    monkeypatch.setattr(_os, "lock_limit", lambda: _os.LockLimit(0, "raise it"))
    with pytest.raises(PermissionError, match="may lock 0 bytes"):
        MappedFile.open(large).lock(force=True)


# Interrupts ---------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_lock_that_ends_early_leaves_what_was_locked_before(
    large: Path, error: type[BaseException]
) -> None:
    m = MappedFile.open(large)
    m.lock(4 * MIB, MIB)
    m.lock(20 * MIB, MIB)

    def progress(done: int, total: int) -> None:
        assert total == LARGE
        if done:
            raise error

    with pytest.raises(error):
        m.lock(progress=progress)
    assert locks_of(m) == [(4 * MIB, 5 * MIB), (20 * MIB, 21 * MIB)]
    m.lock()
    assert locks_of(m) == [(0, LARGE)]


@linux
def test_a_piece_that_fails_undoes_those_before(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = _os.lock, list[int]()

    def fail_at_the_second(address: int, length: int) -> None:
        calls.append(address)
        if len(calls) == 2:
            raise OSError(errno.EAGAIN, "not now")
        real(address, length)

    m = MappedFile.open(large)
    monkeypatch.setattr(_os, "lock", fail_at_the_second)
    with pytest.raises(FileError, match="not now"):
        m.lock()
    assert (len(calls), locks_of(m)) == (2, [])


def test_ctrl_c_comes_between_two_pieces(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[int]()

    def lock(address: int, length: int) -> None:
        calls.append(length)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(_os, "lock", lock)
    monkeypatch.setattr(_os, "unlock", lambda address, length: calls.append(-length))
    with pytest.raises(KeyboardInterrupt):
        MappedFile.open(large).lock()
    assert len(calls) == 2
    assert sum(calls) == 0


def test_a_second_ctrl_c_does_not_keep_locks(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[int]()

    def unlock(address: int, length: int) -> None:
        calls.append(length)
        if len(calls) < 3:
            signal.raise_signal(signal.SIGINT)

    def stop(done: int, total: int) -> None:
        if done:
            raise ZeroDivisionError

    monkeypatch.setattr(_os, "lock", lambda address, length: None)
    monkeypatch.setattr(_os, "unlock", unlock)
    with pytest.raises(KeyboardInterrupt):
        MappedFile.open(large).lock(progress=stop)
    assert len(calls) == 3


def test_an_exception_that_is_sent_to_a_thread_ends_its_lock(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, found = threading.Event(), list[object]()

    def lock(address: int, length: int) -> None:
        begun.set()
        sent.wait(60)

    def locking() -> None:
        try:
            MappedFile.open(large).lock()
        except BaseException as error:
            found.append(type(error))

    monkeypatch.setattr(_os, "lock", lock)
    monkeypatch.setattr(_os, "unlock", lambda address, length: found.append(length))
    sent, thread = threading.Event(), threading.Thread(target=locking)
    thread.start()
    assert begun.wait(60)
    kind = ctypes.py_object(ZeroDivisionError)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), kind)
    sent.set()
    thread.join()
    assert found[-1] is ZeroDivisionError
    assert sum(found[:-1]) < LARGE
