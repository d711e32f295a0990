"""The power of a real file system is cut: what was synced is there when it comes back."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from loopdevice import mounted, small_drive
from workload import is_allowed, plan, rows, states

import mmapio
from mmapio import FileError, FlushError, FlushPolicy, GrowableArray, MappedFile, _os
from mmapio.files import writeback
from mmapio.mapping import flushing

PAGE = _os.PAGE_SIZE
LARGE_BYTES = 8 << 20


def test_the_power_cut_is_real(tmp_path: Path) -> None:
    """Without a sync, a file is gone; otherwise the tests below would prove nothing."""
    with mounted(tmp_path) as device:
        (device.root / "unsynced").write_bytes(b"x" * 100_000)
        device.cut_power()
        assert not (device.root / "unsynced").exists()


def grow(g: GrowableArray, step: int) -> None:
    """Take the next step of the workload."""
    keep, more = plan(step, len(g))
    if keep < len(g):
        g.truncate(keep)
    else:
        g.extend(rows(len(g), more, step))
        g.commit()


def test_what_was_committed_survives_a_power_loss(tmp_path: Path, scale: float) -> None:
    """The array of each round goes on where the power went in the round before."""
    cuts = int(100 * scale)
    generator, step = random.Random(1), 0
    expected = states(4 * cuts)
    with mounted(tmp_path) as device:
        path = device.root / "log.npy"
        for _ in range(cuts):
            g = GrowableArray.open(path, "a+", dtype=rows(0, 0, 0).dtype)
            for _ in range(generator.randrange(4)):
                grow(g, step)
                step += 1
            g.extend(rows(len(g), generator.randrange(500), 10**6))  # which nobody commits
            del g
            device.cut_power()
            assert is_allowed(path.read_bytes(), step, expected)
            assert path.stat().st_size < 128 + 64 * (len(expected[step]) + 1000)


def flush_range(m: MappedFile, at: int, data: bytes) -> None:
    m.view(at, len(data))[:] = np.frombuffer(data, "u1")
    m.flush(at, len(data))


def write(m: MappedFile, at: int, data: bytes) -> None:
    m.write(at, data)


@pytest.mark.parametrize(
    ("policy", "store"),
    [
        (FlushPolicy.manual(), flush_range),
        (FlushPolicy.always(), write),
        (FlushPolicy.every_bytes(1), write),
        (FlushPolicy.every_writes(1), write),
    ],
)
def test_what_was_flushed_survives_a_power_loss(
    tmp_path: Path,
    policy: FlushPolicy,
    store: Callable[[MappedFile, int, bytes], None],
    scale: float,
) -> None:
    generator = random.Random(1)
    with mounted(tmp_path) as device:
        path, model = device.root / "file", bytearray(50 * PAGE)
        MappedFile.open(path, "x+", len(model), flush_policy=policy).flush()
        for _ in range(int(15 * scale)):
            m = MappedFile.open(path, "r+", flush_policy=policy)
            for _ in range(5):
                data = generator.randbytes(generator.randrange(1, 3 * PAGE))
                at = generator.randrange(len(model) - len(data))
                store(m, at, data)
                model[at : at + len(data)] = data
            del m
            device.cut_power()
            assert path.read_bytes() == model


def test_a_new_file_has_its_name_once_it_was_flushed(tmp_path: Path, scale: float) -> None:
    with mounted(tmp_path) as device:
        for number in range(int(15 * scale)):
            path = device.root / f"{number}.npy"
            a = mmapio.create(path, 1000, "i8")
            a[:] = number
            a.flush()
            del a
            device.cut_power()
            assert (np.load(path) == number).all()


def test_save_leaves_the_old_file_or_the_new(tmp_path: Path, scale: float) -> None:
    with mounted(tmp_path) as device:
        path = device.root / "saved.npy"
        for number in range(int(25 * scale)):
            mmapio.save(path, np.full(5000, number))
            device.cut_power()
            assert (np.load(path) == number).all()


def test_a_drive_that_cannot_write_is_never_ok_again(tmp_path: Path) -> None:
    """The kernel tells the error of a real write once, or twice, and then that all is well."""
    with small_drive(tmp_path, 8) as folder, mounted(folder) as device:
        m = MappedFile.open(device.root / "file", "x+", 16 << 20)
        m.flush()
        m.view()[:] = 7
        for _ in range(5):
            with pytest.raises(FlushError, match="open the file anew"):
                m.flush()
        m.close()


def commit(path: Path) -> None:
    g = GrowableArray.open(path, "w+", dtype="u1")
    try:
        g.extend(np.ones(LARGE_BYTES, "u1"))
        g.commit(durable=True)
    finally:
        g.close(commit=False)


def flush_open_file(path: Path) -> None:
    with open(path, "x+b") as file:
        file.truncate(LARGE_BYTES)
        with MappedFile.from_fd(file.fileno(), "r+") as m:
            m.view()[:] = 1
            m.flush()


def save(path: Path) -> None:
    mmapio.save(path, np.ones(LARGE_BYTES, "u1"))


@pytest.mark.parametrize("store", [commit, flush_open_file, save])
def test_an_error_before_the_sync_is_one_of_the_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Callable[[Path], None]
) -> None:
    """Large ranges are written before they are synced, and each error is told once."""
    for module in (writeback, flushing):
        monkeypatch.setattr(module, "PIECE_BYTES", 1 << 20)
    write_back = _os.write_back

    def written_back(fd: int, start: int, length: int) -> None:
        try:
            write_back(fd, start, length)
        except OSError:
            filler.unlink(missing_ok=True)  # from here on nothing fails
            raise

    monkeypatch.setattr(_os, "write_back", written_back)
    with small_drive(tmp_path, 16) as folder, mounted(folder) as device:
        filler = folder / "filler"
        room = os.statvfs(folder)
        filler.write_bytes(bytes(room.f_bfree * room.f_frsize - LARGE_BYTES // 2))
        with pytest.raises(FileError, match="No space left"):
            store(device.root / "file")
        assert not filler.exists()
