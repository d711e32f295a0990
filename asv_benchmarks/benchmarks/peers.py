"""The same work by each implementation: rows of 4 KiB in a file, and a counter.

An implementation is a class, with a method for each piece of work.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import mmap
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mmapio
from mmapio import kernels

from .kernel_table.peers import series

ROW_BYTES = 4096
BLOCK_ROWS = 16
ZARR_CHUNK_ROWS = 256
# What is not even mentioned where files of rows are opened.
NO_ROWS = "open sum write"

Rows = NDArray[np.uint8]


class Peer:
    """Base of the implementations: `open` returns what numpy can look at."""

    needs = ""  # the module that is to be installed
    cannot = ""  # what nobody would do with it

    def __init__(self, path: str) -> None:
        self.path = path
        self.module = _imported(self.needs) if self.needs else None

    @contextlib.contextmanager
    def open(self, mode: str = "r") -> Iterator[Any]:
        """Open the file of rows."""
        raise NotImplementedError
        yield

    def save(self, rows: Rows) -> None:
        """Make the file."""
        rows.tofile(self.path)

    def read(self, opened: Any, start: int, stop: int) -> Rows:
        """Return a copy of some rows."""
        return np.array(opened[start:stop])

    def chunks(self, opened: Any) -> Iterator[Rows]:
        """Yield the rows by blocks."""
        return (opened[at : at + BLOCK_ROWS] for at in range(0, opened.shape[0], BLOCK_ROWS))

    def sum(self, opened: Any, threads: int) -> int:
        """Add up all bytes, a share of the rows in each thread."""
        count = opened.shape[0]
        if threads == 1:
            return self.share(opened, 0, count)
        with ThreadPoolExecutor(threads) as pool:
            starts = range(0, count, -(-count // threads))
            ends = (*starts[1:], count)
            return sum(pool.map(self.share, [opened] * threads, starts, ends))

    def share(self, opened: Any, start: int, stop: int) -> int:
        """Add up the bytes of some rows."""
        ends = (*range(start, stop, ZARR_CHUNK_ROWS), stop)
        return sum(int(np.sum(opened[a:b], dtype=np.int64)) for a, b in itertools.pairwise(ends))

    def gather(self, opened: Any, indices: NDArray[np.int64]) -> Rows:
        """Return rows by their numbers, in any order."""
        return np.asarray(opened[indices])

    def write(self, opened: Any, at: int, block: Rows) -> None:
        """Store a block of rows."""
        opened[at : at + len(block)] = block

    def append(self, blocks: list[Rows]) -> None:
        """Make the file, block by block."""
        raise NotImplementedError

    def counter(self) -> contextlib.AbstractContextManager[Callable[[], object]]:
        """Return a context with a function that adds 1 to a number in the file."""
        raise NotImplementedError


class Mmapio(Peer):
    """A MappedArray, the kernels, a GrowableArray and an atomic."""

    @contextlib.contextmanager
    def open(self, mode: str = "r") -> Iterator[Any]:
        with mmapio.open(self.path, mode, dtype="u1", shape=(-1, ROW_BYTES)) as a:
            yield a

    def chunks(self, opened: Any) -> Iterator[Rows]:
        return iter(opened.chunks(BLOCK_ROWS))

    def sum(self, opened: Any, threads: int) -> int:
        return int(kernels.sum(opened, threads=threads))

    def gather(self, opened: Any, indices: NDArray[np.int64]) -> Rows:
        return kernels.gather(opened, indices)

    def append(self, blocks: list[Rows]) -> None:
        with mmapio.GrowableArray.open(self.path, "x+", dtype="u1", row_shape=ROW_BYTES) as grown:
            for block in blocks:
                grown.extend(block)
            grown.commit(durable=False)

    @contextlib.contextmanager
    def counter(self) -> Iterator[Callable[[], object]]:
        with mmapio.MappedFile.open(self.path, "w+", 8) as mapping:
            yield functools.partial(mapping.atomic(0, "i8").fetch_add, 1)


class Memmap(Peer):
    """`numpy.memmap`."""

    cannot = "counter"

    @contextlib.contextmanager
    def open(self, mode: str = "r") -> Iterator[Any]:
        yield np.memmap(self.path, "u1", mode).reshape(-1, ROW_BYTES)

    def append(self, blocks: list[Rows]) -> None:
        for number, block in enumerate(blocks):  # it cannot grow: a new one for each block
            mode, offset = "r+" if number else "w+", number * block.nbytes
            np.memmap(self.path, "u1", mode, offset, block.shape)[:] = block


class StandardMmap(Peer):
    """`mmap` of the standard library, with `numpy.frombuffer`."""

    @contextlib.contextmanager
    def open(self, mode: str = "r") -> Iterator[Any]:
        with open(self.path, "rb" if mode == "r" else "r+b") as file:
            access = mmap.ACCESS_READ if mode == "r" else mmap.ACCESS_WRITE
            mapped = mmap.mmap(file.fileno(), 0, access=access)
        yield np.frombuffer(mapped, "u1").reshape(-1, ROW_BYTES)

    def append(self, blocks: list[Rows]) -> None:
        with open(self.path, "w+b") as file:
            file.truncate(blocks[0].nbytes)
            with mmap.mmap(file.fileno(), 0) as mapped:
                for number, block in enumerate(blocks, 1):
                    mapped.resize(number * block.nbytes)
                    mapped[-block.nbytes :] = block.tobytes()

    @contextlib.contextmanager
    def counter(self) -> Iterator[Callable[[], object]]:
        lock = multiprocessing.get_context("spawn").Lock()
        with mapped_word(self.path) as word, word.cast("q") as view:

            def add() -> None:
                with lock:
                    view[0] += 1

            yield add


class Zarr(Peer):
    """A zarr array, chunks of 1 MiB, not compressed."""

    needs = "zarr"
    cannot = "counter"

    @contextlib.contextmanager
    def open(self, mode: str = "r") -> Iterator[Any]:
        yield self.module.open_array(self.path, mode=mode)

    def create(self, count: int) -> Any:
        return self.module.create_array(
            self.path,
            shape=(count, ROW_BYTES),
            chunks=(ZARR_CHUNK_ROWS, ROW_BYTES),
            dtype="u1",
            compressors=None,
        )

    def save(self, rows: Rows) -> None:
        self.create(len(rows))[:] = rows

    def gather(self, opened: Any, indices: NDArray[np.int64]) -> Rows:
        return np.asarray(opened.oindex[indices])

    def append(self, blocks: list[Rows]) -> None:
        array = self.create(0)
        for block in blocks:
            array.append(block)


class H5py(Peer):
    """An HDF5 data set; contiguous, and in chunks of 1 MiB where it is to grow."""

    needs = "h5py"
    cannot = "counter"

    @contextlib.contextmanager
    def open(self, mode: str = "r") -> Iterator[Any]:
        with self.module.File(self.path, mode) as file:
            yield file["rows"]

    def save(self, rows: Rows) -> None:
        with self.module.File(self.path, "w") as file:
            file["rows"] = rows

    def gather(self, opened: Any, indices: NDArray[np.int64]) -> Rows:
        unique, places = np.unique(indices, return_inverse=True)
        return np.asarray(opened[unique])[places]  # it takes numbers in order alone

    def append(self, blocks: list[Rows]) -> None:
        with self.module.File(self.path, "w") as file:
            rows = file.create_dataset(
                "rows",
                (0, ROW_BYTES),
                "u1",
                maxshape=(None, ROW_BYTES),
                chunks=(ZARR_CHUNK_ROWS, ROW_BYTES),
            )
            for block in blocks:
                rows.resize(len(rows) + len(block), axis=0)
                rows[-len(block) :] = block


class Pyarrow(Peer):
    """`pyarrow.memory_map`, and arrow's compute functions."""

    needs = "pyarrow"
    cannot = "write append counter"

    @contextlib.contextmanager
    def open(self, mode: str = "r") -> Iterator[Any]:
        with self.module.memory_map(self.path, mode) as file:
            yield np.frombuffer(file.read_buffer(), "u1").reshape(-1, ROW_BYTES)

    def share(self, opened: Any, start: int, stop: int) -> int:
        compute = importlib.import_module("pyarrow.compute")
        return int(compute.sum(self.module.array(opened[start:stop].reshape(-1))).as_py())

    def gather(self, opened: Any, indices: NDArray[np.int64]) -> Rows:
        kind, buffer = self.module.binary(ROW_BYTES), self.module.py_buffer(opened)
        rows = self.module.Array.from_buffers(kind, len(opened), [None, buffer])
        taken = rows.take(self.module.array(indices))
        return np.frombuffer(taken.buffers()[1], "u1").reshape(-1, ROW_BYTES)


class Joblib(Peer):
    """`joblib.dump`, and `joblib.load` with `mmap_mode`."""

    needs = "joblib"
    cannot = "append counter"

    @contextlib.contextmanager
    def open(self, mode: str = "r") -> Iterator[Any]:
        yield self.module.load(self.path, mmap_mode=mode)

    def save(self, rows: Rows) -> None:
        self.module.dump(rows, self.path)


class Polars(StandardMmap):
    """Sums of polars, over memory that the standard library maps: it opens no such file itself."""

    needs = "polars"
    cannot = "open write append counter"

    def share(self, opened: Any, start: int, stop: int) -> int:
        return int(series(opened[start:stop].reshape(-1)).sum())


class SystemWrite(Peer):
    """`os.write`, of raw rows."""

    cannot = f"{NO_ROWS} counter"

    def append(self, blocks: list[Rows]) -> None:
        fd = os.open(self.path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND)
        try:
            for block in blocks:
                os.write(fd, block)
        finally:
            os.close(fd)


class NpyAppend(Peer):
    """The package npy-append-array."""

    needs = "npy_append_array"
    cannot = f"{NO_ROWS} counter"

    def append(self, blocks: list[Rows]) -> None:
        with self.module.NpyAppendArray(self.path, rewrite_header_on_append=False) as array:
            for block in blocks:
                array.append(block)


class SharedValue(Peer):
    """`multiprocessing.Value`, under its lock."""

    cannot = f"{NO_ROWS} append"

    @contextlib.contextmanager
    def counter(self) -> Iterator[Callable[[], object]]:
        shared = multiprocessing.get_context("spawn").Value("q")

        def add() -> None:
            with shared.get_lock():
                shared.value += 1

        yield add


class Atomics(Peer):
    """The package atomics, over bytes of a file that the standard library maps."""

    needs = "atomics"
    cannot = f"{NO_ROWS} append"

    @contextlib.contextmanager
    def counter(self) -> Iterator[Callable[[], object]]:
        kind = self.module.INT
        with (
            mapped_word(self.path) as word,
            self.module.atomicview(buffer=word, atype=kind) as cell,
        ):
            yield lambda: cell.fetch_add(1)


@contextlib.contextmanager
def mapped_word(path: str) -> Iterator[memoryview]:
    """Map a new file of 8 bytes."""
    with open(path, "w+b") as file:
        file.truncate(8)
        with mmap.mmap(file.fileno(), 8) as mapped, memoryview(mapped) as word:
            yield word


PEERS: dict[str, type[Peer]] = {
    "atomics": Atomics,
    "h5py": H5py,
    "joblib": Joblib,
    "mmap": StandardMmap,
    "mmapio": Mmapio,
    "multiprocessing.Value": SharedValue,
    "npy-append-array": NpyAppend,
    "numpy.memmap": Memmap,
    "os.write": SystemWrite,
    "polars": Polars,
    "pyarrow": Pyarrow,
    "zarr": Zarr,
}


def that_can(work: str) -> list[str]:
    """Return the names of those that do some work, in alphabetical order."""
    return [name for name, peer in PEERS.items() if work not in peer.cannot.split()]


def some_rows(nbytes: int) -> Rows:
    """Return so many bytes as rows, the same each time."""
    block = np.frombuffer(np.random.default_rng(0).bytes(min(nbytes, 1 << 20)), "u1")
    return np.resize(block, (nbytes // ROW_BYTES, ROW_BYTES))


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        package = module.replace("_", "-")
        raise NotImplementedError(f"{package} is not installed; pip install {package}") from None


def evict_tree(path: str, evict: Callable[[str], None]) -> None:
    """Take a file, or all files of a directory, out of the page cache."""
    if not os.path.isdir(path):
        evict(path)
    for directory, _, names in os.walk(path):
        for name in names:
            if os.path.getsize(os.path.join(directory, name)):
                evict(os.path.join(directory, name))
