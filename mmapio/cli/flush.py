"""The command `flush`: unsaved changes of files written to disk."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from .. import _os
from .._formatting import duration, size
from ..errors import file_error
from ..files.closing import close_file
from ..files.descriptors import as_path, open_file
from ..files.writeback import write_back
from ..modes import Mode
from .options import Json, Paths, Quiet
from .page_cache import residency_if_told
from .terminal import report_tree, show_titled

__all__ = ["Flushed", "flush", "flush_file"]


def flush(files: Paths, as_json: Json = False, quiet: Quiet = False) -> None:
    """Write unsaved changes to disk, whichever process made them, and wait.

    What was stored through mappings is written too.
    """
    report_tree(files, flush_file, _show_flushed, as_json, quiet, sum_up=_flushed_in_all)


@dataclass(frozen=True)
class Flushed:
    """Outcome of a flush.

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
        """Return the outcome as a dict that JSON can hold.

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


def flush_file(path: str | os.PathLike[str]) -> Flushed:
    """Write the unsaved changes of a file to disk, those through mappings included.

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
    >>> from mmapio.cli.flush import flush_file
    >>> mmapio.save("flushed.npy", [1, 2, 3])
    >>> flush_file("flushed.npy").size
    152
    """
    name, before = as_path(path), residency_if_told(path)
    dirty = before.dirty if before is not None else None
    begin = time.perf_counter()
    # Windows flushes what was opened for writing alone.
    fd, facts = open_file(name, Mode.UPDATE if sys.platform == "win32" else Mode.READ)
    try:
        write_back(fd, 0, facts.size)
        _os.sync_file(fd)
    except OSError as error:
        raise file_error(error, "flush", name) from error
    finally:
        close_file(fd)
    return Flushed(os.fspath(path), facts.size, dirty, time.perf_counter() - begin)


# Rendering ----------------------------------------------------------------------------------------


def _show_flushed(screen: Console, report: Flushed) -> None:
    show_titled(screen, report.path, _written(report.dirty, report.seconds))


def _flushed_in_all(reports: list[Flushed]) -> str:
    known = [report.dirty for report in reports if report.dirty is not None]
    seconds = sum(report.seconds for report in reports)
    return _written(sum(known) if known else None, seconds)


def _written(dirty: int | None, seconds: float) -> str:
    return f"{'durable' if dirty is None else f'{size(dirty)} written'} in {duration(seconds)}"
