"""Counting bytes and 16-bit words: the exact table that all statistics of small types come from."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mmapio.errors import ArgumentTypeError
from mmapio.guard.lost_memory import noticing
from mmapio.kernels.engine.jit import jit, part, piece_type
from mmapio.kernels.engine.pieces import Pieces, plain, share_pieces
from mmapio.kernels.engine.scan import Scan, scan_of

__all__ = ["add_bytes", "byte_counts", "byte_tables", "pattern_counts"]

_TABLES = numba.uint32[:, ::1]

_ONE = np.uint32(1)
_LOW = np.uint64(0xFF)
_8, _16, _24 = np.uint64(8), np.uint64(16), np.uint64(24)
_32, _40, _48, _56 = np.uint64(32), np.uint64(40), np.uint64(48), np.uint64(56)
_FULL = 1 << 31  # items after which tables of 32 bits are emptied


@noticing
def byte_counts(
    a: NDArray[np.uint8],
    *,
    threads: int | None = None,
    progress: bool = False,
    drop_behind: bool = False,
) -> NDArray[np.int64]:
    """Count how often each byte occurs.

    Parameters
    ----------
    a : numpy.ndarray
        Of dtype uint8, any shape and layout.
    threads : int, optional
        By default ``MMAPIO_NUM_THREADS``, else the CPUs that this process may use.
    progress : bool
        Show a progress bar on a terminal (needs tqdm).
    drop_behind : bool
        Scan a file that is larger than memory: read ahead, and release behind the scan what was
        not in memory before; see `reduce_chunks`.

    Returns
    -------
    numpy.ndarray
        int64, shape (256,): the count of each byte.

    Raises
    ------
    ArgumentTypeError
        If the dtype is not uint8.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import kernels
    >>> kernels.byte_counts(np.frombuffer(b"banana", "u1"))[[97, 98, 110]]
    array([3, 1, 2])
    """
    array, how = plain(a), scan_of(threads, progress, drop_behind)
    if array.dtype != np.uint8:
        raise ArgumentTypeError(f"byte_counts needs an array of uint8, got {array.dtype}")
    return pattern_counts(array, how)


def pattern_counts(a: NDArray[Any], how: Scan) -> NDArray[np.int64]:
    """Count the bit patterns of an array of one-byte or two-byte items, in its own byte order."""
    pieces = Pieces(a.view(f"u{a.itemsize}"))
    workers = share_pieces(lambda: _Tally(pieces, 1 << 8 * a.itemsize), _Tally.add, pieces, how)
    total: NDArray[np.int64] = np.sum([worker.counts() for worker in workers], axis=0)
    return total


class _Tally:
    """One thread's tables."""

    def __init__(self, pieces: Pieces, patterns: int) -> None:
        self._pieces = pieces
        self._buffer = pieces.buffer()
        self._tables = byte_tables() if patterns == 256 else np.zeros((2, patterns), np.uint32)
        self._totals = np.zeros(patterns, np.int64)
        self._pending = 0

    def add(self, chunk: int) -> None:
        """Count a piece."""
        piece = self._pieces.take(chunk, self._buffer)
        if piece.itemsize == 1:
            self._add_bytes(piece)
        else:
            _add_pairs(piece, self._tables)
        self._pending += piece.size
        if self._pending >= _FULL:
            self.counts()

    def _add_bytes(self, piece: NDArray[np.uint8]) -> None:
        """Count by whole aligned words, and the few bytes around them one by one."""
        start = -piece.__array_interface__["data"][0] % 8
        stop = start + max(0, piece.size - start) // 8 * 8
        _add_words(piece[start:stop].view(np.uint64), self._tables)
        for rest in (piece[:start], piece[stop:]):
            np.add.at(self._totals, rest, 1)

    def counts(self) -> NDArray[np.int64]:
        """Return what was counted so far."""
        self._totals += self._tables.sum(axis=0, dtype=np.int64)
        self._tables[:] = 0
        self._pending = 0
        return self._totals


def byte_tables() -> NDArray[np.uint32]:
    """Return the empty tables that `add_bytes` adds to."""
    return np.zeros((4, 256), np.uint32)


@part()
def add_bytes(words: NDArray[np.uint64], tables: NDArray[np.uint32]) -> None:
    """Count eight bytes a word, in four tables in turn.

    In one table a run of equal bytes would wait, at each step, for the store of the step before.
    """
    t0, t1, t2, t3 = tables[0], tables[1], tables[2], tables[3]
    for i in range(words.size):
        word = words[i]
        t0[word & _LOW] += _ONE
        t1[word >> _8 & _LOW] += _ONE
        t2[word >> _16 & _LOW] += _ONE
        t3[word >> _24 & _LOW] += _ONE
        t0[word >> _32 & _LOW] += _ONE
        t1[word >> _40 & _LOW] += _ONE
        t2[word >> _48 & _LOW] += _ONE
        t3[word >> _56] += _ONE


@jit(lambda: [(piece_type("u8"), _TABLES)])
def _add_words(words: NDArray[np.uint64], tables: NDArray[np.uint32]) -> None:
    add_bytes(words, tables)


@jit(lambda: [(piece_type("u2"), _TABLES)])
def _add_pairs(items: NDArray[np.uint16], tables: NDArray[np.uint32]) -> None:
    """Count 16-bit items in two tables in turn, which both fit into the L2 cache."""
    t0, t1 = tables[0], tables[1]
    for i in range(items.size // 2):
        t0[items[2 * i]] += _ONE
        t1[items[2 * i + 1]] += _ONE
    if items.size % 2:
        t0[items[items.size - 1]] += _ONE
