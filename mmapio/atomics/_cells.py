"""The operations from Python: on any array with every check, or bound to cells for cheap calls."""

from __future__ import annotations

import functools
from collections.abc import Callable
from operator import index as as_index
from typing import Any, NoReturn, Self

import numpy as np

from mmapio._validation import refuse_masks
from mmapio.atomics import _ir
from mmapio.atomics._methods import add_methods, at_address, compiled, pack
from mmapio.atomics._rules import (
    VALUE_COUNTS,
    check_access,
    check_dtype,
    check_index_count,
    check_order,
    misaligned,
    unknown_field,
    unsupported_place,
)
from mmapio.errors import ArgumentError, ArgumentTypeError, OutOfBoundsError

__all__ = ["AtomicArray", "AtomicCell", "call", "compiled_fence", "fence"]


def call(operation: str, a: Any, index: Any, order: str, *values: Any) -> Any:
    """Run `operation` on one element of an array or one field of a record, with every check.

    `order` is checked and not used: all calls from Python are seq_cst, the strongest.
    """
    check_order(operation, order)
    dtype, address = _place(a, index)
    check_dtype(operation, dtype)
    check_access(operation, writable=a.flags.writeable)
    return at_address(dtype)[operation](address, *values)


def fence(order: str) -> None:
    """Run a seq_cst fence, the strongest, once `order` is checked."""
    check_order("fence", order)
    compiled_fence()()


@functools.cache
def compiled_fence() -> Callable[[], None]:
    """Return the fence, compiled on first use."""
    function: Callable[[], None] = compiled(_seq_cst_fence)
    return function


def _seq_cst_fence() -> None:
    """Fence, as a kernel."""
    _ir.fence("seq_cst")


def _place(a: Any, index: Any) -> tuple[np.dtype[Any], int]:
    """Return the dtype and the address of the cell that `index` names in `a`."""
    refuse_masks(a)
    if isinstance(a, np.ndarray):
        dtype = a.dtype
        offset = _element_offset(a, index if isinstance(index, tuple) else (index,))
    elif isinstance(a, np.void) and a.dtype.fields is not None:
        dtype, offset = _field(a.dtype.fields, index)
    else:
        raise unsupported_place(type(a).__name__)
    check_dtype("load", dtype)
    return dtype, _aligned(dtype, _address(a) + offset)


def _field(fields: Any, name: Any) -> tuple[np.dtype[Any], int]:
    """Return the dtype and the offset of a record's field."""
    if not isinstance(name, str) or name not in fields:
        raise unknown_field(name, fields)
    dtype, offset = fields[name][:2]
    return dtype, offset


def _element_offset(a: np.ndarray[Any, Any], indices: tuple[Any, ...]) -> int:
    """Return how many bytes from the first element another lies; negative indices wrap."""
    check_index_count(len(indices), a.ndim)
    offset = 0
    for axis, (index, length, stride) in enumerate(zip(indices, a.shape, a.strides, strict=True)):
        if type(index) is not int:
            refuse_masks(index)
        position = as_index(index)
        if not -length <= position < length:
            raise OutOfBoundsError(f"index {position} is outside of axis {axis}, of {length} cells")
        offset += position % length * stride
    return offset


def _address(a: Any) -> int:
    """Return where the data of an array or a record begins."""
    address: int = a.__array_interface__["data"][0]
    return address


def _aligned(dtype: np.dtype[Any], address: int) -> int:
    """Return `address`, at which every processor can work on the whole cell at once."""
    past = address % dtype.itemsize
    if past:
        raise misaligned(dtype, f"this one is {past} past one")
    return address


class _Operations:
    """Common base of all cells. Each dtype has a class of its own, of built-in methods.

    So Python finds and calls them as those of its own classes, which takes it half as long as to
    call what lies in a slot.
    """

    # The compiled code reads the first: slots lie in the order of their names.
    __slots__ = ("_facts", "_owner")

    _facts: bytes
    _owner: object

    dtype: np.dtype[Any]
    load: Callable[..., Any]
    store: Callable[..., None]
    exchange: Callable[..., Any]
    compare_exchange: Callable[..., tuple[Any, bool]]
    fetch_add: Callable[..., Any]
    fetch_sub: Callable[..., Any]
    fetch_and: Callable[..., Any]
    fetch_or: Callable[..., Any]
    fetch_xor: Callable[..., Any]
    fetch_min: Callable[..., Any]
    fetch_max: Callable[..., Any]

    @classmethod
    def _make(cls, place: str, a: Any, dtype: np.dtype[Any], *facts: int) -> Self:
        """Return a new instance of the class for `dtype`."""
        kind: Any = cls  # mypy takes a class for unhashable
        made: Self = object.__new__(_class_of(kind, place, dtype, a.flags.writeable))
        made._facts, made._owner = pack(*facts), a
        return made

    # Compared as objects, cells would never equal numbers; and which of its values would be meant?
    def __eq__(self, other: object) -> NoReturn:
        raise ArgumentTypeError("cells do not compare: compare what load() returns, or value")

    __ne__ = __eq__
    __hash__ = object.__hash__

    def __bool__(self) -> NoReturn:
        raise ArgumentTypeError("cells are not true or false: use what load() returns, or value")

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"cannot pickle {type(self).__name__!r}: a copy would not share the memory; "
            "send the path, and bind the cells again there"
        )


@functools.cache
def _class_of(cls: type, place: str, dtype: np.dtype[Any], writable: bool) -> type:
    """Return `cls` with the methods that cells of `dtype` have, and others that say why not."""
    names = {"__slots__": (), "__doc__": cls.__doc__, "__module__": cls.__module__, "dtype": dtype}
    found = type(cls.__name__, (cls,), names)
    add_methods(found, dtype, place)
    for operation in VALUE_COUNTS:
        if not hasattr(found, operation) or not (writable or operation == "load"):
            setattr(found, operation, _refusal(operation, dtype))
    return found


def _refusal(operation: str, dtype: np.dtype[Any]) -> Callable[..., None]:
    """Return a function that raises what `operation` is not possible for."""

    def refuse(*_values: Any) -> None:
        check_dtype(operation, dtype)
        check_access(operation, writable=False)

    return refuse


class AtomicCell(_Operations):
    """One cell of an array, bound for calls at about the price of an empty Python function.

    Its methods are the functions of this module without the array, the index and the order:
    ``load()``, ``store(value)``, ``exchange(value)``, ``compare_exchange(expected, desired)`` and
    ``fetch_add``, ``fetch_sub``, ``fetch_and``, ``fetch_or``, ``fetch_xor``, ``fetch_min`` and
    ``fetch_max`` of a value. All are seq_cst. ``add = cell.fetch_add`` once, and ``add(1)`` often,
    is cheapest. The cell, and each method taken from it, keeps the array alive.

    Parameters
    ----------
    a : numpy.ndarray or numpy.void
        The array, or a record of a structured array.
    index : int, tuple of int, or str
        Which element; for a record, which field.

    Raises
    ------
    OutOfBoundsError
        If the array has no such element.
    MisalignedError
        If the cell does not lie at a multiple of its own size.
    ReadOnlyError
        If anything but `load` is asked of a cell in read-only memory.
    ArgumentError, ArgumentTypeError
        If the cell's dtype has no atomic operations, or the index does not name one cell.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.atomics import AtomicCell
    >>> hits = AtomicCell(np.zeros(8, "u8"), 3)
    >>> hits.fetch_add(2), hits.fetch_max(10), hits.value
    (0, 2, 10)
    >>> hits.compare_exchange(10, 11), hits.compare_exchange(10, 12)
    ((10, True), (11, False))
    """

    __slots__ = ()

    def __new__(cls, a: Any, index: Any) -> Self:
        """Make the cell."""
        dtype, address = _place(a, index)
        return cls._make("cell", a, dtype, address)

    @property
    def value(self) -> Any:
        """The value, loaded or stored as a whole.

        Examples
        --------
        >>> import numpy as np
        >>> from mmapio.atomics import AtomicCell
        >>> cell = AtomicCell(np.zeros(1), 0)
        >>> cell.value = 2.5
        >>> cell.value
        2.5
        """
        return self.load()

    @value.setter
    def value(self, value: Any) -> None:
        self.store(value)

    def __repr__(self) -> str:
        return f"<AtomicCell {self.dtype} {self.load()}>"


class AtomicArray(_Operations):
    """The cells of a one-dimensional array, bound for cheap calls like those of `AtomicCell`.

    Each method takes the index first: ``fetch_add(index, value)``. Negative indices count from the
    end, and one outside raises `OutOfBoundsError`.

    Parameters
    ----------
    a : numpy.ndarray
        One-dimensional, of any stride.

    Raises
    ------
    MisalignedError
        If a cell does not lie at a multiple of its own size.
    ReadOnlyError
        If anything but `load` is asked of cells in read-only memory.
    ArgumentError, ArgumentTypeError
        If the dtype has no atomic operations, or `a` is not a one-dimensional array.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.atomics import AtomicArray
    >>> bins = AtomicArray(np.zeros(4, "i4"))
    >>> bins.fetch_add(2, 5), bins.fetch_sub(-2, 1), bins.load(2), len(bins)
    (0, 5, 4, 4)
    >>> bins.load(4)
    Traceback (most recent call last):
    mmapio.errors.OutOfBoundsError: index 4 is outside of 4 cells
    """

    __slots__ = ()

    _owner: np.ndarray[Any, Any]

    def __new__(cls, a: np.ndarray[Any, Any]) -> Self:
        """Make the cells."""
        if not isinstance(a, np.ndarray):
            raise unsupported_place(type(a).__name__)
        refuse_masks(a)
        if a.ndim != 1:
            raise ArgumentError(f"an AtomicArray has one dimension; got {a.ndim}")
        check_dtype("load", a.dtype)
        address, (count,), (stride,) = _address(a), a.shape, a.strides
        for place in (address, stride):
            _aligned(a.dtype, place)
        return cls._make("array", a, a.dtype, address, count, stride, id(OutOfBoundsError))

    def __len__(self) -> int:
        return len(self._owner)

    def __repr__(self) -> str:
        return f"<AtomicArray of {len(self)} {self.dtype}>"
