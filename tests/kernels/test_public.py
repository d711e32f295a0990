"""The names that `mmapio.kernels` and `mmapio.atomics` offer: those of `__all__` alone."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from mmapio import ArgumentTypeError, atomics, kernels

TREE = ast.parse(Path(kernels.__file__).read_bytes())


def imported(body: list[ast.stmt]) -> dict[str, str]:
    """Return which module of `mmapio.kernels` each name is imported from."""
    nodes = [node for node in body if isinstance(node, ast.ImportFrom)]
    prefix = "mmapio.kernels."
    return {
        alias.name: str(node.module).removeprefix(prefix)
        for node in nodes
        if str(node.module).startswith(prefix)
        for alias in node.names
    }


@pytest.mark.parametrize("module", [kernels, atomics], ids=lambda module: module.__name__)
def test_nothing_else_is_shown(module: object) -> None:
    shown = [name for name in dir(module) if not name.startswith("__")]
    assert shown == sorted(module.__all__)  # type: ignore[attr-defined]
    assert {"__all__", "__doc__", "__file__", "__name__"} <= {*dir(module)}


def test_nothing_else_is_shown_before_the_first_use(run_python: Callable[..., str]) -> None:
    code = "import mmapio.kernels as k; print([n for n in dir(k) if n[:2] != '__'] == k.__all__)"
    assert run_python(code) == "True\n"


def test_type_checkers_see_what_comes_on_first_use() -> None:
    """Running code and type checkers find each name in the same module."""
    blocks = [node for node in TREE.body if isinstance(node, ast.If)]
    assert [ast.unparse(block.test) for block in blocks] == ["TYPE_CHECKING"]
    lazy = imported(blocks[0].body)
    assert lazy == kernels._HOMES
    assert {*imported(TREE.body), *lazy, "compile_all"} == {*kernels.__all__}


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e5m2", "float8_e4m3fn", "int4"])
def test_numbers_of_other_packages_are_refused_in_one_sentence(dtype: str) -> None:
    a = np.arange(4).astype(getattr(ml_dtypes, dtype))
    alone = ("argmax", "argmin", "count_nonzero", "describe", "histogram", "max", "mean", "min")
    for name in (*alone, "minmax", "sum", "var", "byte_counts"):
        with pytest.raises(ArgumentTypeError):
            getattr(kernels, name)(a)
    for name in ("count", "find", "find_all"):
        with pytest.raises(ArgumentTypeError):
            getattr(kernels, name)(a, 1)
    for name in ("sum", "mean", "min", "max"):
        with pytest.raises(ArgumentTypeError):
            getattr(kernels, name)(a.reshape(2, 2), axis=0)
    with pytest.raises(ArgumentTypeError):
        kernels.scatter_add(a, [0], 1)
    for cell in (atomics.AtomicArray, lambda a: atomics.AtomicCell(a, 0)):
        with pytest.raises(ArgumentTypeError):
            cell(a)
    kernels.scatter(a, [0], 3)
    assert kernels.gather(a, [0]).astype("f8").tolist() == [3]
