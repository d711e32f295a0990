"""Flushing and writing by a policy: rows 12, 13 and 14 of the targets.

Set TMPDIR to a folder of the file system to measure; on tmpfs a flush has no drive to wait for.
"""

from __future__ import annotations

import ctypes
import os

import numpy as np

import mmapio
from mmapio import FlushPolicy, MappedFile

from . import common
from .common import InTemporaryDirectory, directory_in, medians_s, ratio, sync_data, target

PAGE = 4096
BLOCK = 64 << 10
SIZE = 4 << 20


STARTING = (
    "checking the range, and holding the lock that keeps the descriptor open, take longer in "
    "Python than the system call does"
)
WRITING = "the checks, and the account of what is pending, take as long as copying 64 KiB does"


class FlushOnePage(InTemporaryDirectory):
    """Row 12, one dirty page made durable: at most 1.1 x a `pwrite` of it and `fdatasync`."""

    def setup(self) -> None:
        super().setup()
        if not hasattr(os, "pwrite"):
            raise NotImplementedError("this system has no pwrite")
        paths = [self.path(name) for name in ("ours.bin", "peer.bin")]
        for path in paths:
            # Stored page by page: of what was written in one piece, Linux keeps the pages in large
            # folios, and a store to one of them dirties the whole folio, up to 2 MiB.
            with MappedFile.open(path, "x+", SIZE) as mapping:
                mapping.view()[:] = 1
                mapping.flush()
        self.mapping = MappedFile.open(paths[0], "r+")
        self.fd = os.open(paths[1], os.O_RDWR)
        self.names = {
            "flush": self.mapping.flush,
            "page": self.mapping.view(PAGE, PAGE),
            "msync": lambda address, nbytes: mmapio._os.sync(address, nbytes, []),
            "address": self.mapping.view(PAGE, PAGE).ctypes.data,
            "data": np.frombuffer(os.urandom(PAGE), "u1"),
            "pwrite": os.pwrite,
            "sync": sync_data,
            "fd": self.fd,
        }

    def teardown(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)
        super().teardown()

    def time_flush(self) -> None:
        self.names["page"][:] = self.names["data"]
        self.mapping.flush(PAGE, PAGE)

    def time_pwrite_fdatasync(self) -> None:
        os.pwrite(self.fd, self.names["data"], PAGE)
        sync_data(self.fd)

    @target(
        row=12,
        at_most=1.1,
        reason="msync alone takes as long as the peer (`track_ratio_msync`); what else flush does, "
        "such as to look whether the file still has these bytes, is Python whose code and data "
        "have left the CPU's caches while it waited",
    )
    def track_ratio_fdatasync(self) -> float:
        """Store and flush a page, against pwrite and fdatasync of it (target: at most 1.1)."""
        return self.ratio("page[:] = data; flush(4096, 4096)")

    def track_ratio_msync(self) -> float:
        """Store and msync a page, against pwrite and fdatasync of it (no target)."""
        return self.ratio("page[:] = data; msync(address, 4096)")

    track_ratio_msync.unit = "x"  # type: ignore[attr-defined]

    def ratio(self, ours: str) -> float:
        return ratio(ours, "pwrite(fd, data, 4096); sync(fd)", self.names)


class FlushInMemory(InTemporaryDirectory):
    """Row 12, a durable flush of a page on tmpfs, which has no drive to wait for: at most 2 us."""

    def setup(self) -> None:
        self.directory = directory_in("tmpfs")
        self.mapping = MappedFile.open(self.path("file.bin"), "x+", SIZE)
        self.mapping.view()[:] = 1
        self.mapping.flush()

    def time_flush(self) -> None:
        self.mapping.flush(PAGE, PAGE)

    @target(
        row=12,
        at_most=2.0,
        unit="us",
        reason="msync, and looking by its path whether the file is as it was, take 1.3 us in one "
        "call of machine code; what is checked and locked before and after is Python",
    )
    def track_us(self) -> float:
        """Flush a page of a file on tmpfs (target: at most 2 us)."""
        return medians_s(["flush(4096, 4096)"], {"flush": self.mapping.flush})[0] * 1e6


class StartWriting(InTemporaryDirectory):
    """Row 13, `flush(wait=False)` of a page: at most 1.5 us, and the writing starts."""

    def setup(self) -> None:
        super().setup()
        self.mapping = MappedFile.open(self.path("file.bin"), "x+", SIZE)
        self.mapping.view()[:] = 1
        self.mapping.flush()
        self.page = self.mapping.view(PAGE, PAGE)

    def time_flush(self) -> None:
        self.mapping.flush(PAGE, PAGE, wait=False)

    def time_store_and_flush(self) -> None:
        self.page[0] ^= 1
        self.mapping.flush(PAGE, PAGE, wait=False)

    @target(row=13, at_most=1.5, unit="us", reason=STARTING)
    def track_clean_us(self) -> float:
        """Start writing a page that the drive has already (target: at most 1.5 us)."""
        names = {"flush": self.mapping.flush}
        return medians_s(["flush(4096, 4096, wait=False)"], names)[0] * 1e6

    @target(row=13, at_most=1.0, reason=STARTING)
    def track_ratio_dirty(self) -> float:
        """Start writing a dirty page, against the system call by ctypes (target: at most 1.0)."""
        # Not by `mmapio._os`, whose own call is of machine code: nobody else has that in Python.
        start = getattr(ctypes.CDLL(None), "sync_file_range", None)
        if start is None:
            raise common.Skip("this system has no sync_file_range")
        start.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
        names = {
            "flush": self.mapping.flush,
            "start": start,
            "fd": self.mapping.fileno(),
            "page": self.page,
        }
        ours = "page[0] ^= 1; flush(4096, 4096, wait=False)"
        # SYNC_FILE_RANGE_WRITE
        return ratio(ours, "page[0] ^= 1; start(fd, 4096, 4096, 2)", names)


class WriteByPolicy(InTemporaryDirectory):
    """Row 14, 4 MiB by 64 KiB: beside an ndarray, and beside 64 pwrites and syncs."""

    def setup(self) -> None:
        super().setup()
        self.data = np.frombuffer(os.urandom(BLOCK), "u1")

    def mapping(self, name: str, policy: FlushPolicy) -> MappedFile:
        mapping = MappedFile.open(self.path(name), "x+", SIZE, flush_policy=policy)
        mapping.view()[:] = 1  # its pages are there, as an ndarray's
        return mapping

    def blocks(self, array: np.ndarray) -> list[np.ndarray]:
        return list(array.reshape(-1, BLOCK))

    def ratio_to_ndarray(self, ours: str, names: dict[str, object]) -> float:
        plain = np.ones(SIZE, "u1")
        names = {"data": self.data, "plain": plain, "size": SIZE, "step": BLOCK} | names
        peer = "for at in range(0, size, step): plain[at:at + step] = data"
        return ratio(f"for at in range(0, size, step): {ours}", peer, names)

    @target(row=14, at_most=1.3)
    def track_ratio_indexing(self) -> float:
        """Store 4 MiB by indexing, against an ndarray (target: at most 1.3)."""
        array = mmapio.open(self.path("a"), "x+", dtype="u1", shape=SIZE)
        array[:] = 1
        return self.ratio_to_ndarray("a[at:at + step] = data", {"a": array})

    @target(row=14, at_most=2.0, reason=WRITING)
    def track_ratio_manual(self) -> float:
        """Write 4 MiB by write(), flushing by hand, against an ndarray (target: at most 2)."""
        write = self.mapping("manual", FlushPolicy.manual()).write
        return self.ratio_to_ndarray("write(at, data)", {"write": write})

    @target(row=14, at_most=2.0, reason=WRITING)
    def track_ratio_every_millis(self) -> float:
        """Write 4 MiB by write(), flushed every 10 ms, against an ndarray (target: at most 2)."""
        write = self.mapping("millis", FlushPolicy.every_millis(10)).write
        return self.ratio_to_ndarray("write(at, data)", {"write": write})

    @target(
        row=14,
        at_most=1.2,
        reason="a sync write-protects what is mapped, so that the next store faults at each of 16 "
        "pages, which pwrite does not",
    )
    def track_ratio_every_bytes(self) -> float:
        """Write 4 MiB by 64 durable flushes, against pwrite and fdatasync (target: at most 1.2)."""
        if not hasattr(os, "pwrite"):
            raise common.Skip("this system has no pwrite")
        write = self.mapping("bytes", FlushPolicy.every_bytes(BLOCK)).write
        peer = self.mapping("peer", FlushPolicy.manual())  # whose pages lie in like folios
        with open(str(peer.path), "r+b") as file:
            names = {"write": write, "pwrite": os.pwrite, "sync": sync_data, "fd": file.fileno()}
            names |= {"data": self.data, "size": SIZE, "step": BLOCK}
            ours = "for at in range(0, size, step): write(at, data)"
            peer = "for at in range(0, size, step): pwrite(fd, data, at); sync(fd)"
            return ratio(ours, peer, names)
