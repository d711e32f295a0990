"""Kernels of runs against numpy, and against what exact arithmetic says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import sample

from mmapio.kernels.statistics._boxes import flat_items, layout_of
from mmapio.kernels.statistics._run_kernels import (
    extreme_runs,
    sum_float_runs,
    sum_int_runs,
    vary_runs,
)

LENGTHS = [2, 7, 8, 9, 31, 32, 33, 100, 4097]


def found_by(kernel: Any, a: NDArray[Any], *others: Any, dtype: Any = "f8", count: int = 1) -> Any:
    layout = layout_of(a.shape, a.strides, a.itemsize, (1,), True)
    assert layout.grid is not None
    assert layout.only is not None
    assert not layout.grid.columns
    out = [np.full(len(a), 99, dtype) for _ in range(count)]
    box = layout.only.ranges
    kernel(flat_items(layout, a), layout.grid.kept, layout.grid.reduced, box, *others, *out)
    return out


@pytest.mark.parametrize("length", LENGTHS)
def test_sums_and_their_errors(length: int) -> None:
    a = sample(np.dtype("f8"), (5, length)) * 10.0 ** np.arange(-40, 10, 10)[:, None]
    total, error = found_by(sum_float_runs, a, count=2)
    for run, rounded, slip in zip(a, total, error, strict=True):
        least = 0.0 if length >= 8 else 1e-15 * np.abs(run).sum()
        assert abs(math.fsum(run) - (rounded + slip)) <= max(math.ulp(rounded), least)
    ints = sample(np.dtype("i8"), (5, length))
    (sums,) = found_by(sum_int_runs, ints, dtype="i8")
    assert sums.tolist() == ints.sum(1).tolist()


@pytest.mark.parametrize("length", LENGTHS)
def test_extremes_of_runs_with_nan(length: int) -> None:
    a = sample(np.dtype("f8"), (5, length))
    a[1, -1] = a[2, 0] = np.nan
    a[3, 0], a[3, -1] = np.inf, -np.inf
    for which in (0, 1, 2):
        found = found_by(extreme_runs, a, which, count=2)
        for kind in (0, 1) if which == 2 else (which,):
            np.testing.assert_array_equal(found[kind], (a.min, a.max)[kind](1))


@pytest.mark.parametrize("length", LENGTHS)
def test_variances_of_runs_far_from_zero(length: int) -> None:
    a = np.ldexp(sample(np.dtype("i8"), (5, length)) % 1000, -3) + 1e9
    mean, rest, squares = found_by(vary_runs, a, count=3)
    away = a - 1e9
    np.testing.assert_allclose((mean - 1e9) + rest, away.mean(1), rtol=1e-12)
    np.testing.assert_allclose(squares, away.var(1) * length, rtol=1e-12)
