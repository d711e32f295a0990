"""Reports of `inspect`, beside those of the system and of numpy."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import mmapio
from mmapio.files.inspection import inspect

MIB = 1 << 20


def keeps_holes(folder: Path) -> bool:
    probe = folder / "probe"
    with probe.open("wb") as file:
        file.truncate(MIB)
    stat = os.stat(probe)
    return getattr(stat, "st_blocks", 1) == 0 and hasattr(os, "SEEK_HOLE")


def test_the_header_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.asfortranarray(np.zeros((3, 4), ">i2")))
    found = inspect(path)
    assert found.header is not None
    assert (found.version, found.header.dtype, found.header.shape) == ("1.0", ">i2", (3, 4))
    assert found.header.order == "F"
    assert (found.data_offset, found.data_bytes) == (128, 24)
    assert found.size == 152 == path.stat().st_size
    assert (found.missing, found.trailing) == (0, 0)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_is_told(version: tuple[int, int], tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, np.zeros(3), version)
    assert inspect(tmp_path / "a.npy").version == "{}.{}".format(*version)


def test_other_files_are_bytes(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"some text")
    found = inspect(tmp_path / "b")
    assert (found.header, found.version, found.size, found.data_bytes) == (None, "", 9, 9)
    assert found.to_json()["kind"] == "bytes"


def test_an_empty_file_has_nothing_missing(tmp_path: Path) -> None:
    (tmp_path / "b").touch()
    found = inspect(tmp_path / "b")
    assert (found.size, found.holes, found.allocated_percent) == (0, (), 100)


@pytest.mark.parametrize(
    ("size", "missing", "trailing"), [(200, 728, 0), (928, 0, 0), (938, 0, 10)]
)
def test_the_wrong_size_is_told(size: int, missing: int, trailing: int, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(100))
    os.truncate(tmp_path / "a.npy", size)
    found = inspect(tmp_path / "a.npy")
    assert (found.missing, found.trailing) == (missing, trailing)


def test_a_malformed_header_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(100))
    os.truncate(tmp_path / "a.npy", 100)
    with pytest.raises(mmapio.FormatError):
        inspect(tmp_path / "a.npy")


def test_alignment_is_that_of_the_data(tmp_path: Path) -> None:
    def saved(length: int) -> Path:
        text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }"
        path = tmp_path / f"{length}.npy"
        head = b"\x93NUMPY\x01\x00" + (length - 10).to_bytes(2, "little")
        path.write_bytes(head + text.ljust(length - 11) + b"\n" + bytes(8))
        return path

    assert [inspect(saved(n)).alignment for n in (84, 128, 8192)] == [4, 128, 4096]
    assert [inspect(saved(n)).items_aligned for n in (84, 88)] == [False, True]


def test_what_is_allocated_is_told(tmp_path: Path) -> None:
    if not keeps_holes(tmp_path):
        pytest.skip("this file system keeps no holes, or does not tell of them")
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        for at in (MIB, 3 * MIB):
            file.seek(at)
            file.write(bytes([1]) * MIB)
        file.truncate(8 * MIB)
        os.fsync(file.fileno())
    found = inspect(path)
    assert found.holes == ((0, MIB), (2 * MIB, MIB), (4 * MIB, 4 * MIB))
    assert found.hole_bytes == 6 * MIB
    assert found.allocated == path.stat().st_blocks * 512
    assert found.allocated_percent == pytest.approx(25, abs=1)


def test_a_full_file_has_no_holes(tmp_path: Path) -> None:
    (tmp_path / "full").write_bytes(bytes([1]) * MIB)
    assert inspect(tmp_path / "full").holes == ()


def test_infos_are_json_and_the_same_every_time(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3, [("x", "f4"), ("y", "i2", (2,))]))
    first, second = (json.dumps(inspect(tmp_path / "a.npy").to_json()) for _ in range(2))
    assert first == second
    found = json.loads(first)
    assert found["kind"] == "npy"
    assert found["shape"] == [3]
    assert found["dtype"] == [["x", "<f4"], ["y", "<i2", [2]]]
