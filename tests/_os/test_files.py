"""The system calls of this platform on files: facts, blocks, nameless files, copies."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmapio import _os

PAGE = _os.PAGE_SIZE
CONTENT = bytes(range(256)) * 256
BINARY = getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def opened(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    fd = os.open(path, flags | BINARY, 0o666)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a file that holds `CONTENT`."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def fd(path: Path) -> Iterator[int]:
    with opened(path) as fd:
        yield fd


# Facts ----------------------------------------------------------------------------------------


def test_what_is_known_of_a_file(fd: int, path: Path) -> None:
    facts = _os.identify(fd)
    assert (facts.size, facts.is_regular, facts.is_directory) == (len(CONTENT), True, False)
    assert facts.inode == path.stat().st_ino
    with opened(path, os.O_RDONLY) as again:
        assert _os.identify(again) == facts


@pytest.mark.skipif(sys.platform == "win32", reason="Windows opens no directories or pipes so")
def test_what_is_no_file_is_known(tmp_path: Path) -> None:
    with opened(tmp_path, os.O_RDONLY) as fd:
        facts = _os.identify(fd)
        assert (facts.is_directory, facts.is_regular) == (True, False)
    for end in os.pipe():
        assert not _os.identify(end).is_regular
        os.close(end)


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows files get no holes by themselves")
def test_holes_are_not_allocated(tmp_path: Path) -> None:
    with opened(tmp_path / "sparse") as fd:
        os.ftruncate(fd, 1 << 30)
        os.pwrite(fd, b"x" * PAGE, 1 << 20)
        os.fsync(fd)
        facts = _os.identify(fd)
    assert facts.size == 1 << 30
    assert PAGE <= facts.allocated < 1 << 20


def test_a_file_stays_the_same_when_it_is_written_and_renamed(fd: int, path: Path) -> None:
    before = _os.identify(fd).identity
    os.write(fd, b"new")
    if sys.platform != "win32":
        path = path.rename(path.with_name("renamed"))
    with opened(path) as again:
        assert _os.identify(again).identity == before


def test_files_born_together_differ(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).touch()
    found = set()
    for path in tmp_path.iterdir():
        with opened(path, os.O_RDONLY) as fd:
            found.add(_os.identify(fd).identity)
    assert len(found) == 20


def test_a_file_is_not_its_successor_with_the_same_inode(tmp_path: Path) -> None:
    first = facts_of_new_file(tmp_path)
    for _ in range(50):
        (tmp_path / "new").unlink()
        time.sleep(0.02)  # before Linux 6.13 the clock of files ticks every 1 to 10 ms
        second = facts_of_new_file(tmp_path)
        assert second.identity != first.identity
        if second.inode == first.inode:
            return
    pytest.skip("the file system of the temporary directory did not use an inode again")


def facts_of_new_file(folder: Path) -> _os.FileFacts:
    with opened(folder / "new", os.O_RDWR | os.O_CREAT | os.O_EXCL) as fd:
        return _os.identify(fd)


# Allocation -----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return the path of a file system in memory that has room for 1 MiB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux may mount a small tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this root may not mount a tmpfs: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_allocated_blocks_are_there_and_zeros(tmp_path: Path) -> None:
    path = tmp_path / "new"
    with opened(path) as fd:
        os.write(fd, b"old")
        _os.allocate(fd, 3, 1 << 20)
        facts = _os.identify(fd)
    assert facts.size == 3 + (1 << 20)
    assert facts.allocated >= 1 << 20
    assert path.read_bytes() == b"old" + bytes(1 << 20)


def test_allocating_does_not_shrink(fd: int, path: Path) -> None:
    _os.allocate(fd, 0, PAGE)
    assert path.read_bytes() == CONTENT


def test_a_full_disk_is_enospc(small_disk: Path) -> None:
    with opened(small_disk / "fits") as fd:
        _os.allocate(fd, 0, 1 << 19)
    with opened(small_disk / "does not") as fd, pytest.raises(OSError) as caught:
        _os.allocate(fd, 0, 1 << 20)
    assert caught.value.errno == errno.ENOSPC


# Nameless files -------------------------------------------------------------------------------


@contextlib.contextmanager
def nameless(folder: Path) -> Iterator[int]:
    fd = _os.open_nameless(str(folder))
    if fd is None:
        pytest.skip("this platform or file system has no files without a name")
    try:
        yield fd
    finally:
        os.close(fd)


def test_a_nameless_file_appears_when_it_is_published(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with nameless(tmp_path) as fd:
        os.write(fd, b"whole")
        assert os.listdir(tmp_path) == []
        _os.publish_nameless(fd, str(target))
        assert target.read_bytes() == b"whole"
    (tmp_path / "plain").touch()
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_name_that_is_taken_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with nameless(tmp_path) as fd, pytest.raises(FileExistsError):
        _os.publish_nameless(fd, str(target))
    assert target.read_bytes() == b"old"


# Copies ---------------------------------------------------------------------------------------

HOLE = 8 << 20


def write_sparse(fd: int) -> bytes:
    """Write data, a hole, data and a hole; return all of it."""
    os.truncate(fd, 2 * HOLE)
    data = os.urandom(70_000)
    for offset in (0, HOLE + 4096):
        os.lseek(fd, offset, os.SEEK_SET)
        os.write(fd, data)
    content = bytearray(2 * HOLE)
    content[: len(data)] = content[HOLE + 4096 : HOLE + 4096 + len(data)] = data
    return bytes(content)


def folder_elsewhere(than: Path) -> Path:
    """Return a writable directory on another file system."""
    folder = Path("/dev/shm")
    if not os.access(folder, os.W_OK) or folder.stat().st_dev == than.stat().st_dev:
        pytest.skip("there is no second file system in /dev/shm")
    return folder


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same disk", "another disk"])
def test_a_copy_has_the_same_bytes_and_holes(tmp_path: Path, elsewhere: bool) -> None:
    source = (folder_elsewhere(tmp_path) if elsewhere else tmp_path) / f"mmapio-{os.getpid()}"
    try:
        with opened(source) as old, opened(tmp_path / "copy") as new:
            content = write_sparse(old)
            _os.copy_contents(old, new, len(content))
            if sys.platform == "linux":
                os.fsync(new)
                assert _os.identify(new).allocated < HOLE
    finally:
        source.unlink(missing_ok=True)
    assert (tmp_path / "copy").read_bytes() == content


@pytest.mark.parametrize("size", [0, 1, 69_999, HOLE, HOLE + 5000, 2 * HOLE - 1])
def test_a_copy_can_be_of_the_first_bytes_only(tmp_path: Path, size: int) -> None:
    with opened(tmp_path / "file") as old, opened(tmp_path / "copy") as new:
        content = write_sparse(old)
        _os.copy_contents(old, new, size)
    assert (tmp_path / "copy").read_bytes() == content[:size]


def test_a_copy_ends_where_its_source_does(fd: int, tmp_path: Path) -> None:
    with opened(tmp_path / "copy") as new:
        _os.copy_contents(fd, new, 2 * len(CONTENT))
    assert (tmp_path / "copy").read_bytes()[: len(CONTENT)] == CONTENT


# Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda fd: _os.identify(fd),
        lambda fd: _os.allocate(fd, 0, PAGE),
        lambda fd: _os.copy_contents(fd, fd, 1),
    ],
    ids=["identify", "allocate", "copy_contents"],
)
def test_a_closed_descriptor_is_ebadf(call: Callable[[int], object]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    with pytest.raises(OSError) as caught:
        call(reader)
    assert caught.value.errno == errno.EBADF


def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    assert _os.open_nameless(str(tmp_path / "missing")) is None
    if sys.platform != "win32":
        with pytest.raises(FileNotFoundError):
            _os.sync_directory(str(tmp_path / "missing"))
