"""Commits to compare: where a branch left the main one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from gating import gate, trees

MMAPIO = "def work():\n    sum(range({turns}))\n"


def test_main_is_compared_with_the_commit_before(repository: Callable[..., None]) -> None:
    repository("main", MMAPIO.format(turns=1))
    first = trees.git(gate.REPOSITORY, "rev-parse", "HEAD")
    with pytest.raises(trees.TreeError, match=r"HEAD\^|\^"):
        trees.merge_base(gate.REPOSITORY, "HEAD")
    repository("main", MMAPIO.format(turns=2))
    assert trees.merge_base(gate.REPOSITORY, "HEAD") == first
    repository("branch", MMAPIO.format(turns=3))
    assert trees.merge_base(gate.REPOSITORY, "HEAD") == trees.git(
        gate.REPOSITORY, "rev-parse", "main"
    )


def test_a_tree_that_is_kept_is_unpacked_once(repository: Callable[..., None]) -> None:
    repository("main", MMAPIO.format(turns=1))
    kept, name = trees.kept_tree_of(gate.REPOSITORY, "HEAD")
    assert name == trees.git(gate.REPOSITORY, "log", "-1", "--format=%h %s")
    (kept / "compiled").touch()
    again, _ = trees.kept_tree_of(gate.REPOSITORY, "HEAD")
    assert (again / "compiled").exists()
    assert [*kept.parent.iterdir()] == [kept]
    assert trees.kept_tree_of(gate.REPOSITORY, str(kept))[0] == kept
