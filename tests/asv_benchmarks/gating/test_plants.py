"""Slow-downs made on purpose: each has a function of mmapio to be planted in."""

from __future__ import annotations

import ast
import builtins
import importlib
from pathlib import Path
from typing import Any

import pytest
from gating import chosen, plants


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
    code = ast.parse(what.code.removeprefix("@"))
    names = {node.id for node in ast.walk(code) if isinstance(node, ast.Name)}
    given = {node.arg for node in ast.walk(functions[0].args) if isinstance(node, ast.arg)}
    known = vars(importlib.import_module(f"mmapio.{what.file[:-3].replace('/', '.')}"))
    assert names - given - known.keys() - vars(builtins).keys() == set()


def test_every_plant_takes_root(tmp_path: Path) -> None:
    for what in plants.PLANTS:
        tree = plants.plant(what, chosen.HERE.parent, tmp_path / what.name, "raise SystemExit")
        source = (tree / "mmapio" / what.file).read_text()
        assert source.count("raise SystemExit\n") == 1
        assert what.benchmark in set(map(str, chosen.listed_in(chosen.HERE)))


def test_what_is_planted_fills_the_time() -> None:
    (unit, few), (_, many) = plants._filling(1e-7), plants._filling(1e-6)
    assert unit == "_ = 0"
    assert 1 <= few < many
    assert plants._filling(1e-3)[0] == "pass"
