"""File objects: their descriptors, and the paths that lead to their files."""

from __future__ import annotations

import io
import os
from typing import Any, Final

from .. import _os
from .._validation import as_count
from ..errors import ArgumentError, ArgumentTypeError, MmapioError, file_error
from .descriptors import as_path

__all__ = ["descriptor_of", "path_of"]

# Of the standard library, those whose descriptor is that of the packed file.
_PACKED: Final = ("gzip", "bz2", "lzma", "zipfile", "tarfile", "compression")


def descriptor_of(file: Any) -> int:
    """Return the descriptor of a file object, with what it holds back in the file.

    Raise if the bytes of the object are not those of its descriptor.
    """
    kind = type(file).__name__
    try:
        fd = file.fileno()
        if hasattr(file, "flush"):
            file.flush()
    except io.UnsupportedOperation:
        raise ArgumentError(
            f"cannot map this {kind!r} object: it has no descriptor, as its bytes are in memory; "
            "numpy.frombuffer(file.getbuffer()) is an array over those of io.BytesIO"
        ) from None
    except ValueError as error:  # it is closed
        raise ArgumentError(f"cannot map this {kind!r} object: {error}") from None
    except OSError as error:
        raise file_error(error, "flush the file object", None) from error
    if type(fd) is not int:
        raise ArgumentTypeError(f"fileno() of {kind!r} must return an int, got {fd!r}")
    if not _shows(file, as_count(fd, "fileno()")):
        raise ArgumentError(
            f"cannot map this {kind!r} object: its bytes are not those of the file behind it, as "
            "of one that unpacks; read it, or map an unpacked file"
        )
    return fd


def _shows(file: Any, fd: int) -> bool:
    """Return whether the bytes of a file object are those of its descriptor."""
    inner = file
    for name in ("file", "buffer", "raw"):  # of a temporary file, a text, a buffer
        inner = getattr(inner, name, inner)
    if type(inner) is io.FileIO or not hasattr(file, "seek"):
        return True
    if any(base.__module__.partition(".")[0] in _PACKED for base in type(inner).__mro__):
        return False
    try:
        at = file.tell()
        end = file.seek(0, os.SEEK_END)
        end = file.tell() if end is None else end
        file.seek(at)
        return bool(end == os.fstat(fd).st_size)
    except (OSError, ValueError, TypeError, EOFError):
        return False


def path_of(fd: int, name: object) -> str | None:
    """Return the absolute path that a name of an open file is; None if it leads elsewhere."""
    if not isinstance(name, (str, bytes)):
        return None
    try:
        path = as_path(name)
        same = _os.identify_path(path).identity == _os.identify(fd).identity
    except (OSError, MmapioError):
        return None
    return path if same else None
