"""Ring buffers in coroutines, which wait for records, or for room for them.

A record is copied in the thread of the event loop, which takes less time than to wake another one.
Waiting is polling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .waiting import check_kind, until

if TYPE_CHECKING:  # numpy.typing is slow to import, and ring buffers numba
    import numpy.typing as npt

    from ..sharing.ring_buffer import RingBuffer

__all__ = ["pop", "pop_many", "push", "push_many"]


async def push(ring: RingBuffer, record: Any, timeout: float | None = 0) -> bool:
    """Put a record into a ring buffer.

    Parameters
    ----------
    ring : RingBuffer
        Where to.
    record : number, tuple, record or array_like
        As for `RingBuffer.push`.
    timeout : float or None, default 0
        How long to wait for room, in seconds; None: as long as it takes.

    Returns
    -------
    bool
        Whether there was room.

    Raises
    ------
    MmapioError
        As `RingBuffer.push` does.

    Notes
    -----
    Tasks of one event loop are one producer, and one consumer: any number of them may use a ring
    buffer at the same time. A cancelled task has sent nothing. Waiting for room polls, with pauses
    that grow to 5 ms.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> ring = mmapio.RingBuffer.anonymous("i8", 1)
    >>> async def main():
    ...     await mmapio.aio.push(ring, 1)
    ...     waiting = asyncio.create_task(mmapio.aio.push(ring, 2, timeout=None))
    ...     return await mmapio.aio.pop(ring), await waiting, await mmapio.aio.pop(ring)
    >>> asyncio.run(main())
    (np.int64(1), True, np.int64(2))
    """
    _check(ring)
    return await until(lambda: ring.push(record), timeout, ring.check)


async def pop(ring: RingBuffer, timeout: float | None = 0) -> Any:
    """Take the oldest record out of a ring buffer.

    Parameters
    ----------
    ring : RingBuffer
        Where from.
    timeout : float or None, default 0
        How long to wait for one, in seconds; None: as long as it takes.

    Returns
    -------
    numpy scalar, record or numpy.ndarray
        A copy of it; None if there is none.

    Raises
    ------
    MmapioError
        As `RingBuffer.pop` does.

    Notes
    -----
    As for `push`: a cancelled task has taken nothing.

    Examples
    --------
    >>> import asyncio, mmapio, threading
    >>> ring = mmapio.RingBuffer.anonymous("i8", 10)
    >>> threading.Timer(0.01, ring.push, [7]).start()
    >>> asyncio.run(mmapio.aio.pop(ring, timeout=None))
    np.int64(7)
    """
    _check(ring)
    record: Any = None

    def take() -> bool:
        nonlocal record
        record = ring.pop()
        return record is not None

    await until(take, timeout, ring.check)
    return record


async def push_many(ring: RingBuffer, records: npt.ArrayLike, timeout: float | None = 0) -> int:
    """Put records into a ring buffer, in order, as many as there is room for.

    Parameters
    ----------
    ring : RingBuffer
        Where to.
    records : array_like
        As for `RingBuffer.push_many`.
    timeout : float or None, default 0
        How long to wait for room for all of them, in seconds; None: as long as it takes.

    Returns
    -------
    int
        How many there was room for: the first ones.

    Raises
    ------
    MmapioError
        As `RingBuffer.push_many` does.

    Notes
    -----
    It waits until there is room for all of them, and sends them at once, so a cancelled task has
    sent nothing. More records than the ring buffer holds go in pieces, and a cancelled task may
    have sent some of them.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> ring = mmapio.RingBuffer.anonymous("u1", 4)
    >>> async def main():
    ...     sending = asyncio.create_task(mmapio.aio.push_many(ring, range(6), timeout=None))
    ...     received = []
    ...     while len(received) < 6:
    ...         received += (await mmapio.aio.pop_many(ring, timeout=None)).tolist()
    ...     return await sending, received
    >>> asyncio.run(main())
    (6, [0, 1, 2, 3, 4, 5])
    """
    _check(ring)
    data = ring._as_records(records)
    sent = 0

    def send() -> bool:
        nonlocal sent
        piece = data[sent : sent + ring.capacity]
        if ring.capacity - len(ring) >= len(piece):
            sent += ring.push_many(piece)
        return sent == len(data)

    if not await until(send, timeout, ring.check):
        sent += ring.push_many(data[sent:])
    return sent


async def pop_many(
    ring: RingBuffer, limit: int | None = None, timeout: float | None = 0
) -> npt.NDArray[Any]:
    """Take records out of a ring buffer, the oldest first, as many as there are.

    Parameters
    ----------
    ring : RingBuffer
        Where from.
    limit : int, optional
        How many at most; so many are copied before other tasks go on.
    timeout : float or None, default 0
        How long to wait for the first one, in seconds; None: as long as it takes.

    Returns
    -------
    numpy.ndarray
        Copies of them, perhaps of none.

    Raises
    ------
    MmapioError
        As `RingBuffer.pop_many` does.

    Examples
    --------
    >>> import asyncio, mmapio
    >>> ring = mmapio.RingBuffer.anonymous("u1", 4)
    >>> _ = ring.push_many([1, 2, 3])
    >>> asyncio.run(mmapio.aio.pop_many(ring, 2))
    array([1, 2], dtype=uint8)
    """
    _check(ring)
    records = ring.pop_many(limit)

    def take() -> bool:
        nonlocal records
        records = ring.pop_many(limit)
        return len(records) > 0

    if not len(records) and limit != 0:
        await until(take, timeout, ring.check)
    return records


def _check(ring: object) -> None:
    from ..sharing.ring_buffer import RingBuffer  # slow to import, unless there is one

    check_kind(ring, RingBuffer)
