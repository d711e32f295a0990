"""Arrays that kernels and their peers work on: layouts, sizes, and what lies in them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import peers

__all__ = ["DTYPES", "IN_CACHE", "LAYOUTS", "SIZES", "Arrays", "items_of"]

DTYPES = ("u1", "i4", "f4", "f8", "i8")
SIZES = {"256MiB": 256 << 20, "16MiB": 16 << 20, "1MiB": 1 << 20, "100k": None}
IN_CACHE = ("1MiB", "100k")
FEW_ITEMS = 100_000  # of any dtype

LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "1-d": lambda row: row,
    "strided": lambda row: row[::2],
    "C 5000 wide": lambda row: _rows(row, 5000),
    "C 100 wide": lambda row: _rows(row, 100),
    "C 3 wide": lambda row: _rows(row, 3),
    "F 1000 wide": lambda row: _rows(row, row.size // 1000 or 1).T,
}

# Values lie below the rare one; a byte that is absent is greater than any.
RARE, ABSENT = 251, 255
RARE_ITEMS = 10
GREATEST_COMMON = 200
GREATEST_NUMBER = 1 << 30  # so that a sum of a few needs more than 32 bits
BLOCK_ITEMS = 1 << 20
ONE_IN = 10  # items that are many matches


def items_of(size: str, dtype: str, most: int | None = None) -> int:
    """Return how many items an array of that size has."""
    nbytes = SIZES[size]
    items = FEW_ITEMS if nbytes is None else nbytes // np.dtype(dtype).itemsize
    return min(items, most or items)


class Arrays:
    """An array in a layout, and what else the work on it takes, made when it is asked for."""

    def __init__(self, layout: str, dtype: str, items: int) -> None:
        self.layout, self.dtype, self.items = layout, np.dtype(dtype), items
        self.row = _filled(self.dtype, items)
        self.a = LAYOUTS[layout](self.row)

    def forget(self) -> None:
        """Let go of everything but the array."""
        for name in vars(self).keys() - {"layout", "dtype", "items", "row", "a"}:
            del vars(self)[name]

    @functools.cached_property
    def series(self) -> Any:
        return peers.series(self.a)

    @functools.cached_property
    def frame(self) -> Any:
        return peers.frame(self.a)

    @functools.cached_property
    def arrow(self) -> Any:
        return peers.arrow_array(self.a)

    @functools.cached_property
    def table(self) -> Any:
        return peers.table(self.a)

    @functools.cached_property
    def raw(self) -> bytes:
        """The bytes of an array of bytes, in an object that can be searched."""
        if self.dtype != np.uint8 or self.layout != "1-d":
            raise NotImplementedError("bytes, in one piece, are searched for bytes")
        return self.a.tobytes()

    @functools.cached_property
    def coarse(self) -> Arrays:
        """The same layout of items of which one in ten is 1, and the others are 0."""
        made = Arrays.__new__(Arrays)
        made.layout, made.dtype, made.items = self.layout, self.dtype, self.items
        block = np.random.default_rng(1).integers(0, ONE_IN, BLOCK_ITEMS) == 0
        made.row = np.resize(block.astype(self.dtype), self.items)
        made.a = LAYOUTS[self.layout](made.row)
        return made

    @functools.cached_property
    def rare(self) -> Any:
        return self.dtype.type(RARE)

    @functools.cached_property
    def absent(self) -> Any:
        return self.dtype.type(ABSENT)

    @functools.cached_property
    def edges(self) -> NDArray[np.float64]:
        """50 uneven edges of bins that have all items."""
        low, high = float(self.a.min()), float(self.a.max())
        inner = np.random.default_rng(2).uniform(low, high, 48)
        return np.sort(np.concatenate([[low, high], inner]))

    @functools.cached_property
    def ends(self) -> tuple[float, float]:
        return float(self.a.min()), float(self.a.max())

    @functools.cached_property
    def target(self) -> NDArray[Any]:
        """An array like it, which work may change."""
        return np.zeros_like(self.a)

    @functools.cached_property
    def thousand(self) -> NDArray[Any]:
        """1,000 items, which work may change."""
        return np.zeros(1000, self.dtype)

    @functools.cached_property
    def picks(self) -> NDArray[np.int64]:
        """Random numbers of items, of 4 million at most."""
        return self._random(self.items, min(1 << 22, self.items // 2))

    @functools.cached_property
    def picks_of_thousand(self) -> NDArray[np.int64]:
        return self._random(1000, min(1 << 22, self.items))

    @functools.cached_property
    def short_rows(self) -> NDArray[Any]:
        """Rows of 256 bytes: half of them are picked, 500,000 at most."""
        return _rows(self.row, 256 // self.dtype.itemsize)

    @functools.cached_property
    def picks_of_short_rows(self) -> NDArray[np.int64]:
        return self._random(len(self.short_rows), min(500_000, len(self.short_rows) // 2))

    @functools.cached_property
    def long_rows(self) -> NDArray[Any]:
        """Rows of 1 KiB: half of them are picked, 100,000 at most."""
        return _rows(self.row, 1024 // self.dtype.itemsize)

    @functools.cached_property
    def picks_of_long_rows(self) -> NDArray[np.int64]:
        return self._random(len(self.long_rows), min(100_000, len(self.long_rows) // 2))

    @functools.cached_property
    def target_rows(self) -> NDArray[Any]:
        return np.zeros_like(self.short_rows)

    @functools.cached_property
    def new_rows(self) -> NDArray[Any]:
        return self.short_rows[: self.picks_of_short_rows.size].copy()

    def _random(self, below: int, count: int) -> NDArray[np.int64]:
        return np.random.default_rng(3).integers(0, below, count)


def _filled(dtype: np.dtype[Any], items: int) -> NDArray[Any]:
    """Return random items, a few zeros and rare ones among them, and one that is the greatest."""
    generator, count = np.random.default_rng(0), min(items, BLOCK_ITEMS)
    is_narrow = dtype.kind == "f" or dtype.itemsize == 1
    below = GREATEST_COMMON if is_narrow else GREATEST_NUMBER
    if dtype.kind == "f":
        block = generator.random(count) * below
    else:
        block = generator.integers(0, below, count)
        block[(block == RARE) | (block == ABSENT)] = 1
    block[generator.integers(0, count, count // 100)] = 0
    row = np.resize(block.astype(dtype), items)
    row[generator.integers(0, items, RARE_ITEMS)] = RARE
    row[items * 3 // 4] = RARE + 1 if is_narrow else below
    return row


def _rows(row: NDArray[Any], width: int) -> NDArray[Any]:
    height = row.size // width
    return row[: height * width].reshape(height, width)
