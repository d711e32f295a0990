"""Bounds, page rounding and shapes."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmapio._validation import (
    LARGEST,
    as_count,
    as_nbytes,
    as_positive,
    as_shape,
    bounded,
    fitting_shape,
    full_shape,
    round_down,
    round_up,
    steps,
)
from mmapio.errors import ArgumentError, ArgumentTypeError, FormatError, OutOfBoundsError

INTEGERS = [np.dtype(code).type for code in np.typecodes["AllInteger"]]
NO_INTEGERS = [None, 1.0, np.float64(1), "1", b"1", 1j, [1], object(), np.bool_(True)]

values = st.integers(0, LARGEST)
units = st.integers(1, 1 << 30)


@given(values, units)
def test_rounding_gives_the_nearest_multiples(value: int, step: int) -> None:
    down, up = round_down(value, step), round_up(value, step)
    assert down % step == up % step == 0
    assert value - step < down <= value <= up < value + step


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 30))
def test_steps_follow_each_other_from_start_to_stop(start: int, stop: int, step: int) -> None:
    found = list(steps(start, stop, step))
    assert [at for low, high in found for at in range(low, high)] == list(range(start, stop))
    assert all(high - low == step for low, high in found[:-1])
    assert all(0 < high - low <= step for low, high in found)


@pytest.mark.parametrize("kind", INTEGERS)
def test_an_integer_of_any_width_is_a_count(kind: Any) -> None:
    count = as_count(kind(100), "size")
    assert (count, type(count)) == (100, int)


@pytest.mark.parametrize("kind", [np.uint64, int])
def test_a_count_too_large_for_an_address_is_refused(kind: Any) -> None:
    assert as_count(kind(LARGEST), "size") == LARGEST
    with pytest.raises(ArgumentError, match=f"size {LARGEST + 1} is larger than any file"):
        as_count(kind(LARGEST + 1), "size")


@pytest.mark.parametrize("kind", [int, np.int8, np.int64])
def test_a_negative_count_is_refused(kind: Any) -> None:
    with pytest.raises(ArgumentError, match="offset must be 0 or more, got -1"):
        as_count(kind(-1), "offset")


@pytest.mark.parametrize("value", [0, -1, np.int8(-1)])
def test_what_is_less_than_one_is_refused(value: Any) -> None:
    with pytest.raises(ArgumentError, match=f"rows must be 1 or more, got {value}"):
        as_positive(value, "rows")


def test_what_is_one_or_more_is_an_int() -> None:
    assert [as_positive(value, "rows") for value in (1, np.uint64(LARGEST))] == [1, LARGEST]
    with pytest.raises(ArgumentError, match="is larger than any file"):
        as_positive(LARGEST + 1, "rows")
    with pytest.raises(ArgumentTypeError, match="rows must be an integer, got 'float'"):
        as_positive(1.0, "rows")


@pytest.mark.parametrize("value", NO_INTEGERS)
def test_what_is_no_integer_is_no_count(value: object) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        as_count(value, "size")
    assert str(caught.value) == f"size must be an integer, got '{type(value).__name__}'"


@given(st.integers(-2, 70), st.none() | st.integers(-2, 70), st.integers(0, 64))
def test_a_range_is_within_its_bounds_or_refused(
    offset: int, length: int | None, size: int
) -> None:
    end = size if length is None else offset + length
    if offset < 0 or (length is not None and length < 0):
        with pytest.raises(ArgumentError):
            bounded(offset, length, size)
    elif offset > size or end > size:
        with pytest.raises(OutOfBoundsError):
            bounded(offset, length, size)
    else:
        assert bounded(offset, length, size) == (offset, end - offset)


def test_a_range_that_would_overflow_is_refused() -> None:
    message = f"offset 8 \\+ length {LARGEST} = {LARGEST + 8} reaches past the end, at 16 bytes"
    with pytest.raises(OutOfBoundsError, match=message):
        bounded(8, LARGEST, 16)


@pytest.mark.parametrize(
    ("shape", "items"),
    [
        (3, (3,)),
        (np.int16(3), (3,)),
        ((), ()),
        ([2, 3], (2, 3)),
        ((np.uint8(2), np.int64(-1)), (2, -1)),
        (np.array([4, 5]), (4, 5)),
        (iter((1, 2)), (1, 2)),
    ],
)
def test_a_shape_is_a_tuple_of_plain_integers(shape: object, items: tuple[int, ...]) -> None:
    found = as_shape(shape)
    assert found == items
    assert all(type(item) is int for item in found)


@pytest.mark.parametrize("shape", [None, 1.5, "12", (1, 2.0), ("1",), object()])
def test_what_is_no_shape_is_refused(shape: object) -> None:
    with pytest.raises(ArgumentTypeError, match="shape must be an integer or a sequence of int"):
        as_shape(shape)


@pytest.mark.parametrize("shape", [-2, (-1, -1), (3, -7)])
def test_a_negative_dimension_is_refused(shape: object) -> None:
    with pytest.raises(ArgumentError, match="has a negative dimension"):
        full_shape(shape, 1)
    with pytest.raises(ArgumentError, match="has a negative dimension"):
        fitting_shape(shape, 1, 100)


def test_a_full_shape_leaves_nothing_open() -> None:
    assert full_shape((2, 0, 3), 8) == (2, 0, 3)
    with pytest.raises(ArgumentError, match=r"shape \(-1, 2\) has a negative dimension"):
        full_shape((-1, 2), 8)


@pytest.mark.parametrize("shape", [(LARGEST // 8 + 1,), (1 << 32, 1 << 32), (0, 1 << 62)])
def test_a_shape_that_overflows_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="overflows 64-bit sizes"):
        full_shape(shape, 8)


def test_the_largest_shape_is_allowed() -> None:
    assert full_shape((LARGEST,), 1) == (LARGEST,)


@given(st.integers(1, 8), st.integers(0, 100), st.integers(1, 5))
def test_a_dimension_left_open_takes_all_there_is(itemsize: int, count: int, width: int) -> None:
    available = itemsize * count * width
    assert fitting_shape((-1, width), itemsize, available) == (count, width)
    assert fitting_shape((width, -1), itemsize, available) == (width, count)
    assert math.prod(fitting_shape(None, itemsize, available)) * itemsize == available


def test_a_shape_may_leave_bytes_over() -> None:
    assert fitting_shape((2, 3), 4, 100) == (2, 3)


@pytest.mark.parametrize(
    ("shape", "available", "message"),
    [
        (None, 10, "10 bytes are not a multiple of the 4 bytes of one item"),
        (-1, 10, "10 bytes are not a multiple of the 4 bytes of one item"),
        ((-1, 3), 16, r"16 bytes are not a multiple of the 12 bytes of one row of shape \(-1, 3\)"),
        ((5,), 16, r"shape \(5,\) of 4-byte items needs 20 bytes, but only 16 are there"),
    ],
)
def test_a_shape_that_does_not_fit_says_both_sizes(
    shape: object, available: int, message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        fitting_shape(shape, 4, available)


def test_an_open_dimension_beside_a_zero_cannot_be_derived() -> None:
    with pytest.raises(ArgumentError, match="-1 cannot be derived beside a 0"):
        fitting_shape((-1, 0), 4, 16)


# Numbers of bytes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (4096, 4096),
        ("4096", 4096),
        ("1 B", 1),
        ("64 KiB", 65536),
        ("64KB", 64_000),
        ("1.5 MiB", 3 << 19),
        ("64 GiB", 64 << 30),
        ("7 EiB", 7 << 60),
        ("1 PB", 10**15),
    ],
)
def test_a_number_of_bytes_can_have_a_unit(value: object, expected: int) -> None:
    assert as_nbytes(value, "capacity") == expected


@pytest.mark.parametrize(
    "value",
    ["", "GiB", "1 gib", "1 K", "one", "-1", "-1 KiB", "8 EiB", "1e400 B", "nan", "1 GiB x"],
)
def test_what_is_no_number_of_bytes_is_refused(value: str) -> None:
    with pytest.raises(ArgumentError, match="capacity"):
        as_nbytes(value, "capacity")


@pytest.mark.parametrize("value", [1.5, None, b"1", [1]])
def test_a_number_of_bytes_is_an_integer_or_text(value: object) -> None:
    with pytest.raises(ArgumentTypeError, match="capacity must be an integer"):
        as_nbytes(value, "capacity")


@pytest.mark.parametrize(
    "make",
    [
        lambda: (2, 3),
        lambda: [2, 3],
        lambda: range(2, 4),
        lambda: iter([2, 3]),
        lambda: (n for n in (2, 3)),
        lambda: map(int, ["2", "3"]),
        lambda: np.array([2, 3], "u2"),
        lambda: (np.int8(2), np.array(3)),
        lambda: {2: "a", 3: "b"}.keys(),
    ],
)
def test_a_shape_may_be_anything_with_an_order(make: Any) -> None:
    assert as_shape(make()) == (2, 3)


@pytest.mark.parametrize("shape", [5, np.int16(5), np.array(5), np.array([5]), [5]])
def test_a_shape_may_be_one_integer(shape: Any) -> None:
    assert as_shape(shape) == (5,)


@pytest.mark.parametrize(
    "shape",
    [
        *[None, True, np.True_, np.array(True), (True, 2), (2, np.True_), np.array([True])],
        *["25", b"25", bytearray(b"25"), memoryview(b"25"), ("2", "5"), np.array(["2"])],
        *[2.0, (2.0,), np.array([2.0]), np.array(2.0), {2, 5}, {2: 5}, frozenset({2})],
        *[[[2]], np.array([[2]]), (None,), object()],
    ],
)
def test_a_shape_of_what_is_no_integer_is_refused(shape: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="shape must be an integer or a sequence"):
        as_shape(shape)


def test_a_shape_without_an_end_is_refused() -> None:
    with pytest.raises(ArgumentError, match="more than 64 dimensions"):
        as_shape(itertools.count())


def test_what_a_users_iterator_raises_is_the_users() -> None:
    def fail() -> Any:
        yield 2
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        as_shape(fail())
