"""`describe` along axes against `describe` of each line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import LAYOUTS, sample, small_boxes

from mmapio import kernels
from mmapio.errors import ArgumentError, ArgumentTypeError
from mmapio.kernels.statistics.merging import merge

COUNTED = ("count", "nans", "infs", "zeros", "min", "max")
ROUNDED = ("sum", "mean", "var", "std")


def check(a: NDArray[Any], axis: int = 0, **options: Any) -> None:
    found = kernels.describe(a, axis, **options)
    lines = np.moveaxis(a, axis, -1)
    for place in np.ndindex(lines.shape[:-1]):
        one = kernels.describe(lines[place])
        for ours, theirs in ((found, one), (found.finite, one.finite)):
            for name in COUNTED + ROUNDED:
                figures, figure = getattr(ours, name), getattr(theirs, name)
                assert figures.shape == lines.shape[:-1]
                if name in COUNTED or not isinstance(figure, float):
                    np.testing.assert_array_equal(figures[place], figure)
                else:
                    assert figures[place] == pytest.approx(figure, 1e-11, 1e-14, nan_ok=True)


def with_others(dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return some items that are not finite, some zeros, and a first column of NaN alone."""
    a = sample(np.dtype(dtype), shape)
    flat = a.reshape(-1)
    flat[::5] = 0
    if a.dtype.kind == "f":
        flat[::7], flat[3::31], flat[5::41] = np.nan, np.inf, -np.inf
        a[:, :1] = np.nan
    if a.dtype.kind in "mM":
        flat[::7] = "NaT"
        a[:, :1] = "NaT"
    return a


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f8", ">f2", ">i4", "u8", "?"])
def test_columns_are_described_as_each_of_them(dtype: str, layout: str) -> None:
    a = LAYOUTS[layout](with_others(dtype, (23, 17)))
    check(a)
    check(a, 1)


@pytest.mark.parametrize("dtype", ["f8", "u8"])
@pytest.mark.parametrize("shape", [(300, 3), (9, 130), (11, 4, 5), (1, 7), (3, 0), (0, 3)])
def test_figures_of_boxes_are_combined(dtype: str, shape: tuple[int, ...]) -> None:
    for a in (with_others(dtype, shape), np.asfortranarray(with_others(dtype, shape))):
        for box in (small_boxes(200), small_boxes(1000, 8)):
            with box:
                check(a)
                check(a[::-1], -1, threads=2)


def test_bits_do_not_depend_on_threads() -> None:
    a = sample(np.dtype("f8"), (400, 50))
    with small_boxes(2000):
        one, *others = (
            [getattr(kernels.describe(a, 0, threads=n), name).tobytes() for name in ROUNDED]
            for n in (1, 3)
        )
    assert others == [one]


@pytest.mark.parametrize("dtype", ["m8[s]", "M8[D]"])
def test_nat_is_left_out(dtype: str) -> None:
    days = sample(np.dtype("i8"), (40, 9)) // 2**30
    a = days.view(dtype)
    a[::3, 1:5] = "NaT"
    a[:, 2] = "NaT"
    check(a)
    check(a.astype(f">{dtype}"), 1)


def test_sums_of_integers_never_wrap() -> None:
    a = np.array([[2**63 - 1, 1, -(2**63)]] * 3)
    found = kernels.describe(a, axis=0)
    assert found.sum.tolist() == [3 * (2**63 - 1), 3, -3 * 2**63]
    assert found.mean.tolist() == [float(2**63), 1.0, -float(2**63)]
    assert kernels.describe(a[:, 1:2], axis=0).sum.dtype == np.int64
    assert kernels.describe(a[:1].view("u8"), axis=0).sum.dtype == np.uint64


def test_sums_of_floats_that_overflow_on_the_way() -> None:
    a = np.array([[1.7e308, 1.0]] * 3 + [[-1.7e308, np.nan]] * 3)
    found = kernels.describe(a, axis=0)
    assert found.sum.tolist() == [0.0, 3.0]
    assert found.mean.tolist() == [0.0, 1.0]


def test_values_far_from_zero_keep_their_digits() -> None:
    a = np.array([[1e9 + 4, 1e9], [1e9 + 7, np.nan], [1e9 + 13, np.inf], [1e9 + 16, 1e9]] * 3000)
    found = kernels.describe(a, axis=0).finite
    np.testing.assert_allclose(found.var, [22.5, 0], rtol=1e-12)


def test_there_is_no_histogram_along_axes() -> None:
    found = kernels.describe(np.ones((3, 2)), axis=0)
    assert found.counts.size == found.edges.size == 0
    assert found.finite is found
    assert "std=array([0., 0.]))" in repr(found)
    with pytest.raises(ArgumentError, match="bins must be"):
        kernels.describe(np.ones((3, 2)), axis=0, bins=3)


def test_the_only_axis_has_one() -> None:
    assert kernels.describe([1.0, 2.0], axis=0).counts.sum() == 2


def test_descriptions_of_columns_are_not_merged() -> None:
    part = kernels.describe(np.ones((3, 2)), axis=0)
    for parts in ([part], [part, part]):
        with pytest.raises(ArgumentTypeError, match="along an axis cannot be merged"):
            merge(parts, 8)
