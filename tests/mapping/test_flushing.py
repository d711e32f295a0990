"""Flush policies: what they count, when they sync, and what happens when a sync fails."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pagecache import skip_unless_told, unwritten

import mmapio
from mmapio import FlushPolicy, MappedFile, _os
from mmapio.durability.background import flusher
from mmapio.durability.write_ledger import Ledger
from mmapio.errors import (
    ArgumentError,
    ArgumentTypeError,
    ClosedError,
    FileError,
    FlushError,
    OutOfBoundsError,
    ReadOnlyError,
)
from mmapio.mapping import span

PAGE = _os.PAGE_SIZE
SIZE = 64 * PAGE
forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    with open(path, "wb") as file:
        file.write(bytes(SIZE))
        os.fsync(file.fileno())
    return path


@pytest.fixture
def seen(tmp_path: Path) -> None:
    """Skip where the kernel does not tell what is dirty."""
    skip_unless_told(tmp_path)


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return the list of the syncs that will be made: address and length."""
    made: list[tuple[int, int]] = []
    real = _os.sync

    def sync(address: int, length: int, failed: list[int]) -> None:
        made.append((address, length))
        real(address, length, failed)

    monkeypatch.setattr(_os, "sync", sync)
    return made


def wait_for(what: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


# Policies -------------------------------------------------------------------------------------


def test_a_policy_tells_what_it_is() -> None:
    policies = [
        FlushPolicy.manual(),
        FlushPolicy.always(),
        FlushPolicy.every_bytes("64 KiB"),
        FlushPolicy.every_writes(np.int8(3)),
        FlushPolicy.every_millis(10, on_error=print),
    ]
    assert repr(policies) == (
        "[FlushPolicy.manual(), FlushPolicy.always(), FlushPolicy.every_bytes(65536), "
        "FlushPolicy.every_writes(3), FlushPolicy.every_millis(10)]"
    )
    assert policies[2] == FlushPolicy.every_bytes(65536) != FlushPolicy.every_bytes(1)
    assert len(set(policies)) == 5
    with pytest.raises(AttributeError):
        policies[2].amount = 3  # type: ignore[misc]


@pytest.mark.parametrize("make", ["every_bytes", "every_writes", "every_millis"])
@pytest.mark.parametrize(
    ("amount", "kind"),
    [
        (0, ArgumentError),
        (-1, ArgumentError),
        (2**63, ArgumentError),
        (1.5, ArgumentTypeError),
        (None, ArgumentTypeError),
    ],
)
def test_a_wrong_amount_is_refused(make: str, amount: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        getattr(FlushPolicy, make)(amount)


def test_what_cannot_be_called_is_no_callback() -> None:
    with pytest.raises(ArgumentTypeError, match="on_error must be callable, got 'str'"):
        FlushPolicy.every_millis(1, on_error="log")  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["r", "c"])
def test_what_is_never_written_needs_no_policy(path: Path, mode: str) -> None:
    with pytest.raises(ArgumentError, match="always\\(\\) is for modes that write"):
        MappedFile.open(path, mode, flush_policy=FlushPolicy.always())
    assert MappedFile.open(path, mode).flush_policy == FlushPolicy.manual()


def test_every_way_to_open_takes_a_policy(path: Path) -> None:
    policy = FlushPolicy.every_writes(2)
    mapped = [
        MappedFile.open(path, "r+", flush_policy=policy),
        mmapio.open(path, "r+", dtype="u1", flush_policy=policy).mapping,
    ]
    with open(path, "r+b") as file:
        mapped.append(MappedFile.from_fd(file.fileno(), "r+", flush_policy=policy))
    for m in mapped:
        assert m is not None
        assert m.flush_policy == policy
        m.write(0, b"a")
        m.write(0, b"a")
        assert m.pending_writes == 0


# Accounts -------------------------------------------------------------------------------------


def test_writes_are_pending_until_they_are_flushed(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    assert (m.pending_bytes, m.pending_writes) == (0, 0)
    m.write(0, bytes(100))
    m.segment(PAGE, 10).write(0, b"abc")
    m.view()[5 * PAGE] = 1
    assert (m.pending_bytes, m.pending_writes) == (103, 2)
    m.mark_dirty(5 * PAGE, 1)
    m.write(50, bytes(100))
    m.write(0, b"")
    assert (m.pending_bytes, m.pending_writes) == (204, 4)
    m.flush()
    assert (m.pending_bytes, m.pending_writes) == (0, 0)


def test_a_partial_flush_debits_what_it_synced(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    for at in (0, 10 * PAGE, 20 * PAGE):
        m.write(at, bytes(PAGE))
    m.flush(10 * PAGE, PAGE)
    assert (m.pending_bytes, m.pending_writes) == (2 * PAGE, 2)
    m.flush(0, 100)
    assert (m.pending_bytes, m.pending_writes) == (2 * PAGE - 100, 2)
    m.flush(200, 100)  # out of the middle
    assert (m.pending_bytes, m.pending_writes) == (2 * PAGE - 200, 2)
    m.flush(wait=False)  # promises nothing
    assert (m.pending_bytes, m.pending_writes) == (2 * PAGE - 200, 2)
    m.flush(0, PAGE)
    assert (m.pending_bytes, m.pending_writes) == (PAGE, 1)


def test_what_has_nothing_to_write_counts_nothing(path: Path) -> None:
    for m in (MappedFile.anonymous(99), MappedFile.open(path, "c")):
        m.write(0, b"abc")
        m.mark_dirty()
        assert (m.pending_bytes, m.pending_writes) == (0, 0)


def test_a_wrong_mark_is_refused(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    with pytest.raises(OutOfBoundsError):
        m.mark_dirty(SIZE, 1)
    with pytest.raises(ReadOnlyError):
        MappedFile.open(path).mark_dirty()
    m.close()
    with pytest.raises(ClosedError):
        m.mark_dirty()
    assert (m.pending_bytes, m.pending_writes) == (0, 0)


ranges = st.tuples(st.integers(0, 300), st.integers(1, 60))


@given(st.lists(ranges.map(lambda r: ("add", r)) | ranges.map(lambda r: ("flush", r)), max_size=60))
def test_bytes_are_counted_exactly_whatever_is_flushed(steps: list[tuple[str, Any]]) -> None:
    ledger, model = Ledger(FlushPolicy.manual()), np.zeros(400, int)
    for what, (start, length) in steps:
        if what == "add":
            ledger.add(start, length)
            model[start : start + length] += 1
        else:
            pending = ledger.pending()
            assert ledger.pending_bytes == model.sum()  # until it is known to be durable
            ledger.settle(pending, start, start + length)
            model[start : start + length] = 0
        assert ledger.pending_bytes == model.sum()
        assert (ledger.pending_writes == 0) == (model.sum() == 0)
    ledger.settle(ledger.pending(), 0, 400)
    assert (ledger.pending_bytes, ledger.pending_writes) == (0, 0)


def test_a_ledger_stays_small_and_forgets_no_byte() -> None:
    ledger = Ledger(FlushPolicy.manual())
    starts = np.random.default_rng(1).integers(0, 1 << 40, 20_000)
    for start in starts:
        ledger.add(int(start), 8)
    assert (ledger.pending_bytes, ledger.pending_writes) == (160_000, 20_000)
    taken = ledger.pending().values()
    assert len(taken) <= 2048
    covered = sorted(write[:2] for write in taken)
    at = np.searchsorted([start for start, _ in covered], starts, "right") - 1
    assert all(starts + 8 <= np.maximum.accumulate([end for _, end in covered])[at])


def test_nothing_is_lost_between_sync_and_reset(path: Path, seen: None) -> None:
    """Writers and flushers at once: the account must come out even, and the kernel agree."""
    m = MappedFile.open(path, "r+", flush_policy=FlushPolicy.every_bytes(3000))
    stop = threading.Event()

    def write(seed: int) -> None:
        generator = np.random.default_rng(seed)
        for _ in range(400):
            m.write(int(generator.integers(0, SIZE - 100)), bytes(int(generator.integers(1, 100))))

    def flush(seed: int) -> None:
        generator = np.random.default_rng(seed)
        while not stop.is_set():
            m.flush(int(generator.integers(0, SIZE - PAGE)), PAGE)

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    flushers = [threading.Thread(target=flush, args=(seed,)) for seed in range(2)]
    for thread in writers + flushers:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in flushers:
        thread.join()
    assert 0 <= m.pending_bytes < 3000
    pages_pending = unwritten(path)
    assert m.pending_bytes > 0 or pages_pending == 0
    m.flush()
    assert (m.pending_bytes, m.pending_writes, unwritten(path)) == (0, 0, 0)


def test_what_is_stored_during_a_sync_stays_pending(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = MappedFile.open(path, "r+")
    m.write(0, b"before")

    def sync(*_: int) -> None:
        assert m.pending_bytes == 6
        m.write(0, b"during!")

    monkeypatch.setattr(_os, "sync", sync)
    m.flush()
    assert (m.pending_bytes, m.pending_writes) == (7, 1)


# When a policy syncs --------------------------------------------------------------------------


@pytest.mark.parametrize("closes", [False, True])
def test_what_another_thread_cuts_off_after_the_sync_is_no_loss(
    path: Path, monkeypatch: pytest.MonkeyPatch, closes: bool
) -> None:
    m = MappedFile.open(path, "r+")

    def meanwhile(*arguments: Any) -> None:
        flush_range(*arguments)  # which is not asked whether all is as it was
        if closes:
            m.close()
            MappedFile.open(path, "r+").resize(10)
        else:
            m.resize(10)

    flush_range = span.flush_range
    monkeypatch.setattr(span, "flush_range", meanwhile)
    m.write(20, b"gone in a moment")
    m.flush()
    assert path.stat().st_size == 10


def test_always_syncs_all_that_is_dirty_at_each_write(path: Path, seen: None) -> None:
    m = MappedFile.open(path, "r+", flush_policy=FlushPolicy.always())
    m.view()[40 * PAGE] = 1  # which nobody was told of
    assert unwritten(path) > 0
    m.write(0, b"a")
    assert (unwritten(path), m.pending_writes) == (0, 0)
    m.view()[40 * PAGE] = 2
    m.mark_dirty(40 * PAGE, 1)
    assert unwritten(path) == 0


def test_every_bytes_syncs_once_for_many_writes(
    path: Path, seen: None, syncs: list[tuple[int, int]]
) -> None:
    m = MappedFile.open(path, "r+", flush_policy=FlushPolicy.every_bytes(1000))
    for at in range(99):
        m.write(at * PAGE // 2, bytes(10))
    assert (len(syncs), m.pending_bytes) == (0, 990)
    assert unwritten(path) > 0
    m.write(0, bytes(10))
    assert (len(syncs), m.pending_bytes, unwritten(path)) == (1, 0, 0)
    m.write(0, bytes(3000))
    assert (len(syncs), m.pending_bytes) == (2, 0)


def test_every_writes_syncs_where_was_written(path: Path, syncs: list[tuple[int, int]]) -> None:
    m = MappedFile.open(path, "r+", flush_policy=FlushPolicy.every_writes(3))
    for at in (5 * PAGE, 9 * PAGE, 7 * PAGE):
        assert syncs == []
        m.write(at, b"x")
    assert syncs == [(m._region.address + 5 * PAGE, 4 * PAGE + 1)]


def test_manual_never_syncs(path: Path, syncs: list[tuple[int, int]]) -> None:
    with MappedFile.open(path, "r+", flush_policy=FlushPolicy.manual()) as m:
        for _ in range(5000):
            m.write(0, b"x")
    assert syncs == []


@pytest.mark.parametrize("how", ["close", "force", "with", "array", "drop"])
def test_the_end_of_a_mapping_flushes_what_is_pending(path: Path, seen: None, how: str) -> None:
    for policy in (FlushPolicy.every_bytes("1 GiB"), FlushPolicy.every_millis(10**6)):
        a = mmapio.open(path, "r+", dtype="u1", flush_policy=policy)
        m = a.mapping
        assert m is not None
        m.write(0, b"last")
        assert unwritten(path) > 0
        if how == "close":
            del a
            m.close()
        elif how == "force":
            m.close(force=True)
        elif how == "with":
            with m:
                pass
        elif how == "array":
            a.close()
        a = m = None  # type: ignore[assignment]
        # Of one that nobody closed, no finalizer waits for the drive: the thread does.
        deadline = time.monotonic() + (60 if how == "drop" else 0)
        while unwritten(path) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert unwritten(path) == 0


def test_a_flush_that_fails_at_the_end_is_told_and_the_mapping_closed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = MappedFile.open(path, "r+", flush_policy=FlushPolicy.every_bytes(100))
    m.write(0, b"last")
    monkeypatch.setattr(_os, "sync", failing)
    with pytest.raises(FlushError):
        m.close()
    assert m.closed


# In the background ------------------------------------------------------------------------------


def test_stores_through_views_are_flushed_in_the_background(path: Path, seen: None) -> None:
    m = MappedFile.open(path, "r+", flush_policy=FlushPolicy.every_millis(5))
    view = m.view()
    for page in range(3):
        view[page * PAGE] = 1
        wait_for(lambda: unwritten(path) == 0)
    m.write(0, b"counted")
    wait_for(lambda: m.pending_bytes == 0)


def test_one_thread_serves_all_and_ends_with_the_last(tmp_path: Path) -> None:
    wait_for(lambda: flusher.thread is None)
    mapped = [
        MappedFile.open(tmp_path / str(n), "x+", 9, flush_policy=FlushPolicy.every_millis(5 + n))
        for n in range(20)
    ]
    thread = flusher.thread
    assert thread is not None
    assert thread.daemon
    assert [each.name for each in threading.enumerate()].count("mmapio-flusher") == 1
    for m in mapped[1:]:
        m.close()
    assert flusher.thread is thread
    del mapped, m  # the first is not closed, but goes
    gc.collect()
    wait_for(lambda: flusher.thread is None)
    thread.join()
    m = MappedFile.open(tmp_path / "0", "r+", flush_policy=FlushPolicy.every_millis(5))
    assert flusher.thread is not None
    m.close()


def test_a_flush_in_the_background_does_not_refuse_a_close(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def slow(*_: int) -> None:
        begun.set()
        time.sleep(0.05)

    monkeypatch.setattr(_os, "sync", slow)
    for _ in range(5):
        m = MappedFile.open(path, "r+", flush_policy=FlushPolicy.every_millis(1))
        begun.clear()
        assert begun.wait(20)
        m.close()


def test_growth_past_capacity_is_followed(path: Path, seen: None) -> None:
    m = MappedFile.open(path, "r+", flush_policy=FlushPolicy.every_millis(5))
    m.resize(1000 * PAGE)
    view = m.view()
    m.resize(5000 * PAGE, force=True)
    m.view()[4999 * PAGE] = view[0] = 1
    wait_for(lambda: unwritten(path) == 0)
    m.close(force=True)


def test_an_error_in_the_background_is_told_once_and_raised_by_the_next_call(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[FlushError] = []
    monkeypatch.setattr(_os, "sync", failing)
    m = MappedFile.open(path, "r+", flush_policy=FlushPolicy.every_millis(1, on_error=told.append))
    wait_for(lambda: told)
    monkeypatch.undo()
    for call in (lambda: m.write(0, b"x"), m.flush, m.flush, m.mark_dirty):
        with pytest.raises(FlushError) as caught:
            call()
        assert str(caught.value) == str(told[0])
    assert m.read(0, 1) == b"\0"
    with pytest.raises(FlushError):
        m.close()
    assert len(told) == 1


def test_the_interpreter_ends_and_flushes_before(
    path: Path, seen: None, run_python: Callable[..., str]
) -> None:
    code = """
import sys, mmapio
policy = mmapio.FlushPolicy.every_millis(10**9)
m = mmapio.MappedFile.open(sys.argv[1], "r+", flush_policy=policy)
m.view()[0] = 7
"""
    run_python(code, str(path))
    assert (unwritten(path), path.read_bytes()[0]) == (0, 7)


@forking
def test_a_forked_child_flushes_too(path: Path, seen: None, run_python: Callable[..., str]) -> None:
    """Also if it was forked in the middle of a sync, whose locks it is born with."""
    code = """
import os, sys, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forks and threads: that is what is tested
import mmapio
from mmapio import _os
from mmapio.durability.background import flusher
policy = mmapio.FlushPolicy.every_millis(1)
m = mmapio.MappedFile.open(sys.argv[1], "r+", flush_policy=policy)
real, parent, begun = _os.sync, os.getpid(), []
def sync(*args):
    if os.getpid() == parent:
        begun.append(1)
        time.sleep(0.3)
    real(*args)
_os.sync = sync
while not begun:
    time.sleep(0.001)
child = os.fork()
if child == 0:
    thread = flusher.thread
    m.write(0, b"x")
    deadline = time.monotonic() + 10
    while m.pending_bytes and time.monotonic() < deadline:
        time.sleep(0.001)
    m.flush()
    lives = thread is not None and thread.is_alive()
    m.close()
    os._exit(10 * lives + (m.pending_bytes == 0))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
m.close()
"""
    assert run_python(code, str(path), MMAPIO_NATIVE="0") == "11\n"


def test_what_fails_in_the_background_is_told_on_the_error_stream(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: told.append(error[1]))
    monkeypatch.setattr(_os, "sync", failing)

    def broken(error: FlushError) -> None:
        raise ZeroDivisionError

    m = MappedFile.open(path, "r+", flush_policy=FlushPolicy.every_millis(1, on_error=broken))
    wait_for(lambda: told)
    assert isinstance(told[0], ZeroDivisionError)
    with pytest.raises(FlushError):
        m.close()


# Failed syncs ---------------------------------------------------------------------------------


def failing(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


SITES: dict[str, Callable[[MappedFile], Any]] = {
    "sync": lambda m: m.flush(),
    "start_writeback": lambda m: m.flush(wait=False),
}


@pytest.mark.parametrize("site", SITES)
def test_a_failed_sync_is_never_ok_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str
) -> None:
    m = MappedFile.open(tmp_path / "new", "x+", 3 * PAGE)
    m.write(0, b"pending")
    monkeypatch.setattr(_os, site, failing)
    with pytest.raises(FlushError, match="may be lost: open the file anew") as first:
        SITES[site](m)
    monkeypatch.undo()
    for flush in SITES.values():
        with pytest.raises(FlushError) as later:
            flush(m)
        assert (str(later.value), later.value.errno) == (str(first.value), errno.EIO)
        assert later.value.filename == str(tmp_path / "new")
    assert m.pending_bytes == 7
    m.write(0, b"manual policy: no promise was made")
    m.close()
    again = MappedFile.open(tmp_path / "new", "r+")
    again.write(0, b"x")
    again.flush()
    assert again.pending_bytes == 0


# Syncs of the directory ------------------------------------------------------------------------


@pytest.fixture
def fresh(tmp_path: Path) -> MappedFile:
    """Return the mapping of a file whose name is not durable."""
    return MappedFile.open(tmp_path / "fresh", "x+", 3 * PAGE)


def failing_with(code: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", ["EACCES", "EPERM", "EINVAL", "ENOTSUP", "EBADF", "ENOENT"])
def test_a_directory_that_cannot_be_synced_is_no_error(
    fresh: MappedFile, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(_os, "sync_directory", failing_with(getattr(errno, code)))
    fresh.write(0, b"x")
    fresh.flush()
    assert fresh.pending_bytes == 0
    monkeypatch.setattr(_os, "sync_directory", pytest.fail)  # it was tried, and will not be again
    fresh.flush()


@pytest.mark.parametrize("code", ["EMFILE", "ENFILE", "ENOMEM"])
def test_a_lack_of_descriptors_passes(
    fresh: MappedFile, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(_os, "sync_directory", failing_with(getattr(errno, code)))
    fresh.write(0, b"x")
    for _ in range(2):
        with pytest.raises(FlushError, match=r"bytes are durable, .* flush again") as caught:
            fresh.flush()
        assert caught.value.errno == getattr(errno, code)
    monkeypatch.undo()
    synced: list[str] = []
    monkeypatch.setattr(_os, "sync_directory", synced.append)
    fresh.flush()
    fresh.flush()
    assert len(synced) == 1
    assert fresh.pending_bytes == 0


def test_a_name_that_may_be_lost_is_told_at_every_flush_and_no_bytes_are(
    fresh: MappedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_os, "sync_directory", failing)
    synced: list[int] = []
    monkeypatch.setattr(_os, "sync", lambda start, length, _: synced.append(length))
    for flushes in (1, 2, 3):
        with pytest.raises(FlushError, match="the bytes are durable, but the name") as caught:
            fresh.flush()
        assert (caught.value.errno, len(synced)) == (errno.EIO, flushes)
        monkeypatch.undo()
        monkeypatch.setattr(_os, "sync", lambda start, length, _: synced.append(length))
    fresh.flush(wait=False)
    fresh.close()


@pytest.mark.parametrize("code", ["EMFILE", "EIO"])
def test_the_background_goes_on_flushing_where_only_a_name_is_not_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    told: list[FlushError] = []
    policy = FlushPolicy.every_millis(1, on_error=told.append)
    synced: list[int] = []
    monkeypatch.setattr(_os, "sync_directory", failing_with(getattr(errno, code)))
    m = MappedFile.open(tmp_path / "new", "x+", PAGE, flush_policy=policy)
    wait_for(lambda: told)
    monkeypatch.setattr(_os, "sync_directory", lambda path: None)
    monkeypatch.setattr(_os, "sync", lambda start, length, _: synced.append(length))
    wait_for(lambda: len(synced) > 3)
    if code == "EIO":
        assert len(told) == 1
        with pytest.raises(FlushError, match="name"):
            m.close()
    else:
        m.write(0, b"x")
        wait_for(lambda: not m.pending_bytes)
        m.close()


@pytest.mark.parametrize("code", ["EMFILE", "ENOMEM", "EINVAL", "ENOSYS"])
def test_writing_that_cannot_be_started_costs_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    m = MappedFile.open(path, "r+")
    monkeypatch.setattr(_os, "start_writeback", failing_with(getattr(errno, code)))
    if code in ("EMFILE", "ENOMEM"):
        with pytest.raises(FileError, match="cannot flush"):
            m.flush(wait=False)
    else:
        m.flush(wait=False)
    m.flush()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX counts descriptors")
@pytest.mark.parametrize("wait", [True, False])
def test_a_process_out_of_descriptors_can_flush_later(
    tmp_path: Path, run_python: Callable[..., str], wait: bool
) -> None:
    code = """
import os, resource, sys, mmapio
m = mmapio.MappedFile.open(sys.argv[1], "w+", size=4096)
m.write(0, b"x")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
try:
    m.flush(wait=WAIT)
except mmapio.FileError as error:
    print(error.errno)
while held:
    os.close(held.pop())
m.flush(wait=WAIT)
m.flush()
print(m.pending_bytes)
"""
    found = run_python(code.replace("WAIT", str(wait)), str(tmp_path / "new"))
    assert found == f"{errno.EMFILE}\n0\n"


def test_a_sync_that_waited_for_one_that_failed_fails_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells an error once: who asks at the same time must not hear that all is well."""
    m = MappedFile.open(path, "r+")
    begun, errors = threading.Event(), []

    def sync(*_: int) -> None:
        if not begun.is_set():
            begun.set()
            time.sleep(0.1)
            failing()

    def flush() -> None:
        try:
            m.flush()
        except FlushError as error:
            errors.append(error)

    monkeypatch.setattr(_os, "sync", sync)
    threads = [threading.Thread(target=flush) for _ in range(5)]
    threads[0].start()
    begun.wait()
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 5


@pytest.mark.parametrize(
    "policy", [FlushPolicy.always(), FlushPolicy.every_bytes(1), FlushPolicy.every_writes(1)]
)
def test_a_policy_that_cannot_keep_its_word_refuses_to_write(
    path: Path, monkeypatch: pytest.MonkeyPatch, policy: FlushPolicy
) -> None:
    m = MappedFile.open(path, "r+", flush_policy=policy)
    monkeypatch.setattr(_os, "sync", failing)
    for _ in range(3):
        with pytest.raises(FlushError):
            m.write(0, b"x")
        monkeypatch.undo()
    assert m.pending_writes == 1
    with pytest.raises(FlushError):
        m.close()


# The system calls -----------------------------------------------------------------------------


def strace(code: str, *arguments: str, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
    """Run code under strace; return its exit status, what it printed, and the system calls."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    command = ["strace", "-f", "-qq", *options, sys.executable, "-c", code, *arguments]
    path = str(Path(mmapio.__file__).parents[1])
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=100
    )
    if "ptrace" in done.stderr and "not permitted" in done.stderr:
        pytest.skip("this process may trace no other")
    return done.returncode, done.stdout, done.stderr


OPEN = 'import sys, mmapio; m = mmapio.MappedFile.open(sys.argv[1], "r+"); m.write(0, b"x");'


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("m.flush()", ", MS_SYNC) = 0"),
        ("m.flush(wait=False)", "sync_file_range("),
    ],
)
def test_strace_shows_the_call(path: Path, call: str, expected: str) -> None:
    options = ("-e", "trace=msync,sync_file_range")
    status, _, calls = strace(OPEN + call, str(path), options=options)
    assert status == 0
    assert expected in calls
    assert "MS_ASYNC" not in calls


@pytest.mark.parametrize("turn", [1, 2])
def test_an_error_that_the_kernel_tells_once_is_told_for_ever(path: Path, turn: int) -> None:
    code = (
        OPEN
        + """
for _ in range(4):
    try:
        m.flush()
        print("ok")
    except mmapio.FlushError as error:
        print(error.errno)
"""
    )
    options = ("-o", os.devnull, "-e", f"inject=msync:error=EIO:when={turn}")
    status, printed, _ = strace(code, str(path), options=options)
    assert (status, printed.split()) == (0, ["ok"] * (turn - 1) + ["5"] * (5 - turn))


def test_a_large_flush_needs_no_descriptor(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, nothing is written ahead of the sync."""
    monkeypatch.setattr("mmapio.mapping.flushing.PIECE_BYTES", 1)
    with open(path, "r+b") as file:
        m = MappedFile.from_fd(file.fileno(), "r+")
    monkeypatch.setattr(os, "dup", failing_with(errno.EMFILE))
    m.write(0, b"x")
    m.flush()
    assert m.pending_bytes == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.flush(),
        lambda m: m.write(0, b"x"),
        lambda m: m.mark_dirty(),
        lambda m: m.punch_hole(0, PAGE),
        lambda m: m.release(evict=True),
        lambda m: m.close(),
        lambda m: os.close(m.detach()),
    ],
    ids=["flush", "write", "mark_dirty", "punch_hole", "release", "close", "detach"],
)
def test_whoever_waits_for_a_sync_keeps_nobody_waiting(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[MappedFile], object]
) -> None:
    """Or who syncs could wait for it, in a signal handler that uses the mapping."""
    m = MappedFile.open(path, "r+", flush_policy=FlushPolicy.always())
    ledger = m._source.keep_account()
    ledger.add(0, 1)
    syncing, asked = ledger.syncing, threading.Event()

    class Syncing:
        def __enter__(self) -> None:
            asked.set()
            syncing.acquire()

        def __exit__(self, *_: object) -> None:
            syncing.release()

    monkeypatch.setattr(ledger, "syncing", Syncing())
    waiting = threading.Thread(target=call, args=(m,), daemon=True)
    with syncing:
        waiting.start()
        assert asked.wait(20)
        is_free = m._source.lock.acquire(timeout=5)
        if is_free:
            m._source.lock.release()
    waiting.join(20)
    assert is_free
