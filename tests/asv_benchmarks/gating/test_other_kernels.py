"""A process with the kernels of another tree: takes samples, and says what that tree lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.kernel_table.cases import Case
from gating import sides
from gating.other_kernels import OtherKernels

ROOT = Path(__file__).parents[3]
MAXIMUM = "def max(a):\n    return a.max()\n"


def tree_of(directory: Path, kernels: str) -> Path:
    """Return a tree whose mmapio has these kernels, in Python."""
    (directory / "mmapio").mkdir()
    (directory / "mmapio" / "__init__.py").write_text("")
    (directory / "mmapio" / "kernels.py").write_text(kernels)
    return directory


def test_the_kernels_are_those_of_the_tree(tmp_path: Path) -> None:
    other = OtherKernels(tree_of(tmp_path, MAXIMUM))
    other.prepare(Case("max", "1-d", "u1", "100k"))
    (sample,) = other.turn(3)
    assert sample.wall_s > 0
    other.prepare(Case("min", "1-d", "u1", "100k"))  # it has none
    assert other.turn(3) == []
    other.close()


def test_a_process_that_ends_is_reported(tmp_path: Path) -> None:
    other = OtherKernels(tmp_path)  # there is no mmapio in it
    with pytest.raises(sides.WorkerError, match="ended: status"):
        other.prepare(Case("max", "1-d", "u1", "100k"))
    other.close()
