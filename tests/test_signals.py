"""Signal handlers that call mmapio within another call: nothing hangs, and nothing is lost."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pairs
import pytest
from steps import at_each_step, interrupted

import mmapio
from mmapio import errors

# What runs under a timer; each group in a process of its own.
LOOPS = {
    "mappings": "write,read,flush,flush_without_waiting,mark_dirty,reopen,check,resize,view",
    "pages": "guard,recover,residency,release,touch,resize_by_force,close_by_force,atomic,open",
    "rows": "append,append_array,extend,commit,publish,truncate,refresh,rows_as_array,reopen_rows",
    "records": "push,push_many,pop,pop_many,write_record,read_record,add,bump,wait",
    "kernels": "sum,sum_of_mapped,save,copy",
}
# What their handlers call; all that there is in a longer run.
HANDLERS = "write,flush,reopen,resize,append,append_array,commit,push,sum"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no timers that send signals")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("group", LOOPS)
def test_handlers_may_call_whatever_they_interrupt(
    group: str, tmp_path: Path, scale: float
) -> None:
    handlers = ",".join(pairs.CALLS) if scale > 1 else HANDLERS
    policies = "none,always,every_writes,every_millis" if scale > 1 else "every_writes"
    done = subprocess.run(
        [sys.executable, pairs.__file__, str(0.005 * scale), LOOPS[group], handlers, policies],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("WRONG")] == [], done.stderr
    assert lines[-1] == "end", f"{lines[-1]}\n{done.stderr}"  # or it hung


# Step by step: a handler at each place at which CPython looks for signals ----------------------


def at_one_step(step: int, call: Callable[[], object], handle: Callable[[], object]) -> bool:
    """Call a function, and another at one of its steps; return whether there is such a step."""
    count = itertools.count()

    def handle_once() -> None:
        if next(count) == step:
            handle()

    return at_each_step(call, handle_once) > step


def append(g: mmapio.GrowableArray, known: list[int]) -> None:
    number = 1 + len(known)
    known.append(number)
    g.append(number)


def append_array(g: mmapio.GrowableArray, known: list[int]) -> None:
    number = 1 + len(known)
    known.append(number)
    g.append(np.array(number))


def extend(g: mmapio.GrowableArray, known: list[int]) -> None:
    numbers = [1 + len(known), 2 + len(known)]
    known.extend(numbers)
    g.extend(numbers)


def commit(g: mmapio.GrowableArray, known: list[int]) -> None:
    g.commit()


def publish(g: mmapio.GrowableArray, known: list[int]) -> None:
    g.commit(durable=False)


def show(g: mmapio.GrowableArray, known: list[int]) -> None:
    g._array = None
    with contextlib.suppress(mmapio.InUseError):  # by the call that this interrupts
        assert 0 not in g.array


CHANGES = [append, append_array, extend, commit, publish, show]


@pytest.mark.parametrize("handler", CHANGES, ids=lambda call: call.__name__)
@pytest.mark.parametrize("call", CHANGES, ids=lambda call: call.__name__)
def test_every_row_is_there_once_wherever_a_handler_comes(
    call: Callable[..., None], handler: Callable[..., None], tmp_path: Path
) -> None:
    path, known = tmp_path / "rows.npy", list[int]()
    g = mmapio.GrowableArray.open(path, "w+", dtype="i8")
    for step in itertools.count():
        if not at_one_step(step, lambda: call(g, known), lambda: handler(g, known)):
            break
        assert len(g) == len(known)
        assert g.committed <= len(g)
        assert sorted(g.array.tolist()) == sorted(known)  # a finalizer may have come first
    assert step > 1
    g.close()
    assert sorted(np.load(path).tolist()) == sorted(known)


@pytest.mark.parametrize("call", [append, append_array, extend, commit], ids=lambda c: c.__name__)
def test_an_interrupted_change_of_rows_is_made_or_not(
    call: Callable[..., None], tmp_path: Path
) -> None:
    path = tmp_path / "rows.npy"
    g = mmapio.GrowableArray.open(path, "w+", dtype="i8")
    for step in itertools.count():
        known = g.array.tolist()

        def interrupt() -> None:
            raise KeyboardInterrupt

        try:
            if not at_one_step(step, lambda k=known: call(g, k.copy()), interrupt):
                break
        except KeyboardInterrupt:
            pass
        append(g, [])
        g.commit()
        rows = np.load(path).tolist()
        assert rows[: len(known)] == known
        assert 0 not in rows
        assert len(rows) == len(g) <= len(known) + 3
    g.close()


def test_a_close_within_an_append_keeps_its_row_or_refuses_it(tmp_path: Path) -> None:
    for step in itertools.count():
        path = tmp_path / f"{step}.npy"
        g = mmapio.GrowableArray.open(path, "w+", dtype="i8")
        g.append(1)
        appended = False
        try:
            more = at_one_step(step, lambda g=g: g.append(2), g.close)
            appended = True
        except mmapio.ClosedError:
            more = True
        if not more:
            break
        assert np.load(path).tolist() in ([[1, 2]] if appended else [[1], [1, 2]])
    assert step > 1


# Both ends of a ring, and a seqlock --------------------------------------------------------------


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_records_are_there_once_wherever_a_handler_comes(many: bool) -> None:
    ring, numbers = mmapio.RingBuffer.anonymous("i8", 64), itertools.count(1)
    sent: list[int] = []
    found: list[int] = []

    def push() -> None:
        number = next(numbers)
        if ring.push_many([number]) if many else ring.push(number):
            sent.append(number)

    def pop() -> None:
        record = ring.pop_many(1).tolist() if many else [ring.pop()]
        found.extend(int(each) for each in record if each is not None)

    def handle() -> None:
        for end in (push, pop):
            with contextlib.suppress(mmapio.InUseError):
                end()

    for call in (push, pop):
        step = 0
        while at_one_step(step, call, handle):
            step += 1
        assert step > 3
    found += ring.pop_many().tolist()
    assert found == sent


def test_a_seqlock_is_never_torn_wherever_a_handler_comes() -> None:
    lock, written, last = mmapio.SeqLock.anonymous(("i8", 3), slots=2), itertools.count(1), [0]

    def write() -> None:
        number = next(written)
        lock.write(number)
        last[0] = number

    def handle() -> None:
        assert len(set(lock.read().tolist())) == 1
        with contextlib.suppress(mmapio.InUseError):
            write()

    step = 0
    while at_one_step(step, write, handle):
        assert lock.read().tolist() == [last[0]] * 3
        step += 1
    assert step > 3


# Ctrl-C at each of those places ------------------------------------------------------------------


@pytest.mark.parametrize("is_anonymous", [False, True], ids=["file", "anonymous"])
@pytest.mark.parametrize("size", [20_000, 200_000, 5000], ids=["grow", "move", "shrink"])
def test_an_interrupted_resize_is_made_or_not(
    size: int, is_anonymous: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, old = tmp_path / "m.bin", 8192
    if is_anonymous and size > 1 << 16:
        size = 30_000  # it has no other place to move to
    for step in itertools.count():
        if is_anonymous:
            m = mmapio.MappedFile.anonymous(old, capacity=1 << 16)
        else:
            m = mmapio.MappedFile.open(path, "w+", size=old, capacity=1 << 16)
        m.write(0, b"a" * old)
        error = interrupted(step, lambda m=m: m.resize(size))
        monkeypatch.setattr(sys, "last_value", error, raising=False)  # as at a prompt
        assert m.size in (old, size)
        assert is_anonymous or path.stat().st_size == m.size
        assert m.read() == (b"a" * min(old, m.size)).ljust(m.size, b"\0")
        m.resize(3)
        m.write(0, b"z")
        m.flush()
        assert m.read() == b"zaa"
        assert m.pending_bytes == m.pending_writes == 0
        m.close()
        if error is None:
            break
    assert step > 3


@pytest.mark.parametrize("is_refused", [False, True], ids=["closed", "refused"])
@pytest.mark.parametrize("is_anonymous", [False, True], ids=["file", "anonymous"])
def test_an_interrupted_close_leaves_a_mapping_open_or_closed(
    is_anonymous: bool, is_refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A close that would refuse looks through all errors that are alive, of other tests too.
    monkeypatch.setattr(errors, "_living", {})
    for step in itertools.count():
        if is_anonymous:
            m = mmapio.MappedFile.anonymous(4)
        else:
            m = mmapio.MappedFile.open(tmp_path / "m.bin", "w+", size=4)
        m.write(0, b"kept")

        def close(m: mmapio.MappedFile = m) -> None:
            array = m.view() if is_refused else None
            with contextlib.suppress(mmapio.InUseError):
                m.close()
            del array

        was_interrupted = interrupted(step, close) is not None
        assert m.closed or m.read() == b"kept"
        assert not (m.closed and is_refused)
        m.close()
        if not was_interrupted:
            break
    assert step > 3


@pytest.mark.parametrize("call", ["append", "extend", "truncate", "commit", "close"])
def test_an_interrupted_writer_of_rows_goes_on_or_is_closed(call: str, tmp_path: Path) -> None:
    path, rows = tmp_path / "rows.npy", [1, 2, 3]
    calls: dict[str, tuple[Callable[[mmapio.GrowableArray], None], list[int]]] = {
        "append": (lambda g: g.append(np.array(4)), [1, 2, 3, 4]),
        "extend": (lambda g: g.extend([4, 5]), [1, 2, 3, 4, 5]),
        "truncate": (lambda g: g.truncate(1), [1]),
        "commit": (lambda g: g.commit(), rows),
        "close": (lambda g: g.close(), rows),
    }
    change, after = calls[call]
    for step in itertools.count():
        g = mmapio.GrowableArray.open(path, "w+", dtype="i8")
        g.extend([1, 2])
        g.commit()
        g.append(3)
        was_interrupted = interrupted(step, lambda g=g: change(g)) is not None
        found = g.array.tolist() if not g.closed else rows
        assert found in (rows, after)
        if not g.closed:
            g.append(9)
            found.append(9)
        g.close()  # so that it is unlocked, if it is closed already, too
        with mmapio.GrowableArray.open(path, "r+") as again:
            assert again.array.tolist() == found
        if not was_interrupted:
            break
    assert step > 3


def test_what_is_cut_off_is_no_longer_pending(tmp_path: Path) -> None:
    with mmapio.MappedFile.open(tmp_path / "m.bin", "w+", size=8192) as m:
        m.write(0, b"a" * 8192)
        m.resize(5000)
        assert m.pending_bytes == 5000
        m.flush()
        assert m.pending_bytes == m.pending_writes == 0
