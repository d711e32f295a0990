"""The command `residency`: bars of how much of each file is in memory."""

from __future__ import annotations

import bisect
import contextlib
import functools
import io
import itertools
import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from .._formatting import printable, size
from ..errors import ArgumentError, MmapioError, file_error
from ..files.descriptors import as_path
from ..files.publishing import publishing
from ..pagecache.residency import BUCKETS, Residency, cells, picture_of, residency_of
from .file_trees import files_under
from .options import Json, Paths, Quiet, parse_path
from .terminal import BAR, LABEL, TITLE, console, error_text, report_tree, show_text, sum_of

__all__ = ["residency"]

_DIRTY: Final = "yellow"
_SHORTEST: Final = 4
_PICTURED: Final = 1000  # buckets of a picture: about what it has dots for
_MOST_DRAWN: Final = 100

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Follow it until Ctrl-C.")]
Interval = Annotated[float, typer.Option(min=0.01, help="Seconds from look to look.")]
Png = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        parser=parse_path,
        help="Draw a picture as well, PNG or what the suffix says (extra: plot).",
    ),
]


def residency(
    files: Paths,
    watch: Watch = False,
    interval: Interval = 0.5,
    png: Png = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show how much of each file is cached, as a bar from start to end.

    What counts is the page cache, which all processes share. Asking changes
    nothing. Yellow is dirty: still to be written to the drive.
    """
    if watch and (as_json or png is not None):
        raise typer.BadParameter("--watch is to be looked at; ask for --json or --png without it")
    if str(png) == "-":
        raise typer.BadParameter("--png needs the name of a file: '-' is none")
    screen = console()
    if watch:
        _watch(screen, files, interval)
        return
    buckets = BUCKETS if as_json else _room(screen)
    if png is not None:
        buckets = max(buckets, _PICTURED)

    report_tree(
        files,
        lambda path: residency_of(path, buckets=buckets),
        lambda screen, report: show_text(screen, _lines(screen, report)),
        as_json,
        quiet,
        sum_up=_in_all,
        finish=None if png is None else functools.partial(_draw, png),
    )


def _lines(screen: Console, report: Residency) -> Text:
    """Return the lines about a file."""
    lines = [Text(printable(report.path or ""), TITLE)]
    if report.length:
        drawn = cells(report, _room(screen), ascii_only=screen.options.ascii_only)
        runs = itertools.groupby(drawn, key=lambda cell: cell[1])
        bar = [("".join(c for c, _ in run), _DIRTY if dirty else BAR) for dirty, run in runs]
        lines.append(Text.assemble("  ", *bar, f"  {report.fraction:>6.1%}"))
    lines.append(Text(f"  {report.figures()}", LABEL))
    return Text.assemble(*(part for line in lines for part in (line, "\n")))


def _in_all(reports: list[Residency]) -> str:
    resident, span = sum(r.resident for r in reports), sum(r.span for r in reports)
    dirty = sum(report.dirty or 0 for report in reports)
    parts = [f"{size(resident)} of {size(span)} in memory"]
    parts += [f"{resident / span:.1%}"] if span else []
    parts += [f"{size(dirty)} dirty"] if dirty else []
    return ", ".join(parts)


def _room(screen: Console) -> int:
    """Return the room for a bar, in characters."""
    return max(_SHORTEST, screen.width - len("    100.0%"))


def _draw(png: Path, reports: list[Residency]) -> None:
    """Draw a picture, of no more files than can be looked at in one."""
    if not reports:
        raise ArgumentError(f"there is nothing to draw in {png}: no file could be looked at")
    figure, drawn = picture_of(reports[:_MOST_DRAWN]), io.BytesIO()
    try:
        figure.savefig(drawn, format=png.suffix[1:].lower() or "png")
    except ValueError as error:  # matplotlib knows no such format, and tells which
        raise ArgumentError(f"cannot draw {str(png)!r}: {error}") from error
    path = as_path(png)
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        _write_to_device(path, drawn.getbuffer())
        return
    with publishing(path, "draw", replace=True, durable=False) as draft:
        draft.write(drawn.getbuffer())


def _write_to_device(path: str, data: memoryview) -> None:
    try:
        with open(path, "wb", buffering=0) as file:
            while len(data):
                data = data[file.write(data) or 0 :]
    except OSError as error:
        raise file_error(error, "draw", path) from error


def _watch(screen: Console, files: list[Path], interval_s: float) -> None:
    """Show all files again and again, until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        if screen.is_terminal:
            with Live(console=screen, auto_refresh=False, vertical_overflow="crop") as live:
                while True:
                    _follow_width(screen)
                    live.update(_as_far_as_fits(screen, *_seen(screen, files)), refresh=True)
                    time.sleep(interval_s)
        while True:
            parts, total = _seen(screen, files)
            show_text(screen, Text.assemble(*parts, total))
            time.sleep(interval_s)


def _follow_width(screen: Console) -> None:
    """Draw from now on for a terminal that has become wider, or narrower."""
    width = console().width
    if width != screen.width:
        screen.width = width
        screen.clear()  # of lines that the terminal has broken


def _as_far_as_fits(screen: Console, parts: list[Text], total: Text) -> Text:
    """Return the lines cut to the height of the screen; the total is always there."""
    heights = list(itertools.accumulate(part.plain.count("\n") for part in parts))
    room = screen.height - 1 - total.plain.count("\n")  # the cursor stands below the last line
    shown, rest = parts, Text()
    if heights and heights[-1] > room:
        shown = parts[: bisect.bisect_right(heights, room - 1)]
        rest = Text(f"... and {len(parts) - len(shown):,} more\n", LABEL)
    return Text.assemble(*shown, rest, total, no_wrap=True, overflow="crop")


def _seen(screen: Console, files: list[Path]) -> tuple[list[Text], Text]:
    """Return the lines about each file, or its error; and those about all together."""
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
    return lines, sum_of(len(reports), _in_all(reports)) if len(reports) > 1 else Text()
