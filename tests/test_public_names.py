"""What is public is what `mmapio.__all__` lists; the imports beside it say where it comes from."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import mmapio

TREE = ast.parse(Path(mmapio.__file__).read_text(encoding="utf-8"))


def imported(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Yield (name, module within mmapio) of what statements import from it."""
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.level:
            yield from ((alias.name, node.module or "") for alias in node.names)


def for_type_checkers() -> dict[str, str]:
    (block,) = (node for node in TREE.body if isinstance(node, ast.If))
    return dict(imported(block.body))


def test_all_that_is_public_is_imported_and_nothing_else() -> None:
    names = {**dict(imported(TREE.body)), **for_type_checkers()}
    assert sorted(mmapio.__all__) == sorted(names)


def test_names_that_come_on_first_use_come_from_where_type_checkers_look() -> None:
    modules = {name for name, home in for_type_checkers().items() if not home}
    assert {**mmapio._HOMES, **dict.fromkeys(modules, "")} == for_type_checkers()


def test_nothing_else_is_shown() -> None:
    assert [name for name in dir(mmapio) if not name.startswith("__")] == sorted(mmapio.__all__)
    assert {"__all__", "__doc__", "__version__"} <= {*dir(mmapio)}


def test_what_is_not_there_is_no_attribute() -> None:
    assert not hasattr(mmapio, "nonsense")
