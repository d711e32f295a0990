"""Compiled loops: kept for the next call, a bounded number of them, apart by types."""

from __future__ import annotations

import numpy as np
import pytest
from kernels_of_users import add, first, scaled

from mmapio.errors import KernelError
from mmapio.kernels.chunks import compiling
from mmapio.kernels.chunks.map_reduce import map_chunks, reduce_chunks


def test_a_second_call_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.zeros(50, "i2")
    reduce_chunks(a, first, add, 0, chunk=3)
    out = np.empty(17)
    map_chunks(a, first, out, chunk=3)
    monkeypatch.setattr(compiling, "compiled", None)
    assert reduce_chunks(a[::-1].copy(), first, add, 7, chunk=5) == 7
    assert reduce_chunks(a[:7], first, add, 0) == 0
    map_chunks(a, first, out, chunk=3)
    with pytest.raises(TypeError):
        reduce_chunks(a[::2], first, add, 0)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_found", {})
    monkeypatch.setattr(compiling, "_KEPT", 3)
    for number in range(7):
        compiling.kept(number, (number,))
    assert list(compiling._found.values()) == [(4,), (5,), (6,)]


def test_types_that_differ_are_compiled_apart() -> None:
    a = np.full(9, 200, "u1")
    assert reduce_chunks(a, first, add, 0, chunk=3) == 600
    assert reduce_chunks(a.view("i1"), first, add, 0, chunk=3) == -168
    assert reduce_chunks(a, first, add, 0.5, chunk=3) == 600.5
    assert reduce_chunks(a, first, add, np.float32(0.5), chunk=3) == 600.5
    assert reduce_chunks(a, scaled, add, np.zeros(3), chunk=3, args=(0.5,)).tolist() == [300] * 3
    with pytest.raises(KernelError):
        reduce_chunks(a, scaled, add, np.zeros(3, "i8"), chunk=3, args=(0.5,))
    assert (
        reduce_chunks(a, scaled, add, np.zeros(3, "i8"), chunk=3, args=(2,)).tolist() == [1200] * 3
    )
