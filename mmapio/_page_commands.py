"""The commands on pages that files have in memory; `cli` registers them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from ._cache_commands import Paths
from ._pagework import ADVICE, Advised, Flushed, check_advice
from ._pagework import advise as advise_file
from ._pagework import flush as flush_file
from ._terminal import BYTES, LABEL, TITLE, Json, Quiet, console, progress_bar, report_tree, show
from ._words import duration, printable, size
from .errors import ArgumentError
from .mapping import MappedFile

__all__ = ["COMMANDS", "advise", "flush", "lock"]

Advice = Annotated[
    str, typer.Argument(metavar="ADVICE", show_default=False, help=f"One of {', '.join(ADVICE)}.")
]


@dataclass(frozen=True)
class _Locked:
    path: Path
    nbytes: int

    def to_json(self) -> dict[str, Any]:
        return {"path": str(self.path), "locked": self.nbytes}


def lock(files: Paths, quiet: Quiet = False) -> None:
    """Keep files in memory until Ctrl-C, whoever else may need it.

    They are read in first. How much a process may lock, `ulimit -l` tells.
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
        total = size(sum(report.nbytes for report in reports))
        what = f"{len(reports):,} files, {total}" if len(reports) > 1 else total
        show(console(), f"{what} locked until Ctrl-C")
        sys.stdout.flush()
        with _telling(f"{what} unlocked"), held:
            while True:
                time.sleep(3600)  # which Ctrl-C ends on every system

    with held:
        report_tree(files, lock_one, _show_locked, hold, False, quiet)


@contextmanager
def _telling(text: str) -> Iterator[None]:
    """Tell at the end of a block what is so after it."""
    try:
        yield
    finally:
        screen = console()
        show(screen, ("\n" if screen.is_terminal else "") + text)  # behind the ^C that is echoed


def advise(advice: Advice, files: Paths, as_json: Json = False, quiet: Quiet = False) -> None:
    """Tell the system how files in its page cache will be used.

    That cache is shared, so the advice outlasts this command: willneed begins to
    read files in, populate_read waits for it too; dontneed drops them, what is
    dirty having been written; cold pages are the first to go when memory is
    short, and pageout drops them at once. What other processes have mapped stays.
    """
    try:
        check_advice(advice)
    except ArgumentError as error:
        raise typer.BadParameter(str(error)) from None

    def advise_one(path: Path) -> Advised:
        with progress_bar(path.name, quiet, **BYTES) as progress:
            return advise_file(path, advice, progress)

    def finish(reports: list[Advised]) -> None:
        if not as_json:
            _show_all_advised(reports)

    report_tree(files, advise_one, _show_advised, finish, as_json, quiet)


def flush(files: Paths, as_json: Json = False, quiet: Quiet = False) -> None:
    """Write to the drive what was changed of files, by whatever process, and wait.

    What was stored through mappings is written too.
    """

    def finish(reports: list[Flushed]) -> None:
        if not as_json:
            _show_all_flushed(reports)

    report_tree(files, flush_file, _show_flushed, finish, as_json, quiet)


COMMANDS: Final = (lock, advise, flush)

# Rendering ----------------------------------------------------------------------------------------


def _show_locked(screen: Console, report: _Locked) -> None:
    show(screen, (printable(str(report.path)), TITLE))
    show(screen, (f"  {size(report.nbytes)} locked in memory", LABEL))


def _show_advised(screen: Console, report: Advised) -> None:
    show(screen, (printable(report.path), TITLE))
    show(screen, (f"  {_change([report])}", LABEL))


def _show_all_advised(reports: list[Advised]) -> None:
    _show_sum(len(reports), _change(reports))


def _change(reports: list[Advised]) -> str:
    """Return what was in memory of some files, and what is, as far as it is told."""
    told = [(r.after.resident, r.before.resident) for r in reports if r.after and r.before]
    if not told:
        return "the system does not tell this user what is in memory"
    after, before = map(sum, zip(*told, strict=True))
    return f"{size(after)} in memory, {size(before)} before"


def _show_flushed(screen: Console, report: Flushed) -> None:
    show(screen, (printable(report.path), TITLE))
    show(screen, (f"  {_written(report.dirty, report.seconds)}", LABEL))


def _show_all_flushed(reports: list[Flushed]) -> None:
    known = [report.dirty for report in reports if report.dirty is not None]
    dirty = sum(known) if known else None
    _show_sum(len(reports), _written(dirty, sum(report.seconds for report in reports)))


def _written(dirty: int | None, seconds: float) -> str:
    return f"{'durable' if dirty is None else f'{size(dirty)} written'} in {duration(seconds)}"


def _show_sum(count: int, text: str) -> None:
    if count > 1:
        screen = console()
        show(screen, (f"{count:,} files", TITLE))
        show(screen, (f"  {text}", LABEL))
