"""One pass over numbers of 32 or 64 bits: moments, extremes and bin numbers, block by block.

A block fits into the cache closest to the core, where each statistic has a loop of its own: short
loops without branches become vector instructions, one long loop over everything does not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine.jit import jit, part, piece_type
from mmapio.kernels.statistics._moments import (
    BLOCK,
    REASSOCIATE,
    float_sum,
    merge,
    nearby,
    squared_deviations,
    two_sum,
)
from mmapio.kernels.statistics.counts import add_bytes, byte_tables

__all__ = ["Workspace", "describe_floats", "describe_ints", "new_workspace"]

_VANISHING = -1e-30
_WIDE = 2.0**62
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
    finite: NDArray[Any]  # a block without NaNs and infinities
    finite_keys: NDArray[Any]  # the same memory


def new_workspace(key: np.dtype[Any], value: np.dtype[Any], limits: tuple[int, int]) -> Workspace:
    """Return the workspace of a thread that has seen nothing and has no bins."""
    greatest = np.iinfo(key).max
    nothing = np.array([greatest, ~greatest], key)
    codes, finite = np.zeros(BLOCK, np.uint8), np.zeros(BLOCK, value)
    return Workspace(
        tally=np.zeros(4, np.int64),
        seen=nothing.copy(),
        cover=nothing,
        limits=np.array(limits, key),
        grid=np.zeros(2, value if value.kind == "f" else np.int64),
        tables=byte_tables(),
        codes=codes,
        words=codes.view(np.uint64),
        finite=finite,
        finite_keys=finite.view(key),
    )


def _float_signature(dtype: str, key: str) -> tuple[Any, ...]:
    work = _typeof(new_workspace(np.dtype(key), np.dtype(dtype), (0, 0)))
    return piece_type(dtype), piece_type(key), numba.float64[::1], work


def _int_signature(dtype: str) -> tuple[Any, ...]:
    work = _typeof(new_workspace(np.dtype(dtype), np.dtype(dtype), (0, 0)))
    return piece_type(dtype), numba.int64[::1], numba.float64[::1], work


@jit(lambda: [_float_signature("f4", "i4"), _float_signature("f8", "i8")])
def describe_floats(
    x: NDArray[Any], keys: NDArray[Any], row: NDArray[np.float64], work: Workspace
) -> int:
    """Add a piece to `work` and `row`, up to the first block that has values without a bin.

    `keys` is the memory of `x` as integers, `row` the piece's count, mean, squared deviations,
    base, sum and its rounding error; the mean is a difference from the base. Returns the number of
    items done.
    """
    for start in range(0, x.size, BLOCK):
        block = x[start : start + BLOCK]
        values = block
        lo, hi, zeros = _float_extremes(keys[start : start + BLOCK], work.limits[0])
        if hi >= work.limits[1] or lo <= ~work.limits[1]:
            values = work.finite[: _keep_finite(block, work.finite)]
            lo, hi, zeros = _float_extremes(work.finite_keys[: values.size], work.limits[0])
        if not _covered(lo, hi, work):
            return start
        work.tally[0] += zeros
        if values.size < block.size:
            _tally_others(block, work.tally)
        if values.size:
            base = row[3] = row[3] if row[0] else nearby(np.float64(values[0]))
            total = _sum_of_steps(values, base, row)
            squares = squared_deviations(values, base, total / values.size)
            merge(row, values.size, total, squares)
            _encode_floats(values, work.grid[0], work.grid[1], work.codes)
            _count_codes(values.size, work)
    return x.size


@jit(lambda: [_int_signature("i4"), _int_signature("i8")])
def describe_ints(
    x: NDArray[Any], wrapped: NDArray[np.int64], row: NDArray[np.float64], work: Workspace
) -> int:
    """Do for integers what `describe_floats` does.

    `wrapped` gets the sum modulo 2**64; the mean and the sum in `row` are those of differences
    from the base.
    """
    flip, base = np.int64(work.limits[0]), work.grid[1]
    scale = work.limits.dtype.type(work.grid[0])
    for start in range(0, x.size, BLOCK):
        block = x[start : start + BLOCK]
        lo, hi, zeros = _int_extremes(block, work.limits[0])
        if not _covered(lo, hi, work):
            return start
        work.tally[0] += zeros
        far = np.int64(max(float(hi) - float(base), float(base) - float(lo)) > _WIDE)
        low_bits, total = _int_sums(block, flip, base, far)
        wrapped[0] += low_bits
        row[4] += total
        squares = _int_squares(block, flip, base, far, total / block.size)
        merge(row, block.size, total, squares)
        _encode_ints(block, work.limits[0], scale, work.codes)
        _count_codes(block.size, work)
    return x.size


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
def _int_extremes(x: NDArray[Any], flip: Any) -> tuple[Any, Any, int]:
    """Return the least and the greatest key, and the zeros; a key is `x` with its sign flipped."""
    cast = x.dtype.type  # numba widens the results of integer operators to 64 bits
    zero = cast(0)
    lo, hi, zeros = cast(x[0] ^ flip), cast(x[0] ^ flip), zero
    for i in range(x.size):
        key = cast(x[i] ^ flip)
        lo = key if key < lo else lo
        hi = key if key > hi else hi
        zeros = cast(zeros + cast(x[i] == zero))
    return lo, hi, zeros


@part()
def _keep_finite(block: NDArray[Any], finite: NDArray[Any]) -> int:
    """Copy the finite numbers, and return how many there are.

    What is kept is what was found finite: a second look might find that others have changed it.
    """
    kept = 0
    for i in range(block.size):
        value = block[i]
        finite[kept] = value
        kept += np.isfinite(value)
    return kept


@part()
def _tally_others(block: NDArray[Any], tally: NDArray[np.int64]) -> None:
    """Count NaNs and infinities."""
    for i in range(block.size):
        tally[1] += block[i] != block[i]
        tally[2] += block[i] == np.inf
        tally[3] += block[i] == -np.inf


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


@part(fastmath=REASSOCIATE)
def _int_sums(x: NDArray[Any], flip: Any, base: Any, shift: Any) -> tuple[Any, float]:
    """Return the sum of keys modulo 2**64, and the rounded sum of differences from the base."""
    wrapped, total = np.int64(0), 0.0
    for i in range(x.size):
        key = np.int64(x[i]) ^ flip
        wrapped += key
        total += np.float64((key >> shift) - (base >> shift))
    return wrapped, total * (1 + shift)


@part(fastmath=REASSOCIATE)
def _int_squares(x: NDArray[Any], flip: Any, base: Any, shift: Any, centre: float) -> float:
    """Return the squared differences from `centre`, itself a difference from the base."""
    total = 0.0
    unit = np.float64(1 + shift)
    for i in range(x.size):
        step = np.float64(((np.int64(x[i]) ^ flip) >> shift) - (base >> shift)) * unit - centre
        total += step * step
    return total


@part()
def _encode_floats(x: NDArray[Any], unit: Any, first: Any, codes: NDArray[np.uint8]) -> None:
    """Write each value's bin; see `_bins._bin_of` for negative values that vanish."""
    zero, vanishing = x.dtype.type(0), x.dtype.type(_VANISHING)
    for i in range(x.size):
        scaled = x[i] * unit
        scaled = scaled if x[i] >= zero else min(scaled, vanishing)
        codes[i] = np.int32(np.floor(scaled) - first)


@part()
def _encode_ints(x: NDArray[Any], flip: Any, shift: Any, codes: NDArray[np.uint8]) -> None:
    """Write each value's bin, modulo 256."""
    for i in range(x.size):
        codes[i] = (x[i] ^ flip) >> shift


@part()
def _count_codes(count: int, work: Workspace) -> None:
    """Count bins by whole words; what fills the last word up is taken back."""
    whole = (count + 7) // 8
    for i in range(count, 8 * whole):
        work.codes[i] = 0
        work.tables[i % 4, 0] -= np.uint32(1)
    add_bytes(work.words[:whole], work.tables)
