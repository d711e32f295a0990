"""Opening and creating mapped arrays: `open`, `create`, `anonymous`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.lib.format import MAGIC_PREFIX

from .._validation import (
    Path,
    Shape,
    as_count,
    as_dtype,
    as_flag,
    as_shape,
    fitting_shape,
    full_shape,
)
from ..durability.policy import FlushPolicy
from ..errors import ArgumentError, FormatError
from ..files.descriptors import as_path
from ..guard.lost_memory import raise_if_part_lost
from ..mapping.opening import HEAD_BYTES, give_up, map_existing, map_memory, map_path
from ..mapping.options import MapOptions, Touch, options_of
from ..mapping.region import Region
from ..modes import Mode
from .mapped_array import MappedArray, array_over

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

    from ..files.npy import NpyHeader

__all__ = ["Order", "anonymous", "create", "full_shape_for", "is_full", "open", "open_raw"]

Order = Literal["C", "F"]
A = TypeVar("A", bound=MappedArray)


def open(
    path: Path,
    mode: str = "r",
    *,
    dtype: npt.DTypeLike | None = None,
    shape: Shape | None = None,
    offset: int | None = None,
    order: Order = "C",
    reserve: bool = True,
    capacity: int | str | None = None,
    flush_policy: FlushPolicy | None = None,
    guard: bool = True,
    touch: Touch = "never",
    advise: str | None = None,
    hugepages: bool = False,
    lock: bool = False,
) -> MappedArray:
    """Open a file as an array, in place.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        The file. One that begins with the magic of `.npy` is read by its header, unless `offset`
        is given; any other is raw items of `dtype`.
    mode : {"r", "r+", "w+", "x+", "a+", "c"}, default "r"
        As in `MappedFile.open`. The modes that create need `dtype` and `shape`; they make a `.npy`
        file if the path ends so, and a raw one if not, or if `offset` is given.
    dtype : dtype_like, optional
        Type of the items; any but Python objects. Of a `.npy` file: what it must be, unless that
        holds plain bytes, ``"V<n>"``, which are taken for any type of as many bytes.
    shape : int or tuple of int, optional
        Shape of the array; one dimension may be -1, for as many as fit. All items there are, in
        one dimension, if left out. Of a `.npy` file: what it must be.
    offset : int, optional
        Byte of a raw file at which the first item lies; need not be a multiple of anything.
    order : {"C", "F"}, default "C"
        Whether the last or the first index of a raw array varies fastest.
    reserve : bool, default True
        Give a file that is created all its blocks, so that a full disk is an error at once.
    capacity, flush_policy : optional
        As in `MappedFile.open`.
    guard : bool, default True
        Let bytes that the file loses under the array become zeros and a `MappingLostError`; as in
        `MappedFile.open`.
    touch, advise, hugepages, lock : optional
        As in `MappedFile.open`.

    Returns
    -------
    MappedArray
        The array. It keeps no file descriptor.

    Raises
    ------
    MissingFileError, ExistingFileError, DirectoryError, AccessError, FileError
        If the file cannot be opened, created or mapped.
    FormatError
        If the file is not what its header, or `dtype` and `shape`, say it is.
    ArgumentError
        If an argument has a value that cannot be used, or a raw file is opened without a dtype.
    UnsupportedError
        If the system does not take the advice.

    Examples
    --------
    >>> import mmapio, pathlib
    >>> _ = pathlib.Path("raw.bin").write_bytes(bytes(range(16)))
    >>> mmapio.open("raw.bin", dtype=">u2", shape=(-1, 4))
    MappedArray([[   1,  515, 1029, 1543],
                 [2057, 2571, 3085, 3599]], dtype='>u2')
    """
    kind = Mode.parse(mode)
    wanted = None if dtype is None else as_dtype(dtype)
    items = None if shape is None else as_shape(shape)
    start = None if offset is None else as_count(offset, "offset")
    _check_order(order)
    size = room = None
    prefix = b""
    if wanted is not None and is_full(items):
        room = (start or 0) + prod(full_shape_for(items, wanted)) * wanted.itemsize
    if kind.creates and is_full(items) and wanted is not None:
        raw = start is not None or not as_path(path).lower().endswith(".npy")
        size, prefix = _contents(wanted, full_shape_for(items, wanted), start, order, raw)
    elif kind in (Mode.REPLACE, Mode.CREATE):
        raise ArgumentError(f"mode {mode!r} creates a file and needs dtype and a full shape")
    options = options_of(
        kind, size, capacity, reserve, flush_policy, guard, touch, advise, hugepages, lock
    )
    name = as_path(path)
    while True:
        if kind.creates:
            use = functools.partial(_array_in, wanted, items, start, order, None)
            try:
                return map_path(name, options, prefix, room=room, use=use)
            except _ChangedError:
                continue
        region, head = map_existing(name, options, room=room, look=start is None)
        try:  # as `used` does: nearly all files that are opened come this way
            return _array_in(wanted, items, start, order, head, region)
        except BaseException as error:
            give_up(region, error)
            if not isinstance(error, _ChangedError):
                raise


class _ChangedError(Exception):
    """Raised when a file has grown, or was cut, between its size and its header."""


def _array_in(
    wanted: np.dtype[Any] | None,
    shape: tuple[int, ...] | None,
    offset: int | None,
    order: Order,
    head: bytes | None,
    region: Region,
) -> MappedArray:
    """Return the array that lies in a mapped file: by its header, or as wanted.

    The file begins with its `head`, if that is known.
    """
    if offset is None:
        if head is None:
            head = region.bytes()[: min(HEAD_BYTES, region.size)].tobytes()
        if head.startswith(MAGIC_PREFIX):
            return _open_npy(region, head, wanted, shape)
    if wanted is None:
        raise FormatError(f"{region.source.name} {_what_it_is(region)}")
    return open_raw(region, wanted, shape, offset or 0, order)


def create(
    path: Path,
    shape: Shape,
    dtype: npt.DTypeLike = float,
    *,
    order: Order = "C",
    raw: bool = False,
    overwrite: bool = False,
    reserve: bool = True,
    capacity: int | str | None = None,
    flush_policy: FlushPolicy | None = None,
    guard: bool = True,
    touch: Touch = "never",
    advise: str | None = None,
    hugepages: bool = False,
    lock: bool = False,
) -> MappedArray:
    """Create a file with an array of zeros, and open it for reading and writing.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        The file.
    shape : int or tuple of int
        Shape of the array.
    dtype : dtype_like, default float
        Type of the items; any but Python objects.
    order : {"C", "F"}, default "C"
        Whether the last or the first index varies fastest.
    raw : bool, default False
        Write the items alone, without the header of a `.npy` file.
    overwrite : bool, default False
        Replace a file that is there; atomically and durably, and whoever maps the old file keeps
        it whole.
    reserve : bool, default True
        Give the file its blocks now, so that a full disk is an error here and not a crash later.
        False makes a file with holes.
    capacity, flush_policy : optional
        As in `MappedFile.open`.
    guard : bool, default True
        As in `open`.
    touch, advise, hugepages, lock : optional
        As in `MappedFile.open`.

    Returns
    -------
    MappedArray
        The array, for reading and writing.

    Raises
    ------
    ExistingFileError
        If the file is there, and `overwrite` is False.
    FileError
        If the file cannot be created, with `errno` ENOSPC if the disk is full; or not be locked.
        What was at the path is as it was.
    UnsupportedError
        If the system does not take the advice; what was at the path is as it was.
    ArgumentError
        If shape or dtype cannot be used.

    Examples
    --------
    >>> import mmapio
    >>> a = mmapio.create("table.npy", (1000, 3), "f4")
    >>> a[0] = [1, 2, 3]
    >>> a.sum()
    np.float32(6.0)
    """
    kind = as_dtype(dtype)
    _check_order(order)
    full = full_shape_for(shape, kind)
    size, prefix = _contents(kind, full, None, order, as_flag(raw, "raw"))
    replaces = as_flag(overwrite, "overwrite")
    options = MapOptions(
        Mode.REPLACE if replaces else Mode.CREATE,
        size=size,
        capacity=capacity,
        reserve=reserve,
        flush_policy=flush_policy,
        guard=guard,
        touch=touch,
        advise=advise,
        hugepages=hugepages,
        lock=lock,
    )
    return map_path(
        path,
        options,
        prefix,
        durable=replaces,
        use=lambda region: array_over(region, kind, full, len(prefix), order=order),
    )


def anonymous(
    shape: Shape,
    dtype: npt.DTypeLike = float,
    *,
    order: Order = "C",
    capacity: int | str | None = None,
    touch: Touch = "never",
    advise: str | None = None,
    hugepages: bool = False,
    lock: bool = False,
) -> MappedArray:
    """Return an array of zeros in memory that forked children share, without a file.

    Parameters
    ----------
    shape : int or tuple of int
        Shape of the array.
    dtype : dtype_like, default float
        Type of the items; any but Python objects.
    order : {"C", "F"}, default "C"
        Whether the last or the first index varies fastest.
    capacity, touch, advise, hugepages, lock : optional
        As in `MappedFile.open`.

    Returns
    -------
    MappedArray
        The array. Memory is taken page by page, when it is first written.

    Raises
    ------
    ArgumentError
        If shape or dtype cannot be used.
    FileError
        If there is not that much address space, or not that much may be locked.
    UnsupportedError
        If the system does not take the advice.

    Examples
    --------
    >>> import mmapio
    >>> mmapio.anonymous((2, 2), "i4")
    MappedArray([[0, 0],
                 [0, 0]], dtype=int32)
    """
    kind = as_dtype(dtype)
    _check_order(order)
    full = full_shape_for(shape, kind)
    options = MapOptions(
        Mode.UPDATE,
        capacity=capacity,
        touch=touch,
        advise=advise,
        hugepages=hugepages,
        lock=lock,
    )
    region = map_memory(prod(full) * kind.itemsize, options)
    return array_over(region, kind, full, order=order)


def _open_npy(
    region: Region, head: bytes, wanted: np.dtype[Any] | None, shape: tuple[int, ...] | None
) -> MappedArray:
    """Return the array that a `.npy` file's header describes; it must be what was wanted."""
    size = region.size
    header, raw = _reader_of_headers()(functools.partial(_read, region), size, head)
    if size < header.file_size:
        if _has_changed(region, header.file_size, raw):
            raise _ChangedError
        raise FormatError(
            f"{region.source.name} is truncated: shape {header.shape} of dtype {header.dtype} "
            f"needs {header.file_size} bytes, the file has {size}"
        )
    dtype = header.dtype
    if wanted is not None and wanted.base != dtype:
        if not (_is_bytes_alone(dtype) and dtype.itemsize == wanted.base.itemsize):
            raise FormatError(f"{region.source.name} has dtype {dtype}, not {wanted}")
        dtype = wanted.base
    if shape is not None:
        items = shape + (wanted.shape if wanted is not None else ())
        same = [ours in (-1, theirs) for ours, theirs in zip(items, header.shape, strict=False)]
        if len(items) != len(header.shape) or not all(same):
            raise FormatError(f"{region.source.name} has shape {header.shape}, not {items}")
    return array_over(region, dtype, header.shape, header.data_offset, order=header.order)


@functools.cache  # an import that is done already still takes as long as the rest of a header
def _reader_of_headers() -> Callable[..., tuple[NpyHeader, bytes]]:
    from ..files.header_seal import whole_header  # not at import: raw files do without it

    return whole_header


def _read(region: Region, offset: int, length: int) -> bytes:
    """Return bytes of a mapped file, none of which may have been lost."""
    found = region.bytes()[offset : offset + length].tobytes()
    raise_if_part_lost(region, 0, region.size)  # or they may be zeros in its place
    return found


def _is_bytes_alone(dtype: np.dtype[Any]) -> bool:
    """Return whether items are bytes of a type that a `.npy` file cannot name."""
    return dtype.type is np.void and dtype.names is None and dtype.subdtype is None


def _has_changed(region: Region, size: int, header: bytes) -> bool:
    """Return whether a file has other rows than it had when it was mapped; its header, or `size`.

    A growable array writes the rows first and then the header, and cuts them off after it.
    """
    source, facts = region.source, region.source.facts_now()
    if region.bytes()[: len(header)].tobytes() != header:
        return True
    return facts is not None and (facts.size >= size or facts.identity != source.identity)


def _what_it_is(region: Region) -> str:
    """Say what a file that should have been `.npy` is, and what to do about it."""
    if region.size == 0:
        return "is empty, not a .npy file"
    if region.bytes()[:4].tobytes() == b"PK\3\4":
        return "is a zip archive, such as .npz, which cannot be mapped: use numpy.load"
    return "is not a .npy file: open it as raw items with dtype=..."


def open_raw(
    region: Region,
    dtype: np.dtype[Any],
    shape: tuple[int, ...] | None,
    offset: int,
    order: Order,
    kind: type[A] = MappedArray,  # type: ignore[assignment]
) -> A:
    """Return the array of raw items that lies in a mapped file from a byte on."""
    available = region.size - offset
    if available < 0:
        raise FormatError(f"offset {offset} lies past the end of the file, at {region.size} bytes")
    items = fitting_shape(shape, dtype.itemsize, available)
    return array_over(region, dtype, items, offset, order=order, kind=kind)


def _contents(
    dtype: np.dtype[Any], shape: tuple[int, ...], offset: int | None, order: Order, raw: bool
) -> tuple[int, bytes]:
    """Return size and first bytes of the file of an array of zeros."""
    data_size = prod(shape) * dtype.itemsize
    if raw:
        return (offset or 0) + data_size, b""
    from ..files.npy import encode_header  # not at import: raw files do without it

    shape, dtype = shape + dtype.shape, dtype.base
    header = encode_header(dtype, shape, order == "F" and len(shape) > 1)
    return len(header) + data_size, header


def is_full(shape: tuple[int, ...] | None) -> bool:
    """Return whether a shape leaves nothing open."""
    return shape is not None and -1 not in shape


def full_shape_for(shape: object, dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Return a shape with nothing left open, whose dimensions numpy can hold with the dtype's."""
    full = full_shape(shape, dtype.itemsize)
    if dtype.shape:
        full_shape(full + dtype.shape, dtype.base.itemsize)
    return full


def _check_order(order: object) -> None:
    if not (isinstance(order, str) and order in ("C", "F")):
        raise ArgumentError(f"order must be 'C' or 'F', got {order!r}")
