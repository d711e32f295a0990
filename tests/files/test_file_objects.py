"""File objects: which of them show the bytes of their descriptors, and under which name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio.errors import AccessError, ArgumentError, ArgumentTypeError, FileError

DATA = bytes(range(200)) * 20


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def zip_member() -> Any:
    with zipfile.ZipFile("x.zip", "w") as archive:
        archive.writestr("inner", DATA)
    return zipfile.ZipFile("x.zip").open("inner")


def packed(module: Any) -> Any:
    with module.open("x.packed", "wb") as file:
        file.write(DATA)
    return module.open("x.packed")


class Unpacking:
    """A stream of somebody else's that unpacks, with the descriptor of the packed file."""

    def __init__(self) -> None:
        self._file = packed(gzip)
        self.fileno, self.seek, self.tell = (
            self._file.fileno,
            self._file.seek,
            self._file.tell,
        )


class BackwardsOnly(Unpacking):
    def __init__(self) -> None:
        super().__init__()
        self.seek = lambda *arguments: (_ for _ in ()).throw(OSError("cannot seek"))


PACKED: dict[str, Callable[[], Any]] = {
    "gzip": lambda: packed(gzip),
    "gzip, written": lambda: gzip.open("x.gz", "wb"),
    "gzip, text": lambda: io.TextIOWrapper(packed(gzip)),
    "gzip, buffered": lambda: io.BufferedReader(packed(gzip)),
    "bz2": lambda: packed(bz2),
    "lzma": lambda: packed(lzma),
    "another's": Unpacking,
    "one that cannot seek": BackwardsOnly,
    "a zip's": zip_member,
    "memory": lambda: io.BytesIO(DATA),
}


@pytest.mark.parametrize("kind", PACKED)
def test_one_that_unpacks_is_refused(kind: str) -> None:
    file = PACKED[kind]()
    with pytest.raises(ArgumentError, match="cannot map this"):
        mmapio.memmap(file, mode="r")


def test_one_in_memory_is_told_what_to_use() -> None:
    with pytest.raises(ArgumentError, match=r"no descriptor.*numpy\.frombuffer"):
        mmapio.memmap(io.BytesIO(DATA), mode="r")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows says so in its own way")
@pytest.mark.parametrize("mode", ["r+", "w+"])
def test_one_for_reading_only_is_told_what_to_open_it_in(mode: str) -> None:
    Path("x.bin").write_bytes(DATA)
    said = r"for reading only.* in 'r\+b'"
    with open("x.bin", "rb") as file, pytest.raises(AccessError, match=said):
        mmapio.memmap(file, mode=mode, shape=len(DATA))
    assert Path("x.bin").read_bytes() == DATA


def spooled() -> Any:
    file = tempfile.SpooledTemporaryFile()
    file.write(DATA)
    return file


def plain(mode: str, **options: Any) -> Any:
    Path("x.bin").write_bytes(DATA)
    return open("x.bin", mode, **options)


PLAIN: dict[str, Callable[[], Any]] = {
    "buffered": lambda: plain("rb"),
    "to read and write": lambda: plain("r+b"),
    "unbuffered": lambda: plain("rb", buffering=0),
    "text": lambda: plain("r", encoding="latin1"),
    "appended to": lambda: plain("a+b"),
    "spooled": spooled,
}


@pytest.mark.parametrize("kind", PLAIN)
def test_a_plain_one_is_mapped(kind: str) -> None:
    with PLAIN[kind]() as file:
        assert mmapio.memmap(file, mode="r").tobytes() == DATA


def test_what_it_holds_back_is_seen() -> None:
    with tempfile.NamedTemporaryFile(dir=".") as file:
        file.write(DATA)
        assert mmapio.memmap(file, mode="r").tobytes() == DATA


def test_one_without_a_usable_descriptor_is_refused() -> None:
    file = plain("rb")
    file.close()
    with pytest.raises(ArgumentError, match="closed"):
        mmapio.memmap(file, mode="r")

    class Odd:
        def __init__(self, fd: Any) -> None:
            self._fd = fd

        def fileno(self) -> Any:
            return self._fd

    for fd, error in (("3", ArgumentTypeError), (-1, ArgumentError), (10**6, FileError)):
        with pytest.raises(error):
            mmapio.memmap(Odd(fd), mode="r")


def test_what_cannot_be_flushed_is_an_error_of_ours() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    file = open("/dev/full", "wb")
    file.write(b"x")
    with pytest.raises(FileError, match="flush the file object"):
        mmapio.memmap(file, mode="r")
    file.raw.close()


def test_a_name_is_kept_only_if_it_leads_to_the_file(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    with plain("r+b") as file:
        assert mmapio.memmap(file, mode="r").filename == str(folder / "x.bin")
        os.chdir(other)
        moved = mmapio.memmap(file, mode="r")
        assert moved.filename is None
        assert pickle.loads(pickle.dumps(moved)).tobytes() == DATA
        os.chdir(folder)
        if sys.platform != "win32":
            os.rename("x.bin", "y.bin")
            assert mmapio.memmap(file, mode="r").filename is None
            Path("x.bin").write_bytes(DATA)
            assert mmapio.memmap(file, mode="r").filename is None
    with open(os.open("x.bin", os.O_RDONLY), "rb") as nameless:
        assert mmapio.memmap(nameless, mode="r").filename is None


def test_one_that_fails_leaves_nothing_open(folder: Path) -> None:
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("this system does not list descriptors")
    with plain("rb") as file:
        before = os.listdir("/proc/self/fd")
        with pytest.raises(mmapio.MmapioError) as caught:
            mmapio.memmap(file, "u1", "r", shape=len(DATA) + 1)
        assert os.listdir("/proc/self/fd") == before, caught
    assert np.fromfile("x.bin", "u1").tobytes() == DATA
