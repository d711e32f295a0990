"""Reductions along any axis against those of numpy."""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from samples import LAYOUTS, close, sample, small_boxes, wide

import mmapio
from mmapio import kernels
from mmapio.errors import ArgumentError

# Every type is code of its own, which takes seconds to compile: these are one of each kind.
DTYPES = ["f8", "f2", ">u1", "?", "<i4", ">i4", "u8"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_columns_of_any_dtype_in_any_layout(dtype: str, layout: str) -> None:
    check_columns(LAYOUTS[layout](sample(np.dtype(dtype), (67, 131))))


@pytest.mark.parametrize("width", [1, 2, 3, 8, 100, 511, 512, 513, 5000])
@pytest.mark.parametrize("dtype", ["f4", "u1", "u8"])
def test_columns_of_any_number(width: int, dtype: str) -> None:
    for rows in (1, 2, 63, 64, 65, 300):
        check_columns(sample(np.dtype(dtype), (rows, width)))


ARRAYS = st.sampled_from(["f8", ">f4", "i4"]).flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=9),
        elements=st.floats(width=32) if "f" in dtype else None,
    )
)


@settings(max_examples=300, deadline=None)
@given(ARRAYS, st.integers(8, 400), st.integers(1, 4), st.data())
def test_any_axes_in_boxes_of_any_size(
    a: NDArray[Any], size: int, threads: int, data: st.DataObject
) -> None:
    a = a.transpose(data.draw(st.permutations(range(a.ndim))))
    a = a[tuple(slice(None, None, data.draw(st.sampled_from([1, -1, 2]))) for _ in a.shape)]
    some = st.lists(st.integers(0, a.ndim - 1), unique=True, max_size=a.ndim).map(tuple)
    axes = data.draw(st.integers(-a.ndim, a.ndim - 1) | some)
    with small_boxes(size):
        check_axes(a, axes, threads=threads)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, (0, 1), (0, 2), (1, 2), (2, 0), (), None])
@pytest.mark.parametrize("dtype", ["f8", "u1", ">i4"])
def test_axes_of_a_block_in_every_layout(axis: Any, dtype: str) -> None:
    a = sample(np.dtype(dtype), (70, 23, 41))
    for b in (a, np.asfortranarray(a), a.transpose(1, 2, 0), a[::-2, :, ::3], a[:, :, 5:20]):
        for size in (1 << 22, 3000):
            with small_boxes(size, 8):
                check_axes(b, axis)


def check_axes(a: NDArray[Any], axis: Any, **options: Any) -> None:
    """Compare with numpy, which reduces what is left of an array that is read as float64."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of numpy, about means of nothing
        values = wide(a).astype("f8")
        sizes = np.where(np.isfinite(values), abs(values), 0).sum(axis)
        total = wide(a).sum(axis)
        ours = kernels.sum(a, axis, **options)
        assert np.shape(ours) == np.shape(total)
        close(ours, total, sizes if a.dtype.kind == "f" else 0)
        close(kernels.mean(a, axis, **options), values.mean(axis), sizes)
        spread = values.var(axis)
        close(kernels.var(a, axis, **options), spread, 1e3 * spread + 1e-6 * sizes**2)
    try:
        extremes = a.min(axis), a.max(axis)
    except ValueError:
        with pytest.raises(ArgumentError, match="without items"):
            kernels.minmax(a, axis, **options)
        return
    for ours, theirs in zip(kernels.minmax(a, axis, **options), extremes, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(kernels.min(a, axis, **options), extremes[0])
    np.testing.assert_array_equal(kernels.max(a, axis, **options), extremes[1])


def test_many_short_runs_and_few_long_ones() -> None:
    for shape in [(100_000, 3), (20_000, 33), (3, 100_000)]:
        for a in (sample(np.dtype("f8"), shape), sample(np.dtype("u1"), shape)):
            check_axes(a, 1)
            check_axes(np.asfortranarray(a), 0)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axis", [0, 1])
def test_threads_do_not_change_a_bit(order: Any, axis: int) -> None:
    a = np.array(sample(np.dtype("f8"), (3000, 700)), order=order)
    with small_boxes(1 << 16, 8):
        for function in (kernels.sum, kernels.mean, kernels.var):
            one, *others = (function(a, axis, threads=n).tobytes() for n in (1, 2, 5))
            assert set(others) == {one}


def check_columns(a: NDArray[Any], **options: Any) -> None:
    with np.errstate(all="ignore"):
        values = wide(a).astype("f8")
        sizes = np.nansum(np.where(np.isfinite(values), abs(values), 0), axis=0)
        total = wide(a).sum(axis=0)
        ours = kernels.sum(a, axis=0, **options)
        assert ours.dtype == total.dtype.newbyteorder("=")
        close(ours, total, sizes if a.dtype.kind == "f" else 0)
        if not len(a):
            assert np.isnan(kernels.mean(a, axis=0, **options)).all()
            return
        close(kernels.mean(a, axis=0, **options), values.mean(axis=0), sizes / len(a))
        spread = values.var(axis=0)
        close(kernels.var(a, axis=0, **options), spread, 1e3 * spread + 1e-6 * sizes**2)
    lo, hi = kernels.minmax(a, axis=0, **options)
    assert lo.dtype == hi.dtype == a.dtype.newbyteorder("=")
    np.testing.assert_array_equal(lo, a.min(axis=0))
    np.testing.assert_array_equal(hi, a.max(axis=0))
    np.testing.assert_array_equal(kernels.max(a, 0, **options), hi)


@pytest.mark.parametrize("width", [1, 5, 700])
def test_a_nan_stays_in_its_column(width: int) -> None:
    a = sample(np.dtype("f8"), (3000, width))
    for row in (0, 1, 1500, 2999):
        b = a.copy()
        b[row, -1] = np.nan
        for size in (4 << 20, 8000):
            with small_boxes(size, 8):
                check_columns(b)


@pytest.mark.parametrize("dtype", ["f4", ">f8", "u8", "?"])
@pytest.mark.parametrize("shape", [(5, 400), (17, 3, 130), (9, 170, 2), (3, 4, 5, 20)])
def test_very_wide_tables_in_blocks_of_columns(dtype: str, shape: tuple[int, ...]) -> None:
    a = sample(np.dtype(dtype), shape)
    with small_boxes(1000, columns=70):
        for table in (a, np.asfortranarray(a), a[::-1, ::-1]):
            check_columns(table)


def test_very_wide_tables_need_little_memory() -> None:
    """A few rows of sums in float64 for each thread would be many times the result."""
    a = np.ones((16, 1 << 20), ">f4")
    for function in (kernels.sum, kernels.mean, kernels.var, kernels.minmax):
        function(a[:, :9], 0)  # compiles
        tracemalloc.start()
        out = function(a, 0)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 2.5 * np.asarray(out).nbytes + (32 << 20)


def test_the_only_axis_is_the_first() -> None:
    assert kernels.sum([1, 2, 3], axis=0) == 6
    assert kernels.min(np.array(5), axis=0) == 5


def test_columns_without_rows_and_rows_without_columns() -> None:
    assert kernels.sum(np.zeros((0, 3)), axis=0).tolist() == [0, 0, 0]
    assert kernels.min(np.zeros((3, 0)), axis=0).shape == (0,)
    assert kernels.var(np.zeros((3, 0, 2)), axis=0).shape == (0, 2)
    with pytest.raises(ArgumentError, match="without items"):
        kernels.max(np.zeros((0, 3)), axis=0)


@pytest.mark.parametrize("order", ["C", "F"])
def test_sums_that_overflow_on_the_way(order: Any) -> None:
    """One infinity outdoes all numbers; without any, the sum is what is left in the end."""
    huge = np.array([[1.7e308] * 5, [1.7e308] * 5, [-np.inf, -1.7e308, 1.0, np.inf, np.nan]] * 40)
    huge[:, 1] = [1.7e308, 1.6e308, -1.7e308, -1.6e308] * 30
    a = np.array(huge, order=order)
    for size in (1 << 22, 200):
        with small_boxes(size):
            assert kernels.sum(a[:, :4], axis=0).tolist() == [-np.inf, 0, np.inf, np.inf]
            assert np.isnan(kernels.sum(a, axis=0)[4])
            assert kernels.sum(a.T, axis=1)[:2].tolist() == [-np.inf, 0]


def of_files(tmp_path: Path, dtype: str, order: Any) -> Iterator[NDArray[Any]]:
    """Yield a table in a file, and views of it; the file cannot be written through them."""
    path = tmp_path / "table.npy"
    with mmapio.create(path, (300, 40), dtype, order=order) as table:
        table[...] = sample(np.dtype(dtype), (300, 40))
    for mode in ("r", "c"):
        table = mmapio.open(path, mode)
        yield from (table, table[::3, 5:20], table[::-1, ::-1], table.T)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f8", ">f8", "<i4"])
def test_views_of_files(tmp_path: Path, dtype: str, order: Any) -> None:
    for a in of_files(tmp_path, dtype, order):
        check_axes(a, 0)
        check_axes(a, 1)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f8", ">f8"])
def test_files_are_given_back_behind_any_axis(tmp_path: Path, dtype: str, order: Any) -> None:
    path = tmp_path / "table.npy"
    mmapio.create(path, (300, 40), dtype, order=order).close()
    table = mmapio.open(path, "r+")
    table[...] = sample(np.dtype(dtype), (300, 40))
    for size in (1 << 22, 5000):
        with small_boxes(size):
            for axis in (0, 1):
                check_axes(table, axis, drop_behind=True)
                check_axes(table.T, axis, drop_behind=True)
                mine, theirs = (
                    kernels.describe(table, axis, drop_behind=drop) for drop in (True, False)
                )
                np.testing.assert_array_equal(mine.zeros, theirs.zeros)
                np.testing.assert_allclose(mine.var, theirs.var, rtol=1e-12)
