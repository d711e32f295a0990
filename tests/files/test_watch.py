"""`Watch`: what other processes do to a file is told, once, and until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import watchfiles

import mmapio
from mmapio import Change, Generation, MappedFile, _os, aio
from mmapio._polling import poll
from mmapio.errors import (
    ArgumentError,
    ArgumentTypeError,
    ClosedError,
    FileError,
    MissingExtraError,
    MissingFileError,
    UnsupportedError,
)
from mmapio.files import watch

LONG_S = 60  # as much as a machine that is busy may need
THREAD = "mmapio-file-watch"

# What another process does, and what is told of it.
DEEDS = [
    ("open(p, 'r+b').write(b'y')", ("modified", 100, 100)),
    ("open(p, 'ab').write(b'y')", ("resized", 100, 101)),
    ("os.truncate(p, 7)", ("resized", 101, 7)),
    ("os.chmod(p, 0o444)", ("metadata", 7, 7)),
    ("os.utime(p, (1, 1))", ("metadata", 7, 7)),
    ("open(p + '2', 'wb').write(b'new'); os.replace(p + '2', p)", ("replaced", 7, 3)),
    ("os.utime(p)", ("modified", 3, 3)),
    ("os.unlink(p)", ("removed", 3, None)),
    ("open(p, 'xb')", ("replaced", None, 0)),
    ("open(p, 'ab').write(b'longer')", ("resized", 0, 6)),
]
if sys.platform == "win32":  # which renames nothing over an open file, and unlinks none
    DEEDS = DEEDS[:3]


class Told(queue.Queue[Change]):
    """Changes that were told, in order."""

    def next(self) -> tuple[str, int | None, int | None]:
        change = self.get(timeout=LONG_S)
        return change.kind, change.old_size, change.new_size


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    return path


@pytest.fixture
def m(path: Path) -> Iterator[MappedFile]:
    with MappedFile.open(path, "r+") as mapping:
        yield mapping
    assert poll(lambda: not watchers(), LONG_S)


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


def elsewhere(deed: str, path: Path) -> None:
    """Do something to a file in another process."""
    code = f"import os, sys; p = sys.argv[1]; {deed}"
    subprocess.run([sys.executable, "-S", "-c", code, str(path)], check=True, timeout=LONG_S)


# What is told -------------------------------------------------------------------------------------


def test_what_another_process_does_is_told_one_by_one(
    m: MappedFile, path: Path, told: Told
) -> None:
    with m.watch(told.put) as watching:
        assert watching.path == str(path)
        for deed, expected in DEEDS:
            elsewhere(deed, path)
            assert told.next() == expected, deed
    assert told.empty()


def test_a_file_that_is_removed_and_made_anew_at_once(
    m: MappedFile, path: Path, told: Told
) -> None:
    with m.watch(told.put, debounce_ms=200):
        path.unlink()
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))  # and it may get the same inode
        found = told.next()
        if found == ("removed", 100, None):  # on a machine that stood still meanwhile
            found = told.next()
        assert found in [("replaced", 100, 0), ("replaced", None, 0)]


def test_a_change_has_the_path(m: MappedFile, path: Path, told: Told) -> None:
    with m.watch(told.put):
        os.truncate(path, 50)
        assert told.get(timeout=LONG_S) == Change("resized", str(path), 100, 50)


STORES = """
import sys, mmapio
m = mmapio.MappedFile.open(sys.argv[1], "r+")
m.view(0, 1)[:] = 7
mmapio.Generation.open(sys.argv[2]).bump()
"""


def test_a_store_through_anothers_mapping_is_told_by_the_generation(
    m: MappedFile, tmp_path: Path, told: Told, run_python: Callable[..., str]
) -> None:
    with (
        Generation.open(tmp_path / "generation") as generation,
        m.watch(told.put, generation=generation),
    ):
        run_python(STORES, str(m.path), str(tmp_path / "generation"))
        assert told.next() == ("modified", 100, 100)
        assert m.view(0, 1)[0] == 7


def test_a_store_that_raises_no_event_is_seen_by_its_time(m: MappedFile, told: Told) -> None:
    assert m.path is not None
    m.view(0, 1)[:] = 1
    m.flush()
    before = os.stat(m.path).st_mtime_ns
    time.sleep(0.05)
    with m.watch(told.put):
        m.view(0, 1)[:] = 2
        if os.stat(m.path).st_mtime_ns == before:
            pytest.skip("this file system keeps no time of stores through a mapping")
        assert told.next() == ("modified", 100, 100)


def test_closing_the_generation_leaves_the_watch(m: MappedFile, told: Told) -> None:
    generation = Generation.anonymous()
    with m.watch(told.put, generation=generation):
        generation.bump()
        assert told.next() == ("modified", 100, 100)
        generation.close()
        os.truncate(m.path or "", 50)
        assert told.next() == ("resized", 100, 50)


def test_one_wait_tells_of_many_writes(m: MappedFile, path: Path, told: Told) -> None:
    with m.watch(told.put, debounce_ms=400), path.open("ab", buffering=0) as file:
        for _ in range(20):
            file.write(b"x")
        first = told.next()
        assert first[:2] == ("resized", 100)
        while first[2] != 120:  # as it may be on a machine that stood still meanwhile
            first = told.next()


def test_a_file_that_never_rests_is_told_of_too(m: MappedFile, path: Path, told: Told) -> None:
    deadline = time.monotonic() + LONG_S
    with m.watch(told.put, debounce_ms=100), path.open("r+b", buffering=0) as file:
        while told.empty():
            assert time.monotonic() < deadline
            file.seek(0)
            file.write(b"x")
            time.sleep(0.005)


def test_no_debounce_at_all(m: MappedFile, path: Path, told: Told) -> None:
    with m.watch(told.put, debounce_ms=0):
        os.truncate(path, 50)
        assert told.next() == ("resized", 100, 50)


def test_what_happened_before_is_told_if_the_file_is_another(
    m: MappedFile, path: Path, told: Told
) -> None:
    path.unlink()
    with m.watch(told.put):
        assert told.next() == ("removed", 100, None)
    path.write_bytes(b"new")
    with m.watch(told.put):
        assert told.next() == ("replaced", 100, 3)


# The folders of the path --------------------------------------------------------------------------


def test_a_folder_that_is_moved_and_made_anew(tmp_path: Path, told: Told) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(bytes(100))
    with MappedFile.open(folder / "file") as m, m.watch(told.put):
        folder.rename(tmp_path / "other")
        assert told.next() == ("removed", 100, None)
        folder.mkdir()
        (folder / "file").write_bytes(b"new")
        assert told.next()[0] == "replaced"
        os.truncate(folder / "file", 2)
        while told.next()[2] != 2:
            pass
    with MappedFile.open(folder / "file") as m:
        (folder / "file").unlink()
        folder.rmdir()
        with pytest.raises(MissingFileError, match="cannot watch the folder of the file: No such"):
            m.watch(print)


def test_a_link_that_is_set_to_another_file(tmp_path: Path, told: Told) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(name.encode() * 10)
    link = tmp_path / "link"
    try:
        link.symlink_to(tmp_path / "one" / "file")
    except OSError as error:
        pytest.skip(f"no links here: {error}")
    with MappedFile.open(link) as m, m.watch(told.put) as watching:
        assert watching.path == str(link)
        (tmp_path / "new").symlink_to(tmp_path / "two" / "file")
        (tmp_path / "new").replace(link)
        assert told.next() == ("replaced", 30, 30)
        os.truncate(tmp_path / "two" / "file", 5)
        assert told.next() == ("resized", 30, 5)


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode on this platform")
def test_names_that_are_no_unicode(m: MappedFile, path: Path, told: Told) -> None:
    with m.watch(told.put):
        for n in range(3):
            (path.parent / os.fsdecode(b"other-\xff%d" % n)).touch()
        os.truncate(path, 50)
        assert told.next() == ("resized", 100, 50)
    folder = path.parent / os.fsdecode(b"folder-\xff")
    folder.mkdir()
    (folder / "file").touch()
    with (
        MappedFile.open(folder / "file") as other,
        pytest.raises(UnsupportedError, match="its name is no Unicode"),
    ):
        other.watch(print)


def test_much_else_happens_in_the_folder(m: MappedFile, path: Path, told: Told) -> None:
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.001):
            (path.parent / "another").write_bytes(b"x")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with m.watch(told.put):
            os.truncate(path, 50)
            assert told.next() == ("resized", 100, 50)
        assert told.empty()
    finally:
        done.set()
        thread.join()


# Callbacks, and the end ---------------------------------------------------------------------------


def test_an_error_in_a_callback_is_reported(
    m: MappedFile, path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", reports.append)

    def callback(change: Change) -> None:
        told.put(change)
        raise ZeroDivisionError(change.kind)

    with m.watch(callback):
        os.truncate(path, 50)
        assert told.next() == ("resized", 100, 50)
        os.truncate(path, 40)
        assert told.next() == ("resized", 50, 40)
    assert [str(report.exc_value) for report in reports] == ["resized", "resized"]
    assert {report.thread.name for report in reports if report.thread} == {THREAD}


def test_stop_waits_for_the_callback_that_is_running(m: MappedFile, path: Path, told: Told) -> None:
    begun, go_on, stopped = threading.Event(), threading.Event(), threading.Event()
    calls: list[Change] = []

    def callback(change: Change) -> None:
        calls.append(change)
        begun.set()
        assert go_on.wait(LONG_S)

    watching = m.watch(callback)
    witness = m.watch(told.put)
    os.truncate(path, 50)
    assert begun.wait(LONG_S)

    def stop() -> None:
        watching.stop()
        stopped.set()

    thread = threading.Thread(target=stop)
    thread.start()
    os.truncate(path, 40)
    while told.next()[2] != 40:
        pass
    assert not stopped.is_set()
    go_on.set()
    assert stopped.wait(LONG_S)
    thread.join()
    os.truncate(path, 30)
    assert told.next() == ("resized", 40, 30)
    assert len(calls) == 1
    for each in (watching, witness, watching):
        each.stop()
        assert (each.active, repr(each)) == (False, f"<Watch {str(path)!r} ended>")


def test_a_callback_may_stop_its_own_watch(m: MappedFile, path: Path, told: Told) -> None:
    def callback(change: Change) -> None:
        watching.stop()
        told.put(change)

    watching = m.watch(callback)
    assert repr(watching) == f"<Watch {str(path)!r} active>"
    path.chmod(0o444)  # two changes at once, of which the second comes too late
    os.utime(path, (1, 1))
    told.next()
    assert poll(lambda: not watchers(), LONG_S)
    assert (told.empty(), watching.active) == (True, False)


def test_a_watch_ends_with_its_mapping(path: Path, told: Told) -> None:
    m = MappedFile.open(path)
    first = m.watch(told.put)
    m.close()
    assert not first.active
    a = mmapio.open(path, dtype="u1")
    assert a.mapping is not None
    second = a.mapping.watch(told.put)
    part = a[5:]
    del a
    gc.collect()
    assert second.active
    del part
    gc.collect()
    assert not second.active
    assert poll(lambda: not watchers(), LONG_S)


def test_a_watch_that_nobody_holds_goes_on(m: MappedFile, path: Path, told: Told) -> None:
    m.watch(told.put)
    gc.collect()
    os.truncate(path, 50)
    assert told.next() == ("resized", 100, 50)


def test_many_watches_come_and_go(m: MappedFile) -> None:
    for _ in range(5):
        with contextlib.ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(m.watch(print))
            assert len(watchers()) == 10
        assert not watchers()


ENDS = """
import os, queue, sys, threading, time, warnings
import mmapio
m = mmapio.MappedFile.open(sys.argv[1], "r+")
told = queue.Queue()
def callback(change):
    told.put(change)
    if len(sys.argv) > 2:
        time.sleep(1000)
watching = m.watch(callback)
os.truncate(sys.argv[1], 50)
print(told.get(timeout=60).kind, flush=True)
"""
FORKS = (
    ENDS
    + r"""
warnings.simplefilter("ignore")  # a process with threads forks
child = os.fork()
os.write(1, b"%s %d\n" % (b"parent" if child else b"child", watching.active))
if child:
    assert os.waitpid(child, 0)[1] == 0
    os.truncate(sys.argv[1], 40)
    print(told.get(timeout=60).kind)
else:
    watching.stop()
"""
)


@pytest.mark.parametrize("more", [(), ("callback runs",)])
def test_the_interpreter_ends_at_once(path: Path, more: tuple[str, ...]) -> None:
    code = [sys.executable, "-X", "dev", "-W", "error", "-c", ENDS, str(path), *more]
    environment = os.environ | {"PYTHONPATH": str(Path(mmapio.__file__).parents[1])}
    done = subprocess.run(code, env=environment, capture_output=True, text=True, timeout=LONG_S)
    assert (done.returncode, done.stdout, done.stderr) == (0, "resized\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_forked_child_has_no_watch(path: Path, run_python: Callable[..., str]) -> None:
    told = run_python(FORKS, str(path)).splitlines()
    assert sorted(told) == ["child 0", "parent 1", "resized", "resized"]


# What cannot be -----------------------------------------------------------------------------------


async def nothing_async(change: object) -> None:
    """Stand for a callback that nobody would await."""


def test_what_cannot_be_watched_is_refused(m: MappedFile, path: Path) -> None:
    with pytest.raises(UnsupportedError, match="<anonymous> has no path to watch"):
        MappedFile.anonymous(10).watch(print)
    with (
        path.open("rb") as file,
        MappedFile.from_fd(file.fileno()) as other,
        pytest.raises(UnsupportedError, match="<descriptor> has no path to watch"),
    ):
        other.watch(print)
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"callback": None}, ArgumentTypeError, "callback must be callable, got 'NoneType'"),
        ({"callback": nothing_async}, ArgumentTypeError, "mmapio.aio.watch is for that"),
        ({"debounce_ms": -1}, ArgumentError, "debounce_ms must be 0 or more, got -1"),
        ({"debounce_ms": 0.5}, ArgumentTypeError, "debounce_ms must be an integer"),
        ({"generation": 5}, ArgumentTypeError, "generation must be a Generation, got 'int'"),
    ]
    for arguments, kind, text in wrong:
        with pytest.raises(kind, match=text):
            m.watch(**{"callback": print, **arguments})
    closed = Generation.anonymous()
    closed.close()
    with pytest.raises(ClosedError):
        m.watch(print, generation=closed)
    m.close()
    with pytest.raises(ClosedError):
        m.watch(print)
    assert not watchers()


def test_what_is_not_installed_is_named(m: MappedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mmapio\[watch\]'"):
        m.watch(print)


def test_a_limit_of_the_system_is_explained(m: MappedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Iterator[Any]:
        raise RuntimeError("Error creating recommended watcher: Too many open files (os error 24)")

    monkeypatch.setattr(watchfiles, "watch", refuse)
    with pytest.raises(FileError, match=r"cannot watch: .*max_user_instances") as caught:
        m.watch(print)
    assert caught.value.filename == m.path


# Looks that differ --------------------------------------------------------------------------------

S = 10**9
BEFORE = watch._FileState((0, 1, 2, 3, 4), 100, 1000 * S, 1000 * S, (0o644, 0, 0))


@pytest.mark.parametrize(
    ("changed", "kinds"),
    [
        ({}, []),
        ({"identity": (0, 1, 2, 3, 5)}, ["replaced"]),
        ({"size": 99, "written": 1001 * S, "changed": 1001 * S}, ["resized"]),
        ({"written": 1001 * S, "changed": 1001 * S}, ["modified"]),
        ({"written": 1001 * S, "changed": 1002 * S}, ["modified"]),  # and then something else
        ({"written": 999 * S, "changed": 1001 * S}, ["modified"]),  # times in steps of 2 s
        ({"written": 900 * S, "changed": 1001 * S}, ["metadata"]),
        ({"written": 1900 * S, "changed": 1001 * S}, ["metadata"]),
        ({"changed": 1001 * S}, ["metadata"]),
        ({"access": (0o600, 0, 0), "changed": 1001 * S}, ["metadata"]),
        ({"size": 99, "access": (0o644, 0, 7), "changed": 1001 * S}, ["resized", "metadata"]),
    ],
)
def test_what_two_looks_tell(changed: dict[str, Any], kinds: list[str]) -> None:
    assert watch._kinds(BEFORE, BEFORE._replace(**changed)) == kinds
    assert watch._kinds(None, BEFORE) == ["replaced"]
    assert watch._kinds(BEFORE, None) == ["removed"]
    assert watch._kinds(None, None) == []


def test_times_mean_less_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    after = BEFORE._replace(written=900 * S)
    assert watch._kinds(BEFORE, after) == ["modified"]


def test_a_file_that_cannot_be_looked_at_is_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(_os, "identify_path", refuse)
    assert watch._look(str(path), BEFORE) is BEFORE


# asyncio and trio ---------------------------------------------------------------------------------


async def first_two(m: MappedFile, path: Path) -> list[str]:
    async with aio.watch(m) as changes:
        os.truncate(path, 50)
        found = [await anext(changes)]
        path.chmod(0o444)
        async for change in changes:
            found.append(change)
            break
    with pytest.raises(StopAsyncIteration):
        await anext(changes)
    return [change.kind for change in found]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_changes_can_be_iterated_over(m: MappedFile, path: Path, backend: str) -> None:
    anyio = pytest.importorskip("anyio", reason="anyio is not installed")
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    assert anyio.run(first_two, m, path, backend=backend) == ["resized", "metadata"]


def test_a_cancelled_task_loses_no_change(m: MappedFile, path: Path) -> None:
    async def work() -> list[str]:
        changes = aio.watch(m)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(changes), 0.01)
        os.truncate(path, 50)
        found = []
        while not found:
            with contextlib.suppress(TimeoutError):
                found.append((await asyncio.wait_for(anext(changes), 0.005)).kind)
        return found

    assert asyncio.run(work()) == ["resized"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_closing_the_mapping_ends_the_iteration(path: Path, backend: str) -> None:
    anyio = pytest.importorskip("anyio", reason="anyio is not installed")
    pytest.importorskip(backend, reason=f"{backend} is not installed")

    async def work() -> list[Change]:
        m = MappedFile.open(path)
        changes = aio.watch(m)
        threading.Timer(0.05, m.close).start()
        return [change async for change in changes]

    assert anyio.run(work, backend=backend) == []
    assert poll(lambda: not watchers(), LONG_S)


def test_changes_that_nobody_holds_are_watched_no_longer(m: MappedFile) -> None:
    changes = aio.watch(m, generation=Generation.anonymous())
    assert len(watchers()) == 1
    del changes
    gc.collect()
    assert poll(lambda: not watchers(), LONG_S)
    with pytest.raises(ArgumentTypeError, match="not 'str'"):
        aio.watch("path")  # type: ignore[arg-type]


HANDLERS = {
    "two": "def handler(number, frame): watch.stop()",
    "any": "def handler(*_): watch.stop()",
    "nested": "def handler(number, frame):\n    (lambda: watch.stop())()",
}


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system has no such signals")
@pytest.mark.parametrize("kind", HANDLERS)
def test_a_handler_that_stops_it_does_not_wait_for_a_callback_that_waits_for_the_interrupted(
    kind: str, run_python: Callable[..., str], tmp_path: Path
) -> None:
    code = f"""
import faulthandler, os, signal, sys, threading
import mmapio
faulthandler.dump_traceback_later(30, exit=True)
m = mmapio.MappedFile.open(sys.argv[1], "w+", size=10)
lock, inside, left = threading.Lock(), threading.Event(), threading.Event()
def callback(change):
    inside.set()
    with lock:
        left.set()
watch = m.watch(callback, debounce_ms=1)
{HANDLERS[kind]}
signal.signal(signal.SIGUSR1, handler)
with lock:
    os.truncate(sys.argv[1], 20)
    inside.wait()
    signal.raise_signal(signal.SIGUSR1)
print(left.wait(20), watch.active)
"""
    assert run_python(code, str(tmp_path / "file")) == "True False\n"
