"""Counting together: rows 9, 10 and 11 of the targets.

The floor is a loop of the bare instruction over a plain array, without any check.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

import mmapio
from mmapio import atomics, kernels

from . import common
from .common import InTemporaryDirectory, elapsed_s, medians_s, ratio, ratio_of, target
from .floor import CPUS

# A few milliseconds: long against the turns at the interpreter's lock, short against those that the
# system gives to processes.
ADDITIONS = 1_000_000
REPEATS = range(1000)


def _emit_bare_add(_typing: Any, a: Any) -> Any:
    """Type and emit an addition of 1 to the first int64 of an array: one instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", data, ir.IntType(64)(1), "seq_cst")

    return types.int64(a), generate


bare_add = intrinsic(_emit_bare_add)


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def meet(ready: Any, threads: int) -> None:
    """Return when so many threads are here."""
    atomics.fetch_add(ready, 0, 1)
    while atomics.load(ready, 0) < threads:
        pass


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def add_barely(a: Any, count: int, ready: Any, threads: int) -> None:
    meet(ready, threads)
    for _ in range(count):
        bare_add(a)


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def add(a: Any, count: int, ready: Any, threads: int) -> None:
    meet(ready, threads)
    for _ in range(count):
        atomics.fetch_add(a, 0, 1)


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def add_sharded(lines: Any, count: int, ready: Any, threads: int) -> None:
    meet(ready, threads)
    for _ in range(count):
        atomics.sharded_add(lines, 1)


def in_threads(kernel: Callable[..., None], a: Any, *additions: int) -> float:
    """Run a kernel in a thread for each number of additions; return how long it took, in seconds.

    That is from when the last one begins, for which the others wait, until all have ended.
    """
    ready, begins, ends = np.zeros(1, "i8"), [], []

    def work(count: int) -> None:
        begins.append(time.perf_counter())
        kernel(a, count, ready, len(additions))
        ends.append(time.perf_counter())

    threads = [threading.Thread(target=work, args=(count,)) for count in additions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(ends) - max(begins)


class InKernel(InTemporaryDirectory):
    """Row 9, `fetch_add` on one word of a file in a kernel: at most 1.05 x the bare instruction."""

    params = common.few((1, 2))
    param_names = ("threads",)

    def setup(self, threads: int) -> None:
        if threads > CPUS:
            raise NotImplementedError(f"{threads} threads need as many CPUs, here are {CPUS}")
        super().setup()
        self.words = mmapio.MappedFile.open(self.zeros("words", 4096), "r+").view(0, 4096, "i8")
        self.additions = [ADDITIONS] * threads
        for kernel in (add, add_barely):
            in_threads(kernel, self.words, 1)

    def time_fetch_add(self, _threads: int) -> None:
        in_threads(add, self.words, *self.additions)

    def time_floor(self, _threads: int) -> None:
        in_threads(add_barely, self.words, *self.additions)

    @target(row=9, at_most=1.05)
    def track_ratio_floor(self, _threads: int) -> float:
        """fetch_add in a kernel, against the bare instruction (target: at most 1.05)."""
        return ratio_of(
            lambda: in_threads(add, self.words, *self.additions),
            lambda: in_threads(add_barely, self.words, *self.additions),
        )


class InOneThread:
    """The same in the thread that calls the kernel, which starts none: for the gate."""

    def setup(self) -> None:
        self.word, self.ready = np.zeros(1, "i8"), np.zeros(1, "i8")
        self.time_fetch_add()  # compiles

    def time_fetch_add(self) -> None:
        add(self.word, ADDITIONS // 10, self.ready, 1)


class Sharded(InTemporaryDirectory):
    """Row 10, `ShardedCounter` in kernels: 2 threads add at least 1.9 x as much as 1 in that time.

    So they take at most 2 / 1.9 x the time for twice as much. Its peer is one word for both.
    """

    def setup(self) -> None:
        if CPUS < 2:
            raise NotImplementedError("2 threads need 2 CPUs")
        super().setup()
        self.lines = mmapio.ShardedCounter.open(self.path("counter")).lines
        self.word = np.zeros(1, "i8")
        in_threads(add_sharded, self.lines, 1)
        in_threads(add, self.word, 1)

    def time_sharded_in_2_threads(self) -> float:
        return in_threads(add_sharded, self.lines, ADDITIONS, ADDITIONS)

    def time_one_word_in_2_threads(self) -> float:
        return in_threads(add, self.word, ADDITIONS, ADDITIONS)

    @target(
        row=10,
        at_most=2 / 1.9,
        reason="whatever else runs takes its CPU from one of the two threads, and none from one",
    )
    def track_ratio_one_thread(self) -> float:
        """ShardedCounter: 2 threads at once, against 1 of them alone (target: at most 2 / 1.9)."""
        # The other one is there, too, and adds nothing. Of the fastest of both: whatever else runs
        # takes one of two CPUs from two threads, and nothing from one.
        return ratio_of(
            self.time_sharded_in_2_threads,
            lambda: in_threads(add_sharded, self.lines, ADDITIONS, 0),
            of=min,
        )

    def track_ratio_one_word(self) -> float:
        """ShardedCounter by 2 threads, against one word for both (no target)."""
        return ratio_of(self.time_sharded_in_2_threads, self.time_one_word_in_2_threads)

    track_ratio_one_word.unit = "x"  # type: ignore[attr-defined]


class FromPython(InTemporaryDirectory):
    """Row 11, `fetch_add` from Python: at most 1.7 x an empty call, 1/5 of a shared `Value`."""

    def setup(self) -> None:
        super().setup()
        mapping = mmapio.MappedFile.open(self.zeros("cell", 4096), "r+")
        self.names = {
            "cell": mapping.atomic(8, "i8"),
            "cells": mapping.atomic_array(0, 512, "i8"),
            "empty": lambda value: None,
            "shared": multiprocessing.get_context("spawn").Value("q"),
            "lock": threading.Lock(),
            "number": 0,
        }

    def time_fetch_add_1000_times(self) -> None:
        cell = self.names["cell"]
        for _ in REPEATS:
            cell.fetch_add(1)

    @target(row=11, at_most=1.7)
    def track_ratio_empty(self) -> float:
        """fetch_add from Python, against an empty Python call (target: at most 1.7)."""
        return ratio("cell.fetch_add(1)", "empty(1)", self.names)

    @target(row=11, at_most=1 / 5)
    def track_ratio_value(self) -> float:
        """fetch_add from Python, against a multiprocessing.Value (target: at most 1/5)."""
        return ratio("cell.fetch_add(1)", "with shared.get_lock(): shared.value += 1", self.names)

    def track_ratio_array(self) -> float:
        """fetch_add on an atomic_array, against an empty Python call (no target)."""
        return ratio("cells.fetch_add(7, 1)", "empty(1)", self.names)

    def track_ratio_lock(self) -> float:
        """fetch_add from Python, against a threading.Lock and an int of one process (no target)."""
        return ratio("cell.fetch_add(1)", "with lock: number += 1", self.names)

    def track_ratio_atomics_package(self) -> float:
        """fetch_add from Python, against the atomics package (no target)."""
        try:
            import atomics as package
        except ImportError:
            raise common.Skip("pip install atomics, to compare with it") from None
        peer = package.atomic(width=8, atype=package.INT)
        return ratio("cell.fetch_add(1)", "peer.fetch_add(1)", {**self.names, "peer": peer})

    for track in (track_ratio_array, track_ratio_lock, track_ratio_atomics_package):
        track.unit = "x"  # type: ignore[attr-defined]
    del track


class ScatterAdd:
    """A histogram of a million indices, beside `numpy.add.at`; it has no target."""

    params = common.few((100, 1_000_000))
    param_names = ("bins",)

    def setup(self, bins: int) -> None:
        self.bins = np.zeros(bins, "i8")
        self.indices = np.random.default_rng(0).integers(0, bins, 1_000_000)
        kernels.scatter_add(self.bins, self.indices, 1)

    def time_scatter_add(self, bins: int) -> None:
        kernels.scatter_add(self.bins, self.indices, 1)

    def time_numpy_add_at(self, bins: int) -> None:
        np.add.at(self.bins, self.indices, 1)

    def track_ratio_add_at(self, bins: int) -> float:
        """scatter_add, against numpy.add.at, which no two threads may call (no target)."""
        return ratio_of(
            lambda: elapsed_s(lambda: self.time_scatter_add(bins)),
            lambda: elapsed_s(lambda: self.time_numpy_add_at(bins)),
        )

    track_ratio_add_at.unit = "x"  # type: ignore[attr-defined]


class ScatterAddLarge:
    """Additions to a table that no cache holds."""

    def setup(self) -> None:
        items = common.LARGE_BYTES // 8
        self.bins = np.zeros(items, "i8")
        self.indices = np.random.default_rng(0).integers(0, items, 250_000)
        self.time_scatter_add()  # compiles, and maps pages

    def time_scatter_add(self) -> None:
        kernels.scatter_add(self.bins, self.indices, 1)


class Parts:
    """Seqlocks, ring buffers and generations from Python, a thousand times each; no targets."""

    def setup(self) -> None:
        self.lock = mmapio.SeqLock.anonymous([("x", "f8"), ("y", "f8")])
        self.ring = mmapio.RingBuffer.anonymous("f8", 1 << 16)
        self.generation = mmapio.Generation.anonymous()

    def time_seqlock_write_and_read(self) -> None:
        for _ in REPEATS:
            self.lock.write((1, 2))
            self.lock.read()

    def time_ring_push_and_pop(self) -> None:
        for _ in REPEATS:
            self.ring.push(1)
            self.ring.pop()

    def time_ring_by_blocks_of_1000(self) -> None:
        self.ring.push_many(np.zeros(1000))
        self.ring.pop_many()

    def time_bump(self) -> None:
        for _ in REPEATS:
            self.generation.bump()

    def track_ring_record(self) -> float:
        """One record of a ring buffer, pushed and popped in a block of 1000 (no target)."""
        names = {"ring": self.ring, "block": np.zeros(1000)}
        (block_s,) = medians_s(["ring.push_many(block); ring.pop_many()"], names)
        return block_s * 1e6

    track_ring_record.unit = "ns"  # type: ignore[attr-defined]
