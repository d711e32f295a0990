"""Kernels as plain Python find what they find compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import every_kernel
import pytest
from scripts import run_script

from mmapio import kernels
from mmapio.kernels.engine.jit import inside
from mmapio.kernels.engine.uncompiled import by_type


def test_there_is_a_case_for_every_public_kernel() -> None:
    assert {*every_kernel.CASES} == {*kernels.__all__} - every_kernel.WITHOUT_RESULTS


@pytest.mark.timeout(600)
def test_results_are_the_same_bit_for_bit() -> None:
    how = "f4 f8 i4 u1", "C"
    lines = run_script(every_kernel.__file__, *how, NUMBA_DISABLE_JIT="1")
    plain = dict(line.split("\t") for line in lines)
    compiled = {name: repr(found) for name, found in every_kernel.results(*how).items()}
    assert every_kernel.different(plain, compiled) == []


COMMANDS = """
import mmapio, os, sys
from mmapio import kernels
from mmapio.__main__ import main
assert kernels.compile_all(lambda done, total: print(done, total)) == 0
mmapio.create("x.npy", 1000, "f8")[:] = range(1000)
for command in (["scan", "x.npy"], ["warmup"]):
    sys.argv = ["mmapio", *command]
    try:
        main()
    except SystemExit as end:
        assert not end.code
"""


def test_commands_work(
    run_python: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = run_python(COMMANDS, NUMBA_DISABLE_JIT="1")
    assert printed.startswith("0 0\n")
    assert "499.5" in printed
    assert "NUMBA_DISABLE_JIT is set" in printed


def test_a_typer_is_asked_once_for_each_type() -> None:
    asked = []

    @by_type
    def kind(x: object) -> str:
        """Name the type of a value."""

    @inside(kind)
    def _kind(x: object) -> Callable[..., str]:
        asked.append(str(x))
        return lambda x: asked[-1]

    assert [kind(1), kind(2), kind(0.5)] == ["int64", "int64", "float64"]
    assert asked == ["int64", "float64"]
