"""Instructions of a call, as valgrind counts them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from gating import chosen, gate, instructions

MMAPIO = "def work():\n    sum(range({turns}))\n"


def test_instructions_of_a_call_are_counted(repository: Callable[..., None]) -> None:
    if not instructions.can_count():
        pytest.skip("valgrind is not installed")
    repository("main", MMAPIO.format(turns=6000), "time_sum", "time_work")
    tree = gate.REPOSITORY
    suite = tree / "asv_benchmarks"
    listed = chosen.listed_in(suite)
    found = instructions.count((tree,), suite, listed)  # a process takes seconds to start
    (once,), (twice,) = (found[benchmark] for benchmark in listed)
    assert once > 3000
    assert twice == pytest.approx(2 * once, rel=0.1)
