"""`GrowableArray`: the writer's file cut off, written anew, replaced, moved or deleted."""

from __future__ import annotations

import os
import pickle
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import GrowableArray, _os, guard
from mmapio.arrays import row_file
from mmapio.errors import (
    ClosedError,
    FileError,
    FormatError,
    LockedError,
    MappingLostError,
    ReplacedError,
)

pytestmark = pytest.mark.skipif(
    not _os.CAN_MAP_PAST_END, reason="this platform cannot grow a file while it is mapped"
)
PAGE = _os.PAGE_SIZE
ROWS = 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "grown.npy"


def grown(path: Path, rows: int = ROWS, commit: bool = True) -> GrowableArray:
    g = GrowableArray.open(path, "x+", dtype="i8")
    g.extend(np.arange(1, rows + 1))
    if commit:
        g.commit()
    return g


def regrow(path: Path, size: int) -> None:
    """Let another program cut a file off, and grow it to where it ended."""
    whole = path.stat().st_size
    os.truncate(path, size)
    os.truncate(path, whole)


def write_in_place(path: Path, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.truncate(0)
        file.write(content)


LOST: dict[str, Callable[[Path], object]] = {
    "cut to nothing": lambda path: os.truncate(path, 0),
    "cut into the header": lambda path: os.truncate(path, 64),
    "cut behind the header": lambda path: os.truncate(path, 128),
    "cut to the middle": lambda path: os.truncate(path, 4000),
    "cut by a byte": lambda path: os.truncate(path, path.stat().st_size - 1),
    "regrown from nothing": lambda path: regrow(path, 0),
    "regrown from the middle": lambda path: regrow(path, 2000),
    "saved in place": lambda path: np.save(path, np.arange(ROWS)),
    "saved in place, larger": lambda path: np.save(path, np.ones(10 * ROWS, "c16")),
    "saved in place, smaller": lambda path: np.save(path, np.ones(3, "f4")),
    "written in place": lambda path: write_in_place(path, b"no array at all" * 5000),
}
REPLACED: dict[str, Callable[[Path], object]] = {
    "save": lambda path: mmapio.save(path, np.arange(3.0)),
    "create": lambda path: mmapio.create(path, ROWS, "i8", overwrite=True),
    "copy": lambda path: mmapio.copy(_other(path), path),
    "mv": lambda path: os.replace(_other(path), path),
    "rm and save": lambda path: (path.unlink(), np.save(path, np.arange(ROWS))),
    "mv away and create": lambda path: (path.rename(f"{path}.1"), path.write_bytes(b"")),
}
WRITES: dict[str, Callable[[GrowableArray], object]] = {
    "append": lambda g: g.append(7),
    "append an array": lambda g: g.append(np.array(7)),
    "extend": lambda g: g.extend([7, 8]),
    "extend by an array": lambda g: g.extend(np.arange(2 * PAGE)),
    "commit": lambda g: g.commit(),
    "commit, not durably": lambda g: g.commit(durable=False),
    "truncate": lambda g: g.truncate(1),
}


def _other(path: Path) -> Path:
    """Return a file as an equal writer left it."""
    grown(path.with_name("other.npy")).close()
    return path.with_name("other.npy")


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "uncommitted"])
@pytest.mark.parametrize("lose", LOST)
def test_the_writer_notices_what_its_file_has_lost(path: Path, lose: str, commit: bool) -> None:
    g = grown(path, commit=commit)
    LOST[lose](path)
    left = path.read_bytes()
    for durable in (True, False, True):
        with pytest.raises(MappingLostError, match="another program has cut the file off") as lost:
            g.commit(durable)
    assert 0 <= lost.value.start < lost.value.stop == 128 + 8 * ROWS
    for write in WRITES.values():
        with pytest.raises(MappingLostError):
            write(g)
    with pytest.raises(MappingLostError):
        g.close()
    assert g.closed
    g.close()
    assert path.read_bytes() == left


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("size", [0, 100, 4000, 128 + 8 * ROWS - 1])
def test_rows_are_not_written_behind_a_gap(path: Path, write: str, size: int) -> None:
    g = grown(path)
    os.truncate(path, size)
    with pytest.raises(MappingLostError) as lost:
        WRITES[write](g)
    assert (lost.value.start, lost.value.cause) == (size, "truncated")
    assert path.stat().st_size == size
    regrow(path, size)  # what comes again is not what was there
    os.truncate(path, 128 + 8 * ROWS)
    with pytest.raises(MappingLostError):
        g.commit()
    with pytest.raises(MappingLostError):
        g.close()


def test_what_something_else_wrote_is_not_cut_off(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    g = grown(path)
    np.save(path, np.ones(10 * ROWS))

    def fail(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    for name in ("write_at", "write_next"):
        if hasattr(_os, name):
            monkeypatch.setattr(_os, name, fail)
    with pytest.raises(MappingLostError, match="something else wrote it anew"):
        g.append(7)
    monkeypatch.undo()
    assert len(np.load(path)) == 10 * ROWS


FOREIGN: dict[str, bytes] = {
    "another array": b"\x93NUMPY" + bytes(122) + np.arange(5).tobytes(),
    "a part of a row": b"xyz",
    "rows": np.arange(3).tobytes(),
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_what_another_program_has_appended_is_not_cut_off(path: Path, foreign: str) -> None:
    g = grown(path)
    g.append(ROWS + 1)
    with open(path, "ab") as file:
        file.write(FOREIGN[foreign])
    left = path.read_bytes()
    for name in ("append", "append an array", "extend", "extend by an array", "truncate"):
        with pytest.raises(FormatError, match="that no growable array wrote"):
            WRITES[name](g)
    assert path.read_bytes() == left
    g.commit()
    assert path.read_bytes().endswith(FOREIGN[foreign])
    assert len(np.load(path)) == ROWS + 1
    os.truncate(path, len(left) - len(FOREIGN[foreign]))  # as the error says
    g.append(ROWS + 2)
    g.close()
    assert np.load(path).tolist() == list(range(1, ROWS + 3))


def test_a_check_leaves_the_position_at_the_end(path: Path) -> None:
    g = grown(path)
    assert g._file is not None
    fd, end = g._file.fd, 128 + 8 * ROWS
    for is_full in (True, False):
        g._file._is_full = is_full
        os.lseek(fd, 0, os.SEEK_END)
        g.check()
        assert os.lseek(fd, 0, os.SEEK_CUR) == end
    assert g._file._first_hole(end) is None
    assert os.lseek(fd, 0, os.SEEK_CUR) == end


@pytest.mark.parametrize("end", [0, 7], ids=["zeros", "others"])
@pytest.mark.parametrize("dig", [["-d"], ["-p", "-o", "8192", "-l", "16384"]], ids=["dig", "punch"])
def test_fewer_blocks_are_no_loss_to_the_writer(path: Path, dig: list[str], end: int) -> None:
    """As file systems that pack zeros take them, too."""
    g = GrowableArray.open(path, "x+", dtype="i8")
    for _ in range(3):
        g.extend(np.zeros(5000, "i8"))
        g.append(end)
        g.commit()
        done = subprocess.run(["fallocate", *dig, path], check=False)
        if done.returncode:
            pytest.skip("no holes can be dug here")
        g.check()
        g.append(end)
        g.commit()
    g.truncate(5000)
    subprocess.run(["fallocate", *dig, path], check=True)
    g.append(end)
    g.close()
    assert np.load(path).tolist() == [0] * 5000 + [end]


@pytest.mark.parametrize("replace", REPLACED)
def test_the_writer_notices_another_file_at_its_path(path: Path, replace: str) -> None:
    g = grown(path)
    REPLACED[replace](path)
    there = path.read_bytes()
    g.append(7)
    for durable in (True, False):
        with pytest.raises(ReplacedError, match="was replaced by another"):
            g.commit(durable)
    with pytest.raises(ReplacedError):
        g.truncate(1)
    assert (len(g), g.committed) == (ROWS + 1, ROWS)
    with pytest.raises(ReplacedError):
        g.close()
    assert g.closed
    assert path.read_bytes() == there


def test_a_writer_with_nothing_to_commit_notices_at_its_end(path: Path) -> None:
    g = grown(path)
    os.truncate(path, 4000)
    with pytest.raises(MappingLostError):
        g.close()
    with pytest.raises(FormatError, match="is truncated"):
        GrowableArray.open(path, "r+")
    g = GrowableArray.open(path, "r+", recover="rows")
    assert g.array.tolist() == list(range(1, 485))
    np.save(path, np.arange(3.0))
    with pytest.raises(MappingLostError), g:
        pass
    assert g.closed
    with GrowableArray.open(path, "a+") as g:
        g.append(3)
    assert np.load(path).tolist() == [0, 1, 2, 3]
    g = GrowableArray.open(path, "a+")
    os.truncate(path, 0)
    g.close(commit=False)
    assert g.closed


@pytest.mark.parametrize("leave", ["rm", "mv"])
def test_a_file_without_its_path_is_left_alone(path: Path, leave: str) -> None:
    g = grown(path)
    moved = path.with_name("moved.npy")
    _ = path.unlink() if leave == "rm" else path.rename(moved)
    g.append(7)
    g.commit()
    assert (g.committed, g[-1]) == (ROWS + 1, 7)
    g.close()
    assert moved.exists() == (leave == "mv")
    if leave == "mv":
        assert len(np.load(moved)) == ROWS + 1
    grown(path).close()


def test_a_failed_append_does_not_grow_a_file_that_was_cut_off(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    g = grown(path)

    def cut_and_fail(fd: int, data: Any) -> int:
        os.truncate(path, 1000)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_os, "write_next", cut_and_fail)
    with pytest.raises(FileError):
        g.append(7)
    assert path.stat().st_size == 1000


def test_an_interrupted_commit_is_no_loss(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    g = grown(path)
    real = _os.write_at
    for write_first in (True, False):

        def interrupted(fd: int, data: Any, offset: int, first: bool = write_first) -> int:
            if first:
                real(fd, data, offset)
            raise KeyboardInterrupt

        g.append(7)
        monkeypatch.setattr(_os, "write_at", interrupted)
        with pytest.raises(KeyboardInterrupt):
            g.commit()
        monkeypatch.undo()
        g.append(8)
        g.commit()
    g.close()
    assert np.load(path)[ROWS:].tolist() == [7, 8] * 2


def test_a_file_with_holes_is_written_on(path: Path) -> None:
    data = np.lib.format.open_memmap(path, "w+", "i8", (100 * PAGE,))
    data[-1] = 1
    del data
    with GrowableArray.open(path, "r+") as g:
        g.append(2)
        g.commit()
    assert np.load(path)[-2:].tolist() == [1, 2]


def test_a_file_that_is_cut_off_while_its_header_is_moved(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = np.arange(300_000, dtype="<i8")
    text = b"{'descr': '<i8', 'fortran_order': False, 'shape': (300000,), }\n"  # as once was usual
    path.write_bytes(b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + data.tobytes())
    real = row_file.read_at

    def read_at(fd: int, offset: int, length: int) -> bytes:
        if offset > 1 << 20:
            os.truncate(path, 1 << 20)
        return real(fd, offset, length)

    monkeypatch.setattr(row_file, "read_at", read_at)
    with pytest.raises(MappingLostError):
        GrowableArray.open(path, "r+")
    assert os.listdir(path.parent) == [path.name]


def test_one_of_many_threads_is_the_writer(path: Path) -> None:
    rounds, threads = 20, 4
    grown(path, 1).close()
    won, barrier = [0] * threads, threading.Barrier(threads)
    failures: list[BaseException] = []

    def write(number: int) -> None:
        for _ in range(rounds):
            barrier.wait(60)
            try:
                with GrowableArray.open(path, "r+") as g:
                    for _ in range(10):
                        g.append(number)
                        g.commit(durable=False)
                won[number] += 1
            except LockedError:
                pass
            except BaseException as error:
                failures.append(error)

    workers = [threading.Thread(target=write, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert failures == []
    assert sum(won) >= rounds
    counted = np.bincount(np.load(path)[1:], minlength=threads)
    assert counted.tolist() == [10 * times for times in won]


def test_what_a_closed_array_still_tells(path: Path) -> None:
    g = grown(path)
    g.close()
    assert (len(g), g.shape, g.committed) == (ROWS, (ROWS,), ROWS)
    for use in (lambda: g.refresh(), lambda: pickle.dumps(g), lambda: g[0], lambda: np.array(g)):
        with pytest.raises(ClosedError):
            use()


def test_nothing_is_committed_once_the_file_was_cut_off(path: Path, scale: float) -> None:
    generator = np.random.default_rng(1)
    for number in range(int(60 * scale)):
        g = GrowableArray.open(path, "w+", dtype="i8")
        g.extend(np.arange(1, 20_000))
        g.commit(durable=False)
        size, is_cut = int(generator.integers(0, 140_000)), threading.Event()

        def cut(size: int = size, is_cut: threading.Event = is_cut) -> None:
            os.truncate(path, size)
            is_cut.set()

        thread = threading.Timer(float(generator.random()) / 200, cut)
        thread.start()
        was_cut = False
        with pytest.raises(MappingLostError):  # noqa: PT012
            while not was_cut:
                was_cut = is_cut.is_set()
                for row in range(1, number % 5 + 2):
                    g.append(np.array(row))
                g.commit(durable=False)
        thread.join()
        with pytest.raises(MappingLostError):
            g.close()


@pytest.mark.skipif(guard.why_not() is not None, reason=f"no guard: {guard.why_not()}")
def test_a_reader_lives_through_all_that_a_file_can_suffer(path: Path, scale: float) -> None:
    g = grown(path, 50_000)
    content, is_over = path.read_bytes(), threading.Event()

    def spoil() -> None:
        generator = np.random.default_rng(2)
        for _ in range(int(300 * scale)):
            os.truncate(path, int(generator.integers(0, len(content))))
            with open(path, "r+b") as file:
                file.write(content)
        is_over.set()

    reader = GrowableArray.open(path)
    thread = threading.Thread(target=spoil)
    thread.start()
    refused = 0
    while not is_over.is_set():
        try:
            assert reader.refresh() == 50_000
            reader.array.sum()
        except (MappingLostError, FormatError):
            refused += 1
    thread.join()
    assert reader.refresh() == 50_000
    assert (reader.array == np.arange(1, 50_001)).all()
    g.close()


def test_a_truncate_that_cannot_open_the_file_drops_no_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    with mmapio.GrowableArray.open(path, "w+", dtype="i8") as g:
        g.extend(range(10))
        g.commit()
        path.rename(tmp_path / "moved.npy")
        with pytest.raises(mmapio.FileError):
            g.truncate(3)
        assert len(g) == g.committed == len(np.load(tmp_path / "moved.npy")) == 10
        (tmp_path / "moved.npy").rename(path)
        g.truncate(3)
    assert np.load(path).tolist() == [0, 1, 2]
