"""`GrowableArray`: rows that are appended, committed, truncated, and read by others meanwhile."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import GrowableArray, _os
from mmapio.arrays.growing_header import GrowingHeader
from mmapio.errors import (
    ArgumentError,
    ArgumentTypeError,
    ClosedError,
    ExistingFileError,
    FileError,
    FlushError,
    FormatError,
    InUseError,
    LockedError,
    MappingLostError,
    MissingFileError,
    OutOfBoundsError,
    ReadOnlyError,
    ReplacedError,
)
from mmapio.files.header_seal import is_whole

pytestmark = pytest.mark.skipif(
    not _os.CAN_MAP_PAST_END, reason="this platform cannot grow a file while it is mapped"
)
PAGE = _os.PAGE_SIZE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "grown.npy"


def new(path: Path, dtype: Any = "f8", row_shape: Any = (), **options: Any) -> GrowableArray:
    return GrowableArray.open(path, "x+", dtype=dtype, row_shape=row_shape, **options)


# Growing --------------------------------------------------------------------------------------

ROWS = {
    "items": ("i8", ()),
    "rows": ("f8", (64,)),
    "matrices": (">f4", (3, 5)),
    "one byte": ("u1", ()),
    "odd": ("S7", (3,)),
    "structured": ([("t", "<f8"), ("n", "i2", (3,))], ()),
    "aligned": (np.dtype([("a", "u1"), ("b", "f8")], align=True), (2,)),
    "dates": ("M8[ns]", (2,)),
    "text": ("U3", ()),
    "bools": ("?", (9,)),
    "complex": ("c16", (1,)),
    "subarray": ("(2,3)f4", (2,)),
}


@pytest.mark.parametrize("kind", ROWS)
def test_numpy_reads_what_was_appended(path: Path, kind: str) -> None:
    dtype, shape = ROWS[kind]
    g = new(path, dtype, shape)
    assert np.load(path).shape == g.shape == (0, *shape, *np.dtype(dtype).shape)
    size = g.dtype.itemsize * int(np.prod(g.row_shape))
    bits = np.random.default_rng(1).integers(0, 2, 20 * size, "u1")
    rows = np.frombuffer(bits, g.dtype).reshape(20, *g.row_shape)
    g.append(rows[0])
    g.extend(rows[1:7])
    g.extend(rows[:0])
    g.append(np.array(rows[7], order="F"))
    g.extend(rows[::-1][:12][::-1])
    g.commit()
    loaded = np.load(path)
    assert loaded.dtype == g.dtype
    assert (loaded == rows).all()
    assert (g.array == rows).all()
    assert np.load(path, mmap_mode="r").shape == mmapio.open(path).shape == g.shape


def test_what_is_not_an_array_is_taken_too(path: Path) -> None:
    g = new(path, "i4", 2)
    g.append([1, 2])
    g.append(np.array([3, 4], ">i2"))
    g.extend([(5, 6), (7, 8)])
    g.extend(np.arange(8, dtype="i8").reshape(2, 4)[:, ::2])
    g.extend(g)
    assert g.array.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [0, 2], [4, 6]] * 2
    assert [row.tolist() for row in g][:1] == [[1, 2]]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ([1], ArgumentError),
        ([[1, 2]], ArgumentError),
        (["a", "b"], ArgumentTypeError),
        (np.array([1.5, 2]), ArgumentTypeError),
        ([300, 1], ArgumentError),
        ([None, 1], ArgumentTypeError),
    ],
)
def test_a_wrong_row_is_refused_and_nothing_appended(
    path: Path, value: Any, kind: type[Exception]
) -> None:
    g = new(path, "i1", 2)
    with pytest.raises(kind):
        g.append(value)
    with pytest.raises(kind):
        g.extend([[1, 2], value])
    for rows in (5, [1, 2], [[1], [2]]):
        with pytest.raises(ArgumentError, match=r"rows have shape \(n, 2\)"):
            g.extend(rows)
    assert len(g) == 0
    assert os.path.getsize(path) == len(path.read_bytes())


def test_views_stay_valid_while_it_grows(path: Path) -> None:
    g = new(path, "i8", capacity=64 * PAGE)
    g.append(0)
    first = g.array
    address = first.ctypes.data
    for block in range(1, 50):
        g.extend(np.full(PAGE // 8, block))
        assert g[-1] == block
    assert g.array.ctypes.data == address
    first[0] = 7
    g.extend(np.full(64 * PAGE, 50))  # past the capacity: to another place
    assert g.array.ctypes.data != address
    assert (g[0], first[0]) == (7, 7)
    first[0] = 8
    assert (g[0], type(first), g.array.flags.writeable) == (8, np.ndarray, True)


def test_a_hundred_million_rows(path: Path) -> None:
    g = new(path, "u1")
    block = np.arange(10**7, dtype="u4").astype("u1")
    for _ in range(10):
        g.extend(block)
        g.commit(durable=False)
    g.append(9)
    g.commit()
    assert (len(g), g[-1], g[99_999_999]) == (10**8 + 1, 9, block[-1])
    assert np.load(path, mmap_mode="r").shape == (10**8 + 1,)


def test_without_address_space_it_makes_do_with_less(
    path: Path, run_python: Callable[..., str]
) -> None:
    code = """
import resource, sys, mmapio
now = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 30),) * 2)
g = mmapio.GrowableArray.open(sys.argv[1], "x+", dtype="u1")
g.extend(b"abc" and [97, 98, 99])
print(bytes(g.array))
"""
    if sys.platform != "linux":
        pytest.skip("only Linux tells in /proc how much address space is used")
    assert run_python(code, str(path)) == "b'abc'\n"


# Commits --------------------------------------------------------------------------------------


def test_others_see_what_is_committed(path: Path) -> None:
    g = new(path, "i8")
    reader = GrowableArray.open(path)
    g.extend([1, 2, 3])
    assert (len(g), g.committed, reader.refresh(), len(np.load(path))) == (3, 0, 0, 0)
    g.commit(durable=False)
    seen = reader.array
    assert (g.committed, len(seen), reader.refresh(), reader.committed) == (3, 0, 3, 3)
    assert reader.array.tolist() == np.load(path).tolist() == [1, 2, 3]
    assert not reader.array.flags.writeable
    assert g.refresh() == 3


@pytest.mark.parametrize("recover", [None, "rows"])
def test_a_tail_without_a_commit_is_dropped_or_kept(path: Path, recover: Any) -> None:
    g = new(path, "i4", 2)
    g.extend([[1, 2], [3, 4]])
    g.commit()
    g.append([5, 6])
    g.close(commit=False)
    with open(path, "ab") as file:
        file.write(b"half")
    assert np.load(path).tolist() == [[1, 2], [3, 4]]
    g = GrowableArray.open(path, "r+", recover=recover)
    kept = [[1, 2], [3, 4]] + [[5, 6]] * (recover == "rows")
    assert (g.array.tolist(), g.committed) == (kept, 2)
    assert os.path.getsize(path) == 128 + 8 * len(kept)
    g.close()
    assert np.load(path).tolist() == kept


def test_the_end_of_a_block_commits_unless_it_failed(path: Path) -> None:
    with new(path, "i8") as g:
        g.append(1)
        view = g.array
    assert (g.closed, view.tolist(), np.load(path).tolist()) == (True, [1], [1])
    with pytest.raises(ArgumentTypeError), GrowableArray.open(path, "a+") as g:
        g.extend([2, "x"])
    assert np.load(path).tolist() == [1]
    with GrowableArray.open(path, "a+") as g:
        assert len(g) == 1


def test_truncate_is_for_good(path: Path) -> None:
    g = new(path, "i8")
    g.extend(range(10_000))
    g.commit()
    reader = GrowableArray.open(path)
    view = g[9_000:]
    with pytest.raises(InUseError):
        g.truncate(10)
    assert (len(g), g.committed, len(np.load(path))) == (10_000, 10_000, 10_000)
    g.truncate(10, force=True)
    assert view.sum() == 0
    del view
    assert np.load(path).tolist() == list(range(10))
    assert (reader.refresh(), reader[-1], os.path.getsize(path)) == (10, 9, 128 + 80)
    g.append(-1)
    g.extend(np.full(10_000, 5))
    assert g[10:].sum() == 49_999
    g.truncate(11)
    assert (g.committed, g[-1]) == (10, -1)
    g.truncate(0)
    assert (len(g), len(np.load(path))) == (0, 0)
    with pytest.raises(OutOfBoundsError, match="there are 0 rows, fewer than 1"):
        g.truncate(1)


def test_nothing_is_written_to_what_is_read_or_closed(path: Path) -> None:
    g = new(path, "i8")
    reader = GrowableArray.open(path)
    writes: list[Callable[[GrowableArray], Any]] = [
        lambda g: g.append(1),
        lambda g: g.extend([1]),
        lambda g: g.commit(),
        lambda g: g.truncate(0),
    ]
    for write in writes:
        with pytest.raises(ReadOnlyError):
            write(reader)
    for each in (g, reader):
        each.close()
        each.close()
        for use in [*writes, lambda g: g.array, lambda g: g[:], lambda g: g.__enter__()]:
            with pytest.raises(ClosedError):
                use(each)
    with pytest.raises(ClosedError):
        reader.refresh()
    assert "closed" in repr(g)


def test_close_is_strict_and_commits_first(path: Path) -> None:
    g = new(path, "i8")
    g.append(1)
    view = g.array
    with pytest.raises(InUseError):
        g.close()
    g.append(2)
    g.close(force=True)
    assert (view.tolist(), np.load(path).tolist()) == ([0], [1, 2])


# Files ----------------------------------------------------------------------------------------


def test_a_file_of_numpy_grows_in_place(path: Path) -> None:
    np.save(path, np.arange(6).reshape(3, 2))
    inode = path.stat().st_ino
    with GrowableArray.open(path, "r+") as g:
        assert (g.row_shape, g.dtype) == ((2,), np.dtype("i8"))
        g.append([6, 7])
    assert path.stat().st_ino == inode
    assert np.load(path).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_a_header_without_room_is_moved_once(path: Path) -> None:
    data = np.arange(3000, dtype="<i8")
    text = b"{'descr': '<i8', 'fortran_order': False, 'shape': (3000,), }\n"  # as once was usual
    path.write_bytes(b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + data.tobytes())
    os.chmod(path, 0o640)
    reader = GrowableArray.open(path)
    with GrowableArray.open(path, "r+") as g:
        inode = path.stat().st_ino
        g.append(-1)
        with pytest.raises(LockedError):
            GrowableArray.open(path, "r+")
    with pytest.raises(ReplacedError):
        reader.refresh()
    assert reader[-1] == 2999
    assert np.load(path).tolist() == [*range(3000), -1]
    assert path.stat().st_mode & 0o777 == 0o640
    with GrowableArray.open(path, "r+") as g:
        g.append(-2)
    assert path.stat().st_ino == inode


def test_what_cannot_grow_is_refused(path: Path, tmp_path: Path) -> None:
    for array, why in [
        (np.float64(1), "a single item"),
        (np.ones((3, 4), order="F"), "Fortran order"),
        (np.ones((3, 0)), "of no bytes"),
    ]:
        np.save(path, array)
        for mode in ("r", "r+"):
            with pytest.raises(FormatError, match=why):
                GrowableArray.open(path, mode)
    np.save(path, np.ones((3, 4)))
    for mode in ("r", "r+"):
        with pytest.raises(FormatError, match="has dtype float64, not float32"):
            GrowableArray.open(path, mode, dtype="f4")
        with pytest.raises(FormatError, match=r"has rows of shape \(4,\), not \(5,\)"):
            GrowableArray.open(path, mode, row_shape=5)
        assert len(GrowableArray.open(path, mode, dtype="f8", row_shape=4)) == 3
    path.write_bytes(b"no array, but long enough to look like one")
    for mode in ("r", "r+", "a+"):
        with pytest.raises(FormatError, match=r"not a \.npy file"):
            GrowableArray.open(path, mode)
    with pytest.raises(MissingFileError):
        GrowableArray.open(tmp_path / "none")
    with pytest.raises(MissingFileError):
        GrowableArray.open(tmp_path / "none", "a+")
    with pytest.raises(ExistingFileError):
        new(path)
    for wrong in (
        {"mode": "c"},
        {"recover": "all", "mode": "r+"},
        {"mode": "w+"},
        {"mode": "w+", "dtype": "f8", "row_shape": 0},
        {"mode": "w+", "dtype": "f8", "row_shape": -1},
        {"mode": "w+", "dtype": "O"},
        {"capacity": "1 furlong"},
    ):
        with pytest.raises(ArgumentError):
            GrowableArray.open(path, **wrong)  # type: ignore[arg-type]


def test_a_file_that_lost_rows_is_told(path: Path) -> None:
    np.save(path, np.arange(10))
    os.truncate(path, 128 + 8 * 4 + 3)
    for mode in ("r", "r+"):
        with pytest.raises(FormatError, match="is truncated: its header tells of 10 rows"):
            GrowableArray.open(path, mode)
    with GrowableArray.open(path, "r+", recover="rows") as g:
        assert g.array.tolist() == [0, 1, 2, 3]
    assert np.load(path).tolist() == [0, 1, 2, 3]


def test_replacing_keeps_readers_whole_and_spares_writers(path: Path) -> None:
    g = new(path, "i8")
    g.append(1)
    g.commit()
    with pytest.raises(LockedError):
        GrowableArray.open(path, "w+", dtype="i8")
    g.close()
    reader = GrowableArray.open(path)
    GrowableArray.open(path, "w+", dtype="f4").close()
    assert reader[0] == 1
    with pytest.raises(ReplacedError):
        reader.refresh()


def test_it_is_sent_to_another_process_as_a_reader(path: Path) -> None:
    g = new(path, "i8")
    g.append(1)
    g.commit()
    sent = pickle.dumps(g)
    assert len(sent) < 500
    assert pickle.loads(sent).array.tolist() == [1]


# The header -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ROWS)
def test_a_header_is_numpys_and_knows_when_it_is_torn(kind: str) -> None:
    dtype, shape = np.dtype(ROWS[kind][0]).base, ROWS[kind][1]
    header = GrowingHeader(dtype, shape)
    generator = np.random.default_rng(1)
    counts = [0, 9, 10, 99, 100, 12345, 10**8, 2**40, 2**63 - 1]
    missed = torn = 0
    for before in counts:
        one = np.frombuffer(header.encode(before), "u1")
        assert is_whole(bytes(one))
        for after in counts:
            two = np.frombuffer(header.encode(after), "u1")
            for _ in range(10):
                mixed = bytes(np.where(generator.integers(0, 2, len(one)), one, two))
                if mixed not in (bytes(one), bytes(two)):
                    torn += 1
                    missed += is_whole(mixed)
    assert torn > 500
    assert missed / torn < 0.01


def test_what_changes_lies_in_one_sector() -> None:
    for fields in range(1, 40):
        dtype = np.dtype([(f"a field of the number {n}", "f8") for n in range(fields)])
        header = GrowingHeader(dtype, (3, 4))
        one, two = (np.frombuffer(header.encode(n), "u1") for n in (0, 2**63 - 1))
        assert len(one) == len(two) == header.length
        assert len(set(np.flatnonzero(one != two) // 512)) == 1
        assert one[-1] == ord("\n")


# Full disks, failed syncs -----------------------------------------------------------------------


def limited(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Let the file system have room for so many bytes more."""
    real, left = _os.write_next, [room]

    def write_next(fd: int, data: Any) -> int:
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = memoryview(np.asarray(data).reshape(-1).view("u1"))[: left[0]]
        left[0] -= len(part)
        return real(fd, part)

    monkeypatch.setattr(_os, "write_next", write_next)


@pytest.mark.parametrize("room", [0, 1, 15, 16, 500])
def test_a_full_disk_takes_nothing_away(
    path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    g = new(path, "i8", 2)
    g.extend(np.arange(10).reshape(5, 2))
    g.commit()
    view, size = g.array, os.path.getsize(path)
    limited(monkeypatch, room)
    with pytest.raises(FileError, match="nothing was appended; the first 5 rows") as caught:
        g.extend(np.ones((100, 2), "i8"))
    assert (caught.value.errno, os.path.getsize(path), len(g)) == (errno.ENOSPC, size, 5)
    monkeypatch.undo()
    g.append([10, 11])
    g.commit()
    assert view.tolist() == np.load(path)[:5].tolist() == np.arange(10).reshape(5, 2).tolist()
    assert np.load(path)[5].tolist() == [10, 11]


def test_a_real_full_disk_takes_nothing_away(tmp_path: Path) -> None:
    where = tmp_path / "small"
    where.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(where)]
    if sys.platform != "linux" or subprocess.run(mounting, capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        g = new(where / "log.npy", "u1", 1000)
        g.extend(np.full((900, 1000), 7, "u1"))
        g.commit()
        with pytest.raises(FileError) as caught:
            g.extend(np.ones((1000, 1000), "u1"))
        assert (caught.value.errno, len(g), (g.array == 7).all()) == (errno.ENOSPC, 900, True)
        g.extend(np.full((10, 1000), 7, "u1"))
        g.close()
        assert np.load(where / "log.npy").sum() == 910 * 7000
    finally:
        subprocess.run(["umount", str(where)], check=True)


@pytest.mark.parametrize("turn", [1, 2])
def test_a_failed_sync_is_never_ok_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    g = new(path, "i8")
    g.append(1)
    g.commit()
    g.append(2)
    real, calls = _os.sync_data, []

    def sync_data(fd: int) -> None:
        calls.append(fd)
        if len(calls) == turn:
            raise OSError(errno.EIO, "Input/output error")
        real(fd)

    monkeypatch.setattr(_os, "sync_data", sync_data)
    with pytest.raises(FlushError) as first:
        g.commit()
    monkeypatch.undo()
    for _ in range(3):
        with pytest.raises(FlushError) as later:
            g.commit()
        assert str(later.value) == str(first.value)
    with pytest.raises(FlushError):
        g.close()
    assert g.closed
    with GrowableArray.open(path, "r+") as again:
        assert again[0] == 1


# Writers and readers --------------------------------------------------------------------------

HOLD = """
import sys, mmapio
g = mmapio.GrowableArray.open(sys.argv[1], "a+", dtype="i8")
g.append(len(g))
g.commit(durable=False)
print("held", flush=True)
sys.stdin.read()
"""


def hold(path: Path) -> subprocess.Popen[str]:
    """Return a process that has the file open to write."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        env=os.environ | {"PYTHONPATH": str(Path(mmapio.__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_one_writes_at_a_time_and_is_named(path: Path) -> None:
    with hold(path) as holder:
        try:
            with pytest.raises(LockedError, match="is writing to it") as caught:
                GrowableArray.open(path, "r+")
            assert isinstance(caught.value, BlockingIOError)
            if sys.platform == "linux":
                assert caught.value.pid == holder.pid
            assert GrowableArray.open(path).array.tolist() == [0]
        finally:
            holder.kill()
    g = GrowableArray.open(path, "r+")
    with pytest.raises(LockedError):  # and not twice in one process either
        GrowableArray.open(path, "r+")
    del g
    gc.collect()
    GrowableArray.open(path, "r+").close()


TAKE_OVER = """
import os, signal, sys, time, mmapio
path, rounds = sys.argv[1], int(sys.argv[2])
mmapio.GrowableArray  # imported before it forks
for number in range(rounds):
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        g = mmapio.GrowableArray.open(path, "a+", dtype="i8")
        g.append(number)
        g.commit(durable=False)
        g.append(-1)
        os.write(tell, b"x")
        signal.pause()
    os.read(told, 1)
    try:
        mmapio.GrowableArray.open(path, "r+")
        raise SystemExit("two writers")
    except mmapio.LockedError as error:
        assert error.pid == child, error
    os.kill(child, signal.SIGKILL)
    while True:
        try:
            g = mmapio.GrowableArray.open(path, "r+")
            break
        except mmapio.LockedError:
            time.sleep(0.0005)
    os.waitpid(child, 0)
    assert len(g) == number + 1 and g[-1] == number, g.array
    del g
    os.close(told), os.close(tell)
print(True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux names who holds a lock")
def test_the_lock_dies_with_its_process(
    path: Path, run_python: Callable[..., str], scale: float
) -> None:
    assert run_python(TAKE_OVER, str(path), str(int(200 * scale))) == "True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_forked_child_neither_writes_nor_holds_the_lock(
    path: Path, run_python: Callable[..., str]
) -> None:
    code = """
import os, sys, time, mmapio
g = mmapio.GrowableArray.open(sys.argv[1], "x+", dtype="i8")
g.append(1)
g.commit()
told, tell = os.pipe()
child = os.fork()
if child == 0:
    refused = 0
    for write in (lambda: g.append(2), g.commit, lambda: g.truncate(0)):
        try:
            write()
        except mmapio.ReadOnlyError:
            refused += 1
    if g[0] == 1:
        os.write(tell, str(refused).encode())
    time.sleep(30)
print(os.read(told, 9))
g.append(2)
g.close()
mmapio.GrowableArray.open(sys.argv[1], "r+").close()  # though the child lives
os.kill(child, 9)
"""
    assert run_python(code, str(path)) == "b'3'\n"


def test_threads_append_one_after_the_other(path: Path) -> None:
    g = new(path, "i8", 3)

    def append(number: int) -> None:
        for _ in range(300):
            g.append(np.full(3, number))
            if number == 0:
                g.commit(durable=False)

    threads = [threading.Thread(target=append, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    is_over = False
    while not is_over:
        is_over = not any(thread.is_alive() for thread in threads)
        seen = g.array
        assert (seen == seen[:, :1]).all()
    for thread in threads:
        thread.join()
    del seen
    g.close()
    found = np.load(path)
    assert np.bincount(found[:, 0]).tolist() == [300] * 4
    assert (found == found[:, :1]).all()


READ = """
import sys, time, numpy as np, mmapio
g = mmapio.GrowableArray.open(sys.argv[1])
wanted, seen, looks, rows = int(sys.argv[2]), 0, 0, 0
while seen < wanted:
    count = g.refresh()
    looks += 1
    if looks == 1:
        print("reading", flush=True)
    assert count >= seen and count % 3 == 0, (count, seen)
    new = g[max(0, seen - 300):count]
    rows += len(new)
    # Each row is its number and what follows from that, so that nothing can be half of it.
    first = max(0, seen - 300)
    assert (new[:, 0] == np.arange(first, count)).all(), "torn"
    assert (new[:, 1:] == new[:, :1] * np.array([3, 5, 7], "u8")).all(), "torn"
    seen = count
print(looks, rows)
"""


def test_readers_never_see_half_an_append(path: Path, scale: float) -> None:
    wanted = int(60_000 * scale) // 3 * 3
    g = new(path, "u8", 4)
    g.commit()
    environment = os.environ | {"PYTHONPATH": str(Path(mmapio.__file__).parents[1])}
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READ, str(path), str(wanted)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    try:
        factors = np.array([1, 3, 5, 7], "u8")
        numbers = np.arange(wanted, dtype="u8")[:, np.newaxis] * factors
        for at in range(0, wanted, 3):
            g.append(numbers[at])
            g.extend(numbers[at + 1 : at + 3])
            g.commit(durable=False)
            if at == wanted // 6 * 3:
                for reader in readers:
                    assert reader.stdout is not None
                    assert reader.stdout.readline() == "reading\n"
        for reader in readers:
            printed, _ = reader.communicate(timeout=60)
            assert reader.returncode == 0
            looks, rows = map(int, printed.split())
            assert looks > 2
            assert rows >= wanted
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()


# Waiting, and what comes between ----------------------------------------------------------------

WAIT = """
import sys, mmapio
reader = mmapio.GrowableArray.open(sys.argv[1])
print(len(reader), flush=True)
while len(reader) < 7:
    rows = reader.wait(timeout=60)
    print(rows, len(reader.array), reader.array.sum(), flush=True)
print(reader.wait(99, timeout=60), flush=True)
try:
    reader.wait()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.fixture
def waiter(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Return a process that waits for rows, and prints what it sees."""
    environment = os.environ | {"PYTHONPATH": str(Path(mmapio.__file__).parents[1])}
    new(path, "i8").close()
    command = [sys.executable, "-c", WAIT, str(path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no Ctrl-C to one process")
def test_another_process_waits_for_rows(path: Path, waiter: subprocess.Popen[str]) -> None:
    assert waiter.stdout is not None
    assert waiter.stdout.readline() == "0\n"
    with GrowableArray.open(path, "r+") as g:
        for count in range(1, 8):
            g.append(1)
            g.commit(durable=False)
            assert waiter.stdout.readline() == f"{count} {count} {count}\n"
        g.truncate(3)
        assert waiter.stdout.readline() == "3\n"
        waiter.send_signal(signal.SIGINT)
        assert waiter.stdout.readline() in ("interrupted\n", "")  # before the last wait
    waiter.wait(60)


def test_waiting_returns_what_there_is_when_the_time_is_out(path: Path) -> None:
    g = new(path, "i8")
    reader = GrowableArray.open(path)
    assert (reader.wait(timeout=0), reader.wait(5, timeout=0.01), g.wait(timeout=0)) == (0, 0, 0)
    g.extend(range(5))
    g.commit()
    assert reader.wait(7, timeout=0.01) == len(reader.array) == 5
    assert (reader.wait(4), reader.wait(0)) == (5, 5)
    g.truncate(2)
    assert reader.wait() == len(reader.array) == 2
    for wrong, error in ((-1, ArgumentError), ("1", ArgumentTypeError)):
        with pytest.raises(error):
            reader.wait(wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="timeout must be a number of seconds"):
        reader.wait(timeout="1")  # type: ignore[arg-type]
    timer = threading.Timer(0.02, g.append, [7])
    timer.start()
    assert g.wait() == 3
    timer.join()


def close(g: GrowableArray, path: Path) -> None:
    g.close(force=True)


def replace(g: GrowableArray, path: Path) -> None:
    np.save(path.with_name("other.npy"), np.arange(3))
    path.with_name("other.npy").replace(path)


def cut_off(g: GrowableArray, path: Path) -> None:
    os.truncate(path, 100)


ENDS: list[tuple[Callable[[GrowableArray, Path], None], type[Exception]]] = [
    (close, ClosedError),
    (replace, ReplacedError),
    (cut_off, MappingLostError),
]


@pytest.mark.parametrize(("end", "error"), ENDS)
def test_who_waits_is_told_that_no_rows_will_come(
    path: Path, end: Callable[[GrowableArray, Path], None], error: type[Exception]
) -> None:
    with new(path, "i8") as g:
        g.extend(range(1000))
    reader, raised = GrowableArray.open(path), []

    def wait() -> None:
        try:
            reader.wait()
        except Exception as problem:
            raised.append(problem)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    end(reader, path)
    thread.join(30)
    assert [type(problem) for problem in raised] == [error]


@pytest.mark.parametrize(("end", "error"), ENDS)
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_check_and_the_end_of_a_block_find_what_happened(
    path: Path, mode: str, end: Callable[[GrowableArray, Path], None], error: type[Exception]
) -> None:
    with new(path, "i8") as g:
        g.extend(range(10_000))
    g = GrowableArray.open(path, mode)
    g.check()
    assert g.recover() == 0
    guard = g.guard()
    guard.__enter__()
    end(g, path)
    for use in (g.check, lambda: guard.__exit__(None, None, None)):
        with pytest.raises(error):
            use()
    with pytest.raises(error) as caught:
        guard.__exit__(IndexError, IndexError(), None)
    assert error is not MappingLostError or caught.value.__cause__ is not None
    g.close(commit=False, force=True) if error is ClosedError else None


def test_rows_that_come_again_are_recovered(path: Path) -> None:
    with new(path, "i8") as g:
        g.extend(range(10_000))
    saved = path.read_bytes()
    reader = GrowableArray.open(path)
    rows = reader.array
    os.truncate(path, 0)
    if reader.mapping.guarded:
        assert rows.sum() == 0
        with pytest.raises(MappingLostError):
            reader.check()
    with open(path, "r+b") as file:
        file.write(saved)
    assert reader.recover() == (len(saved) + -len(saved) % PAGE) * reader.mapping.guarded
    reader.check()
    assert rows.sum() == sum(range(10_000))


def test_a_closed_one_does_nothing_any_more(path: Path) -> None:
    g = new(path, "i8")
    assert g.mapping.path == str(path)
    g.close()
    for use in (g.check, g.guard, g.recover, g.wait, g.__enter__, lambda: pickle.dumps(g)):
        with pytest.raises(ClosedError, match="is closed"):
            use()
