"""Files of growable arrays: what a new writer may drop, and what it must not touch."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import FileError, FormatError, GrowableArray, _os

pytestmark = pytest.mark.skipif(
    not _os.CAN_MAP_PAST_END, reason="this platform cannot grow a file while it is mapped"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.npy"


def two_arrays(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.arange(5))
        np.save(file, np.arange(100, 105))


def some_text_behind(path: Path) -> None:
    np.save(path, np.arange(5))
    with open(path, "ab") as file:
        file.write(b"12345678" * 2)


def array_behind_committed_rows(path: Path) -> None:
    with GrowableArray.open(path, "w+", dtype="i8") as g:
        g.extend(range(5))
    with open(path, "ab") as file:
        np.save(file, np.arange(100, 105))


def array_behind_an_old_header(path: Path) -> None:
    text = b"{'descr': '<i8', 'fortran_order': False, 'shape': (5,), }\n"
    head = b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text
    path.write_bytes(head + np.arange(5).tobytes() + b"12345678")


def row_with_a_broken_seal(path: Path) -> None:
    uncommitted_row(path)
    data = bytearray(path.read_bytes())
    data[data.index(b"\t")] = ord(" ")
    path.write_bytes(data)


def uncommitted_row(path: Path) -> None:
    g = GrowableArray.open(path, "w+", dtype="i8")
    g.extend(range(5))
    g.commit()
    g.append(5)
    g.close(commit=False)


def test_a_row_that_was_not_committed_is_dropped(path: Path) -> None:
    uncommitted_row(path)
    with GrowableArray.open(path, "r+") as g:
        assert g.array.tolist() == [*range(5)]


@pytest.mark.parametrize("mode", ["r+", "a+"])
@pytest.mark.parametrize(
    "make",
    [
        two_arrays,
        some_text_behind,
        array_behind_committed_rows,
        array_behind_an_old_header,
        row_with_a_broken_seal,
    ],
)
def test_what_is_not_its_own_is_left_alone(
    path: Path, make: Callable[[Path], None], mode: str
) -> None:
    make(path)
    before = path.read_bytes()
    with pytest.raises(FormatError, match="behind its 5 rows"):
        GrowableArray.open(path, mode, dtype="i8")
    assert path.read_bytes() == before
    assert len(GrowableArray.open(path)) == 5  # a reader touches nothing
    with GrowableArray.open(path, mode, recover="rows") as g:
        assert g[:5].tolist() == [*range(5)]
        assert len(g) > 5


@pytest.mark.parametrize(
    "make", [uncommitted_row, array_behind_an_old_header], ids=["in place", "a copy"]
)
@pytest.mark.parametrize("name", ["map_file", "identify"])
def test_a_file_that_cannot_be_mapped_is_as_it_was(
    path: Path, make: Callable[[Path], None], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(path)
    before, inode = path.read_bytes(), path.stat().st_ino

    def fail(*arguments: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(_os, name, fail)
        with pytest.raises(FileError, match=os.strerror(errno.EIO)):
            GrowableArray.open(path, "r+", recover="rows")
    assert (path.read_bytes(), path.stat().st_ino) == (before, inode)
    assert os.listdir(path.parent) == [path.name]
    with GrowableArray.open(path, "r+", recover="rows") as g:
        assert len(g) == 6


def test_a_header_that_cannot_be_written_is_an_error_of_ours(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uncommitted_row(path)
    before = path.read_bytes()

    def fail(*arguments: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(_os, "write_at", fail)
        with pytest.raises(FileError, match="cannot write the header"):
            GrowableArray.open(path, "r+")
    assert path.read_bytes() == before
    mmapio.open(path).close()


@pytest.mark.parametrize("name", ["lseek", "ftruncate"])
def test_that_it_was_closed_meanwhile_is_what_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    g = GrowableArray.open(path, "w+", dtype="i8")
    g.append(1)
    real = getattr(os, name)

    def closing_first(fd: int, *args: Any) -> Any:
        g.close(commit=False)  # as another thread does
        return real(fd, *args)

    def failing(fd: int, *args: Any) -> int:
        os.write(fd, b"abc")  # a part of a row, which is to be taken back
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_os, "append_rows", lambda *_: None)
    monkeypatch.setattr(_os, "write_next", failing)
    monkeypatch.setattr(os, name, closing_first)
    with pytest.raises(mmapio.ClosedError):
        g.append(2)
