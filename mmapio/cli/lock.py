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
from ..mapping.mapped_file import MappedFile
from .options import Paths, Quiet
from .terminal import console, report_tree, show, show_titled

__all__ = ["lock"]


@dataclass(frozen=True)
class _Locked:
    path: Path
    nbytes: int

    def to_json(self) -> dict[str, Any]:
        return {"path": str(self.path), "locked": self.nbytes}


def lock(files: Paths, quiet: Quiet = False) -> None:
    """Keep files in memory until Ctrl-C, whoever else may need it.

    They are read in first. Files that cannot be locked are reported; the rest
    stay locked. `ulimit -l` shows the limit.
    """
    held = ExitStack()

    def lock_one(path: Path) -> _Locked:
        with ExitStack() as stack:
            mapping = stack.enter_context(MappedFile.open(path))
            mapping.lock()
            held.enter_context(stack.pop_all())
        return _Locked(path, mapping.size)

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
    show_titled(screen, str(report.path), f"{size(report.nbytes)} locked in memory")
