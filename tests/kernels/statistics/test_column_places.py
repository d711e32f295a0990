"""Where extremes are first in F order: what numpy finds, whatever lies where."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import small_pieces

from mmapio import kernels
from mmapio.kernels.statistics import _column_places
from mmapio.kernels.statistics._column_places import has_columns, rows_first

_SHAPES = [(1, 1), (2, 3), (3, 700), (700, 3), (64, 64), (130, 41)]


def _table(dtype: str, shape: tuple[int, int], most: int) -> NDArray[Any]:
    rng = np.random.default_rng(most)
    return np.asfortranarray(rng.integers(0, most, shape).astype(dtype))


@pytest.mark.parametrize("dtype", ["u1", "i4", "f8", "?"])
@pytest.mark.parametrize("most", [2, 9, 100])
def test_the_first_in_the_order_of_indices(dtype: str, most: int) -> None:
    for shape in _SHAPES:
        a = _table(dtype, shape, most)
        expected = np.argmin(a), np.argmax(a)
        assert (kernels.argmin(a), kernels.argmax(a)) == expected
        with small_pieces(97):
            for threads in (1, 3):
                found = kernels.argmin(a, threads=threads), kernels.argmax(a, threads=threads)
                assert found == expected


def test_nans_and_zeros() -> None:
    a = np.zeros((300, 20), order="F")
    a[5, 3] = -0.0
    assert (kernels.argmin(a), kernels.argmax(a)) == (0, 0)
    a[0] = 1
    assert kernels.argmin(a) == 20
    for at in ((299, 0), (40, 19), (40, 7), (3, 3)):
        a[at] = math.nan
        assert kernels.argmin(a) == kernels.argmax(a) == np.argmin(a)
        with small_pieces(50):
            assert kernels.argmin(a) == np.argmin(a)


def test_tables_of_other_kinds_go_another_way() -> None:
    a = np.zeros((4, 5), order="F")
    assert has_columns(a)
    swapped, tall = a.astype(">f8"), np.zeros((3, 4, 5), order="F")
    others = [a.T, a[::2], a[0], a.astype("f2"), swapped, tall]
    assert not any(map(has_columns, others))
    for other in others:
        assert kernels.argmax(other) == 0


def test_of_each_column_the_first_counts() -> None:
    x = np.array([5, 1, 1, 5, 5, 1, 1, 5, 5], "i8")
    flip = np.int64(0)
    assert rows_first(x, flip, np.int64(1), 0, 3) == 6
    assert rows_first(x, flip, np.int64(1), 1, 3) == 3
    assert rows_first(x, flip, np.int64(2), 0, 3) == -1


def test_an_extreme_that_is_gone_is_sought_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.full((40, 30), 5.0, order="F")
    a[7, 2] = 1

    def look_and_change(x: NDArray[Any], flip: Any) -> Any:
        found = looked(x, flip)
        a[7, 2] = 5
        a[20, 20] = 2
        return found

    looked = _column_places.piece_least
    monkeypatch.setattr(_column_places, "piece_least", look_and_change)
    assert kernels.argmin(a) == 20 * 30 + 20
