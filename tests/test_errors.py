"""The exceptions: each is also the built-in one that a user would catch."""

from __future__ import annotations

import errno
import os
import pickle

import pytest

import mmapio
from mmapio import errors
from mmapio.errors import FileError, MmapioError, file_error

BUILTINS = {
    "AccessError": PermissionError,
    "ArgumentError": ValueError,
    "ArgumentTypeError": TypeError,
    "ClosedError": ValueError,
    "DirectoryError": IsADirectoryError,
    "ExistingFileError": FileExistsError,
    "FileError": OSError,
    "FlushError": OSError,
    "FormatError": ValueError,
    "InUseError": BufferError,
    "InsufficientMemoryError": MemoryError,
    "KernelError": TypeError,
    "LockedError": BlockingIOError,
    "MappingLostError": OSError,
    "MisalignedError": ValueError,
    "MissingExtraError": ImportError,
    "MissingFileError": FileNotFoundError,
    "OutOfBoundsError": IndexError,
    "ReadOnlyError": ValueError,
    "ReplacedError": OSError,
    "UnsupportedError": NotImplementedError,
}


NAMES = [name for name in errors.__all__ if name.endswith("Error")]


def test_every_error_is_listed() -> None:
    """None can be added without a line in the table above."""
    assert sorted([*BUILTINS, "MmapioError"]) == NAMES


@pytest.mark.parametrize(("name", "builtin"), BUILTINS.items())
def test_an_error_is_a_builtin_too(name: str, builtin: type[Exception]) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, MmapioError)
    assert issubclass(kind, builtin)


@pytest.mark.parametrize("name", NAMES)
def test_an_error_is_public(name: str) -> None:
    assert getattr(mmapio, name) is getattr(errors, name)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOENT, "MissingFileError"),
        (errno.EEXIST, "ExistingFileError"),
        (errno.EISDIR, "DirectoryError"),
        (errno.EACCES, "AccessError"),
        (errno.EPERM, "AccessError"),
        (errno.ENOSPC, "FileError"),
        (errno.EIO, "FileError"),
    ],
)
def test_an_error_of_the_system_keeps_its_number(code: int, kind: str) -> None:
    found = file_error(OSError(code, os.strerror(code)), "open", "some file")
    assert type(found).__name__ == kind
    assert (found.errno, found.filename) == (code, "some file")
    assert str(found) == f"[Errno {code}] cannot open: {os.strerror(code)}: 'some file'"


def test_a_hint_follows_the_reason() -> None:
    found = file_error(OSError(errno.ENOSPC, "No space"), "create", None, "9 bytes were asked for")
    assert str(found) == f"[Errno {errno.ENOSPC}] cannot create: No space; 9 bytes were asked for"
    assert found.filename is None


@pytest.mark.parametrize("error", [OSError("odd"), OSError()])
def test_an_error_without_a_number_is_eio(error: OSError) -> None:
    found = file_error(error, "flush", None)
    assert type(found) is FileError
    assert found.errno == errno.EIO
    assert os.strerror(errno.EIO) in str(found)


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ENOSPC])
def test_a_file_error_reaches_another_process_whole(code: int) -> None:
    error = file_error(OSError(code, os.strerror(code)), "open", "some file")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (again.errno, again.filename, str(again)) == (code, "some file", str(error))
