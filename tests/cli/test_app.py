"""The program as a whole: usage, help, errors, and what is not installed."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmapio
from mmapio.cli.app import app

WITHOUT_NUMBA = """
import sys
from mmapio.__main__ import main

sys.argv[0] = "mmapio"
try:
    main()
except SystemExit as end:
    assert not end.code
assert "numba" not in sys.modules
"""


def test_version(run_command: Callable[..., Any]) -> None:
    assert run_command("--version") == (0, f"mmapio {mmapio.__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["scan", "--help"], ["info", "-h"], ["warmup", "-h"]]
)
def test_help_fits_into_a_terminal(run_command: Callable[..., Any], arguments: list[str]) -> None:
    found = run_command(*arguments)
    assert found.status == 0
    assert "Usage: mmapio" in found.out
    assert max(map(len, found.out.splitlines())) <= 80


def test_paragraphs_of_help_are_not_broken_anew() -> None:
    """A text too long for a line of 80 columns leaves a word or two on a line of its own."""
    texts = [command.callback.__doc__ for command in app.registered_commands]
    assert all(texts)
    lines = [line for text in texts for line in inspect.cleandoc(text).splitlines()]
    assert [line for line in lines if len(line) > 78] == []


def test_no_arguments_give_help(run_command: Callable[..., Any]) -> None:
    assert "Usage: mmapio" in "".join(run_command()[1:])


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan"],
        ["scna", "x"],
        ["scan", "--shape", "3", "x"],
        ["scan", "--offset", "3", "x"],
        ["scan", "--dtype", "nonsense", "x"],
        ["scan", "--dtype", "f4", "--shape", "3,x", "x"],
        ["scan", "--threads", "0", "x"],
        ["scan", "--order", "K", "x"],
        ["info", "--unknown", "x"],
        ["warmup", "x"],
    ],
)
def test_wrong_usage_has_its_own_status(
    run_command: Callable[..., Any], arguments: list[str]
) -> None:
    assert run_command(*arguments).status == 2


@pytest.mark.parametrize("command", ["scan", "info"])
def test_the_other_files_are_looked_at(
    run_command: Callable[..., Any], command: str, numbers: Path, text: Path, tmp_path: Path
) -> None:
    found = run_command(command, numbers, tmp_path / "none", text)
    assert found.status == 1
    assert found.out.startswith(f"{numbers}\n")
    assert f"\n{text}\n" in found.out
    assert re.fullmatch(r"mmapio: error: .*No such file or directory: '.*none'\n", found.err)


def test_errors_are_in_the_json_as_well(
    run_command: Callable[..., Any], numbers: Path, truncated: Path
) -> None:
    found = run_command("scan", "--json", truncated, numbers)
    broken, whole = found.json
    assert found.status == 1
    assert broken == {"path": str(truncated), "error": broken["error"]}
    assert "truncated" in broken["error"]
    assert whole["shape"] == [1000, 20]
    assert found.err.startswith("mmapio: error: ")


def test_an_error_names_its_file(run_command: Callable[..., Any], truncated: Path) -> None:
    os.truncate(truncated, 50)
    found = run_command("scan", truncated)
    assert found.err.startswith(f"mmapio: error: {truncated}: .npy header is truncated")
    assert found.err.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no such names on this platform")
def test_names_are_harmless_to_a_terminal(run_command: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "red\x1b[31m[bold]"
    path.touch()
    found = run_command("scan", path, tmp_path / "none\x07")
    assert "\x1b" not in found.out
    assert r"red\x1b[31m[bold]" in found.out
    assert "\x07" not in found.err


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["info", __file__]])
def test_what_scans_nothing_imports_no_numba(
    arguments: list[str], run_python: Callable[..., str]
) -> None:
    assert run_python(WITHOUT_NUMBA, *arguments)


@pytest.mark.parametrize("missing", ["typer", "rich", "tqdm"])
def test_what_is_not_installed_is_told_in_one_line(
    run_apart: Callable[..., Any], missing: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {missing!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(mmapio.__file__).parents[1])])
    found = run_apart("scan", __file__, PYTHONPATH=path)
    expected = f"this needs {missing}, which is not installed; pip install 'mmapio[cli]'"
    assert found == (2, "", f"mmapio: error: {expected}\n")
