"""Figures of the page: what they depend on, and who could not be measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks import bench_kernels, common
from benchmarks.kernel_table.cases import cases
from benchmarks.kernel_table.measuring import Figures, Measurement
from reporting import figures, kernel_table

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="is measured on Linux alone")


def test_who_cannot_do_one_thing_is_asked_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    class Work:
        params = ("h5py", "mmapio")

        def setup(self, name: str, refusal: str) -> None:
            self.peer = name
            if refusal and name == "h5py":
                raise NotImplementedError(refusal)

        def work(self, peer: str) -> None: ...

    asked = [("a", Work, ("no disk",)), ("b", Work, ("",)), ("c", Work, ("1 CPU",))]
    monkeypatch.setattr(figures.bench_peers, "TABLE", asked)
    found = figures.peers(2)
    assert [{*row["seconds"]} for row in found["rows"]] == [
        {"mmapio"},
        {"h5py", "mmapio"},
        {"mmapio"},
    ]
    assert found["skipped"] == {"h5py": "no disk; 1 CPU"}


@on_linux
def test_what_the_figures_depend_on_is_told() -> None:
    told = figures.facts()
    assert {"date", "mmapio", "Python", "packages", "processor", "memory", "system"} <= {*told}
    assert all(told.values())


def found(name: str, row: int, figure: float) -> dict[str, Any]:
    said = {"name": name, "row": row, "figure": figure, "what": name, "unit": "x"}
    return said | {"at_most": 1.0, "reason": "", "skipped": ""}


def test_kernels_alone_are_made_anew_and_all_other_figures_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")
    for name in ("BUDGET_S", "FEWEST_ROUNDS", "FRESH_ROUNDS"):
        monkeypatch.setattr(common, name, getattr(common, name))
    monkeypatch.setattr(bench_kernels, "MEASURED", {})
    once, twice = Figures(1.0, 1.0, 1.0, 1.0), Figures(2.0, 2.0, 2.0, 2.0)
    table = [Measurement(case, once, {"numpy": twice}, {}) for case in cases()]
    kernel_table.save(table, tmp_path / "table.json")
    kept = [found("bench_open.Open.track", 15, 1.5), found("bench_new.New.track", 40, 0.5)]
    before = {"crate": "1.0.0", "quick": False, "facts": {"date": "then"}, "tables": []}
    before |= {"peers": {"ways": [], "rows": [], "skipped": {}, "nbytes": "1 MiB"}}
    before |= {"memory": {"peaks": {}, "nbytes": "1 MiB"}}
    before["targets"] = [kept[0], found("bench_kernels.Kernels.track", 30, 9.0), kept[1]]
    (tmp_path / "page.json").write_text(json.dumps(before))
    page = tmp_path / "page.md"
    given = ["--only-kernels", "--kernels", str(tmp_path / "table.json"), "--output", str(page)]
    assert figures.main(given) == 0
    after = json.loads((tmp_path / "page.json").read_text())
    targets = after.pop("targets")
    assert all(after[name] == before[name] for name in before.keys() - {"facts", "targets"})
    assert [targets[0], targets[-1]] == kept
    assert {(one["row"], one["figure"]) for one in targets[1:-1]} == {(30, 0.5), (31, 0.5)}
    assert kernel_table.loaded(tmp_path / "page-kernels.json") == table
    assert "(page-kernels-wall.svg)" in page.read_text()
    assert (tmp_path / "page-kernels-cpu.svg").is_file()
    text = page.read_text()
    assert figures.main(["--figures", str(tmp_path / "page.json"), "--output", str(page)]) == 0
    assert page.read_text() == text


@pytest.mark.parametrize(
    "wrong",
    [["--kernels", "table.json"], ["--only-kernels"], ["--only-kernels", "--output", "x.md"]],
)
def test_kernels_alone_need_the_figures_of_the_rest(
    wrong: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        figures.main(wrong)
