"""Descriptions of parts beside that of the whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmapio import kernels
from mmapio.kernels.statistics.merging import merge

EXACT = ("count", "nans", "infs", "zeros", "min", "max")
ROUNDED = ("sum", "mean", "var", "std")

parts_of_floats = st.lists(
    st.lists(st.floats(-1e6, 1e6) | st.sampled_from([0.0, math.nan]), max_size=20), min_size=1
)
parts_of_ints = st.lists(st.lists(st.integers(-(2**52), 2**52), max_size=20), min_size=1)


def check(parts: list[list[float]], dtype: str) -> None:
    arrays = [np.array(part, dtype) for part in parts]
    found = merge([kernels.describe(array, bins=8) for array in arrays], bins=8)
    whole = kernels.describe(np.concatenate(arrays), bins=8)
    for name in EXACT:
        assert getattr(found, name) == pytest.approx(getattr(whole, name), rel=0, nan_ok=True)
    scale = max(abs(whole.min), abs(whole.max)) if whole.count > whole.nans else 0
    for name, power in zip(ROUNDED, (1, 1, 2, 1), strict=True):
        room = 1e-7 * max(scale, 1e-300) ** power
        expected = pytest.approx(getattr(whole, name), rel=1e-9, abs=room, nan_ok=True)
        assert getattr(found, name) == expected
    assert found.counts.tolist() == whole.counts.tolist()
    assert found.edges.tolist() == whole.edges.tolist()


@given(parts_of_floats)
def test_parts_of_floats_make_the_whole(parts: list[list[float]]) -> None:
    check(parts, "f8")


@given(parts_of_ints)
def test_parts_of_integers_make_the_whole(parts: list[list[int]]) -> None:
    check(parts, "i8")


def test_integer_sums_stay_exact() -> None:
    parts = [kernels.describe(np.array([2**63 - 1, k])) for k in (1, 2, 3)]
    assert merge(parts, 16).sum == 3 * (2**63 - 1) + 6


def test_infinities_have_their_effect() -> None:
    parts = [kernels.describe(np.array(part)) for part in ([1.0, math.inf], [2.0], [math.nan])]
    whole = merge(parts, 16)
    assert (whole.infs, whole.nans, whole.max, whole.mean) == (1, 1, math.inf, math.inf)
    assert math.isnan(whole.var)
    assert whole.counts.sum() == 2
    assert (whole.finite.count, whole.finite.max, whole.finite.mean) == (3, 2.0, 1.5)
    assert whole.finite.counts.tolist() == whole.counts.tolist()


def test_integers_whose_edges_are_rounded_are_all_counted() -> None:
    parts = [kernels.describe(np.array([2**62 + k, 2**62 + k + 1]), bins=4) for k in (0, 5)]
    assert merge(parts, 4).counts.sum() == 4


def test_the_widest_floats_fit() -> None:
    largest = np.finfo("f8").max
    parts = [kernels.describe(np.array([x]), bins=4) for x in (-largest, largest)]
    assert merge(parts, 4).counts.tolist() == [1, 0, 0, 1]
