"""Tiles of columns: the same as in Python, to the last bit, for any numbers of rows and columns."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from mmapio.kernels.engine import column_tiles
from mmapio.kernels.engine.column_tiles import LEAST_COLUMNS

SPECIAL = [np.nan, np.inf, -np.inf, -0.0, 0.0, 1e300, -1e300, 5e-324]
WIDTHS = [LEAST_COLUMNS, 9, 31, 64, 77, 130, 300]


def items_of(dtype: str, count: int) -> Any:
    rng, kind = np.random.default_rng(count), np.dtype(dtype)
    if kind.kind != "f":
        info = np.iinfo(kind)
        return rng.integers(info.min, info.max, count, kind, endpoint=True)
    found = rng.normal(size=count).astype(kind)
    with np.errstate(over="ignore", under="ignore"):
        found[rng.random(count) < 0.02] = rng.choice(np.array(SPECIAL).astype(kind))
    found[rng.random(count) < 0.1] = -0.0
    return found


@pytest.mark.parametrize(
    ("name", "dtypes"),
    [
        ("add_float", ["f4", "f8"]),
        ("add_int", ["u1", "i2"]),
        ("keep_least", ["f8", "u1"]),
        ("keep_greatest", ["f4", "i8"]),
    ],
)
@pytest.mark.parametrize("kind_of_line", ["columns", "lines"])
def test_tiles_do_what_python_does(name: str, dtypes: list[str], kind_of_line: str) -> None:
    function = getattr(column_tiles, f"{name}_{kind_of_line}")
    compiled = numba.njit(lambda x, start, rows, out: function(x, start, rows, out))
    for dtype in dtypes:
        kind = {"add_float": "f8", "add_int": "i8"}.get(name, dtype)
        for width in WIDTHS:
            for rows in (1, 2, 7, 8, 21):
                x = items_of(dtype, rows * width + 5)
                room = np.full(width + 2, 99, kind)
                theirs = np.empty(width, kind)
                with np.errstate(all="ignore"):
                    function(x, 3, rows, theirs)
                compiled(x, 3, rows, room[1:-1])
                ours, nan = room[1:-1], theirs != theirs
                np.testing.assert_array_equal(ours != ours, nan)
                assert ours[~nan].tobytes() == theirs[~nan].tobytes()
                assert room[0] == room[-1] == 99
