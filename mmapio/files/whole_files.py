"""Whole files: `save`, `copy`, `delete`."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _os
from .._validation import Bytes, Path, as_bytes, check_plain, refuse_masks
from .._values import as_array
from ..errors import FileError, FormatError, file_error
from ..guard.lost_memory import raise_if_copy_failed, raise_if_source_lost
from .descriptors import as_path, identify, read_at, reading, set_size
from .header_seal import settled_header
from .npy import begins_as_npy, encode_header
from .publishing import Draft, publishing

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

__all__ = ["copy", "delete", "save"]


_PIECE_ITEMS = 1 << 16


def save(path: Path, array: npt.ArrayLike) -> None:
    """Write an array to a `.npy` file, in place of what is there: the old file, or the new one.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        The file; no suffix is added. The new one takes over owner, group, permissions, access
        control lists and extended attributes of the old one: see the notes.
    array : array_like
        The array; any dtype but Python objects.

    Raises
    ------
    FileError
        If the file cannot be written, on a full disk for one. What was at the path is as it was.
    ArgumentError, ArgumentTypeError
        If the array holds Python objects, has a mask, or is none: lists of different lengths.
    MappingLostError
        If the array is of a file that has lost some of it meanwhile.

    Notes
    -----
    The new file is written beside the old one, synced, and renamed over it; then the directory is
    synced (rename(2), fsync(2)). Whoever has the old file open or mapped keeps it whole; so does
    whoever reaches it by another hard link. A symbolic link stays, and leads to the new file.

    Only root may give a file to another user, and others only to a group that they are in: else the
    new file belongs to the one who saves it. Set-user-ID and set-group-ID stay only if owner or
    group do, and another group has no more permissions than all others. Lists and attributes are
    copied on Linux (acl(5), xattr(7)). If the group, the list, or an attribute ``user.*`` cannot be
    kept, there is a `RuntimeWarning`; the labels of security modules and ``trusted.*`` are kept
    where this process may set them, without a word where it may not. On Windows the new file has
    the permissions that its folder gives.

    Examples
    --------
    >>> import numpy as np, mmapio
    >>> mmapio.save("saved.npy", np.arange(3))
    >>> np.load("saved.npy")
    array([0, 1, 2])
    """
    refuse_masks(array)
    data = as_array(array, "array")
    raise_if_source_lost(array)
    check_plain(data.dtype)
    fortran = data.flags.f_contiguous and not data.flags.c_contiguous
    header = encode_header(data.dtype, data.shape, fortran)
    name = as_path(path)
    with publishing(name, "save", replace=True, durable=True) as draft:
        set_size(draft.fd, 0, len(header) + data.nbytes, True, name, is_option=False)
        draft.write(header)
        for piece in _pieces(data.T if fortran else data):
            _write_piece(draft, piece)
        raise_if_source_lost(array)


def _write_piece(draft: Draft, piece: Bytes) -> None:
    try:
        draft.write(piece)
    except OSError as error:
        raise_if_copy_failed(error, piece)
        raise


def copy(src: Path, dst: Path) -> None:
    """Copy a file, in place of what is at `dst`; blocks are shared where the file system can.

    Parameters
    ----------
    src : str, bytes or os.PathLike
        The file to copy. Holes in it stay holes.
    dst : str, bytes or os.PathLike
        Where the copy goes; whoever maps what is there keeps it whole. As with `save`, the new file
        takes over owner and permissions of one that is replaced; if there is none, it has the
        permissions of `src` that the umask leaves.

    Raises
    ------
    MissingFileError, DirectoryError, AccessError, FileError
        If the one cannot be read, or the other not be written; or if `src` was cut off while it
        was copied. What was at `dst` is as it was.

    Notes
    -----
    A `GrowableArray` may be appended to meanwhile: the copy has the rows that were committed when
    it was begun.

    Examples
    --------
    >>> import numpy as np, mmapio
    >>> np.save("first.npy", np.arange(3))
    >>> mmapio.copy("first.npy", "second.npy")
    >>> mmapio.open("second.npy")
    MappedArray([0, 1, 2])
    """
    name = as_path(src)
    with (
        reading(name) as (source, facts),
        publishing(
            as_path(dst),
            "copy",
            replace=True,
            durable=True,
            permissions=facts.type_and_permissions & 0o666,
        ) as draft,
    ):
        header, size = _header_and_size(source, facts.size)
        _os.copy_contents(source, draft.fd, size)
        if read_at(draft.fd, 0, len(header)) != header:  # it has changed since, half of it maybe
            _os.write_at(draft.fd, header, 0)
        left = identify(source, name).size
        if left < size:  # the rest of the copy reads zeros
            text = f"cannot copy: it was cut off while it was copied, at byte {left} of {size}"
            raise FileError(errno.ENODATA, text, name)


def _header_and_size(fd: int, size: int) -> tuple[bytes, int]:
    """Return the header that a copy of a file must have, and how much of it is to be copied.

    Of a `.npy` file the header first: what is appended meanwhile is behind that size.
    """
    if begins_as_npy(functools.partial(read_at, fd)):
        with contextlib.suppress(FormatError):  # it is copied as it is
            _, header, size = settled_header(fd)
            return header, size
    return b"", size


def delete(path: Path) -> None:
    """Delete a file; whoever maps it keeps it until they close it.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        The file.

    Raises
    ------
    MissingFileError, DirectoryError, AccessError, FileError
        If it cannot be deleted.

    Examples
    --------
    >>> import mmapio
    >>> a = mmapio.create("gone.npy", 3)
    >>> mmapio.delete("gone.npy")
    >>> a[0]
    np.float64(0.0)
    """
    name = as_path(path)
    try:
        os.unlink(name)
    except OSError as error:
        raise file_error(error, "delete", name) from error


def _pieces(array: npt.NDArray[Any]) -> Iterable[Any]:
    """Return an array's bytes in C order, in pieces that need little memory."""
    if array.flags.c_contiguous:
        return [as_bytes(array)]
    pieces = np.nditer(
        array.view(f"V{array.itemsize}"),  # whole items: field by field they would lose padding
        flags=["external_loop", "buffered", "zerosize_ok"],
        buffersize=_PIECE_ITEMS,
        order="C",
    )
    return map(as_bytes, pieces)
