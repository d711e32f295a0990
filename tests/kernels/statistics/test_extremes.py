"""Least and greatest values, and where they are, against numpy; `test_sums` has more."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import FLOATS, sample, small_pieces

from mmapio import kernels
from mmapio.kernels.statistics import _extremes


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("at", [0, 5, 4099, 9999])
def test_the_first_nan_wins(dtype: str, sign: int, at: int) -> None:
    a = sample(np.dtype(dtype), (10_000,))
    a[7] = np.inf
    a[8] = -np.inf
    a[[at, -1]] = np.copysign(np.nan, sign)
    for items in (1 << 20, 3000):
        with small_pieces(items):
            for threads in (1, 3):
                assert np.isnan(kernels.minmax(a, threads=threads)).all()
                assert np.isnan(kernels.min(a, threads=threads))
                assert kernels.argmin(a, threads=threads) == at
                assert kernels.argmax(a, threads=threads) == at


def test_equal_extremes_are_found_where_they_are_first() -> None:
    for dtype in ("f8", "i2"):
        a = np.zeros(20_000, dtype)
        a[[3000, 7000, 15_000]] = -1
        a[[2999, 6999, 15_001]] = 1
        with small_pieces(5000):
            assert kernels.argmin(a, threads=3) == 3000
            assert kernels.argmax(a, threads=3) == 2999


def test_zeros_are_equal_whatever_their_sign() -> None:
    assert [math.copysign(1, x) for x in kernels.minmax([-0.0, 0.0])] == [-1, 1]
    assert kernels.argmin([0.0, -0.0]) == 0
    assert kernels.argmax([-0.0, 0.0]) == 0
    with small_pieces(1):
        assert kernels.argmin([0.0, -0.0]) == 0


@pytest.mark.parametrize("later", [7, 0])
def test_an_extreme_that_changes_meanwhile(monkeypatch: pytest.MonkeyPatch, later: int) -> None:
    """The place is that of an item which was extreme, and there is always one."""
    a = np.full(5000, 5)
    a[[100, 4100]] = 1, 9
    looked: list[int] = []

    def key_range(x: NDArray[Any]) -> tuple[Any, Any]:
        found = x.min(), x.max()
        if not looked:
            a[:] = later
        looked.append(x.size)
        return found

    monkeypatch.setattr(_extremes, "key_range", key_range)
    for name in ("key_of", "equal_key"):
        monkeypatch.setattr(_extremes, name, lambda value, *like: value)
    monkeypatch.setattr(_extremes, "is_nan_key", lambda key, like: False)
    lo, lo_at, hi, hi_at, _ = _extremes.where_extremes(a)
    assert (lo_at, hi_at) == (0, 0)
    assert {lo, hi} == {5, later}


def test_tiny_and_huge_floats_are_in_order() -> None:
    values = [-math.inf, -1.7e308, -1e-310, -5e-324, 0.0, 5e-324, 1e-310, 1.7e308, math.inf]
    for i in range(len(values) - 1):
        assert kernels.minmax(values[i : i + 2]) == (values[i], values[i + 1])


@pytest.mark.parametrize("name", ["min", "max", "minmax", "argmin", "argmax"])
def test_nothing_has_no_extremes(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} of an array without items, of shape \(3, 0\)"):
        getattr(kernels, name)(np.zeros((3, 0)))
