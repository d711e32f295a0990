"""Bins between any edges: a table says where to begin, and few comparisons are left.

The range of the edges is cut into cells of equal width, and a table holds how many edges lie below
each. The number of an item's cell grows with the item, however it is rounded: so it is enough that
edges are put into cells by the same arithmetic. All items then take as many steps as the fullest
cell needs, without a branch. Edges that lie far denser in one place than in another, as powers of
ten do, are put into cells by the bits of floats, which grow as the logarithm does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine.jit import jit, part, piece_type
from mmapio.kernels.statistics._even_bins import first_where
from mmapio.kernels.statistics._order_keys import key_of
from mmapio.kernels.statistics._tallies import Target, finish, tally, target_type

__all__ = ["UnevenBins", "bins_between", "uneven_bins"]

_BLOCK = 1024  # items whose values and codes stay in the cache closest to the core
_CELLS = 4096  # at least; the table then stays in that cache as well
_MOST_CELLS = 1 << 20
_WRAP = 1 << 64
_KEYS = {"i4": "i4", "u4": "u4", "i8": "i8", "u8": "u8", "f4": "i4", "f8": "i8"}
_typeof: Any = numba.typeof  # typed or not, as numba's version has it
_EXACT = 1 << 53  # up to here, integers are floats


class Ladder(NamedTuple):
    """Edges as items, in ascending order and each once, and the table to enter it by."""

    rungs: NDArray[Any]  # as many more as steps can lead beyond, and the greatest item that counts
    guide: NDArray[np.int32]  # rungs below each cell; at last, for items beyond the last edge
    grid: NDArray[Any]  # how cells are computed
    bits: NDArray[Any]  # of keys, unsigned: the first one, and the bits that a cell is wide
    steps: int  # the first of them, a power of two


class UnevenBins(NamedTuple):
    """A ladder, its kernel, and the bin of each number that it leads to; -1 is none."""

    ladder: Ladder
    kernel: Callable[[NDArray[Any], Ladder, Target], None]
    bins: NDArray[np.int64]

    def counts(self, found: NDArray[Any], bins: int) -> NDArray[Any]:
        """Return what was counted between edges, of what was counted between rungs."""
        inside = self.bins >= 0
        counts = np.zeros(bins, found.dtype)
        np.add.at(counts, self.bins[inside], found[inside])
        return counts


def uneven_bins(edges: NDArray[Any], item: np.dtype[Any]) -> UnevenBins | None:
    """Return the bins between edges for items of a type; None if no item can lie in one."""
    compared = edges.astype(np.result_type(item, edges))
    if item.kind == "f":
        least, greatest = _as_floats(compared, item)
    else:
        least, greatest = _as_integers(compared, item)
    return bins_between(least, greatest, edges.size)


def bins_between(least: NDArray[Any], greatest: Any, edges: int) -> UnevenBins | None:
    """Return the bins between edges, of which there are the least items that are not below them.

    Those beyond the greatest item may lack. `greatest` is the last item that counts.
    """
    if not least.size or greatest < least[0]:
        return None
    new = np.flatnonzero(least[1:] != least[:-1]) + 1
    rungs = least if new.size == least.size - 1 else least[np.append(0, new)]
    ladder, kernel = _ladder(rungs, greatest)
    # Of equal edges the last one counts, and what equals the last of all is in the bin before it.
    bins = np.full(ladder.rungs.size + 1, -1)
    bins[1 : rungs.size] = new - 1
    bins[rungs.size] = edges - 2 if least.size == edges else least.size - 1
    if least.dtype.kind != "f" and greatest == np.iinfo(least.dtype).max:
        bins[rungs.size + 1 :] = bins[rungs.size]  # where steps can lead, as nothing lies beyond
    return UnevenBins(ladder, kernel, bins)


def _as_floats(edges: NDArray[Any], item: np.dtype[Any]) -> tuple[NDArray[Any], Any]:
    """Return the least items that are not less than edges, and the greatest that counts."""
    with np.errstate(all="ignore"):
        least = edges.astype(item)
        greatest = least[-1]
        least = np.where(least < edges, np.nextafter(least, item.type(np.inf)), least)
    if greatest > edges[-1]:
        greatest = np.nextafter(greatest, item.type(-np.inf))
    return least.astype(item) + item.type(0), greatest  # no negative zero: its key is another


def _as_integers(edges: NDArray[Any], item: np.dtype[Any]) -> tuple[NDArray[Any], Any]:
    """Do the same; edges beyond the greatest item are left out.

    Floats do not tell large integers apart: these are compared as numpy does, one by one.
    """
    info, cast = np.iinfo(item), edges.dtype.type
    low, high = int(info.min), int(info.max)
    below = edges[-1]
    if edges.dtype.kind == "f":
        near = np.abs(edges) <= _EXACT
        least: list[int] = [
            int(rounded)
            if exact
            else first_where(functools.partial(_reaches, cast, edge), low, high)
            for rounded, exact, edge in zip(np.ceil(edges).tolist(), near, edges, strict=True)
        ]
        greatest = (
            int(np.floor(below))
            if near[-1]
            else first_where(lambda x: cast(x) > below, low, high) - 1
        )
    else:
        least, greatest = edges.tolist(), int(below)
    kept = [max(low, edge) for edge in least if edge <= high]
    if greatest < low:
        return np.zeros(0, item), None
    return np.array(kept, item), item.type(min(greatest, high))


def _reaches(cast: Callable[[int], Any], edge: Any, value: int) -> bool:
    return bool(cast(value) >= edge)


# The table --------------------------------------------------------------------------------------


class _Cells(NamedTuple):
    """Cells of the rungs, how many there are, and how they are computed."""

    of_rungs: NDArray[np.int64]
    number: int
    grid: NDArray[Any]
    shift: int = 0

    @property
    def most(self) -> int:
        """Rungs in the fullest cell."""
        if (self.of_rungs[1:] > self.of_rungs[:-1]).all():
            return 1
        return int(np.bincount(self.of_rungs).max())


def _ladder(rungs: NDArray[Any], greatest: Any) -> tuple[Ladder, Any]:
    """Return the table that has the fewest rungs in a cell, and its kernel."""
    count = min(max(_CELLS, 8 * rungs.size), _MOST_CELLS)
    is_float = rungs.dtype.kind == "f"
    plain, kernel = (_by_place, _count_by_place) if is_float else (_by_key, _count_by_key)
    cells = plain(rungs, count)
    if cells is None or cells.most > 1:
        other = _by_key(rungs if is_float else rungs.astype(np.float64), count)
        if cells is None or other.most < cells.most:
            cells, kernel = other, _count_by_key if is_float else _count_by_logarithm
    return _with_guide(rungs, cells, greatest), kernel


def _by_place(rungs: NDArray[Any], count: int) -> _Cells | None:
    """Cut the range of the edges that are finite."""
    item = rungs.dtype.type
    first, last = rungs[0], rungs[-1]
    if not np.isfinite([first, last]).all():
        finite = rungs[np.isfinite(rungs)]
        first, last = (finite[0], finite[-1]) if finite.size else (first, last)
    with np.errstate(all="ignore"):
        scale = item(count) / (last - first)
        if not 0 < scale < np.inf:
            return None
        cells = (rungs - first) * scale
    top = item(count - 1)
    cells = np.minimum(np.maximum(cells, item(0)), top).astype(np.int64)
    return _Cells(cells, count, np.array([first, scale, top], rungs.dtype))


def _by_key(rungs: NDArray[Any], count: int) -> _Cells:
    """Cut the range of the keys of all edges."""
    keys = _keys(rungs)
    first, last = int(keys[0]), int(keys[-1])
    shift = max(0, (last - first).bit_length() - (count - 1).bit_length())
    origin = np.uint64(first % _WRAP)
    cells = (keys.astype(np.uint64) - origin >> np.uint64(shift)).astype(np.int64)
    return _Cells(cells, int(cells[-1]) + 1, np.array([first, last], keys.dtype), shift)


def _keys(items: NDArray[Any]) -> NDArray[Any]:
    """Return what `key_of` returns for each item."""
    if items.dtype.kind != "f":
        return items
    bits = items.view(f"i{items.itemsize}")
    mask = np.iinfo(bits.dtype).max
    keys: NDArray[Any] = bits ^ (bits >> 8 * items.itemsize - 1 & mask)
    return keys


def _with_guide(rungs: NDArray[Any], cells: _Cells, greatest: Any) -> Ladder:
    """Count the rungs of each cell, and pad them with what no item reaches that counts."""
    inside = np.bincount(cells.of_rungs, minlength=cells.number)
    guide = np.empty(cells.number + 1, np.int32)
    guide[0] = 0
    np.cumsum(inside[:-1], out=guide[1:-1])
    guide[-1] = rungs.size + 1
    steps = 1 << cells.most.bit_length() - 1
    pad = np.nan if rungs.dtype.kind == "f" else np.iinfo(rungs.dtype).max
    padded = np.full(rungs.size + 2 * steps + 2, pad, rungs.dtype)
    padded[: rungs.size], padded[-1] = rungs, greatest
    grid = cells.grid
    origin = 0 if grid.dtype.kind == "f" else int(grid[0]) % (1 << 8 * grid.itemsize)
    bits = np.array([origin, cells.shift], f"u{grid.itemsize}")
    return Ladder(padded, guide, grid, bits, steps)


# Counting ---------------------------------------------------------------------------------------


def _type(item: str, key: str) -> Any:
    rungs, guide, grid, bits = (np.zeros(1, each) for each in (item, "i4", key, f"u{key[1]}"))
    like = Ladder(rungs, guide, grid, bits, 1)
    return piece_type(item), _typeof(like), target_type()


@jit(lambda: [_type("f4", "f4"), _type("f8", "f8")])
def _count_by_place(x: NDArray[Any], ladder: Ladder, target: Target) -> None:
    """Count or weigh a piece of floats, block by block, between edges of any distance."""
    codes, values = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, x.dtype)
    for start in range(0, x.size, _BLOCK):
        block = x[start : start + _BLOCK]
        _place(block, ladder, values, codes)
        _climb(values, block.size, ladder, codes)
        tally(codes, start, block.size, target)
    finish(target)


@jit(lambda: [_type(*types) for types in _KEYS.items()])
def _count_by_key(x: NDArray[Any], ladder: Ladder, target: Target) -> None:
    """Do the same with keys instead of the floats, and for integers."""
    codes, values = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, x.dtype)
    for start in range(0, x.size, _BLOCK):
        block = x[start : start + _BLOCK]
        _find_keys(block, x.dtype.type, ladder, values, codes)
        _climb(values, block.size, ladder, codes)
        tally(codes, start, block.size, target)
    finish(target)


@jit(lambda: [_type(item, "i8") for item in ("i4", "u4", "i8", "u8")])
def _count_by_logarithm(x: NDArray[Any], ladder: Ladder, target: Target) -> None:
    """Do the same for integers with the keys of the floats that they are rounded to."""
    codes, values = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, x.dtype)
    for start in range(0, x.size, _BLOCK):
        block = x[start : start + _BLOCK]
        _find_keys(block, np.float64, ladder, values, codes)
        _climb(values, block.size, ladder, codes)
        tally(codes, start, block.size, target)
    finish(target)


@part()
def _place(x: NDArray[Any], ladder: Ladder, values: NDArray[Any], codes: NDArray[np.int32]) -> None:
    """Write each item's cell, and the item: who stores meanwhile shall not part the two."""
    first, scale, top = ladder.grid[0], ladder.grid[1], ladder.grid[2]
    greatest = ladder.rungs[ladder.rungs.size - 1]
    zero, beyond = x.dtype.type(0), np.int32(ladder.guide.size - 1)
    for i in range(x.size):
        value = x[i]
        place = (value - first) * scale
        place = place if place > zero else zero  # and where it is NaN
        place = place if place < top else top
        values[i] = value
        codes[i] = np.int32(place) if value <= greatest else beyond


@part()
def _find_keys(
    x: NDArray[Any], number: Any, ladder: Ladder, values: NDArray[Any], codes: NDArray[np.int32]
) -> None:
    """Do the same by the keys of items as numbers of a type."""
    first, last = ladder.grid[0], ladder.grid[1]
    greatest = ladder.rungs[ladder.rungs.size - 1]
    cast, unsigned = x.dtype.type, ladder.bits.dtype.type
    origin, shift = ladder.bits[0], ladder.bits[1]
    beyond = np.int32(ladder.guide.size - 1)
    for i in range(x.size):
        value = cast(x[i] + cast(0))  # no negative zero
        key = key_of(number(value))
        key = key if key > first else first
        key = key if key < last else last
        values[i] = value
        cell = np.int32(unsigned(unsigned(unsigned(key) - origin) >> shift))
        codes[i] = cell if value <= greatest else beyond


@part()
def _climb(values: NDArray[Any], count: int, ladder: Ladder, codes: NDArray[np.int32]) -> None:
    """Replace cells by the number of rungs that are not above the item."""
    rungs, guide, step = ladder.rungs, ladder.guide, np.int32(ladder.steps)
    for i in range(count):
        at = guide[np.uint32(codes[i])]
        higher = np.int32(at + step)
        codes[i] = higher if values[i] >= rungs[np.uint32(higher - 1)] else at
    step = np.int32(step >> 1)
    while step > 0:
        for i in range(count):
            at = codes[i]
            higher = np.int32(at + step)
            codes[i] = higher if values[i] >= rungs[np.uint32(higher - 1)] else at
        step = np.int32(step >> 1)
