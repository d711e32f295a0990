"""Axes as reductions get them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from mmapio.errors import ArgumentError, ArgumentTypeError
from mmapio.kernels.statistics._axes import reduced_axes

BLOCK = np.ones((2, 3, 4))


@pytest.mark.parametrize(
    ("axis", "axes"),
    [
        (0, (0,)),
        (-1, (2,)),
        (np.int8(1), (1,)),
        (True, (1,)),  # as in numpy
        ((2, 0), (0, 2)),
        ((-1, 0), (0, 2)),
        ((), ()),
        ((0, 1, 2), None),
        (None, None),
    ],
)
def test_axes_are_in_rising_order(axis: Any, axes: Any) -> None:
    assert reduced_axes(BLOCK, axis) == axes


@pytest.mark.parametrize("axis", [3, -4, (0, 3), 10**30])
def test_one_that_is_not_there_is_numpys_error_too(axis: Any) -> None:
    with pytest.raises(np.exceptions.AxisError, match="out of range for an array of 3") as caught:
        reduced_axes(BLOCK, axis)
    assert isinstance(caught.value, ArgumentError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)


def test_one_twice_or_of_another_type() -> None:
    with pytest.raises(ArgumentError, match="names an axis twice"):
        reduced_axes(BLOCK, (0, -3))
    for axis in (1.0, "0", [0], (None,)):
        with pytest.raises(ArgumentTypeError, match="tuple of integers"):
            reduced_axes(BLOCK, axis)  # type: ignore[arg-type]


def test_a_single_item_has_one_axis() -> None:
    assert reduced_axes(np.array(1), 0) is None
    with pytest.raises(ArgumentError):
        reduced_axes(np.array(1), 1)
