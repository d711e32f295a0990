"""Vectors of lanes: the same bits as their bodies in Python, wherever the items lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from mmapio.kernels.engine import lanes

SIZES = (0, 7, 8, 63, 64, 65, 127, 128, 200, 1003)
STEPS = (1, 2, 3, -1)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return numba.njit(lambda *args: function(*args))  # type: ignore[no-any-return]


def sample(dtype: str, size: int, step: int) -> NDArray[Any]:
    """Return items of all sizes, `step` places apart, the last of which is the memory's last."""
    rng = np.random.default_rng(size)
    memory = np.zeros(max(0, (size - 1) * abs(step) + 1), dtype)
    a = memory[::step]
    if a.dtype.kind == "f":
        a[:] = rng.normal(size=size) * 10.0 ** rng.integers(-9, 9, size)
    else:
        info = np.iinfo(a.dtype)
        a[:] = rng.integers(info.min, info.max, size, a.dtype, endpoint=True)
    return a


@pytest.mark.parametrize("name", ["add_floats", "add_runs"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_sums_have_the_same_bits_as_in_python(name: str, dtype: str) -> None:
    function = getattr(lanes, name)
    kernel = compiled(function)
    for size in SIZES:
        found = {kernel(sample(dtype, size, step)) for step in STEPS}
        found |= {function(sample(dtype, size, step)) for step in STEPS}
        assert len(found) == 1


@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "i4", "i8", "u8"])
def test_squares_have_the_same_bits_as_in_python(dtype: str) -> None:
    steps, squares = compiled(lanes.add_steps), compiled(lanes.add_squares)
    for size in SIZES:
        for step in STEPS:
            a = sample(dtype, size, step)
            base = np.float64(0.3) if a.dtype.kind == "f" else a.dtype.type(77)
            assert steps(a, base) == lanes.add_steps(a, base)
            assert squares(a, base, 0.1) == lanes.add_squares(a, base, 0.1)


@pytest.mark.parametrize("dtype", ["i4", "i8", "u8"])
def test_sums_of_integers_are_exact(dtype: str) -> None:
    kernel = compiled(lanes.add_words)
    for size in SIZES:
        for step in STEPS:
            a = sample(dtype, size, step)
            whole = a[: size // lanes.LANES * lanes.LANES]
            for high, low in (kernel(a), lanes.add_words(a)):
                assert int(high) * 2**32 + int(low) == sum(map(int, whole))


@pytest.mark.parametrize("dtype", ["i8", "u8"])
def test_sums_of_words_wrap(dtype: str) -> None:
    kernel = compiled(lanes.add_wrapping)
    for size in SIZES:
        for step in STEPS:
            a = sample(dtype, size, step)
            total = sum(map(int, a[: size // lanes.LANES * lanes.LANES]))
            assert (kernel(a) - total) % 2**64 == (int(lanes.add_wrapping(a)) - total) % 2**64 == 0


@pytest.mark.parametrize("dtype", ["i1", "u4", "i8", "u8", "f8"])
def test_a_difference_is_rounded_once(dtype: str) -> None:
    kernel = compiled(lanes.step)
    a = sample(dtype, 50, 1)
    for value, base in zip(a, a[::-1], strict=True):
        wanted = float(value) - float(base) if dtype == "f8" else float(int(value) - int(base))
        assert kernel(value, base) == lanes.step(value, base) == wanted
