"""The short way of a scan: for one native row of items, which one call of a kernel reads.

Finding out that an array is such a row, and nothing else, is what a small array waits for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from mmapio.errors import clear_frames
from mmapio.guard.lost_memory import raise_if_any_lost
from mmapio.kernels.engine import pieces
from mmapio.kernels.engine.jit import piece_types

__all__ = ["Seen", "lone_piece", "seen_as", "shortly"]

P = ParamSpec("P")
R = TypeVar("R")
Seen = Mapping[np.dtype[Any], np.dtype[Any]]
Short = Callable[..., Any]
Plan = Callable[[np.dtype[Any], Any], Short]

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
    plan: Plan,
    seen: Seen,
    given: int = 1,
    *,
    ordered: bool = False,
    along: Callable[..., Any] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a scan go a short way where it is called without options for one stretch of memory.

    Parameters
    ----------
    plan : callable
        Called as ``plan(dtype, row)`` for each type of items when it is first met, with the numba
        type of the row that kernels see. What it returns is called as ``short(piece, *others)``,
        with a row of items of either type. If that returns None, the scan itself is called.
    seen : mapping
        What `seen_as` returns. Arrays of other types, and of another byte order, go no short way.
    given : int
        How many arguments a call without options has: 1 or 2.
    ordered : bool
        The order of the items matters: an array in F order goes no short way.
    along : callable, optional
        Called with all arguments of any other call. If it returns None, the scan itself is called.

    Returns
    -------
    callable
        A decorator that keeps the type of what it decorates, which has to notice lost memory by
        itself. The short way does so here.

    Examples
    --------
    >>> import numpy as np
    >>> from mmapio.kernels.engine.short_way import seen_as, shortly
    >>> @shortly(lambda dtype, row: lambda piece: int(piece[0]), seen_as({"u1": "u1"}))
    ... def first(a, threads=None):
    ...     return "found with an effort"
    >>> first(np.array([5, 6], "u1")), first(np.array([5, 6], "u2"))
    (5, 'found with an effort')
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        known: tuple[dict[np.dtype[Any], Short], ...] = ({}, {})  # of items that lie near, or apart
        near, _ = known

        def made(dtype: np.dtype[Any], is_apart: bool = False) -> Short | None:
            kind = seen.get(dtype)
            if kind is None:
                return None
            short = known[is_apart].get(dtype)
            return short or known[is_apart].setdefault(
                dtype, plan(dtype, _row_type(kind, is_apart))
            )

        @functools.wraps(function)
        def scan(*args: P.args, **kwargs: P.kwargs) -> R:
            found: Any = None
            piece: Any = None
            try:
                if kwargs or len(args) != given:
                    if along is not None and args:
                        found = along(*args, **kwargs)
                else:
                    piece = args[0]
                    if type(piece) is not np.ndarray:
                        piece = _array_of(piece)
                    if piece is not None:
                        short = near.get(piece.dtype) or made(piece.dtype)
                        # A row needs no call to become one.
                        if short is None:
                            piece = None
                        elif piece.ndim != 1 or piece.flags.num & _C_AND_ALIGNED != _C_AND_ALIGNED:
                            piece = lone_piece(piece, ordered)
                            if piece is not None and not piece.flags.c_contiguous:
                                short = made(piece.dtype, True)
                        if (
                            piece is not None
                            and short is not None
                            and 0 < piece.nbytes <= pieces._DIRECT_BYTES
                        ):
                            found = short(piece) if given == 1 else short(piece, args[1])
                if found is None:
                    return function(*args, **kwargs)
                raise_if_any_lost(args, kwargs)
                return cast("R", found)
            except BaseException as error:  # which keeps none of the arrays
                clear_frames(error)
                del args, kwargs, piece
                raise

        return scan

    return decorate


def _array_of(a: Any) -> NDArray[Any] | None:
    """Return that of a mapping; None if it is none. One with a mask is refused."""
    return pieces.plain(a) if isinstance(a, np.ndarray) else None


def _row_type(kind: np.dtype[Any], is_apart: bool) -> Any:
    """Return the numba type of a row of items."""
    return piece_types(kind.str)[is_apart]


def lone_piece(a: NDArray[Any], ordered: bool = False) -> NDArray[Any] | None:
    """Return an array of native items as the row that `Pieces` would take it as, with its own type.

    None if it has no items, or is cut into several pieces.
    """
    if not 0 < a.nbytes <= pieces._DIRECT_BYTES:
        return None
    flags = a.flags.num
    if flags & _C_AND_ALIGNED != _C_AND_ALIGNED:
        if pieces.is_read_apart(a):
            if a.size > pieces.most_items(a):
                return None
            return a if ordered or a.strides[0] > 0 else a[::-1]
        if ordered or flags & _F_AND_ALIGNED != _F_AND_ALIGNED:
            return None
        a = a.T
    return a if a.ndim == 1 else a.reshape(-1)
