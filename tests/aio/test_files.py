"""`mmapio.aio`: the loop goes on meanwhile, and a cancelled task leaves nothing half done."""

from __future__ import annotations

import asyncio
import errno
import gc
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import MappedFile, _os, aio
from mmapio.errors import (
    ArgumentTypeError,
    ClosedError,
    FlushError,
    MissingFileError,
    OutOfBoundsError,
)
from mmapio.files import whole_files


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of the threads that each sync will be made in."""
    seen: list[str] = []
    real = _os.sync

    def sync(*arguments: int) -> None:
        seen.append(threading.current_thread().name)
        real(*arguments)

    monkeypatch.setattr(_os, "sync", sync)
    return seen


def test_it_does_what_the_names_say(tmp_path: Path, threads: list[str]) -> None:
    async def work() -> None:
        a = await aio.open(tmp_path / "a.npy", "x+", dtype="i8", shape=(100, 3))
        a[5] = 7
        await aio.flush(a[5:6])
        m = a.mapping
        assert m is not None
        assert await aio.write(m, m.size - 8, np.array([9])) == 8
        await aio.flush(m)
        await aio.flush(m, 0, 10, wait=False)
        await aio.copy(tmp_path / "a.npy", tmp_path / "b.npy")
        await aio.delete(tmp_path / "a.npy")

    asyncio.run(work())
    found = np.load(tmp_path / "b.npy")
    assert (found[5].tolist(), found[-1, -1], found.sum()) == ([7, 7, 7], 9, 30)
    assert not (tmp_path / "a.npy").exists()
    assert len(threads) == 2
    assert threading.current_thread().name not in threads


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio_runs_it_on_both_loops(tmp_path: Path, backend: str) -> None:
    anyio = pytest.importorskip("anyio", reason="anyio is not installed")
    pytest.importorskip(backend, reason=f"{backend} is not installed")

    async def work() -> int:
        m = (await aio.open(tmp_path / "raw", "x+", dtype="u1", shape=100)).mapping
        assert m is not None
        await aio.write(m, 0, b"abc")
        await aio.flush(m)
        return m.pending_bytes

    assert anyio.run(work, backend=backend) == 0
    assert (tmp_path / "raw").read_bytes()[:3] == b"abc"


def test_errors_are_those_of_the_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    m = MappedFile.open(tmp_path / "file", "x+", 10)

    def failing(*_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    wrong: list[tuple[Callable[[], Coroutine[Any, Any, Any]], type[Exception]]] = [
        (lambda: aio.open(tmp_path / "none"), MissingFileError),
        (lambda: aio.write(m, 9, b"ab"), OutOfBoundsError),
        (lambda: aio.write(MappedFile.anonymous(9), 9, b"ab"), OutOfBoundsError),
        (lambda: aio.flush(m, 11), OutOfBoundsError),
        (lambda: aio.flush(np.ones(3)), ArgumentTypeError),  # type: ignore[arg-type]
        (lambda: aio.write(MappedFile.anonymous(9), 0, 5), ArgumentTypeError),
        (lambda: aio.write(b"", 0, b""), ArgumentTypeError),  # type: ignore[arg-type]
        (lambda: aio.copy(tmp_path / "none", tmp_path / "other"), MissingFileError),
        (lambda: aio.delete(tmp_path / "none"), MissingFileError),
    ]
    for call, kind in wrong:
        with pytest.raises(kind):
            asyncio.run(call())
    monkeypatch.setattr(_os, "sync", failing)
    for _ in range(2):
        with pytest.raises(FlushError):
            asyncio.run(aio.flush(m))
    gc.collect()  # tracebacks, and what they hold
    m.close()
    with pytest.raises(ClosedError):
        asyncio.run(aio.flush(m))


def test_the_loop_goes_on_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    m = MappedFile.open(tmp_path / "file", "x+", 10)
    begun, go_on = threading.Event(), threading.Event()

    def sync(*_: int) -> None:
        begun.set()
        assert go_on.wait(20)

    monkeypatch.setattr(_os, "sync", sync)

    async def work() -> None:
        task = asyncio.create_task(aio.flush(m))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        await task

    asyncio.run(work())


def test_nothing_to_wait_for_needs_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a thread was asked for")

    (tmp_path / "file").write_bytes(b"0123456789")

    async def work() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", refuse)
        await aio.write(MappedFile.anonymous(10), 0, b"abc")
        for m in (MappedFile.anonymous(10), *(MappedFile.open(tmp_path / "file", k) for k in "rc")):
            await aio.flush(m)
        with pytest.raises(AssertionError):
            await aio.flush(MappedFile.open(tmp_path / "file", "r+"))

    asyncio.run(work())


def test_a_cancelled_write_is_all_there_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of tasks that are cancelled at once, those that have begun are finished."""
    m = MappedFile.open(tmp_path / "file", "x+", 200 * 4096)
    real, begun = MappedFile.write, []

    def write(self: MappedFile, offset: int, data: bytes) -> int:
        begun.append(offset)
        half = len(data) // 2
        real(self, offset, data[:half])
        time.sleep(0.001)
        return real(self, offset + half, data[half:])

    monkeypatch.setattr(MappedFile, "write", write)

    async def work() -> int:
        tasks = [asyncio.create_task(aio.write(m, n * 4096, b"x" * 4096)) for n in range(200)]
        while not begun:
            await asyncio.sleep(0.001)
        for _ in range(3):  # more than once each
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        written = np.frombuffer(m.read(), "u1").reshape(200, 4096)
        whole = (written == ord("x")).all(axis=1)
        assert (whole | (written == 0).all(axis=1)).all()
        assert whole.sum() == len(begun)
        return sum(isinstance(result, asyncio.CancelledError) for result in results)

    assert asyncio.run(work()) > 0
    assert 0 < len(begun) < 200


def test_a_cancelled_copy_leaves_no_half_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source.npy", tmp_path / "target.npy"
    np.save(source, np.arange(1000))
    np.save(target, np.zeros(3))
    begun, real = threading.Event(), whole_files._os.copy_contents

    def slow(*arguments: int) -> None:
        begun.set()
        time.sleep(0.05)
        real(*arguments)

    monkeypatch.setattr(whole_files._os, "copy_contents", slow)

    async def work() -> None:
        task = asyncio.create_task(aio.copy(source, target))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(mmapio.open(target)) == 1000  # it had begun

    asyncio.run(work())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.npy", "target.npy"]
