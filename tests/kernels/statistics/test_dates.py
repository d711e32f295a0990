"""Scans of dates and periods beside numpy's, pandas' and exact arithmetic."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from mmapio import kernels
from mmapio.errors import ArgumentError, ArgumentTypeError
from mmapio.kernels.engine import pieces
from mmapio.kernels.statistics import dates
from mmapio.kernels.statistics.merging import merge

DTYPES = ["M8[D]", ">M8[ns]", "M8[ms]", "m8[s]", ">m8[us]", "m8[25s]", "m8"]
LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "C": lambda a: a,
    "F": lambda a: np.asfortranarray(a),
    "strided": lambda a: np.repeat(np.repeat(a, 2, 0), 3, 1)[::2, ::3],
    "reversed": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "0-d": lambda a: a[0, 0].reshape(()) if isinstance(a[0, 0], np.ndarray) else np.array(a[0, 0]),
}


def sample(dtype: str, *, nats: bool = False, shape: tuple[int, int] = (211, 7)) -> NDArray[Any]:
    ticks = np.random.default_rng(0).integers(-(10**5), 10**5, shape)
    if nats:
        ticks[[5, 100], 3] = np.iinfo("i8").min
    kind = np.dtype(dtype)
    return ticks.view(kind.newbyteorder("=")).astype(kind)


def same(found: Any, expected: Any) -> None:
    """Both are equal, NaT included, and of the same type."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found.view("i8"), expected.astype(found.dtype).view("i8"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("nats", [False, True])
def test_extremes_and_their_places_are_numpys(dtype: str, layout: str, nats: bool) -> None:
    a = LAYOUTS[layout](sample(dtype, nats=nats))
    same(kernels.min(a), a.min())
    same(kernels.max(a), a.max())
    for found, expected in zip(kernels.minmax(a), (a.min(), a.max()), strict=True):
        same(found, expected)
    assert (kernels.argmin(a), kernels.argmax(a)) == (a.argmin(), a.argmax())
    if a.ndim:
        same(kernels.min(a, axis=0), a.min(axis=0))
        same(kernels.max(a, axis=0), a.max(axis=0))


@pytest.mark.parametrize("dtype", [each for each in DTYPES if "m8" in each])
@pytest.mark.parametrize("nats", [False, True])
def test_sums_and_means_of_periods_are_numpys(dtype: str, nats: bool) -> None:
    a = sample(dtype, nats=nats)
    same(kernels.sum(a), a.sum())
    same(kernels.sum(a, axis=0), a.sum(axis=0))
    same(kernels.mean(a), a.mean())
    same(kernels.mean(a, axis=0), a.mean(axis=0))
    same(kernels.sum(a[:0].reshape(-1)), a[:0].sum())


@pytest.mark.parametrize("dtype", ["M8[s]", ">M8[ns]"])
def test_means_of_dates_are_those_of_pandas(dtype: str) -> None:
    a = sample(dtype)
    same(
        kernels.mean(a),
        pd.Series(a.astype("M8[ns]").reshape(-1)).mean().to_datetime64().astype(a.dtype),
    )
    assert np.isnat(kernels.mean(sample(dtype, nats=True)))
    assert np.isnat(kernels.mean(a[:0].reshape(-1)))


@pytest.mark.parametrize("axis", [None, 0])
def test_means_are_exact(axis: int | None) -> None:
    """Of ticks whose sums are far beyond 64 bits, and that floats do not tell apart."""
    ticks = 1_700_000_000_000_000_000 + np.arange(3000, dtype="i8").reshape(1000, 3) ** 3
    exact = np.array(ticks.astype(object).sum(axis=axis) // (3000 if axis is None else 1000), "i8")
    found = np.asarray(kernels.mean(ticks.view("M8[ns]"), axis=axis))
    assert found.view("i8").tolist() == exact.tolist()


def test_dates_have_no_sum_and_no_variance() -> None:
    a = sample("M8[s]")
    with pytest.raises(ArgumentTypeError, match="dates cannot be added"):
        kernels.sum(a)
    for each in (a, a - a[0, 0]):
        with pytest.raises(ArgumentTypeError, match="squared units"):
            kernels.var(each)


@pytest.mark.parametrize("dtype", ["M8[s]", ">m8[ns]"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_deviations_are_periods(dtype: str, axis: int | None) -> None:
    ticks = 1_700_000_000_000_000 + np.arange(3000, dtype="i8").reshape(1000, 3) ** 3
    a = ticks.view(np.dtype(dtype).newbyteorder("=")).astype(dtype)
    period = np.dtype(dtype.replace("M8", "m8")).newbyteorder("=")
    for ddof in (0, 1):
        wanted = np.rint(np.std(ticks - ticks[0, 0], axis, ddof=ddof)).astype("i8").view(period)
        same(kernels.std(a, axis, ddof=ddof), wanted[()])
    a[7, 1] = "NaT"
    found = np.asarray(kernels.std(a, axis=axis))
    assert found.dtype == period
    lost = np.isnat(a).any(axis=axis)
    assert np.isnat(found).tolist() == lost.tolist()


def test_deviations_that_no_period_expresses() -> None:
    assert np.isnat(kernels.std(np.array([], "M8[s]")))
    assert np.isnat(kernels.std(np.array([5], "m8[s]"), ddof=1))
    ends = np.array([2**63 - 1, 1 - 2**63]).view("m8[s]")
    assert kernels.std(ends // 2) == np.timedelta64(2**62, "s")
    assert np.isnat(kernels.std(ends, ddof=1))


def test_values_are_counted_and_found_in_any_unit() -> None:
    a = np.array(["2020-01-01", "2020-01-02", "NaT", "2020-01-02"], ">M8[D]")
    values: list[Any] = [
        np.datetime64("2020-01-02"),
        np.datetime64("2020-01-02T00:00", "ns"),
        dt.date(2020, 1, 2),
        dt.datetime(2020, 1, 2),
        pd.Timestamp("2020-01-02"),
    ]
    for value in values:
        assert kernels.count(a, value) == 2
        assert kernels.find(a, value) == 1
        assert kernels.find_all(a, value).tolist() == [1, 3]
    for absent in (np.datetime64("2020-01-02T01"), np.datetime64("NaT"), np.datetime64(10**6, "Y")):
        assert (kernels.count(a, absent), kernels.find(a, absent)) == (0, -1)
    assert kernels.count_nonzero(np.array([0, 1, "NaT"], "M8[s]")) == 2
    periods = np.array([0, 60, 3600], "m8[s]")
    assert kernels.find(periods, np.timedelta64(1, "h")) == 2
    assert kernels.find(periods, dt.timedelta(minutes=1)) == 1
    assert kernels.find(periods, 60) == 1


@pytest.mark.parametrize(
    "value", ["2020-01-02", 5, 1.5, dt.datetime(2020, 1, 1, tzinfo=dt.UTC), [np.datetime64(1, "s")]]
)
def test_values_of_other_kinds_are_refused(value: Any) -> None:
    for function in (kernels.count, kernels.find, kernels.find_all):
        with pytest.raises(ArgumentTypeError):
            function(sample("M8[s]"), value)


def test_periods_are_no_dates() -> None:
    with pytest.raises(ArgumentTypeError):
        kernels.count(sample("M8[s]"), np.timedelta64(1, "s"))
    with pytest.raises(ArgumentTypeError):
        kernels.count(sample("m8[s]"), np.datetime64(1, "s"))
    with pytest.raises(ArgumentTypeError):
        kernels.count(np.arange(3), np.datetime64(1, "s"))


# describe ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("nats", [False, True])
def test_descriptions_leave_nat_out(
    dtype: str, nats: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "_DIRECT_BYTES", 800)
    monkeypatch.setattr(pieces, "_COPIED_ITEMS", 100)
    a = sample(dtype, nats=nats)
    d = kernels.describe(a, bins=16)
    native = a.dtype.newbyteorder("=")
    kept = a[~np.isnat(a)].astype(native)
    ticks = kept.view("i8")
    assert (d.count, d.nans, d.infs, d.zeros) == (a.size, 2 * nats, 0, int((ticks == 0).sum()))
    same(d.min, kept.min())
    same(d.max, kept.max())
    same(d.mean, kernels.mean(kept))
    period = native.str.replace("M8", "m8")
    same(d.std, np.array(round(ticks.std()), "i8").view(period))
    same(d.sum, kept.sum() if "m8" in dtype else np.timedelta64("NaT").astype(period))
    assert d.var == pytest.approx(ticks.var())
    assert d.edges.dtype == native
    assert d.counts.tolist() == np.histogram(kept.view("i8"), d.edges.view("i8"))[0].tolist()


def test_descriptions_of_nanoseconds_have_exact_edges() -> None:
    ticks = 1_700_000_000_000_000_001 + np.arange(100)
    d = kernels.describe(ticks.view("M8[ns]"))
    assert d.counts.tolist() == [1] * 100
    assert d.edges.view("i8").tolist() == [*ticks.tolist(), int(ticks[-1]) + 1]
    assert d.var == pytest.approx((100**2 - 1) / 12)


@pytest.mark.parametrize("values", [[], ["NaT", "NaT"]])
def test_nothing_to_describe(values: list[str]) -> None:
    d = kernels.describe(np.array(values, "M8[s]"))
    assert (d.count, d.nans, d.zeros) == (len(values), len(values), 0)
    assert all(np.isnat(each) for each in (d.min, d.max, d.mean, d.sum, d.std))
    assert math.isnan(d.var)


@pytest.mark.parametrize("dtype", ["M8[s]", "m8[ms]"])
def test_parts_make_the_whole(dtype: str) -> None:
    a = sample(dtype, nats=True).reshape(-1)
    whole = kernels.describe(a, bins=16)
    parts = [kernels.describe(part, bins=16) for part in (a[:500], a[500:501], a[501:], a[:0])]
    found = merge(parts, 16)
    assert (found.count, found.nans, found.zeros) == (whole.count, whole.nans, whole.zeros)
    same(found.min, whole.min)
    same(found.max, whole.max)
    assert abs(int((found.mean - whole.mean).view("i8"))) <= 1
    assert found.counts.tolist() == whole.counts.tolist()
    same(found.edges, whole.edges)


# histogram --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES[:-1])
@pytest.mark.parametrize("unit", ["same", "D", "h", "ms", "ns"])
def test_histograms_between_edges_of_any_unit_are_numpys(dtype: str, unit: str) -> None:
    a = sample(dtype, nats=True)
    kept = a[~np.isnat(a)]
    native = a.dtype.newbyteorder("=")
    ticks = np.sort(np.random.default_rng(1).choice(kept.astype(native).view("i8"), 30))
    edges = ticks.view(native)
    if unit != "same":
        near = edges.astype(f"{native.kind}8[{unit}]")
        if (near.astype(native) == edges).all():  # a finer unit: between the ticks as well
            near = np.concatenate([near, near - 1, near + 1])
        edges = np.sort(near)
    expected, _ = np.histogram(kept, edges)
    found, ours = kernels.histogram(a, edges)
    assert found.tolist() == expected.tolist()
    same(ours, edges)


def test_histograms_of_equal_width_have_edges_of_a_unit_that_suits() -> None:
    days = np.array(["2020-01-01", "2020-01-02", "2020-01-04", "NaT"], "M8[D]")
    span = (np.datetime64("2020-01-01"), np.datetime64("2020-01-04"))
    counts, edges = kernels.histogram(days, 2, span)
    assert counts.tolist() == [2, 1]
    middle = dt.datetime(2020, 1, 2, 12)
    assert edges.tolist() == [dt.datetime(2020, 1, 1), middle, dt.datetime(2020, 1, 4)]
    same(kernels.histogram(days[:3], 2)[1], edges)
    with pytest.raises(ArgumentError, match="NaT; give range="):
        kernels.histogram(days, 2)
    counts, edges = kernels.histogram(np.arange(10**6).view("m8[s]"), 4)
    assert edges.tolist() == [dt.timedelta(seconds=s) for s in (0, 249999, 499999, 749999, 999999)]
    assert counts.sum() == 10**6
    counts, edges = kernels.histogram(np.full(5, 7).view("m8"), 3)
    assert (counts.tolist(), edges.view("i8").tolist()) == ([5, 0, 0], [7, 8, 9, 10])
    assert kernels.histogram(np.zeros(0, "M8[s]"), 3)[0].tolist() == [0, 0, 0]


def test_histograms_of_the_last_date_alone_have_edges_before_it() -> None:
    last = np.array([(1 << 63) - 1, (1 << 63) - 1]).view("m8[h]")
    for options in ({}, {"range": (last[0], last[0])}):
        counts, edges = kernels.histogram(last, 3, **options)
        assert (counts.tolist(), edges[-1]) == ([0, 0, 2], last[0])
        assert (np.diff(edges.view("i8")) > 0).all()


def test_histograms_of_dates_with_weights_and_densities() -> None:
    a = np.array(["2020-01-01", "2020-01-02", "2020-01-04"], "M8[D]")
    edges = np.array(["2020-01-01", "2020-01-03", "2020-01-07"], "M8[D]")
    found, _ = kernels.histogram(a, edges, weights=[1.0, 2.0, 0.5])
    assert found.tolist() == [3.0, 0.5]
    assert kernels.histogram(a, edges, density=True)[0].tolist() == [1 / 3, 1 / 12]


def test_edges_of_dates_that_cannot_be() -> None:
    a = sample("M8[ns]")
    day = np.datetime64("2020-01-01")
    far, nat = np.datetime64(10**6, "Y"), np.datetime64("NaT")
    for wrong in ([day, nat], [day, day - 1], [[day, day]], [day, far]):
        with pytest.raises(ArgumentError):
            kernels.histogram(a, np.array(wrong))
    for strange in ([1, 2], [np.timedelta64(1, "s")] * 2):
        with pytest.raises(ArgumentTypeError):
            kernels.histogram(a, strange)
    for span in ((day, day - 1), (day,), (day, nat)):
        with pytest.raises(ArgumentError):
            kernels.histogram(a, 3, span)
    with pytest.raises(ArgumentTypeError):
        kernels.histogram(a, 3, ("2020-01-01", "2020-01-02"))
    for bins in (0, -1):
        with pytest.raises(ArgumentError, match="positive"):
            kernels.histogram(a, bins)
    with pytest.raises(ArgumentTypeError):
        kernels.histogram(a, 1.5)


def test_masked_dates_are_refused() -> None:
    masked = np.ma.masked_array(np.zeros(3, "M8[s]"), [0, 1, 0])
    for function in (kernels.min, kernels.mean, kernels.describe, kernels.count_nonzero):
        with pytest.raises(ArgumentTypeError, match="mask"):
            function(masked)


def test_no_dates_have_no_extremes() -> None:
    for function in (kernels.min, kernels.max, kernels.argmin, kernels.argmax):
        with pytest.raises(ArgumentError, match="without items"):
            function(np.zeros(0, "M8[s]"))


def test_a_mean_of_dates_that_change_between_two_passes_is_one() -> None:
    """The first pass may have seen the greatest tick, and the second one another."""
    array = dates.Dates(np.zeros(1, "m8[s]"))
    rule = dates.average(lambda ticks: 0, lambda ticks: -(2**62))
    assert not np.isnat(rule(array, lambda ticks: 2.0**63))
