"""The commands on what of files is in memory; `cli` registers them."""

from __future__ import annotations

import contextlib
import itertools
import time
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from ._cachework import Evicted, Warmed
from ._cachework import evict as evict_file
from ._cachework import warm as warm_file
from ._terminal import (
    BAR,
    BYTES,
    LABEL,
    TITLE,
    Json,
    Quiet,
    console,
    error_text,
    progress_bar,
    report_tree,
    show,
    show_text,
)
from ._trees import files_under
from ._words import duration, printable, size
from .errors import ArgumentError, MmapioError, file_error
from .residency import BUCKETS, Residency, cells, picture_of, residency_of

__all__ = ["COMMANDS", "evict", "residency", "touch"]

_DIRTY: Final = "yellow"
_TELLING: Final = 1 << 20  # bytes below which a throughput tells nothing
_SHORTEST: Final = 4
_NOT_TOLD: Final = "the system does not tell you what of it is in memory"
_PICTURED: Final = 1000  # buckets of a picture: about what it has dots for
_MOST_DRAWN: Final = 100

Paths = Annotated[
    list[Path],
    typer.Argument(metavar="FILE", show_default=False, help="Files; of folders, all in them."),
]
Threads = Annotated[int | None, typer.Option(min=1, help="By default, one for every CPU.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Follow it until Ctrl-C.")]
Interval = Annotated[float, typer.Option(min=0.01, help="Seconds from look to look.")]
Png = Annotated[Path | None, typer.Option(metavar="FILE", help="Draw a picture as well.")]


def residency(
    files: Paths,
    watch: Watch = False,
    interval: Interval = 0.5,
    png: Png = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell what of files is in memory, as a bar from the first byte to the last.

    What counts is the page cache, which all processes share. Asking changes
    nothing. Yellow is dirty: still to be written to the drive.
    """
    if watch and (as_json or png is not None):
        raise typer.BadParameter("--watch is to be looked at; ask for --json or --png without it")
    screen = console()
    if watch:
        _watch(screen, files, interval)
        return
    buckets = BUCKETS if as_json else _room(screen)
    if png is not None:
        buckets = max(buckets, _PICTURED)

    def finish(reports: list[Residency]) -> None:
        if not as_json:
            show_text(screen, _of_all_residency(reports))
        if png is not None:
            _draw(png, reports)

    report_tree(
        files,
        lambda path: residency_of(path, buckets=buckets),
        lambda screen, report: show_text(screen, _lines(screen, report)),
        finish,
        as_json,
        quiet,
    )


def touch(
    files: Paths, threads: Threads = None, as_json: Json = False, quiet: Quiet = False
) -> None:
    """Bring files into memory, so that the first to use them need not wait.

    They are read into the page cache, which all processes share; holes are
    left out. They stay as long as nobody needs the memory more.
    """

    def touch_one(path: Path) -> Warmed:
        with progress_bar(path.name, quiet, **BYTES) as progress:
            return warm_file(path, threads, progress)

    def finish(reports: list[Warmed]) -> None:
        if not as_json:
            _show_all_warmed(reports)

    report_tree(files, touch_one, _show_warmed, finish, as_json, quiet)


def evict(files: Paths, as_json: Json = False, quiet: Quiet = False) -> None:
    """Take files out of memory, as if nobody had used them.

    What was changed is written to the drive first. Pages that a process has
    mapped stay, and so do files that lie in memory only.
    """

    def finish(reports: list[Evicted]) -> None:
        if not as_json:
            _show_all_evicted(reports)

    report_tree(files, evict_file, _show_evicted, finish, as_json, quiet)


COMMANDS: Final = (residency, touch, evict)

# Residency ----------------------------------------------------------------------------------------


def _lines(screen: Console, report: Residency) -> Text:
    """Return what is printed of a file."""
    lines = [Text(printable(report.path or ""), TITLE)]
    if report.length:
        drawn = cells(report, _room(screen), ascii_only=screen.options.ascii_only)
        runs = itertools.groupby(drawn, key=lambda cell: cell[1])
        bar = [("".join(c for c, _ in run), _DIRTY if dirty else BAR) for dirty, run in runs]
        lines.append(Text.assemble("  ", *bar, f"  {report.fraction:>6.1%}"))
    lines.append(Text(f"  {report.figures()}", LABEL))
    return _joined(lines)


def _of_all_residency(reports: list[Residency]) -> Text:
    """Return what is printed of several files together."""
    resident, span = sum(r.resident for r in reports), sum(r.span for r in reports)
    dirty = sum(report.dirty or 0 for report in reports)
    parts = [_in_memory(resident, span)]
    parts += [f"{resident / span:.1%}"] if span else []
    parts += [f"{size(dirty)} dirty"] if dirty else []
    return _joined(_sum_lines(len(reports), ", ".join(parts)))


def _room(screen: Console) -> int:
    """Return how many characters of a bar fit between what is around it."""
    return max(_SHORTEST, screen.width - len("    100.0%"))


def _draw(png: Path, reports: list[Residency]) -> None:
    """Draw a picture, of no more files than can be looked at in one."""
    if not reports:
        raise ArgumentError(f"there is nothing to draw in {png}: no file could be looked at")
    figure = picture_of(reports[:_MOST_DRAWN])
    try:
        figure.savefig(png, format="png")
    except OSError as error:
        raise file_error(error, "draw", str(png)) from error


def _watch(screen: Console, files: list[Path], interval_s: float) -> None:
    """Show what there is to see again and again, until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        if screen.is_terminal:
            with Live(console=screen, auto_refresh=False, vertical_overflow="crop") as live:
                while True:
                    live.update(_seen(screen, files), refresh=True)
                    time.sleep(interval_s)
        while True:
            show_text(screen, _seen(screen, files))
            time.sleep(interval_s)


def _seen(screen: Console, files: list[Path]) -> Text:
    """Return what there is to see of files now; what is wrong with one is a line of its own."""
    lines: list[Text] = []
    reports = []

    def tell(path: Path, error: MmapioError) -> None:
        lines.append(Text(f"{error_text(path, error)}\n", "red"))

    for path in files_under(files, tell):
        try:
            report = residency_of(path, buckets=_room(screen))
        except MmapioError as error:
            tell(path, error)
        else:
            reports.append(report)
            lines.append(_lines(screen, report))
    return Text.assemble(*lines, _of_all_residency(reports), no_wrap=True, overflow="crop")


# Touch and evict ----------------------------------------------------------------------------------


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


def _show_all_warmed(reports: list[Warmed]) -> None:
    known = [report.after for report in reports if report.after is not None]
    held = _in_memory(sum(each.resident for each in known), sum(each.span for each in known))
    gained = sum(report.gained for report in reports)
    seconds = sum(report.seconds for report in reports)
    _show_sum(len(reports), f"{held}, {_read_in(gained, seconds)}")


def _read_in(gained: int, seconds: float) -> str:
    speed = f" ({gained / seconds / 2**30:.2f} GiB/s)" if gained >= _TELLING else ""
    return f"{size(gained)} read in {duration(seconds)}{speed}"


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


def _show_all_evicted(reports: list[Evicted]) -> None:
    gone = sum(report.gone for report in reports)
    left = sum(report.left for report in reports)
    _show_sum(len(reports), f"{size(gone)} evicted, {size(left)} stays")


# Words --------------------------------------------------------------------------------------------


def _in_memory(resident: int, span: int) -> str:
    return f"{size(resident)} of {size(span)} in memory"


def _show_sum(count: int, text: str) -> None:
    show_text(console(), _joined(_sum_lines(count, text)))


def _sum_lines(count: int, text: str) -> list[Text]:
    """Return what is printed of several files together; of one, it is known."""
    return [Text(f"{count:,} files", TITLE), Text(f"  {text}", LABEL)] if count > 1 else []


def _joined(lines: list[Text]) -> Text:
    return Text.assemble(*(part for line in lines for part in (line, "\n")))
