"""Arguments: counts, ranges, shapes, dtypes and buffers, checked in one place."""

from __future__ import annotations

import itertools
import operator
import os
from collections.abc import Callable, Iterator
from math import prod
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .errors import (
    ArgumentError,
    ArgumentTypeError,
    FormatError,
    OutOfBoundsError,
)

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

__all__ = [
    "LARGEST",
    "MOST_DIMENSIONS",
    "Bytes",
    "Path",
    "Progress",
    "Shape",
    "as_bytes",
    "as_count",
    "as_dtype",
    "as_flag",
    "as_integer",
    "as_nbytes",
    "as_positive",
    "as_progress",
    "as_shape",
    "bounded",
    "check_plain",
    "fitting_shape",
    "full_shape",
    "is_like_list",
    "refuse_masks",
    "round_down",
    "round_up",
    "steps",
]

# The largest span that the address arithmetic of numpy and the kernel can express (ssize_t).
LARGEST = 2**63 - 1
MOST_DIMENSIONS = 64  # of an ndarray, since numpy 2.0


def round_down(value: int, step: int) -> int:
    """Return the largest multiple of `step` that is not above `value`."""
    return value - value % step


def round_up(value: int, step: int) -> int:
    """Return the smallest multiple of `step` that is not below `value`."""
    return value + -value % step


def steps(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of consecutive ranges of `step`, of which the last one may be shorter."""
    for at in range(start, stop, step):
        yield at, min(at + step, stop)


def as_integer(value: object, name: str) -> int:
    """Return `value` as an int; integers of numpy are accepted."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        kind = type(value).__name__
        raise ArgumentTypeError(f"{name} must be an integer, got {kind!r}") from None


def as_count(value: object, name: str) -> int:
    """Return `value` as an int of 0 or more."""
    count = as_integer(value, name)
    if count < 0:
        raise ArgumentError(f"{name} must be 0 or more, got {count}")
    if count > LARGEST:
        raise ArgumentError(f"{name} {count} is larger than any file or memory ({LARGEST})")
    return count


def as_flag(value: object, name: str) -> bool:
    """Return `value` as a bool; only bools are accepted, since the str "no" would be true."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise ArgumentTypeError(f"{name} must be True or False, got {value!r}")


def as_positive(value: object, name: str) -> int:
    """Return `value` as an int of 1 or more."""
    count = as_integer(value, name)
    if count < 1:
        raise ArgumentError(f"{name} must be 1 or more, got {count}")
    return as_count(count, name)


def as_nbytes(value: object, name: str) -> int:
    """Return a number of bytes, given as an integer or as a str such as ``"64 GiB"``."""
    if not isinstance(value, str):
        return as_count(value, name)
    digits = value.rstrip("KMGTPEiB ")
    unit = value[len(digits) :].strip()
    try:
        # Exact for whole numbers of any size; only what has a decimal point goes by a float.
        count = int(digits) * _UNITS[unit] if "." not in digits else float(digits) * _UNITS[unit]
        return as_count(int(count), name)
    except (KeyError, ValueError, OverflowError):
        raise ArgumentError(
            f"{name} {value!r} is not a number of bytes up to {LARGEST}, such as 4096 or '64 GiB'"
        ) from None


_PREFIXES = "KMGTPE"
_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{prefix}B": 1000 ** (n + 1) for n, prefix in enumerate(_PREFIXES)}
_UNITS |= {f"{prefix}iB": 1024 ** (n + 1) for n, prefix in enumerate(_PREFIXES)}


def as_progress(progress: Progress | None) -> Progress | None:
    """Return a progress callback, or None, once it is known to be callable."""
    if progress is None or callable(progress):
        return progress
    raise ArgumentTypeError(f"progress must be a function or None, got {progress!r}")


def bounded(offset: object, length: object, size: int) -> tuple[int, int]:
    """Return (offset, length) in bytes, known to lie within `size`; no length: up to the end."""
    start = as_count(offset, "offset")
    count = 0 if length is None else as_count(length, "length")
    if start > size:
        raise OutOfBoundsError(f"offset {start} lies past the end, at {size} bytes")
    if length is None:
        return start, size - start
    if count > size - start:
        raise OutOfBoundsError(
            f"offset {start} + length {count} = {start + count} reaches past the end, "
            f"at {size} bytes"
        )
    return start, count


def as_shape(shape: object) -> tuple[int, ...]:
    """Return `shape`, an integer or integers in an order, as a tuple; iterators are used up."""
    if type(shape) is int:
        return (shape,)
    try:
        items = _items_of_shape(shape)
        if bool not in map(type, items):
            return tuple(map(operator.index, items))
    except TypeError:
        pass
    raise ArgumentTypeError(f"shape must be an integer or a sequence of integers, got {shape!r}")


def _items_of_shape(shape: Any) -> tuple[Any, ...]:
    if type(shape) is tuple:
        return shape
    if isinstance(shape, _NO_SHAPES):
        raise TypeError
    if hasattr(shape, "__iter__") and getattr(shape, "ndim", None) != 0:
        return _first(iter(shape))
    return (shape,)


# They are integers or iterables, but not shapes: bools, text, and what has no order.
_NO_SHAPES: Final = (bool, str, bytes, bytearray, memoryview, set, frozenset, dict)


def _first(given: Iterator[Any]) -> tuple[Any, ...]:
    """Return the items of an iterator, which may have no end."""
    items = tuple(itertools.islice(given, MOST_DIMENSIONS + 1))
    if len(items) > MOST_DIMENSIONS:
        raise ArgumentError(f"shape has more than {MOST_DIMENSIONS} dimensions")
    return items


def full_shape(shape: object, itemsize: int) -> tuple[int, ...]:
    """Return `shape` as a tuple with nothing left open, small enough to exist."""
    items = as_shape(shape)
    if len(items) > MOST_DIMENSIONS:
        raise ArgumentError(f"shape has {len(items)} dimensions; at most {MOST_DIMENSIONS}")
    if items and min(items) < 0:
        raise ArgumentError(f"shape {items} has a negative dimension; all must be 0 or more")
    # numpy refuses what overflows even where a zero makes the product small: so do we, first.
    if (prod(items) or prod(max(item, 1) for item in items)) * itemsize > LARGEST:
        raise ArgumentError(f"shape {items} of {itemsize}-byte items overflows 64-bit sizes")
    return items


def fitting_shape(shape: object, itemsize: int, available: int) -> tuple[int, ...]:
    """Return the shape of an array of `itemsize`-byte items that lies in `available` bytes."""
    if shape is None and available % itemsize == 0:
        return (available // itemsize,)
    items = (-1,) if shape is None else as_shape(shape)
    if any(item < -1 for item in items) or items.count(-1) > 1:
        raise ArgumentError(
            f"shape {items} has a negative dimension; only one may be -1, for 'what fits'"
        )
    if -1 in items:
        known = prod(item for item in items if item != -1) * itemsize
        if known == 0:
            raise ArgumentError(f"shape {items}: -1 cannot be derived beside a 0")
        if available % known:
            raise FormatError(
                f"{available} bytes are not a multiple of the {known} bytes of one "
                f"{'item' if len(items) == 1 else f'row of shape {items}'}"
            )
        items = tuple(available // known if item == -1 else item for item in items)
    items = full_shape(items, itemsize)
    needed = prod(items) * itemsize
    if needed > available:
        raise FormatError(
            f"shape {items} of {itemsize}-byte items needs {needed} bytes, "
            f"but only {available} are there"
        )
    return items


_PLAIN: Final = frozenset({bool, int, float, complex, str, bytes})


def refuse_masks(values: Any, depth: int = MOST_DIMENSIONS) -> None:
    """Raise if values are a masked array, or hold one: what its mask hides would be used."""
    kind = type(values)
    if kind is np.ndarray or kind in _PLAIN:
        return
    if issubclass(kind, list | tuple) or is_like_list(values):
        if not _PLAIN.issuperset(map(type, values)):
            for each in values if depth else ():
                refuse_masks(each, depth - 1)
    elif hasattr(kind, "mask") and isinstance(values, np.ma.MaskedArray):
        raise ArgumentTypeError("mmapio knows no masks: use a.compressed(), or a.filled(value)")


def is_like_list(values: Any) -> bool:
    """Return whether numpy makes an array of values item by item, as of a deque."""
    kind = type(values)
    if not (hasattr(kind, "__getitem__") and hasattr(kind, "__len__")):
        return False
    if issubclass(kind, _NOT_LIKE_LISTS) or any(hasattr(kind, name) for name in _ARRAY_METHODS):
        return False
    try:
        memoryview(values)
    except TypeError:
        return True
    return False


_NOT_LIKE_LISTS: Final = (dict, str, bytes, range)
_ARRAY_METHODS: Final = ("__array__", "__array_interface__", "__array_struct__")


Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Progress = Callable[[int, int], object]  # called with the bytes done, and the total
Shape = int | tuple[int, ...] | list[int]
_UINT8: Final = np.dtype(np.uint8)


def as_bytes(data: Any) -> Bytes:
    """Return the bytes of a buffer or an array, in C order, without a copy where it can be."""
    # What comes most often, in a fraction of the time of the rest.
    if type(data) is bytes:
        return np.frombuffer(data, np.uint8)
    if type(data) is np.ndarray and data.dtype is _UINT8 and data.flags.c_contiguous:
        return data if data.ndim == 1 else data.reshape(-1)
    if isinstance(data, np.ndarray):
        refuse_masks(data)
        if data.dtype.hasobject:
            raise ArgumentError(f"arrays of dtype {data.dtype} hold Python objects, not bytes")
        if not data.flags.c_contiguous and data.itemsize:
            # As whole items: field by field, numpy would leave what pads them as memory was.
            data = data.view(f"V{data.itemsize}")
        return np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    try:
        buffer = memoryview(data)
    except TypeError:
        raise ArgumentTypeError(
            f"data must be a buffer (bytes, an array, ...), got {type(data).__name__!r}"
        ) from None
    return np.frombuffer(buffer if buffer.c_contiguous else buffer.tobytes(), np.uint8)


def as_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return a dtype whose items are nothing but their bytes."""
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise ArgumentTypeError(f"dtype {dtype!r} is not understood: {error}") from None
    except (ValueError, SyntaxError) as error:  # of strings numpy parses as Python does
        raise ArgumentError(f"dtype {dtype!r} is not understood: {error}") from None
    check_plain(found)
    if found.itemsize == 0:
        raise ArgumentError(f"dtype {found} has items of no size; give it one, such as 'S8'")
    return found


def check_plain(dtype: np.dtype[Any]) -> None:
    """Raise if items of a dtype are more than their bytes."""
    if dtype.hasobject:
        raise ArgumentError(f"dtype {dtype} holds Python objects, which cannot be mapped")
