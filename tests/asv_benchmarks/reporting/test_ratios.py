"""The table of ratios says what was met, what was missed, and what could not be measured."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks import common
from reporting import ratios


@pytest.fixture(autouse=True)
def _samples_are_as_many_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what the program sets for its own process, which here is that of other tests."""
    for name in ("FEWEST_ROUNDS", "BUDGET_S", "FRESH_ROUNDS"):
        monkeypatch.setattr(common, name, getattr(common, name))


class Measured:
    """Stands for benchmarks whose figures are known."""

    params = ([1 << 20, 3], ["C"])
    param_names = ("nbytes", "order")

    @common.target(row=98, at_most=2.0)  # type: ignore[untyped-decorator]
    def track_ratio_met(self, *_: Any) -> float:
        """Good enough (target: at most 2)."""
        return 2.0

    @common.target(row=97, at_most=10, unit="ns")  # type: ignore[untyped-decorator]
    def track_missed(self, *_: Any) -> float:
        """Too slow (target: at most 10 ns)."""
        return 10.5


def test_every_row_has_a_target() -> None:
    assert {figure.target.row for figure in ratios.figures()} == {*range(1, 32)}


def test_table_tells_what_was_met_and_what_was_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ratios, "classes", lambda: [Measured])
    assert ratios.main([]) == 1
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()[2:]] == [
        "97 10.5 10 ns FAIL Too slow, 1 MiB, C",
        "97 10.5 10 ns FAIL Too slow, 3 B, C",
        "98 2 2 x pass Good enough, 1 MiB, C",
        "98 2 2 x pass Good enough, 3 B, C",
    ]


def test_table_tells_what_could_not_be_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise NotImplementedError("no such disk")

    monkeypatch.setattr(ratios, "classes", lambda: [Measured])
    monkeypatch.setattr(Measured, "setup", refuse, raising=False)
    assert ratios.main(["97"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[:6] == [
        "97",
        "-",
        "10",
        "ns",
        "skip",
        "Too",
    ]


def test_table_of_some_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ratios, "classes", lambda: [Measured])
    assert ratios.main(["98"]) == 0
    assert "Too slow" not in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"no benchmark has a target of row 5; rows: \[97, 98\]"):
        ratios.main(["98", "5"])
