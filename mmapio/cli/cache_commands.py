"""The commands that change what of files is in memory, or on the drive; `cli` registers them."""

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

from .._formatting import duration, printable, size, throughput
from ..errors import ArgumentError
from ..mapping.mapped_file import MappedFile
from . import page_cache
from .options import Json, Paths, Quiet, Threads
from .page_cache import ADVICE, Advised, Evicted, Flushed, Warmed
from .terminal import BYTES, LABEL, TITLE, console, progress_bar, report_tree, show

__all__ = ["COMMANDS", "advise", "evict", "flush", "lock", "touch"]

_NOT_TOLD: Final = "the system does not tell you what of it is in memory"


def _advice_that_begins(incomplete: str) -> list[str]:
    return [name for name in ADVICE if name.startswith(incomplete)]


Advice = Annotated[
    str,
    typer.Argument(
        metavar="ADVICE",
        show_default=False,
        help=f"One of {', '.join(ADVICE)}.",
        autocompletion=_advice_that_begins,
    ),
]


@dataclass(frozen=True)
class _Locked:
    path: Path
    nbytes: int

    def to_json(self) -> dict[str, Any]:
        return {"path": str(self.path), "locked": self.nbytes}


def touch(
    files: Paths, threads: Threads = None, as_json: Json = False, quiet: Quiet = False
) -> None:
    """Bring files into memory, so that the first to use them need not wait.

    They are read into the page cache, which all processes share; holes are
    left out. They stay as long as nobody needs the memory more.
    """

    def touch_one(path: Path) -> Warmed:
        with progress_bar(path.name, quiet, **BYTES) as progress:
            return page_cache.warm(path, threads, progress)

    report_tree(files, touch_one, _show_warmed, as_json, quiet, sum_up=_warmed_in_all)


def evict(files: Paths, as_json: Json = False, quiet: Quiet = False) -> None:
    """Take files out of memory, as if nobody had used them.

    What was changed is written to the drive first. Pages that a process has
    mapped stay, and so do files that lie in memory only.
    """
    report_tree(files, page_cache.evict, _show_evicted, as_json, quiet, sum_up=_evicted_in_all)


def lock(files: Paths, quiet: Quiet = False) -> None:
    """Keep files in memory until Ctrl-C, whoever else may need it.

    They are read in first. Those that cannot be locked are told, and the others
    held. How much a process may lock, `ulimit -l` tells.
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
        with _telling(f"{what} unlocked"), held:
            while True:
                time.sleep(3600)  # which Ctrl-C ends on every system

    with held:
        report_tree(files, lock_one, _show_locked, False, quiet, finish=hold)


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
    read files in, but no holes, populate_read waits for it too; dontneed drops them, what is
    dirty having been written; cold pages are the first to go when memory is
    short, and pageout drops them at once. What other processes have mapped stays.
    """
    try:
        page_cache.check_advice(advice)
    except ArgumentError as error:
        raise typer.BadParameter(str(error)) from None

    def advise_one(path: Path) -> Advised:
        with progress_bar(path.name, quiet, **BYTES) as progress:
            return page_cache.advise(path, advice, progress)

    report_tree(files, advise_one, _show_advised, as_json, quiet, sum_up=_change)


def flush(files: Paths, as_json: Json = False, quiet: Quiet = False) -> None:
    """Write to the drive what was changed of files, by whatever process, and wait.

    What was stored through mappings is written too.
    """
    report_tree(files, page_cache.flush, _show_flushed, as_json, quiet, sum_up=_flushed_in_all)


COMMANDS: Final = (touch, evict, lock, advise, flush)

# Rendering ----------------------------------------------------------------------------------------


def _show_warmed(screen: Console, report: Warmed) -> None:
    read = _read_in(report.gained, report.seconds)
    if report.after is None:
        text = f"touched in {duration(report.seconds)}; {_NOT_TOLD}"
    elif report.size:
        text = f"{_in_memory(report.after.resident, report.after.span)}, {read}"
    else:
        text = "empty"
    show(screen, (printable(report.path), TITLE))
    show(screen, (f"  {text}", LABEL))


def _warmed_in_all(reports: list[Warmed]) -> str:
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


def _show_evicted(screen: Console, report: Evicted) -> None:
    if report.after is None:
        text = f"evicted as far as can be; {_NOT_TOLD}"
    else:
        text = f"{size(report.gone)} evicted" if report.size else "empty"
    show(screen, (printable(report.path), TITLE))
    show(screen, (f"  {text}", LABEL))
    if report.left:
        why = "; ".join(report.reasons)
        show(screen, (f"  {size(report.left)} stays: {why}", "yellow"))


def _evicted_in_all(reports: list[Evicted]) -> str:
    gone = sum(report.gone for report in reports)
    left = sum(report.left for report in reports)
    return f"{size(gone)} evicted" + (f", {size(left)} stays" if left else "")


def _show_locked(screen: Console, report: _Locked) -> None:
    show(screen, (printable(str(report.path)), TITLE))
    show(screen, (f"  {size(report.nbytes)} locked in memory", LABEL))


def _show_advised(screen: Console, report: Advised) -> None:
    show(screen, (printable(report.path), TITLE))
    show(screen, (f"  {_change([report])}", LABEL))


def _change(reports: list[Advised]) -> str:
    """Return what was in memory of some files, and what is, as far as it is told."""
    told = [(r.after.resident, r.before.resident) for r in reports if r.after and r.before]
    if not told:
        return _NOT_TOLD
    after, before = map(sum, zip(*told, strict=True))
    return f"{size(after)} in memory, {size(before)} before"


def _show_flushed(screen: Console, report: Flushed) -> None:
    show(screen, (printable(report.path), TITLE))
    show(screen, (f"  {_written(report.dirty, report.seconds)}", LABEL))


def _flushed_in_all(reports: list[Flushed]) -> str:
    known = [report.dirty for report in reports if report.dirty is not None]
    seconds = sum(report.seconds for report in reports)
    return _written(sum(known) if known else None, seconds)


def _written(dirty: int | None, seconds: float) -> str:
    return f"{'durable' if dirty is None else f'{size(dirty)} written'} in {duration(seconds)}"
