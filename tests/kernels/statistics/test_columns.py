"""Reductions along the first axis against those of numpy."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from samples import ARRAYS, DTYPES, LAYOUTS, close, sample, small_pieces, wide

from mmapio import kernels
from mmapio.errors import ArgumentError
from mmapio.kernels.statistics import _columns


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_columns_of_any_dtype_in_any_layout(dtype: np.dtype[Any], layout: str) -> None:
    check_columns(LAYOUTS[layout](sample(dtype, (67, 131))))


@pytest.mark.parametrize("width", [1, 2, 3, 8, 100, 511, 512, 513, 5000])
@pytest.mark.parametrize("dtype", ["f4", "i2", "u8"])
def test_columns_of_any_number(width: int, dtype: str) -> None:
    for rows in (1, 2, 63, 64, 65, 300):
        check_columns(sample(np.dtype(dtype), (rows, width)))


@settings(max_examples=200)
@given(ARRAYS.filter(lambda a: a.ndim > 1), st.integers(1, 50), st.integers(1, 4), st.booleans())
def test_columns_in_pieces_of_any_size(
    a: NDArray[Any], items: int, threads: int, turned: bool
) -> None:
    with small_pieces(items, a.itemsize), pytest.MonkeyPatch.context() as patch:
        patch.setattr(_columns, "_ROWS", 1)
        check_columns(a.T if turned else a, threads=threads)


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
        for items in (1 << 20, 1000):
            with small_pieces(items):
                check_columns(b)


@pytest.mark.parametrize("dtype", ["f4", ">f8", "u8", "?"])
@pytest.mark.parametrize("shape", [(5, 400), (17, 3, 130), (9, 170, 2), (3, 4, 5, 20)])
def test_very_wide_tables_in_blocks_of_columns(
    dtype: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_columns, "_WIDE", 70)
    a = sample(np.dtype(dtype), shape)
    for table in (a, np.asfortranarray(a), a[::-1, ::-1]):
        check_columns(table)


def test_very_wide_tables_need_little_memory() -> None:
    """A few rows of sums in float64 for each thread would be many times the result."""
    a = np.ones((16, 1 << 20), ">f4")
    for function in (kernels.sum, kernels.mean, kernels.var, kernels.minmax):
        function(a[:, :9], 0)
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
