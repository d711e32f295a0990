"""Rows of items that lie apart: scanned where they lie, and as if they lay together."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from mmapio import kernels
from mmapio.kernels.engine.pieces import Pieces
from mmapio.kernels.statistics._extreme_keys import flip_for
from mmapio.kernels.statistics._extreme_vectors import lines_range
from tests.kernels.samples import small_pieces

STEPS = (2, 3, 4, 5, -1)
SIZES = (1, 2, 16, 63, 64, 65, 1003)
SOUGHT = 3


def apart(dtype: str, size: int, step: int) -> NDArray[Any]:
    """Return items of which some are the sought ones, among others that must not be seen."""
    memory = np.full(max(0, (size - 1) * abs(step) + 1), SOUGHT, dtype)
    memory[1::2] = np.nan if memory.dtype.kind == "f" else 99
    a = memory[::step]
    a[:] = np.random.default_rng(size).integers(0, 50, size)
    return a


def answers(a: NDArray[Any], **options: Any) -> list[Any]:
    scans: list[Any] = [kernels.sum, kernels.mean, kernels.minmax, kernels.min, kernels.max]
    scans += [kernels.argmin, kernels.argmax, kernels.count_nonzero]
    found = [scan(a, **options) for scan in scans]
    found += [scan(a, SOUGHT, **options) for scan in (kernels.count, kernels.find)]
    return [*found, kernels.find_all(a, SOUGHT, **options).tolist()]


@pytest.mark.parametrize("dtype", ["u1", "i4", "f8"])
def test_items_that_lie_apart_are_as_good_as_others(dtype: str) -> None:
    for size in SIZES:
        for step in STEPS:
            a = apart(dtype, size, step)
            together = answers(a.copy())
            assert answers(a) == together
            assert answers(a, threads=2) == together
            with small_pieces(100):
                assert answers(a, threads=2) == together


@pytest.mark.parametrize("dtype", ["u1", "i4"])
def test_fields_of_records_lie_apart(dtype: str) -> None:
    records = np.zeros(300, [("first", "u1"), ("number", dtype), ("more", "f8")])
    aligned = np.zeros(300, np.dtype(records.dtype.descr, align=True))
    for each in (records, aligned):
        each["more"] = np.nan
        each["number"] = np.arange(300)
        assert answers(each["number"]) == answers(np.arange(300).astype(dtype))


def test_each_lane_has_its_nan_and_its_sign() -> None:
    for step in (2, 3):
        for at in range(70):
            a = apart("f8", 70, step)
            a[at] = np.nan
            assert kernels.argmin(a) == kernels.argmax(a) == at
            assert np.isnan(kernels.minmax(a)).all()
            a[:], a[at] = 0.0, -0.0
            assert [str(each) for each in kernels.minmax(a)] == ["-0.0", "0.0"]


def test_a_row_without_steps_has_one_item_many_times() -> None:
    a = np.broadcast_to(np.array([SOUGHT], "f8"), 200)
    assert answers(a) == answers(np.full(200, SOUGHT, "f8"))


def test_no_item_is_copied_that_lies_apart() -> None:
    for a in (np.arange(50)[::2], np.arange(50)[::3]):
        pieces = Pieces(a, apart=True)
        assert np.shares_memory(pieces.take(0, pieces.buffer()), a)
    for a in (np.arange(50, dtype=">i8")[::2], np.zeros(81, "u1")[1:].view("i8")[::2]):
        pieces = Pieces(a, apart=True)
        assert not np.shares_memory(pieces.take(0, pieces.buffer()), a)


def test_pieces_of_items_far_apart_are_shorter() -> None:
    """Others wait for them, and Ctrl-C, if every item has a page of its own."""
    a = np.lib.stride_tricks.as_strided(np.zeros(1), (1 << 20,), (0,))
    assert Pieces(a, apart=True).items == 1 << 19
    memory = np.lib.stride_tricks.as_strided(np.zeros(1), (1 << 20,), (4096,))
    assert Pieces(memory, apart=True).items == 1 << 16


@pytest.mark.parametrize("dtype", ["i1", "f4"])
def test_vectors_find_what_python_finds(dtype: str) -> None:
    flip = flip_for(np.dtype(dtype), True)
    for size in (0, 15, 16, 300):
        for step in STEPS:
            a = apart(dtype, size, step)
            assert _lines_range(a, flip) == lines_range(a, flip)


@numba.njit
def _lines_range(x: Any, flip: Any) -> Any:
    return lines_range(x, flip)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cuts off no file that is mapped")
def test_nothing_behind_the_last_of_every_second_item_is_read(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    """It ends a page here, and a read of the next one, which the file lost, ends the process."""
    code = """
        import mmap, sys, numpy as np
        from mmapio import kernels
        page = mmap.PAGESIZE
        with open(sys.argv[1], "wb+") as file:
            file.truncate(2 * page)
            memory = mmap.mmap(file.fileno(), 2 * page)
            file.truncate(page)
        rows = np.frombuffer(memory, np.float64)[: page // 8][1::2]
        rows[:] = 1
        for row in (rows, rows[-5:], rows[-64:]):
            assert kernels.sum(row) == kernels.count(row, 1) == row.size
            assert kernels.minmax(row) == (1, 1) and kernels.argmax(row) == 0
            assert kernels.min(row) == 1 and kernels.find(row, 0) == -1
            assert kernels.find_all(row, 1).size == row.size
        print("read")
    """
    assert run_python(textwrap.dedent(code), str(tmp_path / "cut")) == "read\n"
