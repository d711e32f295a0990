"""The file behind a mapping: opened, created, and recognised again."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from . import _os
from ._publish import publishing
from ._validation import LARGEST, as_count
from .errors import (
    ArgumentError,
    ArgumentTypeError,
    DirectoryError,
    ExistingFileError,
    FileError,
    FlushError,
    MissingFileError,
    ReplacedError,
    UnsupportedError,
    file_error,
)
from .flush import Ledger
from .modes import Mode

__all__ = [
    "Source",
    "as_path",
    "check_mappable",
    "create_file",
    "open_file",
    "open_or_create",
    "replaced_error",
    "set_size",
]

# O_NONBLOCK: a pipe or a terminal is to be refused, not waited for.
_COMMON = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_COMMON |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


def as_path(path: object) -> str:
    """Return `path` as an absolute str, which stays right when the working directory changes."""
    try:
        name = os.fsdecode(path)  # type: ignore[arg-type]
    except TypeError:
        raise ArgumentTypeError(
            f"path must be a str, bytes or os.PathLike, got {type(path).__name__!r}"
        ) from None
    if "\0" in name:
        raise ArgumentError(f"path {name!r} has a null character")
    if os.path.isabs(name) or not name:
        return name
    return os.path.join(os.getcwd(), name)


def open_file(path: str, mode: Mode) -> tuple[int, _os.FileFacts]:
    """Open an existing file for a mapping; return its descriptor and what is known of it."""
    writable = mode.settled is Mode.UPDATE
    try:
        fd = os.open(path, _COMMON | (os.O_RDWR if writable else os.O_RDONLY))
    except OSError as error:
        raise file_error(error, f"open in mode {mode.value!r}", path) from error
    try:
        return fd, check_mappable(fd, path)
    except BaseException:
        os.close(fd)
        raise


def check_mappable(fd: int, path: str | None) -> _os.FileFacts:
    """Return what is known of an open file, which must be one that can be mapped."""
    facts = _os.identify(fd)
    if facts.size > 0 and facts.is_regular:
        return facts
    if facts.is_directory:
        raise DirectoryError(errno.EISDIR, "cannot map a directory; name a file in it", path)
    if not facts.is_regular:
        raise FileError(errno.ENODEV, "cannot map: not a regular file (a pipe or a device)", path)
    if _has_bytes(fd):
        reason = "cannot map: a pseudo-file, which tells no size; read it with open() instead"
        raise FileError(errno.ENODEV, reason, path)
    return facts


def _has_bytes(fd: int) -> bool:
    """Tell whether a file that claims to be empty can be read from, as those of /proc can."""
    try:
        position = os.lseek(fd, 0, os.SEEK_CUR)
        found = os.read(fd, 1) != b""
        os.lseek(fd, position, os.SEEK_SET)
    except OSError:  # as /proc/self/mem does
        return True
    return found and os.fstat(fd).st_size == 0  # or somebody has just written it


def create_file(
    path: str,
    size: int,
    prefix: bytes,
    use: Callable[[int], object] | None = None,
    *,
    replace: bool,
    reserve: bool,
    durable: bool,
) -> int:
    """Create a file of `size` bytes, zeros but for its `prefix`: all of it, or nothing.

    Return its descriptor, with which `use` is called before the file gets its name; it may refuse.
    """
    with publishing(path, "create", replace=replace, durable=durable) as draft:
        set_size(draft.fd, 0, size, reserve, path)
        draft.write(prefix)
        if use is not None:
            use(draft.fd)
        draft.keep_open = True
    return draft.fd


def set_size(fd: int, old: int, new: int, reserve: bool, path: str | None) -> None:
    """Grow or shrink a file, with its blocks if `reserve`; on failure it is as it was."""
    try:
        if reserve and new > old:
            _os.allocate(fd, old, new - old)
        else:
            os.ftruncate(fd, new)
    except BaseException as error:
        # posix_fallocate leaves the file grown when blocks run out half way, or Ctrl-C comes.
        if new > old:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, old)
        if not isinstance(error, OSError):
            raise
        hint = f"{new} bytes were asked for"
        if reserve:
            hint += ", with all their blocks (reserve=False makes a file with holes)"
        raise file_error(error, "set the size of the file", path, hint) from error


def open_or_create(
    path: str,
    mode: Mode,
    size: int | None,
    prefix: bytes,
    reserve: bool,
    durable: bool,
    check: Callable[[int], object],
    use: Callable[[int], object] | None = None,
) -> tuple[int, _os.FileFacts, bool]:
    """Return descriptor and facts of the file, and whether it was created here.

    `check` is called with the size of a file that is about to be created, and may refuse; `use`
    with its descriptor before it gets its name, and may refuse as well.
    """
    if mode.settled is mode:
        raise ArgumentError(f"size is for modes that create a file, not {mode.value!r}")
    if size is None and mode is not Mode.OPEN_OR_CREATE:
        raise ArgumentError(f"mode {mode.value!r} creates a file and needs its size in bytes")
    replace = mode is Mode.REPLACE
    while True:
        if mode is Mode.OPEN_OR_CREATE:
            try:
                return *open_file(path, mode), False
            except MissingFileError:
                if size is None:
                    raise
            path = os.path.realpath(path)
        try:
            count = as_count(size, "size")
            check(count)
            fd = create_file(
                path, count, prefix, use, replace=replace, reserve=reserve, durable=durable
            )
            return fd, _os.identify(fd), True
        except ExistingFileError:
            # Somebody else was first: theirs is the file to open.
            if mode is not Mode.OPEN_OR_CREATE:
                raise


class Source:
    """Where the bytes of a mapping come from: a file, from a byte of it on, or no file at all."""

    __slots__ = (
        "__weakref__",
        "_fd",
        "at_end",
        "closed",
        "cut_to",
        "extend",
        "facts",
        "guarded",
        "handle",
        "last_flush",
        "ledger",
        "lock",
        "mode",
        "name_is_new",
        "offset",
        "path",
        "regions",
        "reserve",
    )

    def __init__(
        self,
        path: str | None,
        mode: Mode,
        offset: int = 0,
        facts: _os.FileFacts | None = None,
        fd: int | None = None,
    ) -> None:
        self.path = path
        self.mode = mode
        self.offset = offset
        self.facts = facts  # as they were when it was opened
        self.lock = threading.RLock()  # guards what closes, resizes or re-opens
        self.reserve = True  # growth allocates blocks
        self.guarded = True  # against the loss of the file under the mapping
        self.cut_to = LARGEST  # below it, what had blocks when it was opened must still have
        self.name_is_new = False  # the directory entry is not yet known to be durable
        self.closed = False
        # The handle that users hold, while they do; and all memory that maps the file, once a
        # resize has moved on to another place.
        self.regions: list[weakref.ref[Any]] = []
        self.handle: weakref.ref[Any] | None = None
        # What is to be done to memory that a resize adds: takes the region, the old end, the new.
        self.extend: Callable[[Any, int, int], None] | None = None
        # Set when something is first written, for most mappings are only read; how to flush at the
        # end, and what else to do then, where there is a policy.
        self.ledger: Ledger | None = None
        self.at_end: Callable[[], None] | None = None
        self.last_flush: Callable[[Any], FlushError | None] | None = None
        self._fd = fd  # last: with it there is something to close

    @property
    def identity(self) -> _os.Identity | None:
        """What tells the file from all others."""
        return self.facts.identity if self.facts is not None else None

    @property
    def has_file(self) -> bool:
        """Whether there is a file, rather than memory alone."""
        return self.path is not None or self._fd is not None

    @property
    def name(self) -> str:
        """The file's name for messages."""
        if self.path is not None:
            return repr(self.path)
        return "<anonymous>" if self._fd is None else "<descriptor>"

    @property
    def kept_descriptor(self) -> int | None:
        """The descriptor that is kept; None where the file can be opened anew instead."""
        return self._fd

    def descriptor(self) -> int:
        """Return a descriptor of the file that is kept until `close`."""
        with self.lock:
            if self._fd is None:
                self._fd = self._reopen()
            return self._fd

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Yield a descriptor of the file; opened for this, so that mappings need keep none."""
        with self.lock:  # nobody closes it meanwhile
            if self._fd is not None:
                yield self._fd
                return
        fd = self._reopen()
        try:
            yield fd
        finally:
            os.close(fd)

    def _reopen(self) -> int:
        if self.path is None:
            raise UnsupportedError("<anonymous> has no file behind it")
        try:
            fd, facts = open_file(self.path, self.mode.settled)
        except MissingFileError as error:
            raise replaced_error(self.path, "is gone") from error
        if facts.identity != self.identity:
            os.close(fd)
            raise replaced_error(self.path, "was replaced by another")
        return fd

    def syncs(self) -> contextlib.AbstractContextManager[object]:
        """Return what keeps syncs from starting, having waited for the one under way."""
        return contextlib.nullcontext() if self.ledger is None else self.ledger.syncing

    def make_name_durable(self) -> None:
        """Sync the directory of a file that was created here, once."""
        if self.name_is_new and self.path is not None:
            with contextlib.suppress(FileNotFoundError):  # it was renamed since: another name
                _os.sync_directory(os.path.dirname(os.path.realpath(self.path)))
            self.name_is_new = False

    def close(self) -> None:
        """Close the descriptor, if one is kept."""
        if self.at_end is not None:
            self.at_end()
        with self.lock:
            if self._fd is not None:
                fd, self._fd = self._fd, None
                os.close(fd)

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # While the interpreter shuts down the modules that close may be gone; the kernel closes.
        # Ctrl-C can come before `__init__` has set what there is to close.
        if not finalizing() and hasattr(self, "_fd"):
            self.close()


def replaced_error(path: str, what: str) -> ReplacedError:
    """Return the error for a path that no longer leads to the file that was mapped."""
    reason = f"the file that was mapped {what}; open the path anew to map what is there now"
    return ReplacedError(errno.ESTALE, reason, path)
