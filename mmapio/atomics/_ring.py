"""A queue in an array, from one producer to one consumer.

The two ends are counts that only grow, each written by one side alone. A slot belongs to the
producer until its count says that the slot is filled, and to the consumer until its own count says
that it is empty; so the slots themselves need no atomics. Lamport, "Specifying concurrent program
modules" (1983).
"""

from __future__ import annotations

from typing import Any

from mmapio.atomics._access import load, store
from mmapio.atomics._overloads import in_kernels, put

__all__ = ["ring_pop", "ring_push"]


@in_kernels
def ring_push(lines: Any, slots: Any, record: Any) -> Any:
    """Put a record into a ring buffer, if there is room. Only one producer may do so at a time.

    Parameters
    ----------
    lines : numpy.ndarray
        Its ends, as `mmapio.RingBuffer` has them.
    slots : numpy.ndarray
        Its slots, as `mmapio.RingBuffer` has them.
    record : number, record or numpy.ndarray
        What can be assigned to ``slots[i]``; from Python, a value that the dtype holds.

    Returns
    -------
    bool
        Whether there was room.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import atomics
    >>> lines, slots, out = np.zeros((2, 16), "i8"), np.zeros(1), np.zeros(1)
    >>> atomics.ring_push(lines, slots, 1.5), atomics.ring_push(lines, slots, 2.5)
    (True, False)
    >>> atomics.ring_pop(lines, slots, out), atomics.ring_pop(lines, slots, out), out
    (True, False, array([1.5]))
    """
    filled = load(lines, (0, 0), "relaxed")
    if filled - load(lines, (1, 0), "acquire") >= len(slots):
        return False
    put(slots, filled % len(slots), record)
    store(lines, (0, 0), filled + 1, "release")
    return True


@in_kernels
def ring_pop(lines: Any, slots: Any, out: Any) -> Any:
    """Take the oldest record from a ring buffer, if there is one. Only one consumer at a time.

    Parameters
    ----------
    lines : numpy.ndarray
        Its ends, as `mmapio.RingBuffer` has them.
    slots : numpy.ndarray
        Its slots, as `mmapio.RingBuffer` has them.
    out : numpy.ndarray
        Takes the record as its first item.

    Returns
    -------
    bool
        Whether there was a record.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import atomics
    >>> atomics.ring_pop(np.zeros((2, 16), "i8"), np.zeros(4), np.zeros(1))
    False
    """
    emptied = load(lines, (1, 0), "relaxed")
    if emptied == load(lines, (0, 0), "acquire"):
        return False
    out[0] = slots[emptied % len(slots)]
    store(lines, (1, 0), emptied + 1, "release")
    return True
