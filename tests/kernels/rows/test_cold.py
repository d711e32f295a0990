"""Rows that a ring of reads brings from a file: the right ones, whatever fails meanwhile."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mmapio
from mmapio import _os
from mmapio.errors import MappingLostError
from mmapio.kernels.rows import cold, ring
from mmapio.kernels.rows.gathering import gather
from mmapio.kernels.rows.ring import Ring

gathering = importlib.import_module("mmapio.kernels.rows.gathering")
PAGE = _os.PAGE_SIZE
ROWS, WIDTH = 300, 2 * PAGE + 700


def there_are_rings() -> bool:
    try:
        os.close(_os.ring_setup(1).fd)
    except OSError:
        return False
    return True


RINGS = there_are_rings()
pytestmark = pytest.mark.skipif(not RINGS, reason="this system has no rings, or forbids them")


@pytest.fixture(autouse=True)
def cold_rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take all rows for missing, and see that nothing is left open."""
    monkeypatch.setattr(gathering, "_looks_cold", lambda rows, numbers: True)
    monkeypatch.setattr(cold, "_ability", cold._Ability())
    monkeypatch.setattr(cold, "_ENTRIES", 16)
    gather(np.zeros((3, 3)), [0])  # compiles, and imports
    before = descriptors()
    yield
    assert not ring._rings
    assert descriptors() == before


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "rows"
    np.random.default_rng(1).integers(0, 256, ROWS * WIDTH, "u1").tofile(path)
    return path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many rows each call has read from the file."""
    counts: list[int] = []
    read_rows = cold.read_rows

    def counting(*args: Any) -> NDArray[np.bool_]:
        found = read_rows(*args)
        counts.append(int(found.sum()))
        return found

    monkeypatch.setattr(gathering, "read_rows", counting)
    return counts


def numbers(size: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(-ROWS, ROWS, size)


def mapped(path: Path, mode: Any = "r") -> NDArray[Any]:
    return np.memmap(path, "u1", mode).reshape(ROWS, WIDTH)


def rows_of(path: Path) -> NDArray[np.uint8]:
    return np.fromfile(path, "u1").reshape(ROWS, WIDTH)


@pytest.mark.parametrize("size", [1, 15, 16, 17, 80])
@pytest.mark.parametrize(
    "turn",
    [
        lambda a: a,
        lambda a: a[::-1],
        lambda a: a[5::7],
        lambda a: a[:, 3 : PAGE + 400],
        lambda a: a.view(">i4").reshape(ROWS, 3, -1),
        lambda a: a[:, :1],
    ],
)
def test_rows_from_a_file(
    path: Path, read: list[int], size: int, turn: Callable[[Any], NDArray[Any]]
) -> None:
    a, expected = turn(mapped(path)), turn(rows_of(path))
    index = np.random.default_rng(size).integers(-len(a), len(a), size)
    np.testing.assert_array_equal(gather(a, index), expected[index])
    assert read == [size]


def test_arrays_of_mmapio_with_an_offset(path: Path, read: list[int]) -> None:
    a = mmapio.open(path, dtype="u2", shape=(-1, 2), offset=600)
    expected = np.fromfile(path, "u2", offset=600).reshape(a.shape)
    index = np.arange(len(a))[::-9001]
    np.testing.assert_array_equal(gather(a, index), expected[index])
    assert read == [index.size]


def test_changes_that_are_not_on_disk(path: Path, read: list[int]) -> None:
    """Those of a shared mapping are in the page cache; those of mode "c" nowhere else."""
    for mode, count in (("r+", ROWS), ("c", 0)):
        a = mapped(path, mode)
        a[7] = 99
        found = gather(a, np.arange(ROWS))
        np.testing.assert_array_equal(found, a)
        assert read.pop() == count


def test_memory_without_a_file(read: list[int], path: Path) -> None:
    a = np.arange(40.0).reshape(-1, 2)
    np.testing.assert_array_equal(gather(a, [3, 1]), a[[3, 1]])
    a = mapped(path)
    expected = a.copy()
    path.rename(path.with_suffix(".old"))
    np.testing.assert_array_equal(gather(a, [3, 1]), expected[[3, 1]])
    path.with_suffix(".old").unlink()
    path.write_bytes(bytes(ROWS * WIDTH))  # another file of that name
    np.testing.assert_array_equal(gather(a, [3, 1]), expected[[3, 1]])
    assert read == [0, 2, 0]


def test_many_rows_and_long_ones_are_read_ahead(
    path: Path, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, most in (("_MOST_ROWS", 9), ("_LONGEST_BYTES", WIDTH - 1)):
        with monkeypatch.context() as patch:
            patch.setattr(cold, name, most)
            index = numbers(10)
            np.testing.assert_array_equal(gather(mapped(path), index), rows_of(path)[index])
    assert read == [0, 0]


def test_many_rows_of_each_page_are_read_ahead(path: Path, read: list[int]) -> None:
    index = np.sort(numbers(ROWS * WIDTH // PAGE + 1))
    np.testing.assert_array_equal(gather(mapped(path), index), rows_of(path)[index])
    assert read == [0]


# What fails ---------------------------------------------------------------------------------------


def failing(
    monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException, calls: set[int]
) -> list[int]:
    """Let some of the calls of a system call raise, after it has done its work for `enter`."""
    function, made = getattr(_os, name), [0]

    def fail(*args: Any) -> Any:
        made[0] += 1
        if made[0] not in calls:
            return function(*args)
        if not isinstance(error, OSError):
            function(*args)
        raise type(error)(*error.args)  # not that one: it would keep the arrays

    monkeypatch.setattr(_os, name, fail)
    return made


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS, errno.EACCES])
def test_a_system_that_forbids_rings_is_asked_once(
    path: Path, read: list[int], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    made = failing(monkeypatch, "ring_setup", OSError(code, "no"), {*range(99)})
    for seed in range(3):
        index = numbers(50, seed)
        np.testing.assert_array_equal(gather(mapped(path), index), rows_of(path)[index])
    assert read == [0, 0, 0]
    assert made == [1]


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM])
def test_a_system_that_is_short_of_something_is_asked_again(
    path: Path, read: list[int], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    failing(monkeypatch, "ring_setup", OSError(code, "no"), {1})
    for _ in range(2):
        np.testing.assert_array_equal(gather(mapped(path), [3]), rows_of(path)[[3]])
    assert read == [0, 1]


@pytest.mark.parametrize("name", ["map_file", "ring_enter", "file_at"])
@pytest.mark.parametrize("call", range(1, 5))
@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EAGAIN, errno.EINTR])
def test_every_call_may_fail(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: int, code: int
) -> None:
    a, index = mapped(path), numbers(200)
    failing(monkeypatch, name, OSError(code, "no"), {call})
    np.testing.assert_array_equal(gather(a, index), rows_of(path)[index])


def test_a_file_that_was_cut_is_a_lost_mapping(path: Path) -> None:
    a = mmapio.open(path, dtype="u1", shape=(ROWS, WIDTH))
    os.truncate(path, 100 * WIDTH)
    expected = rows_of_cut(path)
    np.testing.assert_array_equal(gather(a, np.arange(100)), expected)
    with pytest.raises(MappingLostError):
        gather(a, np.arange(ROWS))
    a.close()


def rows_of_cut(path: Path) -> NDArray[np.uint8]:
    return np.fromfile(path, "u1").reshape(-1, WIDTH)


@pytest.mark.parametrize("calls", [{1}, {2}, {1, 2, 3}, {4, 5, 6, 7, 8}])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_nothing_is_under_way_when_an_error_leaves(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    calls: set[int],
) -> None:
    """Ctrl-C ends a wait for reads, and again the wait for those that are left."""
    out = np.zeros((200, WIDTH), "u1")
    if error is MemoryError:
        calls = {min(calls)}
    made = failing(monkeypatch, "ring_enter", error(), calls)
    with pytest.raises(error):
        gather(mapped(path), numbers(200), out)
    assert made[0] >= len(calls)
    assert not ring._rings  # so that nothing is written to `out` any more


def test_a_bar_that_raises(path: Path) -> None:
    def tell(done: int) -> None:
        raise ZeroDivisionError

    a, out = mapped(path), np.zeros((200, WIDTH), "u1")
    index = np.sort(numbers(200) % ROWS)
    rows = gathering._layout_of(a, "a"), gathering._layout_of(out, "out")
    with pytest.raises(ZeroDivisionError):
        cold.read_rows(rows[0], index, rows[1], np.arange(200), out, tell)


# Others -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [1, 2, 5])
def test_a_fork_in_the_middle(path: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """As by a signal handler: parent and child go on, and both have all rows."""
    enter, made, children = _os.ring_enter, [0], [-1]

    def fork(*args: Any) -> Any:
        made[0] += 1
        taken = enter(*args)
        if made[0] == call:
            children[0] = os.fork()
        return taken

    monkeypatch.setattr(_os, "ring_enter", fork)
    a, index, expected = mapped(path), numbers(200), rows_of(path)
    out = np.zeros((200, WIDTH), "u1")
    right = False
    try:
        gather(a, index, out, threads=1)
        right = bool((out == expected[index]).all()) and not ring._rings
    finally:
        if children[0] == 0:
            os._exit(0 if right else 1)
    assert right, "parent"
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0


def test_threads_have_rings_of_their_own(path: Path, read: list[int]) -> None:
    a, expected, wrong = mapped(path), rows_of(path), []

    def work(seed: int) -> None:
        for turn in range(20):
            index = numbers(100, 100 * seed + turn)
            wrong.extend(np.flatnonzero((gather(a, index) != expected[index]).any(axis=1)))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert read == [100] * 80


def test_a_ring_counts_around_the_largest_word(path: Path) -> None:
    """Words of 32 bits: as after 2**32 reads."""
    out = np.zeros(WIDTH, "u1")
    reads = Ring(4, out)
    fd = os.open(path, os.O_RDONLY)
    try:
        for _ in range(9):
            assert reads.prepare(fd, np.array([5]), np.array([out.ctypes.data]), WIDTH, 3) == 1
            reads.enter(1)
            tags, found = reads.completed()
            assert (tags.tolist(), found.tolist()) == ([3], [WIDTH])
    finally:
        os.close(fd)
        reads.close()
    reads.close()
    with pytest.raises(OSError, match="closed"):
        reads.enter(1)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_refused_rings_leave_no_descriptor(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = descriptors()
    failing(monkeypatch, "map_file", OSError(errno.ENOMEM, "no"), {2})
    with pytest.raises(OSError, match="no"):
        Ring(4, None)
    assert descriptors() == before
