"""The command `lock`: files kept in memory until Ctrl-C."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from .._formatting import size
from ..errors import ArgumentError
from ..files.holes import holes_of
from ..mapping.mapped_file import MappedFile
from .options import Force, Paths, Quiet
from .page_cache import naming_force
from .terminal import BYTES, console, progress_bar, report_tree, show, show_titled

__all__ = ["lock"]


@dataclass(frozen=True)
class _Locked:
    path: Path
    nbytes: int
    holes: int

    def to_json(self) -> dict[str, Any]:
        return {"path": str(self.path), "locked": self.nbytes, "holes": self.holes}


def lock(files: Paths, force: Force = False, quiet: Quiet = False) -> None:
    """Keep files in memory until Ctrl-C, whoever else may need it.

    They are read in first; holes become pages of zeros. Files that cannot be
    locked are reported, and so are those that do not fit into the memory that is
    available; the rest stay locked. `ulimit -l` shows how much may be locked.
    """
    held = ExitStack()

    def lock_one(path: Path) -> _Locked:
        with ExitStack() as stack:
            mapping = stack.enter_context(MappedFile.open(path))
            holes = sum(length for _, length in holes_of(mapping.fileno(), mapping.size))
            with naming_force(), progress_bar(path.name, quiet, **BYTES) as progress:
                mapping.lock(force=force, progress=progress)
            held.enter_context(stack.pop_all())
        return _Locked(path, mapping.size, holes)

    def hold(reports: list[_Locked]) -> None:
        if not reports:
            return
        nbytes = sum(report.nbytes for report in reports)
        if not nbytes:
            raise ArgumentError("there is nothing to lock: what could be opened is empty")
        total = size(nbytes)
        what = f"{len(reports):,} files, {total}" if len(reports) > 1 else total
        show(console(), f"{what} locked until Ctrl-C")
        sys.stdout.flush()
        with _printing_at_end(f"{what} unlocked"), held:
            while True:
                time.sleep(3600)  # which Ctrl-C ends on every system

    with held:
        report_tree(files, lock_one, _show_locked, False, quiet, finish=hold)


@contextmanager
def _printing_at_end(text: str) -> Iterator[None]:
    """Print a line at the end of a block."""
    try:
        yield
    finally:
        screen = console()
        show(screen, ("\n" if screen.is_terminal else "") + text)  # behind the ^C that is echoed


def _show_locked(screen: Console, report: _Locked) -> None:
    holes = f", {size(report.holes)} of them holes" if report.holes else ""
    show_titled(screen, str(report.path), f"{size(report.nbytes)} locked in memory{holes}")
