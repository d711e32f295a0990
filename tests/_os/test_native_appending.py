"""The native function that appends rows does what the composed one does."""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmapio._os import RowPlan, _composed, _native
from mmapio._os._native import _building

pytestmark = pytest.mark.skipif(
    not _native.is_made_for_here(), reason="there are no native functions for this platform"
)

Append = Callable[[int, Any, bytes, int], bool | bytes | None]
LOSSES = ctypes.c_uint64(0)
NO_LOSS = ctypes.addressof(LOSSES)


@pytest.fixture(scope="module")
def native() -> Append:
    return _native.native_functions(compiles=True)["append_rows"]


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "rows", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


class Rows(np.ndarray[Any, Any]):
    """A subclass, which may mean something else by its memory."""


RECORD = np.dtype([("a", "i4"), ("b", "f8")], align=True)
ARRAYS = [
    np.arange(3.0),
    np.arange(6.0).reshape(2, 3),
    np.arange(300.0).reshape(100, 3),
    np.arange(6.0).reshape(2, 3)[0],
    np.arange(6.0).reshape(2, 3)[1:],
    np.arange(12.0).reshape(4, 3)[::2],
    np.arange(12.0).reshape(4, 3)[::-1],
    np.arange(6.0)[::2],
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(4.0),
    np.arange(3, dtype="f4"),
    np.arange(3, dtype=">f8"),
    np.arange(3.0).view(Rows),
    np.zeros((0, 3)),
    np.zeros((2, 3, 1)),
    np.float64(3),
    np.array(3.0),
    np.zeros(2, "M8[s]"),
    np.zeros(2, RECORD),
    np.zeros((3, 2), RECORD),
    [1.0, 2.0, 3.0],
    (1, 2),
    None,
    "text",
    7,
    b"123456789012345678901234",
]
PLANS = [
    (np.dtype("f8"), (3,)),
    (np.dtype("f8"), ()),
    (np.dtype("f8"), (3, 1)),
    (np.dtype("M8[s]"), ()),
    (ARRAYS[17].dtype, ()),
    (RECORD, ()),
    (RECORD, (2,)),
]


@pytest.mark.parametrize("losses", [0, NO_LOSS], ids=["unknown", "none"])
@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_the_same_rows_are_appended(native: Append, fd: int, losses: int, many: bool) -> None:
    taken = 0
    for (dtype, shape), array in itertools.product(PLANS, ARRAYS):
        plan = RowPlan.of(dtype, shape, losses, many).pack()
        found = []
        for append in (_composed.append_rows, native):
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"head", 0)
            result = append(fd, array, plan, 4)
            found.append((result, os.pread(fd, 1 << 16, 0), os.lseek(fd, 0, os.SEEK_CUR)))
        assert found[0] == found[1], (dtype, shape, array)
        taken += bool(found[1][0])
    assert taken >= (4 if losses else 2)


def test_the_file_must_end_where_the_rows_do(native: Append, fd: int) -> None:
    row, plan = np.arange(3.0), RowPlan.of(np.dtype("f8"), (3,), 0, False).pack()
    os.write(fd, b"12345678")
    for append in (_composed.append_rows, native):
        for end in (0, 7, 9, -1, 2**62):
            assert append(fd, row, plan, end) is False
        for bad in (-1, 10**6):
            assert append(bad, row, plan, 8) is False
        assert os.fstat(fd).st_size == 8


def test_what_cannot_be_written_may_be_left_in_part(native: Append, tmp_path: Path) -> None:
    row, plan = np.arange(3.0), RowPlan.of(np.dtype("f8"), (3,), 0, False).pack()
    (tmp_path / "read-only").write_bytes(b"12345678")
    for append in (_composed.append_rows, native):
        with open(tmp_path / "read-only", "rb") as file:
            assert append(file.fileno(), row, plan, 8) is None


def test_memory_that_was_lost_is_left_to_others(native: Append, fd: int) -> None:
    word = ctypes.c_uint64(1)
    plan = RowPlan.of(np.dtype("f8"), (3,), ctypes.addressof(word), False).pack()
    row = np.arange(6.0)[:3]
    for append in (_composed.append_rows, native):
        assert append(fd, row, plan, 0) is False
        assert append(fd, np.arange(3.0), plan, 0) is True  # its own memory is no file's
        os.ftruncate(fd, 0)


def test_a_plan_is_what_it_was_packed_from() -> None:
    for dtype, shape in PLANS:
        plan = RowPlan.of(dtype, shape, 5, True)
        assert RowPlan.unpack(plan.pack()) == plan


def test_two_threads_append_whole_rows(native: Append, fd: int) -> None:
    """A row is written while the GIL is free; those who share a file take a lock around that."""
    plan = RowPlan.of(np.dtype("i8"), (8,), 0, False).pack()
    lock, failed = threading.Lock(), []

    def append(number: int) -> None:
        row = np.full(8, number, "i8").copy()
        for _ in range(2000):
            with lock:
                if native(fd, row, plan_of[number], os.fstat(fd).st_size) is not True:
                    failed.append(number)

    dtypes = {number: np.full(8, number, "i8").dtype for number in (1, 2)}
    plan_of = {n: RowPlan.of(dtypes[n], (8,), 0, False).pack() for n in dtypes}
    assert plan in plan_of.values()
    threads = [threading.Thread(target=append, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = np.frombuffer(os.pread(fd, 1 << 20, 0), "i8").reshape(-1, 8)
    assert not failed
    assert len(rows) == 4000
    assert (rows == rows[:, :1]).all()
    assert rows[:, 0].sum() == 2000 * 3


def test_nothing_is_leaked(native: Append, fd: int) -> None:
    rows, plan = np.ones((2, 3)), RowPlan.of(np.dtype("f8"), (3,), 0, True).pack()
    things = [None, True, False, rows, plan, rows.dtype]
    before = [sys.getrefcount(each) for each in things]
    for i in range(20_000):
        native(fd, rows, plan, 48 * i)
        native(fd, rows, plan, 7)
    after = [sys.getrefcount(each) for each in things]
    assert max(b - a for a, b in zip(before, after, strict=True)) < 100


def test_other_layouts_of_arrays_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _building.knows_arrays()
    monkeypatch.setattr(_building.np, "ndarray", list)
    assert not _building.knows_arrays()
    assert _native.native_functions(compiles=True) == {}
