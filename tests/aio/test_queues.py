"""Ring buffers in coroutines: every record arrives once, whatever tasks are cancelled."""

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

from mmapio import RingBuffer, aio
from mmapio.errors import ArgumentError, ArgumentTypeError, ClosedError, MmapioError, ReplacedError


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


def test_what_cannot_be_done_at_once_is_not_waited_for_unless_asked() -> None:
    ring = RingBuffer.anonymous("i8", 3)

    async def work() -> None:
        assert await aio.pop(ring) is None
        assert await aio.pop(ring, timeout=0.01) is None
        assert (await aio.pop_many(ring, timeout=0.01)).tolist() == []
        assert (await aio.pop_many(ring, 0, timeout=None)).tolist() == []
        assert await aio.push_many(ring, range(5)) == 3
        assert not await aio.push(ring, 9)
        assert not await aio.push(ring, 9, timeout=0.01)
        assert await aio.push_many(ring, [9], timeout=0.01) == 0
        assert await aio.pop(ring) == 0
        assert await aio.push_many(ring, [3, 4], timeout=0.01) == 1
        assert (await aio.pop_many(ring, 2)).tolist() == [1, 2]
        assert (await aio.pop_many(ring)).tolist() == [3]

    run(work())


def test_many_tasks_at_both_ends_lose_nothing() -> None:
    ring = RingBuffer.anonymous("i8", 5)

    async def work() -> list[int]:
        sending = [aio.push(ring, n, timeout=None) for n in range(50)]
        sending += [aio.push_many(ring, [n, n + 1], timeout=None) for n in range(50, 100, 2)]
        taking = [asyncio.create_task(aio.pop(ring, timeout=None)) for _ in range(100)]
        await asyncio.gather(*sending)
        return [int(record) for record in await asyncio.gather(*taking)]

    assert sorted(run(work())) == list(range(100))


def test_the_loop_goes_on_while_tasks_wait() -> None:
    ring = RingBuffer.anonymous("i8", 2)

    async def work() -> None:
        waiting = asyncio.create_task(aio.pop(ring, timeout=None))
        for _ in range(100):
            await asyncio.sleep(0.0001)
        assert not waiting.done()
        ring.push(7)
        assert await waiting == 7

    run(work())


def test_a_cancelled_task_has_sent_and_taken_nothing() -> None:
    ring = RingBuffer.anonymous("i8", 4)

    async def cancelled(call: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(call)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def work() -> None:
        await cancelled(aio.pop(ring, timeout=None))
        await cancelled(aio.pop_many(ring, timeout=None))
        ring.push_many([1, 2])
        await cancelled(aio.push_many(ring, [7, 8, 9], timeout=None))
        ring.push_many([3, 4])
        await cancelled(aio.push(ring, 9, timeout=None))
        assert ring.pop_many().tolist() == [1, 2, 3, 4]

    run(work())


ANSWER = """
import sys, mmapio
asked, answered = mmapio.RingBuffer.open(sys.argv[1]), mmapio.RingBuffer.open(sys.argv[2])
for n in range(300):
    answered.push(asked.pop(timeout=60) + 1, timeout=60)
"""


def test_another_process_answers(tmp_path: Path) -> None:
    asked = RingBuffer.open(tmp_path / "asked", dtype="i8", capacity=7)
    answered = RingBuffer.open(tmp_path / "answered", dtype="i8", capacity=3)
    arguments = sys.executable, "-c", ANSWER, asked.path, answered.path

    async def work() -> list[int]:
        process = await asyncio.create_subprocess_exec(*map(str, arguments))
        sending = asyncio.create_task(aio.push_many(asked, range(300), timeout=None))
        found: list[int] = []
        while len(found) < 300:
            found += (await aio.pop_many(answered, timeout=60)).tolist()
        assert await sending == 300
        assert await process.wait() == 0
        return found

    assert run(work()) == list(range(1, 301))


def test_errors_are_those_of_the_methods(tmp_path: Path) -> None:
    ring = RingBuffer.open(tmp_path / "ring", dtype="i8", capacity=2)
    wrong: list[tuple[Callable[[], Coroutine[Any, Any, Any]], type[MmapioError]]] = [
        (lambda: aio.push_many(ring, [[1]]), ArgumentError),
        (lambda: aio.pop_many(ring, -1), ArgumentError),
        (lambda: aio.pop(ring, timeout="1"), ArgumentTypeError),  # type: ignore[arg-type]
    ]
    for call, kind in wrong:
        with pytest.raises(kind):
            run(call())
    for of_another in (aio.push, aio.pop, aio.push_many, aio.pop_many):
        with pytest.raises(ArgumentTypeError, match="this is for a RingBuffer, not 'ndarray'"):
            run(of_another(np.ones(3), 1))  # type: ignore[arg-type]
    ring.close()
    with pytest.raises(ClosedError):
        run(aio.pop(ring))


@pytest.mark.skipif(os.name == "nt", reason="Windows replaces no file that is mapped")
def test_who_waits_is_told_that_nothing_will_come(tmp_path: Path) -> None:
    def ring(name: str) -> RingBuffer:
        return RingBuffer.open(tmp_path / name, dtype="i8", capacity=2)

    lost, closed = ring("lost"), ring("closed")

    async def work() -> None:
        waiting = [asyncio.create_task(aio.pop(each, timeout=None)) for each in (lost, closed)]
        await asyncio.sleep(0.01)
        ring("new").close()
        os.replace(tmp_path / "new", tmp_path / "lost")
        threading.Thread(target=closed.close).start()
        for task, error in zip(waiting, (ReplacedError, ClosedError), strict=True):
            with pytest.raises(error):
                await task

    run(work())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio_runs_it_on_both_loops(backend: str) -> None:
    anyio = pytest.importorskip("anyio", reason="anyio is not installed")
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    ring = RingBuffer.anonymous("i8", 2)

    async def work() -> int:
        threading.Timer(0.02, ring.push, [7]).start()
        with anyio.fail_after(60):
            return int(await aio.pop(ring, timeout=None))

    assert anyio.run(work, backend=backend) == 7
