"""`scatter_add` is `numpy.add.at`, and loses nothing to others who add at the same time."""

from __future__ import annotations

import contextlib
import sys
import threading

import numpy as np
import pytest

import mmapio
from mmapio import kernels
from mmapio.kernels.engine.jit import KERNELS

DTYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")


def check(a: np.ndarray, indices: object, values: object, threads: int | None = None) -> None:
    """Compare with numpy, which adds in order; the values are small, so that floats are exact."""
    expected = a.copy()
    np.add.at(expected, indices, np.asarray(values).astype(a.dtype))
    kernels.scatter_add(a, indices, values, threads=threads)
    np.testing.assert_array_equal(a, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 3, 5000])
def test_every_dtype_is_added_as_numpy_does(dtype, count):
    random = np.random.default_rng(1)
    for rows in (7, 100_000):  # few rows are summed up first, many are not
        indices = random.integers(-rows, rows, count)
        check(np.ones(rows, dtype), indices, random.integers(0, 100, count).astype("i2"))


@pytest.mark.parametrize("rows", [3, 1_000_000])
@pytest.mark.parametrize("threads", [1, 3])
def test_threads_lose_nothing(rows, threads):
    indices = np.random.default_rng(2).integers(0, rows, 700_001)
    check(np.zeros(rows, "i8"), indices, np.arange(700_001), threads)
    check(np.zeros(rows, "f8"), indices, 0.5, threads)


@pytest.mark.parametrize(
    ("a", "indices", "values"),
    [
        (np.zeros(5), [0, 0, -1, -5], [1, 2, 3, 4.5]),
        (np.zeros((4, 3), "i4"), [1, 1, -1], [[1, 2, 3]]),
        (np.zeros((4, 3), "i4"), [[1, 2], [2, 2]], 1),
        (np.zeros((4, 3), "i4"), 2, [7, 8, 9]),
        (np.zeros((4, 2, 3), "u2"), [0, 3, 3], np.arange(18).reshape(3, 2, 3)),
        (np.zeros((8, 3), "f4")[::-2], [0, 1, 1], 2),
        (np.zeros((8, 6), "i8")[:, 1:4], np.array([7, 7], "u8"), [[1], [2]]),
        (np.zeros(300, "i8")[::3], np.arange(100, dtype="u1"), np.arange(300)[::-3]),
        (np.zeros(3, "u1"), [0, 0, 1], [255, 3, 44]),
        (np.zeros(4, "f8"), [1], [True]),
        (np.zeros((3, 0)), [0, 1], np.zeros((2, 0))),
        (np.zeros(0), [], []),
    ],
)
def test_shapes_and_layouts(a, indices, values):
    check(a, np.asarray(indices, None if np.size(indices) else int), values)


def test_one_type_of_kernel_serves_every_layout():
    for a in (np.zeros((8, 3), "f4")[::-2], np.zeros((6, 4), "f4")[:, 1:3]):
        kernels.scatter_add(a, [0, -1], np.ones((2, a.shape[1] * 2))[:, ::2])
    for dispatcher, signatures in KERNELS:
        if dispatcher.__module__ == "mmapio.kernels.rows.sums":
            assert {*dispatcher.signatures} <= {*signatures()}


def test_values_may_be_the_array_itself():
    a = np.arange(4)
    kernels.scatter_add(a, [1, 2, 3, 0], a)
    assert a.tolist() == [3, 1, 3, 5]


def test_indices_that_the_additions_change_are_read_once():
    a = np.array([1, 0, 0, 0])
    kernels.scatter_add(a, a[:2], [1000, 5])
    assert a.tolist() == [6, 1000, 0, 0]


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u4", "i8", "f4", "f8"])
def test_sums_are_added_by_words_and_by_cells_at_both_ends(dtype):
    random = np.random.default_rng(3)
    base = random.integers(0, 100, 1000).astype(dtype)
    for view in (base, base[1:], base[3:-2], base[5:6], base[::-1], base[1::3], base[:20]):
        check(view, random.integers(-len(view), len(view), 5000), random.integers(0, 9, 5000))
    for view in (base.reshape(100, 10)[:, 1:8], base[1:991].reshape(-1, 3), base[:9].reshape(3, 3)):
        check(view, random.integers(0, len(view), 5000), random.integers(0, 9, (5000, 1)))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("count", [3, 10_000])
def test_what_nothing_is_added_to_keeps_its_bits(dtype, count):
    """A sum of its own begins as -0.0, which alone changes no float: 0.0 would change -0.0."""
    a = np.full(101, -0.0, dtype)
    a[7] = np.nan
    kernels.scatter_add(a, np.full(count, 50), np.zeros(count))
    assert np.flatnonzero(~np.signbit(a)).tolist() == [7, 50]
    kernels.scatter_add(a, np.full(count, 51), np.full(count, -0.0))
    kernels.scatter_add(a, np.full(count, 52), np.full(count, np.inf))
    kernels.scatter_add(a, np.full(count, 52), np.full(count, -np.inf))
    assert np.signbit(a[51])
    assert np.flatnonzero(np.isnan(a)).tolist() == [7, 52]


def test_few_rows_are_summed_up_alike_by_any_number_of_threads():
    random = np.random.default_rng(4)
    indices, values = random.integers(0, 50, 2_000_000), random.random(2_000_000)
    found = [np.zeros(50) for _ in range(4)]
    for threads, a in enumerate(found, 1):
        kernels.scatter_add(a, indices, values, threads=threads)
    assert len({a.tobytes() for a in found}) == 1
    np.testing.assert_allclose(found[0], np.bincount(indices, values))


@pytest.mark.parametrize("rows", [10, 100_000])
@pytest.mark.parametrize("index", [-1, 0])
def test_nothing_is_added_if_the_last_index_is_out_of_bounds(rows, index):
    a, indices = np.zeros(rows), np.zeros(3_000_000, int)
    indices[-1] = index or rows
    indices[-1] -= rows if index else 0
    indices[7] = indices[-1]
    with pytest.raises(mmapio.OutOfBoundsError, match=f"index {indices[7]} is out"):
        kernels.scatter_add(a, indices, 1)
    assert not a.any()


@pytest.mark.parametrize("rows", [10, 100_000])
def test_indices_that_others_change_lead_nowhere(rows):
    """A stray addition would end the process, or be seen beside the rows."""
    base = np.zeros(rows * 3, "i8")
    a, indices, over = base[rows : 2 * rows], np.zeros(20_000, np.int64), threading.Event()

    def change() -> None:
        while not over.is_set():
            indices[:] = 1 << 40
            indices[:] = -rows
            indices[:] = rows - 1

    other = threading.Thread(target=change)
    other.start()
    try:
        for _ in range(200):
            with contextlib.suppress(mmapio.OutOfBoundsError):
                kernels.scatter_add(a, indices, 1)
    finally:
        over.set()
        other.join()
    assert not base[:rows].any()
    assert not base[2 * rows :].any()


def read_only() -> np.ndarray:
    a = np.zeros(4)
    a.flags.writeable = False
    return a


@pytest.mark.parametrize(
    ("a", "indices", "values", "error"),
    [
        (np.zeros(4), [0, 4], 1, mmapio.OutOfBoundsError),
        (np.zeros(4), [-5], 1, mmapio.OutOfBoundsError),
        (np.zeros(4), np.array([2**64 - 1], "u8"), 1, mmapio.OutOfBoundsError),
        (np.zeros(0), [0], 1, mmapio.OutOfBoundsError),
        (np.zeros(4), [0.5], 1, mmapio.ArgumentTypeError),
        (np.zeros(4), [True], 1, mmapio.ArgumentTypeError),
        (np.zeros(4, "i4"), [0], 0.5, mmapio.ArgumentTypeError),
        (np.zeros(4), [0], "x", mmapio.ArgumentTypeError),
        (np.zeros(4), [0], 1j, mmapio.ArgumentTypeError),
        (np.zeros(4, "u1"), [0, 1], [1, -1], mmapio.ArgumentError),
        (np.zeros(4, "i1"), [0, 1], np.array([1, 300]), mmapio.ArgumentError),
        (np.zeros(4), [0, 1], [1, 2, 3], mmapio.ArgumentError),
        (np.zeros(4, "?"), [0], 1, mmapio.ArgumentTypeError),
        (np.zeros(4, "c8"), [0], 1, mmapio.ArgumentTypeError),
        (np.zeros(4, np.dtype("f8").newbyteorder()), [0], 1, mmapio.ArgumentError),
        (np.zeros(()), [0], 1, mmapio.ArgumentError),
        (np.zeros((4, 4)).T, [0], 1, mmapio.ArgumentError),
        (np.zeros(33, "u1")[1:].view("f8"), [0], 1, mmapio.MisalignedError),
        (read_only(), [0], 1, mmapio.ReadOnlyError),
        ([0, 0], [0], 1, mmapio.ArgumentTypeError),
    ],
)
def test_what_cannot_be_added_is_refused_and_nothing_is_added(a, indices, values, error):
    with pytest.raises(error):
        kernels.scatter_add(a, indices, values)
    assert not np.any(a)


ROUNDS, ADDITIONS, BINS = 4, 300_000, 1000


def add(path: str, seed: int) -> None:
    """Add random indices to a file of bins, as one of several processes and in threads."""
    bins, random = mmapio.open(path, "r+"), np.random.default_rng(seed)
    for _ in range(ROUNDS):
        kernels.scatter_add(bins, random.integers(0, BINS, ADDITIONS), 1, threads=2)
        # few additions to many rows: the kernel that does not sum up first
        kernels.scatter_add(bins, random.integers(0, BINS, BINS), 1)


def test_processes_make_one_histogram(tmp_path, start_worker):
    path = tmp_path / "bins.npy"
    bins = mmapio.create(path, BINS, "u4")
    workers = [start_worker(__file__, path, seed) for seed in (1, 2)]
    here = threading.Thread(target=add, args=(path, 3))
    here.start()
    for worker in workers:
        worker.communicate()
    here.join()
    assert [worker.returncode for worker in workers] == [0, 0]
    expected = np.zeros(BINS, "u4")
    for seed in (1, 2, 3):
        random = np.random.default_rng(seed)
        for _ in range(ROUNDS):
            expected += np.bincount(random.integers(0, BINS, ADDITIONS), minlength=BINS).astype(
                "u4"
            )
            expected += np.bincount(random.integers(0, BINS, BINS), minlength=BINS).astype("u4")
    np.testing.assert_array_equal(bins, expected)


if __name__ == "__main__":
    add(sys.argv[1], int(sys.argv[2]))
