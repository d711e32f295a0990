"""Holes of files: found where they are, and nowhere else."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mmapio.files.holes import has_hole, holes_of

MIB = 1 << 20

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell of holes")


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """Return a file of 4 MiB, of which the second is there."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(4 * MIB)
        file.seek(MIB)
        file.write(b"x" * MIB)
        os.fsync(file.fileno())
    if path.stat().st_blocks * 512 >= 4 * MIB:
        pytest.skip("this file system keeps no holes")
    return path


def test_holes_are_found_between_the_data(sparse: Path) -> None:
    with sparse.open("rb") as file:
        assert list(holes_of(file.fileno(), 4 * MIB)) == [(0, MIB), (2 * MIB, 2 * MIB)]


def test_a_range_has_a_hole_wherever_in_it_that_begins(sparse: Path) -> None:
    with sparse.open("rb") as file:
        ranges = ((0, MIB), (MIB, 2 * MIB), (MIB, 2 * MIB + 1))
        assert [has_hole(file.fileno(), *each) for each in ranges] == [True, False, True]


def test_a_file_without_holes(tmp_path: Path) -> None:
    path = tmp_path / "whole"
    path.write_bytes(b"x" * 5000)
    with path.open("rb") as file:
        assert list(holes_of(file.fileno(), 5000)) == []
