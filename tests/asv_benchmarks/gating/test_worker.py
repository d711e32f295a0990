"""Samples of a process: free of what others do to it."""

from __future__ import annotations

import pytest
from gating import worker


def test_samples_leave_out_the_wait_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = iter([1.0, 1.5])
    monkeypatch.setattr(worker, "elapsed_s", lambda work, calls: 0.75)
    with worker.contextlib.ExitStack() as stack:
        one = worker.Worker(stack)
        one.waits.so_far_s = lambda: next(waits)
        assert one.sample_s(lambda: None, 10) == pytest.approx(0.025)


def test_one_interruption_makes_no_short_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter([1.0, 1e-7, 1e-7, 2e-7, 1.0, 2e-7])
    monkeypatch.setattr(worker, "elapsed_s", lambda work, calls: next(taken, 1e-7 * calls))
    assert worker.calls_of(lambda: None) == 8192
