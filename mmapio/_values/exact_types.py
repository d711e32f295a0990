"""Types of Python and numpy whose values numpy stores as they are, or refuses."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .limits import digits_in

__all__ = ["exact_fields", "exact_types", "is_exact"]


class ExactTypes(NamedTuple):
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
def exact_types(dtype: np.dtype[Any]) -> ExactTypes:
    """Return what numpy stores as items of a dtype without a loss."""
    kind = dtype.kind
    if kind not in "biuf" or dtype.isbuiltin == 2:
        return ExactTypes(frozenset(), {})
    if kind == "b":
        return ExactTypes(frozenset({bool, np.bool_}), {})
    if kind in "iu":
        return ExactTypes(frozenset({bool, int, dtype.type}), {})
    digits, largest = 2.0 ** digits_in(dtype), float(np.finfo(dtype).max)
    if dtype.itemsize >= 8:
        always: set[type] = {float, np.float64, np.float32, np.float16, dtype.type}
        return ExactTypes(frozenset(always), {int: digits})
    return ExactTypes(frozenset({dtype.type}), {int: digits, float: largest, np.float64: largest})


@functools.cache
def _takes_record_of(dtype: np.dtype[Any], types: tuple[type, ...]) -> bool:
    """Return whether a record takes any values of some types, one to a field."""
    fields = exact_fields(dtype)
    return len(fields) == len(types) and all(
        kind in field.always for field, kind in zip(fields, types, strict=True)
    )


@functools.cache
def exact_fields(dtype: np.dtype[Any]) -> tuple[ExactTypes, ...]:
    """Return what the fields of a record take; nothing if these have parts themselves."""
    fields = [dtype.fields[name][0] for name in dtype.names or ()] if dtype.fields else []
    if any(field.fields or field.subdtype for field in fields):
        return ()
    return tuple(map(exact_types, fields))


def is_exact(values: Any, dtype: np.dtype[Any]) -> bool:
    """Return True for a number, a list of numbers or a record that numpy need not be watched with.

    It stores what it is given in these as it is, or refuses it.
    """
    kind = type(values)
    if dtype.names is None:
        exact = exact_types(dtype)
        return exact.takes_all(values) if kind is list or kind is tuple else exact.takes(values)
    if kind is not tuple:
        return False
    if _takes_record_of(dtype, tuple(map(type, values))):
        return True
    fields = exact_fields(dtype)
    return len(fields) == len(values) and all(map(ExactTypes.takes, fields, values))
