"""Readers of a growable array: what `refresh` finds when the file is cut, grown again, replaced."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import mmapio
from mmapio import GrowableArray, _os, guard
from mmapio.errors import ClosedError, FormatError, MappingLostError, ReplacedError

pytestmark = pytest.mark.skipif(
    not _os.CAN_MAP_PAST_END, reason="this platform cannot grow a file while it is mapped"
)
ROWS = 100_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "grown.npy"


def pair(path: Path, rows: int = ROWS) -> tuple[GrowableArray, GrowableArray]:
    """Return a writer that has committed rows, and a reader that has seen them."""
    writer = GrowableArray.open(path, "x+", dtype="i8")
    writer.extend(np.arange(1, rows + 1))
    writer.commit()
    reader = GrowableArray.open(path)
    assert reader[-1] == rows
    return writer, reader


guarded = pytest.mark.skipif(guard.why_not() is not None, reason=f"no guard: {guard.why_not()}")


@guarded
def test_rows_that_come_again_are_shown_again(path: Path) -> None:
    writer, reader = pair(path)
    old = reader.array
    writer.truncate(1000, force=True)
    assert old[-1] == 0  # the guard has put zeros there
    writer.extend(np.full(ROWS - 1000, 7))
    writer.commit()
    assert reader.refresh() == ROWS
    assert (reader.array[1000:] == 7).all()
    assert (old[1000:] == 7).all()


@guarded
def test_rows_that_come_again_are_shown_again_after_a_look_at_fewer(path: Path) -> None:
    writer, reader = pair(path)
    old = reader.array
    writer.truncate(1000, force=True)
    assert old[-1] == 0
    assert reader.refresh() == 1000
    assert reader.array.sum() == np.arange(1001).sum()
    writer.extend(np.full(2 * ROWS, 7))
    writer.commit()
    assert reader.refresh() == 2 * ROWS + 1000
    assert (reader.array[1000:] == 7).all()
    assert (old[1000:] == 7).all()


@guarded
def test_another_program_that_cuts_and_writes_again(path: Path) -> None:
    writer, reader = pair(path)
    content = path.read_bytes()
    writer.close()
    for size in (0, 64, 4000):
        os.truncate(path, size)
        for _ in range(2):
            with pytest.raises(MappingLostError) as lost:
                reader.refresh()
            assert (lost.value.start, lost.value.stop) == (size, len(content))
        assert reader[-1] == 0
        with pytest.raises(MappingLostError):
            reader.refresh()
        path.write_bytes(content)
        assert reader.refresh() == ROWS
        assert (reader.array == np.arange(1, ROWS + 1)).all()


def test_zeros_in_place_of_all_are_a_loss(path: Path) -> None:
    _, reader = pair(path)
    size = path.stat().st_size
    os.truncate(path, 0)
    os.truncate(path, size)
    with pytest.raises(MappingLostError, match="something else grew it again"):
        reader.refresh()
    np.save(path, np.arange(3))
    assert reader.refresh() == 3
    assert reader.array.tolist() == [0, 1, 2]


@pytest.mark.parametrize("now", [np.arange(9, dtype="i4"), np.ones((9, 2))])
def test_a_reader_gets_the_rows_that_it_asked_for(path: Path, now: np.ndarray) -> None:
    np.save(path, np.arange(9.0))
    asked = GrowableArray.open(path, dtype="f8", row_shape=())
    takes_all = GrowableArray.open(path)
    assert asked.array.sum() == takes_all.array.sum() == 36
    np.save(path, now)
    for _ in range(2):
        with pytest.raises(FormatError, match=r"has dtype int32|has rows of shape"):
            asked.refresh()
    assert (asked.dtype, asked.shape, len(asked)) == (np.dtype("f8"), (9,), 9)
    assert takes_all.refresh() == 9
    assert (takes_all.array == now).all()
    np.save(path, np.arange(4.0))
    assert asked.refresh() == 4
    assert asked.array.tolist() == [0, 1, 2, 3]


def test_a_closed_array_is_not_refreshed(path: Path) -> None:
    for each in pair(path, 3):
        each.close()
        with pytest.raises(ClosedError):
            each.refresh()


def test_a_check_tells_rows_that_are_gone(path: Path) -> None:
    writer, reader = pair(path)
    sides = [(g, g._side) for g in (writer, reader)]
    for g, side in sides:
        side.check(len(g))
    os.truncate(path, 128 + 80)
    for g, side in sides:
        with pytest.raises(MappingLostError):
            side.check(len(g))
    mmapio.save(path, np.arange(3))
    reader.close()
    reader = GrowableArray.open(path)
    mmapio.save(path, np.arange(3))
    with pytest.raises(ReplacedError):
        reader._side.check(3)


# overlayfs ------------------------------------------------------------------------------------


def mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no program mount here")
    if done.returncode:
        pytest.skip(f"this process may not mount: {done.stderr.strip()}")


@pytest.fixture(params=["one", "two"])
def overlay(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the lower layer of an overlayfs, and where it is mounted."""
    base, lower = tmp_path / "base", tmp_path / "lower"
    base.mkdir()
    mount("-t", "tmpfs", "tmpfs", str(base))
    try:
        if request.param == "one":  # all layers lie in one file system, or not
            lower = base / "lower"
        for folder in (lower, base / "upper", base / "work", base / "merged"):
            folder.mkdir()
        yield lower, base / "merged"
    finally:
        subprocess.run(["umount", str(base / "merged")], capture_output=True)
        subprocess.run(["umount", str(base)], check=True)


def merge(merged: Path, lower: Path) -> Path:
    base = merged.parent
    layers = f"lowerdir={lower},upperdir={base / 'upper'},workdir={base / 'work'}"
    mount("-t", "overlay", "overlay", "-o", layers, str(merged))
    return merged / "grown.npy"


def close_all(*arrays: GrowableArray) -> None:
    for each in arrays:
        each.close(commit=False, force=True)


def test_a_reader_follows_the_copy_that_a_first_writer_gets(overlay: tuple[Path, Path]) -> None:
    lower, merged = overlay
    close_all(*pair(lower / "grown.npy", 10))
    path = merge(merged, lower)
    reader = GrowableArray.open(path)
    old = reader.array
    writer = GrowableArray.open(path, "r+")
    try:
        assert reader.refresh() == 10
        writer.append(11)
        writer.commit()
        assert (reader.refresh(), len(old)) == (11, 10)
        assert reader.array.tolist() == np.load(path).tolist() == list(range(1, 12))
        writer.extend(np.arange(12, 100))
        writer.commit()
        assert (reader.refresh(), reader[-1], old.tolist()) == (99, 99, list(range(1, 11)))
        reader._side.check(99)
    finally:
        del old
        close_all(reader, writer)


def test_another_file_in_an_overlay_is_no_copy(overlay: tuple[Path, Path]) -> None:
    lower, merged = overlay
    close_all(*pair(lower / "grown.npy", 10))
    path = merge(merged, lower)
    readers = [GrowableArray.open(path)]
    try:
        for replace in (
            lambda: mmapio.save(path, np.arange(1, 20)),
            lambda: mmapio.copy(path, path),
            lambda: (path.unlink(), np.save(path, np.arange(1, 20))),
        ):
            replace()
            for reader in readers:
                with pytest.raises(ReplacedError):
                    reader.refresh()
            readers.append(GrowableArray.open(path))
    finally:
        close_all(*readers)


def test_a_new_file_in_an_overlay_is_the_writers_own(overlay: tuple[Path, Path]) -> None:
    path = merge(overlay[1], overlay[0])
    for rows in (10, 20):
        with GrowableArray.open(path, "w+", dtype="i8") as writer:
            for row in range(rows):
                writer.append(row)
                writer.commit()
            reader = GrowableArray.open(path)
            assert reader.refresh() == rows
            reader.close()


@pytest.mark.parametrize("contents", [b"\0" * 16128, b"x" * 16128], ids=["zeros", "other"])
def test_check_finds_a_file_that_was_written_anew(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.arange(2000))
    reader = mmapio.GrowableArray.open(path)
    reader.check()
    with open(path, "wb") as file:
        file.write(contents)
    with pytest.raises((mmapio.MappingLostError, mmapio.FormatError)):
        reader.check()
