"""Tests of the short way of rows: it is gone where it may be, and what it does is the same."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mmapio
from mmapio.errors import OutOfBoundsError
from mmapio.kernels.rows import short_way
from mmapio.kernels.rows.gathering import gather, scatter
from mmapio.kernels.rows.short_way import gathered, scattered

_RNG = np.random.default_rng(5)
_BASE = np.arange(24.0)
_SHORT = {
    "items": np.arange(50.0),
    "rows": _RNG.integers(0, 99, (40, 256)).astype("u1"),
    "long rows": _RNG.random((9, 700)),
    "texts": np.array(["a", "bc", "def"] * 3),
    "records": np.zeros(9, "i4,f8"),
    "swapped": np.arange(20, dtype=">i4").reshape(10, 2),
    "part of an array": _BASE[8:20].reshape(6, 2),
    "one row": np.arange(5)[None],
}
_LONG: dict[str, Any] = {
    "strided": np.arange(20)[::2],
    "F order": np.zeros((4, 3), order="F")[:, :2],
    "of another's memory": np.frombuffer(bytearray(80)),
    "0-d": np.array(3),
    "without rows": np.zeros((0, 3)),
    "rows of nothing": np.zeros((3, 0)),
    "a list": [1, 2, 3],
}
_READ_ONLY = np.arange(20.0)
_READ_ONLY.flags.writeable = False


def _indices(a: NDArray[Any], *shape: int) -> NDArray[np.int64]:
    return _RNG.integers(-len(a), len(a), shape)


@pytest.mark.parametrize("kind", _SHORT)
@pytest.mark.parametrize("shape", [(1,), (3,), (4,), (61,), (2, 9)])
def test_the_short_way_does_what_numpy_does(kind: str, shape: tuple[int, ...]) -> None:
    a = _SHORT[kind].copy()
    indices = _indices(a, *shape)
    expected = a[indices]
    found = gathered(a, indices)
    assert found is not None
    out = np.zeros_like(expected)
    assert gathered(a, indices, out) is not None
    for rows in (*found, out):
        assert rows.dtype == a.dtype
        np.testing.assert_array_equal(rows, expected)
    values = np.empty_like(expected)
    values[...] = np.resize(a[::-1], expected.shape)
    target = a.copy()
    assert scattered(target, indices, values) == (None,)
    a[indices] = values
    np.testing.assert_array_equal(target, a)


@pytest.mark.parametrize("kind", _LONG)
def test_what_goes_the_long_way(kind: str) -> None:
    assert gathered(_LONG[kind], np.array([0])) is None
    assert scattered(_LONG[kind], np.array([0]), np.zeros(1)) is None


@pytest.mark.parametrize(
    "indices",
    [[0, 1], np.array([0], "i4"), np.array([0], "u8"), np.arange(4)[::2], np.array([], int)],
    ids=["list", "i4", "u8", "strided", "empty"],
)
def test_other_indices_go_the_long_way(indices: Any) -> None:
    assert gathered(np.zeros(5), indices) is None
    assert scattered(np.zeros(5), indices, np.zeros(np.shape(indices))) is None


def test_mappings_go_the_long_way(tmp_path: Path) -> None:
    """There cold rows are read at once, and lost memory is an error."""
    a = mmapio.create(tmp_path / "a.npy", 10, "i8")
    for array in (a, np.asarray(a), np.asarray(a)[2:5]):
        assert gathered(array, np.array([0])) is None
        assert scattered(array, np.array([0]), np.array([1])) is None
        assert gathered(np.arange(5), array) is None
        assert scattered(np.arange(5), np.array([0]), array[:1]) is None


def test_memory_that_is_shared_goes_the_long_way() -> None:
    a = np.zeros((6, 2), int)
    assert gathered(a[:3], np.array([0, 1, 2]), a[3:]) is None
    assert gathered(np.zeros(4, int), a[0], a[1]) is None
    assert scattered(a, np.array([0]), a[1:2]) is None
    assert scattered(a[:, 0].copy(), a[0], a[1]) is not None
    assert scattered(a.reshape(-1), a[0], np.array([1, 2])) is None


def test_what_may_not_be_written_to_is_not() -> None:
    assert gathered(_READ_ONLY, np.array([1])) is not None
    assert gathered(np.zeros(5), np.array([1]), _READ_ONLY[:1]) is None
    assert scattered(_READ_ONLY, np.array([1]), np.zeros(1)) is None


@pytest.mark.parametrize("values", [1.0, np.zeros(2, "f4"), np.zeros(1), np.zeros((2, 1))])
def test_values_that_are_to_be_converted_go_the_long_way(values: Any) -> None:
    assert scattered(np.zeros(5), np.array([0, 1]), values) is None
    assert gathered(np.zeros(5), np.array([0, 1]), values) is None


@pytest.mark.parametrize("stray", [9, -10, 1 << 62, -(1 << 63)])
@pytest.mark.parametrize("at", [0, 3, 8, 10])
def test_nothing_is_changed_by_an_index_out_of_bounds(stray: int, at: int) -> None:
    indices = np.arange(11) - 5
    indices[at] = stray
    for row in (np.arange(9), np.arange(900).reshape(9, 100)):
        a, values = row.copy(), np.full((11, *row.shape[1:]), 7)
        out = values.copy()
        for call in (
            lambda a=a: gather(a, indices),
            lambda a=a, out=out: gather(a, indices, out),
            lambda a=a, values=values: scatter(a, indices, values),
        ):
            with pytest.raises(OutOfBoundsError, match=f"index {stray} is out of bounds"):
                call()
        assert (out == 7).all()
        np.testing.assert_array_equal(a, row)


def test_many_rows_go_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_way, "_ALONE_BYTES", 99)
    a = np.arange(20)
    assert gathered(a, np.arange(4)) is not None
    assert gathered(a, np.arange(5)) is None
    assert scattered(a, np.arange(5), np.arange(5)) is None


@pytest.mark.parametrize("width", [1, 2, 3, 40])
def test_indices_that_a_thread_changes_lead_nowhere(width: int) -> None:
    """A stray row would end the process, or be seen beside the rows."""
    base = np.full((300, width), 7)
    a, indices, over = base[100:200], np.zeros(2000, np.int64), threading.Event()
    values = np.full((2000, width), 7)

    def change() -> None:
        while not over.is_set():
            indices[:] = 1 << 40
            indices[:] = 150
            indices[:] = 99

    other = threading.Thread(target=change)
    other.start()
    try:
        for _ in range(25):
            for call in (gathered, scattered):
                call(a, indices, values)
            found = gathered(a, indices)
            assert found is None or (found[0] == 7).all()
    finally:
        over.set()
        other.join()
    assert (base == 7).all()
