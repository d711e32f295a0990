"""The contract of `_os`, kept by each platform: names and signatures, compared in the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mmapio import _os
from mmapio._os import _contract, _stub

FOLDER = Path(__file__).parents[2] / "mmapio" / "_os"
CONTRACT = "_contract"

Trees = dict[str, ast.Module]


def names(tree: ast.Module) -> list[str]:
    """Return the names of the contract: constants and functions."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found.append(node.name)
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.target).isupper():
            found.append(ast.unparse(node.target))
    return [name for name in found if name != "NAMES"]


def chains(tree: ast.Module) -> list[tuple[str, ...]]:
    """Return the modules that `_os` takes its names from, per platform, the first one first."""
    return [
        tuple(ast.unparse(module) for module in node.value.elts)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) == "_modules"
        and isinstance(node.value, ast.Tuple)
    ]


def definition(tree: ast.Module, name: str) -> str | None:
    """Return a definition in words that can be compared; None if the module has none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            returns = ast.unparse(node.returns) if node.returns else "nothing"
            return f"({ast.unparse(node.args)}) -> {returns}"
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            return "a constant"
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return f"imported from {node.module}.{alias.name}"
    return None


def breaches(trees: Trees, chain: tuple[str, ...]) -> list[str]:
    """Return where the modules of a platform differ from the contract."""
    found = []
    for name in names(trees[CONTRACT]):
        told = [(module, definition(trees[module], name)) for module in chain]
        own = [(module, here) for module, here in told if here and "imported" not in here]
        module, here = own[0] if own else (chain[0], None)
        there = definition(trees[CONTRACT], name)
        if here != there:
            found.append(f"{module}.{name} is {here}, but {CONTRACT}.{name} is {there}")
        # A module may use what another defines, but must not hand on what one behind it replaces.
        first = next((said for said in told if said[1]), (module, here))
        if first[0] != module and first[1] != f"imported from {module}.{name}":
            found.append(f"{first[0]}.{name} is {first[1]}, which hides {module}.{name}")
    return found


def read() -> Trees:
    return {path.stem: ast.parse(path.read_text("utf-8")) for path in FOLDER.glob("*.py")}


CHAINS = chains(read()["__init__"])
PLATFORMS = [chain for chain in CHAINS if chain != ("_stub",)]


@pytest.mark.parametrize("chain", PLATFORMS, ids=" ".join)
def test_a_platform_keeps_the_contract(chain: tuple[str, ...]) -> None:
    assert breaches(read(), chain) == []


def test_every_platform_is_looked_at() -> None:
    assert [chain[0] for chain in CHAINS] == ["_stub", "_linux", "_windows", "_posix"]
    assert CHAINS[1][-1] == "_posix"


@pytest.mark.parametrize("module", [_os, _stub], ids=["here", "stub"])
def test_every_name_of_the_contract_is_there(module: object) -> None:
    assert list(_contract.NAMES) == names(read()[CONTRACT])
    for name in _contract.NAMES:
        here, there = getattr(module, name), getattr(_contract, name)
        assert callable(here) if callable(there) else isinstance(here, type(there)), name


TEXT = """
PAGE_SIZE: int = 4096
def sync(address: int, length: int) -> None: ...
"""


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("length: int", "size: int", "_linux.sync is (address: int, size: int) -> None, but"),
        ("length: int", "length: int = 0", "_linux.sync is"),
        ("-> None", "-> int", "_linux.sync is"),
        ("PAGE_SIZE:", "PAGESIZE:", "_linux.PAGE_SIZE is None, but"),
        ("def sync", "def sink", "_linux.sync is None, but"),
        ("PAGE_SIZE: int = 4096", "def PAGE_SIZE() -> int: ...", "_linux.PAGE_SIZE is () -> int"),
        (TEXT.split("\n", 2)[2], "from ._elsewhere import sync", "_linux.sync is None, but"),
    ],
)
def test_the_contract_can_be_breached(old: str, new: str, complaint: str) -> None:
    trees = {CONTRACT: ast.parse(TEXT), "_linux": ast.parse(TEXT.replace(old, new))}
    assert [found for found in breaches(trees, ("_linux",)) if complaint in found]


def test_a_name_that_hides_another_is_found() -> None:
    trees = {CONTRACT: ast.parse(TEXT), "_huge": ast.parse(TEXT), "_posix": ast.parse(TEXT)}
    trees["_linux"] = ast.parse("from ._posix import sync")
    assert breaches(trees, ("_linux", "_huge", "_posix")) == [
        "_linux.sync is imported from _posix.sync, which hides _huge.sync"
    ]


def test_names_of_a_sibling_count() -> None:
    trees = {CONTRACT: ast.parse(TEXT), "_posix": ast.parse(TEXT)}
    trees["_linux"] = ast.parse("from ._posix import sync")
    assert breaches(trees, ("_linux", "_posix")) == []
