"""The command `evict`: files taken out of the page cache."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console

from .. import _os
from .._formatting import size
from ..errors import UnsupportedError, file_error
from ..files.descriptors import as_path, reading
from ..files.writeback import write_back
from ..pagecache.memory_hints import drop_cached
from ..pagecache.residency import Residency
from .options import Json, Paths, Quiet
from .page_cache import NOT_TOLD, CacheChange, residency_if_told
from .terminal import report_tree, show, show_titled

__all__ = ["Evicted", "evict", "evict_file"]

_IN_MEMORY_ONLY: Final = ("hugetlbfs", "ramfs", "tmpfs")
_MOST_NAMED: Final = 3


def evict(files: Paths, as_json: Json = False, quiet: Quiet = False) -> None:
    """Take files out of memory, as if nobody had used them.

    What was changed is written to the drive first. Pages that a process has
    mapped stay, and so do files that lie in memory only.
    """
    report_tree(files, evict_file, _show_evicted, as_json, quiet, sum_up=_evicted_in_all)


@dataclass(frozen=True)
class Evicted(CacheChange):
    """Outcome of an eviction, and why some of the file stayed."""

    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as a dict that JSON can hold."""
        written = self.before.dirty if self.before else None
        return super().to_json() | {"written": written, "reasons": list(self.reasons)}


def evict_file(path: str | os.PathLike[str]) -> Evicted:
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
    >>> from mmapio.cli.evict import evict_file
    >>> mmapio.save("hot.npy", [1, 2, 3])
    >>> evict_file("hot.npy").before.resident > 0
    True
    """
    before = residency_if_told(path)
    name = as_path(path)
    with reading(name) as (fd, facts):
        try:
            if facts.size:
                write_back(fd, 0, facts.size)
                _os.sync_data(fd)
                drop_cached(fd, 0, facts.size)
            after = residency_if_told(path)
            reasons = tuple(_reasons(fd, after)) if after is not None and after.resident else ()
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                raise UnsupportedError(f"{error.strerror}: {name!r}") from error
            raise file_error(error, "evict", name) from error
    return Evicted(os.fspath(path), facts.size, before, after, reasons)


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


# Rendering ----------------------------------------------------------------------------------------


def _show_evicted(screen: Console, report: Evicted) -> None:
    if report.after is None:
        text = f"evicted as far as can be; {NOT_TOLD}"
    else:
        text = f"{size(report.gone)} evicted" if report.size else "empty"
    show_titled(screen, report.path, text)
    if report.left:
        why = "; ".join(report.reasons)
        show(screen, (f"  {size(report.left)} stays: {why}", "yellow"))


def _evicted_in_all(reports: list[Evicted]) -> str:
    gone = sum(report.gone for report in reports)
    left = sum(report.left for report in reports)
    return f"{size(gone)} evicted" + (f", {size(left)} stays" if left else "")
