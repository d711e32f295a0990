"""Atomic cells in mappings: every refusal, every mode, and how long the memory lives."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

import mmapio
from mmapio import atomics

DTYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "?")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "cells.bin"
    path.write_bytes(bytes(4096))
    return path


@pytest.mark.parametrize("dtype", DTYPES)
def test_cells_of_every_dtype_store_into_the_mapping(dtype):
    m = mmapio.MappedFile.anonymous(64)
    cell, cells = m.atomic(16, dtype), m.atomic_array(32, 3, dtype)
    assert (cell.exchange(1), cell.value) == (0, 1)
    assert (cells.exchange(-1, 1), cells.load(2), len(cells)) == (0, 1, 3)
    size = np.dtype(dtype).itemsize
    assert m.view(16, size, dtype)[0] == 1
    assert m.view(32, 3 * size, dtype).tolist() == [0, 0, 1]
    assert m.view(16 + size, 16 - size).any() == m.view(32 + 3 * size).any() == False  # noqa: E712


def test_cells_end_where_the_mapping_ends():
    m = mmapio.MappedFile.anonymous(24)
    assert m.atomic(16, "u8").fetch_add(1) == 0
    assert len(m.atomic_array(8, 2, "u8")) == 2
    assert len(m.atomic_array(24, 0, "u8")) == 0
    for offset, count in ((24, 1), (16, 2), (0, 2**62), (2**70, 1), (20, 1)):
        with pytest.raises((mmapio.OutOfBoundsError, mmapio.ArgumentError)):
            m.atomic_array(offset, count, "u8")
    with pytest.raises(mmapio.OutOfBoundsError, match="reaches past the end, at 24 bytes"):
        m.atomic(20, "u8")
    for offset in (-8, 0.5, "0", None):
        with pytest.raises((mmapio.ArgumentError, mmapio.ArgumentTypeError)):
            m.atomic(offset, "u8")
    with pytest.raises(mmapio.OutOfBoundsError, match="index 2 is outside of 2 cells"):
        m.atomic_array(8, 2, "u8").load(2)


@pytest.mark.parametrize(("offset", "dtype"), [(1, "u2"), (3, "i4"), (4, "f8"), (9, "u8")])
def test_a_misaligned_cell_is_refused_with_what_is_required(offset, dtype):
    m, size = mmapio.MappedFile.anonymous(64), np.dtype(dtype).itemsize
    for bind in (lambda: m.atomic(offset, dtype), lambda: m.atomic_array(offset, 2, dtype)):
        with pytest.raises(mmapio.MisalignedError, match=f"a multiple of {size} bytes of memory"):
            bind()
    assert not m.view().any()


def test_memory_is_what_must_be_aligned(path):
    m = mmapio.MappedFile.open(path, "r+", offset=4)
    assert m.atomic(4, "u8").fetch_add(7) == 0
    with pytest.raises(mmapio.MisalignedError, match=r"offset 0 of .* is 4 past one"):
        m.atomic(0, "u8")
    assert path.read_bytes()[8] == 7


@pytest.mark.parametrize(
    ("dtype", "error"),
    [
        ("c8", mmapio.ArgumentTypeError),
        ("f2", mmapio.ArgumentTypeError),
        ("g", mmapio.ArgumentTypeError),
        ("S3", mmapio.ArgumentTypeError),
        ([("x", "u4")], mmapio.ArgumentTypeError),
        (np.dtype("u4").newbyteorder(), mmapio.ArgumentError),
        ("O", mmapio.ArgumentError),
        ("nonsense", mmapio.ArgumentTypeError),
    ],
)
def test_other_dtypes_are_refused(dtype, error):
    m = mmapio.MappedFile.anonymous(64)
    for bind in (lambda: m.atomic(0, dtype), lambda: m.atomic_array(0, 2, dtype)):
        with pytest.raises(error):
            bind()


def test_a_read_only_mapping_can_be_loaded_from_and_no_more(path):
    m = mmapio.MappedFile.open(path)
    cell, cells = m.atomic(8, "u8"), m.atomic_array(8, 2, "u8")
    assert (cell.load(), cell.value, cells.load(1)) == (0, 0, 0)
    for change in (lambda: cell.store(1), lambda: cell.fetch_add(1), lambda: cells.exchange(0, 1)):
        with pytest.raises(mmapio.ReadOnlyError):
            change()
    with pytest.raises(mmapio.ReadOnlyError):
        cell.value = 3


def test_a_copy_on_write_mapping_keeps_what_is_stored_to_itself(path):
    m = mmapio.MappedFile.open(path, "c")
    cell = m.atomic(0, "u8")
    assert (cell.fetch_add(5), cell.value) == (0, 5)
    assert path.read_bytes() == bytes(4096)
    assert mmapio.MappedFile.open(path).atomic(0, "u8").value == 0


def test_values_outside_of_the_dtype_are_refused():
    m = mmapio.MappedFile.anonymous(64)
    for change in (m.atomic(0, "u1").store, m.atomic(1, "i1").fetch_add):
        with pytest.raises(mmapio.ArgumentError):
            change(300)
    assert not m.view().any()


@pytest.mark.parametrize("bind", ["atomic", "atomic_array"])
def test_a_cell_keeps_its_memory_as_a_view_does(path, bind):
    m = mmapio.MappedFile.open(path, "r+")
    cells = m.atomic(0, "u8") if bind == "atomic" else m.atomic_array(0, 1, "u8")
    add = cells.fetch_add
    place = () if bind == "atomic" else (0,)
    del cells
    gc.collect()
    with pytest.raises(mmapio.InUseError):
        m.close()
    assert add(*place, 1) == 0
    m.close(force=True)
    assert add(*place, 1) == 0  # in memory of zeros, which is nobody's
    assert path.read_bytes()[0] == 1
    with pytest.raises(mmapio.ClosedError):
        m.atomic(0, "u8")
    del add
    again = mmapio.MappedFile.open(path, "r+")
    kept = again.atomic(0, "u8").fetch_add
    del again
    gc.collect()
    assert kept(1) == 1
    del kept
    once_more = mmapio.MappedFile.open(path, "r+")
    once_more.close()


def test_a_cell_outlives_a_resize(path):
    m = mmapio.MappedFile.open(path, "r+", capacity=1 << 20)
    cell = m.atomic(8, "u8")
    m.resize(1 << 20)
    cell.fetch_add(3)
    assert m.atomic(8, "u8").value == 3


def test_kernels_and_cells_share_a_word(path):
    m = mmapio.MappedFile.open(path, "r+")
    cell, words = m.atomic(16, "i8"), m.view(0, 32, "i8")

    @numba.njit(nogil=True)
    def add(words, count):
        for _ in range(count):
            atomics.fetch_add(words, 2, 1)

    add(words, 1000)
    cell.fetch_sub(1)
    assert cell.value == words[2] == 999


ADD = """
import sys, mmapio
cell = mmapio.MappedFile.open(sys.argv[1], "r+").atomic(64, "u8")
for _ in range(20_000):
    cell.fetch_add(1)
"""


def test_processes_count_together(path):
    cell = mmapio.MappedFile.open(path, "r+").atomic(64, "u8")
    command = [sys.executable, "-c", ADD, str(path)]
    others = [subprocess.Popen(command, env=None) for _ in range(2)]
    for _ in range(20_000):
        cell.fetch_add(1)
    assert [other.wait(60) for other in others] == [0, 0]
    assert cell.value == 60_000
