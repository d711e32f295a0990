"""Lanes of runs: the same as in Python, to the last bit, for any number of items."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from mmapio.kernels.engine.run_lanes import (
    LEAST_RUN,
    RUNS,
    add_float_run,
    add_int_run,
    greatest_of_run,
    join_runs,
    least_of_run,
)

from .test_column_tiles import items_of

COUNTS = [LEAST_RUN, 17, 31, 63, 64, 65, 100, 127, 200]


def sums_of(x: NDArray[Any], count: int) -> NDArray[np.float64]:
    totals, errors, found = np.zeros(RUNS * 8), np.zeros(RUNS * 8), np.empty(RUNS)
    for number in range(RUNS):
        add_float_run(x, number * count, count, totals, errors, number)
    join_runs(totals, errors, found)
    return found


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8"])
def test_sums_are_those_of_python(dtype: str) -> None:
    compiled = numba.njit(numba_sums)
    for count in COUNTS:
        x = items_of(dtype, RUNS * count)
        ours, theirs = compiled(x, count), sums_of(x, count)
        nan = np.isnan(theirs)
        np.testing.assert_array_equal(np.isnan(ours), nan)
        assert ours[~nan].tobytes() == theirs[~nan].tobytes()


def numba_sums(x: Any, count: Any) -> Any:
    totals, errors, found = np.zeros(64), np.zeros(64), np.empty(8)
    for number in range(8):
        add_float_run(x, number * count, count, totals, errors, number)
    join_runs(totals, errors, found)
    return found


def test_sums_are_within_the_bound_that_is_documented() -> None:
    for count in COUNTS:
        x = np.random.default_rng(count).normal(size=RUNS * count)
        x *= 10.0 ** np.random.default_rng(1).integers(-9, 9, x.size)
        for run, total in zip(x.reshape(RUNS, -1), sums_of(x, count), strict=True):
            assert abs(math.fsum(run) - total) <= 3 * 2.0**-53 * np.abs(run).sum()


@pytest.mark.parametrize("dtype", ["i1", "u1", "u2", "i8"])
def test_sums_of_integers(dtype: str) -> None:
    compiled = numba.njit(lambda x, start, count: add_int_run(x, start, count))
    for count in COUNTS:
        x = items_of(dtype, count + 4)
        assert compiled(x, 3, count) == add_int_run(x, 3, count)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "u2"])
def test_extremes(dtype: str) -> None:
    least = numba.njit(lambda x, start, count: least_of_run(x, start, count))
    greatest = numba.njit(lambda x, start, count: greatest_of_run(x, start, count))
    for count in COUNTS:
        for number in range(6):
            x = items_of(dtype, count + 9)[number:]
            for ours, theirs in ((least, least_of_run), (greatest, greatest_of_run)):
                found, expected = ours(x, 3, count), theirs(x, 3, count)
                if expected != expected:
                    assert found != found
                else:
                    assert x.dtype.type(found).tobytes() == expected.tobytes()
            np.testing.assert_array_equal(least(x, 3, count), x[3 : 3 + count].min())
            np.testing.assert_array_equal(greatest(x, 3, count), x[3 : 3 + count].max())
