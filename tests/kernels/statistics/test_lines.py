"""Reductions along axes of small arrays: numpy's results, by the kernels for small tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import close, sample, small_boxes, wide

import mmapio
from mmapio import ArgumentError, ArgumentTypeError, kernels
from mmapio.kernels.statistics._lines import as_table

CASES: list[tuple[tuple[int, ...], Any]] = [
    ((70, 130), 0),
    ((70, 130), -1),
    ((70, 18, 80), 1),
    ((70, 18, 80), (1, 2)),
    ((70, 18, 80), (0, 1)),
    ((66, 3, 6, 67), (1, 2)),
    ((100, 64), (0,)),
    ((70, 3), 1),
    ((64, 15), 1),
]


def check(a: NDArray[Any], axis: Any) -> None:
    sizes = np.abs(wide(a).astype("f8")).sum(axis)
    total, mean = kernels.sum(a, axis), kernels.mean(a, axis=axis)
    expected = wide(a).sum(axis)
    assert (total.dtype, total.shape) == (expected.dtype, expected.shape)
    assert total.flags.c_contiguous
    close(total, expected, sizes if a.dtype.kind == "f" else 0)
    close(mean, wide(a).mean(axis, dtype="f8"), sizes)
    least, greatest = kernels.minmax(a, axis=axis)
    assert (least.dtype, least.shape) == (a.dtype, expected.shape)
    np.testing.assert_array_equal(least, a.min(axis))
    np.testing.assert_array_equal(greatest, a.max(axis))
    np.testing.assert_array_equal(kernels.min(a, axis=axis), least)
    np.testing.assert_array_equal(kernels.max(a, axis=axis), greatest)


@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize("dtype", ["f4", "f8", "u8", "i2", "?"])
def test_numpys_results(dtype: str, shape: tuple[int, ...], axis: Any) -> None:
    a = sample(np.dtype(dtype), shape)
    for order in "CF":
        table = np.array(a, order=order)
        assert as_table(table, axis) is not None
        check(table, axis)


def test_other_arrays_are_no_tables() -> None:
    a = np.zeros((20, 30, 40))
    assert as_table(a, (0, 2)) is None
    assert as_table(a, (0, 1, 2)) is None
    assert as_table(a, 3) is None
    for other in (a[:, ::2], a[:, :, :0], a.astype(">f8"), a.astype("f2"), a[:, :, :3].copy()):
        assert as_table(other, 1) is None
    assert as_table(a, 1) is not None
    with small_boxes(a.nbytes - 1):
        assert as_table(a, 1) is None


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axis", [0, 1])
def test_options_do_not_change_a_bit(order: Any, axis: int) -> None:
    a = np.array(sample(np.dtype("f8"), (203, 117)), order=order)
    for function in (kernels.sum, kernels.mean, kernels.min, kernels.max):
        found = {function(a, axis, threads=n).tobytes() for n in (1, 2)}
        assert found == {function(a, axis).tobytes()}


@pytest.mark.parametrize("lost", [0.0, np.nan])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axis", [0, 1])
def test_bars_and_releases_do_not_change_a_bit(
    tmp_path: Path, order: Any, axis: int, lost: float
) -> None:
    items = np.array(sample(np.dtype("f8"), (203, 117)), order=order)
    items[5, 7] += lost
    np.save(tmp_path / "a.npy", items)
    with mmapio.open(tmp_path / "a.npy") as a:
        for function in (kernels.sum, kernels.mean, kernels.min, kernels.max):
            expected = function(items, axis).tobytes()
            for progress, drop_behind in ((True, False), (False, True), (True, True)):
                found = function(a, axis, progress=progress, drop_behind=drop_behind)
                assert found.tobytes() == expected


@pytest.mark.parametrize("order", ["C", "F"])
def test_sums_that_are_not_finite_are_put_right(order: Any) -> None:
    a = np.array([[1.7e308, 1.0, np.inf, np.nan, 3.0] * 4] * 40, order=order)
    a[20:, 0] = -1.7e308
    a[20:, 15] = -np.inf
    for function, size in ((kernels.sum, 1), (kernels.mean, 40)):
        found = function(a, axis=0)
        assert found[0] == 0
        assert found[1] == 40 / size
        assert found[2] == np.inf
        assert np.isnan(found[3])
        assert found[15] == -np.inf
        np.testing.assert_array_equal(found, function(a, axis=0, threads=2))


def test_arrays_of_files(tmp_path: Path) -> None:
    with mmapio.create(tmp_path / "a.npy", (40, 50), "f8") as a:
        a[...] = sample(np.dtype("f8"), (40, 50))
        for axis in (0, 1):
            np.testing.assert_allclose(kernels.sum(a, axis), np.sum(np.array(a), axis))
            assert type(kernels.max(a, axis)) is np.ndarray


def test_errors_are_those_of_the_long_way() -> None:
    a = np.zeros((20, 30))
    with pytest.raises(np.exceptions.AxisError):
        kernels.sum(a, axis=2)
    with pytest.raises(ArgumentError, match="twice"):
        kernels.max(a, axis=(0, 0))
    with pytest.raises(ArgumentTypeError, match="mask"):
        kernels.sum(np.ma.masked_equal(np.zeros((20, 30)), 0), axis=0)
    with pytest.raises(TypeError, match="sum"):
        kernels.sum(a, 0, 1)  # type: ignore[misc]


@pytest.mark.parametrize("axis", [([0],), (0.0,), ("0",)])
def test_an_axis_that_is_no_integer_is_refused_though_it_equals_one_used_before(axis: Any) -> None:
    table = np.ones((10, 80))
    kernels.sum(table, (0,))
    with pytest.raises(ArgumentTypeError, match="tuple of integers"):
        kernels.sum(table, axis)
