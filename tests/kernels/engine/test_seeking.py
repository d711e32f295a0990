"""The first item that equals a value: vectors find what Python finds, and trust no second look."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from mmapio.kernels.engine import seeking
from mmapio.kernels.engine.seeking import block_with, first_of


@numba.njit
def both(x: NDArray[Any], value: Any) -> Any:
    return block_with(x, value), first_of(x, value)


@pytest.mark.parametrize("dtype", ["u1", "i4", "f4", "f8"])
def test_vectors_find_what_python_finds(dtype: str) -> None:
    a = np.zeros(1500, dtype)
    value = a.dtype.type(7)
    for size in (0, 1, 255, 256, 257, 1500):
        assert both(a[:size], value) == (block_with(a[:size], value), -1)
        for at in (0, 1, 63, 64, 255, 256, 511, 1024, 1499):
            x = a[:size].copy()
            x[at::200] = value
            assert both(x, value) == (block_with(x, value), at if at < size else -1)


def test_floats_are_compared_as_numbers() -> None:
    x = np.full(600, np.nan)
    assert both(x, np.nan) == (576, -1)
    x[500] = -0.0
    assert both(x, 0.0)[1] == 500
    assert both(x[::-1], 0.0)[1] == 99


def test_a_match_that_is_gone_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.zeros(2000, "u1")
    a[[300, 1700]] = 1

    def look_and_change(x: NDArray[Any], value: Any) -> int:
        found = block_with(x, value)
        a[300] = 0
        return found

    monkeypatch.setattr(seeking, "block_with", look_and_change)
    assert first_of(a, 1) == 1700
