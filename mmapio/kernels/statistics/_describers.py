"""Workers of `describe`: each feeds pieces to a kernel and widens its histogram."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine.pieces import Pieces
from mmapio.kernels.statistics._bins import Bins, Number, bins_for
from mmapio.kernels.statistics._moments import exact_sum, rounded_sum, variance
from mmapio.kernels.statistics._one_pass import (
    Workspace,
    describe_floats,
    describe_ints,
    new_workspace,
)

__all__ = ["PieceResults", "Worker", "worker_for"]

_MOST_WIDENINGS = 100  # within a piece, far more than values of any type need
_FULL = 1 << 31  # items after which tables of 32 bits are emptied


class PieceResults:
    """Results of each piece, to be combined in the order of the pieces."""

    def __init__(self, pieces: int) -> None:
        self.moments = np.zeros((pieces, 6))  # as `describe_floats` has them
        # Of integers: sums of keys, as `split_int_sum` has them.
        self.sums = np.zeros((pieces, 2), np.int64)

    def var(self) -> float:
        """Return the variance."""
        return variance(self.moments[:, :4])

    def sum(self) -> float:
        """Return the sum of floats, with its rounding errors unless it overflowed."""
        return rounded_sum(*self.moments[:, 4:].T.tolist())

    def exact_sum(self, offset: int) -> int:
        """Return the sum of integers that are keys plus `offset`."""
        count = sum(map(int, self.moments[:, 0].tolist()))
        return exact_sum((high, low) for high, low in self.sums.tolist()) + count * offset


class Worker:
    """Common base of the workers for floats and integers."""

    offset = 0  # what a key lacks to its integer
    _bins: Bins

    def __init__(self, pieces: Pieces, results: PieceResults, work: Workspace) -> None:
        self._pieces, self._results = pieces, results
        self._buffer = pieces.buffer()
        self._pending = 0
        self.work = work

    def add(self, chunk: int) -> None:
        """Describe a piece; a block of values without bins stops the kernel until they have."""
        piece = rest = self._pieces.take(chunk, self._buffer)
        widened = 0
        while (done := self._describe(rest, chunk)) < rest.size:
            self._collect()
            self._widen()
            rest, widened = rest[done:], widened + 1
            if widened == _MOST_WIDENINGS:  # others might change it for ever: not so a copy
                rest = rest.copy()
                rest.flags.writeable = False
        self._pending += piece.size
        if self._pending >= _FULL:
            self._collect()

    def _collect(self) -> None:
        """Move what the kernel counted into the histogram."""
        table = self.work.tables.sum(axis=0, dtype=np.int64)
        self.work.tables[:] = 0
        self._bins.counts += np.roll(table, -self._first_code())[: self._bins.bins]
        self._pending = 0

    def bins_so_far(self) -> Bins:
        """Return the histogram with all that was counted."""
        self._collect()
        return self._bins

    def seen(self) -> tuple[Number, Number] | None:
        """Return the least and the greatest finite value, if there was any."""
        lo, hi = self.work.seen.tolist()
        return (self._value(lo), self._value(hi)) if lo <= hi else None

    def _describe(self, piece: NDArray[Any], chunk: int) -> int:
        raise NotImplementedError

    def _widen(self) -> None:
        raise NotImplementedError

    def _first_code(self) -> int:
        raise NotImplementedError

    def _value(self, key: int) -> Number:
        raise NotImplementedError


class FloatWorker(Worker):
    """Worker for float32 and float64."""

    def __init__(self, pieces: Pieces, results: PieceResults, bins: int) -> None:
        self._dtype, self._key_dtype = pieces.dtype, np.dtype(f"i{pieces.dtype.itemsize}")
        self._top = int(np.iinfo(self._key_dtype).max)
        infinity = int(np.array(np.inf, self._dtype).view(self._key_dtype))
        work = new_workspace(self._key_dtype, self._dtype, (self._top, infinity))
        super().__init__(pieces, results, work)
        self._bins = bins_for(self._dtype, bins)

    def _describe(self, piece: NDArray[Any], chunk: int) -> int:
        return describe_floats(piece, self._results.moments[chunk], self.work)

    def _widen(self) -> None:
        """Cover what was seen with room to spare, where the type can express the edges."""
        span = self.seen()
        assert span is not None
        self._bins.centre(*span)
        edges = [self._bins.first, self._bins.first + self._bins.bins]
        if max(map(abs, edges)) <= 1 << self._bins.digits:
            lo, hi = self._edge_key(edges[0]), self._edge_key(edges[1]) - 1
        else:
            self._bins.fit(*span)
            lo, hi = self.work.seen.tolist()
        self.work.cover[:] = lo, hi
        self.work.grid[:] = 2.0**-self._bins.scale, self._bins.first

    def _first_code(self) -> int:
        return 0

    def _value(self, key: int) -> float:
        bits = np.array(key if key >= 0 else key ^ self._top, self._key_dtype)
        return float(bits.view(self._dtype))

    def _edge_key(self, number: int) -> int:
        """Return the key of an edge; negative zero is the least of what is binned as zero."""
        with np.errstate(over="ignore"):
            edge = np.ldexp(float(number or -0.0), self._bins.scale).astype(self._dtype)
        bits = int(edge.view(self._key_dtype))
        return bits if bits >= 0 else bits ^ self._top


class IntWorker(Worker):
    """Worker for integers of 32 and 64 bits; unsigned ones by keys with the sign bit flipped."""

    def __init__(self, pieces: Pieces, results: PieceResults, bins: int, base: int) -> None:
        self._signed = np.dtype(f"i{pieces.dtype.itemsize}")
        info = np.iinfo(self._signed)
        self._least, self._greatest = int(info.min), int(info.max)
        self.offset = -self._least if pieces.dtype.kind == "u" else 0
        work = new_workspace(self._signed, self._signed, (self._least if self.offset else 0, 0))
        super().__init__(pieces, results, work)
        self.work.grid[1] = base - self.offset
        self._bins = bins_for(pieces.dtype, bins)

    def _describe(self, piece: NDArray[Any], chunk: int) -> int:
        results = self._results
        return describe_ints(
            piece.view(self._signed), results.sums[chunk], results.moments[chunk], self.work
        )

    def _widen(self) -> None:
        """Cover what was seen, with room to spare."""
        self._bins.centre(*self.work.seen.tolist())
        first, scale = self._bins.first, self._bins.scale
        lo, hi = first << scale, (first + self._bins.bins << scale) - 1
        self.work.cover[:] = max(lo, self._least), min(hi, self._greatest)
        self.work.grid[0] = scale

    def _first_code(self) -> int:
        return self._bins.first % 256

    def _value(self, key: int) -> int:
        return key + self.offset


def worker_for(pieces: Pieces, results: PieceResults, bins: int, base: int) -> Worker:
    """Return a worker for the pieces' type; `base` is one of the values, if they are integers."""
    if pieces.dtype.kind == "f":
        return FloatWorker(pieces, results, bins)
    return IntWorker(pieces, results, bins, base)
