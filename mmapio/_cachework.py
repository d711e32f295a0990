"""Files brought into the page cache, and taken out of it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from . import _os
from .errors import AccessError, UnsupportedError, file_error
from .flags import Mode
from .inspection import holes_of
from .mapping import MappedFile
from .residency import Residency, residency_of
from .source import as_path, open_file

__all__ = ["Evicted", "Warmed", "evict", "told_of", "warm"]

Progress = Callable[[int, int], None]

# So that a bar moves, and Ctrl-C need not wait.
_PIECE_BYTES: Final = 256 << 20
_ONE_BYTE: Final = np.frombuffer(b"\0", np.uint8)
_IN_MEMORY_ONLY: Final = ("hugetlbfs", "ramfs", "tmpfs")
_MOST_NAMED: Final = 3


@dataclass(frozen=True)
class Warmed:
    """What has come of a file that was to be brought into memory.

    Attributes
    ----------
    path : str
        The file.
    size : int
        Its length in bytes.
    before, after : Residency or None
        What of it was in memory, and what is; None if this process is not told.
    seconds : float
        How long it took.
    """

    path: str
    size: int
    before: Residency | None
    after: Residency | None
    seconds: float

    @property
    def gained(self) -> int:
        """Bytes that came into memory; 0 if that is not known."""
        return max(0, _resident(self.after) - _resident(self.before))

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
            "before": self.before.resident if self.before else None,
            "resident": self.after.resident if self.after else None,
            "fraction": self.after.fraction if self.after else None,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Evicted:
    """What has come of a file that was to be taken out of memory.

    Attributes
    ----------
    path : str
        The file.
    size : int
        Its length in bytes.
    before, after : Residency or None
        What of it was in memory, and what still is; None if this process is not told.
    reasons : tuple of str
        Why that stayed; empty if nothing did.
    """

    path: str
    size: int
    before: Residency | None
    after: Residency | None
    reasons: tuple[str, ...]

    @property
    def gone(self) -> int:
        """Bytes that were taken out of memory; 0 if that is not known."""
        return max(0, _resident(self.before) - _resident(self.after))

    @property
    def left(self) -> int:
        """Bytes that stayed in memory; 0 if that is not known."""
        return _resident(self.after)

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold.

        Returns
        -------
        dict
            Figures in bytes, and the reasons.
        """
        return {
            "path": self.path,
            "bytes": self.size,
            "before": self.before.resident if self.before else None,
            "resident": self.after.resident if self.after else None,
            "written": self.before.dirty if self.before else None,
            "reasons": list(self.reasons),
        }


def warm(
    path: str | os.PathLike[str], threads: int | None = None, progress: Progress | None = None
) -> Warmed:
    """Bring a file into the page cache; its holes are left out, for there is nothing in them.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    threads : int, optional
        As for `kernels.touch_pages`.
    progress : callable, optional
        Called with the bytes done and the bytes to do, at the beginning and after each piece.

    Returns
    -------
    Warmed
        What has come of it.

    Raises
    ------
    FileError
        If the file cannot be opened or mapped.
    MappingLostError
        If it is cut off meanwhile, or the drive fails.

    Examples
    --------
    >>> import mmapio
    >>> from mmapio._cachework import warm
    >>> mmapio.create("cold.npy", 1000, "f8").close()
    >>> warm("cold.npy").after.fraction
    1.0
    """
    from .kernels import touch_pages

    touch_pages(_ONE_BYTE)  # what has to be compiled first is not the file's
    before = told_of(path)
    begin = time.perf_counter()
    with MappedFile.open(path) as mapping:
        size = mapping.size
        pieces = list(_pieces(mapping.fileno(), size))
        total, done = sum(length for _, length in pieces), 0
        for offset, length in pieces:
            if progress is not None:
                progress(done, total)
            mapping.touch_pages(offset, length, threads=threads)
            done += length
        if progress is not None:
            progress(done, total)
    seconds = time.perf_counter() - begin
    return Warmed(os.fspath(path), size, before, told_of(path), seconds)


def evict(path: str | os.PathLike[str]) -> Evicted:
    """Take a file out of the page cache; what is dirty is written first, so nothing is lost.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    Evicted
        What has come of it, and why something stayed.

    Raises
    ------
    FileError
        If the file cannot be opened, or the drive reports an error.
    UnsupportedError
        If this platform cannot do it.

    Examples
    --------
    >>> import mmapio
    >>> from mmapio._cachework import evict
    >>> mmapio.save("hot.npy", [1, 2, 3])
    >>> evict("hot.npy").before.resident > 0
    True
    """
    before = told_of(path)
    name = as_path(path)
    fd, facts = open_file(name, Mode.READ)
    try:
        if facts.size:
            _os.sync_data(fd)
            _os.drop_cached(fd, 0, facts.size)
        after = told_of(path)
        reasons = tuple(_reasons(fd, after)) if after is not None and after.resident else ()
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            raise UnsupportedError(f"{error.strerror}: {name!r}") from error
        raise file_error(error, "evict", name) from error
    finally:
        os.close(fd)
    return Evicted(os.fspath(path), facts.size, before, after, reasons)


def told_of(path: str | os.PathLike[str]) -> Residency | None:
    """Return what of a file is in memory; None if this process is not told."""
    try:
        return residency_of(path)
    except (AccessError, UnsupportedError):  # who cannot open it hears of that next
        return None


def _resident(report: Residency | None) -> int:
    return 0 if report is None else report.resident


def _pieces(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield offset and length of the data between the holes, piece by piece."""
    at = 0
    for start, length in (*holes_of(fd, size), (size, 0)):
        for offset in range(at, start, _PIECE_BYTES):
            yield offset, min(_PIECE_BYTES, start - offset)
        at = start + length


def _reasons(fd: int, left: Residency) -> Iterator[str]:
    """Yield why pages of a file stay in memory, as far as the system tells."""
    kind = _os.file_system(fd)
    if kind in _IN_MEMORY_ONLY:
        yield f"{kind} has no other place for it"
        return
    pids = _os.mapped_by(fd)
    if pids:
        more = f" and {len(pids) - _MOST_NAMED} others" if len(pids) > _MOST_NAMED else ""
        what = "process" if len(pids) == 1 else "processes"
        yield f"mapped by {what} {', '.join(map(str, pids[:_MOST_NAMED]))}{more}"
    if left.dirty or left.writeback:
        yield "written to meanwhile"
    elif not pids:
        yield "in use, perhaps mapped by another user's process, or read meanwhile"
