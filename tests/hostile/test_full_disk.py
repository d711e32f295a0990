"""Disks of which every number of pages is free: an operation is done, or nothing has changed."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import MappedFile, _os
from mmapio.errors import FileError

PAGE = _os.PAGE_SIZE
OLD = b"old!" * PAGE  # four pages
NEW = np.ones(16 * PAGE - 128, "u1")  # 16 pages with a header
MOST = 24  # pages that are more than enough for each operation


def create(folder: Path) -> None:
    mmapio.create(folder / "new.npy", NEW.shape, NEW.dtype)
    (folder / "new.npy").unlink()


def create_raw(folder: Path) -> None:
    MappedFile.open(folder / "new.bin", "a+", 16 * PAGE)
    (folder / "new.bin").unlink()


def overwrite(folder: Path) -> None:
    mmapio.create(folder / "old", NEW.shape, NEW.dtype, overwrite=True)
    (folder / "old").write_bytes(OLD)


def replace(folder: Path) -> None:
    mmapio.open(folder / "old", "w+", dtype="u1", shape=16 * PAGE)
    (folder / "old").write_bytes(OLD)


def save(folder: Path) -> None:
    mmapio.save(folder / "old", NEW)
    (folder / "old").write_bytes(OLD)


def grow(folder: Path) -> None:
    m = MappedFile.open(folder / "old", "r+")
    view = m.view()
    try:
        m.resize(20 * PAGE, force=True)
        m.view()[:] = 1
        m.write(0, OLD)
        m.resize(len(OLD), force=True)
    finally:
        assert m.read() == view.tobytes() == OLD


def grow_as_memmap(folder: Path) -> None:
    mmapio.memmap(folder / "old", mode="r+", shape=20 * PAGE)
    os.truncate(folder / "old", len(OLD))


OPERATIONS = (create, create_raw, overwrite, replace, save, grow, grow_as_memmap)


def state_of(folder: Path) -> tuple[dict[str, bytes], int]:
    """Return the files of a folder, and how many bytes of its disk are free."""
    facts = os.statvfs(folder)
    files = [each for each in folder.iterdir() if each.name not in ("ballast", "lost+found")]
    return {each.name: each.read_bytes() for each in files}, facts.f_bavail * facts.f_frsize


def leave(folder: Path, left: int) -> None:
    """Fill a disk, so that about so many bytes are left."""
    ballast = folder / "ballast"
    ballast.unlink(missing_ok=True)
    _, free = state_of(folder)
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - left))


def settled(folder: Path, wanted: tuple[dict[str, bytes], int]) -> bool:
    """Wait for a disk to reach a state; ext4 counts freed blocks late. Return whether it does."""
    end = time.monotonic() + 2
    while state_of(folder) != wanted and time.monotonic() < end:
        os.sync()
    return state_of(folder) == wanted


def sweep(folder: Path, operation: Callable[[Path], None], step: int) -> None:
    (folder / "old").write_bytes(OLD)
    done: list[bool] = []
    codes: set[int | None] = set()
    for left in range(0, MOST * PAGE + 1, step):
        leave(folder, left)
        before = state_of(folder)
        try:
            operation(folder)
            done.append(True)
        except FileError as error:
            done.append(False)
            codes.add(error.errno)
        assert settled(folder, before), left
    assert done == sorted(done), "it failed with more room than where it was done"
    assert ({*done}, codes) == ({False, True}, {errno.ENOSPC})


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_free_page_of_a_tmpfs(
    operation: Callable[[Path], None], small_tmpfs: Callable[[str], Path]
) -> None:
    sweep(small_tmpfs("1m"), operation, PAGE)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_free_page_of_an_ext4(
    operation: Callable[[Path], None], small_ext4: Callable[[int], Any], scale: float
) -> None:
    sweep(small_ext4(8).folder, operation, PAGE if scale >= 1 else 4 * PAGE)


@pytest.mark.parametrize("write", [np.save, lambda path, a: a.tofile(path), mmapio.save])
def test_the_error_of_a_full_disk_says_so_whoever_writes(
    write: Callable[[Path, Any], object], small_tmpfs: Callable[[str], Path]
) -> None:
    # numpy's own has neither a number nor a reason; and these take no `reserve`
    path = small_tmpfs("256k") / "full.npy"
    np.save(path, np.ones(150_000, "u1"))
    before = path.read_bytes()
    with pytest.raises(FileError, match=f"No space left.*{path.name}") as failed:
        write(path, mmapio.open(path))
    assert failed.value.errno == errno.ENOSPC
    assert "reserve" not in str(failed.value)
    assert [path.read_bytes()] == [before]
    assert os.listdir(path.parent) == [path.name]
