"""Conversion of raw files to `.npy` and back: `to_npy`, `to_raw`.

The bytes are the same on both sides, so they are copied by the system, and in any size of file
need no memory here.
"""

from __future__ import annotations

import errno
import functools
import os
from math import prod
from typing import TYPE_CHECKING, Final, Literal

from .. import _os
from .._validation import Path, Progress, as_count, as_dtype, as_flag, as_progress, fitting_shape
from ..errors import ArgumentError, ArgumentTypeError, ExistingFileError, FormatError
from .descriptors import as_path, read_at, reading
from .header_seal import settled_header
from .npy import NpyHeader, begins_as_npy, encode_header
from .publishing import publishing

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

__all__ = ["to_npy", "to_raw"]


_PIECE_BYTES: Final = 64 << 20  # between two calls of `progress`, and after Ctrl-C at most


def to_npy(
    source: Path,
    target: Path,
    dtype: npt.DTypeLike,
    shape: int | tuple[int, ...] | list[int] | None = None,
    *,
    order: Literal["C", "F"] = "C",
    offset: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> NpyHeader:
    """Convert a file of raw items to `.npy`, without loading them.

    Parameters
    ----------
    source : str, bytes or os.PathLike
        The raw file. One that begins as a `.npy` file is refused, unless `offset` is given.
    target : str, bytes or os.PathLike
        The `.npy` file; no suffix is added.
    dtype : dtype_like
        Type of the items, in their byte order; any but Python objects.
    shape : int or tuple of int, optional
        Shape of the array; one dimension may be -1, for as many as fit. All items there are, in
        one dimension, if left out.
    order : {"C", "F"}, default "C"
        Whether the last or the first index varies fastest. The items stay where they are.
    offset : int, optional
        Byte of the raw file at which the first item lies. With it `shape` may be that of a part of
        what follows; without, all of the file is converted.
    overwrite : bool, default False
        Replace a file that is there, atomically: whoever maps the old one keeps it whole. As with
        `save`, the new one takes over its owner and permissions; if there is none, it has the
        permissions of `source` that the umask leaves.
    progress : callable, optional
        Called as ``progress(done, total)``, in bytes.

    Returns
    -------
    NpyHeader
        What the header of the `.npy` file says.

    Raises
    ------
    ExistingFileError
        If there is a file at `target`, and `overwrite` is False.
    MissingFileError, DirectoryError, AccessError, FileError
        If the one cannot be read, or the other not be written; what was at `target` is as it was.
    FormatError
        If the raw file is too short for `shape`, or too long with no `offset` given; or its size
        is no multiple of the item's.
    ArgumentError
        If an argument has a value that cannot be used, or both files are the same.

    Notes
    -----
    The file appears when it is complete and durable, or not at all. On Linux the kernel copies
    (copy_file_range(2)), and holes stay holes.

    Examples
    --------
    >>> import mmapio, numpy as np, pathlib
    >>> _ = pathlib.Path("raw.bin").write_bytes(bytes(range(12)))
    >>> mmapio.to_npy("raw.bin", "made.npy", ">u2", (-1, 3)).shape
    (2, 3)
    >>> np.load("made.npy")
    array([[   1,  515, 1029],
           [1543, 2057, 2571]], dtype='>u2')
    """
    item, start = as_dtype(dtype), 0 if offset is None else as_count(offset, "offset")
    if order not in ("C", "F"):
        raise ArgumentError(f"order must be 'C' or 'F', got {order!r}")
    name = as_path(source)
    with reading(name) as (fd, facts):
        if offset is None and begins_as_npy(functools.partial(read_at, fd)):
            raise FormatError(
                f"{name!r} is a .npy file: leave out the dtype to make a raw file of it, or give "
                "an offset if it only looks like one"
            )
        if start > facts.size:
            raise FormatError(f"offset {start} lies past the end of {name!r}, at {facts.size}")
        outer = fitting_shape(shape, item.itemsize, facts.size - start)
        is_fortran = order == "F" and len(outer) > 1
        if is_fortran and item.shape:
            raise ArgumentError(f"items of {item} have C order within: they cannot be in order 'F'")
        used = prod(outer) * item.itemsize
        if offset is None and used < facts.size:
            raise FormatError(
                f"{name!r} has {facts.size} bytes, and shape {outer} of {item.itemsize}-byte items "
                f"takes {used}: give the shape of them all, of which one dimension may be -1; or "
                "offset 0, for these alone"
            )
        full = outer + item.shape
        prefix = encode_header(item.base, full, is_fortran)
        header = NpyHeader(item.base, full, is_fortran, len(prefix))
        _write(as_path(target), prefix, (name, fd, facts), start, header, overwrite, progress)
    return header


def to_raw(
    source: Path,
    target: Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> NpyHeader:
    r"""Convert a `.npy` file to one of raw items, without loading them.

    Parameters
    ----------
    source : str, bytes or os.PathLike
        The `.npy` file.
    target : str, bytes or os.PathLike
        The raw file: the items as they are, in their order and byte order, and nothing else.
    overwrite, progress : optional
        As for `to_npy`.

    Returns
    -------
    NpyHeader
        What the header of the `.npy` file says, and the raw file no longer does.

    Raises
    ------
    FormatError
        If the file is no `.npy` file, holds Python objects, or is cut off.
    ExistingFileError, MissingFileError, DirectoryError, AccessError, FileError, ArgumentError
        As for `to_npy`.

    Examples
    --------
    >>> import mmapio, numpy as np, pathlib
    >>> np.save("saved.npy", np.arange(3, dtype="<u2"))
    >>> mmapio.to_raw("saved.npy", "raw.bin").dtype
    dtype('uint16')
    >>> pathlib.Path("raw.bin").read_bytes()
    b'\x00\x00\x01\x00\x02\x00'
    """
    name = as_path(source)
    with reading(name) as (fd, facts):
        read = functools.partial(read_at, fd)
        if not begins_as_npy(read):
            raise FormatError(
                f"{name!r} is no .npy file; to make one of it, give its dtype (--dtype)"
            )
        header, _, size = settled_header(fd)
        if size < header.file_size:
            raise FormatError(
                f"{name!r} is truncated: shape {header.shape} of dtype {header.dtype} needs "
                f"{header.file_size} bytes, the file has {size}"
            )
        start = header.data_offset
        _write(as_path(target), b"", (name, fd, facts), start, header, overwrite, progress)
    return header


_Opened = tuple[str, int, _os.FileFacts]


def _write(
    target: str,
    prefix: bytes,
    source: _Opened,
    start: int,
    header: NpyHeader,
    overwrite: bool,
    progress: Progress | None,
) -> None:
    """Publish a file made of a prefix, and the data of another file from `start` on."""
    name, fd, facts = source
    if progress is not None and not callable(progress):
        raise ArgumentTypeError(f"progress must be callable, got {type(progress).__name__!r}")
    as_progress(progress)
    _check_target(target, facts, as_flag(overwrite, "overwrite"))
    total, done = prod(header.shape) * header.dtype.itemsize, 0
    with publishing(
        target,
        "convert",
        replace=overwrite,
        durable=True,
        permissions=facts.type_and_permissions & 0o666,
    ) as draft:
        draft.write(prefix)
        os.ftruncate(draft.fd, len(prefix) + total)
        while True:
            if progress is not None:
                progress(done, total)
            if done == total:
                break
            piece = min(_PIECE_BYTES, total - done)
            _os.copy_range(fd, start + done, draft.fd, len(prefix) + done, piece)
            done += piece
        if os.fstat(fd).st_size < start + total:
            raise FormatError(f"{name!r} was cut off while it was converted")


def _check_target(target: str, source: _os.FileFacts, overwrite: bool) -> None:
    """Refuse at once what would be refused, or regretted, when all is copied."""
    try:
        there = _os.identify_path(target)
    except OSError:
        return
    if there.identity == source.identity:
        raise ArgumentError(f"{target!r} is the file that is to be converted: name another one")
    if not overwrite:
        reason = "cannot convert: File exists; overwrite=True (--overwrite) replaces it"
        raise ExistingFileError(errno.EEXIST, reason, target)
