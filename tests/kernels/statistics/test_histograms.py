"""`histogram` against numpy's: not nearly, but exactly the same counts and edges."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import mmapio
from mmapio import kernels
from mmapio.errors import ArgumentError, ArgumentTypeError
from mmapio.kernels.engine import pieces
from mmapio.kernels.statistics import histograms

DTYPES = [
    np.dtype(order + name)
    for order, name in itertools.product(
        "<>", ["f2", "f4", "f8", "i2", "i4", "i8", "u2", "u4", "u8"]
    )
] + [np.dtype(name) for name in ("i1", "u1", "?")]
LAYOUTS = {
    "C": lambda a: a,
    "F": lambda a: np.asfortranarray(a),
    "strided": lambda a: np.repeat(np.repeat(a, 2, 0), 3, 1)[::2, ::3],
    "reversed": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "turned": lambda a: a.T[:, ::-1],
}
BINS: list[Any] = [
    1,
    3,
    10,
    255,
    5000,
    [0, 1, 2, 3],
    np.linspace(-1, 1, 50),
    [0.0, 0.5, 0.5, 7],
    [0.0, 7.0, 7.0],
    np.array([1, 5, 9], "u8"),
    np.array([-3, 0, 4], "f4"),
    [3],
    [],
]
RANGES: list[Any] = [
    None,
    (-1, 1),
    (0.1, 0.7),
    (5, 5),
    (np.float64(-0.3), 2),
    (-1e9, 1e9),
    (0, 1 << 70),
    (-(1 << 70), -(1 << 65)),
]


def sample(dtype: np.dtype[Any], scale: float, shape: tuple[int, ...] = (67, 31)) -> NDArray[Any]:
    values = np.random.default_rng(0).normal(size=shape) * scale
    values = np.abs(values) if dtype == np.uint64 else values
    with np.errstate(all="ignore"):
        return values.astype(dtype.newbyteorder("=")).astype(dtype)


def theirs(a: NDArray[Any], bins: Any, span: Any) -> Any:
    """Return what numpy says, or the error that it raises."""
    plain = a.view("u1") if a.dtype == bool else a  # which numpy does as well, with a warning
    with np.errstate(all="ignore"):
        try:
            return np.histogram(plain, bins, span)
        except (ValueError, TypeError) as error:
            return error
        except IndexError:  # a flaw of numpy's, for ranges that are infinite in float16
            return ValueError()


def check(a: NDArray[Any], bins: Any, span: Any, **options: Any) -> None:
    expected = theirs(a, bins, span)
    if isinstance(expected, Exception):
        with pytest.raises(type(expected), match=r"\w"):
            kernels.histogram(a, bins, span, **options)
        return
    counts, edges = kernels.histogram(a, bins, span, **options)
    assert counts.dtype == np.int64
    assert counts.tolist() == expected[0].tolist()
    assert edges.dtype == expected[1].dtype
    assert edges.tolist() == expected[1].tolist()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scale", [1, 1000])
def test_any_dtype_bins_and_range(dtype: np.dtype[Any], scale: float) -> None:
    a = sample(dtype, scale)
    for bins, span in itertools.product(BINS, RANGES):
        check(a, bins, span)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u8", "u1", ">f4", ">i2"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout(dtype: str, layout: str) -> None:
    for bins in (10, [-1, 0, 0.5, 3]):
        check(LAYOUTS[layout](sample(np.dtype(dtype), 10)), bins, None)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 3, 5)])
@pytest.mark.parametrize("dtype", ["f8", "i4", "u1"])
def test_any_shape(shape: tuple[int, ...], dtype: str) -> None:
    for bins in (7, [0, 1, 2]):
        check(sample(np.dtype(dtype), 3, shape), bins, None)


@settings(max_examples=400)
@given(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            st.integers(0, 60),
            elements=(
                st.floats(-65504, 65504, width=16) | st.just(math.nan)
                if dtype.kind == "f"
                else None
            ),
        )
    ),
    st.integers(1, 70) | st.lists(st.floats(-300, 300), min_size=2, max_size=9).map(sorted),
    st.none() | st.tuples(st.floats(-300, 300), st.floats(0, 300)).map(sorted),
    st.integers(1, 20),
    st.integers(1, 4),
)
def test_any_values_in_pieces_of_any_size(
    a: NDArray[Any], bins: Any, span: Any, items: int, threads: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_DIRECT_BYTES", items * a.itemsize)
        patch.setattr(pieces, "_COPIED_ITEMS", items)
        check(a, bins, span, threads=threads)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("bins", [1, 3, 10, 49, 1000, 100_000])
def test_values_on_and_next_to_edges(dtype: str, bins: int) -> None:
    """Rounding decides here: half of these are in another bin by the plain formula."""
    for span in ((0, 1), (-0.1, 0.3), (1e6, 1e6 + 7), (1e-6, 1e6)):
        edges = np.linspace(*span, bins + 1).astype(dtype)
        values = [edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)]
        check(np.concatenate(values), bins, span)


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8"])
def test_integers_on_edges(dtype: str) -> None:
    a = np.arange(10_000).astype(dtype)
    for bins in (1, 7, 10, 100, 9999, 10_000):
        check(a, bins, None)
        check(a, bins, (0, 10_000))
    check(a, [0, 10, 100, 9999], None)


@pytest.mark.parametrize("dtype", ["i8", "u8"])
def test_integers_that_floats_cannot_tell_apart(dtype: str) -> None:
    top = np.iinfo(dtype).max
    a = np.array([top - i for i in range(50)] + [1 << 53, (1 << 53) + 1, 0], dtype)
    for bins in (1, 10, np.array([0, (1 << 53) + 1, top - 7, top], dtype)):
        check(a, bins, None)
    check(a, 3, (a.min(), a.max()))
    check(a, 3, (5, 1 << 53))


@pytest.mark.parametrize("dtype", ["i8", "u8"])
@pytest.mark.parametrize("last", [1_051_575_173_489_628_160, (1 << 53) + 2, (1 << 62) + 3])
def test_ranges_of_floats_are_compared_as_floats(dtype: str, last: int) -> None:
    """And ranges of integers exactly, also if these are numpy's."""
    near = [last + i for i in range(-600, 600, 3)]
    a = np.array([0, 4, 5, 6, *near, np.iinfo(dtype).max], dtype)
    plain = [5, last, last + 1, last + 129]
    ends = [kind(end) for end in plain for kind in (int, float, np.float64, a.dtype.type)]
    for bins, first, stop in itertools.product((1, 3), ends, ends):
        if first < stop:
            check(a, bins, (first, stop))


@pytest.mark.parametrize("bins", [(1 << 23) + 1, 1 << 24, (1 << 24) + 3])
def test_more_bins_than_float32_has_digits(bins: int) -> None:
    a = np.array([0, 0.25, 1, 1, 1], "f4")
    span = (np.float64(0), np.float64(1)) if bins > 1 << 24 else None
    counts, _ = kernels.histogram(a, bins, span)
    expected, _ = np.histogram(a, bins, span)
    np.testing.assert_array_equal(counts, expected)
    assert counts.sum() == 5


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("bins", "last"), [(10, 34), (100, 2948)])
def test_subnormal_bins_hold_what_their_edges_say(dtype: str, bins: int, last: int) -> None:
    """Numpy takes its own bins to be of equal width, which rounding has made them differ from."""
    tiny = np.finfo(dtype).smallest_subnormal
    a = np.arange(last + 1).astype(dtype) * tiny
    counts, edges = kernels.histogram(a, bins)
    assert edges.tolist() == np.histogram(a, bins)[1].tolist()
    assert (
        counts.tolist() == np.histogram(a, edges)[0].tolist() != np.histogram(a, bins)[0].tolist()
    )


FAR = [-math.inf, -1e300, -7, -2.5, -0.0, 1e-310, 0.5, 3, 1e9, 2**53 + 2, 1e19, 1e300, math.inf]
EDGES: dict[str, Any] = {
    "random": np.sort(np.random.default_rng(1).random(50)) * 100,
    "powers of ten": np.logspace(-6, 9, 46),
    "both signs": np.sort(np.append(np.logspace(-3, 9, 20), -np.logspace(-3, 9, 20))),
    "clustered": np.concatenate([[0], 1 + np.arange(60) * 1e-9, [100]]),
    "one value": [5, 5, 5],
    "two values": [0, 0, 0, 10, 10],
    "very near": [1, np.nextafter(1, 2), np.nextafter(np.nextafter(1, 2), 2)],
    "far": FAR,
    "infinite": [-math.inf, math.inf],
    "integers": np.array([-(2**40), -3, 0, 7, 2**40]),
    "large integers": np.array([0, 2**53 + 1, 2**62, 2**63 - 1]),
    "unsigned": np.array([0, 5, 2**63, 2**64 - 1], "u8"),
    "more than float64": np.array([-1.5, 0, 7.25, 2.0**60 + 3], "g"),
    "many": np.sort(np.random.default_rng(1).normal(size=3000)) * 1000,
}


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u4", "u8", "f2", "i1"])
@pytest.mark.parametrize("name", EDGES)
def test_items_between_on_and_next_to_edges_of_any_distance(dtype: str, name: str) -> None:
    edges = np.array(EDGES[name])
    with np.errstate(all="ignore"):
        near = [edges.astype(dtype), np.arange(200).astype(dtype)]
    if np.dtype(dtype).kind == "f":
        near += [np.nextafter(near[0], np.array(end, dtype)) for end in (-np.inf, np.inf)]
        near += [np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324], dtype)]
    else:
        info = np.iinfo(dtype)
        near += [np.array([info.min, info.min + 1, info.max - 1, info.max], dtype)]
        near += [near[0] - near[0].dtype.type(1), near[0] + near[0].dtype.type(1)]
    a = np.concatenate([np.random.default_rng(0).permutation(each) for each in near * 3])
    check(a, EDGES[name], None)


def test_a_cell_holds_every_edge_where_no_table_can_part_them() -> None:
    edges = np.concatenate([[0], 1 + np.arange(500) * 1e-13, [1e300]])
    a = np.concatenate([edges, 1 + np.arange(-5, 5005) * 1e-14, [1e301, -1e301]])
    check(a, edges, None)


WEIGHTS = ["f8", ">f4", "f2", "i4", ">i8", "u1", "u8", "?", "c16"]


def naive(a: NDArray[Any], bins: Any, weights: NDArray[Any]) -> list[Any]:
    """Add up weights exactly."""
    edges = np.histogram_bin_edges(a, bins)
    numbers = np.searchsorted(edges, a.reshape(-1), "right") - 1
    numbers[a.reshape(-1) == edges[-1]] = len(edges) - 2
    flat = weights.reshape(-1)
    return [flat[numbers == i].tolist() for i in range(len(edges) - 1)]


@pytest.mark.parametrize("dtype", ["f8", "i4", "u1", ">f2"])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_are_added_by_numpys_rules(dtype: str, kind: str) -> None:
    a = sample(np.dtype(dtype), 30)
    weights = sample(np.dtype(kind), 90, a.shape)
    for bins in (7, [-20, -1, 0, 0.5, 3, 40]):
        found, ours = kernels.histogram(a, bins, weights=weights)
        exact = naive(a, bins, weights)
        if kind == "?":  # which numpy cannot add
            assert (found.dtype, found.tolist()) == (np.int64, [sum(each) for each in exact])
            continue
        with np.errstate(all="ignore"):
            expected, edges = np.histogram(a, bins, weights=weights)
        assert ours.tolist() == edges.tolist()
        assert found.dtype == expected.dtype.newbyteorder("=")
        if found.dtype.kind in "iu":
            size = 1 << 8 * found.itemsize
            assert [int(each) % size for each in found] == [sum(each) % size for each in exact]
        elif kind == "c16":
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)
        else:
            sums = np.array([math.fsum(each) for each in exact])
            np.testing.assert_allclose(found, sums.astype(found.dtype), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("other", LAYOUTS)
def test_weights_in_any_layout(layout: str, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_COPIED_ITEMS", 100)
    monkeypatch.setattr(pieces, "_DIRECT_BYTES", 800)
    a, weights = np.arange(30 * 31).reshape(30, 31), np.arange(30 * 31) ** 2.0
    a = LAYOUTS[layout](a)
    weights = LAYOUTS[other](weights.reshape(a.shape if other != "turned" else a.shape[::-1]))
    expected, _ = np.histogram(a, 17, weights=weights)
    assert kernels.histogram(a, 17, weights=weights)[0].tolist() == expected.tolist()


def test_sums_of_weights_are_closer_than_numpys_and_the_same_for_all_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pieces, "_DIRECT_BYTES", 1 << 15)
    rng = np.random.default_rng(0)
    a, weights = (
        rng.random(300_000),
        rng.normal(size=300_000) * 10.0 ** rng.integers(0, 12, 300_000),
    )
    for bins in (5, [0, 0.3, 0.7, 1], 5000):
        exact = np.array([math.fsum(each) for each in naive(a, bins, weights)])
        theirs = np.abs(np.histogram(a, bins, weights=weights)[0] - exact).sum()
        found = [kernels.histogram(a, bins, weights=weights, threads=n)[0] for n in (1, 2, 5)]
        assert np.abs(found[0] - exact).sum() <= theirs
        assert found[0].tolist() == found[1].tolist() == found[2].tolist()


def test_weights_that_are_infinite_or_overflow() -> None:
    a = np.array([0.0, 0, 1, 1, 2, 2, 3])
    weights = np.array([math.inf, 1, math.inf, -math.inf, 1.7e308, 1.7e308, math.nan])
    with np.errstate(all="ignore"):
        expected, _ = np.histogram(a, 4, weights=weights)
    np.testing.assert_array_equal(kernels.histogram(a, 4, weights=weights)[0], expected)


def test_weights_in_another_mapped_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "w"):
        np.save(tmp_path / f"{name}.npy", rng.random((100, 5)))
    a, weights = (mmapio.open(tmp_path / f"{name}.npy") for name in ("a", "w"))
    found, _ = kernels.histogram(a, [0, 0.1, 1], weights=weights)
    expected, _ = np.histogram(np.array(a), [0, 0.1, 1], weights=np.array(weights))
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    released, _ = kernels.histogram(a, [0, 0.1, 1], weights=weights, drop_behind=True)
    assert released.tolist() == found.tolist()
    with pytest.raises(ArgumentError, match="rows must follow each other"):
        kernels.histogram(a[::-1], weights=weights, drop_behind=True)


@pytest.mark.parametrize("dtype", ["f8", "u1", "M8[s]"])
def test_masks_are_refused_wherever_they_are(dtype: str) -> None:
    a = np.arange(9).astype(dtype)
    masked = np.ma.masked_array(a[:2], [False, True])
    inputs: list[dict[str, Any]] = [
        {"bins": masked},
        {"bins": [*masked]},
        {"bins": np.ma.masked_array(3, True)},
        {"range": masked},
        {"range": tuple(masked)},
        {"weights": np.ma.masked_array(np.ones(9), a > a[3])},
        {"weights": [*np.ma.masked_array(np.ones(9), a > a[3])]},
    ]
    for options in inputs:
        with pytest.raises(ArgumentTypeError, match="no masks"):
            kernels.histogram(a, **options)


@pytest.mark.parametrize("dtype", ["f8", "u1"])
def test_ranges_that_are_not_two_numbers(dtype: str) -> None:
    a = np.arange(9).astype(dtype)
    for short in ((), (1,), (0, 1, 2), itertools.count(), [[0, 1]]):
        with pytest.raises(ArgumentError, match="range must be two of numbers, got"):
            kernels.histogram(a, 5, short)  # type: ignore[arg-type]
    strange: list[Any] = [5, "ab", b"ab", (None, 3), (0, "x"), ("0", "3"), (0, 1j), [[0], [1]]]
    for wrong in (*strange, np.array(["2020", "2021"], "M8[D]")):
        with pytest.raises(ArgumentTypeError, match="range must be two of numbers, got"):
            kernels.histogram(a, 5, wrong)
    assert kernels.histogram(a, [0, 1], strange[0])[0].tolist() == [2]  # not used, as by numpy
    for odd in (iter((0, 4)), {0: "a", 4: "b"}, np.array([0, 4], ">f4"), range(0, 8, 4)):
        found, edges = kernels.histogram(a, 2, odd)  # type: ignore[arg-type]
        assert (found.tolist(), edges.tolist()) == ([2, 3], [0, 2, 4])


@pytest.mark.parametrize("dtype", ["f8", "u1", "M8[s]"])
def test_edges_are_not_those_of_the_caller(dtype: str) -> None:
    edges = np.array([0, 2, 5]).astype(dtype)
    _, found = kernels.histogram(np.arange(9).astype(dtype), edges)
    assert not np.shares_memory(found, edges)
    with pytest.raises(ArgumentError):
        kernels.histogram(edges, [[1], [2, 3]])


@pytest.mark.parametrize("dtype", ["f8", "u1"])
def test_weights_that_cannot_be(dtype: str) -> None:
    a = np.zeros((2, 3), dtype)
    for wrong in (np.ones(6), np.ones((3, 2)), 1.0):
        with pytest.raises(ArgumentError, match=r"the shape of a, \(2, 3\), got"):
            kernels.histogram(a, weights=wrong)
    for strange in (np.ones(a.shape, "S1"), np.ones(a.shape, "g"), np.ones(a.shape, "m8[s]")):
        with pytest.raises(ArgumentTypeError, match="weights must be"):
            kernels.histogram(a, weights=strange)
    with pytest.raises(ArgumentTypeError, match="mask"):
        kernels.histogram(a, weights=np.ma.masked_array(np.ones(a.shape), a == 0))


@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", "u1"])
@pytest.mark.parametrize("bins", [5, [0, 1, 1, 2.5, 50], [900, 1000]])
@pytest.mark.parametrize("kind", [None, "f8", "i4", "c16"])
def test_densities_are_numpys(dtype: str, bins: Any, kind: str | None) -> None:
    a = np.abs(sample(np.dtype(dtype), 20))
    weights = None if kind is None else sample(np.dtype(kind), 9)
    with np.errstate(all="ignore"):
        expected, _ = np.histogram(a, bins, density=True, weights=weights)
    found, _ = kernels.histogram(a, bins, density=True, weights=weights)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_nans_are_left_out_where_the_range_is_known() -> None:
    a = np.array([math.nan, 0.0, 1.0, math.inf, -math.inf, -math.nan])
    check(a, 10, (0, 1))
    check(a, [0, 0.5, 1], None)
    check(a, 10, None)
    with pytest.raises(ArgumentError, match="is not finite"):
        kernels.histogram(a)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u1"])
def test_threads_do_not_change_the_answer(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_DIRECT_BYTES", 1 << 12)
    a = sample(np.dtype(dtype), 100, (30_000,))
    for threads in (1, 2, 3, 4):
        check(a, 77, None, threads=threads)
        check(a, [-5, 0, 100], None, threads=threads)


def test_tables_are_emptied_before_they_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histograms, "_FULL", 1)
    monkeypatch.setattr(pieces, "_DIRECT_BYTES", 1 << 12)
    check(sample(np.dtype("f8"), 1, (20_000,)), 10, None)


@pytest.mark.parametrize(
    ("bins", "span", "message"),
    [
        (0, None, "must be positive"),
        (-1, None, "must be positive"),
        ([3, 1], None, "must increase"),
        ([[1, 2]], None, "must be 1d"),
        (10, (3, 1), "larger than min"),
        (10, (0, math.inf), "not finite"),
        (10, (1,), "range must be two"),
    ],
)
def test_bins_and_ranges_that_cannot_be(bins: Any, span: Any, message: str) -> None:
    for dtype in ("f8", "u1"):
        with pytest.raises(ArgumentError, match=message):
            kernels.histogram(np.arange(5, dtype=dtype), bins, span)


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "f2", "u1", "?"])
def test_edges_that_are_no_numbers(dtype: str) -> None:
    for bins in ([0, math.nan, 2], [math.nan], np.array([0, 1, math.nan], "f4")):
        with pytest.raises(ArgumentError, match=r"edge \d of \d is NaN"):
            kernels.histogram(np.ones(5, dtype), bins)
    check(np.array([-5.0, 1.0, 7.0]).astype(dtype), [-math.inf, 0, 2, math.inf], None)


@pytest.mark.parametrize("bins", [1.5, "auto", None, [1j, 2j]])
def test_bins_of_wrong_types(bins: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=r"bins|edges"):
        kernels.histogram(np.arange(5.0), bins)


@pytest.mark.parametrize("dtype", ["c8", "g", "S3", "O", "f8,i4"])
def test_what_is_no_real_number_is_refused(dtype: str) -> None:
    with pytest.raises(ArgumentTypeError, match="histogram needs"):
        kernels.histogram(np.zeros(3, dtype))
