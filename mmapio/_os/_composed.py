"""Operations of several system calls, composed of functions of this package.

What `_native` has does the same in one call, with the same results and errors. Here they are called
through the package, so that what tests put there is called.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import numpy as np

from ._rows import TAIL_BYTES, RowPlan

__all__ = ["append_rows", "map_new", "map_whole", "sync_unchanged"]


def _package() -> Any:
    """Return the package, which imports this module."""
    return sys.modules[__package__]


def sync_unchanged(
    address: int, length: int, failed: list[int], fd: int, path: bytes, facts: bytes
) -> bool:
    """Sync a range as `sync` does; return whether the file has packed facts still.

    It is that of a descriptor, or at a path if that is negative; one that is not there has not.
    """
    package = _package()
    package.sync(address, length, failed)
    try:
        found = package.identify(fd) if fd >= 0 else package.identify_path(os.fsdecode(path))
    except OSError:
        return False
    return bool(found.packed == facts)


def map_whole(
    path: bytes,
    flags: int,
    access: int,
    keeps: int,
    row: int,
    handler: int,
    head: int,
    held: list[bytes | None],
) -> bytes | None:
    """Map all of a regular file that has bytes, and return what `MAPPED` unpacks, and its `head`.

    The descriptor is left open if the caller `keeps` it. A `row` of the guard's table, if one is
    given by its address, is filled, and it is looked whether the `handler` is on top. The one item
    of `held` becomes the result, so that the caller has that if Ctrl-C comes as this returns.

    None: nothing was done, and the caller does it step by step, and finds what is wrong that way.
    That goes for all that this function is given: it is one for the sake of the native one alone.
    """
    return None


def map_new(
    folder: bytes,
    size: int,
    prefix: bytes,
    path: bytes,
    row: int,
    handler: int,
    held: list[bytes | None],
) -> bytes | None:
    """Make a nameless file in a folder, and map all of it; return what `MAPPED` unpacks.

    It has its blocks, begins with the `prefix`, and its descriptor is left open. The `row` is
    filled for the `path` that it is to have. None: as of `map_whole`, and there is no file.
    """
    return None


def append_rows(fd: int, rows: Any, plan: bytes, end: int) -> bool | bytes | None:
    """Append rows to a file that ends at a position, to which its own is moved.

    True, or if the plan is for many their last bytes: all are written. False: these are no rows by
    the plan, or the file ends elsewhere, and nothing is written. None: a part of them may be.
    """
    wanted = RowPlan.unpack(plan)
    if not _are_rows(rows, wanted) or _may_be_lost(rows, wanted):
        return False
    try:
        if os.lseek(fd, 0, os.SEEK_END) != end:
            return False
    except OSError:
        return False
    try:
        data = rows.reshape(-1).view(np.uint8)
        written = _package().write_next(fd, data)
    except OSError:
        return None
    if written != rows.nbytes or _may_be_lost(rows, wanted):
        return None
    return bytes(data[-TAIL_BYTES:]) if wanted.many else True


def _are_rows(rows: Any, plan: RowPlan) -> bool:
    return (
        type(rows) is np.ndarray
        and id(rows.dtype) == plan.dtype
        and rows.ndim == plan.dimensions + plan.many
        and rows.shape[plan.many :] == plan.shape
        and rows.flags.c_contiguous
        and rows.nbytes > 0
    )


def _may_be_lost(rows: Any, plan: RowPlan) -> bool:
    """Return whether the memory of rows may be a file's, and lost."""
    if rows.base is None:
        return False
    return not plan.losses or ctypes.c_uint64.from_address(plan.losses).value != 0
