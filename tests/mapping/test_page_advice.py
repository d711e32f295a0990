"""Advice, prefetch, release, holes and locks: each has its effect, and none costs a byte."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import MappedFile, _os
from mmapio.errors import (
    ArgumentError,
    ClosedError,
    FileError,
    FlushError,
    InsufficientMemoryError,
    MappingLostError,
    OutOfBoundsError,
    ReadOnlyError,
    UnsupportedError,
)

PAGE = _os.PAGE_SIZE
PAGES = 64
SIZE = PAGES * PAGE
CONTENT = np.random.default_rng(7).integers(1, 256, SIZE, "u1")
NAMES = ["normal", "random", "sequential", "willneed", "dontneed", "cold", "pageout"]
NAMES += ["populate_read", "populate_write", "hugepage", "nohugepage", "collapse"]
NAMES += ["dontfork", "dofork", "merge", "unmerge"]

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what it was told")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT.tobytes())
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a disk of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (needs root on Linux)")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def flags(m: MappedFile, page: int) -> frozenset[str]:
    """Return the flags of the area that a page of a mapping lies in."""
    [area] = _os.smaps(m._region.address + page * PAGE, 1)
    return area.flags


def is_mapped(m: MappedFile) -> list[bool]:
    """Return for each page whether this process has it: bit 63 in proc_pid_pagemap(5)."""
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek(m._region.address // PAGE * 8)
        entries = np.frombuffer(pagemap.read(PAGES * 8), np.uint64)
    return [bool(entry) for entry in entries >> np.uint64(63)]


def cached_bytes(path: Path) -> int:
    """Return how much of a file is in the page cache, asked of another program."""
    if not shutil.which("fincore"):
        pytest.skip("fincore (util-linux) is not installed")
    done = subprocess.run(
        ["fincore", "--bytes", "--noheadings", "--output", "RES", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout or 0)


def evicted(path: Path) -> None:
    """Drop a file from the page cache, where that can be done."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if cached_bytes(path):
        pytest.skip("this file system keeps pages in memory when it is asked to drop them")


def opened(path: Path, mode: str) -> MappedFile:
    """Return a mapping of the content, of a file or of memory without one."""
    if mode != "anonymous":
        return MappedFile.open(path, mode)
    m = MappedFile.anonymous(SIZE)
    m.write(0, CONTENT)
    return m


# Advice -------------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("mode", ["r", "r+", "c", "anonymous"])
@pytest.mark.parametrize(
    ("advice", "flag", "undone_by"),
    [
        ("random", "rr", "normal"),
        ("sequential", "sr", "normal"),
        ("hugepage", "hg", "nohugepage"),
        ("nohugepage", "nh", "hugepage"),
        ("dontfork", "dc", "dofork"),
        ("merge", "mg", "unmerge"),
    ],
)
def test_advice_is_known_to_the_kernel_of_the_pages_of_a_range(
    path: Path, mode: str, advice: str, flag: str, undone_by: str
) -> None:
    m = opened(path, mode)
    try:
        m.advise(advice, 3 * PAGE - 1, PAGE + 2)
    except UnsupportedError as error:
        pytest.skip(str(error))
    expected = [2, 3, 4] if advice != "merge" or mode == "c" else []  # of private memory only
    assert [n for n in range(8) if flag in flags(m, n)] == expected
    m.advise(undone_by)
    assert [n for n in range(8) if flag in flags(m, n)] == []
    assert m.read() == CONTENT.tobytes()


@linux
def test_advice_on_slices_is_for_their_span(path: Path) -> None:
    a = mmapio.open(path, dtype="<u4", shape=(PAGES, PAGE // 4))
    a[10:13].advise("random")
    a[::-1][5:8].advise("sequential")  # rows 58 down to 56
    a.T[3, 20:23].advise("random")  # one item of each of three rows
    a[30:30].advise("random")
    m = a.mapping
    assert [n for n in range(PAGES) if "rr" in flags(m, n)] == [10, 11, 12, 20, 21, 22]
    assert [n for n in range(PAGES) if "sr" in flags(m, n)] == [56, 57, 58]


@linux
@pytest.mark.parametrize("mode", ["r", "r+", "c", "anonymous"])
@pytest.mark.parametrize("advice", NAMES)
def test_no_advice_costs_a_byte(path: Path, mode: str, advice: str) -> None:
    m = opened(path, mode)
    expected = CONTENT.tobytes()
    if mode not in ("r", "anonymous"):
        m.write(5 * PAGE, b"stored")
        expected = expected[: 5 * PAGE] + b"stored" + expected[5 * PAGE + 6 :]
    try:
        m.advise(advice, 100, SIZE - 200)
        m.advise(advice)
    except ReadOnlyError:
        assert (mode, advice) == ("r", "populate_write")
    except UnsupportedError:
        assert advice in ("collapse", "merge", "unmerge")
    assert m.read() == expected
    if mode == "c":
        assert path.read_bytes() == CONTENT.tobytes()


@pytest.mark.page_cache
@linux
def test_populating_maps_every_page(path: Path) -> None:
    m = MappedFile.anonymous(SIZE)
    m.advise("populate_read", 10 * PAGE + 5, 2 * PAGE)
    assert np.flatnonzero(is_mapped(m)).tolist() == [10, 11, 12]
    m = MappedFile.open(path, "c")
    m.advise("populate_write", 0, 4 * PAGE)
    [area] = _os.smaps(m._region.address, SIZE)
    assert area.fields["Anonymous"] == 4 * PAGE


def test_a_name_that_there_is_not_and_what_there_is(path: Path) -> None:
    m, a = MappedFile.open(path), mmapio.open(path, dtype="u1")
    for wrong in ("nonsense", "RANDOM", "remove", "", None, 4, [], b"random"):
        for thing in (m, a):
            with pytest.raises(ArgumentError, match=r"must be one of 'normal', .*'unmerge', got"):
                thing.advise(wrong)
    with pytest.raises(ArgumentError) as caught:
        m.advise("nonsense")
    assert all(repr(name) in str(caught.value) for name in NAMES)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_system_without_it_says_what_to_do_instead(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(_os, "advise", refuse)
    monkeypatch.setattr(_os, "smaps", lambda address, length: [])
    m = MappedFile.open(path, "r+")
    for advice, instead in (
        ("cold", r"release\(\) takes pages"),
        ("populate_read", r"touch_pages\(\)"),
        ("hugepage", "do without"),
    ):
        with pytest.raises(UnsupportedError, match=f"takes no advice '{advice}'.*{instead}"):
            m.advise(advice)
    names = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}
    with pytest.raises(UnsupportedError, match=names.get(sys.platform, sys.platform)):
        m.advise("merge")


@linux
@pytest.mark.parametrize(("name", "platform"), [("macOS", "darwin"), ("Windows", "win32")])
def test_messages_name_the_other_platforms_too(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str, platform: str
) -> None:
    monkeypatch.setattr("mmapio.mapping.page_advice.sys.platform", platform)
    monkeypatch.setattr(_os, "smaps", lambda address, length: [])
    with pytest.raises(UnsupportedError, match=f"{name} takes no advice 'collapse'"):
        MappedFile.anonymous(PAGE).advise("collapse")


def test_other_errors_are_told_as_they_are(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.EAGAIN, "resource temporarily unavailable")

    monkeypatch.setattr(_os, "advise", fail)
    with pytest.raises(FileError, match=r"cannot advise 'random' on 8 bytes at 9: .*unavail"):
        MappedFile.open(path).advise("random", 9, 8)


@linux
@pytest.mark.parametrize("advice", ["populate_read", "populate_write"])
def test_populating_what_was_lost_says_so(path: Path, advice: str) -> None:
    m = MappedFile.open(path, "r+")
    os.truncate(path, 10 * PAGE)
    m.advise(advice, 0, 10 * PAGE)
    with pytest.raises(MappingLostError, match="cut the file off") as caught:
        m.advise(advice, 9 * PAGE)
    assert (caught.value.start, caught.value.stop) == (10 * PAGE, SIZE)
    with pytest.raises(MappingLostError):
        mmapio.open(path, "r+", dtype="u1").mapping.advise(advice) or m.advise(advice)


@linux
def test_populating_a_full_disk_says_so(small_disk: Path) -> None:
    m = MappedFile.open(small_disk / "holes", "x+", size=4 << 20, reserve=False)
    m.advise("populate_write", 0, 100 * PAGE)
    with pytest.raises(FileError, match="No space left") as caught:
        m.advise("populate_write")
    assert caught.value.errno == errno.ENOSPC
    assert not isinstance(caught.value, MappingLostError)


@linux
def test_populating_from_a_drive_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.EFAULT, "bad address")

    monkeypatch.setattr(_os, "advise", fail)
    with pytest.raises(MappingLostError, match="I/O error") as caught:
        MappedFile.open(path).advise("populate_read", PAGE, 10)
    assert (caught.value.start, caught.value.stop) == (PAGE, PAGE + 10)


# Release ------------------------------------------------------------------------------------------


@pytest.mark.page_cache
@linux
@pytest.mark.parametrize("mode", ["r", "r+", "anonymous"])
@pytest.mark.parametrize("how", ["release", "dontneed"])
def test_release_takes_pages_from_this_process_alone(path: Path, mode: str, how: str) -> None:
    m = opened(path, mode)
    expected = m.read()
    m.touch_pages()
    assert all(is_mapped(m))
    if how == "release":
        m.release(8 * PAGE + 10, 4 * PAGE)
    else:
        m.advise("dontneed", 8 * PAGE + 10, 4 * PAGE)
    assert [n for n in range(PAGES) if not is_mapped(m)[n]] == [8, 9, 10, 11, 12]
    assert _os.resident(m._region.address, SIZE).all()
    assert m.read() == expected


@linux
@pytest.mark.parametrize("evict", [False, True])
def test_release_keeps_what_was_stored_in_a_private_copy(path: Path, evict: bool) -> None:
    a = mmapio.open(path, "c", dtype="u1")
    a[:] = ~CONTENT
    a[5:-5].release(evict)
    a.advise("dontneed")
    a.release(evict)
    np.testing.assert_array_equal(a, ~CONTENT)
    assert path.read_bytes() == CONTENT.tobytes()


@pytest.mark.page_cache
@linux
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_evict_takes_a_file_out_of_the_cache(path: Path, mode: str) -> None:
    evicted(path)
    m = MappedFile.open(path, mode)
    before = m.read()
    assert cached_bytes(path) == SIZE
    m.release(evict=True)
    assert cached_bytes(path) == 0
    assert not any(is_mapped(m))
    assert m.read() == before


@pytest.mark.page_cache
@linux
def test_evict_of_a_part_leaves_the_rest(path: Path) -> None:
    evicted(path)
    a = mmapio.open(path, "r+", dtype="u1")
    a.advise("random")  # so that the cache has single pages
    bytes(a)
    a[: 16 * PAGE].release(evict=True)
    assert cached_bytes(path) == SIZE - 16 * PAGE
    assert _os.resident(a.mapping._region.address, SIZE).tolist() == [0] * 16 + [1] * (PAGES - 16)


@linux
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_evict_writes_what_is_dirty_first_whoever_stored_it(path: Path, mode: str) -> None:
    evicted(path)
    m = MappedFile.open(path, mode)
    with open(path, "r+b") as other:
        other.write(b"another's")
    if mode == "r+":
        m.write(PAGE, b"own")
    expected = path.read_bytes()
    m.release(evict=True)
    assert cached_bytes(path) == 0
    assert path.read_bytes() == expected != CONTENT.tobytes()


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_nothing_is_evicted_that_could_not_be_written(
    path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def never(*arguments: object) -> None:
        raise AssertionError("it was dropped")

    m = MappedFile.open(path, mode)
    for name in ("sync", "sync_data"):
        monkeypatch.setattr(_os, name, fail)
    for name in ("advise", "drop_cached"):
        monkeypatch.setattr(_os, name, never)
    with pytest.raises(FlushError if mode == "r+" else FileError, match="Input/output error"):
        m.release(evict=True)
    monkeypatch.undo()


@pytest.mark.page_cache
@linux
def test_what_another_mapping_holds_stays_in_the_cache(path: Path) -> None:
    m, other = MappedFile.open(path), MappedFile.open(path)
    other.touch_pages(0, 4 * PAGE)
    expected = [n for n in range(PAGES) if is_mapped(other)[n]]
    m.release(evict=True)
    assert set(expected) <= set(np.flatnonzero(_os.resident(m._region.address, SIZE)))
    assert m.read() == other.read() == CONTENT.tobytes()


def test_a_system_that_evicts_nothing_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOTSUP, "no such thing")

    monkeypatch.setattr(_os, "drop_cached", refuse)
    with pytest.raises(UnsupportedError, match=r"drops nothing .*; release\(\) without"):
        MappedFile.open(path).release(evict=True)


def test_evict_needs_the_file_at_its_path(path: Path) -> None:
    m = MappedFile.open(path)
    path.unlink()
    m.release()
    with pytest.raises(mmapio.ReplacedError):
        m.release(evict=True)
    assert m.read() == CONTENT.tobytes()


# Prefetch -----------------------------------------------------------------------------------------


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.page_cache
@linux
@pytest.mark.parametrize("at_once_bytes", [0, 1 << 20])  # in a thread, or not
def test_prefetch_reads_in_and_maps_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, at_once_bytes: int
) -> None:
    evicted(path)
    monkeypatch.setattr("mmapio.mapping.page_advice._AT_ONCE_BYTES", at_once_bytes or PAGE)
    m = MappedFile.open(path)
    start, others = m._region.address, set(threading.enumerate())
    m.prefetch(1, 16 * PAGE - 1)
    wait_for(lambda: bool(_os.resident(start, 16 * PAGE).all()))
    m.advise("willneed")
    wait_for(lambda: bool(_os.resident(start, SIZE).all()))
    assert not any(is_mapped(m))
    wait_for(lambda: others.issuperset(threading.enumerate()))


@linux
def test_prefetch_of_much_ends_with_the_mapping(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads through a descriptor of its own, so nothing waits for it, and nothing is left."""
    going, go_on, asked = threading.Event(), threading.Event(), []

    def slow(fd: int, offset: int, length: int) -> None:
        asked.append(offset)
        going.set()
        assert go_on.wait(20)

    monkeypatch.setattr(_os, "prefetch", slow)
    monkeypatch.setattr("mmapio.mapping.page_advice._AT_ONCE_BYTES", PAGE)
    before = set(os.listdir("/proc/self/fd"))
    for ending in ("close", "del"):
        m = MappedFile.open(path)
        threads = set(threading.enumerate())
        m.prefetch()
        [reading] = set(threading.enumerate()) - threads
        assert going.wait(20)
        source = m._source if ending == "close" else None
        if ending == "close":
            m.close()
        del m
        go_on.set()
        reading.join(20)
        assert set(os.listdir("/proc/self/fd")) <= before
        assert asked == [0], source
        asked.clear(), going.clear(), go_on.clear()


@pytest.mark.parametrize("what", ["os.dup", "threading.Thread.start"])
def test_a_prefetch_that_gets_no_thread_begins_by_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def refuse(*arguments: object) -> None:
        raise (OSError(errno.EMFILE, "too many") if what == "os.dup" else RuntimeError("too many"))

    asked: list[int] = []
    monkeypatch.setattr(_os, "PREFETCH_BYTES", PAGE)
    monkeypatch.setattr(_os, "prefetch", lambda fd, offset, length: asked.append(offset))
    monkeypatch.setattr("mmapio.mapping.page_advice._AT_ONCE_BYTES", 2 * PAGE)
    monkeypatch.setattr(f"mmapio.mapping.page_advice.{what}", refuse)
    before = os.listdir("/proc/self/fd") if sys.platform == "linux" else []
    MappedFile.open(path).prefetch()
    monkeypatch.undo()
    assert asked == [0, PAGE]
    assert (os.listdir("/proc/self/fd") if sys.platform == "linux" else []) == before


def test_a_prefetch_that_fails_is_of_no_concern(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(_os, "prefetch", fail)
    m = MappedFile.open(path)
    m.prefetch(3, 5)
    m.prefetch(0, 0)
    MappedFile.anonymous(SIZE).prefetch()


# Holes --------------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("mode", ["r+", "anonymous"])
@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, SIZE), (8 * PAGE, 40 * PAGE), (8 * PAGE - 1, 40 * PAGE + 1), (5, 9), (PAGE, 2 * PAGE - 1)],
)
def test_a_hole_reads_zeros_and_the_rest_is_as_it_was(
    path: Path, mode: str, start: int, stop: int
) -> None:
    m = opened(path, mode)
    before = path.stat().st_blocks
    m.punch_hole(start, stop - start)
    expected = CONTENT.copy()
    expected[start:stop] = 0
    whole = max(stop // PAGE - -(-start // PAGE), 0)
    if mode == "r+":
        assert path.read_bytes() == expected.tobytes()
        assert path.stat().st_size == SIZE
        assert before - path.stat().st_blocks == whole * PAGE // 512
        m.check()  # which knows of the hole
    else:
        low = start + -start % PAGE
        rest = [n for n in range(PAGES) if not low <= n * PAGE < low + whole * PAGE]
        assert np.flatnonzero(_os.resident(m._region.address, SIZE)).tolist() == rest
    assert m.read() == expected.tobytes()


@linux
def test_another_process_sees_the_hole(path: Path, run_python: Callable[..., str]) -> None:
    m = MappedFile.open(path, "r+")
    code = (
        "import mmapio, sys; m = mmapio.MappedFile.open(sys.argv[1], 'r+');"
        f"m.punch_hole({PAGE}, {SIZE - 2 * PAGE}); m.flush();"
        f"print(m.view({PAGE}, {PAGE}).any())"
    )
    assert run_python(code, str(path)) == "False\n"
    assert np.flatnonzero(m.view()).tolist() == [*range(PAGE), *range(SIZE - PAGE, SIZE)]


@linux
def test_a_hole_counts_as_a_write(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    m.punch_hole(100, 200)
    assert (m.pending_bytes, m.pending_writes) == (200, 1)
    m.flush()
    assert m.pending_bytes == 0


def test_where_no_hole_can_be(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReadOnlyError):
        MappedFile.open(path).punch_hole(0, 10)
    with pytest.raises(UnsupportedError, match="a private copy"):
        MappedFile.open(path, "c").punch_hole(0, 10)
    m = MappedFile.open(path, "r+")
    m.punch_hole(10, 0)

    def refuse(fd: int, offset: int, length: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(_os, "punch_hole", refuse)
    code = errno.ENOTSUP
    with pytest.raises(UnsupportedError, match=r"punches no holes .*; store zeros"):
        m.punch_hole(0, 10)
    code = errno.ENOSPC
    with pytest.raises(FileError, match="cannot punch 10 bytes at 0: No space"):
        m.punch_hole(0, 10)
    assert m.read() == CONTENT.tobytes()
    os.truncate(path, PAGE)
    os.truncate(path, SIZE)
    with pytest.raises(MappingLostError, match="grew it again"):  # a hole that nobody here made
        m.check()


@linux
def test_memory_that_is_locked_gets_zeros_too(path: Path) -> None:
    m = opened(path, "anonymous")
    m.lock()
    m.punch_hole(10, SIZE - 20)
    assert np.flatnonzero(m.view()).tolist() == [*range(10), *range(SIZE - 10, SIZE)]


# Huge pages ---------------------------------------------------------------------------------------


@linux
def test_whether_there_are_huge_pages_is_asked_without_a_trace(tmp_path: Path) -> None:
    m = MappedFile.open(tmp_path / "holes", "x+", size=8 << 20, reserve=False)
    assert m.is_hugepage_backed() is False
    assert (tmp_path / "holes").stat().st_blocks == 0
    assert not _os.resident(m._region.address, m.size).any()
    [area] = _os.smaps(m._region.address, m.size)
    assert area.fields["Rss"] == 0


@linux
def test_huge_pages_are_told_from_others() -> None:
    m = MappedFile.anonymous(8 << 20, hugepages=True)
    assert m._region.address % (2 << 20) == 0
    m.view()[:] = 1
    try:
        m.advise("collapse")
    except (UnsupportedError, FileError) as error:
        pytest.skip(f"no huge pages here: {error}")
    assert m.is_hugepage_backed() is True
    assert m.view().all()
    assert MappedFile.anonymous(PAGE).is_hugepage_backed() is False


def test_a_system_that_tells_nothing_of_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    m = MappedFile.anonymous(PAGE)
    monkeypatch.setattr(_os, "smaps", lambda address, length: [])
    assert m.is_hugepage_backed() is None


# All of them --------------------------------------------------------------------------------------

OF_A_RANGE: list[Callable[..., Any]] = [
    lambda m, *where: m.advise("normal", *where),
    MappedFile.prefetch,
    MappedFile.release,
    MappedFile.lock,
    MappedFile.unlock,
]


@pytest.mark.parametrize("call", [*OF_A_RANGE, MappedFile.punch_hole])
def test_ranges_must_lie_within_the_mapping(path: Path, call: Callable[..., Any]) -> None:
    m = MappedFile.open(path, "r+")
    for where in ((0, SIZE + 1), (SIZE + 1, 0), (SIZE, 1), (2**63 - 1, 2)):
        with pytest.raises(OutOfBoundsError):
            call(m, *where)
    with pytest.raises(ArgumentError):
        call(m, -1, 1)
    call(m, SIZE, 0)
    assert m.read() == CONTENT.tobytes()


@pytest.mark.parametrize("call", OF_A_RANGE)
def test_an_empty_file_has_no_pages(tmp_path: Path, call: Callable[..., Any]) -> None:
    (tmp_path / "empty").touch()
    call(MappedFile.open(tmp_path / "empty", "r+"))
    call(MappedFile.anonymous(0))


OF_AN_ARRAY: list[Callable[[Any], Any]] = [
    lambda a: a.advise("random"),
    lambda a: a.prefetch(),
    lambda a: a.release(),
    lambda a: a.release(evict=True),
    lambda a: a.lock(),
    lambda a: a.unlock(),
]


@pytest.mark.parametrize("call", OF_AN_ARRAY)
def test_what_is_closed_says_so(path: Path, call: Callable[..., Any]) -> None:
    with mmapio.open(path, "r+", dtype="u1") as a:
        m = a.mapping
    for closed in (a, a[5:10], m):
        with pytest.raises(ClosedError):
            call(closed)
    with pytest.raises(ClosedError):
        m.punch_hole(0, 1)
    with pytest.raises(ClosedError):
        m.is_hugepage_backed()


@pytest.mark.parametrize("call", OF_AN_ARRAY)
def test_a_copy_has_no_file_to_advise_on(path: Path, call: Callable[..., Any]) -> None:
    a = mmapio.open(path, dtype="u1")
    with pytest.raises(UnsupportedError, match="is a copy in memory"):
        call(a[[1, 2, 3]])
    call(a[3:3])


@linux
def test_arrays_that_stayed_behind_when_the_mapping_moved_mean_their_own_memory(
    path: Path,
) -> None:
    m = MappedFile.open(path, "r+")
    a = mmapio.open(path, "r+", dtype="u1")
    a.mapping.resize(SIZE + (1 << 20), force=True)
    a[:PAGE].lock()
    [area] = _os.smaps(a.ctypes.data, 1)
    assert "lo" in area.flags
    a.unlock()
    a.release(evict=True)
    np.testing.assert_array_equal(a, m.view())


def test_closing_meanwhile_hits_no_other_memory(path: Path) -> None:
    """Addresses of a closed mapping are soon another's, which must lose nothing."""
    stop = threading.Event()
    wrong: list[BaseException] = []

    def hammer(current: list[MappedFile]) -> None:
        while not stop.is_set():
            m = current[0]
            for call in (*OF_A_RANGE, MappedFile.is_hugepage_backed):
                try:
                    call(m)
                except ClosedError:
                    break
                except UnsupportedError:  # what another thread has locked is not released
                    pass
                except BaseException as error:
                    wrong.append(error)
                    return

    current = [MappedFile.open(path)]
    threads = [threading.Thread(target=hammer, args=(current,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        old, current[0] = current[0], MappedFile.open(path)
        old.close()
        other = np.full(SIZE, 7, "u1")
        assert (other == 7).all()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


# Large ranges -------------------------------------------------------------------------------------

LARGE = 24 << 20


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Return a file of several pieces; it is all hole."""
    path = tmp_path / "large"
    with open(path, "wb") as file:
        file.truncate(LARGE)
    return path


@linux
@pytest.mark.parametrize("advice", ["populate_read", "populate_write"])
def test_what_does_not_fit_into_memory_is_not_populated(
    large: Path, monkeypatch: pytest.MonkeyPatch, advice: str
) -> None:
    monkeypatch.setattr(_os, "available_memory", lambda: 16 << 20)
    a = mmapio.open(large, "r+", dtype="u1")
    m = a.mapping
    before = m.residency().resident
    for call in (
        lambda: m.advise(advice),
        lambda: a.advise(advice),
        lambda: MappedFile.open(large, "r+", advise=advice),
        lambda: MappedFile.open(large, "r+", touch="eager"),
        a.touch_pages,
        m.touch_pages,
    ):
        with pytest.raises(InsufficientMemoryError, match="force=True"):
            call()
    assert m.residency().resident == before
    m.advise(advice, 0, 8 << 20)
    m.advise(advice, force=True)
    m.release()
    a.advise(advice)  # in the page cache it is there


@linux
@pytest.mark.parametrize(
    ("system_call", "call"),
    [
        ("advise", lambda m: m.advise("populate_read")),
        ("advise", lambda m: m.advise("cold")),
        ("advise", lambda m: m.release()),
        ("lock", lambda m: m.lock()),
        ("drop_cached", lambda m: m.release(evict=True)),
        ("punch_hole", lambda m: m.punch_hole(0, m.size)),
        ("write_back", lambda m: m.flush()),
        ("write_back", lambda m: m.release(evict=True)),
    ],
)
def test_ctrl_c_parts_every_call_on_a_large_range(
    large: Path, monkeypatch: pytest.MonkeyPatch, system_call: str, call: Callable[[Any], None]
) -> None:
    os.truncate(large, 3 << 30)
    m = MappedFile.open(large, "r+")
    calls = []

    def interrupt(*arguments: int) -> None:
        calls.append(arguments)
        signal.raise_signal(signal.SIGINT)

    for name in ("advise", "lock", "unlock", "drop_cached", "punch_hole", "write_back"):
        monkeypatch.setattr(_os, name, lambda *_: None)
    monkeypatch.setattr(_os, system_call, interrupt)
    with pytest.raises(KeyboardInterrupt):
        call(m)
    assert len(calls) == 1
    m.check()


def test_a_collapse_goes_on_where_a_piece_cannot_be(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = []

    def fail_first(address: int, length: int, advice: _os.Advice) -> None:
        lengths.append(length)
        if len(lengths) == 1:
            raise OSError(errno.EINVAL, "not here")

    m = MappedFile.open(large)
    monkeypatch.setattr(_os, "advise", fail_first)
    with pytest.raises(UnsupportedError, match="takes no advice 'collapse'"):
        m.advise("collapse")
    assert sum(lengths) == LARGE
    assert len(lengths) > 1
