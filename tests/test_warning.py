"""Warnings point at the user's line, and all go one way."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import mmapio
from mmapio import _warning

PACKAGE = Path(mmapio.__file__).parent


def test_a_warning_points_at_the_caller() -> None:
    with pytest.warns(RuntimeWarning, match="odd") as told:
        _warning.warn("odd")
    assert told[0].filename == __file__


def test_frames_of_the_package_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    code = compile("def deep(n): return deep(n - 1) if n else warn('odd')", "deep.py", "exec")
    names = {"warn": _warning.warn}
    monkeypatch.setattr(_warning, "_PACKAGE", "deep")
    exec(code, names)
    with pytest.warns(RuntimeWarning) as told:
        names["deep"](5)
    assert told[0].filename == __file__


def test_a_caller_that_is_nobody_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_warning, "_PACKAGE", "")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        _warning.warn("odd")
    assert len(told) == 1


def test_nobody_else_warns() -> None:
    others = [path.name for path in PACKAGE.rglob("*.py") if "warnings.warn(" in path.read_text()]
    assert others == ["_warning.py"]
