"""Seqlocks: no reader sees a torn record, whoever writes, and whoever is killed at it."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import numba
import numpy as np
import pytest

import mmapio
from mmapio import SeqLock, atomics

WORDS = 12  # of a record: more than one cache line, so that a copy can be torn
RECORD = ("i8", WORDS)


@numba.njit(nogil=True)
def write_until(stop, lines, slots):
    """Write records of one number each, until told to stop; return how many.

    It comes round all slots, and then pauses, for readers that are overtaken start again.
    """
    record, n = np.zeros(slots.shape[1], np.int64), atomics.load(lines, (0, 0))
    while atomics.load(stop, 0, "relaxed") == 0:
        n += 1
        record[:] = n
        atomics.seqlock_write(lines, slots, record)
        if n % (4 * len(slots)) == 0:
            for _ in range(1000):
                atomics.load(stop, 0, "relaxed")
    return n


@numba.njit(nogil=True)
def write_torn_until(stop, lines, slots):
    """Be the mutant of `write_until`: announce the record before it is there."""
    n = atomics.load(lines, (0, 0))
    while atomics.load(stop, 0, "relaxed") == 0:
        n += 1
        atomics.store(lines, (0, 0), n)
        for k in range(slots.shape[1]):
            atomics.store(slots, (n % len(slots), k), n, "relaxed")
    return n


@numba.njit(nogil=True)
def read_often(lines, slots, rounds):
    """Return how many of so many reads were torn, older than the one before, or misnumbered."""
    out, wrong, last = np.zeros((1, slots.shape[1]), np.int64), 0, 0
    for _ in range(rounds):
        n = atomics.seqlock_read(lines, slots, out)
        whole = True
        for k in range(slots.shape[1]):
            whole &= out[0, k] == n
        wrong += (not whole) | (n < last)
        last = n
    return wrong


@numba.njit(nogil=True)
def read_unchecked(lines, slots, rounds):
    """Be the mutant of `read_often`: believe what was copied without a second look."""
    out, wrong = np.zeros(slots.shape[1], np.int64), 0
    for _ in range(rounds):
        n = atomics.load(lines, (0, 0), "acquire")
        for k in range(len(out)):
            out[k] = atomics.load(slots, (n % len(slots), k), "relaxed")
        for k in range(len(out)):
            if out[k] != n:
                wrong += 1
                break
    return wrong


def torn(lock: SeqLock, write: Any, read: Any, rounds: int) -> int:
    """Return how many of so many reads went wrong while a thread was writing."""
    stop = np.zeros(1, "i8")
    writer = threading.Thread(target=write, args=(stop, lock.lines, lock.slots))
    write(np.ones(1, "i8"), lock.lines, lock.slots)
    read(lock.lines, lock.slots, 1)
    writer.start()
    try:
        while not lock.count:  # on a busy machine a thread may start late
            time.sleep(0.001)
        found: int = read(lock.lines, lock.slots, rounds)
    finally:
        stop[0] = 1
        writer.join()
    return found


@pytest.mark.parametrize("slots", [2, 8])
def test_threads_see_no_torn_record(slots, scale):
    lock = SeqLock.anonymous(RECORD, slots)
    assert torn(lock, write_until, read_often, int(200_000 * scale)) == 0
    assert lock.count > 0


@pytest.mark.parametrize(
    ("write", "read"), [(write_torn_until, read_often), (write_until, read_unchecked)]
)
def test_a_seqlock_without_one_of_its_steps_is_caught(write, read):
    lock, deadline_s = SeqLock.anonymous(RECORD, 2), time.monotonic() + 60
    while not torn(lock, write, read, 200_000):
        assert time.monotonic() < deadline_s


def work(path: str) -> None:
    """Write as a process, until killed."""
    lock = SeqLock.open(path)
    write_until(np.ones(1, "i8"), lock.lines, lock.slots)
    sys.stdout.write("writing\n")
    sys.stdout.flush()
    write_until(np.zeros(1, "i8"), lock.lines, lock.slots)


def test_processes_see_no_torn_record_and_outlive_the_writer(tmp_path, start_worker, scale):
    path = tmp_path / "record.lock"
    lock = SeqLock.open(path, dtype=RECORD)
    read_often(lock.lines, lock.slots, 1)
    for rounds in (10_000_000, 1):
        worker = start_worker(__file__, path)
        assert worker.stdout.readline() == "writing\n"
        before = lock.count
        while lock.count == before:
            time.sleep(0.001)
        assert read_often(lock.lines, lock.slots, max(1, int(rounds * scale))) == 0
        worker.kill()
        worker.communicate()
        record = lock.read()  # whole, though the writer was killed in the middle of the next one
        assert (record == lock.count).all()
    assert lock.write(np.full(WORDS, -1)) == lock.count > before
    assert (SeqLock.open(path, "r").read() == -1).all()


def test_python_reads_while_python_writes():
    lock, stop = SeqLock.anonymous(RECORD, 64), threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            lock.write(n)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        records = [lock.read() for _ in range(20_000)]
    finally:
        stop.set()
        writer.join()
    assert all((record == record[0]).all() for record in records)
    assert records[-1][0] > 0


DTYPES = ["?", "u1", ">f8", "S5", "M8[s]", ("f4", (2, 3)), [("a", "u1"), ("b", "f8", 2)], "c16"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_records_of_any_dtype(dtype):
    lock = SeqLock.anonymous(dtype, 2)
    kind = np.dtype(dtype)
    raw = np.arange(1, 1 + kind.itemsize, dtype="u1") % 2
    expected = np.frombuffer(raw.tobytes(), kind)[0]
    assert np.asarray(lock.read(), kind.base).tobytes() == bytes(kind.itemsize)
    for count in (1, 2, 3):
        assert lock.write(expected) == count
        assert lock.read().tobytes() == expected.tobytes()
    copied = lock.read()
    lock.write(np.zeros((), dtype)[()])
    assert copied.tobytes() == expected.tobytes()


def test_what_numpy_cannot_store_changes_nothing():
    lock = SeqLock.anonymous("u1")
    lock.write(7)
    for wrong in (300, "x", [1, 2], None):
        with pytest.raises((mmapio.ArgumentError, mmapio.ArgumentTypeError)):
            lock.write(wrong)
    assert (lock.read(), lock.count) == (7, 1)


def test_kernels_and_python_share_records():
    dtype = np.dtype([("n", "i8"), ("half", "f8")])
    lock = SeqLock.anonymous(dtype)

    @numba.njit
    def double(lines, slots, out):
        n = atomics.seqlock_read(lines, slots, out)
        out[0].n *= 2
        out[0].half *= 2
        atomics.seqlock_write(lines, slots, out[0])
        return n

    lock.write((3, 1.5))
    assert double(lock.lines, lock.slots, np.zeros(1, dtype)) == 1
    assert lock.read().tolist() == (6, 3.0)
    read_only = mmapio.SeqLock.anonymous("f8")
    read_only.lines.flags.writeable = False
    with pytest.raises(mmapio.ReadOnlyError):
        atomics.seqlock_write(read_only.lines, read_only.slots, 1)


if __name__ == "__main__":
    work(sys.argv[1])
