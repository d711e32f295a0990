"""The guard: memory that a file no longer has becomes zeros and an error, not the process's end.

A file that somebody else cuts off, a full disk under a file with holes, and a drive that fails all
send SIGBUS to a thread that uses a mapping of the file. The guard answers the ones that come from
watched memory: it puts zeros in place of what is lost, and notes where. All others go on to
whatever handled them before.

Its machine code is loaded when the first file is mapped, and compiled if it is not on disk yet.
``MMAPIO_GUARD=0`` in the environment, or ``guard=False`` when a file is opened, leaves it out. It
is there on Linux, on x86-64 and aarch64.

Holding a descriptor of each file would tell at once how much of it is gone, but there are only
so many descriptors. The guard keeps none: when there is a fault it asks for the size by the path,
as long as that leads to the same file. If not, it gives up page by page.
"""

from __future__ import annotations

import functools
import os
import platform
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from .. import _forking, _os
from .._os import _native
from .._warning import warn
from ..modes import Access

if TYPE_CHECKING:
    from ..modes import Mode
    from ._handler import Handler

__all__ = [
    "GuardedFile",
    "GuardedMemory",
    "Loss",
    "any_loss",
    "ensure",
    "forget",
    "loss_of",
    "losses_at",
    "lost_between",
    "prepare",
    "reset",
    "take_row",
    "watch",
    "watch_row",
    "why_not",
]

_VARIABLE = "MMAPIO_GUARD"
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_BATCH = 64

_ROW_WORDS = 16
_ALL_FAULTS = 0  # in the first row, which is no mapping's
_LENGTH, _START = 0, 1
_FAULTS, _NOT_LOW, _HIGH, _CODE, _PAST_END = 10, 11, 12, 13, 14
_HIGHEST = 2**64 - 1
# What comes after the length, up to what the handler notes.
_pack_into = Struct("@QQqQQQIIQq").pack_into
# Where the characters of a bytes object begin.
_TO_CHARACTERS = bytes.__basicsize__ - 1
_NO_PATH = b""
_NO_ROW = (0, 0, 0)
_READ = Access.READ  # to look it up in the enum takes as long as to compare it
_encoded = os.fsencode


class GuardedFile(Protocol):
    """The file behind guarded memory."""

    @property
    def path(self) -> str | None: ...
    @property
    def mode(self) -> Mode: ...
    @property
    def offset(self) -> int: ...
    @property
    def facts(self) -> _os.FileFacts | None: ...
    @property
    def kept_descriptor(self) -> int | None: ...
    def opened(self) -> AbstractContextManager[int]: ...
    def has_hole(self, start: int, stop: int) -> bool: ...
    def facts_now(self) -> _os.FileFacts | None: ...


class GuardedMemory(Protocol):
    """Memory that maps a file."""

    @property
    def source(self) -> GuardedFile: ...
    @property
    def address(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def row(self) -> int: ...
    def take_row(self, row: int) -> None: ...


class Loss(NamedTuple):
    """Loss of a part of a mapping: addresses from `low` to `high`, which hold zeros now.

    `code` is the system's ``si_code``; `past_end` tells that the file ended before.
    """

    low: int
    high: int
    code: int
    past_end: bool


@functools.cache
def why_not() -> str | None:
    """Return why there is no guard in this process; None if there is one."""
    if _table.failure is not None:
        return _table.failure
    if os.environ.get(_VARIABLE) == "0":
        return f"{_VARIABLE}=0 switched it off"
    machine = platform.machine()
    if sys.platform == "linux" and sys.maxsize > 2**32 and _os.CAN_MAP_PAST_END:
        if sys.implementation.name == "cpython" and machine in ("x86_64", "aarch64"):
            return None
    return f"there is none for {sys.platform} on {machine}; check() compares sizes only"


class _Table:
    """The handler, once there is one, and which rows of its table are free."""

    def __init__(self) -> None:
        self.handler: Handler | None = None
        self.failure: str | None = None  # why it cannot be had
        self.free: list[int] = []
        self.paths: dict[int, bytes] = {}  # what the rows point to
        self.guarded: dict[int, weakref.ref[GuardedMemory]] = {}  # what the rows stand for
        self.renew()

    def renew(self) -> None:
        """Replace the lock."""
        self.lock = threading.RLock()  # a signal handler may map a file as well

    def start(self) -> Handler | None:
        """Make the handler, once; None if that cannot be done here."""
        with self.lock:
            if self.handler is None and self.failure is None:
                try:
                    from ._handler import Handler

                    made = Handler()
                    if self.handler is None:  # else a signal handler was first
                        self.handler = made
                    if "llvmlite.binding" in sys.modules:  # else their first call looks, or none
                        _native.look_again()
                except Exception as error:  # code made at run time may be forbidden, for one
                    self.failure = f"it cannot be compiled here: {error}"
                    why_not.cache_clear()
            return self.handler

    def row(self, handler: Handler) -> int:
        """Take a row out of the free ones; 0 if there is none."""
        try:
            return self.free.pop()
        except IndexError:
            pass
        from ._handler import FIRST_ROW, ROWS

        with self.lock:
            while rows := range(used := handler.used, min(used + _BATCH, ROWS)):
                first, stop = rows[0], rows.stop
                if handler.used == used:  # else a signal handler has taken them
                    handler.used = stop
                    self.free.extend(reversed(rows[1:]))
                    return first
        # Without the lock: what shows the warning may map a file.
        warn(f"only {ROWS - FIRST_ROW} mappings can be guarded at once; this one is not")
        return 0


_table = _Table()
_forking.renew_in_child(_table)
_native.on_first_use()


def prepare() -> None:
    """Make ready the machine code that mapping a file takes, and keep it on disk for others."""
    if why_not() is None:
        _table.start()


def watch(region: GuardedMemory, start: int, length: int, offset: int) -> None:
    """Guard the pages of a region from `start` on, which map its file from `offset` on.

    Its `row` is the number that the others take; it stays 0 if there is no guard.
    """
    table, source = _table, region.source
    handler, facts = table.handler, source.facts
    if handler is None and why_not() is None:
        handler = table.start()
    if handler is None or facts is None:
        return
    row = table.row(handler)
    if not row:
        return
    fd, path = source.kept_descriptor, source.path
    if facts.is_device:  # whose size the system does not tell here: pages are given up one by one
        fd = path = None
    table.paths[row] = name = _NO_PATH if fd is not None or path is None else _encoded(path)
    _, inode, _, _, born, _, major, minor = facts
    at = row * _ROW_WORDS
    _pack_into(
        handler.memory,
        8 * at + 8,
        start,
        1 if source.mode.access is _READ else 3,
        _AT_FDCWD if fd is None else fd,
        id(name) + _TO_CHARACTERS,
        0 if fd is None else _AT_EMPTY_PATH,
        inode,
        major,
        minor,
        born,
        offset,
    )
    words = handler.words
    if words[at + _FAULTS]:
        reset(row)
    handler.ensure()  # and so all of the row is in memory before its length is
    table.guarded[row] = weakref.ref(region)
    region.take_row(row)  # first: Ctrl-C may come at any time, and the region must forget it then
    words[at] = length


def take_row(path: bytes) -> tuple[int, int, int]:
    """Return a row for a file that is about to be mapped whole, if there is one; else 0.

    With it come its address and that of the handler, for `_os.map_whole` to fill and to look for.
    Afterwards, it is for `watch_row` or `forget`.
    """
    table = _table
    handler = table.handler
    if handler is None and why_not() is None:
        handler = table.start()
    if handler is None:
        return _NO_ROW
    try:  # as `row` does, without the call: this is on the way of every file that is opened
        row = table.free.pop()
    except IndexError:
        row = table.row(handler)
        if not row:
            return _NO_ROW
    table.paths[row] = path
    return row, handler.address + 8 * _ROW_WORDS * row, handler.function


def watch_row(region: GuardedMemory, row: int, is_on_top: int) -> None:
    """Guard a region by a row that is filled; the handler may be known to be on top."""
    table = _table
    region.take_row(row)  # first: Ctrl-C may come at any time, and the region must forget it then
    table.guarded[row] = weakref.ref(region)
    if not is_on_top and table.handler is not None:
        table.handler.ensure()


def forget(row: int) -> None:
    """Guard the memory of a row no longer: before it is unmapped, and somebody else has it."""
    handler = _table.handler
    if row and handler is not None:
        handler.words[row * _ROW_WORDS] = 0
        _table.free.append(row)


def ensure() -> None:
    """Put the handler on top, in case that another one has come since."""
    if _table.handler is not None:
        _table.handler.ensure()
        _table.handler.refill()


def loss_of(row: int) -> Loss | None:
    """Return what was lost of a mapping; None if nothing was."""
    handler = _table.handler
    if not row or handler is None:
        return None
    at = row * _ROW_WORDS
    words = handler.words[at : at + _ROW_WORDS]
    if not words[_FAULTS]:
        return None
    return Loss(words[_NOT_LOW] ^ _HIGHEST, words[_HIGH], words[_CODE], bool(words[_PAST_END]))


def any_loss() -> bool:
    """Return whether anything was lost in this process: all else is asked only then."""
    handler = _table.handler
    return handler is not None and handler.words[_ALL_FAULTS] != 0


def losses_at() -> int:
    """Return the address of a word that is not 0 if `any_loss`; 0 if there can be no loss yet."""
    handler = _table.handler
    if handler is None:
        return 0
    address: int = np.frombuffer(handler.memory, np.uint64).__array_interface__["data"][0]
    return address + 8 * _ALL_FAULTS


def lost_between(low: int, high: int) -> Iterator[GuardedMemory]:
    """Yield the guarded memory that has lost something and lies between two addresses."""
    handler = _table.handler
    if handler is None:
        return
    rows = np.frombuffer(handler.memory, np.uint64).reshape(-1, _ROW_WORDS)[: handler.used]
    start, length = rows[:, _START], rows[:, _LENGTH]
    with np.errstate(over="ignore"):
        lies_there = (start < high) & (start + length > low)
    for row in np.flatnonzero(lies_there & (rows[:, _FAULTS] != 0)).tolist():
        found = _table.guarded.get(row)
        memory = found() if found is not None else None
        if memory is not None:
            yield memory


def reset(row: int, low: int = 0, high: int = 0) -> None:
    """Note that of a mapping nothing is lost, or only what lies between two addresses."""
    handler = _table.handler
    if row and handler is not None:
        at, still = row * _ROW_WORDS, low < high
        handler.words[at + _NOT_LOW] = low ^ _HIGHEST if still else 0
        handler.words[at + _HIGH] = high if still else 0
        handler.words[at + _PAST_END] &= still
        handler.words[at + _FAULTS] = int(still)
