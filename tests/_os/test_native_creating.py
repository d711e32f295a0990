"""Native making of files does what the composed way does: results, errors, effects."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmapio
from mmapio import _os, guard
from mmapio._os import MAPPED, _native
from mmapio._os._composed import map_new as step_by_step
from mmapio._os._posix import unmap
from mmapio.mapping.opening import map_path
from mmapio.mapping.options import MapOptions

pytestmark = pytest.mark.skipif(
    not _native.is_made_for_here(), reason="there are no native functions for this platform"
)

PAGE = _os.PAGE_SIZE
SIZE = 2 * PAGE + 100
Function = Callable[..., Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder / "new.bin"


def one_by_one(*args: Any) -> bytes | None:
    """Stand for the composed function: for that itself, tests are given the native one back."""
    return step_by_step(*args)


@pytest.fixture(params=["native", "composed"])
def either_way(
    request: pytest.FixtureRequest, native: dict[str, Function], monkeypatch: pytest.MonkeyPatch
) -> str:
    """Make files in one call, or step by step."""
    if request.param == "composed":
        monkeypatch.setattr(_os, "map_new", one_by_one)
    else:
        assert _os.map_new(b"/", 0, b"", b"/", 0, 0, [None]) is None  # so that it takes its place
    return str(request.param)


def arguments(path: Path, size: int = SIZE, prefix: bytes = b"head") -> tuple[Any, ...]:
    return os.fsencode(path.parent) + b"/", size, prefix, os.fsencode(path), 0, 0


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def is_mapped(address: int) -> bool:
    return f"{address:x}-" in Path("/proc/self/maps").read_text()


# The call -----------------------------------------------------------------------------------------


def test_a_file_is_made_and_mapped(native: dict[str, Function], path: Path) -> None:
    made = native["map_new"](*arguments(path), [None])
    address, length, fd, known, on_top, *facts = MAPPED.unpack(made)
    assert os.listdir(path.parent) == []
    assert (length, known, on_top) == (3 * PAGE, 0, 0)
    assert _os.FileFacts(*facts) == _os.identify(fd)
    assert os.fstat(fd).st_blocks * 512 >= SIZE
    assert not os.get_inheritable(fd)
    assert os.pread(fd, 2 * SIZE, 0) == b"head" + bytes(SIZE - 4)
    assert is_mapped(address)
    _os.publish_nameless(fd, str(path))
    assert path.stat().st_ino == facts[1]
    os.close(fd)
    unmap(address, length)


def test_what_cannot_be_made_is_left_to_others(native: dict[str, Function], path: Path) -> None:
    left_open = descriptors()
    (path.parent / "file").write_bytes(b"")
    cases = {
        "no folder": arguments(path.parent / "missing" / "x"),
        "no directory": arguments(path.parent / "file" / "x"),
        "no such files": arguments(Path("/proc/x")),
        "empty": arguments(path, 0),
        "negative": arguments(path, -1),
        "too large": arguments(path, 2**61),
        "larger than any": arguments(path, 2**63 - 1),
        "longer prefix": arguments(path, 3),
    }
    for name, each in cases.items():
        assert native["map_new"](*each, [None]) is step_by_step(*each, [None]) is None, name
    assert (descriptors(), os.listdir(path.parent)) == (left_open, ["file"])


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        (b"/", 1, b"", b"", 0, 0),
        ("/", 1, b"", b"", 0, 0, [None]),
        (b"/", None, b"", b"", 0, 0, [None]),
        (b"/", 1, None, b"", 0, 0, [None]),
        (b"/", 1, b"", "/", 0, 0, [None]),
        (b"/", 1, b"", b"", 0.5, 0, [None]),
        (b"/", 1, b"", b"", 0, 0, (None,)),
        (b"/", 1, b"", b"", 0, 0, []),
    ],
)
def test_wrong_arguments_are_type_errors(
    native: dict[str, Function], wrong: tuple[object, ...]
) -> None:
    with pytest.raises(TypeError):
        native["map_new"](*wrong)


def test_nothing_is_leaked(native: dict[str, Function], path: Path) -> None:
    each, none = arguments(path), arguments(path.parent / "missing" / "x")
    things, left_open = [None, *each[2:4], none[0]], descriptors()
    held = [None]
    before = [sys.getrefcount(thing) for thing in things]
    for _ in range(500):
        address, length, fd, *_ = MAPPED.unpack(native["map_new"](*each, held))
        unmap(address, length)
        os.close(fd)
        assert native["map_new"](*none, held) is None
    after = [sys.getrefcount(thing) for thing in things]
    assert max(b - a for a, b in zip(before, after, strict=True)) < 100
    assert descriptors() == left_open


# What is made of it -------------------------------------------------------------------------------


def made(path: Path, kind: str, guarded: bool) -> tuple[Any, ...]:
    """Return all that an array in a new file is known by, but where it lies."""
    if kind == "w+":
        a = mmapio.open(path, "w+", dtype="<i4", shape=(5, 7), guard=guarded)
    else:
        a = mmapio.create(path, (5, 7), "<i4", raw=kind == "raw", guard=guarded)
    m, region = a.mapping, a._region
    assert m is not None
    assert region is not None
    source, facts = region.source, path.stat()
    row = guard._table.handler.words[region.row * 16 :][:16].tolist() if region.row else []
    if row:  # by which the handler looks for the file
        assert ctypes.string_at(row[4]) == os.fsencode(path)
    a[:1] = 1
    a.flush()
    return (
        *(a.tolist(), a.dtype, a.shape, a.mode, a.offset, a.flags.writeable, path.read_bytes()),
        *(m.size, m.capacity, m.guarded, source.name_is_new, source.ends_in_data),
        *(
            facts.st_mode,
            facts.st_size,
            facts.st_blocks,
            source.facts is not None and source.facts.inode == facts.st_ino,
        ),
        *(region.end - region.start, region.reached, row[2:4], row[5:6], row[9:], row[:1]),
        *((row[6:8] == [facts.st_ino, row[7]]) if row else True,),
    )


@pytest.mark.parametrize("kind", ["raw", "npy", "w+"])
@pytest.mark.parametrize("guarded", [True, False])
def test_arrays_are_the_same_either_way(
    native: dict[str, Function],
    tmp_path: Path,
    kind: str,
    guarded: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _os.map_new(b"/", 0, b"", b"/", 0, 0, [None]) is None  # so that it takes its place
    calls: list[Any] = []

    def noted(*args: Any) -> Any:
        calls.append(args)
        return native["map_new"](*args)

    with monkeypatch.context() as patch:
        patch.setattr(_os, "map_new", noted)
        found = made(tmp_path / "one.npy", kind, guarded)
    assert len(calls) == 1
    with monkeypatch.context() as patch:
        patch.setattr(_os, "map_new", one_by_one)
        assert made(tmp_path / "two.npy", kind, guarded) == found


def test_a_name_that_is_taken_is_left_alone(either_way: str, path: Path) -> None:
    mmapio.create(path, 3, raw=True).close()  # which starts the guard, if it is the first
    path.write_bytes(b"there")
    gc.collect()
    free, left_open = len(guard._table.free), descriptors()
    with pytest.raises(mmapio.ExistingFileError, match="replace it with overwrite=True") as caught:
        mmapio.create(path, 4096, "u1", raw=True)
    assert (caught.value.errno, caught.value.filename) == (17, str(path))
    assert (path.read_bytes(), os.listdir(path.parent)) == (b"there", [path.name])
    assert (len(guard._table.free), descriptors()) == (free, left_open)


def test_a_missing_folder_is_an_error(either_way: str, path: Path) -> None:
    with pytest.raises(mmapio.MissingFileError, match="is there a directory") as caught:
        mmapio.create(path.parent / "no" / "a.npy", 3)
    assert caught.value.errno == 2


def test_a_file_that_comes_in_between_is_replaced(
    either_way: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    path.write_bytes(b"there")
    a = mmapio.open(path, "w+", dtype="u1", shape=100)
    a[:] = 7
    a.flush()
    assert path.read_bytes() == bytes([7]) * 100
    assert os.listdir(path.parent) == [path.name]


def test_what_fails_leaves_no_name(either_way: str, path: Path) -> None:
    def use(_: object) -> None:
        raise error

    options, left_open = MapOptions("x+", size=PAGE), descriptors()
    for error in (MemoryError("none"), KeyboardInterrupt(), TimeoutError("late")):
        with pytest.raises(mmapio.FileError if isinstance(error, OSError) else type(error)):
            map_path(path, options, use=use)
    assert (os.listdir(path.parent), descriptors()) == ([], left_open)


def test_the_umask_holds(either_way: str, path: Path) -> None:
    old = os.umask(0o027)
    try:
        mmapio.create(path, 3).close()
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o640


INTERRUPTED = """
import os, signal, sys
import mmapio
folder = sys.argv[1]
mmapio.create(folder + "/first", 4096, "u1", raw=True)
class Stop(Exception): pass
def stop(*_):
    raise Stop
signal.signal(signal.SIGALRM, stop)
sys.unraisablehook = lambda _: None  # it may come in a finalizer
stopped = 0
for i in range(600):
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-6 * (i % 150 + 1))
        for k in range(5):
            mmapio.create(f"{folder}/{i}.{k}", 4096, "u1", raw=True)[:] = 1
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Stop:
        stopped += 1
signal.signal(signal.SIGALRM, signal.SIG_IGN)
assert stopped
print({os.path.getsize(f"{folder}/{name}") for name in os.listdir(folder)})
"""


def test_an_interrupted_file_is_whole_or_not_there(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    assert run_python(INTERRUPTED, str(tmp_path)).split() == ["{4096}"]
