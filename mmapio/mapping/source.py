"""Source of a mapping's bytes: a file, or memory alone; its identity, options and lifetime."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from .. import _forking, _os
from .._reentry import is_within_call
from ..durability.policy import FlushPolicy
from ..durability.write_ledger import Ledger
from ..errors import (
    ClosedError,
    FlushError,
    InUseError,
    MissingFileError,
    UnsupportedError,
    file_error,
)
from ..files.closing import close_file
from ..files.descriptors import identify, open_file, replaced_error
from ..files.holes import has_hole
from ..files.publishing import is_passing, sync_names
from ..modes import Access, Mode
from .cut_watch import CutWatch
from .options import MapOptions

__all__ = ["Source", "changing", "closing"]


_END_BYTES = 64
_PAUSE_S = 0.001

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


def changing(change: Callable[Concatenate[Source, P], R]) -> Callable[Concatenate[Source, P], R]:
    """Let a function that changes where a mapping lies be the only one.

    The caller holds the lock. So whoever else changes it is a signal handler of the same thread,
    which cannot wait, and is refused.
    """

    @functools.wraps(change)
    def alone(source: Source, *args: P.args, **kwargs: P.kwargs) -> R:
        source.check_settled()
        try:
            source.is_changing = True
            return change(source, *args, **kwargs)
        finally:
            source.is_changing = False

    return cast(Callable[Concatenate[Source, P], R], alone)


def closing(close: Callable[[Source, A, B, C], None]) -> Callable[[Source, A, B, C], None]:
    """Let a function that closes a mapping keep others from changing where that lies.

    It may itself interrupt one that does, which then goes on in memory that is still mapped.
    """

    @functools.wraps(close)
    def ahead(source: Source, a: A, b: B, c: C) -> None:
        before = source.is_changing
        try:
            source.is_changing = True
            close(source, a, b, c)
        finally:
            source.is_changing = before

    return ahead


class _Ending(Protocol):
    """End of a mapping that has a flush policy."""

    def takes(self, region: Any) -> bool: ...
    def cancel(self) -> None: ...


class _Handle(Protocol):
    """The `MappedFile` that users hold of an open mapping."""

    def _hide(self) -> None: ...
    def _look(self) -> None: ...


class _KeptDescriptor:
    """A descriptor that is open until it is closed, or nobody has this object any more.

    So the `Source` that holds it needs no finalizer, which would cost all that hold none.
    """

    __slots__ = ("_ends", "_users", "number")

    def __init__(self, fd: int) -> None:
        self._users = 0  # which hold the lock of the mapping, as does who closes it
        self._ends = False
        self.number = fd

    def close(self) -> None:
        """Close it, once; when it is in use, at the end of that."""
        self._ends = True
        if self._users == 0:
            fd, self.number = self.number, -1
            if fd >= 0:
                close_file(fd)

    def __enter__(self) -> int:
        self._users += 1
        return self.number

    def __exit__(self, *error: object) -> None:
        self._users -= 1
        if self._ends:
            self.close()

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # While the interpreter shuts down the modules that close may be gone; the kernel closes.
        # Ctrl-C can come before `__init__` has set what there is to close.
        if not finalizing() and hasattr(self, "number"):
            self.close()


class Source:
    """Source of a mapping's bytes: a file from some byte on, or memory without one.

    `path`, `options`, `offset` and `facts`, those of the file as it was opened, never change. What
    does is changed by the methods.

    Parameters
    ----------
    options : MapOptions
        Options of the mapping.
    path : str, optional
        Absolute path of the file.
    facts : FileFacts, optional
        Identity and size of the file as it was opened.
    fd : int, optional
        Descriptor that is kept from now on, and closed at the end.
    is_new : bool
        Whether the file was created just now, so that its name is not durable yet.
    """

    __slots__ = (
        "__weakref__",
        "_handle",
        "_kept",
        "_places",
        "busy",
        "closed",
        "cut_watch",
        "ending",
        "ends_in_data",
        "facts",
        "is_changing",
        "is_written_back",
        "ledger",
        "lock",
        "mode",
        "name_failure",
        "name_is_new",
        "offset",
        "options",
        "path",
        "syncing",
    )

    def __init__(
        self,
        options: MapOptions,
        path: str | None = None,
        facts: _os.FileFacts | None = None,
        fd: int | None = None,
        is_new: bool = False,
    ) -> None:
        # As little as can be: this is on the way of every file that is opened.
        self.options = options
        self.path = path
        self.mode: Mode = options.mode
        self.offset = options.offset
        self.facts = facts
        has_file = path is not None or fd is not None
        self.is_written_back = has_file and options.mode.access is Access.WRITE
        self.renew()
        self.closed = False
        self.ends_in_data = False
        self.cut_watch: CutWatch | None = None
        # Made when something is first written, for most mappings are only read.
        self.ledger: Ledger | None = None
        self.ending: _Ending | None = None
        self.name_is_new = is_new
        self.name_failure: tuple[int, str, str] | None = None
        # All memory that maps the file, the newest last; and the handle that users hold.
        self._places: tuple[weakref.ref[Any], ...] = ()
        self._handle: weakref.ref[_Handle] | None = None
        self._kept = None if fd is None else _KeptDescriptor(fd)

    def renew(self) -> None:
        """Start with no other threads, as a forked child does, whatever those of its parent did.

        A child calls it by way of the regions that are alive, and of the handle that users hold.
        """
        self.lock = threading.RLock()  # guards what closes, resizes or re-opens
        # Threads that copy from or to the mapping without the lock, and threads that sync it. They
        # are sets: of dicts, for an empty one takes a third of the memory.
        self.busy: dict[int, None] = {}
        self.syncing: dict[int, None] = {}
        self.is_changing = False  # whether its holder is about to close or to resize it

    def stop_copying(self) -> bool:
        """Count this thread no more as one that copies or syncs, before it waits for the lock.

        Whoever holds the lock may wait for those that do, and a signal handler may ask for it in
        such a call. Return whether this thread was one that copies.
        """
        me = threading.get_ident()
        was_busy = me in self.busy
        self.busy.pop(me, None)
        self.syncing.pop(me, None)
        return was_busy

    def is_used_here(self) -> bool:
        """Return whether a call of this thread uses the mapping, which the caller interrupts."""
        if self.busy or self.syncing:
            me = threading.get_ident()
            if me in self.busy or me in self.syncing:
                return True
        # One that holds the lock may also be the caller's own.
        owns: bool = self.lock._is_owned()  # type: ignore[attr-defined]
        return owns and is_within_call()

    def wait_for_copies(self) -> None:
        """Wait until no other thread copies from or to the mapping; none begins to meanwhile."""
        _wait_for(self.busy)

    def wait_for_syncs(self) -> None:
        """Wait until no other thread syncs the mapping."""
        _wait_for(self.syncing)

    def check_settled(self) -> None:
        """Raise if the call that this one interrupts is closing or resizing the mapping."""
        if self.is_changing:
            raise self._in_use()

    def check_unused_here(self) -> None:
        """Raise if the call that this one interrupts uses the mapping."""
        if self.is_used_here():
            raise self._in_use()

    def _in_use(self) -> InUseError:
        return InUseError(
            f"the mapping of {self.name} is in use by the call that this one interrupts; do it "
            "when that has returned"
        )

    def _locked(self) -> threading.RLock:
        """Return the lock, to be taken at once: whoever holds it does not wait for this thread."""
        if self.busy or self.syncing:
            self.stop_copying()
        return self.lock

    # The file ------------------------------------------------------------------------------------

    @property
    def identity(self) -> _os.Identity | None:
        """Identity of the file: device, inode, birth time."""
        return self.facts.identity if self.facts is not None else None

    @property
    def has_file(self) -> bool:
        """True if there is a file, rather than memory alone."""
        return self.path is not None or self._kept is not None

    @property
    def name(self) -> str:
        """The file's name for messages."""
        if self.path is not None:
            return repr(self.path)
        return "<anonymous>" if self._kept is None else "<descriptor>"

    @property
    def kept_descriptor(self) -> int | None:
        """The descriptor that is kept; None where the file can be opened anew instead."""
        return None if self._kept is None else self._kept.number

    def descriptor(self) -> int:
        """Return a descriptor of the file that is kept until `close`."""
        with self._locked():
            if self._kept is None:
                opened = _KeptDescriptor(self._reopen())
                if self._kept is None:  # else a signal handler has opened it meanwhile
                    self._kept = opened
                else:
                    opened.close()
            return self._kept.number

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Yield a descriptor of the file; opened for this, so that mappings need keep none."""
        with self._locked():  # nobody closes it meanwhile
            fd = -1 if self._kept is None else self._duplicate(self._kept.number)
        if fd < 0:
            fd = self._reopen()
        try:
            yield fd
        finally:
            close_file(fd)

    def opened_here(self) -> AbstractContextManager[int]:
        """Return what yields a descriptor as `opened` does, to the holder of the lock.

        It may be the one that is kept, which then stays open: a signal handler may close the
        mapping, and open another file, whose descriptor might have the same number.
        """
        return self.opened() if self._kept is None else self._kept

    def _duplicate(self, fd: int) -> int:
        try:
            return os.dup(fd)
        except OSError as error:
            raise file_error(error, "open the file once more", self.path) from error

    def _reopen(self) -> int:
        if self.path is None:
            raise UnsupportedError("<anonymous> has no file behind it")
        try:
            fd, facts = open_file(self.path, self.mode.settled, devices=True)
        except MissingFileError as error:
            raise replaced_error(self.path, "is gone") from error
        if facts.identity != self.identity:
            close_file(fd)
            raise replaced_error(self.path, "was replaced by another")
        return fd

    def facts_now(self) -> _os.FileFacts | None:
        """Return what is known of the file now; None where there is none to ask about."""
        with self._locked():
            if self._kept is not None:
                return identify(self._kept.number, self.path)
        if self.path is None:
            return None
        try:
            return _os.identify_path(self.path)
        except OSError:  # it was deleted, or lies where this process may not look any more
            return None

    def start_writing(self, start: int, length: int) -> None:
        """Start to write a range of the mapping to the drive, unless that is closed."""
        if self.busy or self.syncing:
            self.stop_copying()
        with self.lock:  # nobody closes the descriptor meanwhile
            try:
                if not self.closed:
                    kept = self._kept
                    fd = self.descriptor() if kept is None else kept.number
                    _os.start_writeback(fd, self.offset + start, length)
            except OSError:
                if not self.closed:  # by a signal handler, a moment ago
                    raise

    def sync_memory(self, address: int, length: int, failed: list[int]) -> bool:
        """Sync the pages that hold some memory; add to `failed` if it fails, as `_os.sync` does.

        Return whether the file is known to be as it was when its mapping was last checked.
        """
        lead = address % _os.PAGE_SIZE
        watch = self.cut_watch
        if watch is None or watch.seen is None:
            _os.sync(address - lead, length + lead, failed)
            return False
        path, facts = watch.seen
        kept = self._kept
        fd = -1 if kept is None else kept.number
        return _os.sync_unchanged(address - lead, length + lead, failed, fd, path, facts)

    def has_hole(self, start: int, stop: int) -> bool:
        """Return whether a part of a range of the file has no blocks."""
        with self.opened() as fd:
            return has_hole(fd, start, stop)

    def note_end(self, fd: int, address: int, length: int) -> None:
        """Note whether so many bytes, mapped at an address, end in data: a cut would show.

        They do not if holes are there already. What is on the drive only is not read for this.
        """
        if self.mode.access is not Access.WRITE or self.name_is_new:
            return  # Linux tells what is in memory to those who may write
        facts = self.facts
        if facts is not None and length and facts.allocated >= facts.size:
            last = address + length - 1
            if _os.is_resident(last - last % _os.PAGE_SIZE):
                self.ends_in_data = self.has_data_at(fd, length, False)

    def has_data_at(self, fd: int, end: int, wait: bool) -> bool:
        """Return whether bytes other than zero precede one of the mapping, in the same page.

        Without waiting for the drive, it is False if that is not known.
        """
        stop = self.offset + end
        length = min(end, _END_BYTES, (stop - 1) % _os.PAGE_SIZE + 1)
        return bool(_os.peek(fd, stop - length, length, wait).strip(b"\0"))

    def watch_cuts(self, blocks: int) -> CutWatch:
        """Return the watch over the end of the file, which has so many blocks."""
        if self.cut_watch is None:
            self.cut_watch = CutWatch(blocks)
        return self.cut_watch

    def forget_end(self) -> None:
        """Forget how the file ended: this process has changed it, or takes it as it is."""
        self.ends_in_data = False
        self.cut_watch = None

    # The memory ----------------------------------------------------------------------------------

    def add_place(self, place: weakref.ref[Any]) -> None:
        """Note a `Region` that shows the bytes from now on; older ones go on to show them."""
        older = self._places
        self._places = (*(ref for ref in older if ref() is not None), place) if older else (place,)

    @property
    def places(self) -> list[Any]:
        """All regions that show the bytes and are mapped, the newest last."""
        if len(self._places) == 1:  # as of nearly all
            place = self._places[0]()
            return [place] if place is not None and place.start < place.end else []
        return [p for ref in self._places if (p := ref()) is not None and p.start < p.end]

    @property
    def newest_place(self) -> Any:
        """The region that shows the bytes now; the mapping must be open."""
        place = self._places[-1]()
        if place is not None and place.start < place.end:
            return place
        places = self.places
        if not places:  # it was open a moment ago
            raise ClosedError(f"the mapping of {self.name} is closed")
        return places[-1]

    def hand_out(self, handle: _Handle) -> None:
        """Note the handle that users hold of the mapping: with it this may outlive the memory."""
        _forking.renew_in_child(self)
        self._handle = weakref.ref(handle)

    def handle(self) -> _Handle | None:
        """Return the handle that users hold; None if nobody does."""
        return None if self._handle is None else self._handle()

    # Durability ----------------------------------------------------------------------------------

    def keep_account(self) -> Ledger:
        """Return the account of what is not durable, which there is from the first write on."""
        if self.ledger is None:
            with self._locked():
                made = Ledger(self.options.flush_policy or FlushPolicy.manual())
                if self.ledger is None:
                    self.ledger = made
        return self.ledger

    @property
    def flushes_itself(self) -> bool:
        """True if a policy flushes without being told to."""
        return self.ending is not None

    def end_with(self, ending: _Ending) -> None:
        """Note what ends the mapping if it has a policy that flushes."""
        self.ending = ending

    def make_name_durable(self) -> None:
        """Sync the directory of a file that was created here, once."""
        if self.name_is_new and self.path is not None:
            if self.name_failure is not None:
                raise FlushError(*self.name_failure)
            try:
                found = sync_names(os.path.dirname(os.path.realpath(self.path)))
            except OSError as error:
                # As of data, a second sync would say that all is well.
                reason = error.strerror or str(error)
                text = f"the bytes are durable, but the name of the new file may not be: {reason}"
                self.name_failure = (error.errno or errno.EIO, text, self.path)
                raise FlushError(*self.name_failure) from error
            if found is not None and is_passing(found):
                text = (
                    f"the bytes are durable, but the name of the new file is not: {found.strerror}"
                )
                raise FlushError(found.errno or 0, text + "; flush again later", self.path)
            self.name_is_new = False

    # The end -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the mapping for good: nobody is given a view any more. The caller has the lock."""
        self.closed = True
        self.cut_watch = None
        if self.ending is not None:
            self.ending.cancel()
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()


def _wait_for(threads: dict[int, None]) -> None:
    """Wait until a set holds no thread but this one."""
    me, pause_s = {threading.get_ident()}, 0.0
    while threads.keys() - me:
        time.sleep(pause_s)
        pause_s = min(_PAUSE_S, 2 * pause_s + 1e-6)
