"""Rows read from the file that they are mapped from, many at a time, where the system can do that.

Read-ahead of single rows, `MADV_WILLNEED`, asks for one after the other, and page faults copy them
later. A ring of reads asks for all at once and copies each as it comes; the page cache is filled by
both.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmapio import _os
from mmapio.errors import MmapioError
from mmapio.files.closing import close_file
from mmapio.files.descriptors import open_file
from mmapio.kernels.rows.copying import Numbers
from mmapio.kernels.rows.ring import Ring
from mmapio.modes import Mode

__all__ = ["read_rows"]

_ENTRIES = 256
# Of more rows, WILLNEED from several threads is as fast; longer ones fill the drive's queue alone.
_MOST_ROWS = 8192
_LONGEST_BYTES = 32 << 10
# What says that there will never be a ring here: an old system, or one that forbids it.
_REFUSALS = (errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL)


class _Rows(Protocol):
    """Rows in memory: of the first, its address, and how far it is to the next."""

    @property
    def address(self) -> int: ...
    @property
    def step(self) -> int: ...
    @property
    def nbytes(self) -> int: ...


class _Ability:
    """Ability of this process to have rings, as far as that was found out."""

    is_refused = False


_ability = _Ability()


def read_rows(
    source: _Rows,
    numbers: Numbers,
    target: _Rows,
    places: Numbers,
    owner: object,
    tell: Callable[[int], object] | None = None,
) -> NDArray[np.bool_]:
    """Read rows from their file into the places of others; return which ones were read.

    Parameters
    ----------
    source, target : rows in memory
        Rows of as many bytes.
    numbers, places : numpy.ndarray
        Numbers of the rows to read, in the order of the file, and of those that they are read into.
    owner : object
        Owner of the target's memory.
    tell : callable, optional
        Called with the number of rows done.

    Returns
    -------
    numpy.ndarray
        Of bool, as long as `numbers`. What is False is still to be copied from memory: all of it if
        there is no file behind the source that is shared with other processes, or no ring to be
        had; the rest, if the file ends before, or cannot be read.
    """
    done = np.zeros(numbers.size, np.bool_)
    if _ability.is_refused or numbers.size > _MOST_ROWS or source.nbytes > _LONGEST_BYTES:
        return done
    addresses = source.address + numbers * source.step
    low = int(min(addresses[0], addresses[-1]))
    high = int(max(addresses[0], addresses[-1])) + source.nbytes
    if numbers.size > max(1, (high - low) // _os.PAGE_SIZE):  # several rows of each page
        return done
    with contextlib.suppress(OSError, MmapioError), _file_at(low, high - low) as (fd, offset):
        offsets = addresses - (low - offset)
        _read(fd, offsets, target.address + places * target.step, source.nbytes, owner, done, tell)
    return done


@contextlib.contextmanager
def _file_at(address: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield a descriptor of the file that memory maps, and where in it that begins."""
    place = _os.file_at(address, length)
    if place is None:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    fd, facts = open_file(place.path, Mode.READ)
    try:
        # The mapping keeps the inode from being given to another file.
        same = (place.device_major, place.device_minor, place.inode)
        if (facts.device_major, facts.device_minor, facts.inode) != same:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        _os.expect_random(fd)
        yield fd, place.offset
    finally:
        close_file(fd)


def _read(
    fd: int,
    offsets: NDArray[np.int64],
    addresses: NDArray[np.int64],
    nbytes: int,
    owner: object,
    done: NDArray[np.bool_],
    tell: Callable[[int], object] | None,
) -> None:
    """Keep the ring full until all is read; if a read fails, let those that are under way end."""
    try:
        ring = Ring(_ENTRIES, owner)
    except OSError as error:
        _ability.is_refused = error.errno in _REFUSALS
        raise
    try:
        sent = ended = 0
        while ended < len(done):
            sent += ring.prepare(fd, offsets[sent:], addresses[sent:], nbytes, sent)
            ring.enter(_ENTRIES // 4)
            tags, found = ring.completed()
            done[tags[found == nbytes]] = True
            if (found != nbytes).any():
                return
            ended += len(tags)
            if tell is not None:
                tell(ended)
    finally:
        ring.close()
