"""The files of `_os` are one interface: the same names, the same signatures, by reading them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "mmapio" / "_os"
REFERENCE = "_stub"
PLATFORMS = ("_linux", "_posix", "_windows")

Trees = dict[str, ast.Module]


def exported(tree: ast.Module) -> list[str]:
    """Return the literal `__all__` of a module."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    raise AssertionError("no literal __all__")


def definition(trees: Trees, module: str, name: str) -> str | None:
    """Return how a module defines a name, in words that can be compared; None: it does not."""
    for node in ast.walk(trees[module]):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            returns = ast.unparse(node.returns) if node.returns else "nothing"
            return f"({ast.unparse(node.args)}) -> {returns}"
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            return f"a constant, {ast.unparse(node.annotation)}"
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module in trees:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return definition(trees, node.module, alias.name)
    return None


def breaches(trees: Trees, module: str) -> list[str]:
    """Return where a module differs from the reference."""
    names, expected = exported(trees[module]), exported(trees[REFERENCE])
    found = [f"{module} lacks {name}" for name in expected if name not in names]
    found += [f"{module} adds {name}" for name in names if name not in expected]
    for name in (name for name in names if name in expected):
        here, there = definition(trees, module, name), definition(trees, REFERENCE, name)
        if here is None or here != there:
            found.append(f"{module}.{name} is {here}, but {REFERENCE}.{name} is {there}")
    return found


def read() -> Trees:
    return {path.stem: ast.parse(path.read_text("utf-8")) for path in FOLDER.glob("*.py")}


@pytest.mark.parametrize("module", PLATFORMS)
def test_a_platform_is_like_the_reference(module: str) -> None:
    assert breaches(read(), module) == []


def test_the_package_hands_on_every_name() -> None:
    assert set(exported(read()["__init__"])) >= set(exported(read()[REFERENCE]))


CONTRACT = """
__all__ = ["PAGE_SIZE", "sync"]
PAGE_SIZE: Final = 4096
def sync(address: int, length: int) -> None: ...
"""


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"sync"]', "]", "_linux lacks sync"),
        ('"sync"]', '"sync", "punch"]', "_linux adds punch"),
        ("length: int", "size: int", "_linux.sync is (address: int, size: int) -> None, but"),
        ("length: int", "length: int = 0", "_linux.sync is"),
        ("-> None", "-> int", "_linux.sync is"),
        ("PAGE_SIZE:", "PAGESIZE:", "_linux.PAGE_SIZE is None, but"),
        ("def sync", "def sink", "_linux.sync is None, but"),
        (CONTRACT.split("\n", 2)[2], "from ._posix import PAGE_SIZE, other as sync", "_linux.sync"),
    ],
)
def test_the_contract_can_be_breached(old: str, new: str, complaint: str) -> None:
    posix = CONTRACT + "def other(address: int) -> None: ...\n"
    trees = {"_stub": ast.parse(CONTRACT), "_posix": ast.parse(posix)}
    trees["_linux"] = ast.parse(CONTRACT.replace(old, new))
    assert [found for found in breaches(trees, "_linux") if complaint in found]


def test_names_taken_from_a_sibling_count() -> None:
    taken = CONTRACT.split("\n", 2)[1] + "\nfrom ._posix import PAGE_SIZE, sync\n"
    trees = {"_stub": ast.parse(CONTRACT), "_posix": ast.parse(CONTRACT)}
    assert breaches(trees | {"_linux": ast.parse(taken)}, "_linux") == []
