"""Vectors of columns: the same as in Python, to the last bit, for any number of columns."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from mmapio.kernels.engine import column_vectors as cv

SPECIAL = [np.nan, np.inf, -np.inf, -0.0, 0.0, 1e300, -1e300, 5e-324]


def rows_of(dtype: str, width: int, seed: int) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        found = rng.normal(size=(8, width)).astype(kind)
        with np.errstate(over="ignore", under="ignore"):
            found[rng.random((8, width)) < 0.2] = rng.choice(np.array(SPECIAL).astype(kind))
        return found
    info = np.iinfo(kind)
    return rng.integers(info.min, info.max, (8, width), kind, endpoint=True)


def start_of(function: Any, dtype: str, width: int) -> list[NDArray[Any]]:
    """Return what the results are before: sums, or a row."""
    if "keep" in function.__name__:
        return [rows_of(dtype, width, 1)[0].copy()]
    if "int" in function.__name__:
        return [np.arange(width, dtype="i4" if np.dtype(dtype).itemsize <= 2 else "i8")]
    means = [np.linspace(0, 1, width)] if "square" in function.__name__ else []
    return [*means, np.linspace(0, 1, width), np.zeros(width)]


@pytest.mark.parametrize(
    ("name", "dtypes"),
    [
        ("add_float", ["f4", "f8", "u8"]),
        ("add_int", ["i1", "u2", "i8"]),
        ("add_square", ["f8", "u1"]),
        ("keep_least", ["f4", "f8", "u1", "i4"]),
        ("keep_greatest", ["f8", "i1"]),
    ],
)
def test_vectors_do_what_python_does(name: str, dtypes: list[str]) -> None:
    many, one = getattr(cv, f"{name}_rows"), getattr(cv, f"{name}_row")

    @numba.njit
    def of_one(x: Any, places: Any, ahead: Any, results: Any) -> None:
        many(x, places, ahead, results[0])
        one(x, places, 0, results[0])

    @numba.njit
    def of_two(x: Any, places: Any, ahead: Any, results: Any) -> None:
        many(x, places, ahead, results[0], results[1])
        one(x, places, 0, results[0], results[1])

    @numba.njit
    def of_three(x: Any, places: Any, ahead: Any, results: Any) -> None:
        many(x, places, ahead, results[0], results[1], results[2])
        one(x, places, 0, results[0], results[1], results[2])

    compiled = {4: of_one, 5: of_two, 6: of_three}[many.__code__.co_argcount]
    for dtype in dtypes:
        for width in (1, 7, 8, 15, 64, 77, 130):
            rows = rows_of(dtype, width + 3, width)
            places = np.arange(8) * (width + 3) + 2
            theirs, ours = (start_of(many, dtype, width) for _ in range(2))
            with np.errstate(all="ignore"):
                many(rows.ravel(), places, 0, *theirs)
                one(rows.ravel(), places, 0, *theirs)
            compiled(rows.ravel(), places, 5, tuple(ours))
            for mine, other in zip(ours, theirs, strict=True):
                nan = np.isnan(other)
                np.testing.assert_array_equal(np.isnan(mine), nan)
                assert mine[~nan].tobytes() == other[~nan].tobytes()


def test_extremes_of_large_integers_are_exact_in_python() -> None:
    rows = np.array([1 << 62 | 1, 1 << 62 | 3])
    least, greatest = rows[1:].copy(), rows[:1].copy()
    cv.keep_least_rows(rows, np.arange(2), 0, least)
    cv.keep_greatest_rows(rows, np.arange(2), 0, greatest)
    assert [*least, *greatest] == rows.tolist()
