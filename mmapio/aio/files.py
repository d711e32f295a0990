"""Files as they are opened, written, flushed, copied and deleted by coroutines."""

from __future__ import annotations

import functools
from typing import Any

from .._validation import Path, as_bytes
from ..arrays import opening
from ..arrays.mapped_array import MappedArray
from ..files import whole_files
from ..mapping.mapped_file import MappedFile
from .waiting import check_kind, in_thread

__all__ = ["copy", "delete", "flush", "open", "write"]

# So much is copied in less time than it takes to wake a thread.
_QUICK_BYTES = 1 << 16


async def open(path: Path, mode: str = "r", **options: Any) -> MappedArray:
    """Open a file as an array, in place.

    Parameters
    ----------
    path, mode : str
        As for `mmapio.open`.
    **options : optional
        As for `mmapio.open`.

    Returns
    -------
    MappedArray
        The array.

    Raises
    ------
    MmapioError
        As `mmapio.open` does.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> a = mmapio.create("opened.npy", 3)
    >>> asyncio.run(mmapio.aio.open("opened.npy"))
    MappedArray([0., 0., 0.])
    """
    return await in_thread(functools.partial(opening.open, path, mode, **options))


async def write(mapping: MappedFile, offset: int, data: Any) -> int:
    """Copy bytes into a mapping, and flush them if its policy says so.

    Parameters
    ----------
    mapping : MappedFile
        Where to.
    offset : int
        Where the first byte goes.
    data : buffer or numpy.ndarray
        What to write; it must not change until this returns.

    Returns
    -------
    int
        How many bytes were written: all of them.

    Raises
    ------
    MmapioError
        As `MappedFile.write` does.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> m = mmapio.MappedFile.anonymous(16)
    >>> asyncio.run(mmapio.aio.write(m, 4, b"abc"))
    3
    """
    check_kind(mapping, MappedFile)
    # A store to a page of a file may read it in, or wait until the drive has taken it.
    if not mapping._source.has_file and as_bytes(data).nbytes <= _QUICK_BYTES:
        return mapping.write(offset, data)
    return await in_thread(functools.partial(mapping.write, offset, data))


async def flush(
    mapping: MappedFile | MappedArray,
    offset: int = 0,
    length: int | None = None,
    wait: bool = True,
) -> None:
    """Write the changes in a range of a mapping, or in an array, to disk.

    Parameters
    ----------
    mapping : MappedFile or MappedArray
        What was stored to.
    offset, length, wait : optional
        As for `MappedFile.flush`; an array is flushed whole.

    Raises
    ------
    FlushError
        If the drive reports an error, now or before.
    MmapioError
        As `MappedFile.flush` does.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> a = mmapio.create("flushed.npy", 3)
    >>> a[:] = 1
    >>> asyncio.run(mmapio.aio.flush(a))
    """
    check_kind(mapping, MappedFile, MappedArray)
    if isinstance(mapping, MappedArray):
        span, call = mapping._span(), functools.partial(mapping.flush, wait)
    else:
        span = mapping._span(offset, length)
        call = functools.partial(mapping.flush, offset, length, wait)
    if span.is_written_back():
        await in_thread(call)


async def copy(src: Path, dst: Path) -> None:
    """Copy a file, in place of what is at `dst`.

    Parameters
    ----------
    src, dst : str, bytes or os.PathLike
        As for `mmapio.copy`.

    Raises
    ------
    MmapioError
        As `mmapio.copy` does.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> a = mmapio.create("one.npy", 3)
    >>> asyncio.run(mmapio.aio.copy("one.npy", "two.npy"))
    >>> len(mmapio.open("two.npy"))
    3
    """
    await in_thread(functools.partial(whole_files.copy, src, dst))


async def delete(path: Path) -> None:
    """Delete a file; whoever maps it keeps it until they close it.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        As for `mmapio.delete`.

    Raises
    ------
    MmapioError
        As `mmapio.delete` does.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> a = mmapio.create("three.npy", 3)
    >>> asyncio.run(mmapio.aio.delete("three.npy"))
    """
    await in_thread(functools.partial(whole_files.delete, path))
