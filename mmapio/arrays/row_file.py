"""The file of a growable array, in the hands of its one writer.

A commit is: the rows, a sync, the header, a sync. Rows that no header speaks of are nobody's.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import os
import threading
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import numpy as np

from .. import _forking, _os
from .._validation import LARGEST, as_bytes
from ..errors import (
    ClosedError,
    FileError,
    FormatError,
    LockedError,
    MappingLostError,
    MmapioError,
    ReadOnlyError,
    file_error,
)
from ..files.closing import close_file
from ..files.descriptors import open_file, open_or_create, read_at, replaced_error
from ..files.header_seal import is_sealed
from ..files.holes import holes_of
from ..files.npy import MAGIC, read_header
from ..files.publishing import publishing
from ..files.writeback import write_back
from ..guard.lost_memory import (
    any_loss,
    lost_error,
    raise_if_array_lost,
    raise_if_copy_failed,
)
from ..modes import Mode
from .growing_header import GrowingHeader
from .row_layout import empty_file, layout_of

__all__ = ["RowFile"]


P = ParamSpec("P")
Result = TypeVar("Result")


def _unless_closed(
    method: Callable[Concatenate[RowFile, P], Result],
) -> Callable[Concatenate[RowFile, P], Result]:
    """Let a method raise that the file is closed, or another process's, if that is why it fails."""

    @functools.wraps(method)
    def raising(self: RowFile, *args: P.args, **kwargs: P.kwargs) -> Result:
        try:
            return method(self, *args, **kwargs)
        except (OSError, ValueError) as error:
            # What says something else than that there is no such descriptor says more.
            is_told = isinstance(error, MmapioError)
            if self.fd < 0 and not (is_told and getattr(error, "errno", 0) != errno.EBADF):
                raise self._closed() from error
            raise

    return cast("Callable[Concatenate[RowFile, P], Result]", raising)


class RowFile:
    """A locked file that rows are written to; its header tells of those that are `committed`."""

    __slots__ = (
        "__weakref__",
        "_header",
        "_headers",
        "_is_foreign",
        "_is_full",
        "_is_sure",
        "_place",
        "_tail",
        "committed",
        "fd",
        "layout",
        "lock",
        "loss",
        "path",
        "plain",
    )

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        self.lock = threading.RLock()
        self.loss: Callable[[], MappingLostError] | None = None
        self._is_foreign = False  # as in a child
        self._place = (0, 0)  # device and inode, once the path was seen to lead there
        self._is_full = False  # as all files that are written from start to end
        self._tail = (0, b"")  # where the last bytes of the rows were, and what, at the last look
        self._is_sure = True  # that the header tells of the `committed` rows
        self._headers: tuple[bytes, ...] = ()  # as this writer wrote them: the last is the file's
        _forking.renew_in_child(self)

    @classmethod
    def open(
        cls,
        path: str,
        mode: Mode,
        new: tuple[np.dtype[Any], tuple[int, ...]] | None,
        use: Callable[[RowFile, int], Result],
    ) -> Result:
        """Open or create the file, lock it, and return what `use` makes of it.

        `new` are dtype and shape of a row to create it. `use` is given another descriptor too, to
        map the file by: memory keeps that open, and would keep the lock. A new file gets its name
        when `use` has succeeded. If anything fails, the file is closed.
        """
        if mode is Mode.REPLACE:
            _refuse_locked(path)
        prefix = GrowingHeader(*new).encode(0) if new is not None else b""
        size = None if new is None else len(prefix)
        opened: list[RowFile] = []

        def use_locked(fd: int, facts: _os.FileFacts, is_new: bool) -> Result | None:
            file = cls(_opened_again(fd), path)
            opened.append(file)
            _lock(file.fd, path)
            if not is_new and not _is_at(fd, path):
                return None  # it was replaced in between
            file._read()
            return use(file, fd)

        try:
            while True:
                result = open_or_create(path, mode, size, use_locked, prefix=prefix, durable=True)
                if result is not None:
                    return result
                opened.pop().close()
        except BaseException:
            for file in opened:
                file.close()
            raise

    def _read(self) -> None:
        size = os.fstat(self.fd).st_size
        if size == 0:
            raise empty_file(repr(self.path))
        found = read_header(functools.partial(read_at, self.fd), size)
        self.layout = layout_of(found, repr(self.path))
        self.plain = self.layout.dtype.kind in "biufc"  # others may export no buffer
        self.committed = found.shape[0]
        self._header = GrowingHeader(self.layout.dtype, self.layout.shape, self.layout.data_offset)

    def rows_to_keep(self, keep_rows: bool) -> int:
        """Return how many rows a new writer finds: those committed, or all that are whole.

        Raise if the file is cut off, or if what lies behind the rows may be somebody else's.
        """
        size = os.fstat(self.fd).st_size
        whole = (size - self.layout.data_offset) // self.layout.nbytes
        if keep_rows:
            return whole
        if whole < self.committed:
            raise FormatError(
                f"{self.path!r} is truncated: its header tells of {self.committed} rows, and "
                f"{max(whole, 0)} are there; recover='rows' keeps those"
            )
        end = self.layout.end(self.committed)
        if end < size and not self._is_own_tail(end):
            raise self.foreign_error(self.committed, size, "; recover='rows' takes them for rows")
        return self.committed

    def foreign_error(self, count: int, size: int, hint: str = "") -> FormatError:
        """Return the error for a file that goes on behind its rows."""
        return FormatError(
            f"{self.path!r} has {size - self.layout.end(count)} bytes behind its {count} rows that "
            "no growable array wrote, such as another array: copy them to a file of their own"
            f"{hint}"
        )

    def _is_own_tail(self, end: int) -> bool:
        """Return whether what lies behind the rows are rows that a writer has not committed.

        Only a writer seals the header, before anything else. numpy appends arrays to any file.
        """
        header = read_at(self.fd, 0, self.layout.data_offset)
        return is_sealed(header) and read_at(self.fd, end, len(MAGIC)) != MAGIC

    def prepare(self, count: int, fd: int, use: Callable[[int, int], object]) -> None:
        """Make the file one of `count` rows that can grow, once it was used.

        `use` is called first, with `fd` or that of the copy that will take the file's place if the
        header has no room for larger numbers, and with its size to be: if it fails, the file is as
        it was.
        """
        self.committed = min(count, self.committed)
        if not self._header.fits:
            self._move_to_roomy(count, use)
        else:
            self._seal(count, fd, use)
        with contextlib.suppress(OSError):  # it is not known, and there is no way back
            facts, end = os.fstat(self.fd), self.layout.end(count)
            self._is_full = _allocated(facts) >= end or next(holes_of(self.fd, end), None) is None
            self.note_tail(end)

    def _seal(self, count: int, fd: int, use: Callable[[int, int], object]) -> None:
        """Write a header that can change in place, and cut off what lies behind the rows."""
        size, end = os.fstat(self.fd).st_size, self.layout.end(count)
        use(fd, end)
        try:
            # No number changes, so that a reader sees the same, whatever it sees of this.
            self.write_header(self.committed)
        except OSError as error:
            raise file_error(error, "write the header", self.path) from error
        if end < size:
            self.cut(count)

    def _move_to_roomy(self, count: int, use: Callable[[int, int], object]) -> None:
        """Replace the file by a copy of its first rows with a larger header."""
        header = GrowingHeader(self.layout.dtype, self.layout.shape)
        end, at = self.layout.end(count), self.layout.data_offset
        with publishing(self.path, "rewrite", replace=True, durable=True) as draft:
            self._headers = (header.encode(self.committed),)
            draft.write(self._headers[0])
            while at < end:
                piece = read_at(self.fd, at, min(end - at, 1 << 20))
                if not piece:
                    raise lost_error(self, at, end, "truncated")
                draft.write(piece)
                at += len(piece)
            _lock(draft.fd, self.path)  # before anybody can find it
            again = _opened_again(draft.fd)
            try:
                use(again, os.fstat(again).st_size)
            finally:
                close_file(again)
            draft.keep_open = True
        old, self.fd, self._header = self.fd, draft.fd, header
        self._place = (0, 0)
        close_file(old)
        self.layout = self.layout._replace(data_offset=header.length)

    @_unless_closed
    def write(self, data: Any) -> None:
        """Write rows at the end of the file, to which `check_end` has moved its position.

        Where that is, the system knows: if a signal handler writes rows meanwhile, these follow.
        """
        # As it is, in half the time, if it can be.
        written = _os.write_next(self.fd, data) if self.plain else 0
        if written < data.nbytes:
            left = memoryview(as_bytes(data))[written:]  # type: ignore[arg-type]
            while len(left):
                left = left[_os.write_next(self.fd, left) :]
        if any_loss():
            raise_if_array_lost(data)

    @_unless_closed
    def check_end(self, end: int) -> int:
        """Raise if the file no longer reaches to the end of the rows that were written to it.

        Return its size, to which the position is moved.
        """
        if self.loss is not None:
            raise self.loss()
        try:
            size = os.lseek(self.fd, 0, os.SEEK_END)  # in a third of the time of fstat
        except OSError as error:
            raise file_error(error, "look at the file", self.path) from error
        if size < end:
            raise self._lost(size, end)
        return size

    def check(self, count: int) -> None:
        """Raise if the file, or the one at its path, is not the one that holds so many rows.

        A file that is at no path is left alone, as by the check of a mapping: its rows are where
        they were written to, and nobody new can open it.
        """
        self.check_own()
        if self.loss is not None:
            raise self.loss()
        try:
            self._check_contents(self.layout.end(count))
        except FileError:
            raise
        except OSError as error:
            self.check_own()  # a signal handler, or another thread, may have closed it
            raise file_error(error, "look at the file", self.path) from error

    def _check_contents(self, end: int) -> None:
        facts, is_replaced = self._facts_by_path()
        if facts.st_size < end:
            raise self._lost(facts.st_size, end)
        if is_replaced:
            raise replaced_error(self.path, "was replaced by another")
        self.check_header(end)
        if self._is_full and _allocated(facts) < end and self._has_lost_tail(end):
            hole = self._first_hole(end)
            if hole is not None:
                raise self._lost(hole, end, "and something else grew it again")
        self.note_tail(end)

    def note_tail(self, end: int) -> None:
        """Note how the rows end, which a cut would change, and fewer blocks alone would not."""
        if self._is_full:
            start = max(self.layout.data_offset, end - _os.TAIL_BYTES)
            try:
                self._tail = start, read_at(self.fd, start, end - start)
            except OSError:  # then a change of the last that were noted is looked for
                return

    def take_tail(self, end: int, tail: bytes) -> None:
        """Note that the rows end with some bytes, which were just written."""
        if self._is_full:
            self._tail = end - len(tail), tail

    def _has_lost_tail(self, end: int) -> bool:
        """Return whether what the rows ended with reads zeros; if it was zeros, nothing is lost."""
        start, tail = self._tail
        is_there = start + len(tail) <= end
        return is_there and any(tail) and not any(read_at(self.fd, start, len(tail)))

    def _facts_by_path(self) -> tuple[os.stat_result, bool]:
        """Return the facts of the file, and whether another one is at its path.

        While the path leads to it, which is nearly always, one call answers both.
        """
        try:
            found = os.stat(self.path)
        except OSError:  # it is at no path that this process can see
            return os.fstat(self.fd), False
        if (found.st_dev, found.st_ino) == self._place:
            return found, False
        facts = os.fstat(self.fd)
        if not os.path.samestat(facts, found):
            return facts, True
        self._place = found.st_dev, found.st_ino
        return facts, False

    @_unless_closed
    def check_header(self, end: int) -> None:
        """Raise if the header is not one that this writer wrote."""
        # Not by `read_at`, which moves the position: a signal handler may check while rows are
        # written there.
        headers = self._headers
        while _os.peek(self.fd, 0, self.layout.data_offset, True) not in headers:
            if headers is self._headers:  # else a signal handler has committed meanwhile
                raise self._lost(0, end, "and something else wrote it anew")
            headers = self._headers

    def _first_hole(self, end: int) -> int | None:
        try:
            return next((start for start, _ in holes_of(self.fd, end)), None)
        finally:
            os.lseek(self.fd, 0, os.SEEK_END)  # where it was left

    def ends_with(self, count: int) -> bool:
        """Return whether the file is known to end behind so many rows."""
        try:
            return os.fstat(self.fd).st_size == self.layout.end(count)
        except OSError:
            return False

    def _lost(self, start: int, stop: int, more: str = "") -> MappingLostError:
        """Note that a part of the file was lost, for good: what is there again is not the rows."""
        self.loss = functools.partial(lost_error, self, start, stop, "truncated", more)
        return self.loss()

    def undone(self, count: int, error: BaseException, data: Any) -> BaseException:
        """Return the error to raise when rows could not be written behind the first `count`."""
        if self.fd < 0:
            return self._closed()
        raise_if_copy_failed(error, data)
        if not isinstance(error, OSError) or isinstance(error, FileError):
            return error
        hint = f"nothing was appended; the first {count} rows are as they were"
        return file_error(error, "append", self.path, hint)

    @_unless_closed
    def drop(self, end: int, rows: int) -> None:
        """Cut the file off where so many rows end, whatever is behind them."""
        try:
            os.ftruncate(self.fd, end)
        except OSError as error:
            raise file_error(error, f"cut off behind {rows} rows", self.path) from error

    @_unless_closed
    def cut(self, count: int) -> None:
        """Cut the file off behind so many rows, unless it ends before, or was lost."""
        end = self.layout.end(count)
        try:
            if self.loss is None and os.fstat(self.fd).st_size > end:
                self.check_header(end)  # or what is behind the rows is somebody else's
                os.lseek(self.fd, end, os.SEEK_SET)
                os.ftruncate(self.fd, end)  # last: from here on there is no way back
        except FileError:
            raise
        except OSError as error:
            raise file_error(error, f"cut off behind {count} rows", self.path) from error

    @_unless_closed
    def write_header(self, count: int, most: float = math.inf) -> None:
        """Write a header that tells readers of so many rows, unless it tells of more than `most`.

        Then a signal handler has committed more meanwhile. If it does so later, its header is
        written again.
        """
        header = self._header.encode(count)
        if self.committed > most:
            return
        before, self.committed = self.committed, count
        self._headers = (*self._headers[-1:], header)  # Ctrl-C may come before or after the write
        self._is_sure = False
        while True:
            newest = self._headers[-1]
            try:
                _os.write_at(self.fd, newest, 0)
            except BaseException:
                self.committed = before  # the next commit writes one again
                raise
            if self._headers[-1] is newest:
                break
        self._headers = (newest,)
        self._is_sure = True

    def tells_of(self, count: int) -> bool:
        """Return whether the header is known to tell readers of so many rows.

        It is not when Ctrl-C came while it was written.
        """
        return self._is_sure and self.committed == count

    @_unless_closed
    def sync(self) -> None:
        """Sync the file: all rows that were written survive a power loss."""
        try:
            size = os.fstat(self.fd).st_size
        except OSError as error:  # which tells nothing of the data
            raise file_error(error, "look at the file", self.path) from error
        write_back(self.fd, self.layout.end(self.committed), size)
        _os.sync_data(self.fd)

    def check_own(self) -> None:
        """Raise an error if it was closed, or in a forked child: the file is its parent's."""
        if self.fd < 0:
            raise self._closed()

    def _closed(self) -> ClosedError | ReadOnlyError:
        if not self._is_foreign:
            return ClosedError(f"the growable array of {self.path!r} is closed")
        return ReadOnlyError(
            f"{self.path!r} is written by the process that opened it, not by this one, which was "
            "forked from it; open it anew"
        )

    def renew(self) -> None:
        """Leave the file to the parent: its descriptor holds the lock, and must be the last."""
        self.lock = threading.RLock()
        self._is_foreign = self.fd >= 0
        if self._is_foreign:
            fd, self.fd = self.fd, -1
            try:
                os.close(fd)  # not by a function of ours, before which Ctrl-C would leave it open
            except OSError as error:
                if error.errno == errno.EBADF:
                    raise

    def close(self) -> None:
        """Unlock the file and close it.

        Else a process that is forked or started at the moment, in which no copy of the descriptor
        is closed yet, would keep the lock for that time. Ctrl-C may come at any call.
        """
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            try:
                _unlock(fd)
            finally:
                close_file(fd)

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            self.close()


def _allocated(facts: os.stat_result) -> int:
    """Return the bytes that a file takes on the drive."""
    blocks: int = getattr(facts, "st_blocks", LARGEST)
    return blocks * 512


def _opened_again(fd: int) -> int:
    """Return a descriptor of an open file, which may have no name, with locks of its own."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDWR)  # proc_pid_fd(5)
    except OSError:  # there is no such folder: the lock lasts as long as memory that was mapped
        return os.dup(fd)


def _lock(fd: int, path: str) -> None:
    try:
        if _os.lock_file(fd):
            return
        pid = _os.lock_holder(fd)
    except OSError as error:
        raise file_error(error, "lock", path) from error
    who = "another process" if pid is None else f"process {pid}"
    locked = LockedError(
        errno.EWOULDBLOCK, f"{who} is writing to it; one at a time can, all can read", path
    )
    locked.pid = pid
    raise locked


def _is_at(fd: int, path: str) -> bool:
    """Return True if a path leads to an open file."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _unlock(fd: int) -> None:
    """Unlock a file that is about to be closed, which does so as well if this cannot."""
    with contextlib.suppress(OSError):
        _os.unlock_file(fd)


def _refuse_locked(path: str) -> None:
    """Raise an error if a file has a writer, whose rows nobody would see once it is replaced."""
    try:
        fd, _ = open_file(path, Mode.UPDATE)
    except FileError:
        return  # it is not there, or no file that has a writer
    try:
        _lock(fd, path)
        _unlock(fd)  # at once, whoever has a copy of the descriptor
    finally:
        close_file(fd)
