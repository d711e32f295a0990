"""Public callables, each with arguments that are right, and values that most of these are not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

import mmapio
from mmapio import MappedFile, aio, atomics, kernels

SIZE = 8192
SAFE_TIMEOUT = 0
Things = dict[str, Any]

WRONG: dict[str, Any] = {
    "None": None,
    "-1": -1,
    "3": 3,
    "2**40": 2**40,
    "2**63": 2**63,
    "2**70": 2**70,
    "1.5": 1.5,
    "nan": float("nan"),
    "True": True,
    "empty str": "",
    "str": "nonsense",
    "surrogate": "\udc80\udfff",
    "null": "a\0b",
    "bytes": b"xy",
    "list": [],
    "mixed list": [1, "a", None],
    "dict": {},
    "tuple": (1, 2),
    "object": object(),
    "type": int,
    "array": np.zeros(3),
    "2-d array": np.zeros((2, 2)),
    "objects": np.array([None, 1]),
    "structured": np.zeros(2, "i4,i4"),
    "numpy float": np.float64(2),
    "datetime": np.datetime64("2020-01-01"),
    "complex": 1j,
    "ellipsis": ...,
    "function": lambda *_: None,
    "set": {1},
}
# A wait that never ends is what was asked for.
PATIENT = {"None", "3", "2**40", "2**63", "2**70", "1.5", "True", "numpy float"}

Make = Callable[[], dict[str, Any]]


@numba.njit
def summed(x: Any) -> Any:
    return x.sum()


@numba.njit
def added(x: Any, y: Any) -> Any:
    return x + y


def mapped() -> MappedFile:
    return MappedFile.open("file", "r+")


def array() -> Any:
    return mmapio.open("array.npy", "r+")


def growable() -> Any:
    return mmapio.GrowableArray.open("rows.npy", "a+", dtype="f8")


def ring() -> Any:
    return mmapio.RingBuffer.anonymous("f8", 16)


def seqlock() -> Any:
    return mmapio.SeqLock.anonymous("f8")


def counter() -> Any:
    return mmapio.ShardedCounter.anonymous(4)


def generation() -> Any:
    return mmapio.Generation.anonymous()


OPTIONS = {
    "guard": True,
    "touch": "never",
    "advise": "normal",
    "hugepages": False,
    "lock": False,
}
MEMORY = {key: value for key, value in OPTIONS.items() if key != "guard"}
MAPPED = {"offset": 0, "length": 100, "capacity": SIZE, "reserve": False, "flush_policy": None}
RANGE = {"offset": 0, "length": 100}
PAGED = {
    "advise": {"advice": "normal", "force": False},
    "flush": {"wait": False},
    "lock": {"force": False, "progress": None},
    "release": {"evict": False},
    "residency": {"buckets": 4},
    "touch_pages": {"write": False, "threads": 1, "force": False},
    "close": {"force": False},
}

# By its name: what makes the callable, and keyword arguments that are right.
CALLS: dict[str, tuple[Callable[[], Callable[..., Any]], dict[str, Any]]] = {
    "open": (
        lambda: mmapio.open,
        {"path": "array.npy", "mode": "r+", "dtype": "f8", "shape": (4, 2), "offset": 128}
        | {"order": "C", "capacity": SIZE, "flush_policy": None}
        | OPTIONS,
    ),
    "create": (
        lambda: mmapio.create,
        {"path": "new.npy", "shape": 3, "dtype": "f8", "order": "C", "overwrite": True}
        | {"raw": False, "reserve": False}
        | OPTIONS,
    ),
    "anonymous": (
        lambda: mmapio.anonymous,
        {"shape": 3, "dtype": "f8", "order": "C", "capacity": SIZE} | MEMORY,
    ),
    "memmap": (
        lambda: mmapio.memmap,
        {"filename": "file", "dtype": "u1", "mode": "r", "offset": 0, "shape": 10, "order": "C"},
    ),
    "save": (lambda: mmapio.save, {"path": "saved.npy", "array": np.ones(3)}),
    "copy": (lambda: mmapio.copy, {"src": "file", "dst": "copied"}),
    "delete": (lambda: mmapio.delete, {"path": "file"}),
    "to_npy": (
        lambda: mmapio.to_npy,
        {"source": "file", "target": "t.npy", "dtype": "u1", "shape": -1, "progress": None},
    ),
    "to_raw": (
        lambda: mmapio.to_raw,
        {"source": "array.npy", "target": "t.raw", "overwrite": True, "progress": None},
    ),
    "MappedFile.open": (
        lambda: MappedFile.open,
        {"path": "new", "mode": "w+", "size": SIZE} | MAPPED | OPTIONS,
    ),
    "MappedFile.from_fd": (
        lambda: MappedFile.from_fd,
        {"fd": -5, "mode": "r"} | MAPPED | OPTIONS,
    ),
    "MappedFile.anonymous": (lambda: MappedFile.anonymous, {"size": 9, "capacity": 90} | MEMORY),
    "GrowableArray.open": (
        lambda: mmapio.GrowableArray.open,
        {"path": "rows.npy", "mode": "a+", "dtype": "f8", "row_shape": ()},
    ),
    "RingBuffer.open": (
        lambda: mmapio.RingBuffer.open,
        {"path": "ring", "mode": "a+", "dtype": "f8", "capacity": 4},
    ),
    "RingBuffer.anonymous": (lambda: mmapio.RingBuffer.anonymous, {"dtype": "f8", "capacity": 4}),
    "SeqLock.open": (
        lambda: mmapio.SeqLock.open,
        {"path": "lock", "mode": "a+", "dtype": "f8", "slots": 4},
    ),
    "SeqLock.anonymous": (lambda: mmapio.SeqLock.anonymous, {"dtype": "f8", "slots": 4}),
    "ShardedCounter.open": (
        lambda: mmapio.ShardedCounter.open,
        {"path": "counter", "mode": "a+", "shards": 4},
    ),
    "ShardedCounter.anonymous": (lambda: mmapio.ShardedCounter.anonymous, {"shards": 4}),
    "Generation.open": (lambda: mmapio.Generation.open, {"path": "gen", "mode": "a+"}),
    "Generation.at": (lambda: mmapio.Generation.at, {"mapping": None, "offset": 0}),
    "FlushPolicy.every_bytes": (lambda: mmapio.FlushPolicy.every_bytes, {"nbytes": 5}),
    "FlushPolicy.every_writes": (lambda: mmapio.FlushPolicy.every_writes, {"count": 5}),
    "FlushPolicy.every_millis": (lambda: mmapio.FlushPolicy.every_millis, {"millis": 5000}),
    # Mappings and arrays
    "view": (lambda: mapped().view, RANGE | {"dtype": "u1"}),
    "read": (lambda: mapped().read, RANGE),
    "read_into": (lambda: mapped().read_into, {"offset": 0, "out": bytearray(5)}),
    "write": (lambda: mapped().write, {"offset": 0, "data": b"xyz"}),
    "segment": (lambda: mapped().segment, RANGE),
    "chunks": (lambda: consumed(mapped().chunks), {"nbytes": 4096, "copy": False}),
    "pages": (lambda: consumed(mapped().pages), {"copy": False}),
    "atomic": (lambda: mapped().atomic, {"offset": 0, "dtype": "i8"}),
    "atomic_array": (lambda: mapped().atomic_array, {"offset": 0, "count": 2, "dtype": "i8"}),
    "resize": (lambda: MappedFile.open("file", "r+", reserve=False).resize, {"size": 9}),
    "mark_dirty": (lambda: mapped().mark_dirty, RANGE),
    "check": (lambda: mapped().check, RANGE),
    "prefetch": (lambda: mapped().prefetch, RANGE),
    "unlock": (lambda: mapped().unlock, RANGE),
    "punch_hole": (lambda: mapped().punch_hole, RANGE),
    "watch": (
        lambda: watching,
        {"callback": lambda change: None, "debounce_ms": 5, "generation": None},
    ),
    "Segment.read": (lambda: mapped().segment(5, 500).read, RANGE),
    "Segment.view": (lambda: mapped().segment(5, 500).view, RANGE | {"dtype": "u1"}),
    "Segment.write": (lambda: mapped().segment(5, 500).write, {"offset": 0, "data": b"xyz"}),
    "MappedReader.seek": (lambda: mapped().reader().seek, {"offset": 5, "whence": 0}),
    "MappedReader.read": (lambda: mapped().reader().read, {"size": 5}),
    "MappedReader.readinto": (lambda: mapped().reader().readinto, {"buffer": bytearray(5)}),
    **{
        f"{owner.__name__}: {name}": (
            lambda owner=owner, name=name: getattr(owner(), name),
            right | (RANGE if owner is mapped and name != "close" else {}),
        )
        for owner in (mapped, array)
        for name, right in PAGED.items()
    },
    "residency text": (lambda: mapped().residency().text, {"width": 60, "ascii_only": True}),
    # Sharing
    "append": (lambda: growable().append, {"row": 5}),
    "extend": (lambda: growable().extend, {"rows": [5, 6]}),
    "truncate": (lambda: growable().truncate, {"count": 0, "force": False}),
    "commit": (lambda: growable().commit, {"durable": False}),
    "wait": (lambda: growable().wait, {"seen": 0, "timeout": SAFE_TIMEOUT}),
    "close": (lambda: growable().close, {"commit": True, "force": False}),
    "push": (lambda: ring().push, {"record": 5.0, "timeout": SAFE_TIMEOUT}),
    "push_many": (lambda: ring().push_many, {"records": [5.0], "timeout": SAFE_TIMEOUT}),
    "pop": (lambda: ring().pop, {"timeout": SAFE_TIMEOUT}),
    "pop_many": (lambda: ring().pop_many, {"limit": 5, "timeout": SAFE_TIMEOUT}),
    "SeqLock.write": (lambda: seqlock().write, {"record": 5.0}),
    "add": (lambda: counter().add, {"value": 5}),
    "wait_for_change": (
        lambda: generation().wait_for_change,
        {"seen": -1, "timeout": SAFE_TIMEOUT},
    ),
    # Kernels
    **{
        name: (lambda name=name: getattr(kernels, name), {"a": np.arange(9.0)} | more)
        for name, more in {
            **{key: {"threads": 1} for key in ("argmax", "argmin", "checksum", "count_nonzero")},
            **{
                key: {"axis": None, "threads": 1} for key in ("max", "mean", "min", "minmax", "sum")
            },
            "std": {"axis": None, "ddof": 0, "threads": 1},
            "var": {"axis": None, "ddof": 0, "threads": 1},
            "count": {"value": 5.0, "threads": 1},
            "find": {"value_or_bytes": 5.0, "threads": 1},
            "find_all": {"value_or_bytes": 5.0, "threads": 1},
            "describe": {"bins": 4, "threads": 1},
            "histogram": {"bins": 4, "range": (0, 1), "threads": 1},
            "gather": {"indices": [1, 2], "out": None, "threads": 1},
            "scatter": {"indices": [1, 2], "values": [1.0, 2.0], "threads": 1},
            "scatter_add": {"indices": [1, 2], "values": [1.0, 2.0], "threads": 1},
            "touch_pages": {"write": False, "threads": 1, "progress": False, "force": False},
            "map_chunks": {"kernel": summed, "out": np.empty(3), "chunk": 3, "args": ()},
            "reduce_chunks": {"kernel": summed, "combine": added, "init": 0.0, "chunk": 4},
        }.items()
    },
    "byte_counts": (lambda: kernels.byte_counts, {"a": np.zeros(9, "u1"), "threads": 1}),
    # Atomics
    **{
        name: (
            lambda name=name: getattr(atomics, name),
            {"a": np.zeros(3, "i8"), "index": 1, "order": "seq_cst"} | more,
        )
        for name, more in {
            "load": {},
            "compare_exchange": {"expected": 0, "desired": 1},
            **{key: {"value": 1} for key in ("store", "exchange", "fetch_add", "fetch_sub")},
            **{key: {"value": 1} for key in ("fetch_and", "fetch_or", "fetch_xor")},
            **{key: {"value": 1} for key in ("fetch_max", "fetch_min")},
        }.items()
    },
    "fence": (lambda: atomics.fence, {"order": "seq_cst"}),
    "AtomicArray": (lambda: atomics.AtomicArray, {"a": np.zeros(3, "i8")}),
    "AtomicCell": (lambda: atomics.AtomicCell, {"a": np.zeros(3, "i8"), "index": 1}),
    "thread_lane": (lambda: atomics.thread_lane, {"count": 4}),
    # asyncio
    "aio.open": (lambda: awaited(aio.open), {"path": "array.npy", "mode": "r"}),
    "aio.copy": (lambda: awaited(aio.copy), {"src": "file", "dst": "copied"}),
    "aio.delete": (lambda: awaited(aio.delete), {"path": "file"}),
    "aio.flush": (lambda: awaited(aio.flush), {"mapping": mapped, "wait": False} | RANGE),
    "aio.write": (lambda: awaited(aio.write), {"mapping": mapped, "offset": 0, "data": b"xyz"}),
    "aio.append": (lambda: awaited(aio.append), {"array": growable, "row": 5}),
    "aio.extend": (lambda: awaited(aio.extend), {"array": growable, "rows": [5]}),
    "aio.commit": (lambda: awaited(aio.commit), {"array": growable, "durable": False}),
    "aio.truncate": (lambda: awaited(aio.truncate), {"array": growable, "count": 0}),
    "aio.wait": (lambda: awaited(aio.wait), {"array": growable, "seen": 0, "timeout": 0}),
    "aio.push": (lambda: awaited(aio.push), {"ring": ring, "record": 5.0, "timeout": 0}),
    "aio.push_many": (lambda: awaited(aio.push_many), {"ring": ring, "records": [5.0]}),
    "aio.pop": (lambda: awaited(aio.pop), {"ring": ring, "timeout": 0}),
    "aio.pop_many": (lambda: awaited(aio.pop_many), {"ring": ring, "limit": 5, "timeout": 0}),
    "aio.rows": (lambda: aio.rows, {"array": growable, "seen": 0, "limit": 5}),
    "aio.watch": (lambda: aio.watch, {"mapping": mapped, "debounce_ms": 5, "generation": None}),
}


OF_ARRAYS = {name for name in CALLS if hasattr(kernels, name)} | {"AtomicArray", "AtomicCell"}
ATOMIC = ("load", "store", "exchange", "compare_exchange", "AtomicCell", "AtomicArray")
ATOMIC += tuple(name for name in CALLS if name.startswith("fetch_"))


def watching(**arguments: Any) -> None:
    mapped().watch(**arguments).stop()


def consumed(call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **arguments: [next(iter(call(**arguments)))]


def awaited(call: Callable[..., Any]) -> Callable[..., Any]:
    async def run(arguments: dict[str, Any]) -> Any:
        return await call(**arguments)

    return lambda **arguments: asyncio.run(run(arguments))


def make_files() -> None:
    """Write the files that the arguments name."""
    with open("file", "wb") as file:
        file.write(bytes(SIZE))
    np.save("array.npy", np.ones((4, 2)))


def right_arguments(name: str) -> dict[str, Any]:
    """Return arguments that are right, made anew."""
    makers = (mapped, growable, ring)
    right = {
        key: value() if any(value is make for make in makers) else value
        for key, value in CALLS[name][1].items()
    }
    if name == "MappedFile.from_fd":
        right["fd"] = os.open("file", os.O_RDONLY)
    if name == "Generation.at":
        right["mapping"] = mapped()
    return right
