"""Slow-downs made on purpose: each has a function of mmapio to be planted in."""

from __future__ import annotations

import ast
import builtins
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gating import chosen, decision, plants


@pytest.mark.parametrize("what", plants.PLANTS, ids=lambda what: what.name)
def test_every_plant_has_its_place(what: Any) -> None:
    """Whoever moves or renames a function that is planted in is told here to move the plant."""
    file = chosen.HERE.parent / "mmapio" / what.file
    assert file.exists(), f"{what.name}: there is no mmapio/{what.file}"
    functions = [
        node
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.FunctionDef) and node.name == what.function
    ]
    assert len(functions) == 1, f"{what.name}: {what.function} is there {len(functions)} times"
    # What the planted code calls has to be known in that place.
    code = ast.parse(what.code.removeprefix("@").replace("UNITS", "1"))
    names = {node.id for node in ast.walk(code) if isinstance(node, ast.Name)}
    given = {node.arg for node in ast.walk(functions[0].args) if isinstance(node, ast.arg)}
    known = vars(importlib.import_module(f"mmapio.{what.file[:-3].replace('/', '.')}"))
    assert names - given - known.keys() - vars(builtins).keys() - {"busy"} == set()


def test_every_plant_takes_root(tmp_path: Path) -> None:
    for what in plants.PLANTS:
        tree = plants.plant(what, chosen.HERE.parent, tmp_path / what.name, "raise SystemExit")
        source = (tree / "mmapio" / what.file).read_text()
        assert source.count("raise SystemExit\n") == 1
        assert what.benchmark in set(map(str, chosen.listed_in(chosen.HERE)))


SUMMING = """
import numba

@numba.njit
def total(x):
    found = 0
    for item in x:
        found += item
    return found
"""


@pytest.mark.parametrize(("count", "told"), [("7", 7), ("9000", 8), ("x.size * 9000 >> 10", 8)])
def test_a_loop_of_a_kernel_has_what_was_planted(count: str, told: int, tmp_path: Path) -> None:
    """Counted, not timed: it is still there when the compiler is done, once or as a loop."""
    (tmp_path / "mmapio").mkdir()
    (tmp_path / "mmapio" / "__init__.py").touch()
    (tmp_path / "mmapio" / f"{plants.BUSY}.py").write_text(plants.LOOP)
    (tmp_path / "mmapio" / "sums.py").write_text(
        plants.planted(SUMMING, "total", f"busy({count})", "found += item")
    )
    code = (
        "import numpy\nfrom mmapio.sums import total\nassert total(numpy.arange(4)) == 6\n"
        "(assembly,) = total.inspect_asm().values()\nprint(assembly.count('nop'))"
    )
    command = [sys.executable, "-P", "-c", f"import sys; sys.path[:0] = {[str(tmp_path)]}\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) == told


class Machine:
    """A machine on which so many units take so much of a benchmark's time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, share_of: Any) -> None:
        self.tried: list[int] = []
        self.looks = 0

        def plant(what: Any, tree: Path, directory: Path, code: str) -> Path:
            self.tried.append(int(code[len("busy(") : -1]))
            return directory

        def slower(*_: Any) -> decision.Estimate:
            self.looks += 1
            ratio = 1 + share_of(self.tried[-1], self.looks)
            return decision.Estimate(ratio, ratio - 0.02, ratio + 0.02)

        monkeypatch.setattr(plants, "plant", plant)
        monkeypatch.setattr(plants, "_slower", slower)

    def grown(self) -> plants.Grown:
        (what,) = (one for one in plants.PLANTS if one.name == "gather")
        return plants.grown(what, Path("clean"), Path("trees"), chosen.HERE)


@pytest.mark.parametrize("of_one", [0.2, 0.025, 1e-3, 1e-5])
@pytest.mark.parametrize("free", [0, 8])
def test_a_plant_is_grown_until_it_is_a_quarter(
    monkeypatch: pytest.MonkeyPatch, of_one: float, free: int
) -> None:
    machine = Machine(monkeypatch, lambda units, look: max(0, units - free) * of_one)
    made = machine.grown()
    assert made.is_made
    assert made.code == f"busy({machine.tried[-1]})"


def test_what_a_closer_look_finds_too_little_is_grown_on(monkeypatch: pytest.MonkeyPatch) -> None:
    luck = [0.25, 0.19, 0.31, 0.28]  # a look, a closer one, and both of what is planted next
    machine = Machine(monkeypatch, lambda units, look: luck[look - 1])
    made = machine.grown()
    assert made.is_made
    assert (machine.looks, len(machine.tried)) == (4, 2)
    assert machine.tried[0] < machine.tried[1]


@pytest.mark.parametrize(
    "share_of",
    [
        lambda units, look: [0.33, 0.03, -0.01][(look - 1) % 3],  # noise, as on one machine
        lambda units, look: 0.0,
        lambda units, look: 0.6 * units,  # one turn is too much
    ],
)
def test_what_is_no_quarter_is_no_plant(monkeypatch: pytest.MonkeyPatch, share_of: Any) -> None:
    machine = Machine(monkeypatch, share_of)
    assert not machine.grown().is_made
    assert len(machine.tried) <= plants.ATTEMPTS


def test_what_is_planted_fills_the_time() -> None:
    (unit, few), (_, many) = plants._filling(1e-7), plants._filling(1e-6)
    assert unit == "_ = 0"
    assert 1 <= few < many
    assert plants._filling(1e-3)[0] == "pass"
