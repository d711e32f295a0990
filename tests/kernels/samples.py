"""Arrays of numbers that tests of several modules share, and how close results must be."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from mmapio.kernels.engine import pieces
from mmapio.kernels.statistics import _boxes

FLOATS = ["f2", "f4", "f8"]
DTYPES = [
    np.dtype(order + name)
    for order, name in itertools.product("<>", [*FLOATS, "i2", "i4", "i8", "u2", "u4", "u8"])
] + [np.dtype(name) for name in ("i1", "u1", "?")]
LAYOUTS = {
    "C": lambda a: a,
    "F": lambda a: np.asfortranarray(a),
    "strided": lambda a: np.repeat(np.repeat(a, 2, 0), 3, 1)[::2, ::3],
    "reversed": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "turned": lambda a: a.T[:, ::-1],
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "unaligned": lambda a: _unaligned(a),
    "read-only": lambda a: _read_only(a),
}


def _unaligned(a: NDArray[Any]) -> NDArray[Any]:
    room = np.zeros(a.nbytes + 1, "u1")
    out = room[1:].view(a.dtype).reshape(a.shape)
    out[...] = a
    return out


def _read_only(a: NDArray[Any]) -> NDArray[Any]:
    a = a.copy()
    a.flags.writeable = False
    return a


def sample(dtype: np.dtype[Any], shape: tuple[int, ...], seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    if dtype.kind == "f":
        return (rng.normal(size=shape) * 100).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    info = np.iinfo(dtype)
    native = dtype.newbyteorder("=")
    return rng.integers(info.min, info.max, shape, native, endpoint=True).astype(dtype)


def wide(a: NDArray[Any]) -> NDArray[Any]:
    """Return floats as float64, in which the kernels add them; the rest as numpy adds it."""
    return a.astype("f8") if a.dtype.kind == "f" else a


def close(ours: Any, theirs: Any, scale: Any) -> None:
    """Agree but for a few roundings of terms that add up to `scale`, in any order."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    finite = np.isfinite(theirs)
    np.testing.assert_array_equal(ours[~finite], theirs[~finite])
    assert (
        abs(ours - theirs)[finite] <= 1e-12 * np.broadcast_to(scale, theirs.shape)[finite]
    ).all()


@contextmanager
def small_pieces(items: int, itemsize: int = 8) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_DIRECT_BYTES", items * itemsize)
        patch.setattr(pieces, "_COPIED_ITEMS", items)
        yield


@contextmanager
def small_boxes(size: int, rows: int = 1, columns: int = 64) -> Iterator[None]:
    """Cut what is reduced along axes into boxes of so many bytes, or copies of so many items."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_boxes, "_BOX_BYTES", size)
        patch.setattr(_boxes, "_COPIED_ITEMS", size)
        patch.setattr(_boxes, "_LEAST_ROWS", rows)
        patch.setattr(_boxes, "_COLUMNS", columns)
        _forget_layouts()
        yield
    _forget_layouts()


def _forget_layouts() -> None:
    _boxes.layout_of.cache_clear()
    _boxes.grid_of.cache_clear()


ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9),
        elements=(
            st.floats(-65504, 65504, width=16) | st.sampled_from([math.nan, math.inf, -math.inf])
            if dtype.kind == "f"
            else None
        ),
    )
)
