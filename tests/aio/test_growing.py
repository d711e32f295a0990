"""Growable arrays in coroutines: the loop goes on, and no row is lost or appended in part."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmapio import GrowableArray, _os, aio
from mmapio.errors import (
    ArgumentError,
    ArgumentTypeError,
    ClosedError,
    FlushError,
    MmapioError,
    OutOfBoundsError,
    ReadOnlyError,
    ReplacedError,
)

pytestmark = pytest.mark.skipif(
    not _os.CAN_MAP_PAST_END, reason="this platform cannot grow a file while it is mapped"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "grown.npy"


def new(path: Path, **options: Any) -> GrowableArray:
    return GrowableArray.open(path, "w+", dtype="i8", **options)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


def test_it_does_what_the_names_say_in_other_threads(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[int] = set()
    real = _os.sync_data

    def sync(fd: int) -> None:
        threads.add(threading.get_ident())
        real(fd)

    g = new(path)
    monkeypatch.setattr(_os, "sync_data", sync)

    async def work() -> None:
        await aio.append(g, 7)
        await aio.extend(g, np.arange(9))
        await aio.commit(g, durable=False)
        assert not threads
        await aio.commit(g)
        await aio.truncate(g, 3)
        assert await aio.wait(g, 1) == 3

    run(work())
    assert np.load(path).tolist() == [7, 0, 1]
    assert threads
    assert threading.get_ident() not in threads


def test_errors_are_those_of_the_methods(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    g = new(path)
    g.append(1)
    g.commit()
    reader = GrowableArray.open(path)

    def failing(fd: int) -> None:
        raise OSError(5, "Input/output error")

    wrong: list[tuple[Callable[[], Coroutine[Any, Any, Any]], type[MmapioError]]] = [
        (lambda: aio.append(g, [1, 2]), ArgumentError),
        (lambda: aio.extend(g, 1), ArgumentError),
        (lambda: aio.truncate(g, 9), OutOfBoundsError),
        (lambda: aio.append(reader, 1), ReadOnlyError),
        (lambda: aio.commit(reader), ReadOnlyError),
        (lambda: aio.wait(reader, -1), ArgumentError),
        (lambda: aio.wait(reader, timeout="1"), ArgumentTypeError),  # type: ignore[arg-type]
    ]
    for call, kind in wrong:
        with pytest.raises(kind):
            run(call())
    for of_another in (aio.append, aio.extend, aio.commit, aio.truncate, aio.wait, aio.rows):
        with pytest.raises(ArgumentTypeError, match="this is for a GrowableArray, not 'ndarray'"):
            run(of_another(np.ones(3), 1))  # type: ignore[operator]
    for seen, limit in ((-1, None), (0, 0)):
        with pytest.raises(ArgumentError):
            aio.rows(reader, seen, limit)
    assert len(g) == 1
    g.append(2)
    monkeypatch.setattr(_os, "sync_data", failing)
    with pytest.raises(FlushError):
        run(aio.commit(g))
    g.close(commit=False)
    with pytest.raises(ClosedError):
        run(aio.append(g, 1))


def held_at_sync(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Let syncs set the first event, and wait for the second one."""
    begun, go_on = threading.Event(), threading.Event()
    real = _os.sync_data

    def sync(fd: int) -> None:
        begun.set()
        assert go_on.wait(30)
        real(fd)

    monkeypatch.setattr(_os, "sync_data", sync)
    return begun, go_on


async def happens(event: threading.Event) -> None:
    while not event.is_set():
        await asyncio.sleep(0.001)


def test_the_loop_goes_on_during_a_commit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    g = new(path)
    g.append(1)
    begun, go_on = held_at_sync(monkeypatch)

    async def work() -> None:
        committing = asyncio.create_task(aio.commit(g))
        await happens(begun)
        appending = [asyncio.create_task(aio.append(g, n)) for n in range(100)]
        for _ in range(100):
            await asyncio.sleep(0)
        assert not committing.done()
        go_on.set()
        await asyncio.gather(committing, *appending)
        assert len(g) == 101

    run(work())


def test_a_cancelled_commit_is_finished_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    g = new(path)
    g.append(1)
    begun, go_on = held_at_sync(monkeypatch)

    async def work() -> None:
        committing = asyncio.create_task(aio.commit(g))
        await happens(begun)
        committing.cancel()
        await asyncio.sleep(0.01)
        committing.cancel()
        assert g.committed == 0
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await committing
        assert g.committed == 1

    run(work())


def test_cancelled_appends_are_whole_or_not_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    g, begun = GrowableArray.open(path, "w+", dtype="i8", row_shape=512), []
    real = GrowableArray.append

    def append(self: GrowableArray, row: Any) -> None:
        begun.append(row[0])
        threading.Event().wait(0.001)
        real(self, row)

    monkeypatch.setattr(GrowableArray, "append", append)

    async def work() -> None:
        tasks = [asyncio.create_task(aio.append(g, np.full(512, n))) for n in range(200)]
        while not begun:
            await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(work())
    assert 0 < len(begun) < 200
    assert sorted(g.array[:, 0].tolist()) == sorted(begun)
    assert (g.array == g.array[:, :1]).all()


WRITE = """
import sys, mmapio
with mmapio.GrowableArray.open(sys.argv[1], "r+") as g:
    for line in sys.stdin:
        g.extend(range(len(g), int(line)))
        g.commit(durable=False)
"""


def test_rows_of_another_process_come_in_order(path: Path) -> None:
    new(path).close()
    reader = GrowableArray.open(path)
    environment = os.environ | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}

    async def work() -> list[int]:
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITE, str(path), stdin=asyncio.subprocess.PIPE, env=environment
        )
        assert writer.stdin is not None
        found: list[int] = []
        ends = iter([3, 4, 1000, 0])
        writer.stdin.write(b"1\n")
        async for some in aio.rows(reader, limit=300):
            assert 1 <= len(some) <= 300
            found += some.tolist()
            if len(found) == len(reader):
                if not (end := next(ends)):
                    break
                writer.stdin.write(f"{end}\n".encode())
        writer.stdin.close()
        assert await writer.wait() == 0
        return found

    assert run(work()) == list(range(1000))


def test_a_cancelled_task_takes_no_row_from_the_next(path: Path) -> None:
    g = new(path)
    rows = aio.rows(g)

    async def work() -> list[int]:
        for _ in range(3):
            task = asyncio.create_task(rows.__anext__())
            await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        task = asyncio.create_task(rows.__anext__())
        await asyncio.sleep(0.005)
        g.extend(range(3))
        task.cancel()  # before it has looked again
        with pytest.raises(asyncio.CancelledError):
            await task
        found: list[int] = (await rows.__anext__()).tolist()
        assert rows.seen == 3
        return found

    assert run(work()) == [0, 1, 2]


def test_after_a_truncate_it_goes_on_with_what_is_new(path: Path) -> None:
    g = new(path)
    reader = GrowableArray.open(path)

    async def work() -> None:
        rows = aio.rows(reader, seen=0)
        g.extend(range(10))
        g.commit()
        assert len(await rows.__anext__()) == 10
        task = asyncio.create_task(rows.__anext__())
        await asyncio.sleep(0)
        g.truncate(4)
        while len(reader) != 4:
            await asyncio.sleep(0.001)
        g.append(99)
        g.commit()
        assert (await task).tolist() == [99]

    run(work())


def test_rows_end_with_the_array_and_fail_with_the_file(path: Path) -> None:
    g = new(path)
    reader, other = GrowableArray.open(path), GrowableArray.open(path)

    async def work() -> None:
        ending = asyncio.create_task(anext(aio.rows(reader), None))
        failing = asyncio.create_task(anext(aio.rows(other), None))
        await asyncio.sleep(0.01)
        threading.Thread(target=reader.close).start()
        assert await ending is None
        g.close()
        os.replace(path, path.with_name("moved"))
        new(path)
        with pytest.raises(ReplacedError):
            await failing

    run(work())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio_runs_it_on_both_loops(path: Path, backend: str) -> None:
    anyio = pytest.importorskip("anyio", reason="anyio is not installed")
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    g = new(path)
    reader = GrowableArray.open(path)

    async def work() -> list[int]:
        with anyio.fail_after(60):
            assert await aio.wait(reader, timeout=0.02) == 0
            await aio.append(g, 7)
            await aio.commit(g)
            async for some in aio.rows(reader):
                found: list[int] = some.tolist()
                return found
        raise AssertionError

    assert anyio.run(work, backend=backend) == [7]
