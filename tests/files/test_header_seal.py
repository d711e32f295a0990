"""Headers that change while they are read, and what opens and copies files with such headers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import GrowableArray, _os
from mmapio.arrays.growing_header import GrowingHeader
from mmapio.errors import FormatError
from mmapio.files.header_seal import is_sealed, is_whole, settled_header, whole_header
from mmapio.files.inspection import inspect

pytestmark = pytest.mark.skipif(
    not _os.CAN_MAP_PAST_END, reason="this platform cannot grow a file while it is mapped"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "live.npy"


def part_of(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: data[offset : offset + length]


HEADER = GrowingHeader(np.dtype("i8"), ())


def test_a_header_is_read_again_until_it_is_whole() -> None:
    old, new = HEADER.encode(99), HEADER.encode(100)
    torn = new[:70] + old[70:]
    assert not is_whole(torn)
    assert is_sealed(old)
    looks = [torn, torn, torn, new]
    header, raw = whole_header(lambda offset, length: looks.pop(0)[offset:length], len(old))
    assert (header.shape, raw, looks) == ((100,), new, [])


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_header_that_claims_to_be_long_is_not_read(version: int) -> None:
    start = b"\x93NUMPY" + bytes([version, 0]) + b"\xff" * 4
    asked: list[int] = []

    def read(offset: int, length: int) -> bytes:
        asked.append(length)
        return (start + bytes(length))[:length]

    with pytest.raises(FormatError):
        whole_header(read, 1 << 40)
    assert max(asked) < 2 << 20


def test_a_size_is_taken_after_the_header(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def grown(fd: int) -> _os.FileFacts:
        monkeypatch.undo()
        found = _os.identify(fd)
        g.extend(range(5))
        g.commit(durable=False)
        return found

    with GrowableArray.open(path, "x+", dtype="i8") as g, open(path, "rb") as file:
        monkeypatch.setattr(_os, "identify", grown)
        header, raw, size = settled_header(file.fileno())
        assert header.file_size <= size == path.stat().st_size
        assert raw == path.read_bytes()[: len(raw)]
    os.truncate(path, 130)
    with open(path, "rb") as file:
        header, _, size = settled_header(file.fileno())
    assert (header.shape, size) == ((5,), 130)


# Deterministic: rows are committed between one look at the file and the next -------------------


def committing(
    monkeypatch: pytest.MonkeyPatch, name: str, g: GrowableArray, times: int = 3
) -> None:
    """Let rows be committed after a call of `_os` by another, a few times."""
    real, left = getattr(_os, name), [times]

    def call(*arguments: Any) -> Any:
        result = real(*arguments)
        if left[0]:
            left[0] -= 1
            g.extend(np.arange(len(g), len(g) + 1000))
            g.commit(durable=False)
        return result

    monkeypatch.setattr(_os, name, call)


def test_an_array_that_grows_while_it_is_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GrowableArray.open(path, "x+", dtype="i8") as g:
        committing(monkeypatch, "map_file", g)
        a = mmapio.open(path)
        assert len(a) == 3000
        assert (a == np.arange(3000)).all()
        committing(monkeypatch, "map_file", g)
        assert len(GrowableArray.open(path)) in (4000, 6000)


def test_an_array_that_is_cut_while_it_is_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GrowableArray.open(path, "x+", dtype="i8") as g:
        g.extend(np.arange(1000))
        g.commit()
        real = _os.map_file

        def map_file(*arguments: Any) -> int:
            monkeypatch.undo()
            address = real(*arguments)
            g.extend(np.arange(1000))
            g.commit()  # the header tells of more than was mapped
            g.truncate(10, force=True)
            g.append(10)
            return address

        monkeypatch.setattr(_os, "map_file", map_file)
        assert mmapio.open(path).tolist() == list(range(10))


@pytest.mark.parametrize("name", ["identify", "open_nameless"])
def test_a_copy_of_an_array_that_grows(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    copy = path.with_name("copy.npy")
    with GrowableArray.open(path, "x+", dtype="i8") as g:
        committing(monkeypatch, name, g, 1)
        mmapio.copy(path, copy)
        assert np.load(copy).tolist() == list(range(len(np.load(copy))))
        monkeypatch.undo()
        mmapio.copy(path, copy)
        assert copy.read_bytes() == path.read_bytes()


def test_a_copy_whose_header_is_newer_gets_the_one_of_its_rows(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = path.with_name("copy.npy")
    real = _os.copy_contents
    with GrowableArray.open(path, "x+", dtype="i8") as g:
        g.append(0)
        g.commit()

        def copy_contents(source: int, target: int, size: int) -> None:
            g.extend(range(1, 100))
            g.commit()
            real(source, target, size)

        monkeypatch.setattr(_os, "copy_contents", copy_contents)
        mmapio.copy(path, copy)
    assert np.load(copy).tolist() == [0]
    assert is_sealed(copy.read_bytes()[:128])


def test_a_conversion_and_a_description_of_an_array_that_grows(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GrowableArray.open(path, "x+", dtype="i8") as g:
        committing(monkeypatch, "identify", g, 1)
        assert inspect(path).missing == 0
        monkeypatch.undo()
        committing(monkeypatch, "identify", g, 1)
        assert mmapio.to_raw(path, path.with_name("raw.bin")).shape == (2000,)
    assert np.fromfile(path.with_name("raw.bin"), "i8").tolist() == list(range(2000))


def test_files_that_are_no_arrays_are_copied_as_they_are(path: Path) -> None:
    for content in (b"", b"\x93NUMPY", b"\x93NUMPY\1\0\xff\xff{" + bytes(500), b"text" * 999):
        path.write_bytes(content)
        mmapio.copy(path, path.with_name("copy"))
        assert path.with_name("copy").read_bytes() == content


# Against a writer that never stops ------------------------------------------------------------

WRITE = """
import sys, mmapio
g = mmapio.GrowableArray.open(sys.argv[1], "w+", dtype="i8")
print("writing", flush=True)
while True:
    g.append(len(g))
    g.commit(durable=False)
"""


@pytest.fixture
def live(path: Path) -> Iterator[Path]:
    with subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path)],
        env=os.environ | {"PYTHONPATH": str(Path(mmapio.__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "writing\n"
            yield path
        finally:
            writer.kill()


def test_a_live_array_can_be_opened_and_copied_at_any_time(live: Path, scale: float) -> None:
    copy, raw = live.with_name("copy.npy"), live.with_name("raw.bin")
    seen = 0
    for number in range(int(300 * scale)):
        a = mmapio.open(live)
        assert len(a) >= seen
        seen = len(a)
        assert seen == 0 or a[-1] == seen - 1
        assert len(GrowableArray.open(live)) >= seen
        if number % 5 == 0:
            mmapio.copy(live, copy)
            copied = np.load(copy)
            assert seen <= len(copied)
            assert (copied == np.arange(len(copied))).all()
            assert mmapio.to_raw(live, raw, overwrite=True).shape[0] >= len(copied)
            assert inspect(live).missing == 0
