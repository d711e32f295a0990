"""Files that grow: rows 18 and 19 of the targets."""

from __future__ import annotations

import importlib
import mmap
import os
from collections.abc import Callable

import numpy as np

from mmapio import GrowableArray, MappedFile

from . import common
from .common import InTemporaryDirectory, elapsed_s, ratio, ratio_of, sync_data, target

ROW_BYTES = 64
COMMIT_ROWS = 1000
LARGEST = 256 << 20  # then the files are cut off

EACH_ROW = (
    "each append asks the system whether the file still ends where its rows do: with the write, "
    "that alone is 1.2 x os.write, which asks nothing; a lock and calls of Python are the rest"
)
# By the bytes of a block.
MOST = {ROW_BYTES: 1.0, 4 << 10: 1.1, 1 << 20: 0.5}


class Resize(InTemporaryDirectory):
    """Row 18, from 1 to 8 to 1 MiB in place, while arrays over the first live."""

    def setup(self) -> None:
        super().setup()
        self.mapping = MappedFile.open(
            self.path("ours.bin"), "x+", 1 << 20, capacity="16 MiB", reserve=False
        )
        self.mapping.fileno()  # it keeps a descriptor, as the standard library's does
        self.view = self.mapping.view(0, 1 << 20)
        self.view[:] = 1
        with open(self.path("peer.bin"), "w+b") as file:
            file.write(bytes([1]) * (1 << 20))
            file.flush()
            self.plain = mmap.mmap(file.fileno(), 1 << 20)  # which has a descriptor of its own

    def time_resize(self) -> None:
        self.mapping.resize(8 << 20)
        self.mapping.resize(1 << 20, force=True)

    def time_mmap(self) -> None:
        self.plain.resize(8 << 20)
        self.plain.resize(1 << 20)

    @target(
        row=18,
        at_most=1.5,
        reason="arrays over the file live on: zero pages are mapped over what is cut off, "
        "and the file again when it grows, which mmap.resize spares by refusing while "
        "there are any; the system calls alone are 1.2, the rest is Python",
    )
    def track_ratio_mmap(self) -> float:
        """Resize under a live view, against mmap.resize without any (target: at most 1.5)."""
        ours = "resize(8 << 20); resize(1 << 20, force=True)"
        peer = "plain(8 << 20); plain(1 << 20)"
        return ratio(ours, peer, {"resize": self.mapping.resize, "plain": self.plain.resize})


class Append(InTemporaryDirectory):
    """Row 19, rows of 64 bytes by one, by 4 KiB, by 1 MiB; told of every 1,000 rows."""

    params = (ROW_BYTES, 4 << 10, 1 << 20)
    param_names = ("block_bytes",)

    def setup(self, block: int) -> None:
        super().setup()
        if not hasattr(os, "pwrite"):
            raise NotImplementedError("a mapped file cannot grow on this system")
        self.rows = np.ones((block // ROW_BYTES, ROW_BYTES // 8))
        self.times = max(1, COMMIT_ROWS // len(self.rows))
        self.grown = GrowableArray.open(self.path("ours.npy"), "x+", dtype="f8", row_shape=8)
        self.fd = os.open(self.path("peer.bin"), os.O_CREAT | os.O_RDWR | os.O_APPEND)

    def teardown(self, block: int) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)
        super().teardown(block)

    def append(self, durable: bool = False) -> None:
        grown, rows = self.grown, self.rows
        if len(rows) == 1:
            row = rows[0]
            for _ in range(self.times):
                grown.append(row)
        else:
            for _ in range(self.times):
                grown.extend(rows)
        grown.commit(durable)

    def write(self) -> None:
        fd, rows = self.fd, self.rows
        for _ in range(self.times):
            os.write(fd, rows)

    def time_append(self, block: int) -> None:
        self.append()

    def time_write(self, block: int) -> None:
        self.write()

    def ours_s(self, durable: bool = False) -> float:
        taken_s = elapsed_s(lambda: self.append(durable))
        if len(self.grown) * ROW_BYTES > LARGEST:
            self.grown.truncate(0)
        return taken_s

    def cut_off(self, work: Callable[[], object]) -> float:
        taken_s = elapsed_s(work)
        if os.fstat(self.fd).st_size > LARGEST:
            os.ftruncate(self.fd, 0)
            os.fsync(self.fd)  # as truncate does
        return taken_s

    @target(row=19, at_most=MOST, reason=EACH_ROW)
    def track_ratio_write(self, block: int) -> float:
        """Append by blocks, commit, against os.write (target: by size)."""
        return ratio_of(self.ours_s, lambda: self.cut_off(self.write))

    @target(row=19, at_most=1.5, reason=EACH_ROW)
    def track_ratio_write_durable(self, block: int) -> float:
        """Append by blocks, durably, against os.write and two fdatasyncs (target: at most 1.5)."""

        def durable() -> None:
            self.write()
            sync_data(self.fd)
            os.pwrite(self.fd, b"header", 0)
            sync_data(self.fd)

        return ratio_of(lambda: self.ours_s(True), lambda: self.cut_off(durable))

    @target(
        row=19,
        at_most=0.2,
        reason="both copy the block into the page cache once, which is most of the time from "
        "4 KiB on",
    )
    def track_ratio_npy_append_array(self, block: int) -> float:
        """Append by blocks, commit, against npy-append-array (target: at most 0.2)."""
        try:
            peer = importlib.import_module("npy_append_array").NpyAppendArray
        except ModuleNotFoundError:
            raise common.Skip("npy-append-array is not installed") from None
        path = self.path("theirs.npy")

        def append() -> None:
            for _ in range(self.times):
                theirs.append(self.rows)
            theirs.update_header()
            theirs.fp.flush()

        with peer(path, rewrite_header_on_append=False) as theirs:
            theirs.append(self.rows)
            return ratio_of(self.ours_s, lambda: elapsed_s(append))
