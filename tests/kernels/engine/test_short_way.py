"""Tests of the short way: it is gone where it may be, and what is found is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import kernels
from mmapio.errors import ArgumentTypeError
from mmapio.kernels.engine import short_way
from mmapio.kernels.engine.short_way import lone_piece, seen_as, shortly

_SEEN = seen_as({"f8": "f8", "u4": "i4"})
_SCANS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "sum": (kernels.sum, ()),
    "mean": (kernels.mean, ()),
    "min": (kernels.min, ()),
    "max": (kernels.max, ()),
    "minmax": (kernels.minmax, ()),
    "argmin": (kernels.argmin, ()),
    "argmax": (kernels.argmax, ()),
    "count_nonzero": (kernels.count_nonzero, ()),
    "count": (kernels.count, (3,)),
    "count of a fraction": (kernels.count, (0.1,)),
    "count below": (kernels.count, (-1,)),
    "find": (kernels.find, (3,)),
    "find beyond": (kernels.find, (1 << 70,)),
    "find infinity": (kernels.find, (np.inf,)),
    "find_all": (kernels.find_all, (3,)),
    "find_all of a fraction": (kernels.find_all, (0.5,)),
}
_ARRAYS = {
    **{kind: np.array([3, 0, 1, 3, 100]).astype(kind) for kind in "?bhilqBHILQefd"},
    "wrapping": np.full(5, 2**64 - 1, "u8"),
    "overflowing": np.array([1e308, 1e308, -1e308]),
    "NaN": np.array([1.0, np.nan, 3.0]),
    "zeros": np.array([0.0, -0.0], "f4"),
    "0-d": np.array(3.0),
    "2-d": np.arange(6).reshape(2, 3),
    "F order": np.array([[3.1, 0.7, 0.2], [9.0, 3.0, -0.5]], order="F"),
    "swapped": np.arange(6, dtype=">i4"),
    "strided": np.arange(6)[::2],
    "metadata": np.arange(6.0).astype(np.dtype("f8", metadata={"unit": "m"})),
}


def _same(one: Any, other: Any) -> bool:
    """Compare with the types, and with the signs of zeros."""
    return type(one) is type(other) and repr(one) == repr(other)


@pytest.mark.parametrize("name", _SCANS)
def test_what_is_found_is_what_the_scan_finds(name: str) -> None:
    scan, others = _SCANS[name]
    for array in _ARRAYS.values():
        assert _same(scan(array, *others), scan(array, *others, threads=1)), array


def test_one_stretch_of_native_memory_goes_the_short_way() -> None:
    for array in (np.arange(4.0), np.ones((2, 2)), np.array(1.0), np.arange(4, dtype="u4")):
        piece = lone_piece(array, _SEEN)
        assert piece is not None
        assert (piece.ndim, piece.size, piece.flags.writeable) == (1, array.size, False)
        assert piece.dtype == _SEEN[array.dtype]
        assert np.shares_memory(piece, array)
        assert array.flags.writeable


def test_f_order_is_as_good_where_no_order_matters() -> None:
    array = np.arange(6.0).reshape(2, 3, order="F")
    piece = lone_piece(array, _SEEN)
    assert piece is not None
    assert piece.tolist() == [0, 1, 2, 3, 4, 5]
    assert lone_piece(array, _SEEN, ordered=True) is None


def test_arrays_of_mappings_go_it_too() -> None:
    with mmapio.anonymous(5, "f8") as a:
        piece = lone_piece(a, _SEEN)
        assert type(piece) is np.ndarray
        assert np.shares_memory(piece, a)
        assert kernels.sum(a) == 0
        del piece


def test_so_do_rows_of_items_that_lie_apart() -> None:
    many = np.arange(5.0)
    for array, ordered in ((many[::2], False), (many[::-1], True), (many[::-2], True)):
        piece = lone_piece(array, _SEEN, ordered)
        assert piece is not None
        assert piece.tolist() == array.tolist()
        assert not piece.flags.writeable
    assert lone_piece(many[::-2], _SEEN).tolist() == [0, 2, 4]
    assert lone_piece(np.broadcast_to(many[:1], 1 << 20), _SEEN) is None


def test_all_else_goes_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    unaligned = np.zeros(33, "u1")[1:].view("f8")
    many = np.arange(5.0)
    others = [[1.0], many[::2].astype("f2")[::2], many.astype(">f8"), unaligned, many.view("i8")]
    assert [lone_piece(other, _SEEN) for other in [*others, many[:0]]] == [None] * 6
    monkeypatch.setattr(short_way.pieces, "_DIRECT_BYTES", 32)
    assert lone_piece(many, _SEEN) is None


def test_options_are_for_the_scan() -> None:
    scan = shortly(lambda piece, a: "short", _SEEN)(lambda a, axis=None: f"axis {axis}")
    a = np.arange(3.0)
    assert [scan(a), scan(a, 0), scan(a, axis=1)] == ["short", "axis 0", "axis 1"]
    assert scan(a=a) == "axis None"


def test_masks_and_strange_values_are_refused_as_before() -> None:
    with pytest.raises(ArgumentTypeError, match="masks"):
        kernels.min(np.ma.array([1.0]))
    with pytest.raises(ArgumentTypeError, match="real number"):
        kernels.count(np.arange(3.0), "3")


def test_a_value_warns_of_nothing() -> None:
    with np.errstate(all="raise"):
        for value in (1e300, 1e-300, np.nan, -np.inf, 1 << 200, 0.1):
            for kind in ("f4", "f8", "i4"):
                assert kernels.find(np.full(3, 7, kind), value) == -1
