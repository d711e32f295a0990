"""Records that are replaced while others read them, and never seen half done.

A write goes into the next of several slots, and becomes visible by one store of its number. A
reader takes the slot of the newest number and looks at the number again afterwards: if the writer
cannot have come round to that slot meanwhile, what it copied is whole. A writer that dies half way
has written to a slot that nobody looks at.

This is the reader's side of Boehm, "Can seqlocks get along with programming language memory
models?" (MSPC 2012), with the slots of Lamport, "Concurrent reading and writing" (1977).
"""

from __future__ import annotations

from typing import Any

from mmapio.atomics._access import fence, load, store
from mmapio.atomics._overloads import in_kernels, put

__all__ = ["seqlock_read", "seqlock_write"]


@in_kernels
def seqlock_write(lines: Any, slots: Any, record: Any) -> None:
    """Replace the record of a seqlock. Only one writer may be at work at a time.

    Parameters
    ----------
    lines : numpy.ndarray
        Its number, as `mmapio.SeqLock` has it.
    slots : numpy.ndarray
        Its slots, as `mmapio.SeqLock` has them.
    record : number, record or numpy.ndarray
        The new record: what can be assigned to ``slots[i]``; from Python, a value that the dtype
        holds.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import atomics
    >>> lines, slots = np.zeros((1, 16), "i8"), np.zeros(4)
    >>> atomics.seqlock_write(lines, slots, 2.5)
    >>> out = np.zeros(1)
    >>> atomics.seqlock_read(lines, slots, out), out
    (1, array([2.5]))
    """
    number = load(lines, (0, 0), "relaxed") + 1
    fence("release")
    put(slots, number % len(slots), record)
    store(lines, (0, 0), number, "release")


@in_kernels
def seqlock_read(lines: Any, slots: Any, out: Any) -> Any:
    """Copy the newest record of a seqlock.

    Parameters
    ----------
    lines : numpy.ndarray
        Its number, as `mmapio.SeqLock` has it.
    slots : numpy.ndarray
        Its slots, as `mmapio.SeqLock` has them.
    out : numpy.ndarray
        Takes the record as its first item.

    Returns
    -------
    int
        How many records have been written up to this one; 0 for the zeros of a new seqlock.

    Notes
    -----
    It tries again while it is overtaken by a writer that fills all slots during the copy.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio import atomics
    >>> out = np.ones(1)
    >>> atomics.seqlock_read(np.zeros((1, 16), "i8"), np.zeros(4), out), out
    (0, array([0.]))
    """
    while True:
        number = load(lines, (0, 0), "acquire")
        out[0] = slots[number % len(slots)]
        fence("acquire")
        if load(lines, (0, 0), "relaxed") - number < len(slots) - 1:
            return number
