"""One pass over numbers of 32 or 64 bits: moments, extremes and bin numbers, block by block.

A block fits into the cache closest to the core, where each statistic has a loop of its own: short
loops without branches become vector instructions, one long loop over everything does not. They
read a copy of the block: others may store into the memory between two of them, and what one has
found to be true (that an item is a number, or has a bin) the next one relies on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine.jit import jit, part, piece_type
from mmapio.kernels.statistics._moments import (
    BLOCK,
    float_sum,
    merge,
    nearby,
    split_int_sum,
    squared_deviations,
    two_sum,
)
from mmapio.kernels.statistics.counts import add_bytes, byte_tables

__all__ = ["Workspace", "describe_floats", "describe_ints", "new_workspace"]

_VANISHING = -1e-30
_WORD = 2.0**32
_LOW = (1 << 32) - 1
_typeof: Any = numba.typeof  # typed or not, as numba's version has it


class Workspace(NamedTuple):
    """Memory of one thread: what it has seen, how it numbers bins, and scratch space.

    Keys are integers in the order of the values: see `_float_extremes` and `_int_extremes`.
    """

    tally: NDArray[np.int64]  # zeros, NaNs, +inf, -inf
    seen: NDArray[Any]  # least and greatest key
    cover: NDArray[Any]  # least and greatest key that has a bin
    limits: NDArray[Any]  # the greatest key, and that of +inf; or the sign bit to flip, and 0
    grid: NDArray[Any]  # bins per unit and first bin; or the bits to shift, and the base
    tables: NDArray[np.uint32]
    codes: NDArray[np.uint8]
    words: NDArray[np.uint64]  # the same memory
    block: NDArray[Any]  # a copy of a block: floats, or the keys of integers
    block_keys: NDArray[Any]  # the same memory


def new_workspace(key: np.dtype[Any], value: np.dtype[Any], limits: tuple[int, int]) -> Workspace:
    """Return the workspace of a thread that has seen nothing and has no bins."""
    greatest = np.iinfo(key).max
    nothing = np.array([greatest, ~greatest], key)
    codes, block = np.zeros(BLOCK, np.uint8), np.zeros(BLOCK, value)
    return Workspace(
        tally=np.zeros(4, np.int64),
        seen=nothing.copy(),
        cover=nothing,
        limits=np.array(limits, key),
        grid=np.zeros(2, value if value.kind == "f" else np.int64),
        tables=byte_tables(),
        codes=codes,
        words=codes.view(np.uint64),
        block=block,
        block_keys=block.view(key),
    )


def _float_signature(dtype: str, key: str) -> tuple[Any, ...]:
    work = _typeof(new_workspace(np.dtype(key), np.dtype(dtype), (0, 0)))
    return piece_type(dtype), numba.float64[::1], work


def _int_signature(dtype: str) -> tuple[Any, ...]:
    work = _typeof(new_workspace(np.dtype(dtype), np.dtype(dtype), (0, 0)))
    return piece_type(dtype), numba.int64[::1], numba.float64[::1], work


@jit(lambda: [_float_signature("f4", "i4"), _float_signature("f8", "i8")])
def describe_floats(x: NDArray[Any], row: NDArray[np.float64], work: Workspace) -> int:
    """Add a piece to `work` and `row`, up to the first block that has values without a bin.

    `row` is the piece's count, mean, squared deviations, base, sum and its rounding error; the
    mean is a difference from the base. Returns the number of items done.
    """
    top, infinity = work.limits[0], work.limits[1]
    for start in range(0, x.size, BLOCK):
        count = kept = min(BLOCK, x.size - start)
        _copy(x[start : start + count], work.block)
        lo, hi, zeros = _float_extremes(work.block_keys[:count], top)
        others = hi >= infinity or lo <= ~infinity
        nans, above, below = 0, 0, 0
        if others:
            nans, above, below = _others(work.block[:count])
            kept = _keep_finite(work.block[:count])
            lo, hi, zeros = _float_extremes(work.block_keys[:kept], top)
        if not _covered(lo, hi, work):
            return start
        work.tally[0] += zeros
        work.tally[1] += nans
        work.tally[2] += above
        work.tally[3] += below
        if kept:
            _add_floats(work.block[:kept], row, work)
    return x.size


@part()
def _add_floats(values: NDArray[Any], row: NDArray[np.float64], work: Workspace) -> None:
    base = row[3] = row[3] if row[0] else nearby(np.float64(values[0]))
    total = _sum_of_steps(values, base, row)
    squares = squared_deviations(values, base, total / values.size)
    merge(row, values.size, total, squares)
    _encode_floats(values, work.grid[0], work.grid[1], work.codes)
    _count_codes(values.size, work)


@jit(lambda: [_int_signature("i4"), _int_signature("i8")])
def describe_ints(
    x: NDArray[Any], sums: NDArray[np.int64], row: NDArray[np.float64], work: Workspace
) -> int:
    """Do for integers what `describe_floats` does.

    `sums` gets the sum of keys in two parts, see `split_int_sum`; the mean in `row` is that of
    differences from the base.
    """
    cast = work.limits.dtype.type
    base, scale = cast(work.grid[1]), cast(work.grid[0])
    for start in range(0, x.size, BLOCK):
        count = min(BLOCK, x.size - start)
        _copy_keys(x[start : start + count], work.limits[0], work.block)
        block = work.block[:count]
        lo, hi = _int_extremes(block)
        if not _covered(lo, hi, work):
            return start
        work.tally[0] += _count_zeros(block, work.limits[0])
        high, low = split_int_sum(block)
        sums[0] += high
        sums[1] += low
        total = _difference(high, low, base, count)
        merge(row, count, total, squared_deviations(block, base, total / count))
        _encode_ints(block, scale, work.codes)
        _count_codes(count, work)
    return x.size


@part()
def _copy(x: NDArray[Any], block: NDArray[Any]) -> None:
    for i in range(x.size):
        block[i] = x[i]


@part()
def _copy_keys(x: NDArray[Any], flip: Any, block: NDArray[Any]) -> None:
    for i in range(x.size):
        block[i] = x[i] ^ flip


@part()
def _float_extremes(keys: NDArray[Any], top: Any) -> tuple[Any, Any, int]:
    """Return the least and the greatest key, and the zeros.

    A key is a float's bits with those below the sign flipped in negative numbers: integers in the
    order of the floats. Vector instructions find extremes of integers; of floats that may be NaN,
    compiled code compares one at a time.
    """
    cast = keys.dtype.type  # numba widens the results of integer operators to 64 bits
    zero = cast(0)
    lo, hi, zeros = top, cast(~top), zero
    for i in range(keys.size):
        bits = keys[i]
        key = bits if bits >= zero else cast(bits ^ top)
        lo = key if key < lo else lo
        hi = key if key > hi else hi
        zeros = cast(zeros + cast(cast(bits & top) == zero))
    return lo, hi, zeros


@part()
def _int_extremes(keys: NDArray[Any]) -> tuple[Any, Any]:
    """Return the least and the greatest key: an integer, with its sign bit flipped if unsigned."""
    lo = hi = keys[0]
    for i in range(keys.size):
        lo = keys[i] if keys[i] < lo else lo
        hi = keys[i] if keys[i] > hi else hi
    return lo, hi


@part()
def _count_zeros(keys: NDArray[Any], flip: Any) -> Any:
    cast = keys.dtype.type  # numba widens the results of integer operators to 64 bits
    zeros = cast(0)
    for i in range(keys.size):
        zeros = cast(zeros + cast(keys[i] == flip))
    return zeros


@part()
def _keep_finite(block: NDArray[Any]) -> int:
    """Move the finite numbers to the beginning, and return how many there are."""
    kept = 0
    for i in range(block.size):
        value = block[i]
        block[kept] = value
        kept += np.isfinite(value)
    return kept


@part()
def _others(block: NDArray[Any]) -> tuple[int, int, int]:
    """Count NaNs, and infinities of each sign."""
    nans, above, below = 0, 0, 0
    for i in range(block.size):
        nans += block[i] != block[i]
        above += block[i] == np.inf
        below += block[i] == -np.inf
    return nans, above, below


@part()
def _covered(lo: Any, hi: Any, work: Workspace) -> bool:
    """Note a block's extremes; whether all of it has bins."""
    work.seen[0] = lo if lo < work.seen[0] else work.seen[0]
    work.seen[1] = hi if hi > work.seen[1] else work.seen[1]
    return bool(lo >= work.cover[0] and hi <= work.cover[1])


@part()
def _sum_of_steps(x: NDArray[Any], base: float, row: NDArray[np.float64]) -> float:
    """Add a block to sum and rounding error, and return the sum of its differences from `base`."""
    total, error = float_sum(x)
    row[4], slip = two_sum(row[4], total)
    row[5] += error + slip
    return (total - base * x.size) + error


@part()
def _difference(high: Any, low: Any, base: Any, count: int) -> float:
    """Return a sum in two parts, less `count` times the base, rounded."""
    start, items = np.int64(base), np.int64(count)
    over = np.float64(high - (start >> np.int64(32)) * items)
    return over * _WORD + np.float64(low - (start & np.int64(_LOW)) * items)


@part()
def _encode_floats(x: NDArray[Any], unit: Any, first: Any, codes: NDArray[np.uint8]) -> None:
    """Write each value's bin; see `_bins._bin_of` for negative values that vanish."""
    zero, vanishing = x.dtype.type(0), x.dtype.type(_VANISHING)
    for i in range(x.size):
        scaled = x[i] * unit
        scaled = scaled if x[i] >= zero else min(scaled, vanishing)
        codes[i] = np.int32(np.floor(scaled) - first)


@part()
def _encode_ints(keys: NDArray[Any], shift: Any, codes: NDArray[np.uint8]) -> None:
    """Write each value's bin, modulo 256."""
    for i in range(keys.size):
        codes[i] = keys[i] >> shift


@part()
def _count_codes(count: int, work: Workspace) -> None:
    """Count bins by whole words; what fills the last word up is taken back."""
    whole = (count + 7) // 8
    for i in range(count, 8 * whole):
        work.codes[i] = 0
        work.tables[i % 4, 0] -= np.uint32(1)
    add_bytes(work.words[:whole], work.tables)
