"""Trials of the gate: false alarms are counted, and how often slow-downs were found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gating import decision, honesty, plants
from gating.decision import Estimate, Verdict

QUARTER = Estimate(1.25, 1.22, 1.28)
NO_PLANT = Estimate(1.03, 0.98, 1.33)


def run(verdict: Any, *benchmarks: str) -> Any:
    """Return a run in which these benchmarks got this verdict."""
    row = {"verdict": verdict, "reason": "no room", "first": None, "again": None}
    if verdict != Verdict.BROKEN:
        row |= {"first": {"ratio": 1.2}, "again": {"ratio": 1.3}}
    return honesty.Run(dict.fromkeys(benchmarks, row), verdict not in decision.FAILURES, 1.0)


QUIET, ALARM, BROKEN = (run(verdict, "x") for verdict in ("same", "SLOWER", "BROKEN"))
FOUND = run("SLOWER", *(what.benchmark for what in plants.PLANTS))
WANTED = ["--runs", "3", "--times", "2", "--plants", "open", "sum"]


def tried(
    monkeypatch: pytest.MonkeyPatch, runs: list[Any], slower: Estimate, *more: str
) -> tuple[int, list[Any]]:
    """Let honesty run with these outcomes; return its status, and which benchmarks were asked."""
    left, asked = iter(runs), []

    def answer(self: Any, only: str | None = None) -> Any:
        asked.append(only)
        try:
            return next(left)
        except StopIteration:
            raise RuntimeError("that was all") from None

    made = plants.Grown(Path("tree"), slower, "busy(7)", [0.33, 0.03])
    monkeypatch.setattr(honesty, "copy_of", lambda tree, directory: directory)
    monkeypatch.setattr(honesty, "grown", lambda what, clean, directory, suite: made)
    monkeypatch.setattr(honesty, "plant", lambda what, clean, directory, code: directory)
    monkeypatch.setattr(honesty.Trial, "run", answer)
    return honesty.main([*WANTED, *more]), asked


@pytest.mark.parametrize(
    ("runs", "status", "line"),
    [
        ([QUIET] * 3 + [FOUND] * 4, 0, "0 of 3 runs failed where nothing changed"),
        ([QUIET, ALARM, QUIET] + [FOUND] * 4, 1, "1 of 3 runs failed where nothing changed"),
        ([BROKEN, QUIET, QUIET] + [FOUND] * 4, 1, "FAIL in 1 s, 0 looked at twice x no room"),
        ([QUIET] * 3 + [FOUND] * 3 + [ALARM], 1, "sum: found 1 of 2 times"),
        ([QUIET] * 3 + [FOUND] * 3 + [QUIET], 1, "open: made slower by 25% (22% to 28%)"),
    ],
)
def test_what_is_trusted(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    runs: list[Any],
    status: int,
    line: str,
) -> None:
    found, asked = tried(monkeypatch, runs, QUARTER)
    assert found == status
    assert line in capsys.readouterr().out
    benchmarks = {what.name: what.benchmark for what in plants.PLANTS}
    assert asked == [None] * 3 + [benchmarks["open"]] * 2 + [benchmarks["sum"]] * 2


def test_a_plant_that_cannot_be_made_is_neither_found_nor_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, asked = tried(monkeypatch, [QUIET] * 3, NO_PLANT)
    assert (status, asked) == (0, [None] * 3)
    out = capsys.readouterr().out
    assert "attempts gave 33%, 3%, the last one 3% (-2% to 33%)" in out
    assert "sum: could not be made here\n" in out
    assert "found" not in out


def test_a_series_that_was_ended_is_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    state = ("--state", str(tmp_path / "state.json"))
    with pytest.raises(RuntimeError):  # it ran out of outcomes, in the midst of a plant
        tried(monkeypatch, [QUIET] * 3 + [FOUND], QUARTER, *state)
    kept = json.loads((tmp_path / "state.json").read_text())
    assert kept["plants"]["open"] == {"code": "busy(7)", "found": [True]}
    status, asked = tried(monkeypatch, [FOUND] * 3, QUARTER, *state)
    assert (status, len(asked)) == (0, 3)
    assert "open: found 2 of 2 times" in capsys.readouterr().out
