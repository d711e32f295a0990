"""Every second item of a row, copied by vectors, which numpy copies one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from mmapio.kernels.engine.jit import inside, jit

__all__ = ["are_pairs", "copy_firsts", "copy_lines"]

_SIZES = (1, 2, 4, 8)
_LINE = 64
_WORD = ir.IntType(64)


def are_pairs(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Return True if items of a type are every second one of a row, which `copy_firsts` can copy.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.kernels.engine.pairs import are_pairs
    >>> a = np.arange(6)
    >>> are_pairs(a[1::2], a.dtype), are_pairs(a[::3], a.dtype), are_pairs(a[::2], np.dtype("f8"))
    (True, False, False)
    """
    size = array.itemsize
    if array.ndim != 1 or array.size < 2 or array.strides[0] != 2 * size or size not in _SIZES:
        return False
    return bool(array.dtype == dtype and array.flags.aligned)


def copy_firsts(firsts: NDArray[Any], out: NDArray[Any]) -> None:
    """Copy every second item of a row, of which `are_pairs` is True, to one that has room for them.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.kernels.engine.pairs import copy_firsts
    >>> out = np.zeros(3)
    >>> copy_firsts(np.arange(6.0)[::2], out)
    >>> out
    array([0., 2., 4.])
    """
    if firsts.size == 1:  # of which numba takes the layout for another one
        out[0] = firsts[0]
        return
    kind = f"u{out.itemsize}"
    bits = firsts.view(kind)
    bits.setflags(write=False)
    _copy_firsts(bits, out.view(kind))


def _signatures() -> list[tuple[Any, ...]]:
    items = [numba.from_dtype(np.dtype(f"u{size}")) for size in _SIZES]
    return [(numba.types.Array(item, 1, "A", readonly=True), item[::1]) for item in items]


@jit(_signatures)
def _copy_firsts(firsts: NDArray[Any], out: NDArray[Any]) -> None:
    count = min(firsts.size, out.size)
    for i in range(copy_lines(firsts, out), count):
        out[i] = firsts[i]


def copy_lines(firsts: NDArray[Any], out: NDArray[Any]) -> int:
    """Copy as many items as fill lines, without the last; return how many there are."""
    line = _LINE // out.itemsize
    count = max(0, min(firsts.size, out.size) - 1) // line * line
    out[:count] = firsts[:count]
    return count


def _emit_copy_lines(_typing: Any, firsts: Any, out: Any) -> Any:
    """Type and emit it by shuffles: what LLVM makes of a loop gathers items one by one.

    Two lines are read for one, and end behind an item that is there, since the last is left out.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = zip(signature.args, arguments, strict=True)
        source, target = (context.make_array(kind)(context, builder, each) for kind, each in kinds)
        line = _LINE * 8 // out.dtype.bitwidth
        item = ir.IntType(out.dtype.bitwidth)
        two_lines, one_line = ir.VectorType(item, 2 * line), ir.VectorType(item, line)
        loads = builder.bitcast(source.data, two_lines.as_pointer())
        stores = builder.bitcast(target.data, one_line.as_pointer())
        places = ir.Constant(ir.VectorType(ir.IntType(32), line), [*range(0, 2 * line, 2)])
        fewer = builder.icmp_signed("<", source.nitems, target.nitems)
        count = builder.select(fewer, source.nitems, target.nitems)
        lines = builder.sdiv(builder.sub(count, _WORD(1)), _WORD(line))
        with cgutils.for_range(builder, lines) as loop:
            block = builder.load(builder.gep(loads, [loop.index]), align=1)
            firsts = builder.shuffle_vector(block, ir.Constant(two_lines, ir.Undefined), places)
            builder.store(firsts, builder.gep(stores, [loop.index]), align=1)
        return builder.mul(lines, _WORD(line))

    return numba.types.int64(firsts, out), generate


_copy_lines: Any = intrinsic(_emit_copy_lines)


@inside(copy_lines)
def _copy_lines_inside(firsts: Any, out: Any) -> Callable[..., Any]:
    return lambda firsts, out: _copy_lines(firsts, out)
