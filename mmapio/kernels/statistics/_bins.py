"""Histograms whose range is not known ahead.

Bins are ``2**scale`` wide and start at multiples of their width, so two neighbours merge into one
bin of the next scale, exactly. The scale of a set of values is the smallest at which they span no
more than the allowed number of bins: it depends on their minimum and maximum alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_BINS", "MIN_BINS", "Bins", "Number", "bins_for"]

Number = int | float

MAX_BINS = 256  # a bin's number fits into a byte
MIN_BINS = 4  # the widest range of a type then fits at a scale that the type can express
_GREATEST = float(np.finfo(np.float64).max)
_NOWHERE = -(1 << 11)  # below the exponent of any float
_SLACK = 10  # a range of 2**x spans more than MAX_BINS bins of 2**(x - 10)


@dataclass
class Bins:
    """Counts of values in ``bins`` bins of width ``2**scale``, the first of number `first`.

    `digits` and `least` are the precision and the least exponent of a floating-point type. No bin
    is narrower than the spacing of the largest value, so the number of a bin is always exact.
    """

    bins: int
    digits: int = 0
    least: int = 0
    first: int = 0
    scale: int = 0
    counts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros(self.bins, np.int64)

    def fit(self, lo: Number, hi: Number) -> int:
        """Cover a range that contains all that was counted so far; return the bins that it uses."""
        scale = self._finest(lo, hi)
        while _bin_of(hi, scale) - _bin_of(lo, scale) >= self.bins:
            scale += 1
        self._move(_bin_of(lo, scale), scale)
        return _bin_of(hi, scale) - self.first + 1

    def centre(self, lo: Number, hi: Number) -> None:
        """Cover a range with room to grow on both sides."""
        spare = self.bins - self.fit(lo, hi)
        self._move(self.first - spare // 2, self.scale)

    def count(self, values: NDArray[Any], counts: NDArray[np.int64]) -> None:
        """Add values that occur `counts` times each, in a range that was fitted."""
        if values.dtype.kind == "f":
            numbers = np.floor(np.ldexp(values, -self.scale)).astype(np.int64)
        else:
            numbers = values >> self.scale
        np.add.at(self.counts, numbers - self.first, counts)

    def edges(self, used: int, offset: int = 0) -> NDArray[np.float64]:
        """Return the edges of the bins in use, rounded once, and kept finite."""
        if not self.digits:
            return np.array([float(edge) for edge in self.exact_edges(used, offset)])
        numbers = np.arange(self.first, self.first + used + 1, dtype=np.float64)
        with np.errstate(all="ignore"):
            return np.clip(np.ldexp(numbers, self.scale), -_GREATEST, _GREATEST)

    def exact_edges(self, used: int, offset: int = 0) -> list[int]:
        """Return the edges of the bins of integers that are in use."""
        numbers = range(self.first, self.first + used + 1)
        return [(number << self.scale) + offset for number in numbers]

    def add(self, other: Bins) -> None:
        """Add the counts of a histogram whose range this one covers."""
        self.counts += other._moved(self.first, self.scale)

    def _finest(self, lo: Number, hi: Number) -> int:
        """Return a scale that is surely not too large; the search starts there."""
        if isinstance(hi, int):
            return max(0, (hi - int(lo)).bit_length() - _SLACK)
        largest = max(abs(lo), abs(hi))
        spacing, spread = _exponent(largest) - self.digits, _exponent(hi / 2 - lo / 2) - _SLACK
        return max(self.least, spacing, spread)

    def _move(self, first: int, scale: int) -> None:
        self.counts = self._moved(first, scale)
        self.first, self.scale = first, scale

    def _moved(self, first: int, scale: int) -> NDArray[np.int64]:
        moved = np.zeros(self.bins, np.int64)
        for i in np.flatnonzero(self.counts).tolist():
            moved[(self.first + i >> scale - self.scale) - first] += self.counts[i]
        return moved


def bins_for(dtype: np.dtype[Any], bins: int) -> Bins:
    """Return an empty histogram of values of a type."""
    if dtype.kind != "f":
        return Bins(bins)
    info = np.finfo(dtype)
    return Bins(bins, digits=info.nmant + 1, least=int(info.minexp))


def _bin_of(x: Number, scale: int) -> int:
    """Number the bin of `x`; a negative value that the scale makes vanish stays below zero."""
    if isinstance(x, int):
        return x >> scale
    scaled = math.ldexp(x, -scale)
    return math.floor(scaled) if scaled or x >= 0 else -1


def _exponent(x: float) -> int:
    return math.frexp(x)[1] if x else _NOWHERE
