"""Whatever can fail fails before anything at a path changes: promise 16.

Two tables of all public calls that make, replace, change or delete a file. In one, each argument is
wrong in each way; in the other, each call of the system fails in turn. Then the old bytes are at
the path, nothing is left beside them, no descriptor and no mapping is left open, and the error is
one of ours. Only an error that says that the new file is in its place, or Ctrl-C, may come later.

A third table is of what is done with open files: there too a failing call is an error of ours, and
when all is closed, nothing is left open.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import errno
import functools
import inspect
import io
import itertools
import os
import pickle
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

import mmapio
from mmapio import FlushError, FlushPolicy, GrowableArray, MappedFile, MmapioError, _os, aio
from mmapio.__main__ import main
from mmapio._os._contract import NAMES
from mmapio.errors import clear_frames

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="descriptors and mappings are counted in /proc"
)

OLD = np.arange(700, dtype="<i4")
SCALE = float(os.environ.get("MMAPIO_TEST_SCALE", "1"))
NAME = "x.npy"


# The calls ------------------------------------------------------------------------------------


def nothing(folder: Path) -> None:
    """Leave the folder empty."""


def empty(folder: Path) -> None:
    """Make an empty file, in whose place a new one may be put."""
    (folder / NAME).touch()


def old(folder: Path) -> None:
    np.save(folder / NAME, OLD)
    np.save(folder / "source.npy", np.arange(50.0))
    np.arange(8.0).tofile(folder / "raw.bin")


def uncommitted(folder: Path) -> None:
    g = GrowableArray.open(folder / NAME, "w+", dtype="i4")
    g.extend(OLD)
    g.commit()
    g.extend([1, 2])
    g.close(commit=False)


def without_room(folder: Path) -> None:
    """Make a file with a header that has no room for a larger number, as once was usual."""
    text = b"{'descr': '<i8', 'fortran_order': False, 'shape': (5,), }\n"
    start = b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little")
    (folder / NAME).write_bytes(start + text + np.arange(5).tobytes())


class Call(NamedTuple):
    """A public function, arguments that are right, and the folder that it is called in."""

    function: Callable[..., Any]
    arguments: dict[str, Any]
    setup: Callable[[Path], None] = old
    run: Callable[..., Any] | None = None  # if calling is not all

    def __call__(self, **changed: Any) -> Any:
        return (self.run or self.function)(**self.arguments | changed)


def awaited(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **arguments: asyncio.run(function(**arguments))


ARRAY = np.arange(30).reshape(5, 6)
POLICY = FlushPolicy.every_writes(3)
RING, SEQLOCK = mmapio.RingBuffer.open, mmapio.SeqLock.open
COUNTER, GENERATION = mmapio.ShardedCounter.open, mmapio.Generation.open
GROW = GrowableArray.open
TWELVE: dict[str, Any] = {"dtype": "f8", "shape": (3, 4)}
CALLS = {
    "open w+": Call(mmapio.open, {"path": NAME, "mode": "w+", **TWELVE}),
    "open w+ raw": Call(mmapio.open, {"path": NAME, "mode": "w+", **TWELVE, "offset": 9}),
    "open x+": Call(mmapio.open, {"path": NAME, "mode": "x+", **TWELVE}, nothing),
    "open a+": Call(mmapio.open, {"path": NAME, "mode": "a+", **TWELVE}, nothing),
    "open a+ empty": Call(mmapio.open, {"path": NAME, "mode": "a+", **TWELVE}, empty),
    "open r+": Call(
        mmapio.open, {"path": NAME, "mode": "r+", "flush_policy": POLICY, "touch": "eager"}
    ),
    "create": Call(mmapio.create, {"path": NAME, **TWELVE, "advise": "random"}, nothing),
    "create anew": Call(
        mmapio.create,
        {"path": NAME, **TWELVE, "overwrite": True, "capacity": "1 MiB", "flush_policy": POLICY},
    ),
    "memmap w+": Call(mmapio.memmap, {"filename": NAME, "mode": "w+", **TWELVE}),
    "memmap extends": Call(
        mmapio.memmap, {"filename": NAME, "mode": "r+", "dtype": "f8", "shape": 9000}
    ),
    "MappedFile w+": Call(MappedFile.open, {"path": NAME, "mode": "w+", "size": 99}),
    "MappedFile a+": Call(MappedFile.open, {"path": NAME, "mode": "a+", "size": 99}, nothing),
    "save": Call(mmapio.save, {"path": NAME, "array": ARRAY[:, ::2]}),
    "save new": Call(mmapio.save, {"path": NAME, "array": ARRAY.T}, nothing),
    "copy": Call(mmapio.copy, {"src": "source.npy", "dst": NAME}),
    "delete": Call(mmapio.delete, {"path": NAME}),
    "to_npy": Call(
        mmapio.to_npy, {"source": "raw.bin", "target": NAME, "dtype": "f8", "overwrite": True}
    ),
    "to_npy new": Call(mmapio.to_npy, {"source": "raw.bin", "target": "y.npy", "dtype": "f8"}),
    "to_raw": Call(mmapio.to_raw, {"source": "source.npy", "target": NAME, "overwrite": True}),
    "growable w+": Call(GROW, {"path": NAME, "mode": "w+", "dtype": "f8", "row_shape": 2}),
    "growable a+": Call(GROW, {"path": NAME, "mode": "a+", "dtype": "f8", "row_shape": 2}, nothing),
    "growable r+": Call(GROW, {"path": NAME, "mode": "r+"}, uncommitted),
    "growable r+ rows": Call(GROW, {"path": NAME, "mode": "r+", "recover": "rows"}, uncommitted),
    "growable moved": Call(GROW, {"path": NAME, "mode": "r+"}, without_room),
    "ring w+": Call(RING, {"path": NAME, "mode": "w+", "dtype": "f8", "capacity": 16}),
    "ring a+ empty": Call(RING, {"path": NAME, "mode": "a+", "dtype": "f8", "capacity": 16}, empty),
    "growable a+ empty": Call(GROW, {"path": NAME, "mode": "a+", "dtype": "f8"}, empty),
    "seqlock a+": Call(SEQLOCK, {"path": NAME, "mode": "a+", "dtype": "f8"}, nothing),
    "counter w+": Call(COUNTER, {"path": NAME, "mode": "w+", "shards": 4}),
    "generation x+": Call(GENERATION, {"path": NAME, "mode": "x+"}, nothing),
    "aio.open": Call(aio.open, {"path": NAME, "mode": "w+", **TWELVE}, run=awaited(aio.open)),
    "aio.copy": Call(aio.copy, {"src": "source.npy", "dst": NAME}, run=awaited(aio.copy)),
    "aio.delete": Call(aio.delete, {"path": NAME}, run=awaited(aio.delete)),
}


class CommandError(MmapioError, OSError):
    """Stands for the status of a command that failed."""


def command(*arguments: str) -> None:
    """Run a command of `mmapio`, and raise an error if it fails."""
    said = io.StringIO()
    before, sys.argv = sys.argv, ["mmapio", *arguments]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            status: object = main()
    except SystemExit as error:
        status = error.code
    finally:
        sys.argv = before
    if status == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if status:
        raise CommandError(said.getvalue())


COMMANDS = {
    "mmapio convert": Call(
        command,
        {},
        run=functools.partial(
            command, "convert", "raw.bin", "--to", NAME, "--dtype", "f8", "--overwrite", "--quiet"
        ),
    ),
    "mmapio convert to raw": Call(
        command, {}, run=functools.partial(command, "convert", "source.npy", "--to", "y", "-q")
    ),
}
# They make no new file.
IN_PLACE = ("open r+", "memmap extends", "delete", "aio.delete", "growable r+", "growable r+ rows")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Outcome(NamedTuple):
    """Contents of the folder before and after a call, and how it ended."""

    before: dict[str, bytes]
    after: dict[str, bytes]
    error: BaseException | None
    left_open: list[str]

    @property
    def is_undone(self) -> bool:
        return self.after == self.before and not self.left_open


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def descriptors() -> set[str]:
    """Return the open descriptors of this process, and where they lead."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the folder itself
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    return found


def mappings(folder: Path) -> list[bytes]:
    """Return the mappings of files in a folder, deleted ones too."""
    maps, name = Path("/proc/self/maps").read_bytes(), os.fsencode(folder)
    return [line for line in maps.splitlines() if name in line] if name in maps else []


def outcome_of(
    folder: Path,
    call: Call,
    around: contextlib.AbstractContextManager[object],
    **changed: Any,
) -> Outcome:
    call.setup(folder)
    before, open_before, error = contents(folder), descriptors(), None
    try:
        with around:
            found = call(**changed)
    except (Exception, KeyboardInterrupt) as caught:
        error = caught  # held, and its frames with it
    else:
        if hasattr(found, "close"):
            found.close()
    left = [*descriptors() - open_before, *map(str, mappings(folder))]
    after = contents(folder)
    for name in after:
        os.unlink(folder / name)
    return Outcome(before, after, error, left)


BUILTINS = (OSError, ValueError, TypeError, IndexError)


def is_ours(error: BaseException | None) -> bool:
    return isinstance(error, MmapioError) and isinstance(error, BUILTINS)


# Arguments that are wrong ---------------------------------------------------------------------


class MineError(Exception):
    """An error of the user's own."""


class Raising:
    """An argument that raises whatever is asked of it."""

    def _fail(self, *arguments: Any, **keywords: Any) -> Any:
        raise MineError

    __array__ = __bool__ = __call__ = __eq__ = __float__ = __fspath__ = __hash__ = __index__ = _fail
    __int__ = __iter__ = __len__ = __getitem__ = _fail

    def __repr__(self) -> str:
        return "Raising()"


def raising() -> Iterator[int]:
    yield 3
    raise MineError


HUGE = 1 << 62
NO_PATHS: list[Any] = [3, None, 2.5, "", b"", "x\0", "x\ud800", "no/x.npy", "x" * 300, NAME + "/"]
NO_PATHS += [".", "..", [NAME], Raising()]
NO_NUMBERS: list[Any] = [-1, 2.5, "3 furlongs", [], 1 << 63, Raising()]
NO_FLAGS: list[Any] = ["yes", "", 1, None, [], Raising()]
NO_PLAIN_DTYPES: list[Any] = [object, "O", "no such", 3.5, [("a", "O")], np.dtypes.StringDType()]
NO_PLAIN_DTYPES += ["V0", [("a", "f8"), ("a", "f8")], Raising()]
NO_DTYPES = [*NO_PLAIN_DTYPES, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, ml_dtypes.int4]
NO_DTYPES += [[("a", ml_dtypes.bfloat16)]]
NO_SHAPES: list[Any] = [-2, (-1, -1), 2.5, (2.5,), "3", True, (True,), {3}, b"3", (HUGE, 8)]
NO_SHAPES += [itertools.count(), raising, (2,) * 65, [[3]], Raising(), (Raising(),)]
WRONG: dict[str, list[Any]] = {
    **dict.fromkeys(("path", "filename", "src", "dst", "source", "target"), NO_PATHS),
    **dict.fromkeys(("reserve", "guard", "hugepages", "lock", "overwrite", "raw"), NO_FLAGS),
    "shards": [*NO_NUMBERS, 0, HUGE],
    "slots": [*NO_NUMBERS, 0, HUGE],
    "mode": ["", "z", None, 3, ["r"], Raising()],
    "dtype": NO_DTYPES,
    "shape": [*NO_SHAPES, HUGE // 8],
    "row_shape": [*NO_SHAPES, 0],
    "order": ["X", 3, 2.5, [], Raising()],
    "offset": [*NO_NUMBERS, HUGE],
    "length": [*NO_NUMBERS, HUGE],
    "size": [*NO_NUMBERS, HUGE],
    "capacity": [*NO_NUMBERS, HUGE],
    "touch": ["sometimes", None, 3, Raising()],
    "advise": ["nothing", 3, [], "populate_no", Raising()],
    "flush_policy": ["always", 3, Raising()],
    "recover": ["all", 3, Raising()],
    "progress": [3, "x", Raising()],
    "array": [
        [[1, 2], [3]],
        np.array([None]),
        np.array(["x"], np.dtypes.StringDType()),
        np.ma.array([1, 2], mask=[0, 1]),
        np.zeros(3, ml_dtypes.bfloat16),
        np.zeros(3, [("a", "O")]),
        np.zeros(3, {"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [0, 2]}),
        Raising(),
    ],
}
# What some calls take for right.
RIGHT: dict[str, dict[str, list[Any]]] = {
    "open w+ raw": {"dtype": NO_DTYPES[len(NO_PLAIN_DTYPES) :]},
    "memmap w+": {"dtype": NO_DTYPES[len(NO_PLAIN_DTYPES) :]},
    "memmap extends": {"dtype": NO_DTYPES[len(NO_PLAIN_DTYPES) :]},
}
# Address space is taken as far as there is some.
for _name in (
    "growable w+",
    "growable a+",
    "growable r+",
    "growable r+ rows",
    "growable moved",
    "growable a+ empty",
):
    RIGHT[_name] = {"capacity": [HUGE]}


def parameters(call: Call) -> list[str]:
    """Return the names of all arguments of a function, those passed on included."""
    found = [
        name
        for name, each in inspect.signature(call.function).parameters.items()
        if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
    ]
    return found + [name for name in call.arguments if name not in found]


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_argument_changes_nothing(folder: Path, name: str) -> None:
    call, accepted = CALLS[name], RIGHT.get(name, {})
    for parameter in parameters(call):
        for value in WRONG[parameter]:
            if any(value is right for right in accepted.get(parameter, [])):
                continue
            given = value() if isinstance(value, types.FunctionType) else value
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of numpy, about dtypes that are none
                found = outcome_of(
                    folder,
                    call,
                    contextlib.nullcontext(),
                    **{parameter: given},
                )
            case = f"{name}({parameter}={value!r}): {found.error!r}"
            assert found.error is not None, f"{case}, {found.after.keys()}"
            assert found.is_undone, f"{case}: {found.after.keys()}, {found.left_open}"
            assert is_ours(found.error) or isinstance(found.error, MineError), case


# System calls that fail -----------------------------------------------------------------------

SYSTEM = ["chmod", "chown", "close", "copy_file_range", "dup", "fchmod", "fchown", "fdatasync"]
SYSTEM += ["fstat", "fstatvfs", "fsync", "ftruncate", "getcwd", "getxattr", "link", "listxattr"]
SYSTEM += ["lseek", "lstat", "open", "posix_fadvise", "posix_fallocate", "pread", "pwrite"]
SYSTEM += ["read", "readlink", "rename", "replace", "setxattr", "stat", "unlink", "write"]
OURS = [name for name in NAMES if callable(getattr(_os, name))]
SYNCS = ("fsync", "fdatasync")
# `unmap` never fails but by a mistake of ours; what cannot be unmapped stays mapped. `map_whole`
# and `map_new` return None when they can do nothing, and the steps that follow fail.
NEVER = ("_os.map_new", "_os.map_whole", "_os.unmap")
MOST_CALLS = 6  # of one function, in a row


class Failing:
    """Context manager in which one call of the system fails, and all are counted."""

    def __init__(
        self, name: str = "", nth: int = 0, error: BaseException | None = None, hidden: bool = False
    ) -> None:
        self._fails = name, nth
        self.error = error
        self._hidden = hidden
        self._saved: list[tuple[Any, str, Any]] = []
        self.counts = collections.Counter[str]()

    def __enter__(self) -> Failing:
        for module, prefix, names in ((os, "os.", SYSTEM), (_os, "_os.", OURS)):
            for name in names:
                real = getattr(module, name)
                self._saved.append((module, name, real))
                if self._hidden and name == "open_nameless":
                    real = _no_file
                elif name in SYNCS:
                    real = _no_wait  # no power will be lost
                setattr(module, name, functools.partial(self._call, prefix + name, real))
        return self

    def __exit__(self, *error: object) -> None:
        for module, name, real in self._saved:
            setattr(module, name, real)

    def _call(self, name: str, real: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        if threading.current_thread().name.startswith("mmapio"):  # of the background
            return real(*arguments, **keywords)
        self.counts[name] += 1
        if self.error is None or (name, self.counts[name]) != self._fails:
            return real(*arguments, **keywords)
        if name == "os.close":  # which closes even so
            real(*arguments, **keywords)
        raise self.error


def _no_file(directory: str) -> None:
    """Stand for a platform without files that have no name."""


def _no_wait(fd: int) -> None:
    os.fstat(fd)


CODES = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.ENOMEM, errno.EINTR)


def errors_to_try(turn: int) -> list[BaseException]:
    """Return Ctrl-C, and an error in turn; all of them in a longer run."""
    codes = CODES if SCALE > 1 else (CODES[turn % len(CODES)],)
    return [*(OSError(code, os.strerror(code)) for code in codes), KeyboardInterrupt()]


def ways() -> list[tuple[str, str]]:
    """Return all calls, with files that have no name at first, and with hidden ones."""
    names = [*CALLS, *COMMANDS]
    hidden = [(name, "hidden") for name in names if name not in IN_PLACE]
    return [(name, "nameless") for name in names] + hidden


@pytest.mark.parametrize(("name", "kind"), ways())
def test_a_failing_system_call_changes_nothing(folder: Path, name: str, kind: str) -> None:
    call, count, is_hidden = (CALLS | COMMANDS)[name], itertools.count(), kind == "hidden"
    clean = Failing(hidden=is_hidden)
    done = outcome_of(folder, call, clean)
    assert (done.error, done.left_open) == (None, [])
    assert bool(clean.counts["_os.open_nameless"]) == (name not in IN_PLACE)
    for failing, calls in sorted(clean.counts.items()):
        for nth in range(1, min(calls, MOST_CALLS) + 1):
            for error in errors_to_try(next(count)) if failing not in NEVER else ():
                around = Failing(failing, nth, error, is_hidden)
                found = outcome_of(folder, call, around)
                check_failure(found, done, f"{name}: {failing} #{nth}: {error!r} {found.error!r}")


def check_failure(found: Outcome, done: Outcome, case: str) -> None:
    """Check how a call ended of which the system failed; one that ended well is `done`."""
    assert not found.left_open, f"{case}: {found.left_open}"
    if found.error is None:  # it was not needed
        assert found.after.keys() == done.after.keys(), case
        return
    is_interrupt = isinstance(found.error, KeyboardInterrupt)
    assert is_interrupt or is_ours(found.error), case
    if found.after == found.before:
        assert "in its place" not in str(found.error), case
        return
    assert found.after.keys() == done.after.keys(), f"{case}: {found.after.keys()}"
    assert is_interrupt or "in its place" in str(found.error), case
    if found.after != done.after:  # but for random marks
        assert list(map(len, found.after.values())) == list(map(len, done.after.values())), case


# What is open ---------------------------------------------------------------------------------

PAGE = _os.PAGE_SIZE


class Operation(NamedTuple):
    """Something that is done with what is open, and how that is opened."""

    make: Callable[[], Any]
    run: Callable[[Any], object]


def mapped(**options: Any) -> MappedFile:
    m = MappedFile.open("mapped.bin", "w+", size=10 * PAGE, **options)
    m.write(0, b"ab" * 100)
    return m


def growing() -> GrowableArray:
    g = GrowableArray.open("growing.npy", "w+", dtype="i8")
    g.extend(range(100))
    g.commit()
    return g


def following() -> GrowableArray:
    with growing() as g:
        reader = GrowableArray.open("growing.npy")
        g.extend(range(5))
    return reader


def array() -> mmapio.MappedArray:
    np.save(NAME, OLD)
    return mmapio.open(NAME, "r+")


def ring() -> mmapio.RingBuffer:
    return mmapio.RingBuffer.open("ring", "w+", "f8", 16)


def always() -> MappedFile:
    return mapped(flush_policy=FlushPolicy.always())


def in_writes() -> MappedFile:
    return mapped(flush_policy=FlushPolicy.every_writes(10))


OPERATIONS = {
    "flush": Operation(mapped, lambda m: m.flush()),
    "flush, no wait": Operation(mapped, lambda m: m.flush(wait=False)),
    "check": Operation(mapped, lambda m: m.check()),
    "guard": Operation(mapped, lambda m: m.guard().__enter__()),
    "recover": Operation(mapped, lambda m: m.recover()),
    "grow": Operation(mapped, lambda m: m.resize(20 * PAGE)),
    "grow in place": Operation(lambda: mapped(capacity="1 MiB"), lambda m: m.resize(20 * PAGE)),
    "shrink": Operation(mapped, lambda m: m.resize(2 * PAGE)),
    "residency": Operation(mapped, lambda m: m.residency()),
    "advise": Operation(mapped, lambda m: m.advise("random")),
    "prefetch": Operation(mapped, lambda m: m.prefetch()),
    "release": Operation(mapped, lambda m: m.release()),
    "evict": Operation(mapped, lambda m: m.release(evict=True)),
    "punch a hole": Operation(mapped, lambda m: m.punch_hole(PAGE, PAGE)),
    "lock": Operation(mapped, lambda m: (m.lock(0, PAGE), m.unlock(0, PAGE))),
    "read": Operation(mapped, lambda m: m.read(0, 10)),
    "write": Operation(mapped, lambda m: m.write(0, b"x")),
    "write and flush": Operation(always, lambda m: m.write(0, b"x")),
    "close": Operation(mapped, lambda m: m.close()),
    "close and flush": Operation(in_writes, lambda m: m.close()),
    "fileno": Operation(mapped, lambda m: m.fileno()),
    "pickle": Operation(mapped, lambda m: pickle.loads(pickle.dumps(m)).close()),
    "check an array": Operation(array, lambda a: a.check()),
    "flush an array": Operation(array, lambda a: a.flush()),
    "pickle an array": Operation(array, lambda a: pickle.loads(pickle.dumps(a)).close()),
    "append": Operation(growing, lambda g: (g.append(3), g.extend([4, 5]))),
    "commit": Operation(growing, lambda g: (g.append(3), g.commit())),
    "truncate": Operation(growing, lambda g: g.truncate(50)),
    "close a growing one": Operation(growing, lambda g: (g.append(1), g.close())),
    "look at rows": Operation(growing, lambda g: (g.append(1), g.array.sum())),
    "check rows": Operation(growing, lambda g: g.check()),
    "refresh": Operation(following, lambda r: r.refresh()),
    "push and pop": Operation(ring, lambda r: (r.push(1.5), r.pop())),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_failing_system_call_is_an_error_of_ours_and_leaves_nothing_open(
    folder: Path, name: str
) -> None:
    operation, count, open_before = OPERATIONS[name], itertools.count(), descriptors()
    clean = Failing()
    assert operate(operation, clean) is None
    for failing, calls in sorted(clean.counts.items()):
        for nth in range(1, min(calls, MOST_CALLS) + 1):
            for error in errors_to_try(next(count)) if failing not in NEVER else ():
                found = operate(operation, Failing(failing, nth, error))
                error.with_traceback(None)  # it holds what it passed through, caught or not
                case = f"{name}: {failing} #{nth}: {error!r} {found!r}"
                assert found is None or is_ours(found) or found is error, case
                del found
                left = [*descriptors() - open_before, *mappings(folder)]
                assert not left, f"{case}: {left}"


def operate(operation: Operation, around: Failing) -> BaseException | None:
    """Return the error of an operation, and close what it is done with."""
    thing, error = operation.make(), None
    try:
        with around:
            operation.run(thing)
    except (Exception, KeyboardInterrupt) as caught:
        error = caught
    if around.error is not None:
        around.error.with_traceback(None)  # it was raised, caught, and would be gone by now
    try:
        thing.close()
    except FlushError:  # it fails once more, and the thing is closed all the same
        assert isinstance(error, FlushError)
    thing.close()
    if error is not None:
        clear_frames(error)
    return error


# Whether the tables are complete --------------------------------------------------------------

PATHS = {"path", "filename", "file", "fid", "src", "dst", "source", "target"}
# These change nothing at a path, or are written to by numpy; or they are made by others.
OTHERS = {"Change", "Residency", "Watch", "MappedFile.from_fd", "MappedArray.dump"}
OTHERS |= {"MappedArray.tofile", "GrowableArray", "memmap.dump", "memmap.tofile", "MappedReader"}


def takers_of_paths() -> dict[str, object]:
    """Return all public functions and methods that take a path."""
    found: dict[str, object] = {}
    for module in (mmapio, aio):
        for name in module.__all__:
            thing = getattr(module, name)
            methods = vars(thing) if inspect.isclass(thing) else {}
            prefix = "aio." if module is aio else ""
            for each, what in [("", thing), *methods.items()]:
                if each.startswith("_") or not callable(getattr(thing, each, what)):
                    continue
                function = getattr(thing, each) if each else what
                try:
                    names = inspect.signature(function).parameters
                except (TypeError, ValueError):
                    continue
                if PATHS & names.keys():
                    found[prefix + name + (f".{each}" if each else "")] = function
    return found


def test_the_tables_know_all_that_takes_a_path() -> None:
    known = [getattr(call.function, "__func__", call.function) for call in CALLS.values()]
    for name, function in takers_of_paths().items():
        if name not in OTHERS and not issubclass_of_error(function):
            assert getattr(function, "__func__", function) in known, f"{name} is in no table"


def issubclass_of_error(thing: object) -> bool:
    return inspect.isclass(thing) and issubclass(thing, BaseException)


def test_the_tables_know_all_arguments() -> None:
    for name, call in CALLS.items():
        unknown = set(parameters(call)) - WRONG.keys()
        assert not unknown, f"{name}: {unknown}"
