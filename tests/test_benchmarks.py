"""Every benchmark can be set up, run and cleared away; the table of ratios tells what was met.

Nothing here asserts a time.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "asv_benchmarks"))
ratios = importlib.import_module("ratios")
common = importlib.import_module("benchmarks.common")

KINDS = list(ratios.classes())


@pytest.fixture(autouse=True)
def _quick_and_in_sight(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take one sample of each side of little, and let nobody leave a file where it is not seen."""
    monkeypatch.setattr(common, "ROUNDS", 1)
    monkeypatch.setattr(common, "LARGE_BYTES", 32 << 20)
    monkeypatch.setattr(common, "FRESH_ROUNDS", 1)
    monkeypatch.setattr(common, "SAMPLE_S", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def benchmarks_of(kind: type) -> list[str]:
    return [name for name in dir(kind) if name.startswith(("time_", "timeraw_", "track_"))]


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KINDS for name in benchmarks_of(kind)]
)
def test_benchmark_runs_and_leaves_nothing(kind: type, name: str, tmp_path: Path) -> None:
    smallest = ratios.combinations(kind)[0]
    try:
        with ratios.prepared(kind, smallest) as benchmark:
            found = getattr(benchmark, name)(*smallest)
    except NotImplementedError as error:  # what asv skips a benchmark for
        pytest.skip(str(error))
    if name.startswith("timeraw_"):
        code, setup = found
        common.run_fresh(f"{setup}\n{code}")
    elif name.startswith("track_"):
        assert found > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_first_parameters_are_the_smallest(kind: type) -> None:
    combinations = ratios.combinations(kind)
    assert combinations[0] == min(combinations)


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_has_a_unit(kind: type) -> None:
    figures = [name for name in benchmarks_of(kind) if name.startswith("track_")]
    assert [name for name in figures if not hasattr(getattr(kind, name), "unit")] == []


def test_all_rows_that_are_built_have_a_target() -> None:
    rows = {*range(1, 9), *range(12, 27)}
    assert rows <= {figure.target.row for figure in ratios.figures()}


class Measured:
    """Stands for benchmarks whose figures are known."""

    params = ([1 << 20, 3], ["C"])

    @common.target(row=98, at_most=2.0)  # type: ignore[untyped-decorator]
    def track_ratio_met(self, *_: Any) -> float:
        """Good enough (target: at most 2)."""
        return 2.0

    @common.target(row=97, at_most=10, unit="ns")  # type: ignore[untyped-decorator]
    def track_missed(self, *_: Any) -> float:
        """Too slow (target: at most 10 ns)."""
        return 10.5


def test_table_tells_what_was_met_and_what_was_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ratios, "classes", lambda: [Measured])
    assert ratios.main([]) == 1
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()[2:]] == [
        "97 10.5 10 ns FAIL Too slow, 1 MiB, C",
        "97 10.5 10 ns FAIL Too slow, 3, C",
        "98 2 2 x pass Good enough, 1 MiB, C",
        "98 2 2 x pass Good enough, 3, C",
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
