"""Growable arrays in coroutines: rows that are appended, committed, and read as they come."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Self

from .._validation import as_count, as_positive
from ..arrays.growable_array import GrowableArray
from ..errors import ClosedError
from .waiting import check_kind, in_thread, until

if TYPE_CHECKING:  # numpy.typing is slow to import
    import numpy.typing as npt

__all__ = ["Rows", "append", "commit", "extend", "rows", "truncate", "wait"]


async def append(array: GrowableArray, row: npt.ArrayLike) -> None:
    """Append one row to a growable array.

    Parameters
    ----------
    array : GrowableArray
        Where to.
    row : array_like
        As for `GrowableArray.append`; it must not change until this returns.

    Raises
    ------
    MmapioError
        As `GrowableArray.append` does.

    Notes
    -----
    Rows of tasks that run at the same time come in any order, each whole; await one after the other
    for an order. A cancelled task has appended its row, or not begun to. Many short rows are
    appended faster with one `extend`.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> g = mmapio.GrowableArray.open("appended.npy", "w+", dtype="i8")
    >>> asyncio.run(mmapio.aio.append(g, 7))
    >>> g.array
    array([7])
    """
    check_kind(array, GrowableArray)
    await in_thread(functools.partial(array.append, row))


async def extend(array: GrowableArray, rows: npt.ArrayLike) -> None:
    """Append some rows to a growable array: all of them, or none.

    Parameters
    ----------
    array : GrowableArray
        Where to.
    rows : array_like
        As for `GrowableArray.extend`; they must not change until this returns.

    Raises
    ------
    MmapioError
        As `GrowableArray.extend` does.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> g = mmapio.GrowableArray.open("extended.npy", "w+", dtype="i8")
    >>> asyncio.run(mmapio.aio.extend(g, [1, 2, 3]))
    >>> len(g)
    3
    """
    check_kind(array, GrowableArray)
    await in_thread(functools.partial(array.extend, rows))


async def commit(array: GrowableArray, durable: bool = True) -> None:
    """Publish the rows that were appended, and make them durable.

    Parameters
    ----------
    array : GrowableArray
        The array.
    durable : bool, default True
        As for `GrowableArray.commit`.

    Raises
    ------
    MmapioError
        As `GrowableArray.commit` does.

    Notes
    -----
    It commits the rows that have been appended when it begins. A task that is cancelled meanwhile
    ends when the commit has. `GrowableArray.close` has nothing left to wait for after it.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> g = mmapio.GrowableArray.open("committed.npy", "w+", dtype="i8")
    >>> g.append(7)
    >>> asyncio.run(mmapio.aio.commit(g))
    >>> len(mmapio.GrowableArray.open("committed.npy"))
    1
    """
    check_kind(array, GrowableArray)
    await in_thread(functools.partial(array.commit, durable))


async def truncate(array: GrowableArray, count: int, force: bool = False) -> None:
    """Drop all rows of a growable array but the first.

    Parameters
    ----------
    array : GrowableArray
        The array.
    count, force : optional
        As for `GrowableArray.truncate`.

    Raises
    ------
    MmapioError
        As `GrowableArray.truncate` does.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> g = mmapio.GrowableArray.open("cut_short.npy", "w+", dtype="i8")
    >>> g.extend(range(10))
    >>> asyncio.run(mmapio.aio.truncate(g, 2))
    >>> g.array
    array([0, 1])
    """
    check_kind(array, GrowableArray)
    await in_thread(functools.partial(array.truncate, count, force))


async def wait(array: GrowableArray, seen: int | None = None, timeout: float | None = None) -> int:
    """Wait until a growable array has more rows, and show them.

    Parameters
    ----------
    array : GrowableArray
        The array, open for reading as a rule.
    seen, timeout : optional
        As for `GrowableArray.wait`.

    Returns
    -------
    int
        How many rows there are now, as `GrowableArray.wait` returns.

    Raises
    ------
    MmapioError
        As `GrowableArray.wait` does.

    Notes
    -----
    It polls the file, with pauses that grow to 5 ms.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> g = mmapio.GrowableArray.open("news.npy", "w+", dtype="i8")
    >>> reader = mmapio.GrowableArray.open("news.npy")
    >>> async def main():
    ...     waiting = asyncio.create_task(mmapio.aio.wait(reader))
    ...     await mmapio.aio.append(g, 7)
    ...     await mmapio.aio.commit(g)
    ...     return await waiting
    >>> asyncio.run(main())
    1
    """
    check_kind(array, GrowableArray)
    await until(array._news(seen), timeout)
    return len(array)


def rows(array: GrowableArray, seen: int | None = None, limit: int | None = None) -> Rows:
    """Iterate over the rows of a growable array as they come, many at a time.

    Parameters
    ----------
    array : GrowableArray
        The array, open for reading as a rule.
    seen : int, optional
        Number of rows to skip, such as 0 for none; those that the array shows, if left out.
    limit : int, optional
        Largest number of rows in an item.

    Returns
    -------
    Rows
        An asynchronous iterator over arrays of rows.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If an argument cannot be used.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> g = mmapio.GrowableArray.open("followed.npy", "w+", dtype="i8")
    >>> reader = mmapio.GrowableArray.open("followed.npy")
    >>> async def main():
    ...     await mmapio.aio.extend(g, range(5))
    ...     await mmapio.aio.commit(g)
    ...     async for some in mmapio.aio.rows(reader, limit=3):
    ...         print(some)
    ...         if some[-1] == 4:
    ...             break
    >>> asyncio.run(main())
    [0 1 2]
    [3 4]
    """
    check_kind(array, GrowableArray)
    return Rows(array, seen, limit)


class Rows:
    """Rows of a growable array, for ``async for``; made by `rows`.

    Each item is an array over the file's memory, of one row or more. It ends when the array is
    closed. Rows that a cancelled task did not get go to the next one. If the writer truncates the
    file, it continues with the rows that are appended after that.

    Parameters
    ----------
    array, seen, limit
        As for `rows`.

    Raises
    ------
    ReplacedError, MappingLostError, FormatError
        While it waits, if the file is no longer the one that was opened.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> g = mmapio.GrowableArray.open("ended.npy", "w+", dtype="i8")
    >>> g.extend([1, 2])
    >>> async def main():
    ...     found = []
    ...     async for some in mmapio.aio.rows(g, seen=0):
    ...         found += some.tolist()
    ...         del some
    ...         g.close()
    ...     return found
    >>> asyncio.run(main())
    [1, 2]
    """

    def __init__(
        self, array: GrowableArray, seen: int | None = None, limit: int | None = None
    ) -> None:
        self._array = array
        self._seen = len(array) if seen is None else as_count(seen, "seen")
        self._limit = None if limit is None else as_positive(limit, "limit")

    @property
    def seen(self) -> int:
        """Number of rows up to the last one that was given out."""
        return self._seen

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> npt.NDArray[Any]:
        while True:
            try:
                count = await wait(self._array, self._seen)
                found = self._next(count)
            except ClosedError:
                raise StopAsyncIteration from None
            if len(found):
                return found

    def _next(self, count: int) -> npt.NDArray[Any]:
        """Return the next rows, of so many that there are: perhaps none, if others took them."""
        start = min(self._seen, count)
        stop = count if self._limit is None else min(count, start + self._limit)
        found = self._array.array[start:stop]
        self._seen = start + len(found)
        return found
