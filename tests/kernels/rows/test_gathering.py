"""`gather` and `scatter` against numpy's own indexing."""

from __future__ import annotations

import contextlib
import importlib
import io
import mmap
import os
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import mmapio
from mmapio import _os
from mmapio.errors import ArgumentError, ArgumentTypeError, OutOfBoundsError, ReadOnlyError
from mmapio.kernels.rows import cold, copying, short_way
from mmapio.kernels.rows.gathering import gather, scatter

module = importlib.import_module(
    "mmapio.kernels.rows.gathering"
)  # the package may give that name away
PAGE = _os.PAGE_SIZE

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux drops pages when asked to")


@pytest.fixture(params=["warm", "cold"])
def state(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Copy in small pieces, as from memory or as from a disk, whatever is resident."""
    set_state(monkeypatch, request.param)
    return str(request.param)


def set_state(patch: pytest.MonkeyPatch, state: str) -> None:
    patch.setattr(module, "_looks_cold", lambda rows, numbers: state == "cold")
    patch.setattr(module, "_PIECE_BYTES", 512)
    patch.setattr(short_way, "_ALONE_BYTES", 0)
    patch.setattr(module, "_BLOCK_BYTES", 2048)
    patch.setattr(module, "_GROUP_BYTES", 40 * PAGE)
    patch.setattr(module, "_ADVISED_RUNS", 3)


def sample(dtype: Any, shape: tuple[int, ...], seed: int = 0) -> NDArray[Any]:
    dtype = np.dtype(dtype)
    count = int(np.prod(shape)) * dtype.itemsize
    most = 2 if dtype.kind == "b" else 120
    data = np.random.default_rng(seed).integers(0, most, count).astype("u1")
    return data.view(dtype).reshape(shape) if count else np.zeros(shape, dtype)


DTYPES = [
    "u1",
    "?",
    "<i2",
    ">u4",
    "f8",
    "c16",
    "S3",
    "U5",
    "M8[s]",
    "i4,f8",
    [("x", "3u1"), ("y", ">f8")],
]
SETTINGS: dict[str, Any] = {"max_examples": 120}


@settings(**SETTINGS)
@given(st.data(), st.sampled_from(["warm", "cold"]), st.integers(1, 4))
def test_any_rows(data: st.DataObject, state: str, threads: int) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    row = data.draw(st.lists(st.integers(0, 9), max_size=2).map(tuple))
    a = sample(dtype, (data.draw(st.integers(1, 60)), *row))
    shape = data.draw(st.lists(st.integers(0, 12), max_size=3).map(tuple))
    kind = data.draw(st.sampled_from(["i1", "u1", "<i2", ">i4", "u4", "i8", "u8", ">u8"]))
    low = 0 if "u" in kind else -len(a)
    numbers = data.draw(
        st.lists(
            st.integers(low, len(a) - 1),
            min_size=int(np.prod(shape)),
            max_size=int(np.prod(shape)),
        )
    )
    indices = np.array(numbers, kind).reshape(shape)
    with pytest.MonkeyPatch.context() as patch:
        set_state(patch, state)
        found = gather(a, indices, threads=threads)
        assert found.dtype == a.dtype
        assert type(found) is np.ndarray
        assert found.shape == indices.shape + row
        assert found.tobytes() == a[indices.reshape(-1)].tobytes()

        values = sample(dtype, found.shape, seed=1)
        expected = a.copy()
        expected[indices] = values
        scatter(a, indices, values, threads=threads)
        assert a.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "nbytes", [1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 63, 64, 65, 129, 1000]
)
def test_every_size_of_rows(nbytes: int, state: str) -> None:
    a = sample("u1", (300, nbytes))
    indices = np.random.default_rng(0).integers(-300, 300, 500)
    np.testing.assert_array_equal(gather(a, indices), a[indices])
    values = sample("u1", (500, nbytes), seed=1)
    expected = a.copy()
    expected[indices] = values
    scatter(a, indices, values)
    np.testing.assert_array_equal(a, expected)


VIEWS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "every third": lambda a: a[::3],
    "backwards": lambda a: a[::-1],
    "part of each row": lambda a: a[:, 2:5],
    "unaligned": lambda a: np.frombuffer(bytearray(b"x" + a.tobytes()), a.dtype, offset=1).reshape(
        a.shape
    ),
    "one row": lambda a: a[:1],
}


@pytest.mark.parametrize("view", VIEWS)
def test_views_with_rows_in_one_piece(view: str, state: str) -> None:
    base = sample("f8", (90, 7))
    a = VIEWS[view](base)
    indices = np.random.default_rng(0).integers(-len(a), len(a), 200)
    np.testing.assert_array_equal(gather(a, indices), a[indices])
    values = sample("f8", (200, *a.shape[1:]), seed=1)
    expected = a.copy()
    expected[indices] = values
    scatter(a, indices, values)
    np.testing.assert_array_equal(a, expected)


def test_what_lies_between_rows_is_left_alone(state: str) -> None:
    base = sample("f8", (90, 7))
    before = base.copy()
    scatter(base[:, 2:5], np.arange(90), np.zeros((90, 3)))
    before[:, 2:5] = 0
    np.testing.assert_array_equal(base, before)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_million_indices(threads: int) -> None:
    a = np.arange(1 << 16, dtype="u4").reshape(-1, 2)
    indices = np.random.default_rng(0).integers(-len(a), len(a), 1_000_000)
    np.testing.assert_array_equal(gather(a, indices, threads=threads), np.take(a, indices, axis=0))
    values = np.arange(2_000_000, dtype="u4").reshape(-1, 2)
    expected = a.copy()
    expected[indices] = values
    scatter(a, indices, values, threads=threads)
    np.testing.assert_array_equal(a, expected)


def test_the_last_of_many_rows_for_one_index_stays(state: str) -> None:
    a = np.zeros((3, 20))
    values = np.arange(2000.0)[:, None] + np.zeros(20)
    scatter(a, np.tile([2, 0, -1], 2000)[:2000], values, threads=4)
    np.testing.assert_array_equal(a, np.array([[1999.0], [0.0], [1998.0]]) + np.zeros(20))


@pytest.mark.parametrize("shape", [(), (3, 0), (0, 3)])
def test_nothing_to_copy(shape: tuple[int, ...]) -> None:
    a = np.zeros((5, *shape))
    for indices in ([], np.zeros((2, 0), int), np.array([], "u8")):
        expected = np.take(a, np.asarray(indices, int), axis=0)
        np.testing.assert_array_equal(gather(a, indices), expected)
        scatter(a, indices, 1.0)
    assert not a.any()
    assert gather(np.zeros((0, 3)), []).shape == (0, 3)
    assert gather(np.zeros((4, 0)), [1, 2]).shape == (2, 0)


def test_one_index() -> None:
    a = sample("f8", (5, 3))
    for index in (2, -1, np.int8(3), np.array(0)):
        np.testing.assert_array_equal(gather(a, index), a[index])
    assert gather(a[:, 0], 2) == a[2, 0]
    scatter(a, -1, [7, 8, 9])
    assert a[4].tolist() == [7, 8, 9]


def test_out(state: str) -> None:
    a = sample("i4", (50, 6))
    indices = np.arange(20).reshape(4, 5)
    out = np.empty((4, 5, 6), "i4")
    assert gather(a, indices, out) is out
    np.testing.assert_array_equal(out, a[indices])


@pytest.mark.parametrize(
    ("out", "error", "said"),
    [
        (np.empty((4, 6), "i4"), ArgumentError, r"shape \(5, 6\) in C order, got \(4, 6\)"),
        (np.empty((6, 5), "i4").T, ArgumentError, "in C order"),
        (np.empty((5, 6), "i8"), ArgumentTypeError, "an array of int32, got int64"),
        (np.empty((5, 6), ">i4"), ArgumentTypeError, "got >i4"),
        ([], ArgumentTypeError, "got list"),
    ],
)
def test_an_out_that_does_not_fit(out: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        gather(np.zeros((50, 6), "i4"), range(5), out)


def test_an_out_that_overlaps_or_is_read_only() -> None:
    a = np.zeros((50, 6))
    with pytest.raises(ArgumentError, match="overlap"):
        gather(a, [1, 2], a[3:5])
    out = np.zeros((2, 6))
    out.flags.writeable = False
    with pytest.raises(ReadOnlyError, match="out"):
        gather(a, [1, 2], out)


@pytest.mark.parametrize(
    "index", [50, -51, 2**31, -(2**63), np.uint64(2**63), np.uint64(2**64 - 1)]
)
@pytest.mark.parametrize("size", [1, 5000])
def test_an_index_out_of_bounds_changes_nothing(index: Any, size: int, state: str) -> None:
    a = sample("u1", (50, 6))
    before = a.copy()
    indices = np.zeros(size, np.asarray(index).dtype)
    indices[-1] = index
    out = np.full((size, 6), 7, "u1")
    with pytest.raises(
        OutOfBoundsError, match="is out of bounds for axis 0 with size 50"
    ) as caught:
        gather(a, indices, out)
    assert isinstance(caught.value, IndexError)
    assert (out == 7).all()
    with pytest.raises(OutOfBoundsError):
        scatter(a, indices, np.zeros((size, 6), "u1"))
    np.testing.assert_array_equal(a, before)


def test_an_index_into_nothing_is_out_of_bounds() -> None:
    with pytest.raises(OutOfBoundsError, match="size 0"):
        gather(np.zeros((0, 3)), [0])


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        (np.zeros(5, bool), "boolean mask; numpy.flatnonzero"),
        ([True, False], "boolean mask"),
        ([1.0], "must be integers, got float64"),
        (np.zeros(0), "must be integers, got float64"),
        (["a"], "must be integers"),
        (None, "must be integers, got object"),
    ],
)
def test_indices_that_are_no_integers(indices: Any, said: str) -> None:
    for call in (gather, lambda a, i: scatter(a, i, 0)):
        with pytest.raises(ArgumentTypeError, match=said):
            call(np.zeros((5, 2)), indices)


def test_indices_that_are_no_array() -> None:
    for call in (gather, lambda a, i: scatter(a, i, 0)):
        with pytest.raises(ArgumentError, match="indices cannot be made an array: "):
            call(np.zeros(5), [[0], [1, 2]])


@pytest.mark.parametrize("index", [2**64 - 1, 2**63, 50, -51])
def test_an_index_out_of_bounds_is_told_as_it_was_given(index: int) -> None:
    with pytest.raises(OutOfBoundsError, match=f"^index {index} is out of bounds"):
        gather(np.zeros(50), [index])


def test_arrays_that_are_refused() -> None:
    with pytest.raises(ArgumentError, match="each row of a must lie in one piece"):
        gather(np.zeros((5, 6)).T, [0])
    with pytest.raises(ArgumentError, match="each row of a must lie in one piece"):
        scatter(np.zeros((5, 6))[:, ::2], [0], 1)
    with pytest.raises(ArgumentError, match="0-d"):
        gather(np.zeros(()), [0])
    with pytest.raises(ArgumentTypeError, match="Python objects"):
        gather(np.array([None, 1]), [0])
    with pytest.raises(ArgumentTypeError, match="must be an array, got 'list'"):
        scatter([1, 2, 3], [0], 1)  # type: ignore[arg-type]
    windows = np.lib.stride_tricks.sliding_window_view(np.zeros(10), 3, writeable=True)
    with pytest.raises(ArgumentError, match="overlap"):
        scatter(windows, [0], 1)
    np.testing.assert_array_equal(gather(windows, [0, 7]), np.zeros((2, 3)))


def test_scatter_into_what_is_read_only(tmp_path: Path) -> None:
    a = np.zeros((5, 2))
    a.flags.writeable = False
    with pytest.raises(ReadOnlyError):
        scatter(a, [0], 1)
    mmapio.save(tmp_path / "a.npy", a)
    with pytest.raises(ReadOnlyError):
        scatter(mmapio.open(tmp_path / "a.npy"), [0], 1)


@pytest.mark.parametrize(
    "values",
    [5, [1, 2, 3], np.arange(6.0).reshape(2, 1, 3), np.ones((2, 4, 3), "i1"), np.ones((4, 1))],
)
def test_values_are_broadcast_and_converted(values: Any, state: str) -> None:
    a = sample("f4", (50, 3))
    indices = np.array([[1, 2, 3, 4], [9, 8, -7, 6]])
    expected = a.copy()
    expected[indices] = values
    scatter(a, indices, values)
    np.testing.assert_array_equal(a, expected)


def test_values_that_do_not_fit() -> None:
    with pytest.raises(ArgumentError, match=r"shape \(2,\) cannot be broadcast to \(4, 3\)"):
        scatter(np.zeros((50, 3)), [1, 2, 3, 4], [1, 2])
    for values, kind, error in (
        ("abc", "f8", ArgumentTypeError),
        (1j, "f8", ArgumentTypeError),
        (300, "u1", ArgumentError),
        ([[1], [2, 3]], "i8", ArgumentError),
    ):
        a = np.zeros(5, kind)
        with pytest.raises(error, match=r"^values "):
            scatter(a, [0], values)
        assert not a.any()


def test_values_and_indices_may_be_parts_of_the_array(state: str) -> None:
    a = np.arange(40).reshape(20, 2)
    expected = a.copy()
    expected[expected[:5, 0]] = expected[5:10]
    scatter(a, a[:5, 0], a[5:10])
    np.testing.assert_array_equal(a, expected)
    np.testing.assert_array_equal(gather(a, a[:3, 1] % 20), a[a[:3, 1] % 20])
    expected[1:] = expected[:-1].copy()
    scatter(a, np.arange(1, 20), a[:-1])
    np.testing.assert_array_equal(a, expected)


def test_mapped_arrays(tmp_path: Path) -> None:
    a = mmapio.create(tmp_path / "a.npy", (1000, 100), "f8")
    a[:] = np.arange(1000)[:, None]
    indices = np.random.default_rng(0).integers(0, 1000, 500)
    found = gather(a, indices)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, np.asarray(a)[indices])
    scatter(a, indices, -1.0)
    assert (np.load(tmp_path / "a.npy")[indices] == -1).all()


# From the disk ----------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a file of 1000 pages."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1000 * PAGE))
    return path


def evict(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    a = np.memmap(path, "u1", "r")
    if _os.resident(a.ctypes.data, a.nbytes).any():
        pytest.skip("this file system keeps pages in memory when it is asked to drop them")


@linux
@pytest.mark.parametrize("nbytes", [100, PAGE, 2 * PAGE - 96])
def test_cold_rows_are_read_in_and_no_others(path: Path, nbytes: int) -> None:
    """Rows that cross pages bring both pages. Random reading ahead would bring others as well."""
    evict(path)
    a = np.memmap(path, "u1", "r")[: 1000 * PAGE // nbytes * nbytes].reshape(-1, nbytes)
    indices = np.random.default_rng(0).integers(0, len(a), 40)
    found = gather(a, indices)
    resident = _os.resident(a.ctypes.data, a.nbytes)
    starts = indices * nbytes
    wanted = {
        page
        for start in starts.tolist()
        for page in range(start // PAGE, (start + nbytes - 1) // PAGE + 1)
    }
    assert set(np.flatnonzero(resident).tolist()) == wanted
    data = np.fromfile(path, "u1")
    np.testing.assert_array_equal(found, data[: a.size].reshape(a.shape)[indices])


@linux
def test_cold_rows_are_stored(path: Path) -> None:
    expected = np.fromfile(path, "u1").reshape(-1, 1000)[:4000]
    evict(path)
    a = np.memmap(path, "u1", "r+")[: 4000 * 1000].reshape(-1, 1000)
    indices = np.random.default_rng(0).integers(0, 4000, 300)
    values = sample("u1", (300, 1000))
    scatter(a, indices, values)
    expected[indices] = values
    np.testing.assert_array_equal(a, expected)


@linux
def test_what_is_cold_is_found_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Advice is given on cold rows, and on no others."""
    advised: list[int] = []
    monkeypatch.setattr(cold, "_MOST_ROWS", 0)
    monkeypatch.setattr(module, "prefetch", lambda start, stop: advised.append(stop - start))
    a = np.memmap(path, "u1", "r").reshape(1000, -1)
    a.sum()
    indices = np.array([5, 3, 4, 900, 3, 77])
    gather(a, indices)
    assert advised == []
    for call in (gather, lambda a, indices: scatter(a, indices, 0)):
        del a
        evict(path)
        a = np.memmap(path, "u1", "r+").reshape(1000, -1)
        call(a, indices)
        assert sorted(advised) == [PAGE, PAGE, 3 * PAGE]
        advised.clear()


@linux
def test_runs_of_reversed_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_state(monkeypatch, "cold")
    advised: list[int] = []
    monkeypatch.setattr(cold, "_MOST_ROWS", 0)
    monkeypatch.setattr(module, "prefetch", lambda start, stop: advised.append(stop - start))
    a = np.memmap(path, "u1", "r").reshape(1000, -1)[::-1]
    np.testing.assert_array_equal(gather(a, [7, 900, 8, 9]), a[[7, 900, 8, 9]])
    assert sorted(advised) == [PAGE, 3 * PAGE]


def test_a_sample_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def all_resident(addresses: Iterable[int]) -> bool:
        asked.extend(addresses)
        return True

    monkeypatch.setattr(module, "all_resident", all_resident)
    a = np.frombuffer(mmap.mmap(-1, 1_600_000)).reshape(-1, 2)
    for size, most in ((1, 1), (1000, 1), (100_000, 16)):
        asked.clear()
        gather(a, np.arange(size))
        assert 1 <= len(asked) <= most
        assert asked[0] == a.ctypes.data
    asked.clear()
    gather(a.copy()[::2], [1])
    assert not asked, "numpy's own memory is in no file"


def test_threads_store_to_parts_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the parts to overlap, chance would decide which row stays."""
    parts: list[tuple[int, ...]] = []

    def scatter_rows(*arguments: Any) -> int:
        parts.append((*arguments[5:7], *arguments[9:11]))
        return int(arguments[6])

    monkeypatch.setattr(module, "scatter_rows", scatter_rows)
    set_state(monkeypatch, "warm")
    scatter(np.zeros((100, 8)), np.zeros(60, int), 1.0, threads=3)
    blocks = [(0, 32), (32, 60)]
    bounds = [(0, 33), (33, 66), (66, 100)]
    assert sorted(parts) == [(*block, *part) for block in blocks for part in bounds]
    parts.clear()
    scatter(np.zeros(100), np.zeros(60, int), 1.0, threads=3)
    assert parts == [(0, 60, 0, 100)], "a thread takes as long to look at a short row as to copy it"


def test_progress(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tqdm = pytest.importorskip("tqdm")
    seen: list[list[int]] = []

    class Bar(tqdm.tqdm):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options | {"disable": False, "file": io.StringIO()})
            seen.append([])

        def update(self, n: int = 1) -> Any:
            assert n >= 0
            seen[-1].append(self.n + n)
            return super().update(n)

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    a = sample("u1", (500, 60))
    indices = np.arange(499, -1, -1)
    np.testing.assert_array_equal(gather(a, indices, progress=True, threads=1), a[::-1])
    other = np.zeros_like(a)
    scatter(other, indices, a, progress=True, threads=1)
    np.testing.assert_array_equal(other, a[::-1])
    assert [steps[-1] for steps in seen] == [a.nbytes] * 2
    assert all(len(steps) > 10 for steps in seen)


@pytest.mark.parametrize("threads", [0, -1, 1.5])
def test_numbers_of_threads_that_are_none(threads: Any) -> None:
    for call in (gather, lambda a, i, threads: scatter(a, i, 0, threads=threads)):
        with pytest.raises(ArgumentError, match="threads must be"):
            call(np.zeros((5, 2)), [1], threads=threads)


def test_rows_are_moved_by_the_numbers_of_both_sides() -> None:
    source, target = np.arange(18.0).reshape(9, 2), np.zeros((9, 2))
    one, other = np.array([8, 7, 6, 5]), np.array([0, 2, 4, 6])
    addresses = source.ctypes.data, target.ctypes.data
    copying.move_rows(addresses[0], 16, one, addresses[1], 16, other, 1, 3, 16)
    assert target[:, 0].tolist() == [0, 0, 14, 0, 12, 0, 0, 0, 0]


INT64 = np.iinfo(np.int64)


@pytest.mark.parametrize("nbytes", [1, 2, 4, 8, 16, 5, 200])
@pytest.mark.parametrize("rows", [40, 200_000])  # near, and so far that rows are asked for ahead
@pytest.mark.parametrize("stray", [0, 1, -1, INT64.min, INT64.max])
def test_kernels_stop_at_an_index_out_of_bounds(nbytes: int, rows: int, stray: int) -> None:
    """Others can change indices at any time: so a kernel trusts no earlier look at them."""
    a = sample("u1", (rows, nbytes))
    below = -rows - 1 if stray < 0 else rows
    indices = np.tile([0, -1, rows - 1, -rows], 100)
    indices[300] = stray if abs(stray) > 1 else below + stray
    for back, good in ((rows, 300), (0, 1)):
        out = np.full((400, nbytes), 7, "u1")
        arguments = a.reshape(-1), (0, nbytes, rows), indices, back, 0, 400
        end = copying.gather_rows(*map(frozen, arguments), out.reshape(-1), 0, nbytes)
        assert end == good
        np.testing.assert_array_equal(out[:good], a[indices[:good]])
        assert (out[good:] == 7).all()
        for high in (rows, rows - 1):
            target, expected = np.zeros((2, rows, nbytes), "u1")
            kept = [i for i in range(good) if indices[i] % rows < high]
            expected[indices[kept]] = out[kept]
            end = copying.scatter_rows(
                *map(frozen, (out.reshape(-1), nbytes, 0, indices, back, 0, 400)),
                *(target.reshape(-1), (0, nbytes, rows), 0, high, nbytes),
            )
            assert end == good
            np.testing.assert_array_equal(target, expected)


def frozen(value: Any) -> Any:
    """Return arrays as kernels read them."""
    if isinstance(value, np.ndarray):
        value = value.view()
        value.flags.writeable = False
    return value


def test_numbers_are_checked_before_they_are_used() -> None:
    numbers = np.empty(3, np.int64)
    for indices, back, good in (
        ([0, -4, 3], 4, 3),
        ([0, 4, 3], 4, 1),
        ([-5, 4, 3], 4, 0),
        ([2, -1, 3], 0, 1),
    ):
        found = frozen(np.array(indices))
        assert copying.normalize(found, 4, back, numbers) == good
        assert numbers[:good].tolist() == [index % 4 for index in indices[:good]]
        assert copying.strays(found, 4, back) is (good < 3)


@pytest.mark.parametrize("dtype", ["i1", "<i2", ">i4", "u4", "i8", "u8", ">i8", ">u8"])
@pytest.mark.parametrize("nbytes", [1, 3, 4, 8, 16, 40])
def test_every_dtype_of_indices(dtype: str, nbytes: int, state: str) -> None:
    a = sample("u1", (100, nbytes))
    low = 0 if "u" in dtype else -100
    indices = np.random.default_rng(0).integers(low, 100, (70, 2)).astype(dtype)
    unaligned = np.frombuffer(b"x" + indices.tobytes(), dtype, offset=1)
    for each in (indices, indices[:, 0], indices[::-3], indices.T, unaligned):
        values = sample("u1", (*each.shape, nbytes), seed=1)
        expected = a.copy()
        expected[each] = values
        np.testing.assert_array_equal(gather(a, each), a[each])
        scatter(a, each, values)
        np.testing.assert_array_equal(a, expected)


def test_out_may_be_the_memory_of_the_indices() -> None:
    a = np.arange(100, 0, -1)
    indices = np.arange(100)[::-1].copy()
    expected = a[indices]
    np.testing.assert_array_equal(gather(a, indices, indices), expected)


def test_indices_that_others_change_lead_nowhere(state: str) -> None:
    """A stray access would end the process, or be seen beside the rows."""
    base = np.zeros((3000, 2), "i8")
    a, indices, over = base[1000:2000], np.zeros(20_000, np.int64), threading.Event()
    a[:] = 1

    def change() -> None:
        while not over.is_set():
            indices[:] = 1 << 40
            indices[:] = -1000
            indices[:] = 999

    other = threading.Thread(target=change)
    other.start()
    try:
        for _ in range(200):
            with contextlib.suppress(OutOfBoundsError):
                assert (gather(a, indices) == 1).all()
            with contextlib.suppress(OutOfBoundsError):
                gather(a[:, 0], indices, np.empty(20_000, "i8"))
            with contextlib.suppress(OutOfBoundsError):
                scatter(a, indices, 1)
    finally:
        over.set()
        other.join()
    assert (a == 1).all()
    assert not base[:1000].any()
    assert not base[2000:].any()
