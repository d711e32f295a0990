"""Sharded counters: every addition counts once, whoever makes it, in whichever cell."""

from __future__ import annotations

import sys
import threading

import numba
import numpy as np
import pytest

import mmapio
from mmapio import ShardedCounter, atomics


@numba.njit(nogil=True)
def count(lines, rounds):
    for _ in range(rounds):
        atomics.sharded_add(lines, 1)


@numba.njit(nogil=True)
def count_in_lane(lines, rounds, lane):
    for _ in range(rounds):
        atomics.sharded_add(lines, 1, lane)


@numba.njit(nogil=True)
def lane_of(count):
    return atomics.thread_lane(count)


def count_in_threads(counter: ShardedCounter, threads: int, rounds: int) -> None:
    """Add in three ways in each of some threads: 3 x `rounds` each."""

    def work(number: int) -> None:
        count(counter.lines, rounds)
        count_in_lane(counter.lines, rounds - 1000, number)
        for _ in range(1000):
            counter.add()
        count(counter.lines, rounds)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


@pytest.mark.parametrize("shards", [1, 3, 64])
def test_threads_lose_nothing(shards):
    counter = ShardedCounter.anonymous(shards)
    count_in_threads(counter, 3, 50_000)
    assert counter.value == 3 * 3 * 50_000


def test_processes_of_threads_lose_nothing(tmp_path, start_worker):
    counter = ShardedCounter.open(tmp_path / "counter")
    workers = [start_worker(__file__, tmp_path / "counter") for _ in range(2)]
    count_in_threads(counter, 2, 50_000)
    for worker in workers:
        worker.communicate()
    assert [worker.returncode for worker in workers] == [0, 0]
    assert counter.value == 3 * 2 * 3 * 50_000
    assert len(np.unique(np.flatnonzero(counter.lines))) > 1


def test_a_counter_of_plain_additions_loses_some():
    @numba.njit(nogil=True)
    def add_plainly(lines, rounds):
        for _ in range(rounds):
            value = atomics.load(lines, (0, 0), "relaxed")
            atomics.store(lines, (0, 0), value + 1, "relaxed")

    counter = ShardedCounter.anonymous(1)
    add_plainly(counter.lines, 0)
    rounds, total = 100_000, 0
    while counter.value == total:  # threads may not meet at once
        rounds, total = rounds * 2, total + rounds * 4
        workers = [
            threading.Thread(target=add_plainly, args=(counter.lines, rounds)) for _ in range(2)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert rounds < 10**9


def test_the_value_wraps_around_as_an_integer_of_64_bits():
    counter = ShardedCounter.anonymous(3)
    counter.lines[0, 0] = 2**63 - 1
    counter.lines[1, 0] = 1
    assert counter.value == atomics.sharded_value(counter.lines) - 2**64 == -(2**63)
    counter.add(-1)
    assert counter.value == 2**63 - 1
    with pytest.raises(mmapio.ArgumentError):
        counter.add(2**63)


def test_lanes_are_those_asked_for_or_spread_over_threads():
    counter = ShardedCounter.anonymous(4)
    for lane in (0, 1, 5, -1):
        count_in_lane(counter.lines, 10, lane)
    assert counter.lines[:, 0].tolist() == [10, 20, 0, 10]
    assert numba.njit(lambda lines: atomics.sharded_value(lines))(counter.lines) == 40

    lanes: list[int] = []
    gate = threading.Barrier(8)

    def note() -> None:
        gate.wait()  # all are alive at once, so each has a stack of its own
        lanes.append(lane_of(64))
        gate.wait()

    lane_of(1)
    workers = [threading.Thread(target=note) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(0 <= lane < 64 for lane in lanes)
    assert len(set(lanes)) > 4
    for count in (1, 2, 3, 1000, 2**31):
        assert 0 <= lane_of(count) < count
        assert 0 <= atomics.thread_lane(count) < count


def test_kernels_refuse_what_is_not_a_counter():
    lines = np.zeros((4, 16), "i8")
    lines.flags.writeable = False
    with pytest.raises(mmapio.ReadOnlyError):
        count(lines, 1)
    with pytest.raises(mmapio.ReadOnlyError):
        atomics.sharded_add(lines, 1)
    with pytest.raises(mmapio.MisalignedError):
        count(np.zeros(257, "u1")[1:].view("i8").reshape(2, 16), 1)


if __name__ == "__main__":
    count_in_threads(ShardedCounter.open(sys.argv[1]), 2, 50_000)
