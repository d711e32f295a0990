"""The command `touch`: files brought into the page cache."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from .._formatting import duration, size, throughput
from .._validation import Progress
from ..files.holes import holes_of
from ..mapping.mapped_file import MappedFile
from ..pagecache.memory_room import check_room
from .options import Force, Json, Paths, Quiet, Threads
from .page_cache import NOT_TOLD, CacheChange, data_pieces, naming_force, residency_if_told
from .terminal import BYTES, progress_bar, report_tree, show_titled

__all__ = ["Touched", "touch", "touch_file"]

_INSTEAD: Final = "touch a part of it, or all with force=True"
_ONE_BYTE: Final = np.frombuffer(b"\0", np.uint8)


def touch(
    files: Paths,
    threads: Threads = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring files into memory, so that the first to use them need not wait.

    They are read into the page cache, which all processes share; holes are
    left out. They stay as long as nobody needs the memory more. A file that
    does not fit into the memory that is available is not read.
    """

    def touch_one(path: Path) -> Touched:
        with naming_force(), progress_bar(path.name, quiet, **BYTES) as progress:
            return touch_file(path, threads, progress, force=force)

    report_tree(files, touch_one, _show_touched, as_json, quiet, sum_up=_touched_in_all)


@dataclass(frozen=True)
class Touched(CacheChange):
    """Outcome of a touch, and how long it took."""

    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as a dict that JSON can hold."""
        fraction = self.after.fraction if self.after else None
        return super().to_json() | {"fraction": fraction, "seconds": self.seconds}


def touch_file(
    path: str | os.PathLike[str],
    threads: int | None = None,
    progress: Progress | None = None,
    *,
    force: bool = False,
) -> Touched:
    """Bring a file into the page cache; its holes are left out, for there is nothing in them.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    threads : int, optional
        As for `kernels.touch_pages`.
    progress : callable, optional
        Called with the bytes done and the bytes to do, at the beginning and after each piece.
    force : bool, default False
        Read even what does not fit into the memory that is available.

    Returns
    -------
    Touched
        What has come of it.

    Raises
    ------
    FileError
        If the file cannot be opened or mapped.
    MappingLostError
        If it is cut off meanwhile, or the drive fails.
    InsufficientMemoryError
        If what is missing does not fit into memory, and `force` is False.

    Examples
    --------
    >>> import mmapio
    >>> from mmapio.cli.touch import touch_file
    >>> mmapio.create("cold.npy", 1000, "f8").close()
    >>> touch_file("cold.npy").after.fraction
    1.0
    """
    from ..kernels import touch_pages

    touch_pages(_ONE_BYTE)  # what has to be compiled first is not the file's
    before = residency_if_told(path)
    begin = time.perf_counter()
    with MappedFile.open(path) as mapping:
        size = mapping.size
        pieces = list(data_pieces(holes_of(mapping.fileno(), size), size))
        total, done = sum(length for _, length in pieces), 0
        if not force:
            there = before.resident if before is not None else 0
            check_room(total, "bring in", lambda: _INSTEAD, lambda: max(0, total - there))
        for offset, length in pieces:
            if progress is not None:
                progress(done, total)
            mapping.touch_pages(offset, length, threads=threads, force=True)
            done += length
        if progress is not None:
            progress(done, total)
    seconds = time.perf_counter() - begin
    return Touched(os.fspath(path), size, before, residency_if_told(path), seconds)


# Rendering ----------------------------------------------------------------------------------------


def _show_touched(screen: Console, report: Touched) -> None:
    read = _read_in(report.gained, report.seconds)
    if report.after is None:
        text = f"touched in {duration(report.seconds)}; {NOT_TOLD}"
    elif report.size:
        text = f"{_in_memory(report.after.resident, report.after.span)}, {read}"
    else:
        text = "empty"
    show_titled(screen, report.path, text)


def _touched_in_all(reports: list[Touched]) -> str:
    known = [report.after for report in reports if report.after is not None]
    held = _in_memory(sum(each.resident for each in known), sum(each.span for each in known))
    gained = sum(report.gained for report in reports)
    seconds = sum(report.seconds for report in reports)
    return f"{held}, {_read_in(gained, seconds)}"


def _in_memory(resident: int, span: int) -> str:
    return f"{size(resident)} of {size(span)} in memory"


def _read_in(gained: int, seconds: float) -> str:
    speed = throughput(gained, seconds)
    return f"{size(gained)} read in {duration(seconds)}" + (f" ({speed})" if speed else "")
