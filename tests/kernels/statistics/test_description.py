"""`describe` and `byte_counts` against numpy, `math.fsum` and exact arithmetic."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from samples import DTYPES, LAYOUTS, sample, small_pieces

from mmapio import kernels
from mmapio.errors import ArgumentError, ArgumentTypeError
from mmapio.kernels.engine import pieces
from mmapio.kernels.statistics import _describers


def check(a: NDArray[Any], d: kernels.Description, bins: int = 256) -> None:
    """Hold a description against what slow and exact arithmetic says."""
    values = a.reshape(-1).tolist()
    kept = [value for value in values if value == value]
    finite = [Fraction(value) for value in kept if not math.isinf(value)]
    assert d.count == len(values)
    assert d.nans == len(values) - len(kept)
    assert d.infs == len(kept) - len(finite)
    assert d.zeros == sum(value == 0 for value in values)
    if kept:
        assert (d.min, d.max) == (min(kept), max(kept))
    else:
        assert math.isnan(d.min)
        assert math.isnan(d.mean)
    if a.dtype.kind in "iub":
        assert d.sum == sum(values)
        assert type(d.min) is int or not values
    assert d.counts.sum() == len(finite)
    if finite and max(map(abs, finite)) < 1 << 53:  # beyond, float64 rounds edges of integers
        check_histogram(finite, d, bins, least_width(a.dtype, max(map(abs, finite))))


def check_histogram(
    finite: list[Fraction], d: kernels.Description, bins: int, least: Fraction
) -> None:
    """Every value lies in the bin that holds it, and narrower bins would be too many."""
    edges = [Fraction(edge) for edge in d.edges.tolist()]
    (width,) = {above - below for below, above in itertools.pairwise(edges)}
    expected = [0] * len(d.counts)
    for value in finite:
        expected[value // width - edges[0] // width] += 1
    assert d.counts.tolist() == expected
    assert expected[0]
    assert expected[-1]
    assert len(expected) <= bins
    finer = width / 2
    assert width == least or max(finite) // finer - min(finite) // finer >= bins


def least_width(dtype: np.dtype[Any], largest: Fraction) -> Fraction:
    """Return the spacing of the type's values at the largest one."""
    if dtype.kind != "f":
        return Fraction(1)
    info = np.finfo(dtype)
    exponent = math.frexp(float(largest))[1] if largest else -5000
    return Fraction(2) ** max(int(info.minexp), exponent - info.nmant - 1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_dtype_in_any_layout(dtype: np.dtype[Any], layout: str) -> None:
    a = LAYOUTS[layout](sample(dtype, (37, 61)))
    d = kernels.describe(a)
    check(a, d)
    wide = a.astype("f8")
    assert d.mean == pytest.approx(wide.mean(), rel=1e-9, abs=1e-9 * wide.std())
    assert d.var == pytest.approx(wide.var(), rel=1e-9)
    assert d.std == math.sqrt(d.var)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2)])
def test_scalars_and_empty_arrays(dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    a = sample(dtype, shape)
    d = kernels.describe(a)
    check(a, d)
    assert d.var == 0 if a.size else math.isnan(d.var)
    assert d.sum == (a.reshape(-1)[0] if a.size else 0)


@settings(max_examples=300)
@given(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=12))
    ),
    st.integers(4, 256),
)
def test_any_values(a: NDArray[Any], bins: int) -> None:
    check(a, kernels.describe(a, bins=bins), bins)


@settings(max_examples=100)
@given(
    hnp.arrays("f8", st.integers(1, 40), elements=st.floats(width=64)),
    st.integers(1, 7),
)
def test_pieces_change_nothing_but_rounding(a: NDArray[Any], items: int) -> None:
    """The same values in pieces of a few items: bins grow and merge at each."""
    whole = kernels.describe(a, bins=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_DIRECT_BYTES", 8 * items)
        for threads in (1, 3):
            parts = kernels.describe(a, bins=8, threads=threads)
            assert parts.counts.tolist() == whole.counts.tolist()
            assert parts.edges.tolist() == whole.edges.tolist()
            assert (parts.zeros, parts.nans, parts.infs) == (whole.zeros, whole.nans, whole.infs)
            np.testing.assert_equal((parts.min, parts.max), (whole.min, whole.max))


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "u4", ">f8", "u2"])
def test_threads_do_not_change_the_answer(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_DIRECT_BYTES", 1 << 15)
    monkeypatch.setattr(pieces, "_COPIED_ITEMS", 1 << 12)
    a = np.sort(sample(np.dtype(dtype), (200_000,)))
    alone = kernels.describe(a, threads=1)
    for threads in (2, 3, 8):
        d = kernels.describe(a, threads=threads)
        assert (d.sum, d.mean, d.var) == (alone.sum, alone.mean, alone.var)
        assert d.counts.tolist() == alone.counts.tolist()
        assert d.edges.tolist() == alone.edges.tolist()


@pytest.mark.parametrize("offset", [0, 1e3, 1e9, -1e6])
@pytest.mark.parametrize("size", [7, 100, 1000, 5000, 300_000])
def test_float_sums_are_as_accurate_as_those_of_numpy(offset: float, size: int) -> None:
    """In the mean over samples: on a single one a cruder sum may be luckier."""
    ours = theirs = 0.0
    for seed in range(20):
        a = np.random.default_rng(seed).normal(size=size) + offset
        truth = math.fsum(a)
        ours += abs(kernels.describe(a).sum - truth)
        theirs += abs(float(a.sum()) - truth)
    assert ours <= theirs + 20 * np.spacing(abs(offset * size) + 1)


def test_small_terms_are_not_lost_beside_large_ones() -> None:
    a = np.zeros((100_000, 256))
    a[:, 7] = 1.0
    a[0], a[-1] = 1e16, -1e16
    assert kernels.describe(a).sum == 99_998


def test_variance_of_values_far_from_zero() -> None:
    a = np.random.default_rng(0).normal(size=100_000) + 1e9
    assert kernels.describe(a).var == pytest.approx(np.var(a - 1e9), rel=1e-6)
    stamps = np.int64(1_700_000_000_000_000_000) + np.arange(100_000)
    assert kernels.describe(stamps).var == pytest.approx((100_000**2 - 1) / 12, rel=1e-12)


def test_variance_behind_nans_and_infinities() -> None:
    """They are no base for differences."""
    a = 1e12 + np.random.default_rng(0).normal(size=20_000)
    wanted = kernels.describe(a).var
    assert wanted == pytest.approx(np.var(a - 1e12), rel=1e-12)
    for skipped in (1, 5000):
        padded = np.concatenate([np.full(skipped, np.nan), a])
        assert kernels.describe(padded).var == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize("dtype", ["i8", "u8"])
def test_integers_do_not_wrap(dtype: str) -> None:
    info = np.iinfo(dtype)
    for values in ([info.max] * 5000, [info.min] * 5000, [info.min, info.max] * 3000):
        a = np.array(values, dtype)
        d = kernels.describe(a)
        assert d.sum == sum(values)
        assert d.mean == sum(values) / len(values)
        assert d.var == pytest.approx(float(np.var(a.astype("f8"))), rel=1e-9)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("size", [5, 3000])
def test_nans_are_left_out_and_infinities_count(dtype: str, size: int) -> None:
    a = np.arange(size, dtype="f8").astype(dtype)
    a[1] = np.nan
    d = kernels.describe(a)
    assert (d.nans, d.infs, d.min, d.max) == (1, 0, 0, np.nanmax(a))
    assert d.mean == pytest.approx(np.nanmean(a.astype("f8")))
    assert d.var == pytest.approx(np.nanvar(a.astype("f8")))
    a[2] = -np.inf
    d = kernels.describe(a)
    assert (d.infs, d.min, d.sum, d.mean) == (1, -np.inf, -np.inf, -np.inf)
    assert math.isnan(d.var)
    assert d.counts.sum() == size - 2
    a[3] = np.inf
    d = kernels.describe(a)
    assert (d.infs, d.min, d.max) == (2, -np.inf, np.inf)
    assert math.isnan(d.sum)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nothing_finite(value: float) -> None:
    d = kernels.describe(np.full(5000, value))
    np.testing.assert_equal((d.min, d.max), (value, value))
    assert d.counts.size == 0
    assert d.zeros == 0


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("infinities", [[np.inf], [-np.inf], [np.inf, -np.inf, np.inf]])
def test_figures_of_finite_items_beside_those_with_infinities(
    dtype: str, infinities: list[float]
) -> None:
    finite = np.append(sample(np.dtype(dtype), (5000,)), np.nan).astype(dtype)
    wanted = vars(kernels.describe(finite))
    found = kernels.describe(np.concatenate([infinities, finite]).astype(dtype))
    assert found.infs == len(infinities)
    assert math.isnan(found.std)
    for name, value in vars(found.finite).items():
        np.testing.assert_allclose(value, wanted[name], 1e-12) if value is not None else None
    assert found.finite.finite is found.finite


def test_without_infinities_the_figures_are_those_of_finite_items() -> None:
    for values in ([], [1.0, math.nan], [1, 2]):
        d = kernels.describe(values)
        assert d.finite is d
        assert "finite" not in repr(d)


def test_only_infinities_leave_nothing_finite() -> None:
    finite = kernels.describe([math.inf, -math.inf]).finite
    assert (finite.count, finite.sum, finite.counts.size) == (0, 0, 0)
    np.testing.assert_equal((finite.min, finite.max, finite.mean, finite.var), (math.nan,) * 4)


def test_a_description_shows_its_finite_figures() -> None:
    shown = repr(kernels.describe([1.0, 3.0, math.inf]))
    assert shown.startswith("Description(count=3, nans=0, infs=1, zeros=0, min=1.0, max=inf, ")
    assert ", finite=Description(count=2, nans=0, infs=0, zeros=0, min=1.0, max=3.0, " in shown


def test_sums_that_overflow() -> None:
    d = kernels.describe(np.full(10_000, 1.7e308))
    assert (d.sum, d.var) == (math.inf, math.inf)
    assert d.counts.tolist() == [10_000]


@pytest.mark.parametrize("items", [1 << 20, 300])
def test_sums_that_overflow_on_the_way(items: int) -> None:
    huge = [1.7e308, 1.6e308, -1.7e308, -1.6e308]
    a = np.array([*huge * 500, 5.0, math.nan])
    with small_pieces(items):
        for d in (kernels.describe(a), kernels.describe(np.append(a, math.inf)).finite):
            assert (d.sum, d.mean, d.var) == (5.0, 5.0 / 2001, math.inf)


@pytest.mark.parametrize("bins", [4, 256])
def test_the_widest_range_has_finite_edges(bins: int) -> None:
    greatest = np.finfo("f8").max
    d = kernels.describe(np.array([-greatest, -1e-300, -0.0, 5e-324, greatest]), bins=bins)
    assert np.isfinite(d.edges).all()
    assert d.counts.sum() == 5
    middle = int(np.flatnonzero(d.edges == 0)[0])
    assert d.counts[middle - 1 : middle + 1].tolist() == [1, 2]


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8"])
def test_a_range_that_grows_all_the_time(dtype: str, order: str) -> None:
    a = np.arange(-70_000, 130_000).astype(dtype)
    d = kernels.describe(a if order == "ascending" else a[::-1].copy())
    assert d.edges[1] - d.edges[0] == 1024
    expected, _ = np.histogram(a, d.edges)
    assert d.counts.tolist() == expected.tolist()


def test_tables_are_emptied_before_they_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_describers, "_FULL", 1)
    monkeypatch.setattr(pieces, "_DIRECT_BYTES", 1 << 12)
    a = sample(np.dtype("f8"), (50_000,))
    d = kernels.describe(a)
    assert d.counts.tolist() == np.histogram(a, d.edges)[0].tolist()


@pytest.mark.parametrize("dtype", ["c8", "c16", "S3", "O", "f8,i4"])
def test_what_is_no_real_number_is_refused(dtype: str) -> None:
    with pytest.raises(ArgumentTypeError, match="describe needs"):
        kernels.describe(np.zeros(3, dtype))


@pytest.mark.parametrize("bins", [-1, 3, 257])
def test_bins_out_of_range(bins: int) -> None:
    with pytest.raises(ArgumentError, match=f"got {bins}"):
        kernels.describe(np.zeros(3), bins=bins)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_byte_counts(layout: str) -> None:
    a = LAYOUTS[layout](sample(np.dtype("u1"), (501, 997)))
    counts = kernels.byte_counts(a)
    assert counts.dtype == np.int64
    assert counts.tolist() == np.bincount(a.reshape(-1), minlength=256).tolist()


@given(st.binary(max_size=100), st.integers(0, 9))
def test_byte_counts_of_any_bytes(data: bytes, skipped: int) -> None:
    a = np.frombuffer(data, "u1")[skipped:]
    assert kernels.byte_counts(a).tolist() == np.bincount(a, minlength=256).tolist()


def test_byte_counts_needs_bytes() -> None:
    with pytest.raises(ArgumentTypeError, match="got int8"):
        kernels.byte_counts(np.zeros(3, "i1"))  # type: ignore[arg-type]


def test_values_that_grow_at_every_look_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may change an array so that no range covers it when it is looked at once more."""
    a, looks = np.full(5000, 1e-300), []
    describe = _describers.FloatWorker._describe

    def grow_and_describe(self: Any, piece: NDArray[Any], chunk: int) -> int:
        looks.append(piece.size)
        a[:] *= 10
        return describe(self, piece, chunk)

    monkeypatch.setattr(_describers.FloatWorker, "_describe", grow_and_describe)
    assert kernels.describe(a).count == 5000
    assert len(looks) <= _describers._MOST_WIDENINGS + 2
