"""Tests of arguments that are addresses alone."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from mmapio.kernels.engine.addressed import ADDRESSED, address_of
from mmapio.kernels.engine.jit import entry, jit


@jit(lambda: [(ADDRESSED, numba.int64)], cache=False)
def _moved(array: NDArray[Any], by: int) -> int:
    return address_of(array) + by


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0),
        np.arange(6, dtype=">i2").reshape(2, 3)[::-1, 1:].T,
        np.array(["a", "bc"]),
        np.zeros((), "i4,f8"),
        np.zeros((0, 3)),
    ],
    ids=["row", "view", "texts", "0-d", "empty"],
)
def test_a_kernel_gets_the_address_of_any_array(array: NDArray[Any]) -> None:
    array.flags.writeable = False
    moved = entry(_moved, ADDRESSED, numba.int64)
    assert moved(array, 5) == array.ctypes.data + 5 == address_of(array) + 5
