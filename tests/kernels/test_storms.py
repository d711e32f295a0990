"""Kernels read what others change meanwhile, and neither crash nor invent places (promise 20)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import restless
import storm

import mmapio
from mmapio import kernels

WITHOUT_DATA = {"Description", "compile_all"}
CALLS = 1000
SECONDS = 0.15  # for each kernel: a test on a busy machine makes fewer calls
ROUNDS = 5
LIMIT_S = 280  # most of it may be spent on compiling

pytestmark = pytest.mark.timeout(300)

Run = Callable[..., list[str]]


@pytest.fixture
def run_script(scale: float) -> Run:
    """Return a function that runs a script by itself: a crash of it is an exit status."""

    def run(script: str, *how: str, **environment: str) -> list[str]:
        path = str(Path(mmapio.__file__).parents[1])
        done = subprocess.run(
            [sys.executable, "-W", "error", script, *how],
            env=os.environ | {"PYTHONPATH": path} | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S * max(1.0, scale),
        )
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.splitlines()

    return run


def test_there_is_a_storm_for_every_public_kernel() -> None:
    assert {*storm.STORMS} - {"inside"} == {*kernels.__all__} - WITHOUT_DATA


def test_results_are_true_of_some_mixture(run_script: Run, tmp_path: Path, scale: float) -> None:
    calls, seconds = str(int(CALLS * scale)), str(SECONDS * scale)
    printed = run_script(storm.__file__, str(tmp_path / "words.npy"), "both", calls, seconds)
    assert [line.split()[0] for line in printed] == [*storm.STORMS]


def test_no_look_trusts_an_earlier_one(run_script: Run, scale: float) -> None:
    """Every index of plain Python is checked: none is out of bounds, whatever changes when."""
    rounds = str(int(ROUNDS * scale))
    assert run_script(restless.__file__, rounds, NUMBA_DISABLE_JIT="1") == [*storm.STORMS]
