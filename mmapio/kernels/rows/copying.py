"""Copies of rows of bytes, from and to where numbers say, by addresses.

The callers keep alive what the addresses belong to, and have checked the numbers.
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

from mmapio.kernels.engine.jit import inside, jit, part

__all__ = ["Numbers", "move_rows", "normalize"]

Numbers = NDArray[np.int64]

_ADDRESS = numba.int64
_NUMBERS = numba.int64[::1]
_LINE_BYTES = 64
# Further ahead, or more lines, was slower, and so was any for shorter rows: these the processor
# itself reads ahead of.
_AHEAD_ROWS = 4


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, ir.IntType(8).as_pointer())


def _emit_copy(_typing: Any, target: Any, source: Any, nbytes: Any) -> Any:
    """Type and emit a memcpy, which becomes a pair of instructions if `nbytes` is a literal."""

    def generate(_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size = ir.IntType(64)
        pointers = [_pointer(builder, address) for address in arguments[:2]]
        literal = isinstance(signature.args[2], types.IntegerLiteral)
        length = size(signature.args[2].literal_value) if literal else arguments[2]
        kinds = [pointer.type for pointer in pointers]
        memcpy = builder.module.declare_intrinsic("llvm.memcpy", [*kinds, size])
        builder.call(memcpy, [*pointers, length, ir.IntType(1)(0)])
        return _context.get_dummy_value()

    return types.none(target, source, nbytes), generate


def _emit_prefetch(_typing: Any, address: Any) -> Any:
    """Type and emit a prefetch of a cache line for reading, into all levels."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer, word = _pointer(builder, arguments[0]), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, word, word, word])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        builder.call(prefetch, [pointer, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.none(address), generate


_copy_bytes = intrinsic(prefer_literal=True)(_emit_copy)
_prefetch_line = intrinsic(_emit_prefetch)


def _copy_row(target: int, source: int, nbytes: int) -> None:
    """Copy a row."""
    _bytes_at(target, nbytes)[:] = _bytes_at(source, nbytes)


def _prefetch(address: int) -> None:
    """Let the processor read a cache line ahead, where it can be asked to."""


def _bytes_at(address: int, nbytes: int) -> NDArray[np.uint8]:
    """Return memory as an array that does not own it."""
    place = {"data": (int(address), False), "shape": (int(nbytes),), "typestr": "|u1", "version": 3}
    return np.asarray(type("Memory", (), {"__array_interface__": place}))


@inside(_copy_row)
def _copy_row_inside(target: Any, source: Any, nbytes: Any) -> Callable[..., None]:
    return lambda target, source, nbytes: _copy_in_halves(target, source, nbytes)


@inside(_prefetch)
def _prefetch_inside(address: Any) -> Callable[..., None]:
    return lambda address: _prefetch_line(address)


@part()
def _copy_in_halves(target: int, source: int, nbytes: int) -> None:
    """Copy a row; a short one in two halves that overlap, which spares a call."""
    if nbytes > 64:
        _copy_bytes(target, source, nbytes)
    elif nbytes >= 32:
        _copy_bytes(target, source, 32)
        _copy_bytes(target + nbytes - 32, source + nbytes - 32, 32)
    elif nbytes >= 16:
        _copy_bytes(target, source, 16)
        _copy_bytes(target + nbytes - 16, source + nbytes - 16, 16)
    elif nbytes >= 8:
        _copy_bytes(target, source, 8)
        _copy_bytes(target + nbytes - 8, source + nbytes - 8, 8)
    else:
        _copy_bytes(target, source, nbytes)


@part()
def _row(numbers: Numbers, i: int) -> int:
    return numbers[i] if len(numbers) else i


@jit(
    lambda: [
        (_ADDRESS, numba.int64, _NUMBERS, _ADDRESS, numba.int64, _NUMBERS, *(numba.int64,) * 5)
    ]
)
def move_rows(
    source: int,
    source_step: int,
    source_rows: Numbers,
    target: int,
    target_step: int,
    target_rows: Numbers,
    first: int,
    last: int,
    low: int,
    high: int,
    nbytes: int,
) -> None:
    """Copy row ``source_rows[i]`` to row ``target_rows[i]`` for i from `first` to `last`.

    Rows are `nbytes` long and a step apart. No numbers stand for 0, 1, 2 and so on. Only rows of
    the target from `low` to `high` are written.
    """
    for i in range(first, last):
        if nbytes > _LINE_BYTES and i + _AHEAD_ROWS < last:
            ahead = source + _row(source_rows, i + _AHEAD_ROWS) * source_step
            _prefetch(ahead)
            _prefetch(ahead + _LINE_BYTES)
        row = _row(target_rows, i)
        if low <= row < high:
            _copy_row(
                target + row * target_step, source + _row(source_rows, i) * source_step, nbytes
            )


@jit(lambda: [(_NUMBERS, numba.int64, _NUMBERS)])
def normalize(indices: Numbers, rows: int, numbers: Numbers) -> int:
    """Store the row that each index means; return how many were in bounds before one was not."""
    for i in range(len(indices)):
        index = indices[i]
        number = index + rows if index < 0 else index
        if not 0 <= number < rows:
            return i
        numbers[i] = number
    return len(indices)
