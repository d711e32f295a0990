"""Kernels as plain Python find what they find compiled."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable
from pathlib import Path

import every_kernel
import pytest

from mmapio import kernels
from mmapio.kernels.engine.jit import inside
from mmapio.kernels.engine.uncompiled import by_type

FLOAT = re.compile(r"float (\S+?)(?=[,)]|$)")
IN_ANY_ORDER = (
    "sum",
    "mean",
    "var",
    "describe",
    "inside",
)  # vectors of the processor decide it when compiled


def test_there_is_a_case_for_every_public_kernel() -> None:
    assert {*every_kernel.CASES} == {*kernels.__all__} - every_kernel.WITHOUT_RESULTS


def test_results_are_the_same_bit_for_bit(run_python: Callable[..., str]) -> None:
    how = "f4 f8 i4 u1", "C strided"
    folder = str(Path(every_kernel.__file__).parent)
    code = f"import sys; sys.path.insert(0, {folder!r})\n"
    code += f"import every_kernel\nprint(every_kernel.results{how})"
    plain = ast.literal_eval(run_python(code, NUMBA_DISABLE_JIT="1"))
    compiled = every_kernel.results(*how)
    assert plain.keys() == compiled.keys()
    assert [key for key in plain if not same(key, plain[key], compiled[key])] == []


def same(key: str, plain: str, compiled: str) -> bool:
    if not key.startswith(IN_ANY_ORDER):
        return plain == compiled
    pairs = zip(FLOAT.findall(plain), FLOAT.findall(compiled), strict=True)
    is_close = [a == b or math.isclose(float.fromhex(a), float.fromhex(b)) for a, b in pairs]
    return all(is_close) and FLOAT.sub("", plain) == FLOAT.sub("", compiled)


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
