"""Generations: who waits learns of every change, from any process, and the event loop goes on."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numba
import pytest

import mmapio
from mmapio import Generation, MappedFile, _os, atomics, guard


@pytest.fixture
def waiting(request, monkeypatch):
    if request.param == "polling":
        monkeypatch.setattr(_os, "HAS_FUTEX", False)
    elif not _os.HAS_FUTEX:
        pytest.skip("this system has no futex between processes")
    return request.param


each_way = pytest.mark.parametrize("waiting", ["futex", "polling"], indirect=True)


def test_bumps_count(tmp_path):
    generation = Generation.open(tmp_path / "g")
    assert [generation.bump() for _ in range(3)] == [1, 2, 3]
    assert Generation.open(tmp_path / "g", "r").value == 3
    generation.lines[0, 0] = 2**63 - 1
    assert generation.bump() == generation.value == -(2**63)


@each_way
def test_who_waits_is_woken_by_a_bump(waiting):
    generation = Generation.anonymous()
    for seen in range(5):
        timer = threading.Timer(0.02, generation.bump)
        timer.start()
        assert generation.wait_for_change(seen) == seen + 1
        timer.join()
    assert generation.wait_for_change(3) == 5  # already


@each_way
def test_waiting_ends_in_time(waiting):
    generation = Generation.anonymous()
    start = time.monotonic()
    assert generation.wait_for_change(0, timeout=0.25) == 0
    assert time.monotonic() - start >= 0.25
    assert generation.wait_for_change(0, timeout=0) == 0
    assert generation.wait_for_change(0, timeout=-1) == 0
    with pytest.raises(mmapio.ArgumentTypeError, match="seen must be an integer"):
        generation.wait_for_change(None)


@pytest.mark.skipif(not _os.HAS_FUTEX, reason="this system has no futex between processes")
def test_a_bump_wakes_and_does_not_wait_for_the_next_look(monkeypatch):
    monkeypatch.setattr("mmapio.sharing.waiting.LONGEST_SLEEP_S", 60)
    monkeypatch.setattr("mmapio.sharing.generation.LONGEST_SLEEP_S", 60)
    generation = Generation.anonymous()
    seen: list[int] = []
    waiter = threading.Thread(target=lambda: seen.append(generation.wait_for_change(0)))
    waiter.start()
    time.sleep(0.05)
    generation.bump()
    waiter.join(20)
    assert seen == [1]


@each_way
def test_a_bump_by_a_kernel_is_seen(waiting):
    @numba.njit
    def bump(lines):
        atomics.fetch_add(lines, (0, 0), 1)

    generation = Generation.anonymous()
    bump(generation.lines)
    timer = threading.Timer(0.02, bump, [generation.lines])
    timer.start()
    assert generation.wait_for_change(1) == 2


def work(path: str, rounds: int, waiting: str) -> None:
    """Answer each change of one generation by a change of the other, as a process."""
    _os.HAS_FUTEX = waiting == "futex"
    asked, answered = Generation.open(f"{path}.asked", "r"), Generation.open(f"{path}.answered")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for seen in range(rounds):
        assert asked.wait_for_change(seen, timeout=60) == seen + 1
        answered.bump()


@each_way
def test_processes_wake_each_other(waiting, tmp_path, start_worker):
    path, rounds = tmp_path / "g", 500
    asked, answered = Generation.open(f"{path}.asked"), Generation.open(f"{path}.answered")
    worker = start_worker(__file__, path, rounds, waiting)
    assert worker.stdout.readline() == "ready\n"
    for seen in range(rounds):
        asked.bump()
        assert answered.wait_for_change(seen, timeout=60) == seen + 1
    worker.communicate()
    assert worker.returncode == 0


@each_way
def test_coroutines_wait_while_others_work(waiting):
    generation = Generation.anonymous()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    async def main() -> list[int]:
        ticking = asyncio.create_task(tick())
        waiters = [asyncio.create_task(generation.changed(seen)) for seen in (0, 0, 5, 0)]
        threads = set(threading.enumerate())
        while ticks <= 10:  # which would be for ever if a waiter kept the loop
            await asyncio.sleep(0.001)
        started = set(threading.enumerate()) - threads
        assert [thread.name for thread in started].count("mmapio-watch") == 1  # for all of them
        assert [waiter.done() for waiter in waiters] == [False, False, True, False]
        waiters[1].cancel()
        threading.Timer(0.01, generation.bump).start()
        found = [await waiters[0], await waiters[2], await waiters[3]]
        ticking.cancel()
        return found

    assert asyncio.run(asyncio.wait_for(main(), 60)) == [1, 0, 1]


@each_way
def test_no_thread_is_left_when_nobody_waits(waiting):
    generation = Generation.anonymous()

    async def give_up() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(generation.changed(0), 0.01)

    asyncio.run(give_up())
    deadline_s = time.monotonic() + 20
    while any(thread.name == "mmapio-watch" for thread in threading.enumerate()):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    asyncio.run(give_up())  # in another event loop
    generation.bump()
    assert asyncio.run(generation.changed(0)) == 1


def test_many_rounds_of_coroutines_miss_no_change():
    asked, answered = Generation.anonymous(), Generation.anonymous()

    async def answer() -> None:
        for seen in range(300):
            await asked.changed(seen)
            answered.bump()

    async def main() -> None:
        other = asyncio.create_task(answer())
        for seen in range(300):
            asked.bump()
            assert await answered.changed(seen) == seen + 1
        await other

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_generation_lies_beside_the_data_it_is_about(tmp_path):
    m = MappedFile.open(tmp_path / "data", "x+", size=4096)
    generation = Generation.at(m, 64)
    assert generation.bump() == m.view(64, 8, "i8")[0] == 1
    again = pickle.loads(pickle.dumps(generation))
    assert again.bump() == generation.value == 2
    assert repr(generation).endswith("data at 2>")
    assert Generation.at(MappedFile.open(tmp_path / "data"), 64).wait_for_change(0) == 2
    for offset, error in ((4090, mmapio.OutOfBoundsError), (3, mmapio.MisalignedError)):
        with pytest.raises(error):
            Generation.at(m, offset)
    for view in (generation, again):
        view.close()
    m.close()


@pytest.mark.skipif(guard.why_not() is not None, reason=str(guard.why_not()))
def test_a_loss_is_met_where_the_mapping_lay_before(tmp_path):
    m = MappedFile.open(tmp_path / "data", "x+", size=4096)
    generation = Generation.at(m, 64)
    m.resize(1 << 20, force=True)  # which moves it, but no array
    generation.check()
    generation.bump()
    os.truncate(tmp_path / "data", 0)
    with pytest.raises(mmapio.MappingLostError):
        _ = generation.value


@each_way
@pytest.mark.skipif(os.name == "nt", reason="Windows truncates no file that is mapped")
def test_coroutines_are_told_that_the_file_was_lost(waiting, tmp_path):
    async def main() -> list[Any]:
        waiters = [asyncio.create_task(generation.changed(0)) for _ in range(3)]
        await asyncio.sleep(0.01)
        os.truncate(tmp_path / "g", 0)
        return await asyncio.gather(*waiters, return_exceptions=True)

    generation = Generation.open(tmp_path / "g")
    found = asyncio.run(asyncio.wait_for(main(), 60))
    assert [type(error) for error in found] == [mmapio.MappingLostError] * 3
    with pytest.raises(mmapio.MappingLostError):
        asyncio.run(generation.changed(0))


@pytest.mark.skipif(not _os.HAS_FUTEX, reason="this system has no futex between processes")
def test_the_system_call_reports_what_is_wrong():
    for call in (lambda: _os.futex_wait(3, 0, 0.01), lambda: _os.futex_wake(3)):
        with pytest.raises(OSError):
            call()


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), sys.argv[3])


def test_who_waits_learns_that_it_was_closed() -> None:
    generation = Generation.anonymous()
    errors: list[BaseException] = []

    def wait(how: Callable[[], object]) -> None:
        try:
            how()
        except mmapio.ClosedError as error:
            errors.append(error)

    ways: list[Callable[[], object]] = [
        lambda: generation.wait_for_change(0),
        lambda: asyncio.run(generation.changed(0)),
    ]
    threads = [threading.Thread(target=wait, args=(way,), daemon=True) for way in ways]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while not generation._file.word._awaited and time.monotonic() < deadline:
        time.sleep(0.001)
    generation.close()
    generation.close()
    for thread in threads:
        thread.join(60)
    assert [str(error) for error in errors] == ["the generation is closed"] * 2
