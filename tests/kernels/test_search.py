"""Counting and finding against numpy and `re`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from samples import DTYPES, LAYOUTS

import mmapio
from mmapio import kernels
from mmapio.errors import ArgumentError, ArgumentTypeError
from mmapio.kernels import _match_bits, _search
from mmapio.kernels.engine import pieces

VALUES = [-1, 0, 1, 2, 0.5, -0.0, True, 300, 2**31, 2**63, 2**70, 1e300, math.nan, math.inf]


def few_values(dtype: np.dtype[Any], shape: tuple[int, ...], seed: int = 0) -> NDArray[Any]:
    """Return many equal items, and the greatest and least of the type."""
    a = np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype.newbyteorder("="))
    if dtype.kind in "iu":
        a[a == 3] = np.iinfo(dtype).max
        a[a == 2] = np.iinfo(dtype).min
    elif dtype.kind == "f":
        a[a == 3] = np.nan
        a[a == 2] = -0.0
    return a.astype(dtype)


def places(a: NDArray[Any], value: Any) -> list[int]:
    try:
        with np.errstate(all="ignore"):
            return np.flatnonzero(np.equal(a, value)).tolist()
    except OverflowError:  # bool and 2**70: for numpy an error, and for other types not
        return []


def check(a: NDArray[Any], value: Any, **options: Any) -> None:
    expected = places(a, value)
    found = kernels.find_all(a, value, **options)
    assert found.dtype == np.int64
    assert found.tolist() == expected
    assert kernels.find(a, value, **options) == (expected[0] if expected else -1)
    assert kernels.count(a, value, **options) == len(expected)
    assert kernels.count_nonzero(a, **options) == np.count_nonzero(a)


@contextmanager
def small_pieces(items: int, itemsize: int = 1) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_DIRECT_BYTES", items * itemsize)
        patch.setattr(pieces, "_COPIED_ITEMS", items)
        yield


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_dtype_in_any_layout(dtype: np.dtype[Any], layout: str) -> None:
    a = LAYOUTS[layout](few_values(dtype, (67, 131)))
    for value in [*VALUES, a[40, 50], a[-1, -1].item()]:
        check(a, value)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2), (5, 3, 7)])
def test_any_shape(dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    for value in VALUES:
        check(few_values(dtype, (1, *shape))[0], value)


@settings(max_examples=300)
@given(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9),
            elements=hnp.from_dtype(dtype),
            fill=st.just(dtype.type(1)),
        )
    ),
    st.data(),
    st.integers(1, 50),
    st.integers(1, 4),
)
def test_any_values_in_pieces_of_any_size(
    a: NDArray[Any], data: st.DataObject, items: int, threads: int
) -> None:
    here = a.reshape(-1).tolist()
    value = data.draw(st.sampled_from(here + [0, 1]) | st.integers() | st.floats())
    with small_pieces(items, a.itemsize):
        check(a, value, threads=threads)
        check(a.T, value, threads=threads)


def test_a_numpy_scalar_is_not_rounded_and_a_python_float_is() -> None:
    a = np.array([0.1, 0.5], "f4")
    for value in (0.1, np.float64(0.1), np.float32(0.1), np.float64(0.5), np.int8(0)):
        check(a, value)
    assert kernels.count(a, 0.1) == 1
    assert kernels.count(a, np.float64(0.1)) == 0


def test_large_integers_are_compared_exactly() -> None:
    a = np.array([2**53, 2**53 + 1, 2**63 - 1])
    assert kernels.find_all(a, 2**53 + 1).tolist() == [1]
    assert kernels.find_all(a, float(2**53)).tolist() == [0]
    for dtype in ("i8", "u8"):
        for value in (2.0**53, np.float64(2**53), np.float32(2**53)):
            assert kernels.count(a.astype(dtype), value) == 1 < np.count_nonzero(a == 2.0**53)
        assert kernels.count(a.astype(dtype), 2.0**63) == 0 < np.count_nonzero(a == 2.0**63)
    assert kernels.find(a, 2.0**63) == -1


def test_long_arrays_with_matches_everywhere() -> None:
    for value in (0, 1):
        check(np.zeros(3_000_001, "u1"), value)
    a = np.zeros(3_000_000, "i2")
    a[[0, 1023, 1024, 2_999_999]] = 7
    check(a, 7)


def test_a_search_ends_soon(tmp_path: Path) -> None:
    """It does not look at the rest of a file, which would take longer than a test may."""
    path = tmp_path / "sparse"
    try:
        with open(path, "wb") as file:
            file.write(b"\1")
            file.truncate(4 << 40)
        a = mmapio.open(path, dtype="u1")
    except OSError as error:
        pytest.skip(f"no file of 4 TiB can be mapped here: {error}")
    assert kernels.find(a, 1) == 0
    assert kernels.find(a, b"\1\0") == 0


def test_the_first_wins_whichever_thread_is_faster() -> None:
    a = np.zeros(100_000, "u1")
    a[50_000:] = 1
    with small_pieces(100):
        for _ in range(50):
            assert kernels.find(a, 1, threads=4) == 50_000
            assert kernels.find(a, b"\1\1", threads=4) == 50_000


# Items that others change meanwhile ---------------------------------------------------------------


@pytest.fixture
def fading(monkeypatch: pytest.MonkeyPatch) -> NDArray[Any]:
    """Return ones that are zeros as soon as a block of them was counted."""
    a = np.ones(10_000, "u1")

    def count_and_change(x: NDArray[Any], value: Any) -> int:
        counted = int(np.count_nonzero(x == value))
        x[:] = 0
        return counted

    monkeypatch.setattr(_search, "_count_in_block", count_and_change)
    return a


def test_a_match_that_is_gone_is_none(fading: NDArray[Any]) -> None:
    assert _search._first_in_blocks(fading, 1) == -1


def test_places_are_those_of_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of no earlier count, for which there might not be room."""
    a = np.zeros(10_007, "u1")
    a[5::3] = 1
    expected = np.flatnonzero(a)

    def mark_and_change(x: NDArray[Any], value: Any, bits: NDArray[Any]) -> int:
        done = mark(x, value, bits)
        x[: done - 50] = 1
        return done

    mark = _match_bits.mark_whole_words
    monkeypatch.setattr(_match_bits, "mark_whole_words", mark_and_change)
    with np.errstate(over="ignore"):
        assert _match_bits.places_equal(a, np.uint8(1)).tolist() == expected.tolist()


@pytest.mark.parametrize("density", [0.02, 0.5, 1])
def test_places_that_have_no_room_are_left_out(density: float) -> None:
    marked = np.random.default_rng(0).random(64 * 50) < density
    places = 7 + np.flatnonzero(marked)
    bits = np.packbits(marked, bitorder="little").view(np.uint64)
    for room in (0, 1, 8, 20, places.size - 1, places.size, places.size + 3):
        for write in (_match_bits.write_places, _match_bits.places_of):
            out = np.full(room + 80, -1)
            written = write(bits, 7, out[:room])
            assert written == min(room, places.size)
            assert out[:written].tolist() == places[:written].tolist()
            assert (out[room:] == -1).all()


@pytest.mark.parametrize("count", [0, 1, 3, 50, 4000])
def test_few_and_many_places_in_pieces(count: int) -> None:
    a = np.zeros(4000, "u1")
    a[np.random.default_rng(0).permutation(4000)[:count]] = 7
    with small_pieces(1000):
        check(a, 7)
        check_pattern(a, b"\7")
        check_pattern(a, b"\7\7")


# Patterns of bytes ------------------------------------------------------------------------------


def check_pattern(a: NDArray[Any], pattern: bytes, **options: Any) -> None:
    text = a.tobytes()
    expected = [m.start() for m in re.finditer(b"(?=" + re.escape(pattern) + b")", text)]
    assert kernels.find_all(a, pattern, **options).tolist() == expected
    assert kernels.find(a, pattern, **options) == text.find(pattern)


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from([0, 1, 255]), max_size=300),
    st.lists(st.sampled_from([0, 1, 255]), min_size=1, max_size=9),
    st.integers(1, 40),
    st.integers(1, 4),
    st.sampled_from(["u1", "i1"]),
)
def test_any_pattern_in_pieces_of_any_size(
    text: list[int], pattern: list[int], items: int, threads: int, dtype: str
) -> None:
    with small_pieces(items):
        check_pattern(np.array(text, "u1").view(dtype), bytes(pattern), threads=threads)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [1, 2, 7, 100, 1000, 5000])
def test_patterns_in_any_layout(layout: str, size: int) -> None:
    a = LAYOUTS[layout](np.random.default_rng(0).integers(0, 3, (67, 131)).astype("u1"))
    pattern = a.tobytes()[3000 : 3000 + size]
    for items in (50, 1 << 16):
        with small_pieces(items):
            check_pattern(a, pattern)


@pytest.mark.parametrize("size", [2, 10, 1000, 20_000])
def test_patterns_over_the_ends_of_pieces(size: int) -> None:
    a = np.random.default_rng(0).integers(0, 256, 3 << 20).astype("u1")
    with small_pieces(1 << 20):
        items = pieces.Pieces(a, unit=16 * size).items
        for border in (items, 2 * items):
            for start in (border - size, border - size + 1, border - size // 2, border - 1, border):
                if start + size <= a.size:
                    check_pattern(a, a[start : start + size].tobytes())


def test_occurrences_overlap() -> None:
    a = np.zeros(1000, "u1")
    assert kernels.find_all(a, b"\0" * 10).tolist() == list(range(991))


def test_a_pattern_longer_than_the_text() -> None:
    check_pattern(np.zeros(5, "u1"), b"\0" * 6)
    check_pattern(np.zeros(0, "u1"), b"\0")


@pytest.mark.parametrize("text", [b"a", b"ab", b"aab"])
def test_no_text_takes_more_than_linear_time(text: bytes) -> None:
    """Comparing 100,000 bytes at each of 2,000,000 places would take longer than a test may."""
    whole = np.frombuffer(text * (2_000_000 // len(text)), "u1")
    pattern = whole[:100_000].tobytes()
    found = kernels.find_all(whole, pattern)
    assert found.tolist() == list(range(0, whole.size - len(pattern) + 1, len(text)))
    for at in (0, 50_000, 99_998):
        broken = bytearray(pattern)
        broken[at] = ord("x")
        assert kernels.find(whole, bytes(broken)) == -1


def test_the_result_may_be_longer_than_the_room_for_it() -> None:
    a = np.zeros(200_000, "u1")
    assert kernels.find_all(a, b"\0\0\0").tolist() == list(range(199_998))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_kinds_of_bytes(kind: Any) -> None:
    assert kernels.find(np.frombuffer(b"needle in hay", "u1"), kind(b"in")) == 7


# Arguments --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["c16", "g", "S3", "O", "f8,i4"])
@pytest.mark.parametrize("name", ["count", "find", "find_all"])
def test_what_is_no_number_is_refused(name: str, dtype: str) -> None:
    with pytest.raises(ArgumentTypeError, match=f"{name} needs bool, integers or floats"):
        getattr(kernels, name)(np.zeros(3, dtype), 0)
    with pytest.raises(ArgumentTypeError, match="count_nonzero needs bool"):
        kernels.count_nonzero(np.zeros(3, dtype))


@pytest.mark.parametrize("value", ["a", None, 1j, [1], np.array([1, 2])])
def test_values_are_real_numbers(value: Any) -> None:
    for function in (kernels.count, kernels.find, kernels.find_all):
        with pytest.raises(ArgumentTypeError, match="a value must be a real number, and"):
            function(np.zeros(3), value)


def test_patterns_are_for_bytes() -> None:
    for dtype in ("i2", "?", "f8"):
        with pytest.raises(ArgumentTypeError, match=r"bytes are found in arrays of uint8 or int8"):
            kernels.find(np.zeros(3, dtype), b"a")
    with pytest.raises(ArgumentError, match="the pattern to find is empty"):
        kernels.find_all(np.zeros(3, "u1"), b"")


# Inside kernels ---------------------------------------------------------------------------------


@numba.njit
def everything(a: Any, value: Any) -> Any:
    return (
        kernels.find(a, value),
        kernels.find_all(a, value),
        kernels.count(a, value),
        kernels.count_nonzero(a),
    )


@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "i8", "u8", "?"])
def test_the_same_inside_kernels(dtype: str) -> None:
    a = few_values(np.dtype(dtype), (67, 131))
    # Each layout is compiled anew, which takes seconds: one dtype has them all.
    others = (np.asfortranarray(a), a[::2, ::-3], a[3], a[:, 3]) if dtype == "f4" else ()
    for array in (a, a[:0], *others):
        for value in (0, 1, 77):
            first, every, count, nonzero = everything(array, value)
            assert first == kernels.find(array, value)
            assert every.tolist() == places(array, value)
            assert count == len(every)
            assert nonzero == np.count_nonzero(array)


@numba.njit
def patterns(a: Any, pattern: Any) -> Any:
    return kernels.find(a, pattern), kernels.find_all(a, pattern), kernels.find(a, b"\x01\x02")


def test_patterns_inside_kernels() -> None:
    a = np.random.default_rng(0).integers(0, 3, 50_000).astype("u1")
    for pattern in (a[777:780], a[40_000:40_100], np.full(3, 9, "u1")):
        first, every, fixed = patterns(a, pattern)
        assert first == a.tobytes().find(pattern.tobytes())
        assert every.tolist() == kernels.find_all(a, pattern.tobytes()).tolist()
        assert fixed == a.tobytes().find(b"\1\2")
    with pytest.raises(ArgumentError, match="the pattern to find is empty"):
        patterns(a, a[:0])
    with pytest.raises(ArgumentTypeError, match="looks for bytes in arrays of uint8"):
        patterns(a.view("i1"), a[:3])


@pytest.mark.parametrize("kind", ["?", "u1", "i1", "u2", "f4", "f8"])
@pytest.mark.parametrize("step", [0, 2, 5, -1])
def test_every_item_that_lies_apart_may_match(kind: str, step: int) -> None:
    for size in (255, 256, 1000, 20_000):
        items = np.ones(size * max(abs(step), 1), kind)
        a = items[::step] if step else np.broadcast_to(items[:1], size)
        assert kernels.count(a, 1) == kernels.count_nonzero(a) == size
        assert kernels.find(a, 1) == 0
        assert kernels.find_all(a, 1).size == size
