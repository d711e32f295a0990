"""Results in the order of their pieces."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from mmapio.kernels.engine import in_order
from mmapio.kernels.engine.in_order import InOrder
from mmapio.kernels.engine.threads import run_chunks


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_the_order_of_their_numbers(threads: int) -> None:
    seen: list[int] = []
    results = InOrder(seen.append)
    run_chunks(100, lambda chunk, worker: results.add(99 - chunk, 99 - chunk), threads=threads)
    assert seen == list(range(100))


def test_results_that_overflow_are_combined_without_a_warning() -> None:
    total = np.array([1e308])
    InOrder(lambda more: np.add(total, more, out=total)).add(0, 1e308)
    assert total == np.inf


def test_results_that_are_too_early_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one slow thread lets the others fill memory with what they found meanwhile."""
    monkeypatch.setattr(in_order, "_PATIENCE_S", 60)
    combined: list[int] = []
    results = InOrder(combined.append)
    done = threading.Event()

    def come_early() -> None:
        results.wait_for(9)
        done.set()

    thread = threading.Thread(target=come_early, daemon=True)
    results.wait_for(8)
    results.add(1, 1)
    thread.start()
    assert not done.wait(0.05)
    results.add(0, 0)
    assert done.wait(30)
    assert combined == [0, 1]
    thread.join()
