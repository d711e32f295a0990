"""Flush policies: when writes are made durable.

Nothing here knows a mapping: what is to be flushed is a range of bytes, or a callable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

from .._validation import as_integer, as_nbytes, as_positive
from ..errors import ArgumentError, ArgumentTypeError, FlushError

__all__ = ["FlushPolicy"]

_WITHOUT_AMOUNT: Final = ("manual", "always")
_WITH_AMOUNT: Final = ("every_bytes", "every_writes", "every_millis")


class FlushPolicy:
    """Rule by which a mapping flushes what was written to it, besides calls of `flush`.

    Made by the class methods below, for the `flush_policy` of `MappedFile.open` and `open`. What
    counts as written is what goes through `write`, and what `mark_dirty` tells of stores through
    arrays, for nobody else sees these.

    A policy that flushes does so once more when the mapping is closed, or goes. A flush that fails
    is the last one: each later one raises the same `FlushError`, until the file is opened anew.

    Parameters
    ----------
    kind : str
        Name of the class method that made it.
    amount : int
        Its argument; 0 where it has none.
    on_error : callable, optional
        As in `every_millis`.

    Raises
    ------
    ArgumentError
        If no method is called `kind`, or its argument cannot be `amount`.
    ArgumentTypeError
        If `kind` is not a str, `amount` not an integer, or `on_error` cannot be called.

    Examples
    --------
    >>> import mmapio
    >>> policy = mmapio.FlushPolicy.every_bytes("1 MiB")
    >>> policy
    FlushPolicy.every_bytes(1048576)
    >>> with mmapio.MappedFile.open("log.bin", "x+", size=64, flush_policy=policy) as m:
    ...     _ = m.write(0, b"kept")
    ...     m.pending_bytes
    4
    """

    # By hand what `dataclass(frozen=True)` would make: to import and to run that takes a
    # millisecond, which all programs would wait for.
    __slots__ = __match_args__ = ("kind", "amount", "on_error")

    kind: str
    amount: int
    on_error: Callable[[FlushError], object] | None

    def __init__(
        self,
        kind: str,
        amount: int = 0,
        on_error: Callable[[FlushError], object] | None = None,
    ) -> None:
        if not isinstance(kind, str):
            raise ArgumentTypeError(f"kind must be a str, got {type(kind).__name__!r}")
        if kind in _WITH_AMOUNT:
            as_positive(amount, "amount")
        elif kind not in _WITHOUT_AMOUNT:
            kinds = ", ".join(map(repr, _WITHOUT_AMOUNT + _WITH_AMOUNT))
            raise ArgumentError(f"kind must be one of {kinds}, got {kind!r}")
        elif as_integer(amount, "amount") != 0:
            raise ArgumentError(f"amount must be 0 for {kind!r}, got {amount}")
        if on_error is not None and not callable(on_error):
            found = type(on_error).__name__
            raise ArgumentTypeError(f"on_error must be callable, got {found!r}")
        for name, value in zip(self.__slots__, (kind, amount, on_error), strict=True):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a FlushPolicy never changes: {name!r} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a FlushPolicy never changes: {name!r} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return (self.kind, self.amount) == (other.kind, other.amount)

    def __hash__(self) -> int:
        return hash((self.kind, self.amount))

    def __reduce__(self) -> tuple[Callable[..., FlushPolicy], tuple[object, ...]]:
        return type(self), (self.kind, self.amount, self.on_error)

    @classmethod
    def manual(cls) -> FlushPolicy:
        """Return the policy of flushing only on request, which is the default.

        Returns
        -------
        FlushPolicy
            The policy.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.FlushPolicy.manual()
        FlushPolicy.manual()
        """
        return cls("manual")

    @classmethod
    def always(cls) -> FlushPolicy:
        """Return the policy of flushing all dirty pages at each write.

        Returns
        -------
        FlushPolicy
            The policy.

        Examples
        --------
        >>> import mmapio
        >>> policy = mmapio.FlushPolicy.always()
        >>> with mmapio.MappedFile.open("safe.bin", "x+", size=64, flush_policy=policy) as m:
        ...     _ = m.write(0, b"durable when this returns")
        ...     m.pending_bytes
        0
        """
        return cls("always")

    @classmethod
    def every_bytes(cls, nbytes: int | str) -> FlushPolicy:
        """Return the policy of flushing after a number of bytes was written.

        Parameters
        ----------
        nbytes : int or str
            Bytes, as in ``65536`` or ``"64 KiB"``; those written twice count twice.

        Returns
        -------
        FlushPolicy
            The policy.

        Raises
        ------
        ArgumentError
            If `nbytes` is not 1 or more.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.FlushPolicy.every_bytes("64 KiB")
        FlushPolicy.every_bytes(65536)
        """
        return cls("every_bytes", as_positive(as_nbytes(nbytes, "nbytes"), "nbytes"))

    @classmethod
    def every_writes(cls, count: int) -> FlushPolicy:
        """Return the policy of flushing at every n-th write.

        Parameters
        ----------
        count : int
            How many calls of `write` and `mark_dirty` one flush is for.

        Returns
        -------
        FlushPolicy
            The policy.

        Raises
        ------
        ArgumentError
            If `count` is not 1 or more.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.FlushPolicy.every_writes(100)
        FlushPolicy.every_writes(100)
        """
        return cls("every_writes", as_positive(count, "count"))

    @classmethod
    def every_millis(
        cls, millis: int, on_error: Callable[[FlushError], object] | None = None
    ) -> FlushPolicy:
        """Return the policy of flushing in the background, stores through arrays included.

        Parameters
        ----------
        millis : int
            Milliseconds from the end of a flush to the next.
        on_error : callable, optional
            Called with the `FlushError`, in the thread that flushes. Whether or not there is one,
            the next `write` or `flush` of the mapping raises the error.

        Returns
        -------
        FlushPolicy
            The policy. One thread serves all mappings that have it, and ends with the last one.

        Raises
        ------
        ArgumentError
            If `millis` is not 1 or more.
        ArgumentTypeError
            If `on_error` cannot be called.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.FlushPolicy.every_millis(10)
        FlushPolicy.every_millis(10)
        """
        return cls("every_millis", as_positive(millis, "millis"), on_error)

    def __repr__(self) -> str:
        return f"FlushPolicy.{self.kind}({self.amount or ''})"
