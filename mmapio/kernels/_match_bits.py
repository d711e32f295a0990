"""Matches as bits, 64 to a word: memory that nobody else changes, and from which places are read.

Others may change the items while they are searched, so these are looked at once. Each function
with an emitted twin finds the same in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from mmapio.kernels.engine import emitting
from mmapio.kernels.engine.jit import inside, jit, part, piece_types
from mmapio.kernels.engine.reader import Load, Reader

__all__ = ["mark_matches", "mark_places", "places_equal", "places_in", "words_for", "write_places"]

WORD = 64
_MATCHED = ("u1", "u2", "u4", "u8", "f4", "f8")
_WORD = ir.IntType(64)
_AHEAD = 8192

_PAIRS, _FOURS, _BYTES, _ONES = (np.uint64(~0 % (1 << 64) // n) for n in (3, 5, 17, 255))

_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], 1, bitorder="little")
# Where the bits of a byte are, the places of those that are set first; and how many these are.
_PLACES = np.argsort(1 - _BITS, 1, kind="stable").astype(np.uint8)
_COUNTS = _BITS.sum(1, dtype=np.uint8)


@part()
def words_for(items: int) -> int:
    """Return how many words have a bit for each item."""
    return -(-items // WORD)


def mark_whole_words(x: NDArray[Any], value: Any, bits: NDArray[np.uint64]) -> int:
    """Set the bits of items that equal a value in whole words; return of how many items."""
    items = min(x.size // WORD, bits.size) * WORD
    packed = np.packbits(x[:items] == value, bitorder="little")
    bits[: items // WORD] = packed.view(np.uint64)
    return items


def _emit_marks(_typing: Any, x: Any, value: Any, bits: Any) -> Any:
    """Type and emit the same, for no more words than there are bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row, out = (
            context.make_array(signature.args[place])(context, builder, arguments[place])
            for place in (0, 2)
        )
        values = emitting.in_all_lanes(builder, arguments[1], WORD)
        is_float = isinstance(x.dtype, types.Float)
        equal = builder.fcmp_ordered if is_float else builder.icmp_unsigned

        def mark(load: Load, number: Any) -> None:
            word = builder.bitcast(equal("==", load(0), values), _WORD)
            builder.store(word, builder.gep(out.data, [number]))

        return Reader(builder, x, row, WORD, _AHEAD).blocks(1, mark)

    return types.intp(x, value, bits), generate


_marks: Any = intrinsic(_emit_marks)


@inside(mark_whole_words)
def _mark_whole_words(x: Any, value: Any, bits: Any) -> Callable[..., Any]:
    if value != x.dtype:
        return lambda x, value, bits: 0
    return lambda x, value, bits: _marks(x[: bits.size * WORD], value, bits)


def write_eight(out: NDArray[np.int64], found: int, at: int, byte: int) -> None:
    """Write the places of the bits of a byte, of those that are clear last; there is room for 8."""
    out[found : found + 8] = _PLACES[byte] + np.int64(at)


def _emit_eight(_typing: Any, out: Any, found: Any, at: Any, table: Any, byte: Any) -> Any:
    """Type and emit the same by one vector."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        out, table = (
            context.make_array(signature.args[place])(context, builder, arguments[place])
            for place in (0, 3)
        )
        words, small = ir.VectorType(_WORD, 8), ir.VectorType(ir.IntType(8), 8)
        row = builder.bitcast(table.data, small.as_pointer())
        places = builder.zext(builder.load(builder.gep(row, [arguments[4]]), align=1), words)
        starts = emitting.in_all_lanes(builder, arguments[2], 8)
        target = builder.bitcast(builder.gep(out.data, [arguments[1]]), words.as_pointer())
        builder.store(builder.add(places, starts), target, align=8)
        return context.get_dummy_value()

    return types.none(out, types.intp, types.intp, table, types.intp), generate


_eight: Any = intrinsic(_emit_eight)


@inside(write_eight)
def _write_eight(out: Any, found: Any, at: Any, byte: Any) -> Callable[..., Any]:
    return lambda out, found, at, byte: _eight(out, found, at, _PLACES, byte)


@part()
def mark_equal(x: NDArray[Any], value: Any, bits: NDArray[np.uint64]) -> int:
    """Set the bits of items that equal a value, clear all others, and return how many are set."""
    done = mark_whole_words(x, value, bits)
    for number in range(done // WORD, bits.size):
        word = np.uint64(0)
        for i in range(number * WORD, min(number * WORD + WORD, x.size)):
            word |= np.uint64(x[i] == value) << np.uint64(i % WORD)
        bits[number] = word
    return count_bits(bits)


@part()
def count_bits(bits: NDArray[np.uint64]) -> int:
    """Return how many bits are set, which compilers see in this (Hacker's Delight, 5-1)."""
    count = 0
    for i in range(bits.size):
        word = bits[i]
        word -= (word >> np.uint64(1)) & _PAIRS
        word = (word & _FOURS) + ((word >> np.uint64(2)) & _FOURS)
        word = (word + (word >> np.uint64(4))) & _BYTES
        count += int(word * _ONES >> np.uint64(56))
    return count


@part()
def places_of(bits: NDArray[np.uint64], start: int, out: NDArray[np.int64]) -> Any:
    """Write the places of bits that are set, counted from `start`, until `out` is full.

    All eight places of a byte are written, and those of clear bits written over: there is no
    branch to mispredict.
    """
    found: Any = 0
    for number in range(bits.size):
        word, at = bits[number], start + number * WORD
        if word == 0:
            continue
        if found + WORD > out.size:
            return _last_places(bits[number:], at, out, found)
        for shift in range(0, WORD, 8):
            byte: Any = np.intp((word >> np.uint64(shift)) & np.uint64(255))
            write_eight(out, found, at + shift, byte)
            found += np.int64(_COUNTS[byte])
    return found


@part()
def _last_places(bits: NDArray[np.uint64], start: int, out: NDArray[np.int64], found: int) -> int:
    """Do the same one by one, so that nothing is written past the end."""
    for number in range(bits.size):
        if bits[number] == 0:
            continue
        for bit in range(WORD):
            if bits[number] >> np.uint64(bit) & np.uint64(1):
                if found == out.size:
                    return found
                out[found] = start + number * WORD + bit
                found += 1
    return found


@part()
def places_equal(x: NDArray[Any], value: Any) -> NDArray[np.int64]:
    """Return where items equal a value."""
    bits = np.empty(words_for(x.size), np.uint64)
    out = np.empty(mark_equal(x, value, bits), np.int64)
    places_of(bits, 0, out)
    return out


def _item_signatures() -> list[tuple[Any, ...]]:
    return [
        (kind, numba.from_dtype(np.dtype(dtype)))
        for dtype in _MATCHED
        for kind in piece_types(dtype)
    ]


def _signatures() -> list[tuple[Any, ...]]:
    return [(*item, numba.uint64[::1]) for item in _item_signatures()]


@jit(_item_signatures)
def places_in(x: NDArray[Any], value: Any) -> NDArray[np.int64]:
    """Do for a piece what `places_equal` does."""
    return places_equal(x, value)


@jit(_signatures)
def mark_matches(x: NDArray[Any], value: Any, bits: NDArray[np.uint64]) -> int:
    """Do for a piece what `mark_equal` does."""
    return mark_equal(x, value, bits)


@jit(lambda: [(numba.int64[::1], numba.uint64[::1])])
def mark_places(places: NDArray[np.int64], bits: NDArray[np.uint64]) -> None:
    """Set the bits of some places."""
    for i in range(places.size):
        number = places[i] // WORD
        if 0 <= number < bits.size:
            bits[number] |= np.uint64(1) << np.uint64(places[i] % WORD)


@jit(lambda: [(numba.uint64[::1], numba.int64, numba.int64[::1])])
def write_places(bits: NDArray[np.uint64], start: int, out: NDArray[np.int64]) -> Any:
    """Do for the bits of a piece what `places_of` does."""
    return places_of(bits, start, out)
