"""Trials of the gate: false alarms are counted, and slow-downs that were found."""

from __future__ import annotations

from typing import Any

import pytest
from gating import decision, honesty, plants
from gating.decision import Verdict


def run(verdict: Any, *benchmarks: str) -> Any:
    """Return a run in which these benchmarks got this verdict."""
    row = {"verdict": verdict, "reason": "no room", "first": None, "again": None}
    if verdict != Verdict.BROKEN:
        row |= {"first": {"ratio": 1.2}, "again": {"ratio": 1.3}}
    return honesty.Run(dict.fromkeys(benchmarks, row), verdict not in decision.FAILURES, 1.0)


QUIET, ALARM, BROKEN = (run(verdict, "x") for verdict in ("same", "SLOWER", "BROKEN"))
FOUND = run("SLOWER", *(what.benchmark for what in plants.PLANTS))


@pytest.mark.parametrize(
    ("runs", "status", "line"),
    [
        ([QUIET] * 3 + [FOUND] * 5, 0, "0 of 3 runs failed where nothing changed"),
        ([QUIET, ALARM, QUIET] + [FOUND] * 5, 0, "1 of 3 runs failed where nothing changed"),
        ([BROKEN, QUIET, QUIET] + [FOUND] * 5, 0, "FAIL in 1 s, 0 looked at twice x no room"),
        ([ALARM, ALARM, QUIET] + [FOUND] * 5, 1, "2 of 3 runs failed where nothing changed"),
        ([QUIET] * 3 + [FOUND] * 4 + [ALARM], 1, "4 of 5 slow-downs of a quarter were found"),
        ([QUIET] * 4 + [FOUND] * 4, 1, "open made slower by 25%: found"),
    ],
)
def test_what_is_trusted(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    runs: list[Any],
    status: int,
    line: str,
) -> None:
    left = iter(runs)
    monkeypatch.setattr(honesty, "copy_of", lambda tree, directory: directory)
    monkeypatch.setattr(honesty, "grown", lambda what, clean, directory, suite: (clean, 0.25))
    monkeypatch.setattr(honesty, "gate", lambda base, head, under: next(left))
    assert honesty.main(["--runs", "3"]) == status
    assert line in capsys.readouterr().out
