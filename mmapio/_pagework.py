"""What is done to the pages that a file has in memory, on behalf of other processes."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from . import _os
from ._cachework import evict, told_of
from .errors import ArgumentError, file_error
from .flags import Mode
from .mapping import MappedFile
from .residency import Residency
from .source import as_path, open_file

__all__ = ["ADVICE", "Advised", "Flushed", "advise", "check_advice", "flush"]

Progress = Callable[[int, int], None]

# So that a bar moves, Ctrl-C need not wait, and not all of a file is mapped in at a time.
_PIECE_BYTES: Final = 256 << 20

ADVICE: Final = ("willneed", "dontneed", "cold", "pageout", "populate_read")
_PASSING: Final = {
    "normal": "how far to read ahead is a matter of each open file",
    "random": "how far to read ahead is a matter of each open file",
    "sequential": "how far to read ahead is a matter of each open file",
    "hugepage": "huge pages are a matter of each mapping",
    "nohugepage": "huge pages are a matter of each mapping",
    "collapse": "huge pages are a matter of each mapping",
    "dontfork": "what a child gets is a matter of its parent's mappings",
    "dofork": "what a child gets is a matter of its parent's mappings",
    "merge": "only private memory is merged, and no file has any",
    "unmerge": "only private memory is merged, and no file has any",
    "populate_write": "it would make pages dirty that nobody has changed",
}


@dataclass(frozen=True)
class Advised:
    """What has come of advice on a file.

    Attributes
    ----------
    path : str
        The file.
    advice : str
        The advice.
    before, after : Residency or None
        What of it was in memory, and what is; None if this process is not told.
    """

    path: str
    advice: str
    before: Residency | None
    after: Residency | None

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold.

        Returns
        -------
        dict
            Figures in bytes.
        """
        return {
            "path": self.path,
            "advice": self.advice,
            "before": self.before.resident if self.before else None,
            "resident": self.after.resident if self.after else None,
        }


@dataclass(frozen=True)
class Flushed:
    """What has come of a file that was to be made durable.

    Attributes
    ----------
    path : str
        The file.
    size : int
        Its length in bytes.
    dirty : int or None
        Bytes that were to be written; None where the system does not tell.
    seconds : float
        How long it took.
    """

    path: str
    size: int
    dirty: int | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold.

        Returns
        -------
        dict
            Figures in bytes, and seconds.
        """
        return {
            "path": self.path,
            "bytes": self.size,
            "written": self.dirty,
            "seconds": self.seconds,
        }


def check_advice(advice: str) -> None:
    """Refuse what would be gone with this process, or is no advice at all."""
    if advice in ADVICE:
        return
    names = ", ".join(ADVICE)
    if advice in _PASSING:
        raise ArgumentError(
            f"advice {advice!r} would end with this command: {_PASSING[advice]}; what acts on the "
            f"cache that all processes share is {names}"
        )
    raise ArgumentError(f"advice must be one of {names}, got {advice!r}")


def advise(path: str | os.PathLike[str], advice: str, progress: Progress | None = None) -> Advised:
    """Give advice on what the page cache holds of a file.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    advice : str
        One of `ADVICE`.
    progress : callable, optional
        Called with the bytes done and the bytes to do, at the beginning and after each piece.

    Returns
    -------
    Advised
        What has come of it.

    Raises
    ------
    ArgumentError
        If the advice is another one.
    UnsupportedError
        If the system knows no such advice.
    FileError
        If the file cannot be opened or mapped.

    Examples
    --------
    >>> import mmapio
    >>> from mmapio._pagework import advise
    >>> mmapio.save("advised.npy", [1, 2, 3])
    >>> advise("advised.npy", "populate_read").after.fraction
    1.0
    """
    check_advice(advice)
    if advice == "dontneed":
        evicted = evict(path)
        return Advised(evicted.path, advice, evicted.before, evicted.after)
    before = told_of(path)
    with MappedFile.open(path) as mapping:
        size = mapping.size
        for start in range(0, size, _PIECE_BYTES):
            if progress is not None:
                progress(start, size)
            length = min(_PIECE_BYTES, size - start)
            _advise_piece(mapping, advice, start, length)
            mapping.release(start, length)
        if progress is not None:
            progress(size, size)
    return Advised(os.fspath(path), advice, before, told_of(path))


def _advise_piece(mapping: MappedFile, advice: str, start: int, length: int) -> None:
    if advice == "willneed" and _os.PREFETCH_BYTES:
        # `MappedFile.prefetch` ends with the mapping, which is closed before all is asked for.
        for at in range(start, start + length, _os.PREFETCH_BYTES):
            with contextlib.suppress(OSError):  # it only makes things faster
                _os.prefetch(mapping.fileno(), at, min(_os.PREFETCH_BYTES, start + length - at))
        return
    if advice in ("willneed", "populate_read"):
        mapping.advise(advice, start, length)
        return
    # These act on what this process has mapped: so that is first, but only what is in memory.
    for low, high in _cached(mapping, start, length):
        mapping.view(low, high - low)[:: _os.PAGE_SIZE].max()
        mapping.advise(advice, low, high - low)


def _cached(mapping: MappedFile, start: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield where what is in memory of a range begins and ends."""
    # The mapping begins at the first byte of the file, and so at a page.
    pages = _os.resident(mapping.region.address + start, length)
    edges = np.flatnonzero(np.diff(pages, prepend=0, append=0)) * _os.PAGE_SIZE
    for low, high in list(pairwise(edges.tolist()))[::2]:
        yield start + low, start + min(high, length)


def flush(path: str | os.PathLike[str]) -> Flushed:
    """Make durable what any process has written to a file, or stored through a mapping of it.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    Flushed
        What has come of it.

    Raises
    ------
    FileError
        If the file cannot be opened, or the drive reports an error.

    Examples
    --------
    >>> import mmapio
    >>> from mmapio._pagework import flush
    >>> mmapio.save("flushed.npy", [1, 2, 3])
    >>> flush("flushed.npy").size
    152
    """
    name, before = as_path(path), told_of(path)
    dirty = before.dirty if before is not None else None
    begin = time.perf_counter()
    # Windows flushes what was opened for writing alone.
    fd, facts = open_file(name, Mode.UPDATE if sys.platform == "win32" else Mode.READ)
    try:
        _os.sync_file(fd)
    except OSError as error:
        raise file_error(error, "flush", name) from error
    finally:
        os.close(fd)
    return Flushed(os.fspath(path), facts.size, dirty, time.perf_counter() - begin)
