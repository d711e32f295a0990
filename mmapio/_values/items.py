"""Items of a dtype, with fields or without, made of values and stored one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .._validation import MOST_DIMENSIONS, refuse_masks
from ..errors import ArgumentError, ArgumentTypeError
from .exact_types import exact_fields, exact_types, is_exact
from .fitting import fitted
from .natural import as_array, found_array
from .requests import Asked

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

__all__ = ["ItemStore", "as_items", "store_item"]

_INTEGERS: Final = frozenset(np.dtype(code).type for code in "bhilqBHILQ")


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
    asked = Asked(dtype, name, first)
    if is_exact(values, dtype):
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
    return fitted(found_array(values, asked), asked)


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
        fields = exact_fields(items.dtype)
        self._fields = len(fields) or -1
        # Types that numpy stores as they are, or refuses: as an item, and in any field of one
        self._types = exact_types(items.dtype).always
        self._field_types = frozenset[type]().union(*(one.always for one in fields[:1]))
        for one in fields:
            self._field_types &= one.always

    def store(self, at: int, value: Any) -> None:
        """Store a value as the item, or the row, number `at`."""
        kind, dtype = type(value), self._dtype
        if kind is tuple:
            fits = len(value) == self._fields and self._field_types.issuperset(map(type, value))
            fits = fits or is_exact(value, dtype)
        elif kind is np.void or kind is np.ndarray:
            # Comparing dtypes takes as long as all the rest: the last equal one is kept.
            given = value.dtype
            fits = given is dtype or given is self._alike or given == dtype
            if fits:
                self._alike = given
        else:
            fits = kind in self._types or is_exact(value, dtype)
        if not fits:
            value = as_items(value, dtype, self._name)
        try:
            self._items[at] = value
        except (TypeError, ValueError, OverflowError):
            name = self._name
            found = as_items(value, dtype, name)  # says so if it is out of range
            expected = self._items.shape[1:]
            raise ArgumentError(f"{name} has shape {found.shape}, not {expected}") from None


# Records ------------------------------------------------------------------------------------------


def _as_records(values: Any, asked: Asked) -> npt.NDArray[Any]:
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


def _records_of(values: Any, asked: Asked) -> npt.NDArray[Any]:
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


def _check_tuples(values: Any, asked: Asked, depth: int) -> None:
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


def _store_fields(given: npt.NDArray[Any], found: npt.NDArray[Any], asked: Asked) -> None:
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
        inner = Asked(target.dtype, f"{asked.name}[{name!r}]", asked.first)
        if field.shape != target.shape:
            raise ArgumentError(
                f"{inner.name} has items of shape {field.shape[given.ndim :]}, not "
                f"{target.shape[given.ndim :]}"
            )
        target[...] = as_items(field, *inner)
