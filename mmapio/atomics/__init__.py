"""Atomic operations on array elements: from threads and processes, in kernels and from Python.

Inside any ``@njit`` function these compile to a processor instruction, whatever the array lives
in: a file, shared memory or the heap. From Python they are plain calls; `AtomicCell` and
`AtomicArray` make those about as cheap as an empty function.

**Cells.** Elements of aligned arrays, and fields of records, of dtype bool, signed or unsigned
integer of 8 to 64 bits, float32 or float64. `fetch_add`, `fetch_sub`, `fetch_min` and `fetch_max`
take numbers; `fetch_and`, `fetch_or` and `fetch_xor` take integers and bool. Integers wrap around.
Floats are compared bit by bit in `compare_exchange`, so 0.0 is not -0.0 and a NaN equals itself.
`fetch_min` and `fetch_max` treat a NaN as missing, as `numpy.fmin` does; sums hand it on.

**Orders.** ``"relaxed"``, ``"acquire"``, ``"release"``, ``"acq_rel"`` and ``"seq_cst"`` mean what
they mean in C++ [1]_. In a kernel the order is a literal, checked as the kernel compiles. Calls
from Python check it too, and are always sequentially consistent.

**Kernels** follow numba: indices wrap when negative and are not checked against the bounds, and a
value is converted as ``a[i] = value`` converts it, but for a float into an integer, which is
refused. A cell that is not aligned raises `MisalignedError` even there. The array is known to be
read-only as the kernel compiles; a record ``a[i]`` is not, so write to ``a["field"], i`` where the
array may be. **Python** calls check everything, convert values exactly and return Python numbers.

**Parts** made of these are here for kernels, and for Python as classes of `mmapio`: `sharded_add`
(`mmapio.ShardedCounter`), `seqlock_read` and `seqlock_write` (`mmapio.SeqLock`), `ring_push` and
`ring_pop` (`mmapio.RingBuffer`).

References
----------
.. [1] https://en.cppreference.com/w/cpp/atomic/memory_order

Examples
--------
>>> import numba
>>> import numpy as np
>>> from mmapio import atomics
>>> @numba.njit(nogil=True)
... def histogram(values, bins):
...     for value in values:
...         atomics.fetch_add(bins, value, 1, order="relaxed")
>>> bins = np.zeros(3, "u4")
>>> histogram(np.array([0, 2, 2]), bins)
>>> bins
array([1, 0, 2], dtype=uint32)
"""

from __future__ import annotations

from mmapio.atomics._access import compare_exchange, exchange, fence, load, store
from mmapio.atomics._cells import AtomicArray, AtomicCell
from mmapio.atomics._fetch import (
    fetch_add,
    fetch_and,
    fetch_max,
    fetch_min,
    fetch_or,
    fetch_sub,
    fetch_xor,
)
from mmapio.atomics._ring import ring_pop, ring_push
from mmapio.atomics._seqlock import seqlock_read, seqlock_write
from mmapio.atomics._sharded import sharded_add, sharded_value, thread_lane

__all__ = [
    "AtomicArray",
    "AtomicCell",
    "compare_exchange",
    "exchange",
    "fence",
    "fetch_add",
    "fetch_and",
    "fetch_max",
    "fetch_min",
    "fetch_or",
    "fetch_sub",
    "fetch_xor",
    "load",
    "ring_pop",
    "ring_push",
    "seqlock_read",
    "seqlock_write",
    "sharded_add",
    "sharded_value",
    "store",
    "thread_lane",
]


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
