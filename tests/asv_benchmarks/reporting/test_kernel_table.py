"""The table of kernels: measured, kept as JSON, printed, and drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.kernel_table.cases import Case
from benchmarks.kernel_table.measuring import Figures, Measurement
from reporting import heat_map, kernel_lines, kernel_section, kernel_table

FAST = Measurement(
    Case("sum", "1-d", "f8", "256MiB"),
    Figures(1e-3, 1e-3, 1e-3, 1e-3),
    {"numpy": Figures(2e-3, 2e-3, 2e-3, 2e-3), "polars": Figures(1.5e-3, 3e-3, 1e-3, 2e-3)},
    {"duckdb": "is not installed"},
    Figures(4e-3, 5e-3, 4e-3, 5e-3),
)
SLOW = Measurement(
    Case("axis0-max", "C 3 wide", "u1", "100k"),
    Figures(1e-3, 2e-3, 1e-3, 2e-3),
    {"numpy": Figures(0.99951e-3, 1e-3, 1e-3, 1e-3)},
    {},
)
ABSENT = Measurement(Case("std", "1-d", "f8", "100k"), None, {}, {"mmapio": "there is no std"})
FOUND = [FAST, SLOW, ABSENT]


def test_measurements_come_back_from_their_file(tmp_path: Path) -> None:
    kernel_table.save(FOUND, tmp_path / "found.json")
    assert kernel_table.loaded(tmp_path / "found.json") == [
        FAST,
        SLOW._replace(peers={"numpy": Figures(0.9995e-3, 1e-3, 1e-3, 1e-3)}),
        ABSENT,
    ]
    assert len((tmp_path / "found.json").read_text().splitlines()) == len(FOUND) + 2


def test_lines_mark_what_is_below_one() -> None:
    fast, slow, absent = map(kernel_lines.line, FOUND)
    assert [kernel_lines.marks(one) for one in FOUND] == ["  ", "wC", "  "]
    assert "wall  1.50 ( 1.00) polars" in fast
    assert "cpu  2.00 ( 2.00) numpy" in fast
    assert fast.endswith("before 0.38/0.40, now 4.00/5.00 x as fast")
    assert "wC  wall  1.00 ( 1.00) numpy" in slow
    assert absent.endswith("there is no std")


def test_a_summary_counts_cases_that_could_be_compared() -> None:
    (told,) = kernel_lines.summary(FOUND)
    assert told.startswith("2 cases, 1 below 1 (1 of them by wall)")
    assert list(kernel_lines.summary([ABSENT])) == []


def test_figures_of_a_run_before_are_shown_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel_table.save(FOUND, tmp_path / "found.json")
    assert kernel_table.main(["--figures", str(tmp_path / "found.json"), "--below"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["axis0-max", "2"]


def test_a_case_is_measured_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "now.json"
    chosen = ["--only", "max", "--dtypes", "u1", "--sizes", "100", "--layouts", "1-D"]
    assert kernel_table.main([*chosen, "--seconds", "0", "--json", str(out)]) == 0
    (found,) = kernel_table.loaded(out)
    assert found.case == Case("max", "1-d", "u1", "100k")
    assert found.ours is not None
    assert found.ours.wall_s > 0
    assert "1 cases" in capsys.readouterr().out


def test_a_run_that_is_ended_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(case: Case, *_: object) -> Measurement:
        if case.dtype == "f8":
            raise SystemExit(143)
        return FAST._replace(case=case)

    monkeypatch.setattr(kernel_table, "measure", measure)
    out = tmp_path / "some.json"
    with pytest.raises(SystemExit):
        kernel_table.main(
            ["--only", "max", "--sizes", "100k", "--dtypes", "f4,f8", "--json", str(out)]
        )
    assert {one.case.dtype for one in kernel_table.loaded(out)} == {"f4"}


@pytest.mark.parametrize("wrong", [["--dtypes", "f3"], ["--sizes", "2GiB"], ["--only", "nothing"]])
def test_what_is_not_there_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        kernel_table.main(wrong)
    assert ended.value.code


def test_pictures_of_both_times_are_drawn_and_always_the_same(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")
    files = heat_map.draw(FOUND, tmp_path / "kernels.svg")
    assert [file.name for file in files] == ["kernels-wall.svg", "kernels-cpu.svg"]
    wall, cpu = (file.read_text() for file in files)
    for told in ("0.99", "1.5", "axis0-max", "100,000 items", "256 MiB", "by the clock"):
        assert told in wall
    assert "0.50" in cpu
    heat_map.draw(FOUND, tmp_path / "kernels.svg")
    assert files[0].read_text() == wall


@pytest.mark.parametrize(
    ("ratio", "told"),
    [(0.0161, "0.01"), (0.9999, "0.99"), (1.0, "1.0"), (9.96, "10"), (260.4, "260")],
)
def test_a_cell_never_rounds_up_to_one(ratio: float, told: str) -> None:
    assert heat_map.told(ratio) == told


def test_a_ratio_of_one_has_the_colour_of_neither_side() -> None:
    red, green, blue, _ = heat_map._color(1.0)
    assert min(red, green, blue) > 0.9
    slower, faster = heat_map._color(0.25), heat_map._color(4.0)
    assert slower[0] > slower[2]  # orange
    assert faster[2] > faster[0]  # violet
    assert heat_map._color(0.01) == slower


def test_the_section_of_the_page_counts_by_size_and_lists_the_worst_first() -> None:
    text = kernel_section.section(FOUND, {"wall": "kernels-wall.svg"})
    assert "size: 2 cases" in text
    assert "![Ratios of all kernels, wall](kernels-wall.svg)" in text
    assert "| 256 MiB | 1 | 0 | 0 | 1.50 | 2.00 |" in text
    assert "| 100,000 items | 1 | 1 | 1 | 1.00 | 0.50 |" in text
    assert "The 1 worst of 1 cases below 1" in text
    many = kernel_section.section([SLOW] * 40, {})
    assert "The 25 worst of 40 cases below 1" in many
    assert many.count("| axis0-max |") == 25
    assert (
        "| axis0-max | C 3 wide | u1 | 100,000 items | 1 ms | 1.000 numpy | 0.500 numpy |" in text
    )
    assert "<details>" not in kernel_section.section([FAST], {})
