"""Decisions of the gate from samples, good and bad."""

from __future__ import annotations

import random
from typing import Any

import pytest
from gating import decision, gate
from gating.decision import Verdict

SEEDS = 40
THRESHOLD = 0.15


@pytest.fixture
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "RESAMPLES", 100)


def samples(slow: float, seed: int, processes: int, rounds: int, noise: float) -> list[list[float]]:
    """Return ratios as a busy machine gives them: each pair of processes has its own luck."""
    chance = random.Random(seed)
    groups = []
    for _ in range(processes):
        luck = chance.lognormvariate(0, noise / 2)
        turns = [slow * luck * chance.lognormvariate(0, noise) for _ in range(rounds)]
        turns[chance.randrange(rounds)] *= chance.choice([0.2, 5])  # something else ran
        groups.append(turns)
    return groups


def decide(slow: float, seed: int, noise: float) -> Any:
    first = decision.estimate(samples(slow, seed, *gate.FIRST, noise))
    again = None
    if decision.is_suspect(first, THRESHOLD):
        again = decision.estimate(samples(slow, -1 - seed, *gate.AGAIN, noise))
    return decision.verdict(first, again, THRESHOLD)


@pytest.mark.usefixtures("_few_resamples")
@pytest.mark.parametrize(
    ("slow", "noise", "wanted"),
    [
        (1.25, 0.05, Verdict.SLOWER),
        (1.25, 0.01, Verdict.SLOWER),
        (3.0, 0.2, Verdict.SLOWER),
        (1.0, 0.05, Verdict.SAME),
        (1.0, 0.15, Verdict.SAME),
        (1.05, 0.05, Verdict.SAME),
        (0.9, 0.05, Verdict.SAME),
        (0.7, 0.05, Verdict.FASTER),
    ],
)
def test_what_is_decided(slow: float, noise: float, wanted: Any) -> None:
    assert {decide(slow, seed, noise) for seed in range(SEEDS)} == {wanted}


def test_one_unlucky_pair_of_processes_decides_nothing() -> None:
    assert decision.estimate([[1.4] * 8, [1.0] * 8, [1.01] * 8]).ratio == 1.01


def test_an_estimate_tells_how_sure_it_is() -> None:
    sure = decision.estimate([[1.2] * 8] * 3)
    assert sure == (1.2, 1.2, 1.2)
    unsure = decision.estimate([[0.8, 1.2, 1.6], [0.7, 1.2, 1.7]])
    assert unsure.low < 1 < unsure.ratio < unsure.high
    assert decision.estimate([[1.2]]) == (1.2, 1.2, 1.2)


def test_both_looks_have_to_find_a_slow_down() -> None:
    slow, same, unsure = (
        decision.Estimate(*numbers) for numbers in ((1.3, 1.2, 1.4), (1.0, 0.9, 1.1), (1.3, 0.9, 2))
    )
    assert decision.verdict(slow, same, THRESHOLD) == Verdict.SAME
    assert decision.verdict(slow, unsure, THRESHOLD) == Verdict.UNSURE
    assert decision.verdict(slow, slow, THRESHOLD) == Verdict.SLOWER
    third = decision.Estimate(1.33, 0.9, 2)  # by the median of many processes: that is no noise
    assert decision.verdict(slow, third, THRESHOLD) == Verdict.SLOWER
    assert not decision.is_suspect(same, THRESHOLD)
    assert decision.is_suspect(decision.Estimate(1.08, 1.0, 1.2), THRESHOLD)
    assert decision.is_suspect(decision.Estimate(1.0, 0.8, 1.2), THRESHOLD)
    assert [decision.is_unsure(found, THRESHOLD) for found in (slow, same, unsure)] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("verdicts", "passed"),
    [
        ([], False),
        ([Verdict.SKIPPED, Verdict.NEW, Verdict.REMOVED], False),
        ([Verdict.SAME, Verdict.NEW, Verdict.REMOVED, Verdict.SKIPPED], True),
        ([Verdict.FASTER], True),
        ([Verdict.UNSURE], True),
        ([Verdict.SAME, Verdict.SLOWER], False),
        ([Verdict.SAME, Verdict.BROKEN], False),
    ],
)
def test_what_passes(verdicts: list[Any], passed: bool) -> None:
    assert decision.has_passed(verdicts) is passed
