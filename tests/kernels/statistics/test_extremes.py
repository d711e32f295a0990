"""Least and greatest values, and where they are, against numpy; `test_sums` has more."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from samples import FLOATS, sample, small_pieces

from mmapio import kernels
from mmapio.kernels.statistics import _extreme_keys, _extreme_vectors, _extremes


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


@pytest.mark.parametrize("later", [7.0, 0.0, math.nan])
@pytest.mark.parametrize("before", [1.0, math.nan])
def test_an_extreme_that_changes_meanwhile(
    monkeypatch: pytest.MonkeyPatch, before: float, later: float
) -> None:
    """The place is that of an item which was extreme, and there is always one."""
    a = np.full(50_000, 5.0)
    a[40_100] = before
    calls: list[int] = []

    def least(x: NDArray[Any], flip: Any) -> Any:
        found = looked(x, flip)
        calls.append(x.size)
        if found[0] < 5 or found[1]:
            a[40_100] = later
        return found

    looked = _extremes._least
    monkeypatch.setattr(_extremes, "_least", least)
    _, at, is_nan = _extremes._place_in_copies(a, np.int64(0))
    assert at == (0 if later == 7 else 40_100)
    assert is_nan == math.isnan(later)
    assert len(calls) >= a.nbytes // _extremes._BLOCK_BYTES


@pytest.mark.parametrize("later", [7.0, 0.0, math.nan])
@pytest.mark.parametrize("before", [1.0, math.nan])
def test_an_extreme_that_is_gone_at_the_second_look(
    monkeypatch: pytest.MonkeyPatch, before: float, later: float
) -> None:
    a = np.full(50_000, 5.0)
    a[40_100] = before

    def least(x: NDArray[Any], flip: Any) -> Any:
        found = looked(x, flip)
        a[40_100] = later
        return found

    looked = _extremes.blocks_least
    monkeypatch.setattr(_extremes, "blocks_least", least)
    _, at, is_nan = _extremes.least_place(a, np.int64(0))
    assert at == (0 if later == 7 else 40_100)
    assert is_nan == math.isnan(later)


@pytest.mark.parametrize("dtype", ["f4", "i1", "u2", "i8"])
@pytest.mark.parametrize("greatest", [False, True])
def test_blocks_find_what_python_finds(dtype: str, greatest: bool) -> None:
    """The first of the blocks with the extreme, whichever lanes have it; or that a NaN is there."""
    flip = _extreme_keys.flip_for(np.dtype(dtype), greatest)
    size = _extreme_vectors.BLOCK_BYTES // np.dtype(dtype).itemsize
    a = sample(np.dtype(dtype), (5 * size + 3,))
    extreme = a.max() if greatest else a.min()
    for places in ([], [size - 1], [size, 4 * size + 9], [3 * size + 7, 4 * size + 1], [1, 2]):
        a[places] = extreme
        assert blocks(a, flip) == _extreme_vectors.blocks_least(a, flip)
    a[:] = extreme
    assert blocks(a, flip)[2] == 0
    assert blocks(a[:3], flip)[2] == 0
    if a.dtype.kind == "f":
        a[4 * size] = np.nan
        assert blocks(a, flip)[:2] == _extreme_vectors.blocks_least(a, flip)[:2]
        assert blocks(a, flip)[1]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("size", [2, 20, 1000])
def test_of_zeros_the_negative_one_is_less(dtype: str, size: int) -> None:
    for at in (0, size // 2, size - 1):
        a = np.zeros(size, dtype)
        a[at] = -0.0
        assert [math.copysign(1, x) for x in kernels.minmax(a)] == [-1, 1]
        assert [math.copysign(1, f(a)) for f in (kernels.min, kernels.max)] == [-1, 1]
        assert [math.copysign(1, f(-a)) for f in (kernels.min, kernels.max)] == [-1, 1]
        with small_pieces(1):
            assert [math.copysign(1, x) for x in kernels.minmax(a)] == [-1, 1]
    assert [math.copysign(1, x) for x in kernels.minmax(np.zeros(size, dtype))] == [1, 1]
    assert [math.copysign(1, x) for x in kernels.minmax(-np.zeros(size, dtype))] == [-1, -1]


@pytest.mark.parametrize("dtype", ["f4", "i1", "u1", "u8", "i8"])
@pytest.mark.parametrize("greatest", [False, True])
def test_vectors_find_what_python_finds(dtype: str, greatest: bool) -> None:
    """Extremes in every lane, and whether there are NaNs."""
    flip = _extreme_keys.flip_for(np.dtype(dtype), greatest)
    for size in (0, 1, 63, 64, 300):
        a = sample(np.dtype(dtype), (size,))
        for at in range(min(size, 1), size, 7):
            a[at] = a.max() if greatest else a.min()
            if dtype == "f4" and at % 2:
                a[at] = np.nan
            assert vectors(a, flip) == (
                _extreme_vectors.lines_least(a, flip),
                _extreme_vectors.lines_range(a, flip),
            )


@numba.njit
def blocks(x: NDArray[Any], flip: Any) -> Any:
    return _extreme_vectors.blocks_least(x, flip)


@numba.njit
def vectors(x: Any, flip: Any) -> Any:
    return _extreme_vectors.lines_least(x, flip), _extreme_vectors.lines_range(x, flip)


def test_tiny_and_huge_floats_are_in_order() -> None:
    values = [-math.inf, -1.7e308, -1e-310, -5e-324, 0.0, 5e-324, 1e-310, 1.7e308, math.inf]
    for i in range(len(values) - 1):
        assert kernels.minmax(values[i : i + 2]) == (values[i], values[i + 1])


@pytest.mark.parametrize("name", ["min", "max", "minmax", "argmin", "argmax"])
def test_nothing_has_no_extremes(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} of an array without items, of shape \(3, 0\)"):
        getattr(kernels, name)(np.zeros((3, 0)))
