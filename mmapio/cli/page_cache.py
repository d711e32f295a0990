"""What the page cache holds of files, changed for all processes: what the commands call."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from .. import _os
from ..errors import AccessError, ArgumentError, UnsupportedError, file_error
from ..files.descriptors import as_path, open_file
from ..files.inspection import holes_of
from ..mapping.mapped_file import MappedFile
from ..modes import Mode
from ..pagecache.residency import Residency, residency_of

__all__ = [
    "ADVICE",
    "Advised",
    "Evicted",
    "Flushed",
    "Handled",
    "Warmed",
    "advise",
    "check_advice",
    "evict",
    "flush",
    "warm",
]

Progress = Callable[[int, int], None]

# So that a bar moves, Ctrl-C need not wait, and not all of a file is mapped in at a time.
_PIECE_BYTES: Final = 256 << 20
_ONE_BYTE: Final = np.frombuffer(b"\0", np.uint8)
_IN_MEMORY_ONLY: Final = ("hugetlbfs", "ramfs", "tmpfs")
_MOST_NAMED: Final = 3

ADVICE: Final = ("willneed", "dontneed", "cold", "pageout", "populate_read")
_READING: Final = ("willneed", "populate_read")
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
class Handled:
    """A file, and what of it was in memory before something was done to it, and after.

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
        """Return it as what JSON can hold.

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


@dataclass(frozen=True)
class Warmed(Handled):
    """What has come of a file that was to be brought into memory, and how long it took."""

    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        fraction = self.after.fraction if self.after else None
        return super().to_json() | {"fraction": fraction, "seconds": self.seconds}


@dataclass(frozen=True)
class Evicted(Handled):
    """What has come of a file that was to be taken out of memory, and why some of it stayed."""

    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        written = self.before.dirty if self.before else None
        return super().to_json() | {"written": written, "reasons": list(self.reasons)}


@dataclass(frozen=True)
class Advised(Handled):
    """What has come of advice on a file."""

    advice: str

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return super().to_json() | {"advice": self.advice}


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
    >>> from mmapio.cli.page_cache import warm
    >>> mmapio.create("cold.npy", 1000, "f8").close()
    >>> warm("cold.npy").after.fraction
    1.0
    """
    from ..kernels import touch_pages

    touch_pages(_ONE_BYTE)  # what has to be compiled first is not the file's
    before = _told_of(path)
    begin = time.perf_counter()
    with MappedFile.open(path) as mapping:
        size = mapping.size
        pieces = list(_pieces(holes_of(mapping.fileno(), size), size))
        total, done = sum(length for _, length in pieces), 0
        for offset, length in pieces:
            if progress is not None:
                progress(done, total)
            mapping.touch_pages(offset, length, threads=threads)
            done += length
        if progress is not None:
            progress(done, total)
    seconds = time.perf_counter() - begin
    return Warmed(os.fspath(path), size, before, _told_of(path), seconds)


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
    >>> from mmapio.cli.page_cache import evict
    >>> mmapio.save("hot.npy", [1, 2, 3])
    >>> evict("hot.npy").before.resident > 0
    True
    """
    before = _told_of(path)
    name = as_path(path)
    fd, facts = open_file(name, Mode.READ)
    try:
        if facts.size:
            _os.sync_data(fd)
            _os.drop_cached(fd, 0, facts.size)
        after = _told_of(path)
        reasons = tuple(_reasons(fd, after)) if after is not None and after.resident else ()
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            raise UnsupportedError(f"{error.strerror}: {name!r}") from error
        raise file_error(error, "evict", name) from error
    finally:
        os.close(fd)
    return Evicted(os.fspath(path), facts.size, before, after, reasons)


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
    """Give advice on what the page cache holds of a file; holes are not read in.

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
    >>> from mmapio.cli.page_cache import advise
    >>> mmapio.save("advised.npy", [1, 2, 3])
    >>> advise("advised.npy", "populate_read").after.fraction
    1.0
    """
    check_advice(advice)
    if advice == "dontneed":
        evicted = evict(path)
        return Advised(evicted.path, evicted.size, evicted.before, evicted.after, advice)
    before = _told_of(path)
    with MappedFile.open(path) as mapping:
        size = mapping.size
        # Holes are not to be read in; where they were, they may go.
        holes = holes_of(mapping.fileno(), size) if advice in _READING else ()
        for start, length in _pieces(holes, size):
            if progress is not None:
                progress(start, size)
            _advise_piece(mapping, advice, start, length)
            mapping.release(start, length)
        if progress is not None:
            progress(size, size)
    return Advised(os.fspath(path), size, before, _told_of(path), advice)


def _advise_piece(mapping: MappedFile, advice: str, start: int, length: int) -> None:
    if advice == "willneed" and _os.PREFETCH_BYTES:
        # `MappedFile.prefetch` ends with the mapping, which is closed before all is asked for.
        for at in range(start, start + length, _os.PREFETCH_BYTES):
            with contextlib.suppress(OSError):  # it only makes things faster
                _os.prefetch(mapping.fileno(), at, min(_os.PREFETCH_BYTES, start + length - at))
        return
    if advice in _READING:
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
    >>> from mmapio.cli.page_cache import flush
    >>> mmapio.save("flushed.npy", [1, 2, 3])
    >>> flush("flushed.npy").size
    152
    """
    name, before = as_path(path), _told_of(path)
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


def _told_of(path: str | os.PathLike[str]) -> Residency | None:
    """Return what of a file is in memory; None if this process is not told."""
    try:
        return residency_of(path)
    except (AccessError, UnsupportedError):  # who cannot open it hears of that next
        return None


def _resident(report: Residency | None) -> int:
    return 0 if report is None else report.resident


def _pieces(holes: Iterable[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """Yield offset and length of the data between the holes, piece by piece."""
    at = 0
    for start, length in (*holes, (size, 0)):
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
