"""Polling: it looks at once, again and again, and asks in between whether there is sense in it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest

from mmapio._polling import deadline_of, pauses, poll
from mmapio.errors import ArgumentTypeError


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list of all pauses, in which nothing but the clock goes on."""
    pauses_s: list[float] = []
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + sum(pauses_s))
    monkeypatch.setattr(time, "sleep", pauses_s.append)
    return pauses_s


def after(looks: int) -> Callable[[], bool]:
    """Return what has happened at the look after so many."""
    left = iter([False] * looks)
    return lambda: next(left, True)


def test_what_has_happened_is_not_waited_for(slept: list[float]) -> None:
    assert poll(after(0), None)
    assert not poll(after(1), 0)
    assert not poll(after(1), -1)
    assert not poll(after(1), math.nan)
    assert slept == []


def test_pauses_grow_up_to_a_limit_and_to_the_end(slept: list[float]) -> None:
    assert poll(after(30), None)
    assert slept == sorted(slept)
    assert slept[0] < 1e-5
    assert slept[-1] == 1e-3
    assert not poll(after(10**6), 2.0)
    assert sum(slept[30:]) == pytest.approx(2.0)
    longer = pauses(None, longest_s=0.5)
    assert max(next(longer) for _ in range(30)) == 0.5


def test_what_cannot_come_any_more_ends_the_waiting(slept: list[float]) -> None:
    asked = []

    def check() -> None:
        asked.append(len(slept))
        if len(asked) == 5:
            raise EOFError

    with pytest.raises(EOFError):
        poll(lambda: False, 10.0, check)
    assert 0.4 < sum(slept) < 0.6


@pytest.mark.parametrize("wrong", ["1", [1], 1j])
def test_a_timeout_is_a_number(wrong: object) -> None:
    with pytest.raises(ArgumentTypeError, match="timeout must be a number of seconds or None"):
        deadline_of(wrong)  # type: ignore[arg-type]
    assert deadline_of(None) == math.inf
    assert deadline_of(True) > time.monotonic()
