"""Warnings point at the user's line, and all go one way."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mmapio
from mmapio import _warning
from mmapio.files.attributes import Attributes

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


@pytest.mark.parametrize(
    "call",
    [
        lambda path: mmapio.save(path, [1]),
        lambda path: mmapio.create(path, 3, overwrite=True),
        lambda path: mmapio.open(path, "w+", dtype="u1", shape=3),
        lambda path: mmapio.MappedFile.open(path, "w+", size=1),
        lambda path: mmapio.to_npy(path, f"{path}.npy", "u1", overwrite=True),
    ],
)
def test_a_warning_names_the_line_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[Path], None]
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"123")
    np.save(f"{path}.npy", [1])
    monkeypatch.setattr(Attributes, "_give_list", lambda *_: ["user.x"])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        call(path)
    assert [each.filename for each in seen] == [__file__]
    assert seen[0].lineno == call.__code__.co_firstlineno


def test_a_warning_that_is_an_error_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"123")
    monkeypatch.setattr(Attributes, "_give_list", lambda *_: ["user.x"])
    with pytest.raises(RuntimeWarning, match=r"does not keep of the old one: user\.x"):
        mmapio.save(path, [1])
    assert [each.name for each in tmp_path.iterdir()] == ["x"]
    assert path.read_bytes() == b"123"
