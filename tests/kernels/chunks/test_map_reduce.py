"""`reduce_chunks` and `map_chunks`: what a plain Python loop over the chunks would give."""

from __future__ import annotations

import math
import re
import textwrap
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels_of_users import add, extremes, first, njit, scaled, total
from numpy.typing import NDArray

import mmapio
from mmapio.errors import ArgumentError, ArgumentTypeError, KernelError, ReadOnlyError
from mmapio.kernels.chunks import spans
from mmapio.kernels.chunks.map_reduce import map_chunks, reduce_chunks


@njit
def counts(chunk: Any) -> Any:
    found = np.zeros(256, np.int64)
    for value in chunk:
        found[value] += 1
    return found


@njit
def add_into(x: Any, y: Any) -> Any:
    x += y
    return x


@njit
def ends(chunk: Any) -> Any:
    """With `join`: a result that shows every chunk and their order."""
    return np.int64(1), np.int64(chunk[0]), np.int64(chunk[-1]), True


@njit
def join(x: Any, y: Any) -> Any:
    """Associative, and not commutative."""
    return x[0] + y[0], x[1], y[2], x[3] and y[3] and x[2] + 1 == y[1]


@njit
def words(chunk: Any) -> int:
    """Words in a chunk that neither begins nor ends in one."""
    found, inside = 0, False
    for byte in chunk:
        blank = byte == 10 or byte == 32
        found += inside and blank
        inside = not blank
    return found + inside


@njit
def halves(chunk: Any) -> Any:
    return chunk / 2, chunk / 2


@pytest.fixture(autouse=True)
def many_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut small arrays into many spans, and hand them to the pool."""
    monkeypatch.setattr(spans, "_SPAN_BYTES", 64)
    monkeypatch.setattr(spans, "_FEW_SPANS", 0)


@pytest.fixture(params=["alone", 1, 2, 4])
def threads(
    request: pytest.FixtureRequest, many_spans: None, monkeypatch: pytest.MonkeyPatch
) -> int:
    """Return a number of threads; alone, one does all spans in two calls."""
    if request.param == "alone":
        monkeypatch.setattr(spans, "_FEW_SPANS", 1 << 60)
        monkeypatch.setattr(spans, "_SHORT_NS", 1 << 60)
        return 1
    return int(request.param)


def chunks_of(a: NDArray[Any], chunk: int) -> Iterator[NDArray[Any]]:
    return (a[i : i + chunk] for i in range(0, len(a), chunk))


def sample(dtype: str, size: int, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 120, size).astype(dtype)


# Results ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8", "f4", "f8", "?"])
def test_numbers(dtype: str, threads: int) -> None:
    a = sample(dtype, 1003)
    for chunk in (1, 7, 64, 2000):
        expected = sum(part[0].item() for part in chunks_of(a, chunk))
        init = 0.0 if a.dtype.kind == "f" else 0
        found = reduce_chunks(a, first, add, init, chunk=chunk, threads=threads)
        assert found == expected
        assert type(found) is type(init)


def test_chunks_come_once_and_are_combined_in_order(threads: int) -> None:
    a = np.arange(10_007)
    init = (0, 0, -1, True)
    for chunk in (1, 3, 100, 10_007):
        found = reduce_chunks(a, ends, join, init, chunk=chunk, threads=threads)
        assert found == (-(-a.size // chunk), 0, a.size - 1, True)


def test_arrays_and_an_init_that_stays_as_it_was(threads: int) -> None:
    a = sample("u1", 5000)
    for combine in (add, add_into):
        init = np.ones(256, np.int64)
        found = reduce_chunks(a, counts, combine, init, chunk=33, threads=threads)
        np.testing.assert_array_equal(found, np.bincount(a, minlength=256) + 1)
        assert init.tolist() == [1] * 256


def test_tuples_of_numbers_and_arrays(threads: int) -> None:
    @njit
    def both(chunk: Any) -> Any:
        return len(chunk), counts(chunk)

    @njit
    def add_both(x: Any, y: Any) -> Any:
        return x[0] + y[0], add_into(x[1], y[1])

    a = sample("u1", 1000)
    init = (5, np.zeros(256, np.int64))
    size, table = reduce_chunks(a, both, add_both, init, chunk=9, threads=threads)
    assert size == 1005
    np.testing.assert_array_equal(table, np.bincount(a, minlength=256))
    assert not init[1].any()


class Moments(NamedTuple):
    """Numbers with names: how many, and their sum."""

    size: Any
    total: Any


class Both(NamedTuple):
    """A number and an array with names."""

    moments: Any
    table: Any


def test_named_tuples(threads: int) -> None:
    @njit
    def moments(chunk: Any) -> Any:
        return Moments(len(chunk), float(chunk.sum()))

    @njit
    def add_moments(x: Any, y: Any) -> Any:
        return Moments(x.size + y.size, x.total + y.total)

    @njit
    def both(chunk: Any) -> Any:
        return Both(moments(chunk), counts(chunk))

    @njit
    def add_both(x: Any, y: Any) -> Any:
        return Both(add_moments(x.moments, y.moments), add_into(x.table, y.table))

    a = sample("u1", 1000)
    found = reduce_chunks(a, moments, add_moments, Moments(0, 0.0), chunk=9, threads=threads)
    assert type(found) is Moments
    assert found == (1000, a.sum())
    init = Both(Moments(1, 0.5), np.zeros(256, np.int64))
    found = reduce_chunks(a, both, add_both, init, chunk=9, threads=threads)
    assert type(found) is Both
    assert found.moments == Moments(1001, a.sum() + 0.5)
    np.testing.assert_array_equal(found.table, np.bincount(a, minlength=256))
    assert not init.table.any()
    sizes, totals = np.empty(112), np.empty(112)
    map_chunks(a, moments, Moments(sizes, totals), chunk=9, threads=threads)
    assert (sizes.sum(), totals.sum()) == (1000, a.sum())


def test_records_by_themselves_are_refused_and_arrays_of_one_are_not() -> None:
    """A record in numba is an address: it would be one in the file, or in memory given back."""
    a = np.zeros(100, [("x", "i4"), ("y", "f8")])
    a["x"], a["y"] = np.arange(100), np.arange(100)[::-1]

    @njit
    def largest(chunk: Any) -> Any:
        at = chunk["x"].argmax()
        return chunk[at : at + 1].copy()

    @njit
    def larger(x: Any, y: Any) -> Any:
        return x if x["x"][0] > y["x"][0] else y

    found = reduce_chunks(a, largest, larger, a[:1], chunk=7)
    assert found.tolist() == [(99, 0.0)]
    with pytest.raises(KernelError, match=r"first\(\) returns Record.*; for a record, an"):
        reduce_chunks(a, first, larger, a[:1])
    with pytest.raises(KernelError, match=r"init must be .*; for a record, an array of one"):
        reduce_chunks(a, largest, larger, a[0])


@pytest.mark.parametrize("shape", [(4, 5), (0,), (2, 3, 4)])
def test_arrays_of_any_shape(shape: tuple[int, ...]) -> None:
    a = np.random.default_rng(0).integers(0, 9, (50, *shape)).astype("f8")

    @njit
    def sums(chunk: Any) -> Any:
        total = np.zeros_like(chunk[0])
        for row in chunk:
            total += row
        return total

    found = reduce_chunks(a, sums, add, np.zeros(shape), chunk=7)
    np.testing.assert_array_equal(found, a.sum(axis=0))


@pytest.mark.parametrize(
    "init", [np.float32(0), np.complex128(1j), np.uint64(3), np.timedelta64(5, "s")]
)
def test_types_of_init(init: Any) -> None:
    a = np.ones(50, init.dtype)

    found = reduce_chunks(a, first, add, init, chunk=5)
    assert found == init + a[::5].sum()


@njit
def sums(chunk: Any) -> Any:
    return chunk.sum()


@pytest.mark.parametrize("dtype", ["u1", "i8", "f4", "c8"])
def test_a_number_of_python_is_of_the_kind_of_the_results(dtype: str) -> None:
    a = sample(dtype, 1003)
    for init in (0, 3):
        found = reduce_chunks(a, sums, add, init, chunk=10)
        assert found == a.sum() + init
        assert type(found) is type(a.sum().item())
        assert type(reduce_chunks(a[:0], sums, add, init)) is type(found)


def test_numbers_of_python_in_tuples_and_at_the_edge() -> None:
    a = sample("u1", 1003)
    assert reduce_chunks(np.array([1j]), sums, add, 0.5) == 0.5 + 1j
    assert reduce_chunks(np.array([2**64 - 5], "u8"), sums, add, 4) == 2**64 - 1

    @njit
    def pairs(chunk: Any) -> Any:
        return Moments(len(chunk), chunk.sum())

    @njit
    def add_pairs(x: Any, y: Any) -> Any:
        return Moments(x.size + y.size, x.total + y.total)

    assert reduce_chunks(a, pairs, add_pairs, Moments(0, 0), chunk=9) == (1003, a.sum())


@pytest.mark.parametrize(("dtype", "init"), [("u8", -1), ("f8", 2**53 + 1), ("c16", 2**62 + 1)])
def test_a_number_that_results_cannot_hold(dtype: str, init: int) -> None:
    a = np.zeros(9, dtype)
    for count in (0, 9):
        with pytest.raises(KernelError, match=f"which cannot hold init {init}; convert them"):
            reduce_chunks(a[:count], first, add, init)


@pytest.mark.parametrize("init", [np.int64(0), 2**63, False])
def test_numbers_whose_type_is_meant(init: Any) -> None:
    a = np.zeros(9, "c16" if init is False else "u8" if isinstance(init, np.generic) else "i8")
    with pytest.raises(KernelError, match=r"first\(\) returns .*, but init is"):
        reduce_chunks(a, first, add, init)


def test_no_rows(threads: int) -> None:
    assert reduce_chunks(np.zeros(0), total, add, 3.0, threads=threads) == 3.0
    init = np.arange(256)
    found = reduce_chunks(np.zeros(0, "u1"), counts, add, init)
    np.testing.assert_array_equal(found, init)
    assert not np.may_share_memory(found, init)
    out = np.zeros(0)
    map_chunks(np.zeros(0), scaled, out, args=(2.0,))


LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "C": lambda a: a,
    "F": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, 0)[::2],
    "columns": lambda a: np.repeat(a, 2, 1)[:, ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "broadcast": lambda a: np.broadcast_to(a[0], a.shape),
    "unaligned": lambda a: (
        np.frombuffer(b"x" + a.tobytes(), "u1")[1:].view(a.dtype).reshape(a.shape)
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str, threads: int) -> None:
    a = LAYOUTS[layout](sample("f8", 600).reshape(100, 6))
    found = reduce_chunks(a, total, add, 0.0, chunk=7, threads=threads)
    assert found == a.sum()
    out = np.empty_like(a, subok=False)
    map_chunks(a, scaled, out, chunk=7, args=(2.0,), threads=threads)
    np.testing.assert_array_equal(out, a * 2)


def test_records() -> None:
    a = np.zeros(100, [("x", "i4"), ("y", "f8")])
    a["x"] = np.arange(100)

    @njit
    def xs(chunk: Any) -> int:
        return chunk["x"].sum()

    assert reduce_chunks(a, xs, add, 0, chunk=11) == 4950


def test_mapped_arrays(tmp_path: Any) -> None:
    a = mmapio.create(tmp_path / "a.npy", 1000, "f8")
    a[:] = np.arange(1000)
    assert reduce_chunks(a, total, add, 0.0, chunk=10) == a.sum()
    map_chunks(a, scaled, a, chunk=10, args=(-1.0,))
    np.testing.assert_array_equal(a, -np.arange(1000.0))


def test_float_results_do_not_depend_on_threads() -> None:
    a = np.random.default_rng(0).normal(size=50_000) * 10.0 ** (np.arange(50_000) % 7)
    found = {reduce_chunks(a, total, add, 0.1, chunk=13, threads=n) for n in (1, 2, 3, 8)}
    assert len(found) == 1


def test_arguments_of_the_kernel() -> None:
    @njit
    def inside(chunk: Any, low: Any, table: Any, pair: Any, extra: int = 5) -> int:
        return low + table[1] + pair[1] + extra

    a = np.zeros(10)
    args = (1, np.array([10, 20]), (True, 300))
    assert reduce_chunks(a, inside, add, 0, chunk=10, args=args) == 326
    assert reduce_chunks(a, inside, add, 0, chunk=10, args=(*args, 4000)) == 4321
    assert reduce_chunks(a, inside, add, 0, chunk=10, args=[*args, 4000]) == 4321  # type: ignore[arg-type]


def test_arrays_among_the_arguments_are_read_only() -> None:
    """A kernel that returned one would have `combine` change it."""

    @njit
    def given(chunk: Any, w: Any) -> Any:
        return w

    @njit
    def given_inside(chunk: Any, pair: Any) -> Any:
        return pair.table

    @njit
    def fills(chunk: Any, w: Any) -> Any:
        w[:] = 1
        return chunk[0]

    a, w = np.ones(5), np.ones(3)
    pair = Both(1, w)
    for kernel, arg in ((given, w), (given_inside, pair)):
        with pytest.raises(KernelError, match=r"returns readonly array\(.*; it must return .* new"):
            reduce_chunks(a, kernel, add_into, w.copy(), args=(arg,), chunk=1)
    with pytest.raises(KernelError, match=r"Cannot modify readonly array.*: w\[:\] = 1"):
        map_chunks(a, fills, np.zeros(5), args=(w,), chunk=1)
    assert w.tolist() == [1] * 3
    assert w.flags.writeable


def test_default_chunks() -> None:
    a = np.zeros((300, 1 << 14), "u1")

    @njit
    def rows(chunk: Any) -> int:
        return np.array([len(chunk), 1])

    found = reduce_chunks(a, rows, add, np.zeros(2, np.int64))
    assert found.tolist() == [300, 5]


def test_an_exception_of_the_kernel_is_passed_on(threads: int) -> None:
    @njit
    def fails(chunk: Any) -> int:
        if chunk[0] > 500:
            raise ZeroDivisionError("too large")
        return 1

    with pytest.raises(ZeroDivisionError, match="too large"):
        reduce_chunks(np.arange(1000), fails, add, 0, chunk=3, threads=threads)


# Records ----------------------------------------------------------------------------------------


@njit
def whole(chunk: Any) -> Any:
    """Size, whether all but the last end in a newline, and how many do."""
    return np.array([1, len(chunk), chunk[-1] != 10, np.count_nonzero(chunk == 10)])


@settings(max_examples=150)
@given(
    st.lists(st.integers(0, 70) | st.integers(0, 3), min_size=1, max_size=60),
    st.integers(1, 50),
    st.integers(1, 80),
    st.integers(1, 3),
)
def test_records_are_never_cut(sizes: list[int], chunk: int, span: int, threads: int) -> None:
    text = "\n".join("x" * size for size in sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "_SPAN_BYTES", span)
        data = np.frombuffer(text.encode(), "u1")
        init = np.zeros(4, np.int64)
        found = reduce_chunks(data, whole, add, init, chunk=chunk, threads=threads, delimiter=b"\n")
    pieces, size, unended, newlines = found.tolist()
    assert size == len(text)
    assert newlines == text.count("\n")
    assert unended == (text != "" and text[-1] != "\n")
    assert pieces <= text.count("\n") + 1


def test_words_by_lines(threads: int) -> None:
    lines = [" ".join("w" * (i % 5) for i in range(n % 17)) for n in range(500)]
    text = "\n".join(lines)
    a = np.frombuffer(text.encode(), "S1")
    found = reduce_chunks(a, words, add, 0, chunk=100, threads=threads, delimiter=b"\n")
    assert found == len(text.split())


def test_other_delimiters() -> None:
    a = np.frombuffer(b"one\xfftwo\xffthree", "u1")
    init = np.zeros(4, np.int64)
    assert reduce_chunks(a, whole, add, init, chunk=1, delimiter=b"\xff")[0] == 3


def test_one_record_as_long_as_the_file_is_read_twice_at_most() -> None:
    """Looked through by every span, it would be read thousands of times."""
    a = np.zeros(1 << 23, "u1")
    start = time.process_time()
    found = reduce_chunks(a, total, add, 1.0, chunk=64, delimiter=b"\n")
    assert found == 1
    assert time.process_time() - start < 20


@pytest.mark.parametrize("delimiter", [b"", b"\r\n", "\n", 10])
def test_delimiters_that_are_no_byte(delimiter: Any) -> None:
    with pytest.raises(ArgumentError, match="one byte"):
        reduce_chunks(np.zeros(3, "u1"), first, add, 0, delimiter=delimiter)


@pytest.mark.parametrize("a", [np.zeros(3), np.zeros((2, 2), "u1")])
def test_delimiters_are_for_bytes(a: NDArray[Any]) -> None:
    with pytest.raises(ArgumentError, match="arrays of bytes"):
        reduce_chunks(a, first, add, 0, delimiter=b"\n")


# Maps -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 7, 64, 5000])
def test_a_row_for_each_row(chunk: int, threads: int) -> None:
    a = sample("f8", 1003)
    for out in (np.empty(1003), np.empty(1003, "f4"), np.empty((1003, 2))[:, 0]):
        map_chunks(a, scaled, out, chunk=chunk, args=(0.5,), threads=threads)
        np.testing.assert_array_equal(out, a * 0.5)


def test_a_row_for_each_chunk(threads: int) -> None:
    a = sample("u1", 1003)
    parts = list(chunks_of(a, 10))
    out = np.empty((101, 256), np.int64)
    map_chunks(a, counts, out, chunk=10, threads=threads)
    np.testing.assert_array_equal(out, [np.bincount(part, minlength=256) for part in parts])
    numbers = np.empty(101, "i4")
    map_chunks(a, first, numbers, chunk=10, threads=threads)
    np.testing.assert_array_equal(numbers, a[::10])


def test_a_row_for_each_of_one_row_chunks() -> None:
    """As many chunks as rows: what tells them apart is the number of axes."""
    a = sample("f8", 20).reshape(10, 2)
    out = np.empty((10, 1, 2))
    map_chunks(a, scaled, out, chunk=1, args=(2.0,))
    np.testing.assert_array_equal(out[:, 0], a * 2)


def test_tuples_go_to_tuples(threads: int) -> None:
    @njit
    def three(chunk: Any) -> Any:
        return chunk[0], chunk + 1, counts(chunk)

    a = sample("u1", 1000)
    outs = np.empty(100, "f8"), np.empty(1000, "i4"), np.empty((100, 256), "i8")
    map_chunks(a, three, outs, chunk=10, threads=threads)
    np.testing.assert_array_equal(outs[0], a[::10])
    np.testing.assert_array_equal(outs[1], a + 1)
    np.testing.assert_array_equal(outs[2].sum(axis=0), np.bincount(a, minlength=256))
    lows, highs = np.empty(100, "u1"), np.empty(100, "u1")
    map_chunks(a, extremes, (lows, highs), chunk=10, threads=threads)
    np.testing.assert_array_equal(lows, a.reshape(-1, 10).min(axis=1))
    np.testing.assert_array_equal(highs, a.reshape(-1, 10).max(axis=1))


def test_in_place_and_views_of_the_chunk(threads: int) -> None:
    a = sample("f8", 1000)
    expected = a * 3
    map_chunks(a, scaled, a, chunk=7, args=(3.0,), threads=threads)
    np.testing.assert_array_equal(a, expected)


@pytest.mark.parametrize(
    ("out", "said"),
    [
        (np.empty(9), "out has 9 rows, but there are 10 rows"),
        (np.empty((9, 10)), "out has 9 rows, but there are 2 chunks"),
        (np.empty((2, 4)), r"shape \(5,\) for chunk 0, which does not fit into out, of .*\(2, 4\)"),
        (np.empty((2, 1)), r"shape \(5,\)"),
        (np.empty(()), "must have 2 dimensions, one row for each chunk, or 1, one row for each"),
        (np.empty((2, 5, 1)), "must have 2 dimensions"),
        (np.empty(10, "i8"), "out, of int64, cannot hold"),
        ((np.empty(10),), r"returns array\(float64, 1d, C\), but out is a tuple of 1 arrays"),
    ],
)
def test_an_out_that_does_not_fit(out: Any, said: str) -> None:
    with pytest.raises(KernelError, match=said):
        map_chunks(np.zeros(10), scaled, out, chunk=5, args=(1.0,))


def test_results_that_do_not_fit_together() -> None:
    @njit
    def shorter(chunk: Any) -> Any:
        return chunk[1:] + 0

    with pytest.raises(KernelError, match=r"kernel shorter\(\) returned shape \(4,\) for chunk 0"):
        map_chunks(np.zeros(10), shorter, np.empty(10), chunk=5)
    with pytest.raises(KernelError, match="but out is one array"):
        map_chunks(np.zeros(10), extremes, np.empty(2), chunk=5)
    with pytest.raises(KernelError, match="must have 1 dimensions, one row for each chunk; it"):
        map_chunks(np.zeros(10), first, np.empty((2, 1)), chunk=5)


def test_outs_that_are_refused() -> None:
    a = np.zeros(10)
    fixed = np.zeros(10)
    fixed.flags.writeable = False
    with pytest.raises(ReadOnlyError):
        map_chunks(a, scaled, fixed, args=(1.0,))
    with pytest.raises(ArgumentTypeError, match="array or a tuple of arrays, got 'list'"):
        map_chunks(a, scaled, [np.zeros(10)], args=(1.0,))  # type: ignore[arg-type]
    for out in (a[::-1], np.lib.stride_tricks.as_strided(a, (10,), (0,))):
        with pytest.raises(ArgumentError, match="overlap"):
            map_chunks(a, scaled, out, args=(1.0,))
    both = np.zeros(11)
    with pytest.raises(ArgumentError, match="overlap"):
        map_chunks(both[1:], scaled, both[:-1], args=(1.0,))


def test_outs_that_overlap_each_other_are_refused() -> None:
    a, o = np.arange(10.0), np.zeros(11)
    for outs in ((o[1:], o[1:]), (o[1:], o[:-1]), (a, a)):
        with pytest.raises(ArgumentError, match=r"out\[0\] and out\[1\] overlap"):
            map_chunks(a, halves, outs, chunk=3)
    assert a.tolist() == list(range(10))


def test_columns_of_one_table_may_be_outs_and_the_array() -> None:
    table = np.zeros((10, 3))
    table[:, 0] = np.arange(10)
    map_chunks(table[:, 0], halves, (table[:, 1], table[:, 2]), chunk=3)
    np.testing.assert_array_equal(table[:, 1:], np.repeat(np.arange(10), 2).reshape(10, 2) / 2)


def test_results_are_cast_as_numpy_casts_into_an_out() -> None:
    a, out = np.full(3, 0.1), np.zeros(3, "f4")
    map_chunks(a, scaled, out, args=(1.0,))
    assert out.tolist() == [float(np.float32(0.1))] * 3
    for kind in ("i8", "?"):
        with pytest.raises(KernelError, match="cannot hold"):
            map_chunks(a, scaled, np.zeros(3, kind), args=(1.0,))


@njit
def as_it_is(chunk: Any) -> Any:
    return chunk


@njit
def turned(chunk: Any) -> Any:
    return chunk[::-1]


@njit
def a_row(chunk: Any) -> Any:
    return chunk[1], chunk[:, 1:]


@pytest.mark.parametrize("threads", [1, 3])
def test_views_of_a_chunk_are_stored(threads: int) -> None:
    a = np.arange(2000.0).reshape(1000, 2)
    row, column = np.zeros((100, 2)), np.zeros((1000, 1), "f4")
    map_chunks(a, a_row, (row, column), chunk=10, threads=threads)
    assert row.tolist() == a[1::10].tolist()
    assert column.tolist() == a[:, 1:].tolist()
    copy = np.zeros_like(a)
    map_chunks(a, as_it_is, copy, chunk=7, threads=threads)
    assert copy.tolist() == a.tolist()
    map_chunks(a, turned, a, chunk=10, threads=threads)  # over what it is a view of
    assert a.tolist() == copy.reshape(100, 10, 2)[:, ::-1].reshape(1000, 2).tolist()


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("M8[s]", "M8[ms]"), ("m8[s]", "m8[ms]"), ("i8", "m8[s]"), ("S2", "S5"), ("f4", "f2")],
)
def test_what_numba_does_not_convert_is_refused(kind: str, wanted: str) -> None:
    a = np.zeros(5, kind)
    said = rf"which compiled code cannot convert to {re.escape(str(np.dtype(wanted)))}: make out of"
    with pytest.raises(KernelError, match=rf"{said} {re.escape(str(a.dtype))}, and"):
        map_chunks(a, as_it_is, np.zeros(5, wanted))
    if kind != "f4":
        map_chunks(a, as_it_is, np.zeros(5, kind))


# Wrong arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [3, np.zeros(3), "text", {"factor": 2}])
def test_args_that_are_no_tuple(args: Any) -> None:
    kind = type(args).__name__
    with pytest.raises(ArgumentTypeError, match=f"args must be a tuple, .* got '{kind}'"):
        reduce_chunks(np.zeros(5), scaled, add, 0.0, args=args)
    with pytest.raises(ArgumentTypeError, match="args must be a tuple"):
        map_chunks(np.zeros(5), scaled, np.zeros(5), args=args)


def test_what_is_wrong_with_the_array() -> None:
    said = r"native byte order only, got >f8; a\.astype\(a\.dtype\.newbyteorder\('='\)\)"
    with pytest.raises(ArgumentTypeError, match=said):
        reduce_chunks(np.zeros(5, ">f8"), first, add, 0.0)
    with pytest.raises(ArgumentTypeError, match="got bytes; numpy"):
        reduce_chunks(b"abc", first, add, 0)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="kernels take no Python objects, got object"):
        reduce_chunks(np.array([None]), first, add, 0.0)
    with pytest.raises(ArgumentError, match="ndarray of 0 dimensions"):
        reduce_chunks(np.zeros(()), total, add, 0.0)


@pytest.mark.parametrize("threads", [0, -1, 1.5])
def test_numbers_of_threads_that_are_none(threads: Any) -> None:
    """Also where one thread is enough."""
    a = np.zeros(1)
    with pytest.raises(ArgumentError, match="threads must be"):
        reduce_chunks(a, first, add, 0.0, threads=threads)
    with pytest.raises(ArgumentError, match="threads must be"):
        map_chunks(a, first, a.copy(), threads=threads)


@pytest.mark.parametrize("chunk", [0, -1])
def test_chunks_of_no_rows(chunk: int) -> None:
    with pytest.raises(ArgumentError, match=f"got {chunk}"):
        reduce_chunks(np.zeros(5), first, add, 0.0, chunk=chunk)
    with pytest.raises(ArgumentTypeError, match="chunk must be an integer"):
        reduce_chunks(np.zeros(5), first, add, 0.0, chunk=1.5)  # type: ignore[arg-type]


# Progress, interruption ---------------------------------------------------------------------------


def test_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    tqdm = pytest.importorskip("tqdm")
    seen = []

    class Bar(tqdm.tqdm):  # type: ignore[misc]
        def close(self) -> None:
            seen.append(self.total)
            super().close()

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    a = np.zeros(1000)
    assert reduce_chunks(a, total, add, 0.5, chunk=10, progress=True) == 0.5
    map_chunks(a, scaled, a, chunk=10, args=(1.0,), progress=True)
    assert set(seen) == {a.nbytes}
    assert len(seen) >= 2


@pytest.mark.parametrize("call", ["reduce", "map"])
@pytest.mark.parametrize("when", [0.05, 0.6])
def test_ctrl_c_stops_a_slow_scan_and_its_threads(
    call: str, when: float, run_python: Callable[..., str]
) -> None:
    """Of 2 MB/s, where a span takes seconds; two of these are the last, or not."""
    code = f"""
        import signal, threading, time
        import numba, numpy as np
        from mmapio.kernels.chunks.map_reduce import map_chunks, reduce_chunks

        @numba.njit
        def slow(chunk):
            s = 0.0
            for i in range(len(chunk)):
                for j in range(25):
                    s += np.sin(s + chunk[i] + j)
            return s

        @numba.njit
        def add(x, y):
            return x + y

        def scan(a):
            if "{call}" == "reduce":
                reduce_chunks(a, slow, add, 0.0, chunk=4096, threads=2)
            else:
                map_chunks(a, slow, np.zeros(-(-a.size // 4096)), chunk=4096, threads=2)

        def interrupt():
            sent.append(time.monotonic())
            signal.raise_signal(signal.SIGINT)

        scan(np.zeros(10, "u1"))
        begin = time.monotonic()
        slow(np.zeros(1 << 19, "u1"))
        seconds = (time.monotonic() - begin) / (1 << 19)  # a byte, in one thread
        for size in (12 << 20, 32 << 20):
            sent = []
            threading.Timer({when}, interrupt).start()
            try:
                scan(np.zeros(size, "u1"))
            except KeyboardInterrupt:
                print(time.monotonic() - sent[0] < size * seconds / 8)
                start = time.process_time()
                time.sleep(0.1)
                print(time.process_time() - start < 0.02)
    """
    assert run_python(textwrap.dedent(code)) == "True\n" * 4


def test_a_failing_kernel_stops_the_others() -> None:
    @njit
    def fails(chunk: Any) -> Any:
        if chunk[0] == 3:
            raise ZeroDivisionError("three")
        s = 0.0
        for _ in range(3000):
            s += np.sin(s)
        return s

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "_PART_NS", 0)
        a = np.arange(20_000)
        with pytest.raises(ZeroDivisionError, match="three"):
            reduce_chunks(a, fails, add, 0.0, chunk=1, threads=3)
        reduce_chunks(a[4:200], fails, add, 0.0, chunk=1, threads=3)


@pytest.mark.parametrize("part_ns", [0, 1 << 60])
def test_the_result_does_not_depend_on_the_pace(
    part_ns: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the slowest, a thread comes back to Python after each chunk."""
    a = np.random.default_rng(0).normal(size=3000) * 10.0 ** (np.arange(3000) % 7)
    text = np.random.default_rng(0).integers(0, 40, 3000).astype("u1")
    zeros = np.zeros(4, np.int64)

    def found() -> list[Any]:
        out = np.empty(600)
        map_chunks(a, first, out, chunk=5, threads=threads)
        lines = reduce_chunks(text, whole, add_into, zeros, chunk=9, delimiter=b"\n")
        return [
            reduce_chunks(a, total, add, 0.1, chunk=5, threads=threads),
            reduce_chunks(text, counts, add_into, np.zeros(256, "i8"), chunk=3).tolist(),
            reduce_chunks(np.arange(999), ends, join, (0, 0, -1, True), chunk=2, threads=threads),
            lines.tolist(),
            out.tolist(),
        ]

    expected = found()
    monkeypatch.setattr(spans, "_PART_NS", part_ns)
    assert found() == expected
    assert expected[2] == (500, 0, 998, True)


def test_python_threads_reduce_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    arrays = [np.full(1000, float(i)) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda a: reduce_chunks(a, total, add, 0.0, chunk=9, threads=2), arrays)
        )
    assert found == [math.fsum(a) for a in arrays]


def test_another_byte_order_is_refused_wherever_it_is() -> None:
    a, other = np.ones(4), np.ones(4, ">f8")
    with pytest.raises(ArgumentTypeError, match=r"init\.astype"):
        reduce_chunks(a, add, add, other)
    with pytest.raises(ArgumentTypeError, match=r"args\[0\]\.astype"):
        reduce_chunks(a, add, add, 0.0, args=(other,))
    with pytest.raises(ArgumentTypeError, match=r"out\.astype"):
        map_chunks(a, add, other, args=(1.0,))
