"""`memmap`: `numpy.memmap`'s arguments, attributes and errors, over mmapio's own mapping."""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import numpy as np

from .._validation import Shape, as_count, as_dtype, as_shape
from ..errors import ArgumentError, ArgumentTypeError
from ..files.file_objects import descriptor_of, path_of
from ..mapping.closing import WhenInUse, close_source
from ..mapping.mapped_file import MappedFile
from ..mapping.opening import map_descriptor, map_path
from ..mapping.options import MapOptions
from ..mapping.region import Region
from ..modes import Access, Mode
from .mapped_array import MappedArray, giving_plain_copies
from .opening import Order, full_shape_for, is_full, open_raw

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

__all__ = ["memmap"]

A = TypeVar("A", bound=MappedArray)

_ORDERS: Final[dict[object, Order]] = {
    **dict.fromkeys(("C", "c", "A", "a", "K", "k", None), "C"),
    **dict.fromkeys(("F", "f"), "F"),
}


@giving_plain_copies
class memmap(MappedArray):  # noqa: N801
    """Map a raw file as `numpy.memmap` does: a drop-in for it.

    Parameters
    ----------
    filename : str, bytes, os.PathLike or file object
        The file. A file object must have a descriptor, and show the bytes of that: one that
        unpacks is refused. Its name is kept if it leads to the file. A device is mapped too; a
        character device, which has no size, needs a `shape`.
    dtype : dtype_like, default uint8
        Type of the items.
    mode : {"r", "r+", "w+", "c"} or numpy's long names, default "r+"
        As in `MappedFile.open`. In ``r+`` a file that is too short for `shape` is extended, and so
        is a file object in ``w+``.
    offset : int, default 0
        Byte of the file at which the first item lies.
    shape : int or sequence of int, optional
        Shape; all items there are, in one dimension, if left out. ``w+`` needs one.
    order : {"C", "F"}, default "C"
        Whether the last or the first index varies fastest; what else numpy takes (``"f"``, ``"A"``,
        None) has the same meaning as there.
    reserve, guard : bool, default True
        As in `open`. False for `reserve` makes a file with holes, as numpy does.

    Attributes
    ----------
    filename : str or None
        Absolute path of the file; None where there is none.
    offset : int
        Byte of the file at which the first item lies.
    mode : str
        The mode as it was given, by its short name.

    Raises
    ------
    MissingFileError, DirectoryError, AccessError, FileError
        If the file cannot be opened, created or mapped.
    FormatError
        If the file's size is no multiple of the item size, or too small for `shape`.
    ArgumentError
        If an argument has a value that cannot be used.

    Notes
    -----
    It is a class, which can be subclassed and asked for by `isinstance`; slices and views are
    `memmap` too, arithmetic and copies are plain arrays, all as with numpy. It differs where
    `numpy.memmap` crashes or loses data:

    - ``w+`` puts a new file in place of an old one, which others can go on mapping, instead of
      cutting it off under them. A device cannot be replaced: ``r+`` writes to it.
    - `flush` returns when the bytes are durable; that of a slice is for the slice's own bytes.
    - A file that is created, or extended, is given its blocks, so that a full disk is an error at
      once; `reserve` has more.
    - `close` and ``with`` give the memory back.
    - Pickles refer to the file instead of copying it.

    And in what follows from how it is made:

    - A slice's `offset` is its own.
    - `filename` is always a str, never a `pathlib.Path`.
    - An empty file is an empty array, in each mode, and stays empty.
    - Items picked by a list or a mask keep the class, though they are a copy, whose `filename` is
      None.
    - The `base` of a view is an array over the whole file, not the array that it was made from.
    - Neither `base` nor ``_mmap`` is an `mmap.mmap`; ``_mmap`` is the `MappedFile`.
    - Other attributes cannot be set, except on a subclass.
    - One dimension of `shape` may be -1.

    Examples
    --------
    >>> import mmapio
    >>> a = mmapio.memmap("drop_in.bin", dtype="f4", mode="w+", shape=(3, 4))
    >>> a[1] = 7
    >>> a[1:].offset
    16
    >>> isinstance(a[1:], mmapio.memmap)
    True
    """

    __slots__ = ()

    def __new__(
        cls,
        filename: Any,
        dtype: npt.DTypeLike = np.uint8,
        mode: str = "r+",
        offset: int = 0,
        shape: Shape | None = None,
        order: str | None = "C",
        *,
        reserve: bool = True,
        guard: bool = True,
    ) -> Self:
        """Check all arguments, then open or create the file, and map it."""
        kind, wanted = Mode.parse(mode), as_dtype(dtype)
        items = None if shape is None else as_shape(shape)
        start = as_count(offset, "offset")
        layout = _as_order(order)
        needed = None
        if is_full(items):
            needed = start + prod(full_shape_for(items, wanted)) * wanted.itemsize
        elif kind in (Mode.REPLACE, Mode.CREATE):
            raise ArgumentError(f"mode {mode!r} creates a file and needs a full shape")
        size = needed if kind.creates else None
        options = MapOptions(kind, size=size, reserve=reserve, guard=guard)
        use = functools.partial(_array_in, cls, wanted, items, start, layout, needed)
        if hasattr(filename, "fileno"):
            return _of_file_object(filename, options, needed, use)
        return map_path(filename, options, room=needed, use=use)

    @property
    def _mmap(self) -> MappedFile | None:
        """The mapping, under the name that numpy has for its own."""
        return self.mapping


def _array_in(
    cls: type[A],
    dtype: np.dtype[Any],
    shape: tuple[int, ...] | None,
    offset: int,
    order: Order,
    needed: int | None,
    region: Region,
) -> A:
    """Return the array that lies in a mapped file, which is extended for it if it may be."""
    mapping = MappedFile(region)
    if needed is not None and needed > mapping.size and region.access is Access.WRITE:
        facts = region.source.facts
        if facts is not None and facts.is_regular:  # a device does not grow
            mapping.resize(needed)
    return open_raw(mapping._region, dtype, shape, offset, order, cls)


def _of_file_object(
    file: Any, options: MapOptions, room: int | None, use: Callable[[Region], A]
) -> A:
    """Return what `use` makes of a mapped file object."""
    fd = descriptor_of(file)
    region = map_descriptor(fd, options, path_of(fd, getattr(file, "name", None)), room)
    try:
        return use(region)
    except BaseException:
        close_source(region.source, WhenInUse.KEEP)
        raise


def _as_order(order: object) -> Order:
    """Return the order that numpy takes a value for."""
    if isinstance(order, bytes):
        order = order.decode("latin1")
    if order is not None and not isinstance(order, str):
        raise ArgumentTypeError(f"order must be 'C' or 'F', got {order!r}")
    if order not in _ORDERS:
        raise ArgumentError(f"order must be 'C' or 'F', got {order!r}")
    return _ORDERS[order]
