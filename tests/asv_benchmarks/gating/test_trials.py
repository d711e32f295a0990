"""Outcomes of trials are kept, and forgotten when the code has changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from gating import trials


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "mmapio").mkdir()
    (tmp_path / "mmapio" / "sums.py").write_text("x = 1\n")
    return tmp_path


def test_a_series_is_gone_on_with(repository: Path) -> None:
    file = repository / "state.json"
    first = trials.Trials(file, repository)
    first.add_quiet(True)
    first.add_plant("sum", "busy(3)")
    first.add_found("sum", False)
    first.add_plant("gather", None)
    again = trials.Trials(file, repository)
    assert again.quiet == [True]
    assert again.of("sum") == {"code": "busy(3)", "found": [False]}
    assert again.of("gather") == {"code": None, "found": []}
    assert again.of("open") == {}
    (repository / "mmapio" / "sums.py").write_text("x = 2\n")
    assert trials.Trials(file, repository).quiet == []


def test_nothing_is_kept_without_a_file(repository: Path) -> None:
    one = trials.Trials(None, repository)
    one.add_quiet(False)
    assert one.quiet == [False]
    assert {*repository.iterdir()} == {repository / "mmapio"}
