"""The file behind a mapping: opened, created, and recognised again."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from .. import _os
from .._validation import LARGEST
from ..durability.write_ledger import Ledger
from ..errors import FlushError, MissingFileError, UnsupportedError
from ..files.descriptors import open_file, replaced_error
from ..modes import Mode

__all__ = ["Source"]


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
