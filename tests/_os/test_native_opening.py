"""Native opening and unmapping do what the composed ways do: results, errors, effects."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import MappedFile, _os, guard
from mmapio._os import MAPPED, _native
from mmapio._os._composed import map_whole as step_by_step
from mmapio._os._posix import unmap
from mmapio.files.descriptors import TO_READ, TO_WRITE
from mmapio.modes import Access

pytestmark = pytest.mark.skipif(
    not _native.is_made_for_here(), reason="there are no native functions for this platform"
)

PAGE = _os.PAGE_SIZE
SIZE = 5 * PAGE + 100
Function = Callable[..., Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.bin"
    path.write_bytes(np.arange(SIZE, dtype="u1").tobytes())
    return path


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def mappings(path: Path) -> list[str]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [line.split()[1] for line in lines if line.endswith(str(path))]


# The calls ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("access", "permissions"),
    [(Access.READ, "r--s"), (Access.WRITE, "rw-s"), (Access.COPY, "rw-p")],
)
@pytest.mark.parametrize("head", [0, 6, 256])
def test_a_file_is_mapped_whole(
    native: dict[str, Function], path: Path, access: Access, permissions: str, head: int
) -> None:
    left_open = descriptors()
    flags = TO_WRITE if access is Access.WRITE else TO_READ
    found = native["map_whole"](os.fsencode(path), flags, int(access), 0, 0, 0, head, [None])
    address, length, fd, known, _, *facts = MAPPED.unpack_from(found)
    assert mappings(path) == [permissions]
    assert (length, fd, known, descriptors()) == (6 * PAGE, -1, head, left_open)
    assert _os.FileFacts(*facts) == _os.identify_path(str(path))
    assert found[MAPPED.size :] == path.read_bytes()[:head]
    native["unmap"](address, length)
    assert mappings(path) == []


def test_a_descriptor_is_kept_on_request(native: dict[str, Function], path: Path) -> None:
    found = native["map_whole"](os.fsencode(path), TO_READ, 0, 1, 0, 0, 0, [None])
    address, length, fd, *_ = MAPPED.unpack_from(found)
    assert os.path.samestat(os.fstat(fd), os.stat(path))
    assert not os.get_inheritable(fd)
    os.close(fd)
    unmap(address, length)


def test_a_head_is_as_long_as_its_file(native: dict[str, Function], path: Path) -> None:
    path.write_bytes(b"short")
    found = native["map_whole"](os.fsencode(path), TO_READ, 0, 0, 0, 0, 256, [None])
    address, length, _, known, *_ = MAPPED.unpack_from(found)
    assert found[MAPPED.size : MAPPED.size + known] == b"short"
    unmap(address, length)


@pytest.mark.skipif(guard.why_not() is not None, reason="there is no guard here")
def test_a_row_is_filled_as_the_guard_fills_it(native: dict[str, Function], path: Path) -> None:
    handler = guard._table.start()
    assert handler is not None
    m = MappedFile.open(path, offset=0, length=SIZE)  # step by step
    name = os.fsencode(path)
    row, at, function = guard.take_row(name)
    handler.words[row * 16 + 10] = 3  # of one that lay there before
    found = native["map_whole"](name, TO_READ, 0, 0, at, function, 0, [None])
    address, length, _, _, is_on_top, *_ = MAPPED.unpack_from(found)
    ours = handler.words[row * 16 : row * 16 + 16].tolist()
    theirs = handler.words[m._region.row * 16 : m._region.row * 16 + 16].tolist()
    assert is_on_top == 1
    assert (ours[0], ours[1]) == (length, address) != (theirs[0], theirs[1])
    assert ours[4] != theirs[4]  # the path is where the bytes object is
    assert ours[2:4] + ours[5:] == theirs[2:4] + theirs[5:]
    guard.forget(row)
    unmap(address, length)
    again = native["map_whole"](name, TO_READ, 0, 0, at, function + 1, 0, [None])
    address, length, _, _, is_on_top, *_ = MAPPED.unpack_from(again)
    assert is_on_top == 0
    handler.words[row * 16] = 0
    unmap(address, length)


def refused(folder: Path) -> dict[str, Path]:
    """Return paths of what is not mapped whole, and leaves nothing behind."""
    (folder / "empty").write_bytes(b"")
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "socket"))
    names = ("empty", "loop", "pipe", "socket", "missing", "a.bin/below")
    found = {name: folder / name for name in names}
    return found | {"folder": folder, "zero": Path("/dev/zero"), "proc": Path("/proc/self/maps")}


def test_what_is_no_file_with_bytes_is_left_to_others(
    native: dict[str, Function], path: Path
) -> None:
    left_open = descriptors()
    for name, each in refused(path.parent).items():
        arguments = os.fsencode(each), TO_READ, 0, 0, 0, 0, 256
        assert (
            native["map_whole"](*arguments, [None]) is step_by_step(*arguments, [None]) is None
        ), name
    path.chmod(0o444)
    assert (
        native["map_whole"](os.fsencode(path), os.O_RDONLY, 1, 0, 0, 0, 0, [None]) is None
    )  # EACCES
    assert native["map_whole"](os.fsencode(path), os.O_WRONLY, 0, 0, 0, 0, 9, [None]) is None
    assert (descriptors(), mappings(path)) == (left_open, [])


def test_errors_of_unmapping_are_the_same(native: dict[str, Function]) -> None:
    for address, length in ((1, PAGE), (PAGE, 0), (PAGE, -1), (2**62, PAGE)):
        errors = []
        for function in (unmap, native["unmap"]):
            try:
                errors.append(function(address, length))
            except OSError as error:
                errors.append((type(error), error.errno, error.strerror, error.filename))
        assert errors[0] == errors[1], (address, length)


WRONG = {
    "map_whole": [
        (),
        (b"p", 0, 0, 0, 0, 0, 0),
        ("p", 0, 0, 0, 0, 0, 0, [None]),
        (None, 0, 0, 0, 0, 0, 0, [None]),
        (b"p", "0", 0, 0, 0, 0, 0, [None]),
        (b"p", 0, 0, 0, 0, 0, 0.5, [None]),
        (b"p", 0, 0, 0, 0, 0, 0, None),
        (b"p", 0, 0, 0, 0, 0, 0, [None, None]),
    ],
    "unmap": [(), (1,), (1, 2, 3), ("1", 2), (1, None)],
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_type_errors(native: dict[str, Function], name: str) -> None:
    for args in WRONG[name]:
        with pytest.raises(TypeError):
            native[name](*args)


def test_nothing_is_leaked(native: dict[str, Function], path: Path) -> None:
    name, missing = os.fsencode(path), b"/missing"
    number, things = 2**40 + 4096, [None, name, missing]
    before = [sys.getrefcount(each) for each in (*things, number)]
    for _ in range(3_000):
        found = native["map_whole"](name, TO_READ, 0, 0, 0, 0, 256, [None])
        native["unmap"](*MAPPED.unpack_from(found)[:2])
        assert native["map_whole"](missing, TO_READ, 0, 0, 0, 0, 256, [None]) is None
        with pytest.raises(OSError, match="Invalid"):
            native["unmap"](number, -1)
    after = [sys.getrefcount(each) for each in (*things, number)]
    assert max(b - a for a, b in zip(before, after, strict=True)) < 100


def in_folder(folder: Path) -> list[str]:
    """Return what is mapped of the files of a folder, those without a name included."""
    return [
        line for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line
    ]


# Ctrl-C -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["map_whole", "map_new"])
def test_ctrl_c_as_a_call_returns_leaves_nothing(
    native: dict[str, Function], path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = path.with_name("new.bin")
    if name == "map_whole":
        open_one = lambda: MappedFile.open(path, "r+").close()  # noqa: E731
    else:
        open_one = lambda: MappedFile.open(new, "x+", size=SIZE).close()  # noqa: E731
    open_one()
    new.unlink(missing_ok=True)
    calls: list[int] = []

    def interrupted(*args: Any) -> None:
        native[name](*args)
        calls.append(1)
        raise KeyboardInterrupt

    free, left_open = len(guard._table.free), descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(_os, name, interrupted)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                open_one()
    assert len(calls) == 3
    assert descriptors() == left_open
    assert in_folder(path.parent) == []
    assert not new.exists()
    assert len(guard._table.free) >= free - 1
    assert not any(guard._table.handler.words[row * 16] for row in guard._table.free)


@pytest.mark.parametrize("mode", ["r", "r+", "x+"])
def test_ctrl_c_may_come_into_any_step(path: Path, mode: str) -> None:
    """It comes as each function of the package begins, but as descriptors and memory are closed."""
    _native.native_functions(compiles=True)
    target = path.with_name("new.bin") if mode == "x+" else path

    def open_one() -> None:
        MappedFile.open(target, mode, size=SIZE if mode == "x+" else None).close()

    def until(left: int) -> bool:
        """Raise in the call with a number; return False if there are not so many."""

        def trace(frame: Any, event: str, _: Any) -> None:
            nonlocal left
            code = frame.f_code
            if "mmapio/mapping" in code.co_filename or "mmapio/guard" in code.co_filename:
                if code.co_name == "close":
                    sys.settrace(None)
                left -= 1
                if left == 0:
                    sys.settrace(None)
                    raise KeyboardInterrupt

        sys.settrace(trace)
        try:
            open_one()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(None)
        return False

    open_one()
    left_open, count = descriptors(), 0
    if mode == "x+":
        target.unlink()
    while until(count + 1):
        count += 1
        assert descriptors() == left_open, count
        assert in_folder(path.parent) == [], count
        target.unlink() if mode == "x+" and target.exists() else None
    assert count > 5


# What is made of them -----------------------------------------------------------------------------


def told(a: mmapio.MappedArray) -> tuple[Any, ...]:
    """Return all that a mapping of a whole file is known by, but where it lies."""
    m, region = a.mapping, a._region
    assert m is not None
    assert region is not None
    source = region.source
    row = guard._table.handler.words[region.row * 16 :][:16].tolist() if region.row else []
    return (
        *(a.tolist(), a.dtype, a.shape, a.mode, a.filename, a.offset, a.flags.writeable),
        *(m.size, m.capacity, m.guarded, source.facts, source.identity, source.ends_in_data),
        *(region.end - region.start, region.reached, region.address - region.start),
        *(row[2:4], row[5:], row[:1], _os.is_resident(region.start)),
    )


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("kind", ["raw", "npy"])
def test_arrays_are_the_same_either_way(
    tmp_path: Path, mode: str, guarded: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _native.native_functions(compiles=True)
    path = tmp_path / kind
    items = np.arange(1, 2000, dtype="<i4")
    if kind == "raw":
        items.tofile(path)
    else:
        with open(path, "wb") as file:
            np.save(file, items)
    wanted: Any = {"dtype": "<i4"} if kind == "raw" else {}
    found = told(mmapio.open(path, mode, guard=guarded, **wanted))
    with monkeypatch.context() as patch:
        # Not that function itself, for which tests are given the native one back.
        patch.setattr(_os, "map_whole", lambda *args: step_by_step(*args))
        assert told(mmapio.open(path, mode, guard=guarded, **wanted)) == found
    assert found[0] == items.tolist()


def test_threads_open_files_at_once(path: Path) -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(300):
                with mmapio.open(path, dtype="u1") as a:
                    assert a[-1] == (SIZE - 1) % 256
        except BaseException as error:
            failed.append(error)

    left_open = descriptors()
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert (descriptors(), mappings(path)) == (left_open, [])


@pytest.mark.skipif(guard.why_not() is not None, reason="there is no guard here")
def test_a_file_that_cannot_be_mapped_gives_its_row_back(tmp_path: Path) -> None:
    mmapio.create(tmp_path / "some.npy", 3).close()
    free = len(guard._table.free)
    for _ in range(3):
        with pytest.raises(mmapio.DirectoryError):
            mmapio.open(tmp_path)
    assert len(guard._table.free) == free


INTERRUPTED = """
import os, signal, sys
import mmapio
path = sys.argv[1]
mmapio.open(path, "r+", dtype="u1")
class Stop(Exception): pass
def stop(*_):
    raise Stop
signal.signal(signal.SIGALRM, stop)
before = len(os.listdir("/proc/self/fd"))
sys.unraisablehook = lambda _: None  # it may come in a finalizer
stopped = 0
for i in range(2000):
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-6 * (i % 40 + 1))
        for _ in range(20):
            mmapio.open(path, dtype="u1")
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Stop:
        stopped += 1
signal.signal(signal.SIGALRM, signal.SIG_IGN)
assert stopped
print(len(os.listdir("/proc/self/fd")) - before)
"""


def test_an_interrupt_leaves_no_descriptor_open(path: Path, run_python: Callable[..., str]) -> None:
    assert run_python(INTERRUPTED, str(path)).split() == ["0"]
