"""Files that appear at their path complete, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

from .. import _os
from ..errors import FileError, file_error
from .attributes import Attributes, narrow
from .closing import close_file
from .writeback import write_back

__all__ = ["Draft", "is_passing", "publishing", "publishing_error", "sync_names"]

_NEW: int = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
_NEW |= getattr(os, "O_BINARY", 0)
_ALL: Final = 0o666
_OWN: Final = 0o600  # until the file has the attributes of the one that it replaces
# What file systems without hard links say to one.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
# A directory that this process may write to but not read; file systems that sync none, as SMB.
_NEVER = frozenset((errno.EACCES, errno.EPERM, errno.EINVAL, errno.EBADF, errno.EROFS))
_NEVER |= {errno.ENOENT, errno.ENOTDIR, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN, errno.ENOBUFS)


def sync_names(directory: str) -> OSError | None:
    """Make the names in a directory durable; return the error if that cannot be asked for.

    An error that is raised means that the drive has failed: the names, and no bytes, may be lost.
    """
    try:
        _os.sync_directory(directory)
    except OSError as error:
        if error.errno in _NEVER or is_passing(error):
            return error
        raise
    return None


def is_passing(error: OSError) -> bool:
    """Return whether an error is one of a process that lacks descriptors or memory right now."""
    return error.errno in _PASSING


@contextlib.contextmanager
def publishing(
    path: str, doing: str, *, replace: bool, durable: bool, permissions: int = _ALL
) -> Iterator[Draft]:
    """Yield a new file, which appears at `path` if the block ends well.

    Whoever has the old file open or mapped keeps it whole. `durable` makes the contents and the
    name survive a power loss before this returns. `doing` begins the message of an error. The new
    file has owner, permissions and attributes of the one that it replaces, as far as the system
    lets; if there is none, the `permissions` that the umask leaves.
    """
    target = os.path.realpath(path) if replace else path
    directory, name = os.path.split(target)
    try:
        replaced = Attributes.of_replaced(target, doing) if replace else None
        draft = Draft(directory, name, permissions if replaced is None else _OWN)
        try:
            yield draft
            if replaced is not None:
                replaced.give(draft.fd)
            if durable:
                write_back(draft.fd, 0, os.fstat(draft.fd).st_size)
                _os.sync_file(draft.fd)
            draft.publish(target, replace)
            if durable:
                _sync_name(draft, directory, path)
        except BaseException:
            draft.keep_open = False
            raise
        finally:
            draft.discard()
    except FileError:
        raise
    except OSError as error:
        raise publishing_error(error, path, directory, doing, replace) from error


def publishing_error(
    error: OSError, path: str, directory: str, doing: str, replace: bool
) -> FileError:
    """Return the error to raise when a file could not be made in a directory."""
    hint = ""
    if isinstance(error, FileExistsError):
        hint = "open it in mode 'r+' or 'a+', or replace it with overwrite=True or mode 'w+'"
    elif isinstance(error, FileNotFoundError):
        hint = f"is there a directory {directory!r}?"
    elif error.errno == errno.EACCES:
        hint = f"the directory {directory!r} must be writable: a file is made in it"
    elif replace and error.errno == errno.EPERM:
        hint = "only its owner replaces a file in a sticky directory, and nobody an immutable one"
    return file_error(error, doing, path, hint)


def _sync_name(draft: Draft, directory: str, path: str) -> None:
    """Make the name of a published file durable; an error does not say that there is no file."""
    try:
        if sync_names(directory) is not None and draft.fd >= 0:
            # Its inode has changed with the name, and journals write both in one transaction.
            _os.sync_file(draft.fd)
    except OSError as error:
        reason = error.strerror or str(error)
        text = "the new file is in its place, but may not survive a loss of power under this name: "
        raise FileError(error.errno or errno.EIO, text + reason, path) from error


class Draft:
    """A new file in a directory: nameless where the platform can, else under a hidden name.

    Set `keep_open` to own the descriptor `fd` once the file is published.
    """

    __slots__ = ("_directory", "_hidden", "_name", "_published", "fd", "keep_open")

    def __init__(self, directory: str, name: str, permissions: int = _ALL) -> None:
        self._directory = directory
        self._name = name
        self._hidden: str | None = None  # the name that is in the directory now
        if sys.platform == "win32":  # where it is a folder that permits
            permissions = _ALL
        fd = _os.open_nameless(directory)
        if fd is None:
            self._hidden = self._hidden_name()
            fd = os.open(self._hidden, _NEW, permissions)
        self.fd = fd
        self._published = False
        self.keep_open = False
        if self._hidden is None and permissions != _ALL:
            try:
                narrow(fd, permissions)
            except BaseException:
                close_file(fd)
                raise

    def write(self, data: Any) -> None:
        """Write all of a buffer of bytes at the position of the file."""
        left = memoryview(data)
        while len(left):
            left = left[os.write(self.fd, left) :]

    def publish(self, target: str, replace: bool) -> None:
        """Give the file its name; FileExistsError if that is taken and must not be replaced."""
        if self._hidden is None and not replace:
            _os.publish_nameless(self.fd, target)
        else:
            self._rename(target, replace)
        self._published = True

    def _rename(self, target: str, replace: bool) -> None:
        if self._hidden is None:
            self._hidden = self._hidden_name()  # first, or Ctrl-C would leave it behind
            _os.publish_nameless(self.fd, self._hidden)
        if sys.platform == "win32":  # which renames no open file
            self.let_go()
        if _rename(self._hidden, target, replace):
            self._hidden = None
        if sys.platform == "win32" and self.keep_open:
            self.fd = os.open(target, os.O_RDWR | os.O_BINARY)

    def _hidden_name(self) -> str:
        return os.path.join(self._directory, f".{self._name[:50]}.{os.urandom(6).hex()}.tmp")

    def let_go(self) -> None:
        """Close the file."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            close_file(fd)

    def discard(self) -> None:
        """Close the file unless it is kept, and remove it if it was not published."""
        if not (self._published and self.keep_open):
            self.let_go()
        if self._hidden is not None:
            with contextlib.suppress(OSError):  # what went wrong is being raised
                os.unlink(self._hidden)


def _rename(hidden: str, target: str, replace: bool) -> bool:
    """Rename a file; without `replace`, FileExistsError if the target is there.

    Return whether the old name is gone.
    """
    if replace:
        os.replace(hidden, target)
    elif sys.platform == "win32":
        os.rename(hidden, target)
    else:
        try:
            os.link(hidden, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _take_name(hidden, target)
            return True
        with contextlib.suppress(OSError):  # the file is in its place; `discard` tries once more
            os.unlink(hidden)
            return True
        return False
    return True


def _take_name(hidden: str, target: str) -> None:
    """Rename a file where the target is not there, by making it first."""
    fd = os.open(target, _NEW, _OWN)
    try:
        os.replace(hidden, target)
    except BaseException:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(fd), os.stat(target)):
                os.unlink(target)
        raise
    finally:
        close_file(fd)
