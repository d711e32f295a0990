"""Scans of more than fits: what stays in memory, what does not, and that nothing is lost."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numpy.lib.array_utils import byte_bounds
from numpy.typing import NDArray

import mmapio
from mmapio import _os, kernels
from mmapio.errors import ArgumentError, ArgumentTypeError
from mmapio.kernels.chunks import spans
from mmapio.kernels.chunks.map_reduce import map_chunks, reduce_chunks
from mmapio.kernels.engine import read_ahead
from mmapio.kernels.engine.read_ahead import Window
from mmapio.pagecache import memory_hints

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux gives back a part of a mapping"
)

PAGE = _os.PAGE_SIZE
MIB = 1 << 20


@numba.njit(nogil=True)
def total(chunk: Any) -> Any:
    return chunk.sum()


@numba.njit(nogil=True)
def add(x: Any, y: Any) -> Any:
    return x + y


@numba.njit(nogil=True)
def doubled(chunk: Any) -> Any:
    return chunk + chunk


class Peak:
    """Watches how much memory this process has in use, beyond what it had at the start."""

    def __init__(self) -> None:
        self._start = self._resident()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.mib = 0.0

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self.mib = max(self.mib, self._resident() - self._start)

    def _watch(self) -> None:
        while not self._stop.wait(0.001):
            self.mib = max(self.mib, self._resident() - self._start)

    @staticmethod
    def _resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / MIB


def evict(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    if in_cache(path).any():
        pytest.skip("this file system keeps pages in memory when it is asked to drop them")


def mapped(path: Path, dtype: str = "i8", mode: str = "r") -> NDArray[Any]:
    """Map a file, without a look at its first bytes, which would bring them into memory."""
    a: NDArray[Any] = np.memmap(path, dtype, mode)  # type: ignore[call-overload]
    return a


def in_cache(path: Path) -> NDArray[np.uint8]:
    a = np.memmap(path, "u1", "r")
    return _os.resident(a.ctypes.data, a.nbytes)


@pytest.fixture(params=["the system reads ahead", "we read ahead"])
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    far = 0 if request.param == "the system reads ahead" else 1 << 60
    monkeypatch.setattr(read_ahead, "_FAR_BYTES", far)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a file of 64 MiB, of which nothing is in memory."""
    path = tmp_path / "file"
    np.random.default_rng(0).integers(0, 1 << 40, 8 * MIB).tofile(path)
    evict(path)
    return path


# Bounds -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("reading")
def test_a_file_of_four_times_the_budget(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    a = mmapio.open(path, dtype="i8")
    reduce_chunks(np.zeros(9, "i8"), total, add, 0)  # compiles
    with Peak() as bounded:
        assert reduce_chunks(a, total, add, 0, drop_behind=True) == 0
    assert bounded.mib < 256
    with Peak() as unbounded:
        reduce_chunks(a, total, add, 0)
    assert unbounded.mib > 900


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_what_was_missing_is_given_back_and_the_rest_is_kept(path: Path, threads: int) -> None:
    """Sampling may keep a few more pages, never fewer."""
    expected = int(np.fromfile(path, "i8").sum())
    evict(path)
    bring_in(path, 20 * MIB + 5 * PAGE, 9 * MIB + PAGE)
    a = mapped(path)
    before = in_cache(path)
    assert 8 * MIB // PAGE < before.sum() < 40 * MIB // PAGE
    assert reduce_chunks(a, total, add, 0, drop_behind=True, threads=threads) == expected
    after = in_cache(path)
    # Not all of them: the system itself takes pages away when it pleases.
    assert after[before == 1].mean() > 0.8
    assert after[before == 0].sum() < 24 * MIB // PAGE


def test_pages_here_and_there_do_not_keep_the_rest(path: Path) -> None:
    """Two pages of each block, always the same ones, must not stand for all."""
    a = mapped(path)
    for offset in (0, *range(-a.ctypes.data % (4 * MIB), a.nbytes, 4 * MIB)):
        bring_in(path, offset, PAGE)
    if in_cache(path).sum() > 64:
        pytest.skip("this file system reads more than it is asked for")
    reduce_chunks(a, total, add, 0, drop_behind=True)
    assert in_cache(path).sum() < 8 * MIB // PAGE


def test_a_private_mapping_grows_by_what_was_in_memory_alone(path: Path) -> None:
    reduce_chunks(np.zeros(9, "i8"), total, add, 0)
    bring_in(path, 8 * MIB, 16 * MIB)
    a = mapped(path, mode="c")
    with Peak() as peak:
        reduce_chunks(a, total, add, 0, drop_behind=True)
    assert peak.mib < 48
    assert in_cache(path)[9 * MIB // PAGE : 23 * MIB // PAGE].mean() > 0.8


def bring_in(path: Path, offset: int, length: int) -> None:
    """Bring a part of a file into memory."""
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        file.seek(offset)
        file.read(length)


def test_a_resident_file_stays_in_the_cache_and_leaves_the_process(path: Path) -> None:
    a = mapped(path)
    expected = int(a.sum())
    start = Peak._resident()
    assert reduce_chunks(a, total, add, 0, drop_behind=True) == expected
    assert in_cache(path).mean() > 0.8
    assert Peak._resident() - start < -48


@pytest.mark.parametrize("chunk", [100_003, 3 * MIB // 8, 20 * MIB // 8])
def test_chunks_of_any_size(path: Path, chunk: int) -> None:
    reduce_chunks(np.zeros(9, "i8"), total, add, 0)
    expected = int(np.fromfile(path, "i8").sum())
    evict(path)
    a = mapped(path)
    with Peak() as peak:
        found = reduce_chunks(a, total, add, 0, chunk=chunk, threads=1, drop_behind=True)
    assert found == expected
    assert peak.mib < 30
    assert in_cache(path).sum() < 8 * MIB // PAGE


# Nothing is lost ----------------------------------------------------------------------------------


def test_private_changes_survive(path: Path) -> None:
    """To unmap them, as is done with pages of a file, would lose them."""
    a = mapped(path, mode="c")
    a[::1000] = 7
    before = a.copy()
    reduce_chunks(a, total, add, 0, drop_behind=True)
    np.testing.assert_array_equal(a, before)
    heap = np.arange(4 * MIB)
    assert reduce_chunks(heap, total, add, 0, drop_behind=True) == heap.sum()
    np.testing.assert_array_equal(heap, np.arange(4 * MIB))


def test_unwritten_changes_survive(path: Path) -> None:
    a = mapped(path, mode="r+")
    a[::1000] = 7
    before = a.copy()
    reduce_chunks(a, total, add, 0, drop_behind=True)
    np.testing.assert_array_equal(a, before)
    np.testing.assert_array_equal(np.fromfile(path, "i8"), before)


def test_memory_without_a_file_survives() -> None:
    a = mmapio.anonymous(4 * MIB, "i8")
    a[:] = np.arange(4 * MIB)
    reduce_chunks(a, total, add, 0, drop_behind=True)
    np.testing.assert_array_equal(a, np.arange(4 * MIB))


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("threads", [1, 3])
def test_a_map_releases_what_it_writes(path: Path, tmp_path: Path, threads: int) -> None:
    expected = np.fromfile(path, "i8") * 2
    evict(path)
    a = mapped(path)
    out = mmapio.create(tmp_path / "out.npy", a.shape, "i8")
    map_chunks(np.zeros(9, "i8"), doubled, np.zeros(9, "i8"))
    with Peak() as peak:
        map_chunks(a, doubled, out, threads=threads, drop_behind=True)
    # Of 128 MiB; a thread that waits for a CPU holds on to a block of either file.
    assert peak.mib < 60 + 16 * (threads - 1)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


# Windows ------------------------------------------------------------------------------------------


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Return a list of the advice that windows give: its name, and the range."""
    given: list[tuple[str, int, int]] = []

    def hint(start: int, stop: int, advice: _os.Advice) -> bool:
        given.append((advice.name, start, stop))
        return True

    monkeypatch.setattr(read_ahead, "hint", hint)
    monkeypatch.setattr(memory_hints, "hint", hint)
    return given


def ranges_of(size: int, step: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + step, size)) for start in range(0, size, step))


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("step", [MIB, 5 * MIB + 17, 40 * MIB])
@pytest.mark.parametrize("order", ["one after the other", "in pairs"])
def test_a_window_releases_each_byte_that_it_passed(
    path: Path, log: list[tuple[str, int, int]], step: int, order: str
) -> None:
    """In pairs: of two threads the second one is done first."""
    a = mapped(path, "u1")[1:-1]
    window = Window(a)
    ranges = list(ranges_of(a.size, step))
    if order == "in pairs":
        ranges = [ranges[i] for i in sorted(range(len(ranges)), key=lambda i: (i // 2, -i))]
    for start, stop in ranges:
        with window.passing(start, stop):
            a[start:stop:PAGE].max()
    for advice in ("PAGEOUT", "DONTNEED"):
        covered = np.zeros(a.size, bool)
        for name, low, high in log:
            if name == advice:
                first = low - a.ctypes.data
                covered[max(0, first) : high - a.ctypes.data] = True
        assert covered.all()


def test_a_window_that_only_reads_ahead(path: Path, log: list[tuple[str, int, int]]) -> None:
    a = mapped(path, "u1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_ahead, "_FAR_BYTES", 1 << 60)
        window = Window(a, release=False)
    with window.passing(0, a.size):
        pass
    assert {name for name, _, _ in log} == {"WILLNEED"}
    assert sum(stop - start for _, start, stop in log) == a.size


def test_what_is_in_memory_is_not_read_in(path: Path, log: list[tuple[str, int, int]]) -> None:
    a = mapped(path, "u1")
    a.sum()
    with Window(a).passing(0, a.size):
        pass
    assert {name for name, _, _ in log} == {"DONTNEED"}


def test_nothing_private_is_unmapped(path: Path, log: list[tuple[str, int, int]]) -> None:
    for a in (mapped(path, "u1", "c"), np.zeros(20 * MIB, "u1")):
        with Window(a).passing(0, a.size):
            pass
    assert "DONTNEED" not in {name for name, _, _ in log}


def test_a_failing_scan_raises_its_own_error(path: Path) -> None:
    window = Window(mapped(path, "u1"))
    with pytest.raises(ZeroDivisionError), window.passing(0, 5):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "turn",
    [
        lambda a: a,
        lambda a: a[::2],
        lambda a: a[:, 1:],
        lambda a: a[:1].T,
        lambda a: a[:0],
        lambda a: a.reshape(-1),
        lambda a: a[:, :0],
        lambda a: a[:, ::-1],
        lambda a: np.broadcast_to(a[:1, :1], (7, 1)),
    ],
)
def test_rows_that_follow_each_other(turn: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    a = turn(np.arange(120.0).reshape(20, 6))
    assert reduce_chunks(a, total, add, 0.0, chunk=3, drop_behind=True) == a.sum()


@pytest.mark.parametrize(
    "turn",
    [
        lambda a: a.T,
        lambda a: a[::-1],
        lambda a: np.lib.stride_tricks.sliding_window_view(a.ravel(), 9),
        lambda a: np.broadcast_to(a[0], (5, 6)),
    ],
)
def test_rows_that_do_not(turn: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    a = turn(np.arange(120.0).reshape(20, 6))
    with pytest.raises(ArgumentError, match="rows must follow each other in memory"):
        reduce_chunks(a, total, add, 0.0, drop_behind=True)


def test_every_way_gives_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "_SPAN_BYTES", MIB)
    a = mapped(path, "f8")[:MIB]
    found = {
        reduce_chunks(a, total, add, 0.0, chunk=1000, threads=threads, drop_behind=drop)
        for threads in (1, 2, 4)
        for drop in (False, True)
    }
    assert len(found) == 1


# Scans that are compiled already ------------------------------------------------------------------

SCANS: dict[str, Callable[..., Any]] = {
    "sum": kernels.sum,
    "columns": lambda a, **how: kernels.mean(a.reshape(-1, 64), axis=0, **how),
    "spread of columns": lambda a, **how: kernels.var(a.reshape(-1, 64), axis=0, **how),
    "range of columns": lambda a, **how: kernels.minmax(a.reshape(-1, 1 << 13), axis=0, **how),
    "mean": kernels.mean,
    "var": kernels.var,
    "min": kernels.min,
    "max": kernels.max,
    "minmax": kernels.minmax,
    "argmin": kernels.argmin,
    "argmax": kernels.argmax,
    "count": lambda a, **how: kernels.count(a, 5, **how),
    "count_nonzero": kernels.count_nonzero,
    "find": lambda a, **how: kernels.find(a, -1, **how),
    "find_all": lambda a, **how: kernels.find_all(a, 0, **how),
    "pattern": lambda a, **how: kernels.find(a.view("u1"), b"no such text", **how),
    "histogram": kernels.histogram,
    "histogram with edges": lambda a, **how: kernels.histogram(a, [0, 1 << 30, 1 << 39], **how),
    "describe": lambda a, **how: vars_of(kernels.describe(a, **how)),
    "describe bytes": lambda a, **how: vars_of(kernels.describe(a.view("u1"), **how)),
    "checksum": kernels.checksum,
    "byte_counts": lambda a, **how: kernels.byte_counts(a.view("u1"), **how),
}


def vars_of(found: kernels.Description) -> list[Any]:
    return [*vars(found).values()]


@pytest.mark.parametrize("name", SCANS)
def test_every_scan_drops_behind(path: Path, name: str) -> None:
    scan, a = SCANS[name], mapped(path)
    expected = scan(a)
    del a
    evict(path)
    a = mapped(path)
    with Peak() as peak:
        found = scan(a, drop_behind=True, threads=2)
    np.testing.assert_equal(found, expected)
    assert peak.mib < 48
    # Where a look at the first item comes before the scan, the system reads some way around it.
    assert in_cache(path).sum() < 16 * MIB // PAGE


@pytest.mark.parametrize(
    "turn",
    [
        lambda a: a[::2],
        lambda a: a.reshape(8, 4, -1)[:, 1:, :].T,
        lambda a: a.reshape(4, -1)[::-1, ::-1],
        lambda a: np.broadcast_to(a[:MIB], (3, MIB)),
        lambda a: a.view(">i8"),
    ],
)
def test_scans_by_memory_take_any_layout(
    path: Path, turn: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    a = turn(mapped(path))
    expected = kernels.sum(a), kernels.describe(a).counts.tolist()
    evict_through(a, path)
    with Peak() as peak:
        found = kernels.sum(a, drop_behind=True), kernels.describe(a, drop_behind=True).counts
    assert (found[0], found[1].tolist()) == expected
    assert peak.mib < 48


def evict_through(a: NDArray[Any], path: Path) -> None:
    """Drop what is mapped as well."""
    start, stop = byte_bounds(a)
    memory_hints.hint(start, stop, _os.Advice.DONTNEED)
    evict(path)


def test_scans_in_another_order_than_memory_are_refused(path: Path) -> None:
    a = mapped(path).reshape(8, -1).T
    # Extremes are looked for in the order of memory.
    assert kernels.argmin(a, drop_behind=True) == np.argmin(a)
    for name in ("find", "find_all", "checksum"):
        with pytest.raises(ArgumentError, match="must follow each other in memory"):
            SCANS[name](a, drop_behind=True)
    with pytest.raises(ArgumentTypeError, match="drop_behind must be True or False, got 'no'"):
        kernels.sum(a, drop_behind="no")  # type: ignore[arg-type]


# Systems that tell less ---------------------------------------------------------------------------


def test_a_system_that_takes_no_advice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmapio._os import _stub

    for name in ("advise", "resident", "backing"):
        monkeypatch.setattr(_os, name, getattr(_stub, name))
    a = mapped(path)
    expected = int(a.sum())
    assert reduce_chunks(a, total, add, 0, drop_behind=True) == expected
    assert not memory_hints.hint(a.ctypes.data, a.ctypes.data + 5, _os.Advice.WILLNEED)
    assert memory_hints.all_resident([a.ctypes.data])
    assert list(memory_hints.missing_runs(a.ctypes.data, a.ctypes.data + a.nbytes)) == []
    assert memory_hints.what_backs(a.ctypes.data, a.ctypes.data + a.nbytes) == (False, 0)


def test_runs_of_missing_pages(path: Path) -> None:
    for offset, length in ((0, PAGE), (3 * PAGE, PAGE), (5 * PAGE, 2 * PAGE)):
        bring_in(path, offset, length)
    a = np.memmap(path, "u1", "r")
    base = a.ctypes.data
    if _os.resident(base, 8 * PAGE).tolist() != [1, 0, 0, 1, 0, 1, 1, 0]:
        pytest.skip("this file system reads more than it is asked for")
    runs = [
        [(low - base) // PAGE for low in run]
        for run in memory_hints.missing_runs(base, base + 8 * PAGE)
    ]
    assert runs == [[1, 3], [4, 5], [7, 8]]
    inner = list(memory_hints.missing_runs(base + PAGE + 7, base + 3 * PAGE - 9))
    assert inner == [(base + PAGE, base + 3 * PAGE)]
