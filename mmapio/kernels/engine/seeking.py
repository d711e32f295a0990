"""Search for the first item that equals a value, by vectors, which numba has no types for.

Every function has a body in Python too, which finds the same, and which runs if numba compiles
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from mmapio.kernels.engine import emitting
from mmapio.kernels.engine.jit import inside, part

__all__ = ["block_with", "first_of"]

_LINE = 64
_LINES = 4  # in a block
_BLOCK = _LINE * _LINES
_AHEAD = 4096  # bytes: the processor's own reading ahead ends at each page

_BYTE = ir.IntType(8)
_WORD = ir.IntType(64)


def block_with(x: NDArray[Any], value: Any) -> int:
    """Return where the first block begins that has an item equal to a value.

    If there is none, return how many items all whole blocks have.
    """
    items = _BLOCK // x.itemsize
    whole = x.size // items * items
    found = np.flatnonzero((x[:whole] == value).reshape(-1, items).any(1))
    return int(found[0]) * items if found.size else whole


@part()
def first_of(x: NDArray[Any], value: Any) -> int:
    """Return the index of the first item that equals a value of its own type, or -1.

    Others may change the items meanwhile: a match that is gone is none.
    """
    items = _BLOCK // x.itemsize
    start = 0
    while start < x.size:
        start += block_with(x[start:], value)
        stop = min(start + items, x.size)
        for i in range(start, stop):
            if x[i] == value:
                return i
        start = stop
    return -1


# Emitted ----------------------------------------------------------------------------------------


def _emit_block_with(_typing: Any, x: Any, value: Any) -> Any:
    """Type and emit the same: a look at each block as a whole."""
    lanes = _LINE * 8 // x.dtype.bitwidth
    is_float = isinstance(x.dtype, numba.types.Float)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = context.make_array(signature.args[0])(context, builder, arguments[0])
        line = ir.VectorType(row.data.type.pointee, lanes)
        values = emitting.in_all_lanes(builder, arguments[1], lanes)
        equal = builder.fcmp_ordered if is_float else builder.icmp_unsigned
        memory = builder.bitcast(row.data, _BYTE.as_pointer())
        blocks = builder.udiv(row.nitems, _WORD(lanes * _LINES))
        found = cgutils.alloca_once_value(builder, blocks)
        with cgutils.for_range(builder, blocks) as loop:
            start = builder.gep(memory, [builder.mul(loop.index, _WORD(_BLOCK))])
            has = None
            for number in range(_LINES):
                at = builder.gep(start, [_WORD(number * _LINE)])
                emitting.prefetch(builder, builder.gep(at, [_WORD(_AHEAD)]))
                loaded = builder.load(builder.bitcast(at, line.as_pointer()), align=1)
                here = equal("==", loaded, values)
                has = here if has is None else builder.or_(has, here)
            bits = builder.bitcast(has, ir.IntType(lanes))
            with builder.if_then(builder.icmp_unsigned("!=", bits, bits.type(0)), likely=False):
                builder.store(loop.index, found)
                loop.do_break()
        return builder.mul(builder.load(found), _WORD(lanes * _LINES))

    return numba.types.intp(x, value), generate


_block_with: Any = intrinsic(_emit_block_with)


@inside(block_with)
def _block_with_inside(x: Any, value: Any) -> Callable[..., Any]:
    if x.layout == "C":
        return lambda x, value: _block_with(x, value)
    return lambda x, value: 0
