"""The places of extremes in arrays in F order, whose memory is read as it lies.

The first in the order of indices is the one in the first row, and among those in the first column.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine.jit import jit, part
from mmapio.kernels.engine.pieces import visit_pieces
from mmapio.kernels.engine.scan import Scan
from mmapio.kernels.engine.seeking import first_of
from mmapio.kernels.statistics._extreme_keys import value_of
from mmapio.kernels.statistics._extremes import KeyedPieces, first_nan, key_signatures, piece_least

__all__ = ["has_columns", "place_in_columns"]

_GONE = -1


def has_columns(array: NDArray[Any]) -> bool:
    """Return True if columns of a table lie one after another, each in one stretch."""
    flags = array.flags
    is_one = array.ndim == 2 and flags.f_contiguous and not flags.c_contiguous
    return bool(is_one and flags.aligned and array.dtype.isnative and array.dtype.char != "e")


def place_in_columns(array: NDArray[Any], greatest: bool, how: Scan) -> int | None:
    """Return the index of an extreme in the order of indices, of a table that `has_columns`.

    None if others changed the items meanwhile, so that it is gone. Pieces whose extreme is beaten
    by that of another one are not looked at again; which ones these are does not matter.
    """
    rows, columns = array.shape
    keyed = KeyedPieces(array.T, greatest)
    found: list[tuple[Any, int]] = []

    def visit(number: int, piece: NDArray[Any]) -> None:
        key = piece.dtype.type(piece_least(piece, keyed.flip))  # which kernels return as an int
        if not found or not _is_beaten(key, found[-1][0]):
            start = keyed.pieces.start(number)
            found.append((key, _first_in_rows(piece, keyed.flip, key, start, rows)))

    visit_pieces(visit, keyed.pieces, how, place_in_columns)
    best = found[0][0]
    for key, _ in found:
        best = best if _is_beaten(key, best) else key
    places = [at for key, at in found if key == best or (key != key and best != best)]
    if _GONE in places:
        return None
    column, row = min((divmod(at, rows) for at in places), key=lambda place: place[::-1])
    return int(row * columns + column)


def _is_beaten(key: Any, other: Any) -> bool:
    """Return True if another key is less; a NaN beats all that are none."""
    return bool(key == key and (other != other or other < key))


@part()
def rows_first(x: NDArray[Any], flip: Any, key: Any, start: int, rows: int) -> Any:
    """Return which item with a key is in the first row, or -1 if none has it.

    The items begin at `start` of a table whose columns have so many `rows`; so does what is
    returned. Of each column the first counts, and none once one is in the first row.
    """
    sought = value_of(key, flip, x[0])
    best, best_row, at = _GONE, rows, 0
    while at < x.size and best_row > 0:
        more = first_nan(x[at:], flip) if key != key else first_of(x[at:], sought)
        if more < 0:
            break
        at += more
        row = (start + at) % rows
        if row < best_row:
            best, best_row = start + at, row
        at += rows - row
    return best


def _signatures() -> list[tuple[Any, ...]]:
    keys = [numba.from_dtype(np.dtype(str(item.dtype))) for item, _ in key_signatures()]
    return [
        (*types, key, numba.int64, numba.int64)
        for types, key in zip(key_signatures(), keys, strict=True)
    ]


@jit(_signatures)
def _first_in_rows(x: NDArray[Any], flip: Any, key: Any, start: int, rows: int) -> Any:
    """Do for a piece what `rows_first` does."""
    return rows_first(x, flip, key, start, rows)
