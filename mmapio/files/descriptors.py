"""Files as descriptors: opened, created, sized, and checked to be mappable."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from .. import _os
from .._pacing import SMALL_BYTES, paced
from .._validation import LARGEST
from ..errors import (
    AccessError,
    ArgumentError,
    ArgumentTypeError,
    DirectoryError,
    ExistingFileError,
    FileError,
    MissingFileError,
    ReplacedError,
    file_error,
)
from ..modes import Access, Mode
from .closing import close_file
from .publishing import publishing

__all__ = [
    "TO_READ",
    "TO_WRITE",
    "as_path",
    "check_mappable",
    "check_readable",
    "identify",
    "open_file",
    "open_or_create",
    "read_at",
    "reading",
    "replaced_error",
    "set_size",
    "size_of",
]

Result = TypeVar("Result")

_PATIENCE_S = 10.0  # with another process that fills an empty file, and may compile meanwhile

_BLOCKS_BYTES = 1 << 30  # at a time: they are only noted, not written

# O_NONBLOCK: a pipe or a terminal is to be refused, not waited for.
_COMMON = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_COMMON |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
# Flags by which files are opened.
TO_READ: Final = _COMMON | os.O_RDONLY
TO_WRITE: Final = _COMMON | os.O_RDWR


def as_path(path: object) -> str:
    """Return `path` as an absolute str, which stays right when the working directory changes.

    It is what `os.path.abspath` makes of it, unless that would be the path of another file.
    """
    try:
        name = os.fsdecode(path)  # type: ignore[arg-type]
    except TypeError:
        raise ArgumentTypeError(
            f"path must be a str, bytes or os.PathLike, got {type(path).__name__!r}"
        ) from None
    if name.isascii():
        if "\0" in name:
            raise ArgumentError(f"path {name!r} has a null character")
    else:
        _check_encodable(name)
    if not (name.startswith("/") if os.sep == "/" else os.path.isabs(name)):
        name = os.path.join(_working_directory(name), name)
    if os.sep == "/" and "/." not in name and "//" not in name and name[-1] != "/":
        return name  # as most are, in a fraction of the time
    _check_names_file(name)
    return _normalized(name)


def _check_encodable(name: str) -> None:
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError as error:
        raise ArgumentError(f"path {name!r} cannot be encoded: {error.reason}") from None
    if b"\0" in encoded:
        raise ArgumentError(f"path {name!r} has a null character")


def _working_directory(name: str) -> str:
    if not name:
        raise MissingFileError(errno.ENOENT, "the path is empty; name a file", name)
    try:
        return os.getcwd()
    except OSError as error:
        hint = "the working directory is gone; give an absolute path, or change to another"
        raise file_error(error, "find the file", name, hint) from error


def _check_names_file(name: str) -> None:
    """Refuse a path that can only be that of a directory, as its end shows."""
    end = name[-1]
    if end in (os.sep, os.altsep):
        reason = f"the path ends in {end!r}, as that of a directory; name a file"
    elif os.path.basename(name) in (os.curdir, os.pardir):
        reason = "the path is that of a directory; name a file in it"
    else:
        return
    raise DirectoryError(errno.EISDIR, reason, name)


def _normalized(name: str) -> str:
    """Return a path in its plain form; where '..' follows a link, only the system knows which."""
    plain = os.path.abspath(name)
    if os.sep == "/" and os.pardir in name.split("/"):
        folder = os.path.dirname(name)
        try:
            there = os.stat(folder)
            with contextlib.suppress(OSError):
                if os.path.samestat(there, os.stat(os.path.dirname(plain))):
                    return plain
        except OSError as error:  # as of the system, which goes the way that the path says
            hint = f"is there a directory {folder!r}?"
            raise file_error(error, "find the file", name, hint) from error
        return name
    return plain


def open_file(path: str, mode: Mode, devices: bool = False) -> tuple[int, _os.FileFacts]:
    """Open an existing file, or device if asked to; return its descriptor and facts."""
    writable = mode.access is Access.WRITE
    try:
        fd = os.open(path, TO_WRITE if writable else TO_READ)
    except OSError as error:
        raise file_error(error, f"open in mode {mode.value!r}", path) from error
    try:
        return fd, check_mappable(fd, path, devices)
    except BaseException:
        close_file(fd)
        raise


@contextlib.contextmanager
def reading(path: str) -> Iterator[tuple[int, _os.FileFacts]]:
    """Yield descriptor and facts of an existing file, opened to be read."""
    fd, facts = open_file(path, Mode.READ)
    try:
        yield fd, facts
    except FileError:
        raise
    except OSError as error:
        raise file_error(error, "read", path) from error
    finally:
        close_file(fd)


def identify(fd: int, path: str | None) -> _os.FileFacts:
    """Return what is known of an open file."""
    try:
        return _os.identify(fd)
    except OSError as error:
        raise file_error(error, "look at the file", path) from error


def check_mappable(fd: int, path: str | None, devices: bool = False) -> _os.FileFacts:
    """Return the facts of an open file, or device if asked to; raise if it cannot be mapped."""
    facts = identify(fd, path)
    if facts.size > 0 and facts.is_regular:
        return facts
    if devices and facts.is_device:
        return facts._replace(size=size_of(fd, path))
    if facts.is_directory:
        raise DirectoryError(errno.EISDIR, "cannot map a directory; name a file in it", path)
    if not facts.is_regular:
        raise FileError(errno.ENODEV, "cannot map: not a regular file (a pipe or a device)", path)
    if _has_bytes(fd):
        reason = "cannot map: a pseudo-file, which tells no size; read it with open() instead"
        raise FileError(errno.ENODEV, reason, path)
    return facts


def size_of(fd: int, path: str | None) -> int:
    """Return the size of an open file or device."""
    facts = identify(fd, path)
    if facts.is_endless:
        return LARGEST
    return _size_of_device(fd, path) if facts.is_device else facts.size


def _size_of_device(fd: int, path: str | None) -> int:
    """Return the size of a block device, which its facts do not tell."""
    try:
        position = os.lseek(fd, 0, os.SEEK_CUR)
        size = os.lseek(fd, 0, os.SEEK_END)
        os.lseek(fd, position, os.SEEK_SET)
    except OSError as error:
        raise file_error(error, "ask for the size of the device", path) from error
    return size


def check_readable(fd: int, path: str | None) -> None:
    """Raise if an open file was opened for writing only: the system maps none of those."""
    try:
        os.read(fd, 0)
    except OSError as error:
        if error.errno == errno.EBADF:
            reason = "cannot map: the descriptor is for writing only; open the file in 'r+b'"
            raise AccessError(errno.EACCES, reason, path) from error


def read_at(fd: int, offset: int, length: int) -> bytes:
    """Return up to `length` bytes of a file from an offset on; on Windows its position moves."""
    if sys.platform != "win32":
        return os.pread(fd, length, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, length)


def _has_bytes(fd: int) -> bool:
    """Return whether a file that claims to be empty can be read from, as those of /proc can."""
    try:
        position = os.lseek(fd, 0, os.SEEK_CUR)
        found = read_at(fd, position, 1) != b""
        os.lseek(fd, position, os.SEEK_SET)
    except OSError:  # as /proc/self/mem does
        return True
    return found and os.fstat(fd).st_size == 0  # or somebody has just written it


def set_size(
    fd: int, old: int, new: int, reserve: bool, path: str | None, *, is_option: bool = True
) -> None:
    """Grow or shrink a file, with its blocks if `reserve`; on failure it is as it was.

    `is_option` says whether the user could have chosen to go without the blocks.
    """
    try:
        if reserve and new > old:
            _allocate(fd, old, new)
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
            hint += ", with all their blocks"
            hint += " (reserve=False makes a file with holes)" if is_option else ""
        raise file_error(error, "set the size of the file", path, hint) from error


def _allocate(fd: int, old: int, new: int) -> None:
    """Give a file its blocks piece by piece, of which none is given if there are too few."""
    if new - old <= SMALL_BYTES:
        _os.allocate(fd, old, new - old)
        return
    _check_free(fd, new - old)
    for start, stop in paced(old, new, _BLOCKS_BYTES):
        _os.allocate(fd, start, stop - start)


def _check_free(fd: int, nbytes: int) -> None:
    if sys.platform != "win32":
        disk = os.fstatvfs(fd)
        if disk.f_blocks and disk.f_bfree * disk.f_frsize < nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def open_or_create(
    path: str,
    mode: Mode,
    size: int | None,
    use: Callable[[int, _os.FileFacts, bool], Result],
    *,
    devices: bool = False,
    prefix: bytes = b"",
    reserve: bool = True,
    durable: bool = False,
) -> Result:
    """Return the result of using a file that is opened or, in a mode that does so, created.

    `use` is called with a descriptor, which it must not keep, the file's facts, and whether the
    file is new. A new one has `size` bytes, zeros but for its `prefix`, and gets its name only
    when `use` has succeeded: if anything fails, whatever is at the path is as it was. A mode that
    opens or creates takes an empty file, as of `tempfile` or `touch`, for one that is not there.
    """
    if size is None or not mode.creates:
        return _use_file(path, mode, use, devices)

    wanted = size

    def create(replace: bool) -> Result:
        with publishing(path, "create", replace=replace, durable=durable) as draft:
            set_size(draft.fd, 0, wanted, reserve, path)
            if prefix:
                draft.write(prefix)
            return use(draft.fd, identify(draft.fd, path), True)

    if mode is not Mode.OPEN_OR_CREATE:
        return create(mode is Mode.REPLACE)
    while True:
        with _holding_empty(path) as is_empty:
            if is_empty and size:
                return create(replace=True)
        with contextlib.suppress(MissingFileError):
            return _use_file(path, mode, use, devices)
        path = os.path.realpath(path)
        with contextlib.suppress(ExistingFileError):  # somebody else was first: theirs is opened
            return create(replace=False)


@contextlib.contextmanager
def _holding_empty(path: str) -> Iterator[bool]:
    """Yield True if a file is empty, and this process the only one to put another in its place."""
    fd = -1
    try:
        if not _is_empty(path):
            yield False
        elif sys.platform == "win32":  # which replaces no file that is open
            yield True
        else:
            fd = _locked(path)
            yield fd >= 0 and _is_empty(path) and _is_at(fd, path)
    finally:
        if fd >= 0:
            close_file(fd)


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:  # somebody has just removed it
        return False


def _is_empty(path: str) -> bool:
    try:
        facts = os.stat(path)
    except OSError:  # it is not there, or whoever opens it will say what is wrong
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_size == 0


def _locked(path: str) -> int:
    """Return a descriptor of an empty file that this process alone has locked; -1 if it has not."""
    try:
        fd = os.open(path, TO_WRITE)
    except OSError:
        return -1
    deadline = time.monotonic() + _PATIENCE_S
    try:
        while os.fstat(fd).st_size or not _os.lock_file(fd):
            if os.fstat(fd).st_size or time.monotonic() > deadline:
                break
            time.sleep(0.001)
        else:
            return fd
    except OSError:  # the file system has no locks
        pass
    except BaseException:
        close_file(fd)
        raise
    close_file(fd)
    return -1


def _use_file(
    path: str, mode: Mode, use: Callable[[int, _os.FileFacts, bool], Result], devices: bool
) -> Result:
    fd, facts = open_file(path, mode, devices)
    try:
        return use(fd, facts, False)
    except FileError:
        raise
    except OSError as error:
        raise file_error(error, f"open in mode {mode.value!r}", path) from error
    finally:
        close_file(fd)


def replaced_error(path: str, what: str) -> ReplacedError:
    """Return the error for a path that no longer leads to the file that was mapped."""
    reason = f"the file that was mapped {what}; open the path anew to map what is there now"
    return ReplacedError(errno.ESTALE, reason, path)
