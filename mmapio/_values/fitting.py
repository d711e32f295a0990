"""Arrays converted to a dtype without fields, if each value fits it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .limits import digits_of, integers_in, limits_of
from .requests import TAKES, Asked

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

__all__ = ["fitted"]

_FEW: Final = 64  # items, of which a list is made faster than numpy looks at them


def fitted(given: npt.NDArray[Any], asked: Asked) -> npt.NDArray[Any]:
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
        low, high = integers_in(dtype)
        least, greatest = _bounds(given)
        if low <= least and greatest <= high:
            return given.astype(dtype, order="C")
    taken = given.dtype.kind in TAKES.get(kind, ("",))[0] and given.dtype.fields is None
    if kind in "mV" and given.dtype.kind == kind:
        taken &= np.can_cast(given.dtype, dtype, "same_kind")
    if not taken:
        broken = given.dtype.kind == "f" and np.argmax(given != np.trunc(given))
        asked.refuse_kind(given, int(broken))
    if kind == "V" and given.itemsize > dtype.itemsize:
        asked.refuse(given, 0, f"an item has {dtype.itemsize} bytes, and it has {given.itemsize}")
    if kind in "biu":
        asked.refuse(given, int(np.argmax(_beyond(given, dtype))), limits_of(dtype))
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


def _as_foreign(given: npt.NDArray[Any], asked: Asked) -> npt.NDArray[Any]:
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
    low, high = integers_in(dtype)
    wrong: _Wrong = (given < low) | (given > high)
    return wrong


def _bounds(given: npt.NDArray[Any]) -> tuple[int, int]:
    """Return the least and the greatest of some integers; of few, in the time of a list."""
    if given.size > _FEW:
        return int(given.min()), int(given.max())
    items = given.reshape(-1).tolist()
    return min(items), max(items)


def _check_floats(given: npt.NDArray[Any], found: npt.NDArray[Any]) -> tuple[_Wrong | None, str]:
    """Find the integers that were rounded, and the floats that became infinite."""
    if given.dtype.kind in "iu":
        return _rounded(given, found.real), digits_of(found.dtype)
    if np.can_cast(given.dtype, found.dtype, "safe"):
        return None, ""
    wrong: _Wrong = np.isinf(found.real) & ~np.isinf(given.real)
    if found.dtype.kind == "c":
        wrong = wrong | (np.isinf(found.imag) & ~np.isinf(given.imag))
    return wrong, f"it holds up to {np.finfo(found.dtype).max}, and would become infinite"


def _rounded(given: npt.NDArray[Any], found: npt.NDArray[Any]) -> _Wrong | None:
    """Find the integers that another number stands for in `found`."""
    low, high = integers_in(found.dtype)
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
