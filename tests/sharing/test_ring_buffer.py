"""Ring buffers: every record arrives once, in order and whole."""

from __future__ import annotations

import mmap
import os
import signal
import sys
import threading
import time
from collections import deque
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapio
from mmapio import RingBuffer, atomics

RECORD = np.dtype([("n", "i8"), ("square", "u4"), ("check", "i2")])


@numba.njit(nogil=True)
def produce(lines, slots, record, first, last):
    for n in range(first, last):
        record[0].n = n
        record[0].square = n * n
        record[0].check = n % 1000
        while not atomics.ring_push(lines, slots, record[0]):
            pass


@numba.njit(nogil=True)
def produce_too_early(lines, slots, record, first, last):
    """Be the mutant of `produce`: tell of a record before it is there."""
    for n in range(first, last):
        while n - atomics.load(lines, (1, 0), "acquire") >= len(slots):
            pass
        atomics.store(lines, (0, 0), n + 1, "release")
        for _ in range(10):
            atomics.load(lines, (0, 0), "relaxed")
        slots[n % len(slots)].n = n
        slots[n % len(slots)].square = n * n
        slots[n % len(slots)].check = n % 1000


@numba.njit(nogil=True)
def consume(lines, slots, out, first, last):
    """Return how many records did not come in order, or not whole."""
    wrong = 0
    for n in range(first, last):
        while not atomics.ring_pop(lines, slots, out):
            pass
        whole = out[0].square == np.uint32(n * n) and out[0].check == n % 1000
        wrong += (out[0].n != n) | (not whole)
    return wrong


def record() -> np.ndarray:
    return np.zeros(1, RECORD)


def misplaced(ring: RingBuffer, send: Any, rounds: int) -> int:
    """Return how many of so many records that a thread sends arrive wrong."""
    send(ring.lines.copy(), ring.slots.copy(), record(), 0, 0)
    consume(ring.lines.copy(), ring.slots.copy(), record(), 0, 0)
    arguments = (ring.lines, ring.slots, record(), 0, rounds)
    sender = threading.Thread(target=send, args=arguments)
    sender.start()
    wrong: int = consume(ring.lines, ring.slots, record(), 0, rounds)
    sender.join()
    return wrong


@pytest.mark.parametrize("capacity", [1, 3, 1024])
def test_threads_pass_records_in_order(capacity):
    rounds = {1: 300, 3: 3000, 1024: 500_000}[capacity]  # a full one waits for the other thread
    assert misplaced(RingBuffer.anonymous(RECORD, capacity), produce, rounds) == 0


def test_a_ring_that_tells_of_records_too_early_is_caught():
    deadline_s = time.monotonic() + 60
    while not misplaced(RingBuffer.anonymous(RECORD, 64), produce_too_early, 100_000):
        assert time.monotonic() < deadline_s


def work(path: str, form: str, first: int = 0, last: int = 0) -> None:
    """Produce as a process: from a kernel, from Python in blocks, or one by one; or consume."""
    ring = RingBuffer.open(path)
    if form == "kernel":
        produce(ring.lines, ring.slots, record(), first, last)
    for start in range(first, last, 1000) if form == "python" else ():
        n = np.arange(start, min(start + 1000, last))
        block = np.zeros(len(n), RECORD)
        block["n"], block["square"], block["check"] = n, n * n, n % 1000
        assert ring.push_many(block, timeout=60) == len(block)
    for n in range(first, last) if form == "forever" else ():
        ring.push((n, n * n % 2**32, n % 1000), timeout=60)
    if form == "take":
        consume(ring.lines, ring.slots, record(), ring.lines[1, 0], 10**9)
    if form == "die":
        die_at_taking(ring, path + ".out")


@pytest.mark.parametrize("form", ["kernel", "python"])
def test_processes_pass_millions_of_records_in_order(form, tmp_path, start_worker, scale):
    count = int((10_000_000 if form == "kernel" else 1_000_000) * scale)
    ring = RingBuffer.open(tmp_path / "ring", dtype=RECORD, capacity=50_000)
    consume(ring.lines.copy(), ring.slots.copy(), record(), 0, 0)
    worker = start_worker(__file__, tmp_path / "ring", form, 0, count)
    ring_is_filled(ring)
    assert consume(ring.lines, ring.slots, record(), 0, count) == 0
    worker.communicate()
    assert worker.returncode == 0
    assert len(ring) == 0


def ring_is_filled(ring: RingBuffer) -> None:
    deadline_s = time.monotonic() + 60
    while len(ring) == 0:
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def test_a_killed_producer_has_sent_whole_records_and_another_goes_on(tmp_path, start_worker):
    ring, expected = RingBuffer.open(tmp_path / "ring", dtype=RECORD, capacity=100), 0
    for _ in range(3):
        worker = start_worker(__file__, tmp_path / "ring", "forever", expected, 10**9)
        while expected % 500 < 400:
            found = ring.pop(timeout=60)
            assert found.tolist() == (expected, expected**2 % 2**32, expected % 1000)
            expected += 1
        worker.kill()
        worker.communicate()
        for found in ring.pop_many():
            assert found.tolist() == (expected, expected**2 % 2**32, expected % 1000)
            expected += 1
        expected += -expected % 500
    assert expected >= 1500


def die_at_taking(ring: RingBuffer, path: str) -> None:
    """Take a record to where there is no memory any more: the end of the process, in mid-copy."""
    with open(path, "w+b") as file:
        file.truncate(4096)
        out = np.frombuffer(mmap.mmap(file.fileno(), 4096), RECORD, 1)
        file.truncate(0)
        consume(ring.lines, ring.slots, out, ring.lines[1, 0], 10**9)


@pytest.mark.skipif(os.name == "nt", reason="Windows truncates no file that is mapped")
def test_what_a_killed_consumer_was_taking_is_taken_by_the_next(tmp_path, start_worker):
    ring = RingBuffer.open(tmp_path / "ring", dtype=RECORD, capacity=3)
    sent = [(n, n * n, n) for n in range(5)]
    assert ring.push_many(np.array(sent[:3], RECORD)) == 3
    assert ring.pop().tolist() == sent[0]
    worker = start_worker(__file__, tmp_path / "ring", "die")
    worker.communicate()
    assert worker.returncode == -signal.SIGBUS
    assert ring.push_many(np.array(sent[3:], RECORD)) == 1  # what was not taken keeps its slot
    assert ring.pop_many().tolist() == sent[1:4]


def test_a_consumer_killed_anywhere_leaves_whole_records_to_the_next(tmp_path, start_worker):
    ring, sent = RingBuffer.open(tmp_path / "ring", dtype=RECORD, capacity=100), 0
    for stop in (1000, 2000):
        worker = start_worker(__file__, tmp_path / "ring", "take")
        while sent < stop:
            ring.push((sent, sent**2 % 2**32, sent % 1000), timeout=60)
            sent += 1
        worker.kill()
        worker.communicate()
        taken = sent - len(ring)
        for n, found in enumerate(ring.pop_many(), taken):
            assert found.tolist() == (n, n**2 % 2**32, n % 1000)
        assert stop - 100 <= taken <= sent


@pytest.mark.parametrize("dtype", ["?", ">f8", "S5", ("f4", (2, 3)), [("a", "u1"), ("b", "f8", 2)]])
def test_records_of_any_dtype(dtype):
    ring, kind = RingBuffer.anonymous(dtype, 3), np.dtype(dtype)
    raw = (np.arange(4 * kind.itemsize) % 2).astype("u1")
    records = np.frombuffer(raw.tobytes(), kind)
    for _ in range(3):
        assert ring.push(records[0])
        assert ring.push_many(records) == 2
        assert ring.pop().tobytes() == records[0].tobytes()
        assert ring.pop_many().tobytes() == records[:2].tobytes()


@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 7)), max_size=40),
)
def test_a_ring_is_a_queue_of_limited_length(capacity, steps):
    ring, model, n = RingBuffer.anonymous("i4", capacity), deque[int](), 0
    for is_push, is_many, count in steps:
        if is_push and is_many:
            fit = min(count, capacity - len(model))
            assert ring.push_many(range(n, n + count)) == fit
            model.extend(range(n, n + fit))
            n += fit
        elif is_push:
            assert ring.push(n) == (len(model) < capacity)
            if len(model) < capacity:
                model.append(n)
                n += 1
        elif is_many:
            expected = [model.popleft() for _ in range(min(count, len(model)))]
            assert ring.pop_many(count).tolist() == expected
        else:
            assert ring.pop() == (model.popleft() if model else None)
        assert (len(ring), ring.capacity) == (len(model), capacity)
    assert ring.pop_many().tolist() == list(model)


def test_waiting_ends_when_the_other_side_acts():
    ring = RingBuffer.anonymous("i4", 2)
    for act, wait, expected in [
        (lambda: ring.push(1), lambda: ring.pop(timeout=None), 1),
        (lambda: ring.push_many([2, 3]), lambda: len(ring.pop_many(timeout=60)) > 0, True),
        (lambda: ring.pop_many(), lambda: ring.push_many([4, 5, 6], timeout=60), 3),
        (lambda: ring.pop_many(), lambda: ring.push_many([7, 8], timeout=60), 2),
        (lambda: ring.pop(), lambda: ring.push(9, timeout=None), True),
    ]:
        timer = threading.Timer(0.02, act)
        timer.start()
        assert wait() == expected
        timer.join()
    assert ring.pop_many().tolist() == [9]


def test_waiting_ends_when_the_time_is_over():
    ring = RingBuffer.anonymous("i4", 2)
    assert ring.pop(timeout=0.01) is None
    assert ring.pop_many(timeout=0.01).tolist() == []
    assert ring.push_many([1, 2, 3], timeout=0.01) == 2
    assert not ring.push(4, timeout=0.01)
    assert ring.push_many([4], timeout=0.01) == 0


def test_what_numpy_cannot_store_is_not_sent():
    ring = RingBuffer.anonymous("u1", 4)
    for wrong in (300, "x", [1, 2]):
        with pytest.raises((mmapio.ArgumentError, mmapio.ArgumentTypeError)):
            ring.push(wrong)
    for wrong in ([1, 300], [[1], [2]], 7, ["x"]):
        with pytest.raises((mmapio.ArgumentError, mmapio.ArgumentTypeError)):
            ring.push_many(wrong)
    with pytest.raises(mmapio.ArgumentError):
        ring.pop_many(-1)
    assert len(ring) == 0
    assert ring.push_many([]) == 0
    assert ring.pop_many(0, timeout=None).tolist() == []


if __name__ == "__main__":
    work(*sys.argv[1:3], *map(int, sys.argv[3:]))
