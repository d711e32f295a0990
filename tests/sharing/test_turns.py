"""`Turn`: the same thread is refused within a call, another one and a forked child are not."""

from __future__ import annotations

import os
import threading

import pytest

import mmapio
from mmapio.sharing.turns import Turn


def test_a_thread_within_a_call_is_refused() -> None:
    turn = Turn("push")
    turn.thread = turn.ask()
    with pytest.raises(mmapio.InUseError, match=r"cannot push now: .*interrupts"):
        turn.ask()
    turn.thread = 0
    assert turn.ask() == threading.get_ident()


def test_another_thread_is_not_refused() -> None:
    turn = Turn("pop")
    turn.thread = turn.ask()
    found: list[int] = []
    other = threading.Thread(target=lambda: found.append(turn.ask()))
    other.start()
    other.join()
    assert found == [other.ident]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
def test_a_forked_child_has_no_turns() -> None:
    turn = Turn("write")
    turn.thread = turn.ask()
    child = os.fork()
    if not child:
        os._exit(turn.thread)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class _Nested:
    """A value that calls an end of a shared object while it is stored there."""

    def __init__(self, call: object) -> None:
        self._call = call

    def __array__(self, dtype: object = None, copy: object = None) -> object:
        return self._call()  # type: ignore[operator]


def _calls() -> dict[str, object]:
    ring = mmapio.RingBuffer.anonymous("f8", 4)
    lock = mmapio.SeqLock.anonymous("f8")
    return {
        "push": lambda value: ring.push(value),
        "push_many": lambda value: ring.push_many(value),
        "write": lambda value: lock.write(value),
    }


@pytest.mark.parametrize("name", ["push", "push_many", "write"])
def test_a_turn_ends_with_its_call_whatever_that_raises(name: str) -> None:
    call = _calls()[name]
    with pytest.raises(mmapio.InUseError):
        call(_Nested(lambda: call(1.5)))  # type: ignore[operator]
    with pytest.raises(mmapio.ArgumentTypeError):
        call("no number")  # type: ignore[operator]
    assert call([1.5] if name == "push_many" else 1.5)  # type: ignore[operator]


def test_pops_are_refused_within_one_another() -> None:
    ring = mmapio.RingBuffer.anonymous("f8", 4)
    turn = ring._file.popping  # type: ignore[attr-defined]
    turn.thread = turn.ask()
    for pop in (ring.pop, ring.pop_many):
        with pytest.raises(mmapio.InUseError, match="cannot pop"):
            pop()
    turn.thread = 0
    assert ring.pop() is None
