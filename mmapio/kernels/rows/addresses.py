"""Memory at addresses, for kernels: items and rows are copied there, and lines read ahead of use.

The callers keep alive what the addresses belong to, and have checked them. Each function has a body
in Python too, which runs where numba compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic
from numpy.typing import NDArray

from mmapio import atomics
from mmapio.kernels.engine import emitting
from mmapio.kernels.engine.jit import inside, part

__all__ = [
    "LINE_BYTES",
    "add_word",
    "copy_item",
    "copy_row",
    "index_at",
    "peek_at",
    "prefetch_line",
    "size_of",
]

LINE_BYTES = 64
_LONGEST_IN_LINES = 2048  # of rows that are copied quicker than a call of memcpy finds out how


def size_of(kind: Any) -> int:
    """Return the bytes of an item as wide as a number, which stands for its type."""
    return int(kind.itemsize)


def copy_item(target: int, source: int, kind: Any) -> None:
    """Copy an item as wide as a number, which stands for its type, aligned or not."""
    copy_row(target, source, kind.itemsize)


def copy_row(target: int, source: int, nbytes: int) -> None:
    """Copy a row."""
    _bytes_at(target, nbytes)[:] = _bytes_at(source, nbytes)


def index_at(address: int) -> int:
    """Read an index once: others may store to it, and what was checked must be what is used."""
    return _bytes_at(address, 8).view(np.int64)[0]  # type: ignore[no-any-return]


def peek_at(address: int, at: int) -> int:
    """Read one of the indices to know about it, not to use it: several may be read at once."""
    return index_at(address + at * 8)


def prefetch_line(address: int) -> None:
    """Let the processor read a cache line ahead, where it can be asked to; no address is wrong."""


def add_word(a: NDArray[Any], at: int, sums: NDArray[Any], first: int) -> None:
    """Add as many sums as fill 8 aligned bytes to cells from `at` on, others adding meanwhile.

    Of all numbers but 0 and -0.0, which leave an integer and a float as it is.
    """
    for i in range(8 // a.itemsize):
        value = sums[first + i]
        if value.tobytes() != np.array(-0.0 if a.dtype.kind == "f" else 0, a.dtype).tobytes():
            atomics.fetch_add(a, int(at) + i, value)


def _bytes_at(address: int, nbytes: int) -> NDArray[np.uint8]:
    """Return memory as an array that does not own it."""
    place = {"data": (int(address), False), "shape": (int(nbytes),), "typestr": "|u1", "version": 3}
    return np.asarray(type("Memory", (), {"__array_interface__": place})())


# Emitted ----------------------------------------------------------------------------------------


def _pointer(builder: Any, address: Any, bits: int = 8) -> Any:
    return builder.inttoptr(address, ir.IntType(bits).as_pointer())


def _emit_item(_typing: Any, target: Any, source: Any, kind: Any) -> Any:
    """Type and emit a load and a store of one item."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        places = [_pointer(builder, address, kind.bitwidth) for address in arguments[:2]]
        builder.store(builder.load(places[1], align=1), places[0], align=1)
        return context.get_dummy_value()

    return numba.types.none(target, source, kind), generate


def _emit_copy(_typing: Any, target: Any, source: Any, nbytes: Any) -> Any:
    """Type and emit a memcpy, which becomes a pair of instructions if `nbytes` is a literal."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size = ir.IntType(64)
        pointers = [_pointer(builder, address) for address in arguments[:2]]
        literal = isinstance(signature.args[2], numba.types.IntegerLiteral)
        length = size(signature.args[2].literal_value) if literal else arguments[2]
        kinds = [pointer.type for pointer in pointers]
        memcpy = builder.module.declare_intrinsic("llvm.memcpy", [*kinds, size])
        builder.call(memcpy, [*pointers, length, ir.IntType(1)(0)])
        return context.get_dummy_value()

    return numba.types.none(target, source, nbytes), generate


def _emit_index(_typing: Any, address: Any) -> Any:
    """Type and emit a load of an aligned int64 that the compiler neither repeats nor splits."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_pointer(builder, arguments[0], 64), "monotonic", 8)

    return numba.types.int64(address), generate


def _emit_peek(_typing: Any, address: Any, at: Any) -> Any:
    """Type and emit a load of an aligned int64, by a pointer that LLVM makes vectors of."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        first = _pointer(builder, arguments[0], 64)
        return builder.load(builder.gep(first, [arguments[1]]), align=8)

    return numba.types.int64(address, at), generate


def _emit_prefetch(_typing: Any, address: Any) -> Any:
    """Type and emit a prefetch of a cache line for reading, into all levels."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        emitting.prefetch(builder, _pointer(builder, arguments[0]))
        return context.get_dummy_value()

    return numba.types.none(address), generate


def _emit_add_word(_typing: Any, memory: Any, sums: Any, kind: Any) -> Any:
    """Type and emit the addition of all cells of a word in one step, as cheap as that of one."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        cell = context.get_value_type(kind)
        is_float = isinstance(kind, numba.types.Float)
        bits = ir.IntType(kind.bitwidth)
        count = 64 // bits.width
        cells, plain = ir.VectorType(cell, count), ir.VectorType(bits, count)
        target = _pointer(builder, arguments[0], 64)
        found = builder.load(_pointer(builder, arguments[1], 64), align=1)
        nothing = ir.Constant(plain, [1 << (bits.width - 1) if is_float else 0] * count)
        changes = builder.icmp_unsigned("!=", builder.bitcast(found, plain), nothing)
        some = builder.icmp_unsigned("!=", found, builder.bitcast(nothing, word))
        with builder.if_then(some):
            before = builder.load_atomic(target, "monotonic", 8)
            entry = builder.block
            again, done = (builder.append_basic_block(name) for name in ("again", "done"))
            builder.branch(again)
            builder.position_at_end(again)
            old = builder.phi(word)
            old.add_incoming(before, entry)
            add = builder.fadd if is_float else builder.add
            added = add(builder.bitcast(old, cells), builder.bitcast(found, cells))
            kept = builder.select(
                changes, builder.bitcast(added, plain), builder.bitcast(old, plain)
            )
            pair = builder.cmpxchg(
                target, old, builder.bitcast(kept, word), "monotonic", "monotonic"
            )
            old.add_incoming(builder.extract_value(pair, 0), again)
            builder.cbranch(builder.extract_value(pair, 1), done, again)
            builder.position_at_end(done)
        return context.get_dummy_value()

    return numba.types.none(memory, sums, kind), generate


_move_item = intrinsic(_emit_item)
_copy_bytes = intrinsic(prefer_literal=True)(_emit_copy)
_load_index = intrinsic(_emit_index)
_peek = intrinsic(_emit_peek)
_prefetch = intrinsic(_emit_prefetch)
_add_word = intrinsic(_emit_add_word)


@part(forceinline=True)
def _copy_in_lines(target: int, source: int, nbytes: int) -> None:
    """Copy a row of a line or more: by lines, of which the last two may overlap."""
    at = 0
    while at + 8 * LINE_BYTES <= nbytes:
        _copy_lines(target + at, source + at, 4)
        _copy_lines(target + at + 4 * LINE_BYTES, source + at + 4 * LINE_BYTES, 4)
        at += 8 * LINE_BYTES
    if nbytes & (4 * LINE_BYTES):
        _copy_lines(target + at, source + at, 4)
        at += 4 * LINE_BYTES
    if nbytes & (2 * LINE_BYTES):
        _copy_lines(target + at, source + at, 2)
        at += 2 * LINE_BYTES
    if nbytes & LINE_BYTES:
        _copy_lines(target + at, source + at, 1)
    if nbytes & (LINE_BYTES - 1):
        at = nbytes - LINE_BYTES
        _copy_lines(target + at, source + at, 1)


@part(forceinline=True)
def _copy_lines(target: int, source: int, lines: int) -> None:
    """Copy up to four lines; their number is a constant, and so there is no branch."""
    for line in range(4):
        if line < lines:
            at = line * LINE_BYTES
            _copy_bytes(target + at, source + at, 64)


@part(forceinline=True)
def _copy_in_halves(target: int, source: int, nbytes: int) -> None:
    """Copy a row; a short one in two halves that overlap, which spares a call."""
    if nbytes > _LONGEST_IN_LINES:
        _copy_bytes(target, source, nbytes)
    elif nbytes >= 64:
        _copy_in_lines(target, source, nbytes)
    elif nbytes >= 32:
        _copy_bytes(target, source, 32)
        _copy_bytes(target + nbytes - 32, source + nbytes - 32, 32)
    elif nbytes >= 16:
        _copy_bytes(target, source, 16)
        _copy_bytes(target + nbytes - 16, source + nbytes - 16, 16)
    elif nbytes >= 8:
        _copy_bytes(target, source, 8)
        _copy_bytes(target + nbytes - 8, source + nbytes - 8, 8)
    elif nbytes >= 4:
        _copy_bytes(target, source, 4)
        _copy_bytes(target + nbytes - 4, source + nbytes - 4, 4)
    else:
        for place in range(nbytes):
            _copy_bytes(target + place, source + place, 1)


@inside(size_of)
def _size_of_inside(kind: Any) -> Callable[..., int]:
    size = kind.bitwidth // 8
    return lambda kind: size


@inside(copy_item)
def _copy_item_inside(target: Any, source: Any, kind: Any) -> Callable[..., None]:
    return lambda target, source, kind: _move_item(target, source, kind)


@inside(copy_row)
def _copy_row_inside(target: Any, source: Any, nbytes: Any) -> Callable[..., None]:
    return lambda target, source, nbytes: _copy_in_halves(target, source, nbytes)


@inside(index_at)
def _index_at_inside(address: Any) -> Callable[..., int]:
    return lambda address: _load_index(address)


@inside(peek_at)
def _peek_at_inside(address: Any, at: Any) -> Callable[..., int]:
    return lambda address, at: _peek(address, at)


@inside(prefetch_line)
def _prefetch_line_inside(address: Any) -> Callable[..., None]:
    return lambda address: _prefetch(address)


@inside(add_word)
def _add_word_inside(a: Any, at: Any, sums: Any, first: Any) -> Callable[..., None]:
    size = a.dtype.bitwidth // 8
    return lambda a, at, sums, first: _add_word(
        a.ctypes.data + at * size, sums.ctypes.data + first * size, sums[first]
    )
