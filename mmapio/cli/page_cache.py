"""Files in the page cache, before and after a command: what several commands share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from .._validation import steps
from ..errors import AccessError, InsufficientMemoryError, UnsupportedError
from ..pagecache.residency import Residency, residency_of

__all__ = ["NOT_TOLD", "CacheChange", "data_pieces", "naming_force", "residency_if_told"]

NOT_TOLD: Final = "the system does not tell you what of it is in memory"
# So that a bar moves, Ctrl-C need not wait, and not all of a file is mapped in at a time.
_PIECE_BYTES: Final = 256 << 20


@dataclass(frozen=True)
class CacheChange:
    """Outcome of a command that changes how much of a file is in memory.

    Attributes
    ----------
    path : str
        The file.
    size : int
        Its length in bytes.
    before, after : Residency or None
        What of it was in memory, and what is; None if this process is not told.
    """

    path: str
    size: int
    before: Residency | None
    after: Residency | None

    @property
    def gained(self) -> int:
        """Bytes that came into memory; 0 if that is not known."""
        return max(0, _resident(self.after) - _resident(self.before))

    @property
    def gone(self) -> int:
        """Bytes that were taken out of memory; 0 if that is not known."""
        return max(0, _resident(self.before) - _resident(self.after))

    @property
    def left(self) -> int:
        """Bytes that are in memory now; 0 if that is not known."""
        return _resident(self.after)

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as a dict that JSON can hold.

        Returns
        -------
        dict
            Figures in bytes, and what else is known.
        """
        return {
            "path": self.path,
            "bytes": self.size,
            "before": self.before.resident if self.before else None,
            "resident": self.after.resident if self.after else None,
        }


def residency_if_told(path: str | os.PathLike[str]) -> Residency | None:
    """Return how much of a file is in memory; None if this process is not told."""
    try:
        return residency_of(path)
    except (AccessError, UnsupportedError):  # who cannot open it hears of that next
        return None


def _resident(report: Residency | None) -> int:
    return 0 if report is None else report.resident


def data_pieces(holes: Iterable[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """Yield offset and length of the data between the holes, piece by piece."""
    at = 0
    for start, length in (*holes, (size, 0)):
        yield from ((low, high - low) for low, high in steps(at, start, _PIECE_BYTES))
        at = start + length


@contextmanager
def naming_force() -> Iterator[None]:
    """Let the error for a file that does not fit into memory name the option of the command."""
    try:
        yield
    except InsufficientMemoryError as error:
        text, _, _ = str(error).rpartition("; ")
        raise InsufficientMemoryError(f"{text}; --force does it all the same") from error
