"""Pairs of public methods in two threads, over files that another process cuts off meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import io
import os
import random
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import MmapioError, _os, guard

PAGE = _os.PAGE_SIZE
SIZE = 16 * PAGE
ROWS = SIZE // 8
DTYPE = np.dtype([("t", "i8"), ("x", "f8")])
ROW = np.ones((), DTYPE)
PAIRS = 250
TIMES = 12  # each of a pair is called, at the most

Call = Callable[[Any], object]

NAMES = {
    name: getattr(mmapio, name)
    for name in (
        *("MappedFile", "MappedArray", "Segment", "MappedReader", "GrowableArray"),
        *("RingBuffer", "SeqLock", "ShardedCounter", "Generation"),
    )
}


def made(name: str, path: str) -> Any:
    """Return a new object of a class, over a new file."""
    if name == "MappedArray":
        a = mmapio.create(path, ROWS, "f8", raw=True)
        how = random.choice(["w+", "r", "c"])
        return a if how == "w+" else mmapio.open(path, how, dtype="f8")
    if name == "GrowableArray":
        g = mmapio.GrowableArray.open(path, "w+", dtype="f8")
        g.extend(np.ones(ROWS))
        g.commit(durable=False)
        return g if random.random() < 0.7 else mmapio.GrowableArray.open(path)
    if name == "RingBuffer":
        return mmapio.RingBuffer.open(path, "w+", DTYPE, 256)
    if name == "SeqLock":
        return mmapio.SeqLock.open(path, "w+", DTYPE)
    if name in ("ShardedCounter", "Generation"):
        return NAMES[name].open(path, "w+")
    m = mmapio.MappedFile.open(path, "x+", SIZE, capacity=4 * SIZE)
    how = random.choice(["x+", "r", "r+", "c", "anonymous", "always"])
    if how == "anonymous":
        m = mmapio.MappedFile.anonymous(SIZE, capacity=4 * SIZE)
    elif how == "always":
        m = mmapio.MappedFile.open(path, "r+", flush_policy=mmapio.FlushPolicy.always())
    elif how != "x+":
        m = mmapio.MappedFile.open(path, how)
    if name == "Segment":
        return m.segment(PAGE + 5, 5 * PAGE)
    return m.reader() if name == "MappedReader" else m


def blocked(block: Any, thing: Any) -> None:
    with block:
        for _ in range(3):
            memory = thing.view() if isinstance(thing, mmapio.MappedFile) else thing
            isinstance(memory, np.ndarray) and memory.sum()


def resized(m: Any) -> None:
    m.resize(random.randrange(1, 8 * SIZE), force=random.random() < 0.5)


async def awaited(generation: Any) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(generation.changed(generation.value), 0.01)


def viewed(m: Any) -> None:
    view = m.view(8, 800, "f8")
    view.fill(1) if view.flags.writeable else view.sum()


def watched(m: Any) -> None:
    m.watch(lambda change: None).stop()


def read_on(reader: Any) -> None:
    reader.readinto(bytearray(PAGE))
    reader.readinto(np.empty(100))


SHARED: dict[str, Call] = {
    "check": lambda o: o.check(),
    "guard": lambda o: blocked(o.guard(), o),
    "recover": lambda o: o.recover(),
    "close": lambda o: o.close(),
}
PAGED: dict[str, Call] = SHARED | {
    "close": lambda o: o.close(force=random.random() < 0.5),
    "flush": lambda o: o.flush(wait=random.random() < 0.5),
    "lock": lambda o: o.lock(),
    "unlock": lambda o: o.unlock(),
    "prefetch": lambda o: o.prefetch(),
    "release": lambda o: o.release(evict=random.random() < 0.3),
    "residency": lambda o: o.residency(buckets=random.choice([None, 3])).text(),
    "touch_pages": lambda o: o.touch_pages(write=random.random() < 0.5),
    "advise": lambda o: o.advise(random.choice(["random", "populate_write", "cold", "dontneed"])),
}
CALLS: dict[str, dict[str, Call]] = {
    "MappedFile": PAGED
    | {
        "anonymous": lambda m: m.anonymous(100).close(),
        "open": lambda m: m.open(m.path, "r+").close(),
        "from_fd": lambda m: m.from_fd(m.fileno(), "r").close(),
        "atomic": lambda m: m.atomic(PAGE, "i8").fetch_add(1),
        "atomic_array": lambda m: m.atomic_array(0, 4 * PAGE, "i4").fetch_add(7, 1),
        "chunks": lambda m: [c.sum() for c in m.chunks(3 * PAGE, copy=random.random() < 0.5)],
        "pages": lambda m: [c.sum() for c in m.pages(copy=random.random() < 0.5)],
        "detach": lambda m: os.close(m.detach()),
        "fileno": lambda m: m.fileno(),
        "is_hugepage_backed": lambda m: m.is_hugepage_backed(),
        "mark_dirty": lambda m: m.mark_dirty(3, 500),
        "punch_hole": lambda m: m.punch_hole(PAGE, random.randrange(4 * PAGE)),
        "read": lambda m: m.read(random.randrange(PAGE)),
        "read_into": lambda m: m.read_into(7, bytearray(PAGE)),
        "reader": lambda m: m.reader().read(PAGE),
        "resize": resized,
        "segment": lambda m: m.segment(5, PAGE).read(),
        "view": viewed,
        "watch": watched,
        "write": lambda m: m.write(random.randrange(PAGE), b"x" * 3 * PAGE),
    },
    "MappedArray": PAGED
    | {
        "argmax": lambda a: a.argmax(),
        "argmin": lambda a: a.argmin(),
        "argpartition": lambda a: a.argpartition(5),
        "argsort": lambda a: a.argsort(),
        "astype": lambda a: a.astype("f4"),
        "byteswap": lambda a: a.byteswap(),
        "chunks": lambda a: [c.sum() for c in a.chunks(100)],
        "iter_chunks": lambda a: [c.sum() for c in a.iter_chunks(100)],
        "choose": lambda a: a[:4].astype("i1").choose([1, 2], mode="wrap"),
        "compress": lambda a: a.compress(np.ones(5, bool)),
        "copy": lambda a: a.copy(),
        "dot": lambda a: a.dot(a),
        "dump": lambda a: a.dump(io.BytesIO()),
        "flatten": lambda a: a.flatten(),
        "repeat": lambda a: a[:9].repeat(3),
        "round": lambda a: a.round(2),
        "take": lambda a: a.take([5, 7]),
        "tofile": lambda a: a.tofile(os.devnull),
    },
    "Segment": {
        "read": lambda s: s.read(random.randrange(PAGE)),
        "view": lambda s: s.view(0, 80).sum(),
        "write": lambda s: s.write(random.randrange(PAGE), b"x" * 3 * PAGE),
        "the mapping's resize": lambda s: resized(s._mapping),
        "the mapping's close": lambda s: s._mapping.close(force=True),
    },
    "MappedReader": {
        "read": lambda r: r.read(random.randrange(SIZE)),
        "readable": lambda r: r.readable(),
        "seekable": lambda r: r.seekable(),
        "readall": lambda r: r.readall(),
        "readinto": read_on,
        "seek": lambda r: r.seek(random.randrange(2 * SIZE)),
        "tell": lambda r: r.tell(),
        "the mapping's resize": lambda r: resized(r._mapping),
        "the mapping's close": lambda r: r._mapping.close(force=True),
    },
    "GrowableArray": SHARED
    | {
        "append": lambda g: g.append(5),
        "extend": lambda g: g.extend(np.ones(random.randrange(3000))),
        "commit": lambda g: g.commit(durable=random.random() < 0.1),
        "open": lambda g: g.open(g.path).close(),
        "refresh": lambda g: g.refresh(),
        "truncate": lambda g: g.truncate(random.randrange(ROWS), force=random.random() < 0.5),
        "wait": lambda g: g.wait(timeout=0.001),
        "close": lambda g: g.close(commit=random.random() < 0.5, force=random.random() < 0.5),
    },
    "RingBuffer": SHARED
    | {
        "anonymous": lambda r: r.anonymous("f8", 4).close(),
        "open": lambda r: r.open(r.path).close(),
        "pop": lambda r: r.pop(timeout=random.choice([0, 0.001])),
        "pop_many": lambda r: r.pop_many(timeout=random.choice([0, 0.001])),
        "push": lambda r: r.push(ROW, timeout=random.choice([0, 0.001])),
        "push_many": lambda r: r.push_many(np.ones(100, DTYPE)),
    },
    "SeqLock": SHARED
    | {
        "anonymous": lambda s: s.anonymous("f8").close(),
        "open": lambda s: s.open(s.path).close(),
        "read": lambda s: s.read(),
        "write": lambda s: s.write(ROW),
    },
    "ShardedCounter": SHARED
    | {
        "anonymous": lambda c: c.anonymous().close(),
        "open": lambda c: c.open(c.path).close(),
        "add": lambda c: c.add(3),
    },
    "Generation": SHARED
    | {
        "anonymous": lambda g: g.anonymous().close(),
        "open": lambda g: g.open(g.path).close(),
        "at": lambda g: g.at(g.mapping, 64).value,
        "bump": lambda g: g.bump(),
        "changed": lambda g: asyncio.run(awaited(g)),
        "wait_for_change": lambda g: g.wait_for_change(g.value, timeout=0.001),
    },
}
# Methods whose names are given to none, as numpy's own do the same.
INHERITED: dict[str, type] = {"MappedArray": np.ndarray, "MappedReader": io.RawIOBase}


def public_names(name: str) -> Iterator[str]:
    """Yield the public names of a class that are its own."""
    kind, base = NAMES[name], INHERITED.get(name, object)
    for each in dir(kind):
        if not each.startswith("_") and getattr(kind, each) is not getattr(base, each, None):
            yield each


def is_method(name: str, each: str) -> bool:
    return callable(getattr(NAMES[name], each))


def calls_of(name: str) -> dict[str, Call]:
    """Return all that can be done with an object of a class: attributes are looked at."""
    looks = {
        each: lambda o, each=each: looked_at(getattr(o, each))
        for each in public_names(name)
        if not is_method(name, each)
    }
    more: dict[str, Call] = {"repr": repr, "len": len} if hasattr(NAMES[name], "__len__") else {}
    there = {each: call for each, call in CALLS[name].items() if hasattr(NAMES[name], each)}
    others = {each: call for each, call in CALLS[name].items() if " " in each}
    return there | others | looks | more


def looked_at(found: Any) -> None:
    """Use what an attribute is, if it can be."""
    if isinstance(found, np.ndarray):
        found.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_every_public_method_has_its_call(name: str) -> None:
    methods = {each for each in public_names(name) if is_method(name, each)}
    assert methods - CALLS[name].keys() == set()


# The programs -------------------------------------------------------------------------------------


def truncate_for_ever(folder: str) -> None:
    """Cut files off at any byte, and let some of them grow again."""
    generator = random.Random(0)
    while True:
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                path = os.path.join(folder, name)
                size = os.stat(path).st_size
                os.truncate(path, generator.randrange(size + 1))
                time.sleep(generator.random() / 500)
                if generator.random() < 0.7:
                    with open(path, "r+b") as file:
                        file.write(b"\1" * size)
        time.sleep(generator.random() / 500)


def try_pair(name: str, path: str, pair: list[Call]) -> list[BaseException]:
    """Call two methods of one object in two threads; return what is no error of mmapio's."""
    foreign: list[BaseException] = []
    try:
        thing = made(name, path)
    except MmapioError:  # it was cut off at once
        return []
    barrier = threading.Barrier(2)

    def run(call: Call) -> None:
        try:
            barrier.wait()
            for _ in range(random.randrange(1, TIMES)):
                with contextlib.suppress(MmapioError):
                    call(thing)
        except BaseException as error:
            foreign.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in pair]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return foreign


def tell(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def try_pairs(folder: str, seed: int, pairs: int) -> None:
    """Try pairs of methods; tell which, and what they raise that they may not."""
    faulthandler.enable()
    faulthandler.dump_traceback_later(100 + pairs, exit=True)
    sys.setswitchinterval(1e-5)
    random.seed(seed)
    for number in range(pairs):
        name = random.choice(list(NAMES))
        calls = calls_of(name)
        pair = random.choices(list(calls), k=2)
        path = os.path.join(folder, str(number))
        tell(number, name, *pair)
        for error in try_pair(name, path, [calls[each] for each in pair]):
            tell("FOREIGN", *traceback.format_exception(error))
        with contextlib.suppress(OSError):
            os.unlink(path)
    tell("done")


@pytest.mark.skipif(guard.why_not() is not None, reason=str(guard.why_not()))
def test_no_pair_of_calls_ends_the_process(
    tmp_path: Path, start_worker: Callable[..., subprocess.Popen[str]], scale: float
) -> None:
    pairs = max(1, int(PAIRS * scale))
    start_worker(__file__, "truncate", tmp_path)
    user = start_worker(__file__, "use", tmp_path, random.randrange(1 << 30), pairs)
    told, _ = user.communicate(timeout=110 + pairs)
    assert user.returncode == 0, told[-5000:]
    assert "FOREIGN" not in told, told[max(0, told.index("FOREIGN") - 200) :][:5000]
    assert told.endswith("done\n")


if __name__ == "__main__":
    if sys.argv[1] == "truncate":
        truncate_for_ever(sys.argv[2])
    else:
        try_pairs(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
