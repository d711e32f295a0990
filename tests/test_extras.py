from __future__ import annotations

import ast
import json
import tomllib
from pathlib import Path

import pytest

from mmapio._extras import require
from mmapio.errors import MissingExtraError, MmapioError

ROOT = Path(__file__).parents[1]


def _module(folder: Path, name: str, source: str) -> str:
    (folder / f"{name}.py").write_text(source)
    return name


def test_an_installed_module_is_returned() -> None:
    assert require("json", "cli") is json
    assert require("json.decoder", "cli") is json.decoder


def test_a_missing_module_names_the_extra_to_install() -> None:
    with pytest.raises(MissingExtraError) as caught:
        require("mmapio_has_no_such_friend", "cli")
    assert str(caught.value) == (
        "this needs mmapio_has_no_such_friend, which is not installed; pip install 'mmapio[cli]'"
    )
    assert caught.value.name == "mmapio_has_no_such_friend"
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


def test_a_missing_parent_is_what_is_named() -> None:
    with pytest.raises(MissingExtraError, match="needs mmapio_has_no_such_friend, which"):
        require("mmapio_has_no_such_friend.auto", "cli")


def test_callers_of_the_built_in_error_catch_it() -> None:
    for expected in (ImportError, MmapioError):
        with pytest.raises(expected):
            require("mmapio_has_no_such_friend", "watch")


def test_a_module_that_lacks_its_own_dependency_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    name = _module(tmp_path, "half_installed", "import mmapio_has_no_such_friend")
    with pytest.raises(ModuleNotFoundError, match="mmapio_has_no_such_friend") as caught:
        require(name, "cli")
    assert not isinstance(caught.value, MmapioError)


def test_a_module_that_is_broken_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    name = _module(tmp_path, "broken_inside", "from json import no_such_name")
    with pytest.raises(ImportError, match="no_such_name") as caught:
        require(name, "cli")
    assert not isinstance(caught.value, MmapioError)


def _requirements(tree: ast.AST) -> list[tuple[str, str]]:
    """Return the (module, extra) of each call of `require` with literal arguments."""
    return [
        (call.args[0].value, call.args[1].value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", getattr(call.func, "attr", None)) == "require"
        and all(isinstance(argument, ast.Constant) for argument in call.args)
    ]


def test_every_extra_that_the_package_names_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for path in (ROOT / "mmapio").rglob("*.py"):
        for module, extra in _requirements(ast.parse(path.read_text())):
            brought = " ".join(extras.get(extra, []))
            assert module.split(".")[0] in brought, f"{path.name}: {extra!r} brings no {module}"
