"""The thread pool: who gets what, what interrupts it, and what it leaves behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import kernels
from mmapio._validation import steps
from mmapio.errors import ArgumentError
from mmapio.kernels.engine import cpus, threads
from mmapio.kernels.engine.threads import run_chunks, run_ranges, run_workers, thread_count


def test_every_chunk_runs_once_and_workers_are_numbered() -> None:
    seen: list[tuple[int, int]] = []

    def body(chunk: int, worker: int) -> None:
        seen.append((chunk, worker))
        time.sleep(0.0002)

    run_chunks(300, body, threads=4)
    assert sorted(chunk for chunk, _ in seen) == list(range(300))
    assert {worker for _, worker in seen} <= set(range(4))
    assert len({worker for _, worker in seen}) > 1


def test_a_worker_number_belongs_to_one_thread_at_a_time() -> None:
    owners: dict[int, set[int]] = {}
    run_chunks(
        200,
        lambda chunk, worker: owners.setdefault(worker, set()).add(threading.get_ident()),
        threads=3,
    )
    assert all(len(threads) == 1 for threads in owners.values())


@pytest.mark.parametrize("total", [0, 1, 7, 8, 100])
@pytest.mark.parametrize("threads", [1, 3])
def test_ranges_cover_all_once(total: int, threads: int) -> None:
    done: list[tuple[int, int]] = []
    run_ranges(total, 7, lambda start, stop, worker: done.append((start, stop)), threads=threads)
    assert sorted(done) == list(steps(0, total, 7))


def test_a_lone_range_needs_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_Job", None)
    done: list[tuple[int, int, int]] = []
    run_ranges(7, 7, lambda *bounds_and_worker: done.append(bounds_and_worker))
    assert done == [(0, 7, 0)]


def test_a_price_that_is_not_found_out_shares_no_short_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt() -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(threads, "_price", None)
    monkeypatch.setattr(threads, "_time_an_empty_job", interrupt)
    with pytest.raises(KeyboardInterrupt):
        threads._price_of_invitation()
    assert threads._price_of_invitation() > 0


def test_helpers_are_invited_once_though_the_clock_of_threads_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "_price", 0.0)
    monkeypatch.setattr(threads, "_alone_at", {})
    monkeypatch.setattr(time, "thread_time", lambda: 1.0)
    invited: list[int] = []
    share = threads._Job.share

    def counted(job: threads._Job, helpers: int) -> None:
        invited.append(helpers)
        share(job, helpers)

    monkeypatch.setattr(threads._Job, "share", counted)
    workers = run_workers(60, list, lambda done, _: time.sleep(0.001), threads=3, kind="coarse")
    assert (len(workers), invited) == (3, [2])
    assert not threads._alone_at


def spend(seconds: float) -> None:
    """Use so much CPU time of the thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_the_rest_of_a_short_job_is_left_to_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_price", 1.0)
    monkeypatch.setattr(threads._pool, "invite", lambda *_: pytest.fail("invited"))
    workers = run_workers(50, list, lambda done, chunk: done.append(chunk), threads=3, kind="short")
    assert [*map(sorted, workers)] == [[*range(50)], [], []]


def test_the_price_of_an_invitation_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_price", None)
    price = threads._price_of_invitation()
    assert 0 < price <= threads._LONGEST_PRICE_S
    monkeypatch.setattr(threads, "_time_an_empty_job", lambda: pytest.fail("measured"))
    assert threads._price_of_invitation() == price


def workers_of_a_trial(
    monkeypatch: pytest.MonkeyPatch, kind: str, work: Callable[[bool], object]
) -> list[int]:
    """Return who did each of 100 chunks; work is told whether a helper has come by then."""
    monkeypatch.setattr(threads, "_price", 0.0)
    monkeypatch.setattr(threads, "_alone_at", {})
    helping = threading.Event()
    by: list[int] = []

    def body(chunk: int, worker: int) -> None:
        by.append(worker)
        if worker:
            helping.set()
        elif len(by) > 1:
            assert helping.wait(20)
        work(helping.is_set())

    run_chunks(100, body, threads=2, kind=kind)
    return by


def test_helpers_that_only_burn_cpu_time_are_sent_away_and_not_called_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Chunks here use more CPU time as soon as there is a helper, as if for want of bandwidth."""
    monkeypatch.setattr(threads, "_REMEMBERED_S", 1e9)
    by = workers_of_a_trial(
        monkeypatch, "bandwidth", lambda is_helped: spend(0.004 if is_helped else 0.0004)
    )
    assert by.count(0) > 70
    assert threads._best_alone("bandwidth")
    assert len(run_workers(9, list, list.append, threads=2, kind="bandwidth")) == 1
    assert len(run_workers(9, list, list.append, threads=2, kind="other")) == 2
    monkeypatch.setattr(threads, "_REMEMBERED_S", 0.0)
    assert not threads._best_alone("bandwidth")


def test_helpers_that_make_it_faster_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(_is_helped: bool) -> None:
        spend(0.001)
        time.sleep(0.001)

    by = workers_of_a_trial(monkeypatch, "computing", work)
    assert by[0] == 0
    assert by.count(1) > 10
    assert not threads._best_alone("computing")


def test_no_chunks() -> None:
    run_chunks(0, lambda chunk, worker: pytest.fail("called"))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_an_exception_stops_the_others_and_is_raised_once(threads: int) -> None:
    done: list[int] = []

    def body(chunk: int, worker: int) -> None:
        if chunk == 10:
            raise ZeroDivisionError("chunk 10")
        time.sleep(0.0005)
        done.append(chunk)

    with pytest.raises(ZeroDivisionError, match="chunk 10"):
        run_chunks(10_000, body, threads=threads)
    finished = len(done)
    assert finished < 200
    time.sleep(0.02)
    assert len(done) == finished


def test_an_exception_in_a_helper_reaches_the_caller() -> None:
    caller = threading.get_ident()

    def body(chunk: int, worker: int) -> None:
        time.sleep(0.001)
        if threading.get_ident() != caller:
            raise LookupError("helper")

    with pytest.raises(LookupError, match="helper"):
        run_chunks(5000, body, threads=2)


def test_a_job_inside_of_a_job_runs_inline() -> None:
    threads: list[tuple[int, int]] = []

    def outer(chunk: int, worker: int) -> None:
        me = threading.get_ident()
        assert thread_count(7) == 1
        run_chunks(3, lambda *_: threads.append((me, threading.get_ident())), threads=7)

    run_chunks(50, outer, threads=3)
    assert len(threads) == 150
    assert all(outside == inside for outside, inside in threads)
    assert thread_count(7) == 7


def test_python_threads_share_the_pool() -> None:
    a = np.random.default_rng(0).normal(size=3_000_000)
    expected = kernels.describe(a, threads=1)
    found: list[kernels.Description] = []

    def scan() -> None:
        found.extend(kernels.describe(a, threads=2) for _ in range(5))

    threads = [threading.Thread(target=scan) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [d.sum for d in found] == [expected.sum] * 20
    assert all((d.counts == expected.counts).all() for d in found)


def test_nothing_holds_the_array_afterwards() -> None:
    a = np.zeros(3_000_000)
    gone = weakref.ref(a)
    for _ in range(20):
        kernels.describe(a, threads=3)
    del a
    assert gone() is None


def test_an_invitation_that_nobody_took_up_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_pool", threads._Pool())
    helping, finish = threading.Event(), threading.Event()

    def keep_the_helper(chunk: int, worker: int) -> None:
        if worker:
            helping.set()
        finish.wait(20)

    busy = threading.Thread(target=run_chunks, args=(2, keep_the_helper), kwargs={"threads": 2})
    busy.start()
    assert helping.wait(20)
    a = np.zeros(3_000_000)
    gone = weakref.ref(a)
    kernels.describe(a, threads=2)
    del a
    assert gone() is None
    finish.set()
    busy.join()


def test_nothing_holds_the_array_after_an_error() -> None:
    class Held:
        pass

    held = Held()
    gone = weakref.ref(held)

    def body(chunk: int, worker: int, held: Held = held) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        run_chunks(50, body, threads=3)
    del held, body
    gc.collect()
    assert gone() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_starts_afresh(run_python: Callable[..., str]) -> None:
    code = """
        import os, threading, numpy as np
        from mmapio import kernels
        a = np.arange(3_000_000.0)
        kernels.describe(a, threads=2)
        assert any(thread.name == "mmapio-1" for thread in threading.enumerate())
        child = os.fork()
        if not child:
            before = threading.active_count()
            ok = kernels.describe(a, threads=2).sum == a.sum() and before == 1
            os._exit(0 if ok and threading.active_count() == 2 else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert run_python(textwrap.dedent(code)) == "0\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process")
@pytest.mark.parametrize("threads", ["1", "2", "4"])
def test_ctrl_c_returns_at_once_and_leaves_nothing_running(threads: str) -> None:
    code = """
        import signal, sys, time, threading
        import numpy as np
        from mmapio import kernels
        from mmapio.kernels.engine.threads import run_chunks

        a = np.random.default_rng(0).normal(size=4_000_000)
        kernels.describe(a)
        running = set()

        def body(chunk, worker):
            running.add(worker)
            kernels.describe(a)
            running.discard(worker)

        print("ready", flush=True)
        try:
            run_chunks(10**6, body, threads=int(sys.argv[1]))
        except KeyboardInterrupt:
            helpers = set(running) - {0}
            print(helpers or "idle", flush=True)
            assert kernels.describe(a, threads=2).count == a.size
            print("works")
    """
    path = str(Path(mmapio.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), threads],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "idle\n"  # of work for hours
        assert process.stdout.read() == "works\n"
    assert process.returncode == 0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no timer signals")
def test_no_helper_is_lost_to_ctrl_c_wherever_it_comes(run_python: Callable[..., str]) -> None:
    code = """
        import random, signal, threading
        from mmapio.kernels.engine.threads import run_chunks

        def interrupt(*_):
            raise KeyboardInterrupt

        def meet(chunk, worker):
            barrier.wait(20)  # passes if there are as many threads as chunks

        signal.signal(signal.SIGALRM, interrupt)
        running, late, interrupts = set(), 0, 0

        def body(chunk, worker):
            if worker:
                running.add((chunk, worker))
                running.discard((chunk, worker))

        while interrupts < 400:
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 1e-3))
                while True:
                    run_chunks(30, body, threads=4)
            except KeyboardInterrupt:
                interrupts += 1
                late += bool(running)
        barrier = threading.Barrier(4)
        run_chunks(4, meet, threads=4)
        print("all there", late)
    """
    assert run_python(textwrap.dedent(code)) == "all there 0\n"


def test_ctrl_c_before_the_caller_begins_stops_those_it_invited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[int] = []
    invite = threads._pool.invite

    def invite_and_stop(job: Any, helpers: int) -> None:
        invite(job, helpers)
        raise KeyboardInterrupt

    monkeypatch.setattr(threads._pool, "invite", invite_and_stop)
    with pytest.raises(KeyboardInterrupt):
        run_chunks(1000, lambda chunk, worker: done.append(chunk), threads=3)
    after = len(done)
    time.sleep(0.1)
    assert len(done) == after


def test_no_more_workers_are_made_than_have_work() -> None:
    workers = run_workers(3, list, list.append, threads=4000)
    assert len(workers) == 3
    assert sorted(chunk for worker in workers for chunk in worker) == [0, 1, 2]
    assert run_workers(0, list, list.append, threads=7) == [[]]
    assert kernels.sum(np.arange(10, dtype=">i4"), threads=4000) == 45


def test_a_setting_that_changes_meanwhile_makes_no_worker_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MMAPIO_NUM_THREADS", "2")

    def make() -> list[int]:
        monkeypatch.setenv("MMAPIO_NUM_THREADS", "7")
        return []

    workers = run_workers(100, make, lambda worker, chunk: time.sleep(0.001), threads=None)
    assert len(workers) == 2


def test_thread_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMAPIO_NUM_THREADS", "3")
    assert thread_count() == 3
    assert thread_count(5) == 5
    monkeypatch.delenv("MMAPIO_NUM_THREADS")
    assert thread_count() == cpus.usable_cpus()
    for wrong in (0, -2, 1.5, "two", 4097, 10**30):
        with pytest.raises(ArgumentError, match="threads must be an integer from 1 to 4096"):
            thread_count(wrong)  # type: ignore[arg-type]
    monkeypatch.setenv("MMAPIO_NUM_THREADS", "many")
    with pytest.raises(ArgumentError, match=r"MMAPIO_NUM_THREADS .* got 'many'"):
        thread_count()


def test_cpus_are_looked_up_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMAPIO_NUM_THREADS", raising=False)
    found = iter([5, 7])
    monkeypatch.setattr(threads, "usable_cpus", lambda: next(found))
    monkeypatch.setattr(threads, "_cpus", (-1e9, 1))
    assert [thread_count(), thread_count()] == [5, 5]
    later = time.monotonic() + 1.1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert [thread_count(), thread_count()] == [7, 7]


def test_progress_reaches_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    kernels.byte_counts(np.zeros(10_000, "u1"), progress=True)
    assert capsys.readouterr().err == ""


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    tqdm = pytest.importorskip("tqdm")
    seen: list[tuple[int, int]] = []

    class Bar(tqdm.tqdm):  # type: ignore[misc]
        def __init__(self, **options: object) -> None:
            super().__init__(**(options | {"disable": False, "file": open(os.devnull, "w")}))

        def close(self) -> None:
            if not self.disable:
                seen.append((self.n, self.total))
                self.fp.close()
            super().close()

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    a = np.zeros(30 << 20, "u1")
    kernels.byte_counts(a, progress=True, threads=2)
    assert seen == [(a.nbytes, a.nbytes)]
