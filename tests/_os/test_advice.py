"""Advice to the system about memory: each piece has its effect, and facts are reported."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmapio import _os
from mmapio._os import Advice
from mmapio.modes import Access

PAGE = _os.PAGE_SIZE
PAGES = 256
LENGTH = PAGES * PAGE

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes this advice")
tells = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell what is resident")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(LENGTH))
    return path


@pytest.fixture
def map_file(path: Path) -> Iterator[Callable[[Access], int]]:
    """Return a function that maps the file, which is unmapped at the end."""
    fd = os.open(path, os.O_RDWR)
    addresses = []

    def map_file(access: Access) -> int:
        addresses.append(_os.map_file(fd, 0, LENGTH, access))
        return addresses[-1]

    yield map_file
    for address in addresses:
        _os.unmap(address, LENGTH)
    os.close(fd)


@pytest.fixture
def evict(path: Path) -> Callable[[], None]:
    """Return a function that drops the file from the page cache, where that can be done."""

    def evict() -> None:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        address = _os.map_file(fd, 0, LENGTH, Access.READ)
        left = _os.resident(address, LENGTH).sum()
        _os.unmap(address, LENGTH)
        os.close(fd)
        if left:
            pytest.skip("this file system keeps pages in memory when it is asked to drop them")

    return evict


def is_mapped(address: int) -> list[bool]:
    """Return for each page whether this process has it mapped: bit 63 in proc_pid_pagemap(5)."""
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek(address // PAGE * 8)
        entries = np.frombuffer(pagemap.read(PAGES * 8), np.uint64)
    return [bool(entry) for entry in entries >> np.uint64(63)]


def error_of(call: Callable[[], Any]) -> int | None:
    with pytest.raises(OSError) as caught:
        call()
    return caught.value.errno


@pytest.mark.page_cache
@tells
def test_resident_tells_what_is_in_memory(
    map_file: Callable[[Access], int], evict: Callable[[], None]
) -> None:
    evict()
    address = map_file(Access.READ)
    assert _os.resident(address, LENGTH).tolist() == [0] * PAGES
    ctypes.string_at(address + 5 * PAGE, 1)
    found = _os.resident(address, LENGTH)
    assert found[5] == 1
    assert found.dtype == np.uint8
    assert set(found.tolist()) <= {0, 1}
    ctypes.string_at(address, LENGTH)
    assert _os.resident(address, LENGTH).tolist() == [1] * PAGES


@tells
@pytest.mark.parametrize(("length", "pages"), [(1, 1), (PAGE, 1), (PAGE + 1, 2)])
def test_resident_rounds_up(map_file: Callable[[Access], int], length: int, pages: int) -> None:
    assert _os.resident(map_file(Access.READ), length).shape == (pages,)


@tells
def test_resident_refuses_what_is_not_mapped() -> None:
    address = _os.map_anonymous(PAGE)
    _os.unmap(address, PAGE)
    assert error_of(lambda: _os.resident(address, PAGE)) == errno.ENOMEM


@pytest.mark.page_cache
@linux
def test_willneed_reads_in_without_mapping(
    map_file: Callable[[Access], int], evict: Callable[[], None]
) -> None:
    evict()
    address = map_file(Access.READ)
    _os.advise(address, 16 * PAGE, Advice.WILLNEED)
    until = time.monotonic() + 10
    while not _os.resident(address, 16 * PAGE).all():
        assert time.monotonic() < until
        time.sleep(0.01)
    assert not any(is_mapped(address))


@pytest.mark.page_cache
@linux
@pytest.mark.parametrize("access", [Access.READ, Access.WRITE])
def test_dontneed_unmaps_and_keeps_what_is_in_the_file(
    map_file: Callable[[Access], int], access: Access
) -> None:
    address = map_file(access)
    before = ctypes.string_at(address, LENGTH)
    if access is Access.WRITE:
        before = b"new" + before[3:]
        ctypes.memmove(address, before, 3)
    assert all(is_mapped(address))
    _os.advise(address, LENGTH, Advice.DONTNEED)
    assert not any(is_mapped(address))
    assert _os.resident(address, LENGTH).all()
    assert ctypes.string_at(address, LENGTH) == before


@linux
def test_dontneed_loses_what_is_private(map_file: Callable[[Access], int]) -> None:
    """So whoever advises it asks `backing` first."""
    address = map_file(Access.COPY)
    before = ctypes.string_at(address, PAGE)
    ctypes.memmove(address, b"new", 3)
    _os.advise(address, LENGTH, Advice.DONTNEED)
    assert ctypes.string_at(address, PAGE) == before


@pytest.mark.page_cache
@linux
@pytest.mark.parametrize("access", [Access.READ, Access.WRITE, Access.COPY])
def test_pageout_gives_memory_back_and_loses_nothing(
    map_file: Callable[[Access], int], evict: Callable[[], None], access: Access
) -> None:
    evict()
    address = map_file(access)
    before = ctypes.string_at(address, LENGTH)
    _os.advise(address, LENGTH, Advice.PAGEOUT)
    assert not any(is_mapped(address))
    assert not _os.resident(address, LENGTH).any()
    if access is not Access.READ:
        before = b"new" + before[3:]
        ctypes.memmove(address, before, 3)
        _os.advise(address, LENGTH, Advice.PAGEOUT)
    assert ctypes.string_at(address, LENGTH) == before


@pytest.mark.page_cache
@linux
@pytest.mark.parametrize("advice", [Advice.POPULATE_READ, Advice.POPULATE_WRITE])
def test_populate_maps_and_changes_nothing(
    map_file: Callable[[Access], int], path: Path, advice: Advice
) -> None:
    address = map_file(Access.WRITE)
    assert not all(is_mapped(address))
    _os.advise(address, LENGTH, advice)
    assert all(is_mapped(address))
    assert ctypes.string_at(address, LENGTH) == path.read_bytes()


@linux
def test_populate_refuses_to_write_what_is_read_only(map_file: Callable[[Access], int]) -> None:
    address = map_file(Access.READ)
    assert error_of(lambda: _os.advise(address, LENGTH, Advice.POPULATE_WRITE)) == errno.EINVAL


@tells
def test_advice_on_what_is_not_mapped_or_not_a_page(map_file: Callable[[Access], int]) -> None:
    address = _os.map_anonymous(PAGE)
    _os.unmap(address, PAGE)
    assert error_of(lambda: _os.advise(address, PAGE, Advice.WILLNEED)) == errno.ENOMEM
    mapped = map_file(Access.READ)
    assert error_of(lambda: _os.advise(mapped + 1, PAGE, Advice.WILLNEED)) == errno.EINVAL


@tells
def test_advice_that_the_system_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmapio._os import _posix

    monkeypatch.delitem(_posix._ADVICE, Advice.WILLNEED)
    assert error_of(lambda: _os.advise(0, PAGE, Advice.WILLNEED)) == errno.ENOTSUP


@linux
def test_backing_tells_shared_from_private(map_file: Callable[[Access], int]) -> None:
    for access in Access:
        address = map_file(access)
        for start, length in ((0, LENGTH), (PAGE, 1), (LENGTH - 1, 1)):
            assert _os.backing(address + start, length).shared == (access is not Access.COPY)
    heap = np.zeros(1 << 20)
    assert not _os.backing(heap.ctypes.data, heap.nbytes).shared
    assert not _os.backing(0, PAGE).shared


@linux
def test_backing_of_a_range_that_is_private_in_part(map_file: Callable[[Access], int]) -> None:
    """As it is where lost pages of a file were replaced by zeros."""
    address = map_file(Access.READ)
    _os.cover(address + 8 * PAGE, PAGE, Access.READ)
    assert _os.backing(address, 8 * PAGE).shared
    assert _os.backing(address + 9 * PAGE, PAGE).shared
    assert not _os.backing(address, LENGTH).shared


@linux
def test_backing_tells_how_far_the_device_reads_ahead(
    map_file: Callable[[Access], int], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = path.stat().st_dev
    setting = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    expected = int(setting.read_text()) << 10 if setting.exists() else 0
    address = map_file(Access.READ)
    assert _os.backing(address, LENGTH).read_ahead_bytes == expected
    memory = mmap.mmap(-1, PAGE)
    start = np.frombuffer(memory, np.uint8).ctypes.data
    assert _os.backing(start, PAGE) == (True, 0)

    from mmapio._os import _linux

    def refuse(*arguments: object, **keywords: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(_linux, "open", refuse, raising=False)
    assert _os.backing(address, LENGTH) == (False, 0)


@linux
def test_areas_are_what_the_kernel_says_of_a_range(map_file: Callable[[Access], int]) -> None:
    address = map_file(Access.WRITE)
    ctypes.memset(address, 1, 8 * PAGE)
    _os.advise(address + 4 * PAGE, 4 * PAGE, Advice.RANDOM)
    areas = _os.smaps(address + PAGE, 4 * PAGE)
    assert [(area.low - address, area.high - address) for area in areas] == [
        (0, 4 * PAGE),
        (4 * PAGE, 8 * PAGE),
    ]
    assert [sorted(area.flags & {"rr", "wr", "lo"}) for area in areas] == [["wr"], ["rr", "wr"]]
    for area in areas:
        assert area.fields["Size"] == area.fields["Rss"] == 4 * PAGE
        assert area.fields["Locked"] == 0
    assert [area.low for area in _os.smaps(address, LENGTH)][:2] == [area.low for area in areas]
    [last] = _os.smaps(address + LENGTH - 1, 1)
    assert last.high == address + LENGTH


@linux
def test_no_areas_where_nothing_is_mapped_or_told(monkeypatch: pytest.MonkeyPatch) -> None:
    address = _os.map_anonymous(PAGE)
    _os.unmap(address, PAGE)
    assert _os.smaps(address, PAGE) == []
    assert _os.smaps(2**63 - PAGE, PAGE) == []

    from mmapio._os import _linux_smaps

    def refuse(*arguments: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(_linux_smaps, "open", refuse, raising=False)
    assert _os.smaps(0, 2**47) == []


@linux
def test_a_lock_holds_pages_until_it_is_undone(map_file: Callable[[Access], int]) -> None:
    address = map_file(Access.READ)
    _os.lock(address + PAGE, PAGE + 1)
    assert [area.fields["Locked"] for area in _os.smaps(address, LENGTH)][:2] == [0, 2 * PAGE]
    _os.unlock(address, LENGTH)
    assert not any(area.fields["Locked"] for area in _os.smaps(address, LENGTH))
    _os.unmap(gone := _os.map_anonymous(PAGE), PAGE)
    assert error_of(lambda: _os.lock(gone, PAGE)) == errno.ENOMEM
    assert error_of(lambda: _os.unlock(gone, PAGE)) == errno.ENOMEM


@linux
def test_the_limit_of_locks_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    from mmapio._os import _linux_room

    monkeypatch.setattr(_linux_room, "_CAP_IPC_LOCK", 0)  # with which there is no limit
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    assert _os.lock_limit().nbytes == (None if soft == resource.RLIM_INFINITY else soft)
    assert "ulimit -l" in _os.lock_limit().how_to_raise
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY,) * 2)
    assert _os.lock_limit().nbytes is None


@pytest.mark.page_cache
@linux
def test_the_cache_is_filled_and_emptied_by_whole_pages(
    map_file: Callable[[Access], int], path: Path, evict: Callable[[], None]
) -> None:
    evict()
    fd = os.open(path, os.O_RDONLY)
    _os.prefetch(fd, 0, _os.PREFETCH_BYTES)
    address = map_file(Access.READ)
    pages = _os.PREFETCH_BYTES // PAGE
    until = time.monotonic() + 10
    while not _os.resident(address, pages * PAGE).all():
        assert time.monotonic() < until
        time.sleep(0.01)
    _os.drop_cached(fd, 1, pages * PAGE)
    left = np.flatnonzero(_os.resident(address, pages * PAGE)).tolist()
    os.close(fd)
    assert left[0] == 0  # of which a byte lies outside
    assert len(left) < pages


@linux
def test_a_hole_takes_the_blocks_within(path: Path) -> None:
    before, blocks = path.read_bytes(), path.stat().st_blocks
    with open(path, "r+b") as file:
        _os.punch_hole(file.fileno(), PAGE - 1, 2 * PAGE + 2)
    assert path.read_bytes() == before[: PAGE - 1] + bytes(2 * PAGE + 2) + before[3 * PAGE + 1 :]
    assert blocks - path.stat().st_blocks == 2 * PAGE // 512
    with open(path, "rb") as file:
        assert error_of(lambda: _os.punch_hole(file.fileno(), 0, PAGE)) == errno.EBADF


@linux
@pytest.mark.parametrize("length", [PAGE, 2 << 20, (2 << 20) + PAGE])
def test_memory_for_huge_pages_begins_where_they_can(length: int) -> None:
    def areas_added() -> int:
        before = len(_os.smaps(0, 2**63 - 1))
        address = _os.map_anonymous(length, True)
        assert length < 2 << 20 or address % (2 << 20) == 0
        ctypes.memset(address, 1, length)
        added = len(_os.smaps(0, 2**63 - 1)) - before
        _os.unmap(address, length)
        return added

    # At least once, for whatever else is in this process maps memory as it pleases.
    assert min(areas_added() for _ in range(5)) <= 1
