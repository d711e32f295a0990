"""Tests of the short way: it is gone where it may be, and what is found is the same."""

from __future__ import annotations

import os
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mmapio
from mmapio import kernels
from mmapio.errors import ArgumentTypeError, MappingLostError
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
    "find NaN": (kernels.find, (np.nan,)),
    "find a byte": (kernels.find, (np.uint8(3),)),
    "find a double": (kernels.find, (np.float64(0.1),)),
    "find_all": (kernels.find_all, (3,)),
    "find_all beyond": (kernels.find_all, (1 << 70,)),
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
        piece = lone_piece(array)
        assert piece is not None
        assert (piece.ndim, piece.size, piece.dtype) == (1, array.size, array.dtype)
        assert np.shares_memory(piece, array)


def test_f_order_is_as_good_where_no_order_matters() -> None:
    array = np.arange(6.0).reshape(2, 3, order="F")
    piece = lone_piece(array)
    assert piece is not None
    assert piece.tolist() == [0, 1, 2, 3, 4, 5]
    assert lone_piece(array, ordered=True) is None


def test_arrays_of_mappings_go_it_too() -> None:
    taken: list[Any] = []
    scan = shortly(lambda dtype, row: lambda piece: taken.append(piece) or 1, _SEEN)(lambda a: 2)
    with mmapio.anonymous(5, "f8") as a:
        assert (scan(a), kernels.sum(a)) == (1, 0)
        assert type(taken[0]) is np.ndarray
        assert np.shares_memory(taken.pop(), a)


def test_so_do_rows_of_items_that_lie_apart() -> None:
    many = np.arange(5.0)
    for array, ordered in ((many[::2], False), (many[::-1], True), (many[::-2], True)):
        piece = lone_piece(array, ordered)
        assert piece is not None
        assert piece.tolist() == array.tolist()
    assert lone_piece(many[::-2]).tolist() == [0, 2, 4]
    assert lone_piece(np.broadcast_to(many[:1], 1 << 20)) is None


def test_all_else_goes_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = shortly(lambda dtype, row: lambda piece: "short", _SEEN)(lambda a: "long")
    unaligned = np.zeros(33, "u1")[1:].view("f8")
    many = np.arange(5.0)
    others: list[Any] = [[1.0], many.astype(">f8"), unaligned, many.view("i8")]
    assert {scan(other) for other in [*others, many[:0]]} == {"long"}
    assert scan(many) == "short"
    monkeypatch.setattr(short_way.pieces, "_DIRECT_BYTES", 32)
    assert scan(many) == "long"


def test_each_type_is_planned_once() -> None:
    planned: list[Any] = []
    plan = lambda dtype, row: planned.append((dtype, str(row.dtype))) or (lambda piece: "short")  # noqa: E731
    scan = shortly(plan, _SEEN)(lambda a: "long")
    assert [scan(np.ones(2, kind)) for kind in ("u4", "u4", "u2", "f8")] == [
        *("short", "short", "long", "short")
    ]
    assert planned == [("u4", "int32"), ("f8", "float64")]


def test_lost_memory_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    np.arange(5000.0).tofile(path)
    scan = shortly(lambda dtype, row: lambda piece: "short", _SEEN)(lambda a: "long")
    a = mmapio.open(path, dtype="f8")
    os.truncate(path, 100)
    assert a[4000] == 0
    for lost in (a, np.asarray(a)[1000:]):
        with pytest.raises(MappingLostError):
            scan(lost)
    # What others have lost makes nobody's way longer.
    assert scan(np.ones(2)) == "short"


def test_an_error_keeps_no_array() -> None:
    def fail(piece: NDArray[Any]) -> None:
        raise ValueError(piece.size)

    scan = shortly(lambda dtype, row: fail, _SEEN)(lambda a: "long")
    a = np.ones(2)
    is_kept = weakref.ref(a)
    try:
        scan(a)
    except ValueError as error:
        kept = error
    del a
    assert kept.args == (2,)
    assert is_kept() is None or not any(
        isinstance(each, np.ndarray)
        for frame, _ in traceback.walk_tb(kept.__traceback__)
        if "mmapio/kernels" in frame.f_code.co_filename
        for each in frame.f_locals.values()
    )


def test_options_are_for_the_scan() -> None:
    scan = shortly(lambda dtype, row: lambda piece: "short", _SEEN)(
        lambda a, axis=None: f"axis {axis}"
    )
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
