"""Measuring of kernels and peers: who agrees, who is the best, and what a sample is."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from benchmarks.kernel_table import measuring, works
from benchmarks.kernel_table.cases import Case
from benchmarks.kernel_table.measuring import Figures, Measurement

CASE = Case("max", "1-d", "u1", "100k")


def work_of(**peers: Any) -> works.Work:
    return works.Work(lambda k, d: k.max(d.a), peers)


def no_such_type(_: Any) -> Any:
    raise TypeError("no such\ntype")


def not_installed(_: Any) -> Any:
    raise NotImplementedError("is not installed")


def test_peers_that_find_something_else_or_raise_are_left_out_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peers = {
        "numpy": lambda d: np.max(d.a),
        "least": lambda d: np.min(d.a),
        "all": lambda d: d.a,
        "raises": no_such_type,
        "absent": not_installed,
    }
    monkeypatch.setitem(works.WORKS, "max", work_of(**peers))
    found = measuring.measure(CASE, measuring.Stage(), 0)
    assert {*found.peers} == {"numpy"}
    assert found.left_out == {
        "least": "finds something else: 0, not 252",
        "all": "finds something else: (100000,) items, not 252",
        "raises": "raises TypeError: no such",
        "absent": "is not installed",
    }


def test_a_first_call_that_takes_long_makes_no_peer_hopeless() -> None:
    once: list[None] = []

    def slow_at_first() -> None:
        if not once:
            once.append(time.sleep(0.1))

    sides = {"mmapio": int, "slow at first": slow_at_first, "slow": lambda: time.sleep(0.01)}
    assert {*measuring._contenders(sides)} >= {"mmapio", "slow at first"}


def test_what_is_changed_is_empty_before_each_side_and_compared_after_it() -> None:
    case = Case("scatter_add-1000", "1-d", "f8", "100k")
    assert measuring.disagreeing(case, case.does.peers) == {}


def test_a_kernel_that_is_not_there_yet_has_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(works.WORKS, "max", works.Work(lambda k, d: k.maximum(d.a), {}))
    found = measuring.measure(CASE, measuring.Stage(), 0)
    assert (found.ours, found.peers) == (None, {})
    assert "maximum" in found.left_out["mmapio"]


def test_another_mmapio_takes_its_turns_between_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        asked: list[Any]

        def prepare(self, case: Case) -> None:
            self.asked = [case]

        def turn(self, calls: int) -> list[measuring.Sample]:
            self.asked.append(calls)
            return [measuring.Sample(2.0, 4.0)]

    other = Other()
    monkeypatch.setitem(works.WORKS, "max", work_of(numpy=lambda d: np.max(d.a)))
    found = measuring.measure(CASE, measuring.Stage(), 0, other)
    assert found.before == Figures(2.0, 4.0, 2.0, 4.0)
    assert other.asked == [CASE, *other.asked[1:2] * measuring.FEWEST_SAMPLES]


def test_the_best_is_looked_for_by_each_figure() -> None:
    ours = Figures(2.0, 4.0, 2.0, 4.0)
    peers = {"one": Figures(1.0, 9.0, 1.0, 9.0), "two": Figures(3.0, 3.0, 1.5, 3.0)}
    found = Measurement(CASE, ours, peers, {})
    assert (found.best("wall_s"), found.ratio("wall_s")) == ("one", 0.5)
    assert (found.best("cpu_s"), found.ratio("cpu_s")) == ("two", 0.75)
    assert found.ratio("wall_s", Figures(4.0, 1.0, 4.0, 1.0)) == 0.25
    assert Measurement(CASE, ours, {}, {}).ratio("wall_s") is None


def test_figures_are_medians_and_the_lowest_fifth() -> None:
    samples = [measuring.Sample(float(i), 10.0 * i) for i in range(1, 11)]
    assert measuring.figures_of(samples) == Figures(5.5, 55.0, 1.5, 15.0)


def test_short_work_is_called_many_times_for_a_sample() -> None:
    calls = []
    measuring.sampled(lambda: calls.append(1), 5)
    assert len(calls) == 6  # the first brings back what it needs into the caches
    assert measuring.inner_calls(lambda: None) > 100
