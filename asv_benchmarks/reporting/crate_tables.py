"""Tables of the crate's page of figures, each with the same work by mmapio and its peers.

The crate is mmap-io 1.0.0, for Rust; the figures are those of its page, from another machine.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from benchmarks import bench_atomics, bench_chunks, common, floor
from benchmarks.common import size, sync_data

import mmapio
from mmapio import FlushPolicy, MappedFile, kernels

from .crate_files import Growth, Operations
from .table import PAGE, Row, Table, Work

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class Iterate(Table):
    title = "Iterating over 16 MiB"
    note = (
        "Blocks from Python, in a compiled kernel (`reduce_chunks`, to be set beside the crate), "
        "and with a copy of each."
    )

    def rows(self) -> Iterator[Row]:
        crate = {4 * KIB: ("25.8 µs", "341.2 µs"), 64 * KIB: ("2.0 µs", "962.3 µs")}
        for chunk, (in_place, owned) in crate.items():
            names = self.three(16 * MIB) | {"chunk": chunk, "kernels": kernels}
            names |= {"first": bench_chunks.first, "add": bench_chunks.add}
            names |= {"loop": floor.first_bytes}
            names |= {"ndarray": np.ones((16 * MIB // chunk, chunk), "u1")}
            names |= {"rows": names["memmap"].reshape(-1, chunk), "whole": names["m"].view()}
            of = f"{chunk // KIB} KiB"
            yield Row(
                f"blocks of {of}",
                in_place,
                names,
                {
                    "mmapio": "for _ in m.chunks(chunk): pass",
                    "ndarray": "for _ in ndarray: pass",
                    "numpy.memmap": "for _ in rows: pass",
                },
            )
            yield Row(
                f"blocks of {of}, in a kernel",
                in_place,
                names,
                {
                    "mmapio": "kernels.reduce_chunks(whole, first, add, 0, chunk=chunk)",
                    "bare loop": "loop(whole, chunk)",
                },
            )
            yield Row(
                f"blocks of {of}, copied",
                owned,
                names,
                {
                    "mmapio": "for _ in m.chunks(chunk, copy=True): pass",
                    "ndarray": "for row in ndarray: row.copy()",
                    "numpy.memmap": "for row in rows: row.copy()",
                    "mmap": "for at in range(0, n, chunk): plain[at:at + chunk]",
                },
            )
        yield Row(
            "pages of 4 KiB",
            "23.9 µs",
            names | {"pages": np.ones((16 * MIB // PAGE, PAGE), "u1")},
            {"mmapio": "for _ in m.pages(): pass", "ndarray": "for _ in pages: pass"},
        )


class Sequential(Table):
    title = "Reading in sequence: in place, or copied"
    note = "In place is a byte of each page, as the crate's figure is; copied is all of it."

    def rows(self) -> Iterator[Row]:
        crate = {1: ("615 ns", "19.6 µs"), 16: ("17.2 µs", "849 µs"), 256: ("1.0 ms", "14.7 ms")}
        for mib, (in_place, copied) in crate.items():
            names = self.three(mib * MIB) | {"touch": kernels.touch_pages}
            names |= {"out": np.empty(mib * MIB, "u1"), "page": PAGE}
            yield Row(
                f"{mib} MiB in place",
                in_place,
                names,
                {
                    "mmapio": "touch(m.view(0, n))",
                    "numpy.memmap": "memmap[0:n][::page].max()",
                    "mmap": "plain[0:n:page]",
                },
            )
            yield Row(
                f"{mib} MiB copied",
                copied,
                names,
                {
                    "mmapio": "m.read_into(0, out)",
                    "numpy.memmap": "copyto(out, memmap[0:n])",
                    "mmap": "plain[0:n]",
                },
            )


class Random(Table):
    title = "Reading at random: in place, or copied"
    note = "One request at an offset, from Python."

    def rows(self) -> Iterator[Row]:
        crate = {
            64: ("55 ns", "53 ns"),
            256: ("63 ns", "38 ns"),
            4 * KIB: ("56 ns", "129 ns"),
            64 * KIB: ("38 ns", "1.29 µs"),
        }
        names = self.three(16 * MIB)
        names |= {"a": mmapio.open(names["m"].path, dtype="u1"), "o": 7 * MIB + 64}
        names |= {"ndarray": names["a"].ndarray}
        for nbytes, (in_place, copied) in crate.items():
            names |= {"n": nbytes, "out": np.empty(nbytes, "u1")}
            yield Row(
                f"{size(nbytes)} in place, slice",
                in_place,
                names,
                {
                    "mmapio": "a[o:o + n]",
                    "ndarray": "ndarray[o:o + n]",
                    "numpy.memmap": "memmap[o:o + n]",
                },
            )
            yield Row(
                f"{size(nbytes)} in place, `view`",
                in_place,
                names,
                {"mmapio": "m.view(o, n)", "numpy.memmap": "memmap[o:o + n]"},
            )
            yield Row(
                f"{size(nbytes)} copied",
                copied,
                names,
                {
                    "mmapio": "m.read_into(o, out)",
                    "ndarray": "copyto(out, ndarray[o:o + n])",
                    "numpy.memmap": "copyto(out, memmap[o:o + n])",
                    "mmap": "plain[o:o + n]",
                },
            )


class Touch(Table):
    title = "Touching pages that are mapped"

    def rows(self) -> Iterator[Row]:
        crate = {MIB: "354 ns", 8 * MIB: "9.5 µs", 32 * MIB: "48 µs", GIB: "2.08 ms"}
        names = self.three(max(32 * MIB, common.LARGE_BYTES), "r")
        names |= {"touch": kernels.touch_pages, "whole": names["m"].view(), "page": PAGE}
        names |= {"loop": floor.touch}
        for nbytes, figure in crate.items():
            if nbytes <= len(names["whole"]):
                yield Row(
                    size(nbytes),
                    figure,
                    names | {"part": names["whole"][:nbytes], "n": nbytes},
                    {
                        "mmapio": "touch(part)",
                        "bare loop": "loop(part, page)",
                        "numpy.memmap": "memmap[:n:page].max()",
                        "mmap": "plain[:n:page]",
                    },
                )


class Flush(Table):
    title = "Flushing a few bytes"
    note = (
        "A store to a page, made durable; and the writing only started, by `flush(wait=False)`. "
        "The crate's flush makes no system call that Linux heeds. A store to what is mapped makes "
        "a whole folio dirty, up to 2 MiB in this file; a `pwrite` only its pages."
    )

    def rows(self) -> Iterator[Row]:
        crate = ("36 ns", "37 ns", "42 ns", "40 ns", "47 ns", "54 ns", "72 ns")
        sizes = (64, 256, 512, KIB, 2 * KIB, 4 * KIB, 8 * KIB)
        names = self.three(4 * MIB) | {"sync": sync_data, "pwrite": os.pwrite}
        with open(self.noise("peer.bin", 4 * MIB), "r+b") as file:
            os.fsync(file.fileno())
            names |= {"v": names["m"].view(), "fd": file.fileno()}
            for nbytes, figure in zip(sizes, crate, strict=True):
                yield Row(
                    f"{size(nbytes)}, durable",
                    figure,
                    names
                    | {"n": nbytes, "data": bytes(nbytes), "whole": -(-nbytes // PAGE) * PAGE},
                    {
                        "mmapio": "v[0] ^= 1; m.flush(0, n)",
                        "numpy.memmap": "memmap[0] ^= 1; memmap.flush()",
                        "mmap": "v[0] ^= 1; plain.flush(0, whole)",
                        "pwrite, fdatasync": "pwrite(fd, data, 0); sync(fd)",
                    },
                )
            yield Row(
                "4 KiB, started",
                "54 ns",
                names,
                {"mmapio": "v[0] ^= 1; m.flush(0, 4096, wait=False)"},
            )


class Contention(Table):
    title = "Atomic additions to one word, 10,000 in each thread"
    note = "Threads begin at once, and take turns where there are fewer CPUs."
    additions = 10_000

    def rows(self) -> Iterator[Row]:
        crate = {1: "100 µs", 2: "171 µs", 4: "334 µs", 8: "620 µs"}
        word, counter = np.zeros(1, "i8"), mmapio.ShardedCounter.open(self.path("counter"))
        shared = multiprocessing.get_context("spawn").Value("q")
        for kernel, a in ((bench_atomics.add, word), (bench_atomics.add_barely, word)):
            bench_atomics.in_threads(kernel, a, 1)
        bench_atomics.in_threads(bench_atomics.add_sharded, counter.lines, 1)
        for threads, figure in crate.items():
            shares = [self.additions] * threads

            def of(kernel: Any, a: Any, shares: list[int] = shares) -> Work:
                return lambda: bench_atomics.in_threads(kernel, a, *shares)

            yield Row(
                f"{threads} thread{'s' * (threads > 1)}",
                figure,
                {},
                {
                    "mmapio": of(bench_atomics.add, word),
                    "mmapio, ShardedCounter": of(bench_atomics.add_sharded, counter.lines),
                    "bare instruction": of(bench_atomics.add_barely, word),
                    "multiprocessing.Value": of(_count_shared, shared),
                },
            )


class Policies(Table):
    title = "Writing 4 MiB by 64 KiB, under each flush policy"
    note = (
        "The crate's `EveryBytes` makes nothing durable on Linux; that of mmapio does, 64 times, "
        "as its peers do."
    )

    def rows(self) -> Iterator[Row]:
        block = 64 * KIB
        names = self.three(4 * MIB) | {"data": np.ones(block, "u1"), "step": block}
        names |= {"ndarray": np.ones(4 * MIB, "u1"), "pwrite": os.pwrite, "sync": sync_data}
        loop = "for at in range(0, n, step): "
        stored = {
            "ndarray": loop + "ndarray[at:at + step] = data",
            "numpy.memmap": loop + "memmap[at:at + step] = data",
        }
        durable = {
            "numpy.memmap": loop + "memmap[at:at + step] = data; memmap.flush()",
            "pwrite, fdatasync": loop + "pwrite(fd, data, at); sync(fd)",
        }
        policies = [
            ("manual", FlushPolicy.manual(), "64 µs", stored),
            ("every_millis(10)", FlushPolicy.every_millis(10), "84 µs", stored),
            ("every_bytes(64 KiB)", FlushPolicy.every_bytes(block), "17.3 ms", durable),
        ]
        with open(self.noise("peer.bin", 4 * MIB), "r+b") as file:
            names |= {"fd": file.fileno()}
            for name, policy, figure, peers in policies:
                path = self.noise("ours.bin", 4 * MIB)
                with MappedFile.open(path, "r+", flush_policy=policy) as mapping:
                    mapping.view()[:] = 1
                    names["write"] = mapping.write
                    yield Row(name, figure, names, {"mmapio": loop + "write(at, data)", **peers})
                    del names["write"]


TABLES = [Iterate, Sequential, Random, Touch, Flush, Contention, Policies, Operations, Growth]


def _count_shared(shared: Any, count: int, ready: Any, threads: int) -> None:
    bench_atomics.meet(ready, threads)
    for _ in range(count):
        with shared.get_lock():
            shared.value += 1
