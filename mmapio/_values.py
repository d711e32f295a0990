"""Values that are stored as items: exactly as they were given, or refused, whatever holds them.

numpy looks at what holds a value before it looks at the value. It refuses the Python number 300 for
an int8, and stores 44 if a numpy scalar, an array or a Series holds it; it cuts texts and dates and
drops masks. Here the value decides, for a number, a list, an array and anything else alike:

- Booleans, integers, floats, complex numbers, dates, periods, texts and records are kinds. A number
  may be stored as a kind further up, an integer as a float for one, and never as one further down.
- An integer is stored exactly; a float is rounded to the nearest one, but not to infinity; dates
  and periods keep their units' parts, and texts all of their characters.
- Records are stored field by field, from records whose fields have the same names.
"""

from __future__ import annotations

import datetime as dt
import functools
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import numpy as np

from ._validation import MOST_DIMENSIONS, refuse_masks
from .errors import ArgumentError, ArgumentTypeError

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

__all__ = ["ItemStore", "as_array", "as_items", "store_item"]

_FEW: Final = 64  # items, of which a list is made faster than numpy looks at them
_LONGEST: Final = 60  # characters of a value that a message shows
# The kinds of dtype that each kind takes values of, and what those are called.
_TAKES: Final = {
    "b": ("biu", "booleans, 0 and 1"),
    "i": ("biu", "integers"),
    "u": ("biu", "integers"),
    "f": ("biuf", "integers and floats"),
    "c": ("biufc", "numbers"),
    "m": ("ium", "integers, and periods in days, seconds and so on or in months and years"),
    "M": ("M", "dates"),
    "S": ("SU", "texts"),
    "U": ("SU", "texts"),
    "V": ("SV", "bytes"),
}
_INTEGERS: Final = frozenset(np.dtype(code).type for code in "bhilqBHILQ")


class _Asked(NamedTuple):
    """Values that are to be stored: as which dtype, by which name, and from which index on."""

    dtype: np.dtype[Any]
    name: str
    first: int = 0

    def place(self, shape: tuple[int, ...], at: int) -> str:
        """Name the item that is number `at` of a shape."""
        index = [int(i) for i in np.unravel_index(at, shape)] if shape else []
        if index:
            index[0] += self.first
        return f"{self.name}[{', '.join(map(str, index))}]" if index else self.name

    def refuse(self, given: npt.NDArray[Any], at: int, why: str) -> NoReturn:
        """Raise the error for a value that does not fit."""
        raise ArgumentError(
            f"{self.place(given.shape, at)} is {_shown(given, at)}, which does not fit dtype "
            f"{self.dtype}: {why}"
        )

    def refuse_kind(self, given: npt.NDArray[Any], at: int = 0) -> NoReturn:
        """Raise the error for a value of a kind that is not stored as the dtype's."""
        value = given.reshape(-1)[at]
        what = type(value).__name__ if given.dtype.hasobject else str(given.dtype)
        wanted = _TAKES.get(self.dtype.kind, ("", "its own"))[1]
        if self.dtype.fields or self.dtype.isbuiltin == 2:
            wanted = "records" if self.dtype.fields else "numbers of its kind"
        raise ArgumentTypeError(
            f"{self.place(given.shape, at)} is {_shown(given, at)}, of type {what}, which does not "
            f"fit dtype {self.dtype}: it takes {wanted}; convert the values first"
        )


def _shown(given: npt.NDArray[Any], at: int) -> str:
    """Return one of some values as a message shows it: as users write it, and not at any length."""
    value = given.reshape(-1)[at]
    shown = repr(value.item() if given.dtype.kind in "biufcSU" else value)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


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


def as_items(
    values: Any, dtype: np.dtype[Any], name: str = "values", first: int = 0
) -> npt.NDArray[Any]:
    """Return values as an array in C order of a dtype, or say which one does not fit, and why.

    Parameters
    ----------
    values : array_like
        Any numbers, texts, dates or records, and whatever holds them.
    dtype : numpy.dtype
        What they are to be stored as; it holds no objects and no subarray.
    name : str, default "values"
        What the caller's user knows them as.
    first : int, default 0
        Index of the first one, where these are a part of what the user gave.

    Returns
    -------
    numpy.ndarray
        `values` itself, if it is such an array.
    """
    if type(values) is np.ndarray and values.dtype == dtype and values.flags.c_contiguous:
        return values
    if type(values) in _INTEGERS:
        values = values.item()
    asked = _Asked(dtype, name, first)
    if _is_exact(values, dtype):
        try:
            if dtype.names is None:
                return np.array(values, dtype)
            record = np.zeros((), dtype)  # and so is what pads the fields
            record[()] = values
            return record
        except (OverflowError, ValueError):
            pass  # the long way says which one, and why
    refuse_masks(values)
    if dtype.fields is not None:
        return _as_records(values, asked)
    return _fitted(_found(values, asked), asked)


def store_item(items: npt.NDArray[Any], at: int, value: Any, name: str) -> None:
    """Store a value as an item of an array, or the row of one, unless it does not fit."""
    ItemStore(items, name).store(at, value)


class ItemStore:
    """An array whose items, or rows, are stored one by one, often, and only if they fit.

    Parameters
    ----------
    items : numpy.ndarray
        The array.
    name : str
        Name of a value in messages.
    """

    __slots__ = (
        "_alike",
        "_dtype",
        "_field_types",
        "_fields",
        "_items",
        "_name",
        "_types",
        "count",
    )

    def __init__(self, items: npt.NDArray[Any], name: str) -> None:
        self._items, self._name = items, name
        self._dtype = self._alike = items.dtype
        self.count = len(items)
        fields = _exact_fields(items.dtype)
        self._fields = len(fields) or -1
        # Types that numpy stores as they are, or refuses: as an item, and in any field of one
        self._types = _exact(items.dtype).always
        self._field_types = frozenset[type]().union(*(one.always for one in fields[:1]))
        for one in fields:
            self._field_types &= one.always

    def store(self, at: int, value: Any) -> None:
        """Store a value as the item, or the row, number `at`."""
        kind, dtype = type(value), self._dtype
        if kind is tuple:
            is_exact = len(value) == self._fields and self._field_types.issuperset(map(type, value))
            is_exact = is_exact or _is_exact(value, dtype)
        elif kind is np.void or kind is np.ndarray:
            # Comparing dtypes takes as long as all the rest: the last equal one is kept.
            given = value.dtype
            is_exact = given is dtype or given is self._alike or given == dtype
            if is_exact:
                self._alike = given
        else:
            is_exact = kind in self._types or _is_exact(value, dtype)
        if not is_exact:
            value = as_items(value, dtype, self._name)
        try:
            self._items[at] = value
        except (TypeError, ValueError, OverflowError):
            name = self._name
            found = as_items(value, dtype, name)  # says so if it is out of range
            expected = self._items.shape[1:]
            raise ArgumentError(f"{name} has shape {found.shape}, not {expected}") from None


# Python numbers, which numpy stores as they are, or refuses ---------------------------------------


class _Exact(NamedTuple):
    """Types that a dtype takes any value of, and those that it takes up to a limit."""

    always: frozenset[type]
    limited: dict[type, float]

    def takes(self, value: Any) -> bool:
        kind = type(value)
        return kind in self.always or (kind in self.limited and abs(value) <= self.limited[kind])

    def takes_all(self, values: Any) -> bool:
        if self.always.issuperset(map(type, values)):
            return True
        limits = [self.limited.get(kind, 0) for kind in set(map(type, values)) - self.always]
        return min(limits) > 0 and bool(max(map(abs, values)) <= min(limits))


@functools.cache
def _exact(dtype: np.dtype[Any]) -> _Exact:
    """Return what numpy stores as items of a dtype without a loss."""
    kind = dtype.kind
    if kind not in "biuf" or dtype.isbuiltin == 2:
        return _Exact(frozenset(), {})
    if kind == "b":
        return _Exact(frozenset({bool, np.bool_}), {})
    if kind in "iu":
        return _Exact(frozenset({bool, int, dtype.type}), {})
    digits, largest = 2.0 ** _digits(dtype), float(np.finfo(dtype).max)
    if dtype.itemsize >= 8:
        always: set[type] = {float, np.float64, np.float32, np.float16, dtype.type}
        return _Exact(frozenset(always), {int: digits})
    return _Exact(frozenset({dtype.type}), {int: digits, float: largest, np.float64: largest})


@functools.cache
def _takes_record_of(dtype: np.dtype[Any], types: tuple[type, ...]) -> bool:
    """Return whether a record takes any values of some types, one to a field."""
    fields = _exact_fields(dtype)
    return len(fields) == len(types) and all(
        kind in field.always for field, kind in zip(fields, types, strict=True)
    )


@functools.cache
def _exact_fields(dtype: np.dtype[Any]) -> tuple[_Exact, ...]:
    """Return what the fields of a record take; nothing if these have parts themselves."""
    fields = [dtype.fields[name][0] for name in dtype.names or ()] if dtype.fields else []
    if any(field.fields or field.subdtype for field in fields):
        return ()
    return tuple(map(_exact, fields))


def _is_exact(values: Any, dtype: np.dtype[Any]) -> bool:
    """Return True for a number, a list of numbers or a record that numpy need not be watched with.

    It stores what it is given in these as it is, or refuses it.
    """
    kind = type(values)
    if dtype.names is None:
        exact = _exact(dtype)
        return exact.takes_all(values) if kind is list or kind is tuple else exact.takes(values)
    if kind is not tuple:
        return False
    if _takes_record_of(dtype, tuple(map(type, values))):
        return True
    fields = _exact_fields(dtype)
    return len(fields) == len(values) and all(map(_Exact.takes, fields, values))


# Values as arrays of a dtype of their own ---------------------------------------------------------


def _found(values: Any, asked: _Asked) -> npt.NDArray[Any]:
    """Return values as an array of the dtype that they have by themselves."""
    if isinstance(values, np.ndarray):
        found = np.asarray(values)
    else:
        found = as_array(values, asked.name)
        # In a list numpy rounds integers among floats, and makes texts of numbers among texts,
        # and floats of integers of which some are signed and some are not.
        if found.dtype.kind in "fcSU" and not _has_own_dtype(values, asked):
            with np.errstate(all="ignore"):
                digits = min(53, _digits(asked.dtype)) if _is_float(asked.dtype) else 53
                is_mixed = found.dtype.kind in "SU" or asked.dtype.kind in "biu"
                changed = is_mixed or (np.abs(found) >= 2**digits).any()
            found = as_array(values, asked.name, object) if changed else found
    if found.dtype.kind in "OT" and found.size:  # T: texts of any length
        found = _of_objects(found.astype(object, copy=False), asked)
    if found.dtype.isbuiltin == 2:
        found = _of_foreign(found, asked)
    return found


def _has_own_dtype(values: Any, asked: _Asked) -> bool:
    """Return True for what holds values of one type, as arrays do, and a text that is whole."""
    if isinstance(values, str | bytes):
        # Not by a slice: a text of numpy may have characters that Python makes no other text of.
        zero: Any = "\0" if isinstance(values, str) else b"\0"
        return not values.endswith(zero) or asked.dtype.kind not in "SU"
    return hasattr(values, "dtype") or isinstance(values, bytearray | memoryview)


def _of_foreign(given: npt.NDArray[Any], asked: _Asked) -> npt.NDArray[Any]:
    """Return values of a dtype that another package has added, as ones of numpy's own."""
    own = next((own for own in ("i8", "f8") if np.can_cast(given.dtype, own, "safe")), None)
    if own is None:
        asked.refuse_kind(given)
    return given.astype(own)


def _of_objects(given: npt.NDArray[Any], asked: _Asked) -> npt.NDArray[Any]:
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


def _integers(items: list[Any], given: npt.NDArray[Any], asked: _Asked) -> npt.NDArray[Any]:
    """Return integers as an array; those of more than 64 bits as floats, if they are as exact."""
    numbers = [int(item) for item in items]
    low, high = min(numbers), max(numbers)
    for wide in ("i8", "u8"):
        if np.iinfo(wide).min <= low and high <= np.iinfo(wide).max:
            return np.array(numbers, wide)
    dtype = asked.dtype
    if not _is_float(dtype):
        limits = np.iinfo(dtype) if dtype.kind in "iu" else np.iinfo("i8")
        at = next(i for i, n in enumerate(numbers) if not limits.min <= n <= limits.max)
        if dtype.kind in "iu":
            asked.refuse(given, at, _limits_of(dtype))
        asked.refuse(given, at, "it has more than 64 bits")
    _check_held(items, given, asked)
    return np.array([np.longdouble(number) for number in numbers])


def _check_held(items: list[Any], given: npt.NDArray[Any], asked: _Asked) -> None:
    """Refuse integers that a float has not enough digits for."""
    digits, largest = _digits(asked.dtype), int(np.finfo(asked.dtype).max)
    for at, item in enumerate(items):
        if isinstance(item, int | np.integer):
            size = abs(int(item))
            if size > largest or size // (size & -size or 1) >= 2**digits:
                asked.refuse(given, at, _digits_of(asked.dtype))


def _numbers(items: list[Any], given: npt.NDArray[Any], asked: _Asked) -> npt.NDArray[Any]:
    """Return numbers, floats among them, as an array; no integer may change for that."""
    if _is_float(asked.dtype):
        _check_held(items, given, asked)
    found = [np.longdouble(item) if isinstance(item, int) else item for item in items]
    return np.array(found)


def _texts(items: list[Any], given: npt.NDArray[Any], asked: _Asked) -> npt.NDArray[Any]:
    if asked.dtype.kind in "SU":
        for at, item in enumerate(items):
            if item[-1:] in ("\0", b"\0"):
                asked.refuse(given, at, "null characters at its end would not be read back")
    return np.array(items)


def _dates(items: list[Any], given: npt.NDArray[Any], asked: _Asked) -> npt.NDArray[Any]:
    for at, item in enumerate(items):
        if getattr(item, "tzinfo", None) is not None:
            asked.refuse(given, at, "it has a time zone; convert it to UTC, and leave that out")
    of_pandas = [i.to_datetime64() if hasattr(i, "to_datetime64") else i for i in items]
    return np.array([np.datetime64(item) for item in of_pandas])


def _periods(items: list[Any], given: npt.NDArray[Any], asked: _Asked) -> npt.NDArray[Any]:
    of_pandas = [i.to_timedelta64() if hasattr(i, "to_timedelta64") else i for i in items]
    return np.array([np.timedelta64(item) for item in of_pandas])


_Maker = Callable[[list[Any], "npt.NDArray[Any]", _Asked], "npt.NDArray[Any]"]
_GROUPS: Final[tuple[tuple[tuple[type, ...], _Maker], ...]] = (
    ((bool, np.bool_), lambda items, given, asked: np.array(items, bool)),
    ((dt.timedelta, np.timedelta64), _periods),  # before integers, of which numpy's is one
    ((bool, np.bool_, int, np.integer), _integers),
    ((bool, np.bool_, int, float, complex, np.number), _numbers),
    ((str,), _texts),
    ((bytes,), _texts),
    ((dt.date, np.datetime64), _dates),
)


# Arrays as those of the dtype wanted --------------------------------------------------------------


def _fitted(given: npt.NDArray[Any], asked: _Asked) -> npt.NDArray[Any]:
    """Return an array converted to a dtype without fields, with every value as it was."""
    dtype = asked.dtype
    if given.dtype == dtype:
        return np.asarray(given, order="C")
    if not given.size:
        return np.empty(given.shape, dtype)
    if dtype.isbuiltin == 2:
        return _as_foreign(given, asked)
    kind = dtype.kind
    if given.dtype.kind in "biu" and kind in "biuf":
        low, high = _integers_in(dtype)
        least, greatest = _bounds(given)
        if low <= least and greatest <= high:
            return given.astype(dtype, order="C")
    taken = given.dtype.kind in _TAKES.get(kind, ("",))[0] and given.dtype.fields is None
    if kind in "mV" and given.dtype.kind == kind:
        taken &= np.can_cast(given.dtype, dtype, "same_kind")
    if not taken:
        broken = given.dtype.kind == "f" and np.argmax(given != np.trunc(given))
        asked.refuse_kind(given, int(broken))
    if kind == "V" and given.itemsize > dtype.itemsize:
        asked.refuse(given, 0, f"an item has {dtype.itemsize} bytes, and it has {given.itemsize}")
    if kind in "biu":
        asked.refuse(given, int(np.argmax(_beyond(given, dtype))), _limits_of(dtype))
    with np.errstate(all="ignore"):
        try:
            found = given.astype(dtype, order="C")
        except (ValueError, OverflowError) as error:
            asked.refuse(given, 0, f"{error}")
        if found.dtype != dtype:  # of no unit: it would take that of the values
            asked.refuse_kind(given)
        check = _CHECKS.get(kind)
        if check is not None:
            wrong, why = check(given, found)
            if wrong is not None and wrong.any():
                asked.refuse(given, int(np.argmax(wrong)), why)
    return found


def _as_foreign(given: npt.NDArray[Any], asked: _Asked) -> npt.NDArray[Any]:
    """Return numbers as a dtype that another package has added, such as bfloat16 or int4."""
    dtype = asked.dtype
    own = next((own for own in ("i8", "f8") if np.can_cast(dtype, own, "safe")), None)
    if own is None or given.dtype.kind not in ("biu" if own == "i8" else "biuf"):
        asked.refuse_kind(given)
    with np.errstate(all="ignore"):
        found = given.astype(dtype, order="C")
        back = found.astype(own)
        if given.dtype.kind == "f":
            wrong = np.isfinite(given) & ~np.isfinite(back)
        else:
            wrong = back != given
        if wrong.any():
            asked.refuse(given, int(np.argmax(wrong)), f"it would be {back[wrong].flat[0]}")
    return found


_Wrong = np.ndarray[Any, np.dtype[np.bool_]]


def _beyond(given: npt.NDArray[Any], dtype: np.dtype[Any]) -> _Wrong:
    """Find the integers that an integer dtype does not hold."""
    low, high = _integers_in(dtype)
    wrong: _Wrong = (given < low) | (given > high)
    return wrong


@functools.cache
def _integers_in(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Return the least and the greatest of the integers that a dtype holds all exactly."""
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind in "iu":
        return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    return -(2 ** _digits(dtype)), 2 ** _digits(dtype)


def _is_float(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype is one of numpy's own for floats or complex numbers."""
    return dtype.kind in "fc" and dtype.isbuiltin != 2


def _digits(dtype: np.dtype[Any]) -> int:
    """Return how many binary digits a float or the parts of a complex number have."""
    return int(np.finfo(dtype).nmant) + 1


def _bounds(given: npt.NDArray[Any]) -> tuple[int, int]:
    """Return the least and the greatest of some integers; of few, in the time of a list."""
    if given.size > _FEW:
        return int(given.min()), int(given.max())
    items = given.reshape(-1).tolist()
    return min(items), max(items)


def _limits_of(dtype: np.dtype[Any]) -> str:
    low, high = _integers_in(dtype)
    return f"it holds {low} to {high}" if high > 1 else "it holds 0 and 1"


def _digits_of(dtype: np.dtype[Any]) -> str:
    return f"it would be rounded to {_digits(dtype)} binary digits; give a float if it may be"


def _check_floats(given: npt.NDArray[Any], found: npt.NDArray[Any]) -> tuple[_Wrong | None, str]:
    """Find the integers that were rounded, and the floats that became infinite."""
    if given.dtype.kind in "iu":
        return _rounded(given, found.real), _digits_of(found.dtype)
    if np.can_cast(given.dtype, found.dtype, "safe"):
        return None, ""
    wrong: _Wrong = np.isinf(found.real) & ~np.isinf(given.real)
    if found.dtype.kind == "c":
        wrong = wrong | (np.isinf(found.imag) & ~np.isinf(given.imag))
    return wrong, f"it holds up to {np.finfo(found.dtype).max}, and would become infinite"


def _rounded(given: npt.NDArray[Any], found: npt.NDArray[Any]) -> _Wrong | None:
    """Find the integers that another number stands for in `found`."""
    low, high = _integers_in(found.dtype)
    if low <= int(given.min()) and int(given.max()) <= high:
        return None
    # One that was rounded up to the next power of two could not be converted back.
    end = 2.0 ** (64 if given.dtype.kind == "u" else 63)
    wrong: _Wrong = ~np.isfinite(found) | (found >= end)
    wrong |= np.where(wrong, 0, found).astype(given.dtype) != given
    return wrong


def _check_times(given: npt.NDArray[Any], found: npt.NDArray[Any]) -> tuple[_Wrong | None, str]:
    """Find the dates and periods that the unit has cut or does not reach."""
    unit = f"in units of {np.datetime_data(found.dtype)[0]!r} there is no such value"
    if given.dtype.kind in "iu":
        return np.isnat(found) | (given > np.iinfo("i8").max), unit
    same = (found.astype(given.dtype) == given) | (np.isnat(given) & np.isnat(found))
    return ~same, unit


def _check_texts(given: npt.NDArray[Any], found: npt.NDArray[Any]) -> tuple[_Wrong | None, str]:
    """Find the texts that were cut."""
    size = found.itemsize // (4 if found.dtype.kind == "U" else 1)
    return found.astype(given.dtype) != given, f"it holds {size} characters"


_CHECKS: Final = {
    "f": _check_floats,
    "c": _check_floats,
    "m": _check_times,
    "M": _check_times,
    "S": _check_texts,
    "U": _check_texts,
}


# Records ------------------------------------------------------------------------------------------


def _as_records(values: Any, asked: _Asked) -> npt.NDArray[Any]:
    """Return records as an array of a dtype with fields."""
    given = np.asarray(values) if isinstance(values, np.ndarray) else values
    if not isinstance(given, np.ndarray) or given.dtype.kind == "O":
        given = _records_of(given, asked)
    if given.dtype == asked.dtype and given.flags.c_contiguous:
        return given
    found = np.zeros(given.shape, asked.dtype)  # and so are what pads the fields
    if given.size:
        _store_fields(given, found, asked)
    return found


def _records_of(values: Any, asked: _Asked) -> npt.NDArray[Any]:
    """Return records in lists as an array, of Python objects if they are tuples."""
    try:
        found = np.asarray(values)
    except (TypeError, ValueError, OverflowError):
        found = None  # tuples of values of several kinds
    if found is not None and (found.dtype.fields is not None or not found.size):
        return found
    if found is not None and found.dtype.hasobject and not isinstance(values, list | tuple):
        values = found.tolist()
    _check_tuples(values, asked, MOST_DIMENSIONS)
    return as_array(values, asked.name, _of_object_fields(asked.dtype))


def _check_tuples(values: Any, asked: _Asked, depth: int) -> None:
    """Refuse what numpy would make a record of by storing it in each of the fields."""
    if isinstance(values, list) and depth:
        for each in values:
            _check_tuples(each, asked, depth - 1)
    elif not isinstance(values, tuple | np.void):
        raise ArgumentTypeError(
            f"{asked.name} has {values!r} where a record of the fields "
            f"{', '.join(asked.dtype.names or ())} is wanted: give a tuple"
        )


def _of_object_fields(dtype: np.dtype[Any]) -> Any:
    """Return a dtype with the same fields, all of Python objects: nothing is converted yet."""
    if dtype.subdtype is not None:
        return np.dtype((_of_object_fields(dtype.base), dtype.shape))
    if dtype.fields is None:
        return np.dtype(object)
    names = dtype.names or ()
    return np.dtype([(name, _of_object_fields(dtype.fields[name][0])) for name in names])


def _store_fields(given: npt.NDArray[Any], found: npt.NDArray[Any], asked: _Asked) -> None:
    """Store records field by field, each by its name."""
    if given.dtype.names != asked.dtype.names:
        if given.dtype.names is None:
            asked.refuse_kind(given)
        raise ArgumentTypeError(
            f"{asked.name} has the fields {', '.join(given.dtype.names)}, and dtype {asked.dtype} "
            f"the fields {', '.join(asked.dtype.names or ())}: name them alike, in this order"
        )
    for name in asked.dtype.names or ():
        field, target = given[name], found[name]
        inner = _Asked(target.dtype, f"{asked.name}[{name!r}]", asked.first)
        if field.shape != target.shape:
            raise ArgumentError(
                f"{inner.name} has items of shape {field.shape[given.ndim :]}, not "
                f"{target.shape[given.ndim :]}"
            )
        target[...] = as_items(field, *inner)
