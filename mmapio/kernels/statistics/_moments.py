"""The cores of sums and moments: short loops without branches, which become vector instructions.

Every core takes a row of items of any number type, so users' kernels can call it as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine.jit import by_type, inside, jit, part, piece_type, piece_types
from mmapio.kernels.engine.lanes import (
    LANES,
    add_floats,
    add_runs,
    add_squares,
    add_steps,
    add_words,
    add_wrapping,
    step,
    two_sum,
)
from mmapio.kernels.engine.vectors import SHORT_AT_ONCE, add_bytes, are_bytes

__all__ = [
    "BLOCK",
    "FLOATS",
    "INTEGERS",
    "SMALL",
    "add_moments",
    "compensated_sum",
    "exact_sum",
    "float_sum",
    "int_sum",
    "merge",
    "moments",
    "nearby",
    "quick_sum",
    "rounded_sum",
    "small_sum",
    "split_int_sum",
    "split_small_sum",
    "split_sum",
    "squared_deviations",
    "two_sum",
    "variance",
    "word_sum",
    "words_sum",
]

INTEGERS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
FLOATS = ("f4", "f8")
BLOCK = 4096
_SMALL_RUN = 1 << 15  # items of at most 16 bits whose sum fits into 32 bits
# Multiplied by it, no sum of as many items as memory can hold overflows.
SMALL = 2.0**-70
_WORD = 1 << 32
_HUGE = 1e150  # beyond, a difference might overflow
_BY_BLOCK = 2.0 ** BLOCK.bit_length() + 1
_LOW = _WORD - 1


# Sums -------------------------------------------------------------------------------------------


@part()
def float_sum(x: NDArray[Any]) -> tuple[float, float]:
    """Return a sum in float64, and its rounding error: that of every addition of float64.

    Of shorter floats, the sum of a few is as good as exact.
    """
    total, error = add_floats(x) if x.itemsize == 8 else add_runs(x)
    return _with_last(x, total, error)


@part()
def quick_sum(x: NDArray[Any]) -> tuple[float, float]:
    """Do what `float_sum` does for the sums of short runs: closer to the truth than numpy."""
    total, error = add_runs(x)
    return _with_last(x, total, error)


@part()
def _with_last(x: NDArray[Any], total: float, error: float) -> tuple[float, float]:
    """Add the items that do not fill the lanes."""
    for i in range(x.size // LANES * LANES, x.size):
        total, slip = two_sum(total, np.float64(x[i]))
        error += slip
    return total, error


@part()
def small_sum(x: NDArray[Any]) -> tuple[float, float]:
    """Return the sum of items multiplied by `SMALL`, which does not overflow; a NaN ends it."""
    total, error = 0.0, 0.0
    block = np.empty(BLOCK)
    for start in range(0, x.size, BLOCK):
        count = min(BLOCK, x.size - start)
        for i in range(count):
            block[i] = x[start + i] * SMALL
        more, lost = float_sum(block[:count])
        total, slip = two_sum(total, more)
        error += lost + slip
        if total != total:
            break
    return total, error


@part()
def compensated_sum(x: NDArray[Any]) -> float:
    """Add the error to the sum, unless that overflowed or is none: then the error is no number."""
    total, error = quick_sum(x)
    if np.isfinite(total):
        return total + error
    total, error = small_sum(x)
    return (total + error if np.isfinite(total) else total) / SMALL


@part()
def split_int_sum(x: NDArray[Any]) -> tuple[Any, Any]:
    """Return the exact sum in two parts: how often 2**32, and what is left.

    Small integers are added in 32 bits as far as they fit, twice as many at a time.
    """
    high, low = np.int64(0), np.int64(0)
    if x.itemsize >= 4:
        high, low = add_words(x)
        for i in range(x.size // LANES * LANES, x.size):
            if x.itemsize == 8:
                high += np.int64(x[i] >> x.dtype.type(32))
                low += np.int64(x[i] & x.dtype.type(_LOW))
            else:
                low += np.int64(x[i])
    else:
        for start in range(0, x.size, _SMALL_RUN):
            low += np.int64(_small_sum(x[start : start + _SMALL_RUN]))
    return high, low


@part()
def words_sum(x: NDArray[Any]) -> Any:
    """Return the sum of integers of 64 bits modulo 2**64, as a signed one."""
    total = np.int64(add_wrapping(x))
    for i in range(x.size // LANES * LANES, x.size):
        total += np.int64(x[i])
    return total


@by_type
def _small_sum(x: Any) -> Any:
    """Return the sum of a run of items of at most 16 bits."""


@inside(_small_sum)
def _small_sum_of(x: Any) -> Callable[..., Any]:
    if x.layout != "C":
        return lambda x: _add_apart(x)
    if not are_bytes(x):
        return lambda x: _add_small(x)

    def impl(x: Any) -> Any:
        whole = x.size // SHORT_AT_ONCE * SHORT_AT_ONCE
        return add_bytes(x) + _add_small(x[whole:])

    return impl


@part()
def _add_apart(x: NDArray[Any]) -> Any:
    _, total = add_words(x)
    for i in range(x.size // LANES * LANES, x.size):
        total += np.int64(x[i])
    return total


@part()
def _add_small(x: NDArray[Any]) -> Any:
    total = np.int32(0)
    for i in range(x.size):
        total = np.int32(total + np.int32(x[i]))
    return total


def _signatures(items: tuple[str, ...]) -> Callable[[], list[tuple[Any, ...]]]:
    return lambda: [(kind,) for item in items for kind in piece_types(item)]


@jit(_signatures(FLOATS))
def split_sum(x: NDArray[Any]) -> tuple[float, float]:
    """Do for a piece of floats what `quick_sum` does."""
    return quick_sum(x)


@jit(_signatures(FLOATS))
def split_small_sum(x: NDArray[Any]) -> tuple[float, float]:
    """Do for a piece of floats what `small_sum` does."""
    return small_sum(x)


@jit(_signatures(INTEGERS))
def int_sum(x: NDArray[Any]) -> tuple[int, int]:
    """Do for a piece of integers what `split_int_sum` does."""
    return split_int_sum(x)


@jit(lambda: [(kind,) for kind in piece_types("i8")])
def word_sum(x: NDArray[Any]) -> int:
    """Do for a piece of integers what `words_sum` does."""
    return words_sum(x)  # type: ignore[no-any-return]


def exact_sum(parts: Iterable[tuple[int, int]]) -> int:
    """Return the sum of what `int_sum` returned."""
    return sum(high * _WORD + low for high, low in parts)


def rounded_sum(totals: Iterable[float], errors: Iterable[float] = ()) -> float:
    """Add exactly and round once. Errors are no numbers where a total overflowed or is none."""
    totals = list(totals)
    total = _fsum(totals)
    return _fsum([*totals, *errors]) if math.isfinite(total) else total


def _fsum(values: Sequence[float]) -> float:
    """Let numpy find what a sum becomes that `math.fsum` refuses: infinite, or NaN."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        with np.errstate(all="ignore"):
            return float(np.sum(values))


# Moments ----------------------------------------------------------------------------------------


@part()
def _leading(value: float, splitter: float) -> float:
    """Return a float's first digits (Dekker, 1971): the splitter is 2**n + 1 to clear the last n.

    0 if it is no number, or so large that differences or the product might overflow.
    """
    product = value * splitter
    return product - (product - value) if abs(value) < _HUGE else 0.0


@part()
def nearby(value: float) -> float:
    """Return a base that differences of floats are taken from: one of them, if it can be.

    A mean far from zero would lose digits that squared deviations need. Without its last ones, the
    base has exact products with the number of items in a block.
    """
    return _leading(value, _BY_BLOCK)


@part()
def _steps(x: NDArray[Any], base: Any) -> float:
    total = add_steps(x, base)
    for i in range(x.size // LANES * LANES, x.size):
        total += step(x[i], base)
    return total


@part()
def squared_deviations(x: NDArray[Any], base: Any, centre: float) -> float:
    """Add squared deviations from a mean, itself a difference from `base`."""
    total = add_squares(x, base, centre)
    for i in range(x.size // LANES * LANES, x.size):
        deviation = step(x[i], base) - centre
        total += deviation * deviation
    return total


@part()
def merge(row: NDArray[np.float64], count: int, total: float, squares: float) -> None:
    """Add a block to count, mean and squared deviations (Chan, Golub and LeVeque, 1979)."""
    before, after = row[0], row[0] + count
    step = total / count - row[1]
    row[0] = after
    row[1] += step * (count / after)
    if before and row[2] < np.inf and squares < np.inf:  # else steps may be no numbers
        squares += step * step * (before * count / after)
    row[2] += squares


@part()
def add_moments(x: NDArray[Any], base: Any, row: NDArray[np.float64]) -> None:
    """Add items to count, mean and squared deviations; the mean is a difference from `base`."""
    for start in range(0, x.size, BLOCK):
        block = x[start : start + BLOCK]
        total = _steps(block, base)
        merge(row, block.size, total, squared_deviations(block, base, total / block.size))


def _moment_signatures() -> list[tuple[Any, ...]]:
    bases = [(dtype, dtype) for dtype in INTEGERS] + [(dtype, "f8") for dtype in FLOATS]
    return [
        (piece_type(item), numba.from_dtype(np.dtype(base)), numba.float64[::1])
        for item, base in bases
    ]


@jit(_moment_signatures)
def moments(x: NDArray[Any], base: Any, row: NDArray[np.float64]) -> None:
    """Do for a piece what `add_moments` does."""
    add_moments(x, base, row)


def variance(rows: NDArray[np.float64], ddof: int = 0) -> float:
    """Combine counts, means, squared deviations and bases (Chan, Golub and LeVeque, 1979)."""
    counts, means, squares, bases = rows[rows[:, 0] > 0].T
    if squares.size and squares.max() == np.inf:  # then means may be infinite, and differ by NaN
        return math.inf
    with np.errstate(all="ignore"):
        means = (bases - bases[:1]) + means
        mean = rounded_sum(counts * means) / counts.sum()
        deviations = rounded_sum(squares + counts * (means - mean) ** 2)
        return float(deviations / np.maximum(counts.sum() - ddof, 0))
