"""Kernels read what others change meanwhile, and neither crash nor invent places (promise 20)."""

from __future__ import annotations

from pathlib import Path

import pytest
import restless
import storm
from scripts import run_script

from mmapio import kernels

WITHOUT_DATA = {"Description", "compile_all"}
CALLS = 4000
SECONDS = 0.15  # for each kernel: a test on a busy machine makes fewer calls
ROUNDS = 5

pytestmark = pytest.mark.timeout(600)


def test_there_is_a_storm_for_every_public_kernel() -> None:
    assert {*storm.STORMS} - {"inside"} == {*kernels.__all__} - WITHOUT_DATA


def test_results_are_true_of_some_mixture(tmp_path: Path, scale: float) -> None:
    how = str(tmp_path / "words.npy"), "both", str(int(CALLS * scale)), str(SECONDS * scale)
    printed = run_script(storm.__file__, *how, longer=scale)
    assert [line.split()[0] for line in printed] == [*storm.STORMS]


def test_no_look_trusts_an_earlier_one(scale: float) -> None:
    """Every index of plain Python is checked: none is out of bounds, whatever changes when."""
    rounds = str(int(ROUNDS * scale))
    found = run_script(restless.__file__, rounds, longer=scale, NUMBA_DISABLE_JIT="1")
    assert found == [*storm.STORMS]
