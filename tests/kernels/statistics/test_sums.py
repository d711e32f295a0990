"""Sums, moments and extremes against numpy, `math.fsum` and exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from samples import ARRAYS, DTYPES, LAYOUTS, close, sample, small_pieces, wide

import mmapio
from mmapio import kernels
from mmapio.errors import ArgumentError, ArgumentTypeError

BOTH = {"sum": (kernels.sum, np.sum), "mean": (kernels.mean, np.mean), "var": (kernels.var, np.var)}

ROUNDING = 2.0**-53


def check(a: NDArray[Any], **options: Any) -> None:
    """Hold everything that these functions say of an array against numpy."""
    with np.errstate(all="ignore"):
        flat, values = a.reshape(-1), wide(a).reshape(-1).astype("f8")
        total = wide(flat).sum()
        sizes = np.nansum(abs(values)) if np.isfinite(total) else 0
        close(kernels.sum(a, **options), total, sizes if a.dtype.kind == "f" else 0)
        if not a.size:
            assert math.isnan(kernels.mean(a, **options))
            assert math.isnan(kernels.var(a, **options))
            return
        close(kernels.mean(a, **options), values.mean(), sizes / a.size)
        spread = np.var(values)
        slip = abs(values).max() * 2.0**-50  # of numpy's mean
        close(kernels.var(a, **options), spread, 1e3 * spread + 1e12 * slip * slip)
    lo, hi = kernels.minmax(a, **options)
    np.testing.assert_array_equal((lo, hi), (wide(flat).min(), wide(flat).max()))
    np.testing.assert_array_equal(kernels.min(a, **options), lo)
    np.testing.assert_array_equal(kernels.max(a, **options), hi)
    assert type(lo) is {"b": bool, "f": float}.get(a.dtype.kind, int)
    native = a.astype(a.dtype.newbyteorder("="))  # numpy's own argmin fails on some byte orders
    assert kernels.argmin(a, **options) == native.argmin()
    assert kernels.argmax(a, **options) == native.argmax()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_dtype_in_any_layout(dtype: np.dtype[Any], layout: str) -> None:
    check(LAYOUTS[layout](sample(dtype, (67, 131))))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2), (5, 3, 7)])
def test_any_shape(dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    check(sample(dtype, shape))


@settings(max_examples=300)
@given(ARRAYS, st.integers(1, 50), st.integers(1, 4), st.booleans())
def test_any_values_in_pieces_of_any_size(
    a: NDArray[Any], items: int, threads: int, turned: bool
) -> None:
    with small_pieces(items, a.itemsize):
        check(a.T if turned else a, threads=threads)


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f8", "i8", "u1"])
def test_threads_do_not_change_the_answer(dtype: str) -> None:
    a = sample(np.dtype(dtype), (3000, 71))
    with small_pieces(999):
        for function in (kernels.sum, kernels.mean, kernels.var, kernels.minmax):
            for axis in (None, 0):
                alone = function(a, axis, threads=1)
                for threads in (2, 3, 4):
                    np.testing.assert_array_equal(function(a, axis, threads=threads), alone)
        for search in (kernels.argmin, kernels.argmax):
            assert len({search(a, threads=threads) for threads in (1, 2, 3, 4)}) == 1


# Sums -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1e3, 1e9, -1e6])
@pytest.mark.parametrize("size", [7, 100, 1000, 5000, 700_000])
def test_float_sums_are_as_accurate_as_those_of_numpy(offset: float, size: int) -> None:
    """In the mean over samples: on a single one a cruder sum may be luckier."""
    ours = theirs = 0.0
    for seed in range(20):
        a = np.random.default_rng(seed).normal(size=size) + offset
        truth = math.fsum(a)
        ours += abs(kernels.sum(a) - truth)
        theirs += abs(float(a.sum()) - truth)
    assert ours <= theirs + 20 * np.spacing(abs(offset * size) + 1)


def with_lost_terms(step: int) -> NDArray[Any]:
    """Return 98 ones, `step` items apart, each of which vanishes beside the first item."""
    a = np.zeros(100 * step)
    a[step:-step:step] = 1.0
    a[0], a[-1] = 1e16, -1e16
    return a


def test_small_terms_are_not_lost_beside_large_ones() -> None:
    a = with_lost_terms(300)
    assert kernels.sum(a) == 98 != a.sum()
    with small_pieces(7000):
        assert kernels.sum(a) == 98


@pytest.mark.parametrize("width", [1, 3, 600])
def test_small_terms_are_not_lost_in_columns(width: int) -> None:
    a = with_lost_terms(64 * max(1, 512 // width) + 1)[:, None].repeat(width, 1)
    assert a.sum(axis=0)[0] != 98
    for items in (1 << 20, 1 << 16):
        with small_pieces(items):
            assert kernels.sum(a, axis=0).tolist() == [98] * width


@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_short_floats_are_added_as_long_ones(dtype: str) -> None:
    a = np.full(1_000_000, 1000.1, dtype)
    assert kernels.sum(a) == math.fsum(a.tolist())
    assert kernels.sum(np.full(100, np.finfo("f4").max)) == 100 * float(np.finfo("f4").max)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
@pytest.mark.parametrize("size", [1, 1000, 100_001])
def test_integer_sums_wrap_at_64_bits_and_means_do_not(dtype: str, size: int) -> None:
    info = np.iinfo(dtype)
    for values in ([info.max] * size, [info.min] * size, [info.min, info.max, info.max] * size):
        a = np.array(values, dtype)
        exact = sum(values)
        wrapped = (exact + 2**63) % 2**64 - 2**63 if info.min else exact % 2**64
        assert kernels.sum(a) == wrapped == a.sum()
        assert kernels.mean(a) == exact / a.size
        assert kernels.var(a) == pytest.approx(float(np.var(a.astype("f8"))), rel=1e-9)
        assert kernels.sum(a[:, None].repeat(2, 1), axis=0).tolist() == [wrapped] * 2


@pytest.mark.parametrize("dtype", ["i1", "u1"])
@pytest.mark.parametrize("size", [1, 255, 256, 257, 70_000])
def test_bytes_at_the_ends_of_their_range(dtype: str, size: int) -> None:
    """They are added by 256 at a time, in 16 bits, where they lie one after another."""
    for value in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        a = np.full((size, 2), value, dtype)
        a[:, 1] = 1
        for row, each in ((a[:, 0].copy(), value), (a[:, 0], value), (a.ravel(), value + 1)):
            wanted = int(each) * size
            assert kernels.sum(row) == sum_inside(row) == wanted


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("step", [1, 3, -2])
def test_rows_of_floats_with_gaps_inside_kernels(dtype: str, step: int) -> None:
    for size in (0, 1, 15, 16, 50, 3000):
        row = np.random.default_rng(size).random(size * abs(step)).astype(dtype)[::step]
        assert sum_inside(row) == pytest.approx(math.fsum(row.tolist()), rel=1e-12)


def test_bools_are_counted() -> None:
    assert kernels.sum(np.ones(300, bool)) == 300
    assert kernels.mean(np.array([True, False])) == 0.5


def test_sums_that_overflow_or_are_no_numbers() -> None:
    assert kernels.sum(np.full(10_000, 1.7e308)) == math.inf
    assert kernels.sum(np.array([[1.7e308], [1.7e308]]), axis=0).tolist() == [math.inf]
    assert kernels.sum([math.inf, 1.0]) == math.inf
    assert math.isnan(kernels.sum([math.inf, -math.inf]))
    assert math.isnan(kernels.mean([math.nan, 1.0]))
    assert math.isnan(kernels.var([math.inf, 1.0]))
    with small_pieces(1):
        assert math.isnan(kernels.sum([math.inf, -math.inf]))
        assert kernels.sum([1e308, 1e308, 1e308]) == math.inf


def exact_variance(a: NDArray[Any]) -> float:
    values = [Fraction(value) for value in a.tolist()]
    mean = sum(values) / len(values)
    return float(sum((value - mean) ** 2 for value in values) / len(values))


def variances(a: NDArray[Any]) -> list[float]:
    """Return the variance of a row in all ways that there are."""
    table = np.stack([a, a[::-1]], axis=1)
    return [kernels.var(a), kernels.describe(a).var, *kernels.var(table, 0), var_inside(a)]


@numba.njit  # type: ignore[untyped-decorator]
def var_inside(a: Any) -> Any:
    return kernels.var(a)


@pytest.mark.parametrize("items", [1 << 20, 300])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u8"])
@pytest.mark.parametrize("offset", [0, 1e8, 1e12, 1e15])
def test_variance_of_values_far_from_zero(offset: float, dtype: str, items: int) -> None:
    """A mean has no digits left there for what squared deviations need."""
    spread = 1.0 if dtype == "f8" else 1000.0
    a = np.random.default_rng(0).normal(size=6000) * spread + 7 * spread
    a = (a + min(offset, 1e9) if dtype == "i4" else a + offset).astype(dtype)
    with small_pieces(items):
        assert variances(a) == pytest.approx([exact_variance(a)] * 5, rel=1e-13)


@pytest.mark.parametrize("first", [0.0, -1e16, 1e149, 1e160, 5e-324])
def test_variance_beside_a_first_value_far_from_the_others(first: float) -> None:
    a = 1e8 + np.random.default_rng(0).normal(size=5000)
    a[0] = first
    with np.errstate(over="ignore"):
        expected = np.inf if first == 1e160 else exact_variance(a)
    for items in (1 << 20, 300):
        with small_pieces(items):
            assert variances(a) == pytest.approx([expected] * 5, rel=1e-13)


def test_values_that_are_all_the_same_have_no_variance() -> None:
    for value in (1e8 + 0.1, -0.1, 1e15 + 0.125, 1e149, 5e-324):
        a = np.full(100_000, value)
        for items in (1 << 20, 999):
            with small_pieces(items):
                assert variances(a) == [0.0] * 5


def test_variance_where_differences_overflow() -> None:
    huge = [1.7e308] * 3
    for values in ([-1.7e308, 1.7e308], [1e200, 1e200, 1.5e200], [1e160, 0], huge, huge * 4000):
        assert variances(np.array(values)) == [math.inf] * 5
    for values in ([math.nan, 1, 2], [math.inf, 1], [1, -math.inf]):
        a = np.array(values)
        assert math.isnan(kernels.var(a))
        assert np.isnan(kernels.var(a[:, None], 0)).all()


def test_variance_of_times_in_nanoseconds() -> None:
    for dtype in ("i8", "u8"):
        stamps = np.array(1_700_000_000_000_000_000, dtype) + np.arange(1 << 17, dtype=dtype)
        with small_pieces(50_000):
            assert kernels.var(stamps) == pytest.approx(((1 << 34) - 1) / 12, rel=1e-12)


def test_ddof() -> None:
    a = np.arange(10.0)
    assert kernels.var(a, ddof=1) == pytest.approx(np.var(a, ddof=1))
    assert math.isnan(kernels.var(a[:1], ddof=1))
    assert kernels.var(a, ddof=11) == math.inf
    table = a.reshape(5, 2)
    np.testing.assert_allclose(kernels.var(table, 0, ddof=1), np.var(table, 0, ddof=1))


def test_standard_deviations_are_roots_of_variances() -> None:
    std_inside = numba.njit(lambda a, ddof: kernels.std(a, ddof=ddof))
    for a in (np.arange(100.0), np.arange(99, dtype="i2")[::-2], np.ones((3, 1)), np.zeros(0)):
        for ddof in (0, 1):
            wanted = np.sqrt(kernels.var(a, ddof=ddof))
            np.testing.assert_array_equal(kernels.std(a, ddof=ddof), wanted)
            assert type(kernels.std(a, ddof=ddof)) is float
            assert std_inside(a, ddof) == wanted or math.isnan(wanted)
    table = np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(kernels.std(table, 0), np.std(table, 0))
    assert math.isnan(kernels.std([math.nan, 1.0]))
    with pytest.raises(ArgumentTypeError, match="std needs bool, integers or floats"):
        kernels.std(["a"])


@pytest.mark.parametrize("dtype", ["c8", "c16", ">c16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_complex_sums(dtype: str, layout: str) -> None:
    parts = sample(np.dtype("f8"), (2, 37, 61))
    a = LAYOUTS[layout]((parts[0] + 1j * parts[1]).astype(dtype))
    exact = a.astype("c16")
    for ours, theirs in (BOTH["sum"], BOTH["mean"]):
        assert ours(a) == pytest.approx(theirs(exact), rel=1e-12)
        assert type(ours(a)) is complex
        np.testing.assert_allclose(ours(a, axis=0), theirs(exact, axis=0), rtol=1e-12)


def test_complex_infinities_stay_apart() -> None:
    assert kernels.sum(np.array([complex(math.inf, 1), 2j])) == complex(math.inf, 3)


# Arguments --------------------------------------------------------------------------------------


REDUCTIONS = ["sum", "mean", "var", "min", "max", "minmax", "argmin", "argmax"]


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("dtype", ["g", "S3", "O", "f8,i4", "G"])
def test_what_is_no_number_is_refused(name: str, dtype: str) -> None:
    with pytest.raises(ArgumentTypeError, match=f"{name} needs bool, integers or floats"):
        getattr(kernels, name)(np.ones(3, dtype))


@pytest.mark.parametrize("name", ["var", "min", "argmax"])
def test_complex_numbers_have_no_order(name: str) -> None:
    with pytest.raises(ArgumentTypeError, match="got complex128"):
        getattr(kernels, name)(np.zeros(3, "c16"))


def test_mapped_arrays(tmp_path: Any) -> None:
    mmapio.save(tmp_path / "a.npy", np.arange(10_000.0).reshape(100, 100))
    with mmapio.open(tmp_path / "a.npy") as a:
        assert kernels.sum(a) == 49_995_000
        assert type(kernels.sum(a, axis=0)) is np.ndarray
        assert kernels.argmax(a[:50]) == 4999


def test_progress_is_for_those_who_watch(capsys: pytest.CaptureFixture[str]) -> None:
    assert kernels.sum(np.ones(10), progress=True) == 10
    assert capsys.readouterr() == ("", "")


# Inside kernels ---------------------------------------------------------------------------------


@numba.njit
def everything(a: Any) -> Any:
    return (
        kernels.sum(a),
        kernels.mean(a),
        kernels.var(a),
        kernels.var(a, ddof=1),
        kernels.min(a),
        kernels.max(a),
        kernels.minmax(a),
        kernels.argmin(a),
        kernels.argmax(a),
    )


@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "i8", "u8", "?"])
def test_the_same_inside_kernels(dtype: str) -> None:
    a = sample(np.dtype(dtype), (67, 131))
    # Each layout is compiled anew, which takes seconds: one dtype has them all.
    others = (np.asfortranarray(a), a[::2, ::-3], a[3], a[:, 3]) if dtype == "f4" else ()
    for array in (a, *others):
        total, mean, var, sample_var, *rest = everything(array)
        assert total == pytest.approx(kernels.sum(array), rel=1e-12)
        assert mean == pytest.approx(kernels.mean(array), rel=1e-12)
        assert var == pytest.approx(kernels.var(array), rel=1e-12)
        assert sample_var == pytest.approx(kernels.var(array, ddof=1), rel=1e-12)
        lo, hi = kernels.minmax(array)
        assert rest == [lo, hi, (lo, hi), kernels.argmin(array), kernels.argmax(array)]


def test_fast_math_of_the_caller_does_not_reach_the_kernels() -> None:
    @numba.njit(fastmath=True)
    def fast(a: Any) -> Any:
        return kernels.sum(a), kernels.min(a), kernels.argmin(a)

    a = with_lost_terms(300)
    assert fast(a)[0] == 98
    a[77] = np.nan
    total, lo, at = fast(a)
    assert math.isnan(total)
    assert math.isnan(lo)
    assert at == 77


def test_nothing_inside_kernels() -> None:
    @numba.njit
    def moments(a: Any) -> Any:
        return kernels.sum(a), kernels.mean(a), kernels.var(a)

    total, mean, var = moments(np.zeros(0))
    assert total == 0
    assert math.isnan(mean)
    assert math.isnan(var)
    for function in (kernels.min, kernels.minmax, kernels.argmin, kernels.argmax):
        name = function.__name__
        inside = numba.njit(lambda a, function=function: function(a))
        with pytest.raises(ArgumentError, match="without items"):
            inside(np.zeros(0))
        with pytest.raises(ArgumentTypeError, match=f"inside kernels, {name} needs an array of"):
            inside(np.zeros(3, "c8"))


@pytest.mark.parametrize("size", [3, 300, 3000, 3 * (1 << 20)])
def test_what_cancels_out_leaves_what_is_small(size: int) -> None:
    """Of neighbours that are added without their errors nothing would be left; nor is by numpy.

    In the sum of a whole array, runs of 8 in a lane are, and along an axis, 8 rows.
    """
    a = np.tile([1e16, 1.0, -1e16], size // 3)
    wanted = math.fsum(a)
    assert kernels.describe(a).sum == wanted
    assert sum_inside(a) == kernels.sum(a)
    columns = kernels.sum(np.stack([a, -a], axis=1), axis=0)
    for found in (kernels.sum(a), columns[0], -columns[1]):
        assert abs(found - wanted) <= 3.01 * ROUNDING * 2e16 * size / 3
    apart = np.zeros((size, 64))
    apart[:, 0] = a
    assert kernels.sum(apart) == sum_inside(apart) == wanted


def families(rng: np.random.Generator, size: int) -> dict[str, NDArray[np.float64]]:
    """Return arrays that sums find hard: of one sign, of all sizes, and that cancel out."""
    normal = rng.normal(size=size)
    large = normal * 10.0 ** rng.integers(-20, 20, size)
    return {
        "of one sign": rng.random(size),
        "far from zero": 1e6 + normal,
        "about zero": normal,
        "of all sizes": large,
        "cancelling": np.concatenate([large, -large[::-1], normal[:9]]),
        "neighbours cancel": np.repeat(large, 2) * np.tile([1.0, -1.0], size),
        "in columns": np.tile(large[: rng.integers(2, 50)], size // 40 + 1),
        "growing": 1.001 ** (np.arange(size) % 20_000),
        "alternating": normal + np.tile([1e15, -1e15], size // 2 + 1)[:size],
        "one giant": np.where(np.arange(size) == size // 2, 1e17, normal),
    }


@pytest.mark.parametrize("size", [65, 500, 5000, 40_000])
def test_float_sums_are_nearer_to_the_truth_than_those_of_numpy(size: int) -> None:
    """Each within the bound, in which numpy's has 19 roundings of each item and more.

    And by family, in the mean of squares and in the worst of 20: on one array numpy may be luckier.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(20):
        for name, a in families(np.random.default_rng(seed), size).items():
            exact = math.fsum(a)
            ours, theirs = abs(kernels.sum(a) - exact), abs(float(a.sum()) - exact)
            scale = math.fsum(abs(a))
            assert ours <= ROUNDING * (3.01 * scale + 2 * abs(exact))
            found.setdefault(name, []).append((ours / scale, theirs / scale))
    for name, errors in found.items():
        ours, theirs = np.transpose(errors)
        assert np.sqrt(np.mean(ours**2)) <= np.sqrt(np.mean(theirs**2)) + ROUNDING / 2, name
        assert max(ours) <= max(theirs) + ROUNDING, name


@pytest.mark.parametrize("layout", ["C", "strided", "inside"])
def test_sums_that_overflow_on_the_way(layout: str) -> None:
    """They have a sum nonetheless: then the items are multiplied first, so that they are small."""
    function = sum_inside if layout == "inside" else kernels.sum
    turned = LAYOUTS["strided"] if layout == "strided" else LAYOUTS["C"]
    for items in ([1.0e308, 0, -1.0e308, -1.0e308], [1.7e308] * 64 + [-1.7e308] * 64):
        for times in (1, 100):
            a = np.tile(items, (times, 1))
            wanted = float(sum(map(Fraction, a.ravel().tolist()))) if times == 1 else 0.0
            wanted = -math.inf if items[1] == 0 and times > 1 else wanted
            with small_pieces(100):
                assert function(turned(a)) == wanted
    for values, wanted in (([math.inf, 1.7e308], math.inf), ([-math.inf, 1, 1.7e308], -math.inf)):
        assert function(np.repeat(values, 300)) == wanted
    for values in ([math.inf, -math.inf], [math.nan, 1.7e308], [math.nan, math.inf]):
        assert math.isnan(function(np.repeat(values, 300)))


@numba.njit  # type: ignore[untyped-decorator]
def sum_inside(a: Any) -> Any:
    return kernels.sum(a)


@pytest.mark.parametrize(
    "function",
    [
        kernels.sum,
        kernels.mean,
        kernels.var,
        kernels.minmax,
        kernels.argmin,
        kernels.count_nonzero,
        kernels.describe,
        kernels.histogram,
        kernels.checksum,
        lambda a: kernels.gather(a, [0]),
        lambda a: kernels.scatter_add(np.zeros(3), [0, 1, 2], a),
    ],
)
def test_masks_are_not_lost_but_refused(function: Any) -> None:
    masked = np.ma.masked_less(np.array([-999, 1, 2]), 0)
    with pytest.raises(ArgumentTypeError, match=r"no masks: use a\.compressed"):
        function(masked)


@pytest.mark.parametrize("function", [kernels.sum, kernels.var, kernels.describe, kernels.checksum])
def test_lists_that_make_no_array_are_refused_in_one_sentence(function: Any) -> None:
    with pytest.raises(ArgumentError, match="a cannot be made an array"):
        function([[1, 2], [3]])
    with pytest.raises(ArgumentError, match="weights cannot be made an array"):
        kernels.histogram([1.0, 2.0], weights=[[1, 2], [3]])


@pytest.mark.parametrize("function", [kernels.var, kernels.std])
def test_an_axis_is_refused_inside_kernels(function: Any) -> None:
    """As a number of degrees of freedom, it would mean something else than in Python."""

    @numba.njit
    def along(a: Any, axis: Any) -> Any:
        return function(a, axis)

    a = np.arange(6.0).reshape(2, 3)
    assert along(a, None) == function(a, None)
    with pytest.raises(ArgumentTypeError, match="has no axis; call it for each row"):
        along(a, 1)
