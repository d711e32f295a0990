"""Tables that items are counted in, or the weights of items added, by the numbers of their bins."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine.jit import part
from mmapio.kernels.statistics._moments import two_sum

__all__ = ["COUNTS", "FLOATS", "WHOLE", "Target", "finish", "new_target", "tally", "target_type"]

COUNTS, WHOLE, FLOATS = 0, 1, 2  # what is added up: items, integers, or floats
_FEW = 4096  # bins of which several tables stay in the cache
_ONE = np.uint32(1)
_RUN = 1 << 16  # items after which the sums of floats are added to the totals; numpy takes as many
_typeof: Any = numba.typeof  # typed or not, as numba's version has it


class Target(NamedTuple):
    """Tables and totals that items are added to.

    There are four tables, as long as these are small: in one alone, a run of items of one bin
    would wait, at each step, for the store of the step before.
    """

    kind: int
    tables: NDArray[np.uint32]  # shape (4 or 1, bins)
    weights: NDArray[np.int64]  # of each item of a piece; of floats, their bits
    sums: NDArray[np.float64]  # shape (4 or 1, bins), of integers their bits
    totals: NDArray[np.float64]  # shape (2, bins): of floats, and their rounding errors


def new_target(bins: int, kind: int = COUNTS) -> Target:
    """Return empty tables."""
    lanes = 4 if bins < _FEW else 1
    weights = np.zeros(0, np.int64)
    weights.flags.writeable = False
    return Target(
        kind,
        np.zeros((lanes, bins if kind == COUNTS else 0), np.uint32),
        weights,
        np.zeros((lanes, 0 if kind == COUNTS else bins)),
        np.zeros((2, bins if kind == FLOATS else 0)),
    )


def target_type() -> Any:
    """Return numba's type of a target."""
    return _typeof(new_target(1))


@part()
def tally(codes: NDArray[np.int32], first: int, count: int, target: Target) -> None:
    """Add the items behind `first` of a piece to the bins that codes say.

    No code may be negative, or beyond the tables.
    """
    if target.kind == COUNTS:
        _count(codes, count, target.tables)
    elif target.kind == WHOLE:
        weights = target.weights[first : first + count]
        _add(codes, weights, target.sums.view(np.int64))
    else:
        weights = target.weights[first : first + count]
        _add(codes, weights.view(np.float64), target.sums)
        if (first + count) % _RUN == 0:
            finish(target)


@part()
def _count(codes: NDArray[np.int32], count: int, tables: NDArray[np.uint32]) -> None:
    few = tables.shape[0]
    t0, t1, t2, t3 = tables[0], tables[1 % few], tables[2 % few], tables[3 % few]
    whole = count // 4 * 4
    for i in range(0, whole, 4):
        t0[np.uint32(codes[i])] += _ONE
        t1[np.uint32(codes[i + 1])] += _ONE
        t2[np.uint32(codes[i + 2])] += _ONE
        t3[np.uint32(codes[i + 3])] += _ONE
    for i in range(whole, count):
        t0[np.uint32(codes[i])] += _ONE


@part()
def _add(codes: NDArray[np.int32], weights: NDArray[Any], sums: NDArray[Any]) -> None:
    few = sums.shape[0]
    s0, s1, s2, s3 = sums[0], sums[1 % few], sums[2 % few], sums[3 % few]
    whole = weights.size // 4 * 4
    for i in range(0, whole, 4):
        s0[np.uint32(codes[i])] += weights[i]
        s1[np.uint32(codes[i + 1])] += weights[i + 1]
        s2[np.uint32(codes[i + 2])] += weights[i + 2]
        s3[np.uint32(codes[i + 3])] += weights[i + 3]
    for i in range(whole, weights.size):
        s0[np.uint32(codes[i])] += weights[i]


@part()
def finish(target: Target) -> None:
    """Move the sums of floats to the totals, with the rounding errors of that."""
    if target.kind == FLOATS:
        sums, totals = target.sums, target.totals
        for lane in range(sums.shape[0]):
            for i in range(sums.shape[1]):
                total, slip = two_sum(totals[0, i], sums[lane, i])
                totals[0, i] = total
                totals[1, i] += slip
                sums[lane, i] = 0.0
