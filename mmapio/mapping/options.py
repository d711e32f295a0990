"""Options of a mapping: all that a user may choose when it is made, checked in one place."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, Self

from .._os import Advice
from .._pacing import SMALL_BYTES
from .._validation import as_count, as_flag, as_nbytes
from ..durability.policy import FlushPolicy
from ..errors import ArgumentError, ArgumentTypeError, ReadOnlyError
from ..files.descriptors import TO_READ, TO_WRITE
from ..modes import Access, Mode

__all__ = ["MapOptions", "Touch", "as_advice", "options_of"]

Touch = Literal["never", "eager"]

_BY_NAME: Final[dict[object, Advice]] = {
    advice.name.lower(): advice for advice in Advice if advice is not Advice.REMOVE
}


_ALWAYS_NEW: Final = (Mode.REPLACE, Mode.CREATE)
# By access.
_WHOLE: Final = tuple(
    (TO_WRITE if access is Access.WRITE else TO_READ, int(access), int(access is Access.WRITE))
    for access in Access
)


def as_advice(advice: object) -> Advice:
    """Return the advice that a name means."""
    try:
        return _BY_NAME[advice]
    except (KeyError, TypeError):
        names = ", ".join(map(repr, _BY_NAME))
        raise ArgumentError(f"advice must be one of {names}, got {advice!r}") from None


class _Fields(NamedTuple):
    mode: Mode
    size: int | None
    offset: int
    length: int | None
    capacity: int
    reserve: bool
    flush_policy: FlushPolicy | None
    guard: bool
    touch: bool
    advise: Advice | None
    hugepages: bool
    lock: bool
    prepares: bool  # something is to be done with the memory when it is mapped
    # Flags to open a file, number of the access, and whether a file that is open is asked for more,
    # if all of one that is there is mapped, and no more; else None.
    whole: tuple[int, int, int] | None
    is_plain_new: bool  # all of a small file that is made is mapped, and no more


class MapOptions(_Fields):
    """Options of a mapping, checked before any file is touched, and never changed.

    The parameters are those of `MappedFile.open`; the attributes are what they mean: a `Mode`,
    numbers of bytes, an `Advice`.
    """

    __slots__ = ()

    def __new__(
        cls,
        mode: object = "r",
        *,
        size: object = None,
        offset: object = 0,
        length: object = None,
        capacity: object = None,
        reserve: object = True,
        flush_policy: object = None,
        guard: object = True,
        touch: object = "never",
        advise: object = None,
        hugepages: object = False,
        lock: object = False,
    ) -> Self:
        """Check all options, and each against the mode."""
        kind = Mode.parse(mode)
        advice = None if advise is None else as_advice(advise)
        if not (isinstance(touch, str) and touch in ("never", "eager")):
            raise ArgumentError(f"touch must be 'never' or 'eager', got {touch!r}")
        if advice is Advice.POPULATE_WRITE and kind.access is Access.READ:
            raise ReadOnlyError(
                f"advice 'populate_write' is for modes that write, not {kind.value!r}"
            )
        policy = None if flush_policy is None else _as_policy(flush_policy, kind)
        # The defaults without a call: this is on the way of every mapping that is opened.
        huge = hugepages if hugepages is False else as_flag(hugepages, "hugepages")
        locks = lock if lock is False else as_flag(lock, "lock")
        start = as_count(offset, "offset")
        room = 0 if capacity is None else as_nbytes(capacity, "capacity")
        nbytes = _as_size(size, kind) if kind.creates or size is not None else None
        prepares = touch == "eager" or advice is not None or huge or locks
        is_whole = not (start or room) and length is None
        is_new = nbytes is not None and kind in _ALWAYS_NEW and 0 < nbytes <= SMALL_BYTES
        fields = (
            kind,
            nbytes,
            start,
            None if length is None else as_count(length, "length"),
            room,
            reserve if reserve is True else as_flag(reserve, "reserve"),
            policy,
            guard if guard is True else as_flag(guard, "guard"),
            touch == "eager",
            advice,
            huge,
            locks,
            prepares,
            _WHOLE[kind.access] if is_whole and not kind.creates else None,
            is_whole and reserve is True and policy is None and not prepares and is_new,
        )
        return tuple.__new__(cls, fields)


def options_of(
    mode: Mode,
    size: int | None,
    capacity: object,
    reserve: object,
    flush_policy: object,
    guard: object,
    touch: object,
    advise: object,
    hugepages: object,
    lock: object,
) -> MapOptions:
    """Return the options of a whole file; those that all have who choose none are made once."""
    if (
        capacity is advise is flush_policy is size is None
        and reserve is guard is True
        and hugepages is lock is False
        and touch == "never"
        and mode in _PLAIN
    ):
        return _PLAIN[mode]
    return MapOptions(
        mode,
        size=size,
        capacity=capacity,
        reserve=reserve,
        flush_policy=flush_policy,
        guard=guard,
        touch=touch,
        advise=advise,
        hugepages=hugepages,
        lock=lock,
    )


def _as_size(size: object, mode: Mode) -> int | None:
    """Return the size of a file that may be created, which the mode needs, or has no use for."""
    if size is None:
        if mode in (Mode.REPLACE, Mode.CREATE):
            raise ArgumentError(f"mode {mode.value!r} creates a file and needs its size in bytes")
        return None
    if not mode.creates:
        raise ArgumentError(f"size is for modes that create a file, not {mode.value!r}")
    return as_count(size, "size")


def _as_policy(policy: object, mode: Mode) -> FlushPolicy:
    if not isinstance(policy, FlushPolicy):
        hint = "made by a class method, such as FlushPolicy.always()"
        raise ArgumentTypeError(f"flush_policy must be a FlushPolicy, {hint}; got {policy!r}")
    if policy.kind != "manual" and mode.access is not Access.WRITE:
        raise ArgumentError(f"{policy} is for modes that write, not {mode.value!r}")
    return policy


_PLAIN: Final = {mode: MapOptions(mode) for mode in Mode if mode.settled is mode}
