"""Memory that its file no longer has: found by address, explained, and raised as an error.

Kernels, and whatever else is given plain arrays, know no mapping. The guard's table does: so a loss
is found by where an array lies, whichever objects stand between it and the mapping.
"""

from __future__ import annotations

import contextlib
import errno
import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.lib.array_utils import byte_bounds

from .. import _os
from .._validation import as_bytes, is_like_list
from ..errors import MappingLostError, MmapioError, ReplacedError, clear_frames
from . import GuardedFile, GuardedMemory, Loss, any_loss, loss_of, lost_between

__all__ = [
    "any_loss",
    "lost_error",
    "noticing",
    "raise_if_any_lost",
    "raise_if_array_lost",
    "raise_if_copy_failed",
    "raise_if_lost",
    "raise_if_part_lost",
    "raise_if_source_lost",
]

P = ParamSpec("P")
R = TypeVar("R")

_CODES: Final = {
    "truncated": errno.ENODATA,
    "no space": errno.ENOSPC,
    "I/O error": errno.EIO,
    "memory error": errno.EIO,
    "unknown": errno.EIO,
}
_WHY: Final = {
    "truncated": "another program has cut the file off",
    "no space": "there was no space on the disk for what was stored there; free some",
    "I/O error": "the drive reports an I/O error",
    "memory error": "the memory has failed",
    "unknown": "the path leads to the file no more, so that the reason cannot be found out",
}
_WITHOUT_MEMORY: Final = (int, float, complex, str, bytes, np.number, np.bool_)
_MEMORY_CODES: Final = (4, 5)  # BUS_MCEERR_AR and BUS_MCEERR_AO


def raise_if_lost(address: int, length: int) -> None:
    """Raise MappingLostError if the guard has met a loss in a range of memory."""
    if length and any_loss():
        for memory in lost_between(address, address + length):
            start = address - memory.address
            raise_if_part_lost(memory, start, start + length)


def raise_if_array_lost(thing: object) -> None:
    """Raise MappingLostError if it is an array, and memory that it spans was lost."""
    if any_loss() and isinstance(thing, np.ndarray) and thing.size:
        low, high = byte_bounds(thing)
        raise_if_lost(low, high - low)


def raise_if_source_lost(source: Any, depth: int = 64) -> None:
    """Raise MappingLostError if values that were read lie in memory that was lost.

    Those of arrays, records, buffers, lists of them, and whatever numpy makes such an array of.
    """
    if not any_loss() or isinstance(source, _WITHOUT_MEMORY):
        return
    if isinstance(source, np.ndarray):
        raise_if_array_lost(source)
    elif isinstance(source, np.void):
        address: int = source.__array_interface__["data"][0]
        raise_if_lost(address, source.nbytes)
    elif isinstance(source, list | tuple) or is_like_list(source):
        for each in source if depth else ():
            raise_if_source_lost(each, depth - 1)
    else:
        with contextlib.suppress(TypeError, ValueError, BufferError):
            is_array = hasattr(source, "__array__") or hasattr(source, "__array_interface__")
            raise_if_array_lost(np.asarray(source if is_array else memoryview(source)))


def raise_if_any_lost(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise MappingLostError if one of a call's arguments holds memory that was lost."""
    if any_loss():
        for each in (*args, *kwargs.values()):
            raise_if_source_lost(each)


def raise_if_copy_failed(error: BaseException, source: Any) -> None:
    """Raise MappingLostError if a system call has failed because memory of an array was lost.

    It says EFAULT where a read meets the guard: so all of the array is read.
    """
    if isinstance(error, OSError) and error.errno == errno.EFAULT:
        as_bytes(source).max(initial=0)
        raise_if_array_lost(source)


def raise_if_part_lost(memory: GuardedMemory, start: int, stop: int) -> None:
    """Raise MappingLostError if the guard has met a loss in a range of one mapping's memory."""
    loss = loss_of(memory.row) if any_loss() else None
    if loss is None:
        return
    start += memory.address
    stop = min(stop, memory.size) + memory.address
    if loss.low < stop and start < loss.high:
        source = memory.source
        # What precedes the mapping in its first page does not count: nobody has asked for it.
        at = source.offset - memory.address
        low = at + max(loss.low, memory.address)
        high = at + min(loss.high, memory.address + memory.size)
        cause = _cause(source, low, high, loss)
        facts = source.facts_now() if cause == "truncated" else None
        if facts is not None:
            # The page that holds the end is zeroed without a signal.
            low = max(min(low, facts.size), source.offset)
        raise lost_error(source, low, high, cause)


class _Named(Protocol):
    @property
    def path(self) -> str | None: ...


def lost_error(
    source: _Named, start: int, stop: int, cause: str, more: str = ""
) -> MappingLostError:
    """Return the error for bytes of a file that were lost."""
    text = f"bytes {start} to {stop} of the file were lost under the mapping, and read zeros: "
    text += _WHY[cause] + (f", {more}" if more else "")
    arguments = (_CODES[cause], text) if source.path is None else (_CODES[cause], text, source.path)
    return MappingLostError(*arguments)._of(start, stop, cause)


def _cause(source: GuardedFile, low: int, high: int, loss: Loss) -> str:
    """Find out why a page was lost: the signal says the same for all but the memory."""
    if loss.code in _MEMORY_CODES:
        return "memory error"
    if loss.past_end:
        return "truncated"
    if source.facts is not None and source.facts.is_device:
        return "I/O error"
    try:
        with source.opened() as fd:
            size = _os.identify(fd).size
    except ReplacedError:
        return "unknown"
    except (OSError, MmapioError):
        return "I/O error"
    if size <= low:
        return "truncated"
    with contextlib.suppress(OSError, MmapioError):
        # Not only at `low`: blocks for the first part of what was stored may have been found.
        if source.has_hole(low, min(high, size)):
            return "no space"
    return "I/O error"


def noticing(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function raise at its end if an array or a buffer it was given has lost memory.

    If it raises for another reason, the error keeps none of the arrays.
    """

    @functools.wraps(function)
    def noticed(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = function(*args, **kwargs)
            raise_if_any_lost(args, kwargs)
        except BaseException as error:
            clear_frames(error)
            del args, kwargs
            raise
        return result

    return noticed
