"""The ledger of unwritten ranges: what a finalizer may ask of it."""

from __future__ import annotations

import contextlib
import itertools
import threading

import pytest
from steps import at_each_step

from mmapio import FlushError, FlushPolicy
from mmapio.durability.write_ledger import Ledger


@pytest.mark.timeout(30)
@pytest.mark.parametrize("policy", [FlushPolicy.manual(), FlushPolicy.always()])
def test_a_finalizer_may_ask_whether_there_is_anything_to_flush(policy: FlushPolicy) -> None:
    """At any moment, also while writes are merged: at no time is one in no place."""
    ledger = Ledger(policy)
    ledger.add(0, 10)
    found: list[int] = []

    def use() -> None:
        for start in itertools.chain(range(3), (0,)):
            ledger.add(start, 5)
        synced = ledger.pending()
        ledger.add(9, 1)
        ledger._merge()
        ledger.settle(synced, 0, 20)
        ledger.settle(ledger.pending(), 12, 20)

    assert at_each_step(use, lambda: found.append(ledger.pending_bytes)) > 50
    assert min(found) >= 10
    ledger.settle(ledger.pending(), 0, 20)
    assert not ledger.has_pending
    assert (ledger.pending_bytes, ledger.pending_writes) == (0, 0)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", ["add", "settle", "merge"])
def test_a_signal_handler_may_do_all_that_it_interrupts(what: str) -> None:
    ledger, added = Ledger(FlushPolicy.every_writes(3)), [0]

    def use() -> None:
        for start in range(0, 40, 10):
            ledger.add(start, 5)
            added[0] += 5
        ledger._merge()
        synced = ledger.pending()
        ledger.settle(synced, 0, 15)
        added[0] = ledger.pending_bytes

    def handle() -> None:
        if what == "add":
            ledger.add(100, 7)
        elif what == "settle":
            ledger.settle(ledger.pending(), 0, 25)
        else:
            ledger._merge()

    at_each_step(use, handle)
    assert ledger.has_pending or what == "settle"
    ledger.settle(ledger.pending(), 0, 1000)
    assert (ledger.pending_bytes, ledger.pending_writes) == (0, 0)
    assert [ledger.add(0, 1) for _ in range(6)] == [False, False, True, False, False, True]


@pytest.mark.timeout(60)
def test_an_interrupt_leaves_an_account_that_comes_to_zero() -> None:
    for last in range(1000):
        ledger, count = Ledger(FlushPolicy.manual()), itertools.count()

        def use(ledger: Ledger = ledger) -> None:
            for start in range(0, 40, 10):
                ledger.add(start, 5)
            ledger._merge()
            ledger.settle(ledger.pending(), 0, 15)

        def interrupt(last: int = last, count: itertools.count[int] = count) -> None:
            if next(count) == last:
                raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            at_each_step(use, interrupt)
        assert not ledger._is_merging
        if next(count) > last + 1:
            assert last > 30
            break
        ledger.settle(ledger.pending(), 0, 1000)
        assert (ledger.pending_bytes, ledger.pending_writes) == (0, 0)
        assert ledger.add(0, 1) is False


def test_a_child_has_a_lock_of_its_own() -> None:
    ledger = Ledger(FlushPolicy.manual())
    ledger.add(0, 10)
    with ledger.syncing:
        ledger.renew()
        taken: list[bool] = []
        thread = threading.Thread(target=lambda: taken.append(ledger.syncing.acquire(timeout=60)))
        thread.start()
        thread.join()
    assert taken == [True]
    assert ledger.has_pending


def test_a_failure_that_nobody_could_note_is_an_error_of_the_next_flush() -> None:
    ledger = Ledger(FlushPolicy.manual())
    ledger.check()
    ledger.unheard.append(-1)
    for _ in range(2):
        with pytest.raises(FlushError, match="cannot flush: Input/output error"):
            ledger.check()


def test_each_write_is_due_by_always_whatever_other_threads_count() -> None:
    ledger = Ledger(FlushPolicy.always())
    ledger._writes = -1  # another thread has found one due between two steps of this one
    assert ledger.add(0, 1)
