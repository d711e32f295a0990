"""Modes of files, and access to the memory of mappings, as enums."""

from __future__ import annotations

import enum
from typing import Final

from .errors import ArgumentError

__all__ = ["Access", "Mode"]


class Access(enum.IntEnum):
    """Access that a mapping gives to its memory.

    Examples
    --------
    >>> from mmapio.modes import Access
    >>> Access.COPY.name
    'COPY'
    """

    READ = 0
    WRITE = 1
    COPY = 2


class Mode(enum.Enum):
    """Mode in which a file is opened: those of `numpy.memmap`, and two of Python's own `open`.

    Examples
    --------
    >>> from mmapio import Mode
    >>> Mode.parse("r+").access
    <Access.WRITE: 1>
    """

    READ = "r"
    UPDATE = "r+"
    REPLACE = "w+"
    CREATE = "x+"
    OPEN_OR_CREATE = "a+"
    COPY = "c"

    def __init__(self, name: str) -> None:
        # Access that a mapping gives, and whether a file may be created: attributes, for a dict
        # keyed by an enum hashes in Python.
        self.access = {"r": Access.READ, "c": Access.COPY}.get(name, Access.WRITE)
        self.creates = name in ("w+", "x+", "a+")

    @property
    def settled(self) -> Mode:
        """The mode in which the same file is opened once it exists."""
        return Mode.UPDATE if self.creates else self

    @staticmethod
    def parse(mode: object) -> Mode:
        """Return the mode that `mode` names.

        Parameters
        ----------
        mode : str or Mode
            ``"r"``, ``"r+"``, ``"w+"``, ``"x+"``, ``"a+"``, ``"c"``, or one of `numpy.memmap`'s
            long names (``"readonly"``, ``"readwrite"``, ``"write"``, ``"copyonwrite"``).

        Returns
        -------
        Mode
            The mode.

        Raises
        ------
        ArgumentError
            If there is no such mode.

        Examples
        --------
        >>> from mmapio import Mode
        >>> Mode.parse("readonly")
        <Mode.READ: 'r'>
        """
        try:
            return _BY_NAME[mode]
        except (KeyError, TypeError):
            names = ", ".join(repr(m.value) for m in Mode)
            raise ArgumentError(f"mode must be one of {names}, got {mode!r}") from None


_BY_NAME: Final[dict[object, Mode]] = {
    **{m.value: m for m in Mode},
    **{m: m for m in Mode},
    "readonly": Mode.READ,
    "readwrite": Mode.UPDATE,
    "write": Mode.REPLACE,
    "copyonwrite": Mode.COPY,
}
