"""Paths, made absolute and plain or refused; sizes, whose blocks are given piece by piece."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import _os
from mmapio.errors import (
    AccessError,
    ArgumentError,
    ArgumentTypeError,
    DirectoryError,
    FileError,
    MissingFileError,
)
from mmapio.files.descriptors import as_path, set_size

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="paths here have slashes")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [
        "x.npy",
        "./x.npy",
        "sub/../x.npy",
        "sub//x.npy",
        "sub/./x.npy",
        ".x.npy",
        "sub/...x",
        "x..",
        "grün.npy",
        "a\udcffb.npy",
        b"a\xffb.npy",
        Path("x.npy"),
        np.str_("x.npy"),
    ],
)
def test_it_is_what_abspath_makes_of_it(path: Any) -> None:
    plain = os.path.abspath(os.fsdecode(path))
    assert as_path(path) == plain
    assert as_path(os.path.join(os.getcwd(), os.fsdecode(path))) == plain
    mmapio.save(path, np.arange(3))
    assert mmapio.open(path).filename == mmapio.memmap(path).filename == plain


@POSIX
def test_dots_after_a_link_are_the_systems(folder: Path) -> None:
    (folder / "sub" / "deep").mkdir()
    (folder / "link").symlink_to("sub/deep")
    mmapio.save("link/../x.npy", np.arange(3))  # beside what the link leads to
    a = mmapio.open("link/../x.npy")
    assert (folder / "sub" / "x.npy").exists()
    assert a.filename is not None
    assert os.path.samefile(a.filename, folder / "sub" / "x.npy")
    with pytest.raises(MissingFileError, match="is there a directory"):
        mmapio.save("none/../y.npy", np.arange(3))
    with pytest.raises(FileError, match="Not a directory"):
        mmapio.save("sub/x.npy/../y.npy", np.arange(3))
    assert sorted(os.listdir()) == ["link", "sub"]


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "a slash at the end": ("x.npy/", DirectoryError, "ends in '/'"),
    "slashes at the end": ("new//", DirectoryError, "ends in '/'"),
    "a dot": ("x.npy/.", DirectoryError, "that of a directory"),
    "two dots": ("sub/x.npy/..", DirectoryError, "that of a directory"),
    "this directory": (".", DirectoryError, "that of a directory"),
    "the root": ("/", DirectoryError, "ends in '/'"),
    "nothing": ("", MissingFileError, "the path is empty"),
    "no bytes": (b"", MissingFileError, "the path is empty"),
    "a null": ("x\0.npy", ArgumentError, "null character"),
    "a null after an umlaut": ("ü\0.npy", ArgumentError, "null character"),
    "a lone surrogate": ("x\ud800.npy", ArgumentError, "cannot be encoded"),
    "a number": (3, ArgumentTypeError, "must be a str, bytes or os.PathLike, got 'int'"),
    "None": (None, ArgumentTypeError, "got 'NoneType'"),
    "too long": ("x" * 300, FileError, "File name too long"),
    "too deep": ("x/" * 3000 + "y", FileError, "File name too long"),
}
WRITERS: dict[str, Callable[[Any], object]] = {
    "save": lambda path: mmapio.save(path, np.arange(3)),
    "create": lambda path: mmapio.create(path, 3),
    "create anew": lambda path: mmapio.create(path, 3, overwrite=True),
    "open": lambda path: mmapio.open(path, "w+", dtype="u1", shape=3),
    "open a+": lambda path: mmapio.open(path, "a+", dtype="u1", shape=3),
    "memmap": lambda path: mmapio.memmap(path, "u1", "w+", shape=3),
    "MappedFile": lambda path: mmapio.MappedFile.open(path, "w+", size=3),
    "copy": lambda path: mmapio.copy("x.npy", path),
    "growable": lambda path: mmapio.GrowableArray.open(path, "w+", dtype="u1"),
    "ring": lambda path: mmapio.RingBuffer.open(path, "w+", "u1", 4),
    "delete": mmapio.delete,
}


@POSIX
@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_wrong_path_is_refused_and_nothing_written(folder: Path, writer: str, name: str) -> None:
    path, kind, message = WRONG[name]
    np.save("x.npy", np.arange(5))
    before = (folder / "x.npy").read_bytes()
    with pytest.raises(kind, match=message) as caught:
        WRITERS[writer](path)
    assert isinstance(caught.value, mmapio.MmapioError)
    assert (folder / "x.npy").read_bytes() == before
    assert sorted(os.listdir()) == ["sub", "x.npy"]


@POSIX
@pytest.mark.parametrize("writer", WRITERS)
def test_a_working_directory_that_is_gone_is_named(
    folder: Path, writer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "sub")
    (folder / "sub").rmdir()
    with pytest.raises(MissingFileError, match="the working directory is gone") as caught:
        WRITERS[writer]("x.npy")
    assert caught.value.filename == "x.npy"


@pytest.mark.parametrize("size", [0, 12])
def test_a_descriptor_for_writing_only_is_named(folder: Path, size: int) -> None:
    (folder / "x.bin").write_bytes(bytes(size))
    with open("x.bin", "ab") as file:
        with pytest.raises(AccessError, match="for writing only"):
            mmapio.memmap(file, "u1", "r+", shape=3)
        with pytest.raises(AccessError, match="for writing only"):
            mmapio.MappedFile.from_fd(file.fileno(), "r+")
    assert (folder / "x.bin").read_bytes() == bytes(size)


# Sizes -----------------------------------------------------------------------------------------

LARGE = 3 << 30


@pytest.fixture
def file(folder: Path) -> Iterator[Path]:
    path = folder / "file"
    path.write_bytes(b"kept")
    yield path
    os.truncate(path, 0)


def size_of(path: Path) -> tuple[int, bytes]:
    return path.stat().st_size, path.read_bytes()[:10]


def test_blocks_are_given_in_pieces(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = list[tuple[int, int]]()
    monkeypatch.setattr(_os, "allocate", lambda fd, at, length: pieces.append((at, at + length)))
    with open(file, "r+b") as opened:
        set_size(opened.fileno(), 4, 4 + LARGE, True, str(file))
    assert (pieces[0][0], pieces[-1][1]) == (4, 4 + LARGE)
    assert [start for start, _ in pieces[1:]] == [stop for _, stop in pieces[:-1]]
    assert len(pieces) > 3


def test_ctrl_c_between_two_pieces_leaves_the_file_as_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[int]()

    def allocate(fd: int, at: int, length: int) -> None:
        calls.append(at)
        os.ftruncate(fd, at + length)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(_os, "allocate", allocate)
    with open(file, "r+b") as opened, pytest.raises(KeyboardInterrupt):
        set_size(opened.fileno(), 4, 4 + LARGE, True, str(file))
    assert (len(calls), size_of(file)) == (1, (4, b"kept"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells it by the call itself")
def test_more_blocks_than_are_free_are_not_begun_with(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_os, "allocate", lambda *_: pytest.fail("it was tried"))
    before = os.listdir(tmp_path)
    free = os.statvfs(tmp_path).f_bfree * os.statvfs(tmp_path).f_frsize
    with open(file, "r+b") as opened, pytest.raises(FileError, match="reserve=False") as caught:
        set_size(opened.fileno(), 4, free + (64 << 30), True, str(file))
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(FileError) as caught:
        mmapio.create(tmp_path / "new", free + (64 << 30), "u1", raw=True)
    assert (caught.value.errno, os.listdir(tmp_path)) == (errno.ENOSPC, before)
