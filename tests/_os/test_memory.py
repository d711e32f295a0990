"""The system calls of this platform on memory, and the stub that has none."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import inspect
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from mmapio import _os
from mmapio._os import _stub
from mmapio.errors import UnsupportedError
from mmapio.modes import Access

PAGE = _os.PAGE_SIZE
GRAIN = _os.GRANULARITY
BINARY = getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def opened(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    fd = os.open(path, flags | BINARY, 0o666)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def mapped(fd: int, length: int, access: Access, offset: int = 0) -> Iterator[int]:
    address = _os.map_file(fd, offset, length, access)
    try:
        yield address
    finally:
        _os.unmap(address, length)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a file of four grains, each full of its own number."""
    path = tmp_path / "file"
    path.write_bytes(b"".join(bytes([number]) * GRAIN for number in (1, 2, 3, 4)))
    return path


@pytest.fixture
def fd(path: Path) -> Iterator[int]:
    with opened(path) as fd:
        yield fd


@pytest.fixture
def closed_fd() -> int:
    """Return a number that is no descriptor now."""
    reader, writer = os.pipe()
    os.close(writer)
    os.close(reader)
    return reader


def load(address: int, length: int = 1) -> bytes:
    return ctypes.string_at(address, length)


def store(address: int, data: bytes) -> None:
    ctypes.memmove(address, data, len(data))


def in_file(path: Path, offset: int, length: int = 1) -> bytes:
    return path.read_bytes()[offset : offset + length]


def can_be_written(address: int) -> bool:
    """Let the kernel store there: where it must not, that is an error and no dead process."""
    target = (ctypes.c_char * 1).from_address(address)
    reader, writer = os.pipe()
    try:
        os.write(writer, b"x")
        return os.readv(reader, [target]) == 1
    except OSError as error:
        if error.errno != errno.EFAULT:
            raise
        return False
    finally:
        os.close(reader)
        os.close(writer)


needs_readv = pytest.mark.skipif(not hasattr(os, "readv"), reason="no os.readv to test stores with")


# Mapping --------------------------------------------------------------------------------------


def test_a_read_mapping_shows_the_file_as_it_is_now(fd: int, path: Path) -> None:
    with mapped(fd, GRAIN, Access.READ) as address:
        assert load(address, GRAIN) == b"\1" * GRAIN
        with path.open("r+b") as other:
            other.write(b"new")
        assert load(address, 4) == b"new\1"


def test_a_store_reaches_the_file_and_other_mappings(fd: int, path: Path) -> None:
    with mapped(fd, GRAIN, Access.WRITE) as address, mapped(fd, GRAIN, Access.READ) as other:
        store(address + 5, b"new")
        assert load(other + 4, 5) == b"\1new\1"
        assert in_file(path, 4, 5) == b"\1new\1"


def test_a_store_to_a_copy_stays_there(fd: int, path: Path) -> None:
    with mapped(fd, GRAIN, Access.COPY) as address:
        store(address, b"new")
        assert load(address, 4) == b"new\1"
        assert in_file(path, 0, 3) == b"\1\1\1"


def test_a_copy_of_a_file_that_is_open_for_reading_only(path: Path) -> None:
    with opened(path, os.O_RDONLY) as fd, mapped(fd, GRAIN, Access.COPY) as address:
        store(address, b"new")
        assert load(address, 4) == b"new\1"


@needs_readv
def test_only_a_read_mapping_refuses_stores(fd: int) -> None:
    writable = {}
    for access in Access:
        with mapped(fd, GRAIN, access) as address:
            writable[access] = can_be_written(address)
    assert writable == {Access.READ: False, Access.WRITE: True, Access.COPY: True}


def test_a_mapping_starts_at_the_offset(fd: int) -> None:
    with mapped(fd, 2 * GRAIN, Access.READ, offset=GRAIN) as address:
        assert load(address + GRAIN - 1, 2) == b"\2\3"


@pytest.mark.parametrize("access", Access)
def test_the_last_page_need_not_be_full(tmp_path: Path, access: Access) -> None:
    (tmp_path / "odd").write_bytes(b"x" * (GRAIN + 5))
    with opened(tmp_path / "odd") as fd:
        with mapped(fd, GRAIN + PAGE, access) as address:
            assert load(address + GRAIN + 3, 4) == b"xx\0\0"
        assert _os.identify(fd).size == GRAIN + 5


def test_memory_without_a_file_is_zeros(fd: int) -> None:
    address = _os.map_anonymous(2 * PAGE)
    try:
        assert load(address, 2 * PAGE) == bytes(2 * PAGE)
        store(address + PAGE, b"new")
        assert load(address + PAGE, 3) == b"new"
    finally:
        _os.unmap(address, 2 * PAGE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_memory_without_a_file_is_shared_with_a_forked_child() -> None:
    address = _os.map_anonymous(PAGE)
    try:
        child = os.fork()
        if child == 0:
            store(address, b"child")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert load(address, 5) == b"child"
    finally:
        _os.unmap(address, PAGE)


def test_what_is_unmapped_is_gone(fd: int) -> None:
    address = _os.map_file(fd, 0, GRAIN, Access.READ)
    _os.sync(address, GRAIN, [])
    _os.unmap(address, GRAIN)
    with pytest.raises(OSError):
        _os.sync(address, GRAIN, [])


# Covering -------------------------------------------------------------------------------------


@pytest.mark.parametrize("access", Access)
def test_a_cover_is_zeros_and_the_file_comes_back(fd: int, path: Path, access: Access) -> None:
    before = path.read_bytes()
    with mapped(fd, GRAIN, access, offset=GRAIN) as address:
        _os.cover(address, GRAIN, access)
        assert load(address, GRAIN) == bytes(GRAIN)
        if access is not Access.READ:
            store(address, b"stray")
        _os.map_file_at(fd, GRAIN, address, GRAIN, access)
        assert load(address, GRAIN) == b"\2" * GRAIN
    assert path.read_bytes() == before


@needs_readv
@pytest.mark.parametrize("access", Access)
def test_a_cover_may_be_used_as_the_mapping_was(fd: int, access: Access) -> None:
    with mapped(fd, GRAIN, access) as address:
        _os.cover(address, GRAIN, access)
        assert can_be_written(address) is (access is not Access.READ)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows covers whole mappings only")
def test_a_cover_leaves_the_pages_beside_it(fd: int) -> None:
    with mapped(fd, 4 * GRAIN, Access.WRITE) as address:
        _os.cover(address + GRAIN, 2 * GRAIN, Access.WRITE)
        first = [load(address + number * GRAIN) for number in range(4)]
        assert first == [b"\1", b"\0", b"\0", b"\4"]
        _os.map_file_at(fd, 2 * GRAIN, address + 2 * GRAIN, GRAIN, Access.WRITE)
        assert load(address + 2 * GRAIN - 1, 2) == b"\0\3"


@pytest.mark.skipif(not _os.CAN_MAP_PAST_END, reason="this platform maps no further than the end")
def test_pages_past_the_end_appear_when_the_file_grows(fd: int) -> None:
    with mapped(fd, 8 * GRAIN, Access.READ) as address:
        os.ftruncate(fd, 8 * GRAIN)
        assert load(address + 5 * GRAIN) == b"\0"
        os.lseek(fd, 6 * GRAIN, os.SEEK_SET)
        os.write(fd, b"new")
        assert load(address + 6 * GRAIN, 3) == b"new"


# Writing back ---------------------------------------------------------------------------------

FAR = 32 << 20  # the kernel writes its large folios whole, so what is near may go out as well


def dirty(address: int) -> int:
    """Return how many bytes of the mapping that starts at an address are still to be written."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        if line.startswith(f"{address:08x}-"):
            break
    found = 0
    for line in lines:
        if re.match(r"[0-9a-f]+-", line):
            break
        if line.startswith(("Shared_Dirty:", "Private_Dirty:")):
            found += int(line.split()[1]) * 1024
    return found


@pytest.fixture
def near_and_far(fd: int) -> Iterator[tuple[int, int]]:
    """Return the addresses of two dirty mappings of one file, far from each other in it."""
    if sys.platform != "linux":
        pytest.skip("only Linux tells which pages are dirty, in /proc/self/smaps")
    os.ftruncate(fd, FAR + PAGE)
    with mapped(fd, PAGE, Access.WRITE) as near, mapped(fd, PAGE, Access.WRITE, FAR) as far:
        for data in (b"x", b"y"):
            store(near, data)
            store(far, data)
            assert (dirty(near), dirty(far)) == (PAGE, PAGE)
            if data == b"x":
                os.fsync(fd)
                if dirty(near) or dirty(far):
                    pytest.skip("the temporary directory is on a file system in memory")
        yield near, far


def test_sync_cleans_its_range(near_and_far: tuple[int, int]) -> None:
    _, far = near_and_far
    _os.sync(far, PAGE, [])
    assert dirty(far) == 0


def test_sync_file_cleans_all(fd: int, near_and_far: tuple[int, int]) -> None:
    near, far = near_and_far
    _os.sync_file(fd)
    assert (dirty(near), dirty(far)) == (0, 0)


def test_writeback_of_a_range_starts_without_sync(fd: int, near_and_far: tuple[int, int]) -> None:
    near, far = near_and_far
    _os.start_writeback(fd, FAR, PAGE)
    # By itself the kernel leaves a dirty page alone for 30 seconds.
    deadline = time.monotonic() + 5
    while dirty(far) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (dirty(near), dirty(far)) == (PAGE, 0)


# Errors ---------------------------------------------------------------------------------------


def error_of(call: Callable[[], object]) -> int | None:
    with pytest.raises(OSError) as caught:
        call()
    return caught.value.errno


def test_a_closed_descriptor_is_ebadf(closed_fd: int) -> None:
    assert error_of(lambda: _os.map_file(closed_fd, 0, PAGE, Access.READ)) == errno.EBADF
    assert error_of(lambda: _os.sync_file(closed_fd)) == errno.EBADF
    if sys.platform == "linux":
        assert error_of(lambda: _os.start_writeback(closed_fd, 0, PAGE)) == errno.EBADF


@pytest.mark.skipif(sys.platform == "win32", reason="Windows unmaps first")
def test_mapping_over_memory_fails_without_harm(fd: int, closed_fd: int) -> None:
    with mapped(fd, GRAIN, Access.READ) as address:
        map_over = partial(_os.map_file_at, closed_fd, 0, address, GRAIN, Access.READ)
        assert error_of(map_over) == errno.EBADF
        assert load(address) == b"\1"


def test_a_file_open_for_reading_cannot_be_mapped_for_writing(path: Path) -> None:
    with opened(path, os.O_RDONLY) as fd:
        assert error_of(lambda: _os.map_file(fd, 0, GRAIN, Access.WRITE)) == errno.EACCES


def test_an_offset_between_the_grains_is_refused(fd: int) -> None:
    assert error_of(lambda: _os.map_file(fd, 1, PAGE, Access.READ)) is not None


def test_an_empty_file_cannot_be_mapped(tmp_path: Path) -> None:
    with opened(tmp_path / "empty") as fd:
        assert error_of(lambda: _os.map_file(fd, 0, 0, Access.READ)) == errno.EINVAL


def test_more_memory_than_there_are_addresses_is_refused() -> None:
    assert error_of(lambda: _os.map_anonymous(1 << 60)) is not None


# The stub -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in _os.NAMES if name.islower()])
def test_the_stub_refuses(name: str) -> None:
    function = getattr(_stub, name)
    arguments = [None] * len(inspect.signature(function).parameters)
    with pytest.raises(UnsupportedError, match="cannot map files"):
        function(*arguments)


def test_the_stub_can_be_asked_for(run_python: Callable[..., str]) -> None:
    code = "from mmapio import _os; print(_os.map_file.__module__)"
    assert run_python(code, MMAPIO_OS="stub").strip() == "mmapio._os._stub"
    assert run_python(code).strip() != "mmapio._os._stub"
