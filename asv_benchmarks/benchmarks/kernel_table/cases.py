"""Cases of the table: a work in a layout, of a dtype, at a size."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .arrays import DTYPES, LAYOUTS, SIZES, items_of
from .works import WORKS, Work

__all__ = ["Case", "cases"]


class Case(NamedTuple):
    """A line of the table."""

    work: str
    layout: str
    dtype: str
    size: str

    @property
    def does(self) -> Work:
        return WORKS[self.work]

    @property
    def items(self) -> int:
        return items_of(self.size, self.dtype, self.does.most_items)


def cases(
    works: Iterable[str] = ("*",),
    layouts: Iterable[str] = LAYOUTS,
    dtypes: Iterable[str] = DTYPES,
    sizes: Iterable[str] = SIZES,
) -> list[Case]:
    """Return the cases, those that share an array one after another.

    Examples
    --------
    >>> [case.work for case in cases(["axis0"], ["C 3 wide"], ["f8"], ["1MiB"])]
    ['axis0-sum', 'axis0-mean', 'axis0-max', 'axis0-var']
    """
    works, layouts, dtypes, sizes = map(list, (works, layouts, dtypes, sizes))
    found = [
        Case(name, layout, dtype, size)
        for name in WORKS
        if any(_is_meant(name, pattern) for pattern in works)
        for layout in WORKS[name].layouts
        for dtype in WORKS[name].dtypes
        for size in SIZES
    ]
    kept = [
        case
        for case in _distinct(found)
        if case.layout in layouts and case.dtype in dtypes and case.size in sizes
    ]
    return sorted(kept, key=lambda case: (case.items, case.dtype, case.layout))


def _is_meant(name: str, pattern: str) -> bool:
    return fnmatch.fnmatch(name, pattern) or name.startswith(f"{pattern}-")


def _distinct(found: Iterable[Case]) -> Iterator[Case]:
    """Leave out the smaller of two sizes that a work takes as the same."""
    seen = set()
    for case in found:
        key = case._replace(size=str(case.items))
        if key not in seen:
            seen.add(key)
            yield case
