"""`Watch`: a thread that reports changes of the file at a path.

What it sees is two looks at the file that differ. When to look, watchfiles says, which hears of it
from the system; and what no system tells of, a look once a second finds.
"""

from __future__ import annotations

import errno
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Literal, NamedTuple, Protocol, Self

from .. import _os
from .._extras import require
from .._reentry import is_in_handler
from .._validation import as_count, as_integer
from ..errors import ArgumentTypeError, MmapioError, UnsupportedError, file_error

__all__ = ["Change", "Counter", "Kind", "Watch"]

Events = set[tuple[int, str]]  # of watchfiles: a kind, which is not of use here, and a path
Kind = Literal["modified", "resized", "replaced", "removed", "metadata"]

_STEP_MS: Final = 20  # how often it is asked whether anything has happened
_PAUSE_S: Final = 0.05  # how long nobody is asked where nobody can be
_LOOK_S: Final = 1.0  # how often the file is looked at even so
_LONGEST: Final = 10  # times the debounce that a file which never rests is waited for
_COARSEST_NS: Final = 2 * 10**9  # to what the times of files are rounded, at worst: on FAT

_LIMITS: Final = (
    "the system watches no more folders; on Linux raise fs.inotify.max_user_instances and "
    "fs.inotify.max_user_watches with sysctl, or stop other watches"
)


class Change(NamedTuple):
    """A change of a file.

    Attributes
    ----------
    kind : {"modified", "resized", "replaced", "removed", "metadata"}
        Its contents may be others; its size is another; another file is at the path; none is there
        any more; its permissions, owner or times are others, and no more than that.
    path : str
        The path that is watched.
    old_size, new_size : int or None
        Its size in bytes before and after; None where there was, or is, no file.

    Examples
    --------
    >>> from mmapio import Change
    >>> Change("resized", "/data/log.bin", 100, 200).new_size
    200
    """

    kind: Kind
    path: str
    old_size: int | None
    new_size: int | None


class Counter(Protocol):
    """A number that becomes another one whenever the contents do, such as a `Generation`."""

    @property
    def value(self) -> int:
        """The number now."""


class _FileState(NamedTuple):
    """Findings of one look at a file; times in ns."""

    identity: _os.Identity | None
    size: int
    written: int
    changed: int
    access: tuple[int, int, int]


class Watch:
    """Watch over a file: see `MappedFile.watch`.

    It goes on until `stop`, at the end of a ``with`` block for one, or until its mapping is closed
    or goes, whether or not anybody holds it. It does not keep the mapping.

    Parameters
    ----------
    path : str
        The file, by an absolute path.
    callback : callable
        Called with each `Change`, in the thread of this watch.
    known : FileFacts or None
        What was known of the file before; None to begin with what is there now.
    alive : callable
        Whether to go on.
    debounce_ms : int
        As in `MappedFile.watch`.
    generation : Counter or None
        As in `MappedFile.watch`.
    at_end : callable, optional
        Called when there will be no more changes, in the thread of this watch.

    Raises
    ------
    MissingExtraError
        If watchfiles is not installed.
    FileError
        If the folder of the file cannot be watched.
    ArgumentError, ArgumentTypeError
        If an argument has a value, or a type, that cannot be used.

    Examples
    --------
    >>> import mmapio, pathlib, queue
    >>> m = mmapio.MappedFile.open("watched.bin", "x+", size=10)
    >>> changes = queue.Queue()
    >>> with m.watch(changes.put, debounce_ms=10):
    ...     _ = pathlib.Path("watched.bin").write_bytes(bytes(20))
    ...     change = changes.get(timeout=30)
    >>> change.kind, change.old_size, change.new_size
    ('resized', 10, 20)
    """

    def __init__(
        self,
        path: str,
        callback: Callable[[Change], object],
        known: _os.FileFacts | None,
        alive: Callable[[], bool],
        debounce_ms: int,
        generation: Counter | None,
        at_end: Callable[[], object] | None = None,
    ) -> None:
        if not callable(callback):
            kind = type(callback).__name__
            raise ArgumentTypeError(f"callback must be callable, got {kind!r}")
        if inspect.iscoroutinefunction(callback):
            raise ArgumentTypeError(
                "callback is called in a thread and cannot be async; mmapio.aio.watch is for that"
            )
        self._debounce_s = as_count(debounce_ms, "debounce_ms") / 1000
        self._path = path
        self._callback = callback
        self._alive = alive
        self._at_end = at_end
        self._stopped = False
        self._generation = generation
        self._count = None if generation is None else _value_of(generation)
        self._state = _first_state(path, known)
        self._bumped = False
        self._thread = threading.Thread(
            target=self._run, args=(_begin(path),), name="mmapio-file-watch", daemon=True
        )
        self._thread.start()

    @property
    def path(self) -> str:
        """The path that is watched."""
        return self._path

    @property
    def active(self) -> bool:
        """True if there may be more changes to report."""
        return not self._ended and self._thread.is_alive()

    def stop(self, wait: bool = True) -> None:
        """Watch no longer; a second time does nothing.

        Parameters
        ----------
        wait : bool, default True
            Return when no callback is running, and none will be called any more. Within a callback
            it returns at once: the one that is running is the last. So it does within a signal
            handler, since the callback may wait for what that interrupts.

        Examples
        --------
        >>> import mmapio
        >>> m = mmapio.MappedFile.open("stopped.bin", "x+", size=10)
        >>> watch = m.watch(print)
        >>> watch.stop()
        >>> watch.active
        False
        """
        self._stopped = True
        if wait and threading.current_thread() is not self._thread and not is_in_handler():
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Watch {self._path!r} {'active' if self.active else 'ended'}>"

    @property
    def _ended(self) -> bool:
        return self._stopped or not self._alive()

    def _run(self, events: Iterator[Events]) -> None:
        try:
            self._follow(events)
        finally:
            if self._at_end is not None:
                self._at_end()

    def _follow(self, events: Iterator[Events]) -> None:
        """Look at the file once it has come to rest after the first sign of a change."""
        first = last = None
        next_look = time.monotonic()
        while not self._ended:
            sign, events = self._wait(events)
            now = time.monotonic()
            if now >= next_look:
                next_look = now + _LOOK_S
                sign = sign or self._differs()
            if self._was_bumped() or sign:
                first, last = first or now, now
            if first is None or last is None:
                continue
            if now - last >= self._debounce_s or now - first >= _LONGEST * self._debounce_s:
                first = last = None
                if self._tell():
                    events = _events(self._path)  # the path may lead through other folders now

    def _wait(self, events: Iterator[Events]) -> tuple[bool, Iterator[Events]]:
        """Return whether something has happened to the path, and where to ask next."""
        try:
            happened = next(events)
            return bool(happened) and self._concerned(happened), events
        except (StopIteration, OSError, RuntimeError, ValueError):
            # The folder is gone, or holds a name that is no Unicode: watchfiles gives up on both.
            time.sleep(_PAUSE_S)
            return self._differs(), _events(self._path)

    def _concerned(self, happened: Events) -> bool:
        """Return whether events are about the file, by any name that its folders know it by."""
        names = {os.path.basename(self._path), os.path.basename(os.path.realpath(self._path))}
        return any(os.path.basename(path) in names for _, path in happened)

    def _differs(self) -> bool:
        return _look(self._path, self._state) != self._state

    def _was_bumped(self) -> bool:
        """Return whether the generation has changed since this was last asked."""
        if self._generation is None:
            return False
        try:
            count = self._generation.value
        except MmapioError:  # it was closed
            self._generation = None
            return False
        bumped, self._count = count != self._count, count
        self._bumped = self._bumped or bumped
        return bumped

    def _tell(self) -> bool:
        """Report all that has changed; return whether another file is there."""
        old, new = self._state, _look(self._path, self._state)
        self._state, bumped, self._bumped = new, self._bumped, False
        kinds = _kinds(old, new)
        if bumped and not {"modified", "resized", "replaced"} & {*kinds}:
            kinds.insert(0, "modified")
        sizes = [None if state is None else state.size for state in (old, new)]
        for kind in kinds:
            if not self._ended:
                self._call(Change(kind, self._path, *sizes))
        return "replaced" in kinds

    def _call(self, change: Change) -> None:
        try:
            self._callback(change)
        except SystemExit:  # of which `threading.excepthook` says nothing
            sys.excepthook(*sys.exc_info())
        except BaseException:
            # As for an exception that ends a thread; but this one goes on.
            report = (*sys.exc_info(), self._thread)
            threading.excepthook(threading.ExceptHookArgs(report))


def _kinds(old: _FileState | None, new: _FileState | None) -> list[Kind]:
    """Return the kinds of changes between two looks."""
    if new is None:
        return [] if old is None else ["removed"]
    if old is None or new.identity != old.identity:
        return ["replaced"]
    kinds: list[Kind] = []
    if new.size != old.size:
        kinds.append("resized")
    elif new.written != old.written and _was_written(old, new):
        kinds.append("modified")
    times = (new.written, new.changed) != (old.written, old.changed)
    if new.access != old.access or (times and not kinds):
        kinds.append("metadata")
    return kinds


def _was_written(old: _FileState, new: _FileState) -> bool:
    """Return whether the time of writing came from a write, and was not set by hand."""
    # Of the latter, POSIX keeps the time as well; Windows does not tell.
    low, high = old.changed - _COARSEST_NS, new.changed
    return sys.platform == "win32" or low <= new.written <= high


def _look(path: str, before: _FileState | None) -> _FileState | None:
    """Return the state of the file at a path; `before`, if that cannot be found out now."""
    try:
        while True:
            identity = _os.identify_path(path).identity
            found = os.stat(path)
            if _os.identify_path(path).identity == identity:  # or it was replaced in between
                break
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return before
    changed = 0 if sys.platform == "win32" else found.st_ctime_ns
    access = found.st_mode, found.st_uid, found.st_gid
    return _FileState(identity, found.st_size, found.st_mtime_ns, changed, access)


def _first_state(path: str, known: _os.FileFacts | None) -> _FileState | None:
    """Return the state of the file at a path if that is the known one, or else of that."""
    state = _look(path, None)
    if known is None or (state is not None and state.identity == known.identity):
        return state
    return _FileState(known.identity, known.size, 0, 0, (0, 0, 0))


def _events(path: str) -> Iterator[Events]:
    """Return an iterator over what happens in the folders of a path, every few milliseconds."""
    folders = {os.path.dirname(path), os.path.dirname(os.path.realpath(path))}
    events: Iterator[Events] = require("watchfiles", "watch").watch(
        *folders,
        watch_filter=None,  # it would keep waiting in a folder where much else happens
        debounce=_STEP_MS,
        step=_STEP_MS,
        rust_timeout=_STEP_MS,
        yield_on_timeout=True,
        recursive=False,
    )
    return events


def _begin(path: str) -> Iterator[Events]:
    """Return the iterator over what happens from now on."""
    try:
        events = _events(path)
        next(events)
    except UnicodeEncodeError as error:
        raise UnsupportedError(f"cannot watch {path!r}: its name is no Unicode") from error
    except OSError as error:
        if error.errno is None:  # watchfiles tells it as text
            error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        raise file_error(error, "watch the folder of the file", path) from error
    except RuntimeError as error:
        code = errno.EMFILE if "os error 24" in str(error) else errno.ENOSPC
        raise file_error(OSError(code, str(error)), "watch", path, _LIMITS) from error
    return events


def _value_of(generation: Counter) -> int:
    try:
        return as_integer(generation.value, "value")
    except AttributeError:
        kind = type(generation).__name__
        raise ArgumentTypeError(f"generation must be a Generation, got {kind!r}") from None
