"""Tables of the crate's page about whole files: operations on them, and how cost grows."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from benchmarks import bench_cost, bench_open, common
from benchmarks.common import size
from benchmarks.kernel_table import peers

import mmapio
from mmapio import MappedFile, kernels

from .suite import prepared
from .table import Row, Table, Work

__all__ = ["Growth", "Operations"]

KIB, MIB = 1 << 10, 1 << 20


class Operations(Table):
    title = "Operations on files"
    note = "What mmapio creates has its blocks reserved, as `posix_fallocate` does it."

    def rows(self) -> Iterator[Row]:
        yield from self.creating()
        path = self.noise("file.bin", 4 * MIB)
        names = {"open": MappedFile.open, "memmap": np.memmap, "path": path}
        yield Row(
            "open 4 MiB copy-on-write",
            "28.7 µs",
            names | {"mapped": lambda: bench_open.mapped(path, access=mmap.ACCESS_COPY)},
            {
                "mmapio": "open(path, 'c').close()",
                "numpy.memmap": "a = memmap(path, 'u1', 'c'); del a",
                "mmap": "mapped()",
            },
        )
        yield self.resizing()
        names = self.three(4 * MIB, "r")
        yield Row(
            "advise 4 MiB, sequential",
            "23 ns",
            names | {"SEQUENTIAL": mmap.MADV_SEQUENTIAL},
            {"mmapio": "m.advise('sequential')", "mmap": "plain.madvise(SEQUENTIAL)"},
        )
        for nbytes, figure in {4 * KIB: "39 ns", 64 * KIB: "540 ns", MIB: "14.2 µs"}.items():
            yield Row(
                f"read {size(nbytes)} into an array",
                figure,
                names | {"n": nbytes, "out": np.empty(nbytes, "u1")},
                {
                    "mmapio": "m.read_into(0, out)",
                    "numpy.memmap": "copyto(out, memmap[0:n])",
                    "mmap": "plain[0:n]",
                },
            )

    def creating(self) -> Iterator[Row]:
        path = self.path("new.bin")
        for nbytes, figure in {4 * KIB: "399 µs", 64 * KIB: "237 µs", MIB: "246 µs"}.items():

            def ours(nbytes: int = nbytes) -> None:
                mmapio.create(path, nbytes, "u1", raw=True).close()

            def theirs(nbytes: int = nbytes) -> None:
                np.memmap(path, "u1", "w+", shape=nbytes)

            def plainly(nbytes: int = nbytes) -> None:
                _create(path, nbytes)

            ways: dict[str, Work] = {
                "mmapio": lambda create=ours: _then_gone(create, path),  # type: ignore[misc]
                "numpy.memmap": lambda create=theirs: _then_gone(create, path),  # type: ignore[misc]
                "mmap": lambda create=plainly: _then_gone(create, path),  # type: ignore[misc]
            }
            yield Row(f"create {size(nbytes)}", figure, {}, ways)

    def resizing(self) -> Row:
        path = self.noise("resized.bin", MIB)
        mapping = MappedFile.open(path, "r+", capacity="16 MiB", reserve=False)
        mapping.fileno()
        with open(self.noise("peer.bin", MIB), "r+b") as file:
            plain = mmap.mmap(file.fileno(), 0)
        return Row(
            "resize 1 to 2 MiB and back",
            "29.4 µs",
            {"resize": mapping.resize, "plain": plain.resize},
            {
                "mmapio": "resize(2 << 20); resize(1 << 20)",
                "mmap": "plain(2 << 20); plain(1 << 20)",
            },
        )


class Growth(Table):
    title = "Growth of cost with work"
    note = "Each line beside the one before it."

    def rows(self) -> Iterator[Row]:
        with prepared(bench_cost.Scan) as scan:
            for halvings in (4, 3, 2, 1, 0):
                part = scan.ours.ndarray[: scan.ours.size >> halvings]
                names = {"a": part, "scan": kernels.sum, "np": np} | _series(part)
                ways: dict[str, Work] = {"mmapio": "scan(a)", "ndarray": "np.sum(a)"}
                ways |= {"polars": "series.sum()"} if "series" in names else {}
                yield Row(f"sum of {size(part.size)}", "", names, ways)
        with prepared(bench_cost.AppendMany) as appended:
            for array in (appended.few, appended.many):
                ways = {"mmapio": "for i in thousand: g.append(1.0)\ng.commit(False)"}
                ways["os.write"] = "for i in thousand: write(fd, row)"
                path = self.path("plain.bin")
                fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
                names = {"g": array, "thousand": range(1000), "fd": fd}
                names |= {"write": os.write, "row": bytes(8)}
                try:
                    yield Row(f"append 1,000 rows to {len(array):,}", "", names, ways)
                finally:
                    os.close(fd)
        with prepared(bench_cost.OpenSparse) as sparse:
            for path in (sparse.small, sparse.large):
                names = {"open": mmapio.open, "memmap": np.memmap, "path": path}
                names |= {"mapped": bench_open.mapped}
                ways = {
                    "mmapio": "a = open(path, dtype='u1'); a[-4096:][0]; a.close()",
                    "numpy.memmap": "a = memmap(path, 'u1', 'r'); a[-4096:][0]; del a",
                    "mmap": "mapped(path)[-4096:][0]",
                }
                of = size(os.path.getsize(path))
                yield Row(f"open {of}, slice its end", "", names, ways)
                with MappedFile.open(path) as mapping:
                    names = {"residency": mapping.residency, "at": mapping.size - MIB, "n": MIB}
                    ways = {"mmapio": "residency(at, n)"}
                    yield Row(f"residency of the last MiB of {of}", "", names, ways)
                    del names["residency"]


def _create(path: str, nbytes: int) -> None:
    """Make a file with its blocks, and map it, by system calls alone."""
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        os.posix_fallocate(fd, 0, nbytes)
        mmap.mmap(fd, nbytes)
    finally:
        os.close(fd)


def _series(array: Any) -> dict[str, Any]:
    """Return a name for polars' view of an array; nothing, where polars is not installed."""
    try:
        return {"series": peers.series(array)}
    except NotImplementedError:
        return {}


def _then_gone(create: Callable[[], None], path: str) -> float:
    """Return how long it takes to make a file, and delete it, which takes longer."""
    taken_s = common.elapsed_s(create)
    os.unlink(path)
    return taken_s
