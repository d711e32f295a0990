"""One number in many cells: additions that do not wait for each other."""

from __future__ import annotations

import threading
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic, overload

from mmapio._validation import as_positive
from mmapio.atomics._access import load
from mmapio.atomics._fetch import fetch_add
from mmapio.atomics._overloads import in_kernels

__all__ = ["sharded_add", "sharded_value", "thread_lane"]

_STACK_BITS = 16  # no thread's stack is smaller than this, so neighbours differ above it
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: spreads what comes in even steps (Knuth, 6.4)
_MASK = 2**64 - 1


def thread_lane(count: int) -> int:
    """Return a number for the running thread, so that threads can keep out of each other's way.

    Parameters
    ----------
    count : int
        How many numbers there are to choose from; 1 to 2**31.

    Returns
    -------
    int
        From 0 up to `count`, without it. Two threads may get the same one, and one thread another
        one in another function; so what is done with it must still be atomic.

    Notes
    -----
    In a kernel it is found from the address of the stack frame (``llvm.frameaddress`` [1]_), in a
    handful of instructions that the compiler moves out of loops. Threads have stacks of their own,
    all of them of about one size, and for as many threads as there are numbers the multiplication
    puts nearly all apart.

    References
    ----------
    .. [1] https://llvm.org/docs/LangRef.html#llvm-frameaddress-intrinsic

    Examples
    --------
    >>> from mmapio import atomics
    >>> 0 <= atomics.thread_lane(16) < 16
    True
    """
    return _spread(threading.get_ident() >> _STACK_BITS, as_positive(count, "count"))


def _spread(number: int, count: int) -> int:
    return ((number * _GOLDEN & _MASK) >> 32) * count >> 32


def _emit_lane(_typing: Any, count: Any) -> Any:
    """Type and emit what `thread_lane` returns in a kernel."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word, pointer = ir.IntType(64), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(pointer, [ir.IntType(32)])
        frame = builder.module.declare_intrinsic("llvm.frameaddress", [pointer], kind)
        address = builder.ptrtoint(builder.call(frame, [ir.IntType(32)(0)]), word)
        stack = builder.lshr(address, word(_STACK_BITS))
        high = builder.lshr(builder.mul(stack, word(_GOLDEN)), word(32))
        return builder.lshr(builder.mul(high, arguments[0]), word(32))

    return numba.types.int64(numba.types.int64), generate


_lane = intrinsic(_emit_lane)
overload(thread_lane, inline="always", strict=False)(lambda count: lambda count: _lane(count))


@in_kernels
def sharded_add(lines: Any, value: Any, lane: Any = None) -> None:
    """Add to a sharded counter.

    Parameters
    ----------
    lines : numpy.ndarray
        Its cells: the first number of each row. `mmapio.ShardedCounter` has them as `lines`.
    value : int
        What to add.
    lane : int, optional
        Which cell to add to, modulo their number. By default that of `thread_lane`. Where threads
        are numbered, their numbers are better: no two of them share a cell.

    Raises
    ------
    ReadOnlyError
        If the array is read-only.
    MisalignedError
        If the cells are not aligned.

    Notes
    -----
    The addition has no order (``"relaxed"``).

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import atomics
    >>> lines = np.zeros((4, 16), "i8")
    >>> atomics.sharded_add(lines, 5, lane=2)
    >>> atomics.sharded_add(lines, 1)
    >>> atomics.sharded_value(lines), int(lines[2, 0]) >= 5
    (6, True)
    """
    chosen = thread_lane(len(lines)) if lane is None else lane % len(lines)
    fetch_add(lines, (chosen, 0), value, "relaxed")


@in_kernels
def sharded_value(lines: Any) -> Any:
    """Return the value of a sharded counter: the sum of its cells.

    Parameters
    ----------
    lines : numpy.ndarray
        Its cells: the first number of each row.

    Returns
    -------
    int
        All of what was added before the call, and some of what is added during it.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import atomics
    >>> atomics.sharded_value(np.ones((4, 16), "i8"))
    4
    """
    total = 0
    for i in range(len(lines)):
        total += load(lines, (i, 0), "relaxed")
    return total
