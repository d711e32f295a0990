"""Values as arrays of the dtype that they have by themselves."""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .._validation import refuse_masks
from ..errors import ArgumentError, ArgumentTypeError
from .limits import digits_in, digits_of, is_float, limits_of
from .requests import Asked

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

__all__ = ["as_array", "found_array"]


def as_array(values: Any, name: str, dtype: Any = None) -> npt.NDArray[Any]:
    """Return values as the array that numpy makes of them."""
    try:
        found = np.asanyarray(values, dtype)
    except (ValueError, OverflowError) as error:
        raise ArgumentError(f"{name} cannot be made an array: {error}") from None
    except TypeError as error:
        raise ArgumentTypeError(f"{name} cannot be made an array: {error}") from None
    if type(found) is not np.ndarray:
        refuse_masks(found)  # of an object whose __array__ returns one
    return np.asarray(found)


def found_array(values: Any, asked: Asked) -> npt.NDArray[Any]:
    """Return values as an array of the dtype that they have by themselves."""
    if isinstance(values, np.ndarray):
        found = np.asarray(values)
    else:
        found = as_array(values, asked.name)
        # In a list numpy rounds integers among floats, and makes texts of numbers among texts,
        # and floats of integers of which some are signed and some are not.
        if found.dtype.kind in "fcSU" and not _has_own_dtype(values, asked):
            with np.errstate(all="ignore"):
                digits = min(53, digits_in(asked.dtype)) if is_float(asked.dtype) else 53
                is_mixed = found.dtype.kind in "SU" or asked.dtype.kind in "biu"
                changed = is_mixed or (np.abs(found) >= 2**digits).any()
            found = as_array(values, asked.name, object) if changed else found
    if found.dtype.kind in "OT" and found.size:  # T: texts of any length
        found = _of_objects(found.astype(object, copy=False), asked)
    if found.dtype.isbuiltin == 2:
        found = _of_foreign(found, asked)
    return found


def _has_own_dtype(values: Any, asked: Asked) -> bool:
    """Return True for what holds values of one type, as arrays do, and a text that is whole."""
    if isinstance(values, str | bytes):
        # Not by a slice: a text of numpy may have characters that Python makes no other text of.
        zero: Any = "\0" if isinstance(values, str) else b"\0"
        return not values.endswith(zero) or asked.dtype.kind not in "SU"
    return hasattr(values, "dtype") or isinstance(values, bytearray | memoryview)


def _of_foreign(given: npt.NDArray[Any], asked: Asked) -> npt.NDArray[Any]:
    """Return values of a dtype that another package has added, as ones of numpy's own."""
    own = next((own for own in ("i8", "f8") if np.can_cast(given.dtype, own, "safe")), None)
    if own is None:
        asked.refuse_kind(given)
    return given.astype(own)


def _of_objects(given: npt.NDArray[Any], asked: Asked) -> npt.NDArray[Any]:
    """Return Python objects of one kind as an array of that kind."""
    items = [_as_python(item) for item in given.reshape(-1).tolist()]
    types = set(map(type, items))
    fitting = (make for kinds, make in _GROUPS if all(issubclass(one, kinds) for one in types))
    make = next(fitting, None)
    if make is None:
        known = tuple(kind for kinds, _ in _GROUPS for kind in kinds)
        strange = (at for at, item in enumerate(items) if not isinstance(item, known))
        other = (at for at, item in enumerate(items) if type(item) is not type(items[0]))
        asked.refuse_kind(given, next(strange, next(other, 0)))
    return make(items, given, asked).reshape(given.shape)


def _as_python(item: Any) -> Any:
    """Return an integer of another package as Python's; anything else as it is."""
    is_integer = hasattr(type(item), "__index__") and not isinstance(item, np.ndarray | np.generic)
    return operator.index(item) if is_integer and type(item) is not bool else item


def _integers(items: list[Any], given: npt.NDArray[Any], asked: Asked) -> npt.NDArray[Any]:
    """Return integers as an array; those of more than 64 bits as floats, if they are as exact."""
    numbers = [int(item) for item in items]
    low, high = min(numbers), max(numbers)
    for wide in ("i8", "u8"):
        if np.iinfo(wide).min <= low and high <= np.iinfo(wide).max:
            return np.array(numbers, wide)
    dtype = asked.dtype
    if not is_float(dtype):
        limits = np.iinfo(dtype) if dtype.kind in "iu" else np.iinfo("i8")
        at = next(i for i, n in enumerate(numbers) if not limits.min <= n <= limits.max)
        if dtype.kind in "iu":
            asked.refuse(given, at, limits_of(dtype))
        asked.refuse(given, at, "it has more than 64 bits")
    _check_held(items, given, asked)
    return np.array([np.longdouble(number) for number in numbers])


def _check_held(items: list[Any], given: npt.NDArray[Any], asked: Asked) -> None:
    """Refuse integers that a float has not enough digits for."""
    digits, largest = digits_in(asked.dtype), int(np.finfo(asked.dtype).max)
    for at, item in enumerate(items):
        if isinstance(item, int | np.integer):
            size = abs(int(item))
            if size > largest or size // (size & -size or 1) >= 2**digits:
                asked.refuse(given, at, digits_of(asked.dtype))


def _numbers(items: list[Any], given: npt.NDArray[Any], asked: Asked) -> npt.NDArray[Any]:
    """Return numbers, floats among them, as an array; no integer may change for that."""
    if is_float(asked.dtype):
        _check_held(items, given, asked)
    found = [np.longdouble(item) if isinstance(item, int) else item for item in items]
    return np.array(found)


def _texts(items: list[Any], given: npt.NDArray[Any], asked: Asked) -> npt.NDArray[Any]:
    if asked.dtype.kind in "SU":
        for at, item in enumerate(items):
            if item[-1:] in ("\0", b"\0"):
                asked.refuse(given, at, "null characters at its end would not be read back")
    return np.array(items)


def _dates(items: list[Any], given: npt.NDArray[Any], asked: Asked) -> npt.NDArray[Any]:
    for at, item in enumerate(items):
        if getattr(item, "tzinfo", None) is not None:
            asked.refuse(given, at, "it has a time zone; convert it to UTC, and leave that out")
    of_pandas = [i.to_datetime64() if hasattr(i, "to_datetime64") else i for i in items]
    return np.array([np.datetime64(item) for item in of_pandas])


def _periods(items: list[Any], given: npt.NDArray[Any], asked: Asked) -> npt.NDArray[Any]:
    of_pandas = [i.to_timedelta64() if hasattr(i, "to_timedelta64") else i for i in items]
    return np.array([np.timedelta64(item) for item in of_pandas])


_Maker = Callable[[list[Any], "npt.NDArray[Any]", Asked], "npt.NDArray[Any]"]
_GROUPS: Final[tuple[tuple[tuple[type, ...], _Maker], ...]] = (
    ((bool, np.bool_), lambda items, given, asked: np.array(items, bool)),
    ((dt.timedelta, np.timedelta64), _periods),  # before integers, of which numpy's is one
    ((bool, np.bool_, int, np.integer), _integers),
    ((bool, np.bool_, int, float, complex, np.number), _numbers),
    ((str,), _texts),
    ((bytes,), _texts),
    ((dt.date, np.datetime64), _dates),
)
