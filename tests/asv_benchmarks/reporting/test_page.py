"""The page of figures says what was measured: known figures make a known page."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from reporting import figures, heat_map, kernel_table, page, ratios

ROOT = Path(__file__).parents[3]


def found(row: int, figure: float | None, **more: Any) -> dict[str, Any]:
    """Return what a benchmark with a target of 2 found."""
    said = {"name": f"bench.Some.track_{row}", "what": f"work {row}", "unit": "x", "skipped": ""}
    return said | {"row": row, "at_most": 2.0, "reason": "", "figure": figure} | more


FIGURES: dict[str, Any] = {
    "crate": "1.0.0",
    "quick": False,
    "facts": {"date": "2026-11-26", "Python": "CPython 3.11.7"},
    "targets": [
        found(1, 1.999),
        found(2, 2.001, reason="the disk is slow"),
        found(3, None, skipped="there is no disk"),
        found(4, 12345.6, unit="ns"),
    ],
    "tables": [
        {
            "title": "Reading",
            "note": "By one thread.",
            "rows": [
                {"what": "1 MiB", "crate": "9 ns", "seconds": {"mmapio": 3e-9, "mmap": 2e-9}},
                {"what": "2 MiB", "crate": "", "seconds": {"mmapio": 1.5e-3, "numpy": 6.0}},
                {"what": "3 MiB", "crate": "1 s", "seconds": {"mmapio": 25.04e-6}},
            ],
        },
        {
            "title": "Growth",
            "note": "",
            "rows": [{"what": "16 GiB", "crate": "", "seconds": {"mmapio": 1.0}}],
        },
    ],
    "peers": {
        "ways": ["h5py", "mmapio", "zarr"],
        "rows": [{"what": "sum", "seconds": {"h5py": 0.004, "mmapio": 0.001}}],
        "skipped": {"zarr": "zarr is not installed; pip install zarr"},
        "nbytes": "32 MiB",
    },
    "memory": {"peaks": {"sum": {"mmapio": 0.04, "numpy.memmap": 64.0}}, "nbytes": "128 MiB"},
}


def lines_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| ")]


def test_targets_are_met_missed_or_skipped() -> None:
    text = page.targets(FIGURES["targets"])
    assert lines_of(text)[1:] == [
        "| 1 | work 1 | 2 | 2 x | met |",
        "| 2 | work 2 | 2.001 | 2 x | **missed**; reason 1 |",
        "| 3 | work 3 | - | 2 x | skipped: there is no disk |",
        "| 4 | work 4 | 12,346 | 2 ns | **missed** |",
    ]
    assert "4 figures" in text
    assert "1 are met, 2 are\nmissed, 1 could not" in text
    assert text.endswith("\n1. the disk is slow.\n")


def test_a_table_has_the_crate_all_ways_and_a_ratio() -> None:
    text = page.table(FIGURES["tables"][0])
    assert text.startswith("\n### Reading\n\nBy one thread.\n\n| ")
    assert lines_of(text) == [
        "|  | crate, elsewhere | mmapio | mmap | numpy | mmapio / fastest peer |",
        "| --- | --- | --- | --- | --- | --- |",
        "| 1 MiB | 9 ns | 3 ns | 2 ns | - | 1.5 |",
        "| 2 MiB | - | 1.5 ms | - | 6 s | 0.00025 |",
        "| 3 MiB | 1 s | 25 µs | - | - | - |",
    ]


def test_a_table_without_the_crate_has_no_column_for_it() -> None:
    assert lines_of(page.table(FIGURES["tables"][1])) == [
        "|  | mmapio | mmapio / fastest peer |",
        "| --- | --- | --- |",
        "| 16 GiB | 1 s | - |",
    ]


def test_what_is_ours_too_is_no_peer() -> None:
    seconds = {"mmapio": 3.0, "mmapio, ShardedCounter": 1.0, "multiprocessing.Value": 4.0}
    assert page.against_fastest(seconds) == "0.75"


def test_peers_that_are_not_there_are_told_with_the_reason() -> None:
    text = page.peers(FIGURES["peers"])
    assert lines_of(text)[2:] == ["| sum | 1 | 4 | - | 0.25 |"]
    assert "zarr: zarr is not installed; pip install zarr.\n" in text


def test_memory_is_told_for_both() -> None:
    assert lines_of(page.memory(FIGURES["memory"]))[-1] == "| sum | 0.0 | 64.0 |"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.999e-9, "0.999 ns"),
        (12.34e-9, "12.3 ns"),
        (1e-6, "1 µs"),
        (123.456e-6, "123 µs"),
        (1e-3, "1 ms"),
        (1.0, "1 s"),
        (1234.5, "1,234 s"),
    ],
)
def test_times_are_told_in_the_unit_that_suits_them(seconds: float, told: str) -> None:
    assert page.duration(seconds) == told


def test_page_of_figures_that_were_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(FIGURES), encoding="utf-8")
    assert figures.main(["--figures", str(kept)]) == 0
    text = capsys.readouterr().out
    assert "| date | 2026-11-26 |\n| Python | CPython 3.11.7 |\n" in text
    assert "quick run" not in text
    assert text == page.page(FIGURES)
    assert figures.main(["--figures", str(kept), "--output", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == text
    assert not (tmp_path / "page.json").exists()
    with pytest.raises(SystemExit):
        figures.main(["--output", str(tmp_path / "nowhere" / "page.md")])
    assert "there is no directory" in capsys.readouterr().err


def test_a_quick_run_is_called_one() -> None:
    assert "quick run" in page.page(FIGURES | {"quick": True})


def test_the_page_of_the_project_is_made_of_its_figures() -> None:
    docs = ROOT / "docs"
    kept = json.loads((docs / "performance.json").read_text(encoding="utf-8"))
    kernels = kernel_table.loaded(docs / "performance-kernels.json")
    pictures = heat_map.pictures(Path("performance-kernels.svg"))
    made = page.page(kept, kernels, {name: file.name for name, file in pictures.items()})
    assert (ROOT / "docs" / "performance.md").read_text(encoding="utf-8") == made


def test_every_bar_of_the_picture_is_a_figure() -> None:
    bars = runpy.run_path(str(ROOT / "docs" / "ratios_picture.py"))["BARS"]
    assert {bar.name for bar in bars} <= {figure.name for figure in ratios.figures()}
