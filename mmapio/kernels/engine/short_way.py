"""The short way of a scan: for one native row of items, which one call of a kernel reads.

Finding out that an array is such a row, and nothing else, is what a small array waits for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from mmapio.kernels.engine import pieces

__all__ = ["Seen", "lone_piece", "seen_as", "shortly"]

P = ParamSpec("P")
R = TypeVar("R")
Seen = Mapping[np.dtype[Any], np.dtype[Any]]

# Numpy's flags, of which one look is quicker than two.
_C_AND_ALIGNED = 0x101
_F_AND_ALIGNED = 0x102


def seen_as(pairs: Mapping[str, str]) -> Seen:
    """Return which types go the short way, and as which kernels see them.

    Examples
    --------
    >>> from mmapio.kernels.engine.short_way import seen_as
    >>> seen_as({"?": "u1"})
    {dtype('bool'): dtype('uint8')}
    """
    return {np.dtype(item): np.dtype(kind) for item, kind in pairs.items()}


def shortly(
    short: Callable[..., Any],
    seen: Seen,
    given: int = 1,
    *,
    ordered: bool = False,
    along: Callable[..., Any] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a scan go a short way where it is called without options for one stretch of memory.

    Parameters
    ----------
    short : callable
        Called as ``short(piece, a, *others)``. If it returns None, the scan itself is called.
    seen : mapping
        What `seen_as` returns. Arrays of other types, and of another byte order, go no short way.
    given : int
        How many arguments a call without options has.
    ordered : bool
        The order of the items matters: an array in F order goes no short way.
    along : callable, optional
        Called with all arguments of any other call. If it returns None, the scan itself is called.

    Returns
    -------
    callable
        A decorator that keeps the type of what it decorates.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.kernels.engine.short_way import seen_as, shortly
    >>> @shortly(lambda piece, a: int(piece[0]), seen_as({"u1": "u1"}))
    ... def first(a, threads=None):
    ...     return "found with an effort"
    >>> first(np.array([5, 6], "u1")), first(np.array([5, 6], "u2"))
    (5, 'found with an effort')
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def scan(*args: P.args, **kwargs: P.kwargs) -> R:
            if len(args) == given and not kwargs:
                piece = lone_piece(args[0], seen, ordered)
                if piece is not None:
                    found = short(piece, *args)
                    if found is not None:
                        return cast("R", found)
            elif along is not None and args:
                found = along(*args, **kwargs)
                if found is not None:
                    return cast("R", found)
            return function(*args, **kwargs)

        return scan

    return decorate


def lone_piece(a: Any, seen: Seen, ordered: bool = False) -> NDArray[Any] | None:
    """Return an array as the read-only row that `Pieces` would take it as; None if it is another.

    One without items is none either, nor is one that is cut into several pieces.
    """
    if type(a) is not np.ndarray:
        if not isinstance(a, np.ndarray):
            return None
        a = pieces.plain(a)  # that of a mapping; one with a mask is refused
    kind = seen.get(a.dtype)
    if kind is None or not 0 < a.nbytes <= pieces._DIRECT_BYTES:
        return None
    flags = a.flags.num
    if flags & _C_AND_ALIGNED != _C_AND_ALIGNED:
        if pieces.is_read_apart(a):
            return _apart(a, kind, ordered)
        if ordered or flags & _F_AND_ALIGNED != _F_AND_ALIGNED:
            return None
        a = a.T
    row = a if a.ndim == 1 else a.reshape(-1)
    piece: NDArray[Any] = row.view() if a.dtype is kind else row.view(kind)
    piece.setflags(write=False)
    return piece


def _apart(a: NDArray[Any], kind: np.dtype[Any], ordered: bool) -> NDArray[Any] | None:
    """Return a row of items that lie apart; None if it is cut into several pieces."""
    if a.size > pieces.most_items(a):
        return None
    row = a if ordered or a.strides[0] > 0 else a[::-1]
    piece: NDArray[Any] = row.view() if a.dtype is kind else row.view(kind)
    piece.setflags(write=False)
    return piece
