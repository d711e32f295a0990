"""The same work by mmapio and by what is used today; `peers` has what each of them does.

Files are of rows of 4 KiB. A cold one has no page in the page cache, which is made sure of.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mmapio.kernels.rows import copying

from . import common
from .common import InTemporaryDirectory, compile_kernels, evict
from .floor import CPUS
from .peers import (
    BLOCK_ROWS,
    PEERS,
    ROW_BYTES,
    ZARR_CHUNK_ROWS,
    Peer,
    evict_tree,
    some_rows,
    that_can,
)

NBYTES = min(32 << 20, common.LARGE_BYTES)
PLACES = common.few(("disk", "tmpfs"))
# On tmpfs all is in memory.
STORAGE = common.few(("disk, cold", "disk, warm", "tmpfs"))
REPEATS = range(100)
GATHERED = 1024
APPENDED = 16
CHUNK_BYTES = ZARR_CHUNK_ROWS * ROW_BYTES


def some_that_can(work: str) -> list[str]:
    """Return the implementations that do some work; a quick run has mmapio and few others."""
    return common.few(that_can(work), 4)


class OfPeer(InTemporaryDirectory):
    """Work of one implementation, in a place."""

    timeout = 60

    def prepare(self, implementation: str, place: str = "disk", nbytes: int = 0) -> None:
        """Make the directory, do the work with little, and make the file to do it with."""
        self.directory = common.directory_in(place)
        small = self.peer_over(implementation, "small", min(nbytes, CHUNK_BYTES))
        self.work(small)  # imports, compiles
        if implementation == "mmapio" and place == "disk, cold":
            compile_kernels(copying)  # which way they go depends on the pages that are missing
        self.peer = self.peer_over(implementation, "rows", nbytes)
        if place == "disk, cold":
            evict_tree(self.peer.path, evict)

    def peer_over(self, implementation: str, name: str, nbytes: int) -> Peer:
        """Return an implementation, over a file of so many bytes of rows; 0: it makes its own."""
        peer = PEERS[implementation](self.path(name))
        if nbytes:
            peer.save(some_rows(nbytes))
        return peer

    def work(self, peer: Peer) -> None:
        """Do what is timed."""
        raise NotImplementedError


class Open(OfPeer):
    """Open a file, look at one element, close it."""

    params = (some_that_can("open"), PLACES)
    param_names = ("implementation", "place")

    def setup(self, implementation: str, place: str) -> None:
        self.prepare(implementation, place, NBYTES)

    def work(self, peer: Peer) -> None:
        with peer.open() as opened:
            opened[0, 0]

    def time_open_100_times(self, *_: Any) -> None:
        for _ in REPEATS:
            self.work(self.peer)


class OverRows(OfPeer):
    """Work on rows that are in a file."""

    params: Any = (some_that_can("open"), STORAGE)
    param_names: Any = ("implementation", "storage")

    def setup(self, implementation: str, storage: str) -> None:
        self.indices = np.random.default_rng(0).integers(0, NBYTES // ROW_BYTES, GATHERED)
        self.prepare(implementation, storage, NBYTES)


class Read(OverRows):
    """Copy a hundred slices of 64 KiB."""

    def work(self, peer: Peer) -> None:
        with peer.open() as opened:
            for number in REPEATS:
                at = int(self.indices[number]) % (opened.shape[0] - BLOCK_ROWS)
                peer.read(opened, at, at + BLOCK_ROWS)

    def time_read_100_slices(self, *_: Any) -> None:
        self.work(self.peer)


class Chunks(OverRows):
    """Look at a byte of each 64 KiB, one block after the other."""

    def work(self, peer: Peer) -> None:
        with peer.open() as opened:
            for chunk in peer.chunks(opened):
                chunk[0, 0]

    def time_iterate(self, *_: Any) -> None:
        self.work(self.peer)


class Gather(OverRows):
    """Take 1,024 random rows of 4 KiB."""

    def work(self, peer: Peer) -> None:
        with peer.open() as opened:
            peer.gather(opened, self.indices % opened.shape[0])

    def time_gather(self, *_: Any) -> None:
        self.work(self.peer)


class Sum(OfPeer):
    """Add up all bytes, in one or more threads."""

    # The page of figures has other storage as well; it takes long to go through.
    params = (some_that_can("sum"), (1, 2), ("disk, warm",))
    param_names = ("implementation", "threads", "storage")

    def setup(self, implementation: str, threads: int, storage: str) -> None:
        if threads > CPUS:
            raise NotImplementedError(f"{threads} threads need as many CPUs, here are {CPUS}")
        self.threads = threads
        self.prepare(implementation, storage, NBYTES)

    def work(self, peer: Peer) -> None:
        with peer.open() as opened:
            peer.sum(opened, self.threads)

    def time_sum(self, *_: Any) -> None:
        self.work(self.peer)


class Write(OfPeer):
    """Store over all rows of a file that is in the page cache, by 1 MiB."""

    params = (some_that_can("write"), PLACES)
    param_names = ("implementation", "place")

    def setup(self, implementation: str, place: str) -> None:
        self.block = some_rows(CHUNK_BYTES)
        self.prepare(implementation, place, NBYTES)

    def work(self, peer: Peer) -> None:
        with peer.open("r+") as opened:
            for at in range(0, opened.shape[0], ZARR_CHUNK_ROWS):
                peer.write(opened, at, self.block)

    def time_write(self, *_: Any) -> None:
        self.work(self.peer)


class Append(OfPeer):
    """Append 16 blocks of 1 MiB to a new file, which others can read then."""

    params = (some_that_can("append"), PLACES)
    param_names = ("implementation", "place")

    def setup(self, implementation: str, place: str) -> None:
        self.blocks = [some_rows(CHUNK_BYTES)] * APPENDED
        self.prepare(implementation, place)

    def work(self, peer: Peer) -> None:
        peer.append(self.blocks)

    def time_append(self, *_: Any) -> None:
        self.work(self.peer)


class Count(OfPeer):
    """Add 1 a thousand times to a number that processes share."""

    params = that_can("counter")
    param_names = ("implementation",)

    def setup(self, implementation: str) -> None:
        self.prepare(implementation)

    def work(self, peer: Peer) -> None:
        with peer.counter() as add:
            for _ in range(1000):
                add()

    def time_add_1000_times(self, *_: Any) -> None:
        self.work(self.peer)


# What the page of figures shows: the parameters besides the implementation.
TABLE: list[tuple[str, type[OfPeer], tuple[Any, ...]]] = [
    ("open, one element", Open, ("disk",)),
    *((f"100 slices of 64 KiB, {storage}", Read, (storage,)) for storage in STORAGE),
    *((f"blocks of 64 KiB, {storage}", Chunks, (storage,)) for storage in STORAGE),
    *((f"1,024 random rows, {storage}", Gather, (storage,)) for storage in STORAGE),
    *((f"sum, 1 thread, {storage}", Sum, (1, storage)) for storage in STORAGE),
    *((f"sum, 2 threads, {storage}", Sum, (2, storage)) for storage in STORAGE),
    *((f"overwrite by 1 MiB, {place}", Write, (place,)) for place in PLACES),
    *((f"append 16 MiB by 1 MiB, {place}", Append, (place,)) for place in PLACES),
    ("1,000 additions to a shared number", Count, ()),
]
