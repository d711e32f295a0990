"""The exceptions of mmapio: few, by what went wrong.

Each one is also the built-in exception that a user would expect for it, so code written against
numpy or the standard library keeps working.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import os
import sys
import weakref
from types import TracebackType
from typing import Any, Self

__all__ = [
    "AccessError",
    "ArgumentError",
    "ArgumentTypeError",
    "ClosedError",
    "DirectoryError",
    "ExistingFileError",
    "FileError",
    "FlushError",
    "FormatError",
    "InUseError",
    "InsufficientMemoryError",
    "KernelError",
    "LockedError",
    "MappingLostError",
    "MisalignedError",
    "MissingExtraError",
    "MissingFileError",
    "MmapioError",
    "OutOfBoundsError",
    "ReadOnlyError",
    "ReplacedError",
    "UnsupportedError",
    "clear_errors",
    "clear_frames",
    "file_error",
]

_PACKAGE = os.path.dirname(__file__) + os.sep
_MAY_GO_ON = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
# Errors that somebody still holds, by their ids: their tracebacks keep the frames that they passed
# through. A dict can be copied in one step, whatever other threads raise meanwhile. One that has
# gone is replaced by the next with its id: a callback would run while its frames are still there.
_living: dict[int, weakref.ref[MmapioError]] = {}


class MmapioError(Exception):
    """Base of every error that mmapio raises on purpose.

    Examples
    --------
    >>> import mmapio
    >>> try:
    ...     mmapio.open("no such file.npy")
    ... except mmapio.MmapioError as error:
    ...     print(type(error).__name__)
    MissingFileError
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note that there is one more, whose traceback may come to hold arrays."""
        error = super().__new__(cls, *args, **kwargs)
        _living[id(error)] = weakref.ref(error)
        return error


class ArgumentError(MmapioError, ValueError):
    """Raised when an argument has a value that cannot be used.

    Examples
    --------
    >>> import mmapio
    >>> mmapio.anonymous((3, -2), "f8")
    Traceback (most recent call last):
    mmapio.errors.ArgumentError: shape (3, -2) has a negative dimension; all must be 0 or more
    """


class ArgumentTypeError(MmapioError, TypeError):
    """Raised when an argument has a type that cannot be used.

    Examples
    --------
    >>> import mmapio
    >>> mmapio.MappedFile.anonymous("1 MiB")
    Traceback (most recent call last):
    mmapio.errors.ArgumentTypeError: size must be an integer, got 'str'
    """


class KernelError(MmapioError, TypeError):
    """Raised when a user's kernel has the wrong signature or does not compile.

    Examples
    --------
    >>> from mmapio.errors import KernelError
    >>> issubclass(KernelError, TypeError)
    True
    """


class ClosedError(MmapioError, ValueError):
    """Raised when a mapping is used after it was closed.

    Examples
    --------
    >>> import mmapio
    >>> m = mmapio.MappedFile.anonymous(16)
    >>> m.close()
    >>> m.read(0, 4)
    Traceback (most recent call last):
    mmapio.errors.ClosedError: the mapping of <anonymous> is closed
    """


class InUseError(MmapioError, BufferError):
    """Raised when a mapping cannot be closed because arrays over it are alive.

    Examples
    --------
    >>> import mmapio
    >>> m = mmapio.MappedFile.anonymous(16)
    >>> view = m.view(0, 4)
    >>> m.close()
    Traceback (most recent call last):
    mmapio.errors.InUseError: cannot close the mapping of <anonymous>: arrays over it are alive; \
drop them, or close(force=True), after which they read zeros
    """


class ReadOnlyError(MmapioError, ValueError):
    """Raised when a read-only mapping is asked to change.

    Examples
    --------
    >>> import mmapio
    >>> with mmapio.MappedFile.open(__file__) as m:
    ...     m.write(0, b"x")
    Traceback (most recent call last):
    mmapio.errors.ReadOnlyError: ...
    """


class OutOfBoundsError(MmapioError, IndexError):
    """Raised when an offset or a length reaches outside of the mapping.

    Examples
    --------
    >>> import mmapio
    >>> mmapio.MappedFile.anonymous(16).read(10, 10)
    Traceback (most recent call last):
    mmapio.errors.OutOfBoundsError: offset 10 + length 10 = 20 reaches past the end, at 16 bytes
    """


class MisalignedError(MmapioError, ValueError):
    """Raised when an atomic cell does not lie at a multiple of its own size.

    Examples
    --------
    >>> from mmapio.errors import MisalignedError
    >>> issubclass(MisalignedError, ValueError)
    True
    """


class FormatError(MmapioError, ValueError):
    """Raised when a file is not what its header or its caller says it is.

    Examples
    --------
    >>> import mmapio
    >>> mmapio.open(__file__, dtype="f8", shape=(10**9,))
    Traceback (most recent call last):
    mmapio.errors.FormatError: ...
    """


class UnsupportedError(MmapioError, NotImplementedError):
    """Raised when this platform, file system or kind of mapping cannot do what was asked.

    Examples
    --------
    >>> import mmapio
    >>> mmapio.MappedFile.anonymous(16).fileno()
    Traceback (most recent call last):
    mmapio.errors.UnsupportedError: <anonymous> has no file behind it
    """


class InsufficientMemoryError(MmapioError, MemoryError):
    """Raised when a range is to be brought into more memory than there is to be had.

    Nothing has been brought in then. ``force=True`` tries it all the same.

    Examples
    --------
    >>> from mmapio.errors import InsufficientMemoryError
    >>> issubclass(InsufficientMemoryError, MemoryError)
    True
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note that there is one more, as for all; what MemoryError has for this is for itself."""
        error = Exception.__new__(cls, *args, **kwargs)
        _living[id(error)] = weakref.ref(error)
        return error


class MissingExtraError(MmapioError, ImportError):
    """Raised when an optional dependency is not installed; says which extra to install.

    Examples
    --------
    >>> from mmapio.errors import MissingExtraError
    >>> issubclass(MissingExtraError, ImportError)
    True
    """


class FileError(MmapioError, OSError):
    """Raised when the operating system refuses to work on a file; carries its `errno`.

    Examples
    --------
    >>> import errno, mmapio
    >>> try:
    ...     mmapio.open("no such file.npy")
    ... except mmapio.FileError as error:
    ...     print(error.errno == errno.ENOENT, error.filename)
    True /...no such file.npy
    """


class MissingFileError(FileError, FileNotFoundError):
    """Raised when a file does not exist.

    Examples
    --------
    >>> import mmapio
    >>> mmapio.delete("no such file.npy")
    Traceback (most recent call last):
    mmapio.errors.MissingFileError: [Errno 2] cannot delete: No such file or directory: \
'...no such file.npy'
    """


class ExistingFileError(FileError, FileExistsError):
    """Raised when a file exists that was to be created.

    Examples
    --------
    >>> import mmapio
    >>> mmapio.create(__file__, (4,), "f8")
    Traceback (most recent call last):
    mmapio.errors.ExistingFileError: ...
    """


class DirectoryError(FileError, IsADirectoryError):
    """Raised when a path names a directory where a file was expected.

    Examples
    --------
    >>> import mmapio
    >>> mmapio.open(".")
    Traceback (most recent call last):
    mmapio.errors.DirectoryError: ...
    """


class AccessError(FileError, PermissionError):
    """Raised when the permissions of a file or a directory forbid the operation.

    Examples
    --------
    >>> from mmapio.errors import AccessError
    >>> issubclass(AccessError, PermissionError)
    True
    """


class ReplacedError(FileError):
    """Raised when a path no longer leads to the file that was mapped.

    Examples
    --------
    >>> from mmapio.errors import ReplacedError
    >>> issubclass(ReplacedError, OSError)
    True
    """


class FlushError(FileError):
    """Raised when a sync has failed, and by every later flush of the mapping.

    What was not yet durable may be lost, and the system tells so only once: a second sync would
    report success. So nothing of a mapping is durable after that until its file is opened anew.

    If only the name of a new file may not survive a loss of power, the message says so: its bytes
    are durable, and are with every later flush.

    Examples
    --------
    >>> from mmapio.errors import FlushError
    >>> issubclass(FlushError, OSError)
    True
    """


class LockedError(FileError, BlockingIOError):
    """Raised when a file has a writer already; `pid` is that of its process, None if unknown.

    Examples
    --------
    >>> from mmapio.errors import LockedError
    >>> issubclass(LockedError, BlockingIOError)
    True
    """

    pid: int | None = None


class MappingLostError(FileError):
    """Raised when a mapped file has lost bytes under the mapping, which then reads zeros there.

    Attributes
    ----------
    start, stop : int
        The bytes of the file that were lost, as far as it is known; whole pages, as a rule.
    cause : {"truncated", "no space", "I/O error", "memory error", "unknown"}
        Why: another program cut the file off; there was no space on the disk for what was stored
        in a file with holes; the drive failed; the memory did; or the path no longer leads to the
        file, so that it cannot be found out.

    Examples
    --------
    >>> import os, mmapio
    >>> a = mmapio.create("cut.bin", 100_000, "u1", raw=True)
    >>> os.truncate("cut.bin", 50_000)
    >>> try:
    ...     a.check()
    ... except mmapio.MappingLostError as error:
    ...     print(error.start, error.stop, error.cause)
    50000 100000 truncated
    """

    start: int = 0
    stop: int = 0
    cause: str = "unknown"

    def _of(self, start: int, stop: int, cause: str) -> Self:
        self.start, self.stop, self.cause = start, stop, cause
        return self


_BY_BUILTIN: tuple[tuple[type[OSError], type[FileError]], ...] = (
    (FileNotFoundError, MissingFileError),
    (FileExistsError, ExistingFileError),
    (IsADirectoryError, DirectoryError),
    (PermissionError, AccessError),
)


def file_error(error: OSError, doing: str, path: object, hint: str = "") -> FileError:
    """Return the error of ours that stands for one of the operating system.

    Parameters
    ----------
    error : OSError
        What the system reported.
    doing : str
        What was being done, such as ``"open"``.
    path : object
        The file's path; None if it has none.
    hint : str, default ""
        What the user can do about it.

    Returns
    -------
    FileError
        An error of the class that is also the built-in class of `error`, with its `errno`.

    Examples
    --------
    >>> from mmapio.errors import file_error
    >>> file_error(FileNotFoundError(2, "No such file"), "open", "x.npy", "create it first")
    MissingFileError(2, 'cannot open: No such file; create it first')
    """
    code = error.errno if error.errno is not None else errno.EIO
    kind = next((ours for theirs, ours in _BY_BUILTIN if isinstance(error, theirs)), FileError)
    reason = error.strerror or os.strerror(code)
    text = f"cannot {doing}: {reason}" + (f"; {hint}" if hint else "")
    return kind(code, text, path) if path is not None else kind(code, text)


def clear_errors() -> None:
    """Drop references to mapped arrays that raised errors hold.

    An error that is held, by a name or by the prompt of an interpreter, holds the variables of all
    frames that it passed through. Those of this package are over: no array is in use by them.

    Examples
    --------
    >>> import mmapio
    >>> m = mmapio.MappedFile.anonymous(100)
    >>> try:
    ...     m.write(80, m.view(0, 50))
    ... except mmapio.OutOfBoundsError as error:
    ...     held = error
    >>> m.close()
    """
    living = [ref() for ref in list(_living.values())]
    for error in [*living, sys.exception(), getattr(sys, "last_value", None)]:
        if error is not None:
            clear_frames(error)


def clear_frames(error: BaseException) -> None:
    """Clear the variables of this package's finished frames that an error, or its causes, hold.

    Parameters
    ----------
    error : BaseException
        The error; its traceback still tells where it came from.

    Examples
    --------
    >>> from mmapio.errors import clear_frames
    >>> clear_frames(ValueError("never raised"))
    """
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        left += [each.__cause__, each.__context__]
        _clear(each.__traceback__)


def _clear(traceback: TracebackType | None) -> None:
    while traceback is not None:
        frame = traceback.tb_frame
        code = frame.f_code
        if code.co_filename.startswith(_PACKAGE) and not code.co_flags & _MAY_GO_ON:
            with contextlib.suppress(RuntimeError):  # it runs still: this is its own error
                frame.clear()
        traceback = traceback.tb_next
