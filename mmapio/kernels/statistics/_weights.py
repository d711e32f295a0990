"""Sums of weights in place of counts: exact for integers, and compensated for floats.

The result does not depend on the threads: integers wrap, and sums of floats are combined in the
order of the pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmapio.errors import ArgumentError, ArgumentTypeError
from mmapio.kernels.engine.in_order import InOrder
from mmapio.kernels.engine.jit import jit, piece_type
from mmapio.kernels.engine.paired_pieces import PairedPieces, visit_pairs
from mmapio.kernels.engine.pieces import plain
from mmapio.kernels.engine.scan import Scan
from mmapio.kernels.statistics._moments import two_sum
from mmapio.kernels.statistics._tallies import (
    FLOATS,
    WHOLE,
    Target,
    finish,
    new_target,
    tally,
    target_type,
)

__all__ = ["as_weights", "pattern_weights", "weigh"]

_BLOCK = 2048
_MANY = 1 << 16  # bins of which a table for each piece that waits for its turn would be too much

Count = Callable[[NDArray[Any], Target], None]


def as_weights(weights: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return weights as an array of numbers, as many as there are items."""
    array = plain(weights, "weights")
    if array.dtype.kind not in "biufc" or array.real.itemsize > 8 or array.dtype.isbuiltin == 2:
        raise ArgumentTypeError(
            "weights must be bool, integers, floats of at most 64 bits, or complex numbers of"
            f" these, got {array.dtype}"
        )
    if array.shape != shape:
        raise ArgumentError(f"weights must have the shape of a, {shape}, got {array.shape}")
    return array


def weigh(
    array: NDArray[Any],
    weights: NDArray[Any],
    bins: int,
    count: Count,
    how: Scan,
) -> NDArray[Any]:
    """Return the sums of the weights of the items in each bin, as int64 or float64."""
    whole = weights.dtype.kind != "f"
    pairs = PairedPieces(array, weights, np.int64 if whole else np.float64)
    sums = _Whole(bins) if whole else _Floats(bins)
    in_order = InOrder(sums.add)

    def add(number: int, items: NDArray[Any], bits: NDArray[Any]) -> None:
        in_order.wait_for(number)
        target = new_target(bins, sums.kind)._replace(weights=bits.view(np.int64))
        count(items, target)
        in_order.add(number, target)

    visit_pairs(add, pairs, how if bins < _MANY else replace(how, threads=1))
    return sums.result()


class _Whole:
    """Sums of integers, modulo 2**64."""

    kind = WHOLE

    def __init__(self, bins: int) -> None:
        self._total = np.zeros(bins, np.int64)

    def add(self, target: Target) -> None:
        """Add the sums of a piece."""
        self._total += target.sums.view(np.int64).sum(axis=0)

    def result(self) -> NDArray[np.int64]:
        """Return the sums of all pieces."""
        return self._total


class _Floats:
    """Sums of floats, and their rounding errors."""

    kind = FLOATS

    def __init__(self, bins: int) -> None:
        self._total, self._error = np.zeros(bins), np.zeros(bins)

    def add(self, target: Target) -> None:
        """Add the sums of a piece."""
        self._total, slip = two_sum(self._total, target.totals[0])
        self._error += slip + target.totals[1]

    def result(self) -> NDArray[np.float64]:
        """Return the sums of all pieces; an error is no number where a sum is infinite."""
        with np.errstate(all="ignore"):
            return np.where(np.isfinite(self._total), self._total + self._error, self._total)


def pattern_weights(array: NDArray[Any], weights: NDArray[Any], how: Scan) -> NDArray[Any]:
    """Add the weights of each bit pattern of an array of one-byte or two-byte items."""
    bits = array.view(f"u{array.itemsize}")  # as `pattern_counts` does
    return weigh(bits, weights, 1 << 8 * array.itemsize, _count_patterns, how)


@jit(lambda: [(piece_type(item), target_type()) for item in ("u1", "u2")])
def _count_patterns(x: NDArray[Any], target: Target) -> None:
    codes = np.empty(_BLOCK, np.int32)
    for start in range(0, x.size, _BLOCK):
        block = x[start : start + _BLOCK]
        for i in range(block.size):
            codes[i] = np.int32(block[i])
        tally(codes, start, block.size, target)
    finish(target)
