"""The ledger of unwritten ranges: what a finalizer may ask of it."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from mmapio import FlushPolicy
from mmapio.durability import write_ledger
from mmapio.durability.write_ledger import Ledger


def at_each_instruction(call: Callable[[], object], ask: Callable[[], object]) -> int:
    """Call a function, and another one before each instruction of the ledger."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename != write_ledger.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            count += 1
            ask()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.timeout(30)
@pytest.mark.parametrize("policy", [FlushPolicy.manual(), FlushPolicy.always()])
def test_a_finalizer_may_ask_whether_there_is_anything_to_flush(policy: FlushPolicy) -> None:
    """At any moment: not waiting for a lock, and not missing what is between two lists."""
    ledger = Ledger(policy)
    ledger.add(0, 10)
    found: list[bool] = []

    def use() -> None:
        for start in itertools.chain(range(3), (0,)):
            ledger.add(start, 5)
        taken = ledger.take(0, 8)
        ledger.settle(taken, durable=False)

    assert at_each_instruction(use, lambda: found.append(ledger.has_pending)) > 100
    assert all(found)
    ledger.settle([*ledger._flying], durable=True)
    ledger.settle(ledger.take(0, 20), durable=True)
    assert not ledger.has_pending
    assert (ledger.pending_bytes, ledger.pending_writes) == (0, 0)


def test_a_child_has_locks_of_its_own() -> None:
    ledger = Ledger(FlushPolicy.manual())
    ledger.add(0, 10)
    taken = ledger.take(0, 10)
    assert ledger.has_pending
    with ledger.syncing, ledger._lock:
        ledger.renew()
        done = threading.Thread(target=lambda: ledger.settle(ledger.take(0, 10), True), daemon=True)
        done.start()
        done.join(5)
        assert not done.is_alive()
    assert taken
    assert not ledger.has_pending
