"""Output of the commands: lines and bars for a terminal, and a report for each file."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, Final, Protocol, TypeVar

import typer
from rich.console import Console
from rich.text import Text
from tqdm import tqdm

from .._formatting import printable
from .._validation import Progress
from ..errors import MmapioError
from .file_trees import files_under

__all__ = [
    "BAR",
    "BYTES",
    "LABEL",
    "TITLE",
    "Jsonable",
    "bar_of",
    "console",
    "error_text",
    "print_error",
    "progress_bar",
    "report_each",
    "report_tree",
    "show",
    "show_text",
    "show_titled",
    "sum_of",
]

WIDEST: Final = 100  # columns; bars longer than that are no easier to compare
TITLE: Final = "bold"
LABEL: Final = "dim"
BAR: Final = "cyan"
BYTES: Final[dict[str, Any]] = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_FLAT_LIST: Final = re.compile(r"\[\n([^][{}\"]*)\]")  # no line ends within a text


class Jsonable(Protocol):
    """A report that can be printed as JSON."""

    def to_json(self) -> dict[str, Any]:
        """Return the report as a dict that JSON can hold."""


R = TypeVar("R", bound=Jsonable)
LookAt = Callable[[Path], R]
Show = Callable[[Console, R], None]


class _Tally:
    """Outcomes of all files: JSON entries, and whether any failed."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.failed = False

    def fail(self, path: Path, error: MmapioError) -> None:
        self.failed = True
        with tqdm.external_write_mode(sys.stderr):
            print_error(error_text(path, error))
        self.entries.append({"path": str(path), "error": str(error)})

    def look(self, path: Path, look_at: LookAt[R]) -> R | None:
        try:
            report = look_at(path)
        except MmapioError as error:
            self.fail(path, error)
            return None
        self.entries.append(report.to_json())
        return report

    def end(self, as_json: bool) -> None:
        if as_json:
            print(_json_text(self.entries), flush=True)
        raise typer.Exit(1 if self.failed else 0)


def report_each(files: Iterable[Path], look_at: LookAt[R], show: Show[R], as_json: bool) -> None:
    """Look at each file, whatever is wrong with the others, and exit."""
    tally, screen = _Tally(), console()
    for path in files:
        report = tally.look(path, look_at)
        if report is not None and not as_json:
            show(screen, report)
    tally.end(as_json)


def report_tree(
    paths: Sequence[Path],
    look_at: LookAt[R],
    show: Show[R],
    as_json: bool,
    quiet: bool,
    *,
    leave_out: Callable[[Path], bool] | None = None,
    sum_up: Callable[[list[R]], str] | None = None,
    finish: Callable[[list[R]], None] | None = None,
) -> None:
    """Look at each file, and at all in folders, whatever is wrong with the others, and exit.

    `leave_out` tells what is passed over in folders. With all reports `sum_up` returns what is
    printed of several files together, and `finish` is called in the end.
    """
    tally, screen, reports = _Tally(), console(), []
    files = list(files_under(paths, tally.fail, leave_out))
    many = progress_bar("files", quiet, unit=" files") if len(files) > 1 else nullcontext()
    with many as progress:
        for done, path in enumerate(files):
            if progress is not None:
                progress(done, len(files))
            report = tally.look(path, look_at)
            if report is None:
                continue
            reports.append(report)
            if not as_json:
                with tqdm.external_write_mode(sys.stdout):
                    show(screen, report)
    if not files and not tally.failed:
        what = "no files" if leave_out is None else "no such files"
        print(f"mmapio: {what} in {', '.join(map(_quoted, paths))}", file=sys.stderr)
    if sum_up is not None and len(reports) > 1 and not as_json:
        show_text(screen, sum_of(len(reports), sum_up(reports)))
    try:
        if finish is not None:
            finish(reports)
    except MmapioError as error:
        tally.failed = True
        print_error(str(error))
    tally.end(as_json)


@contextmanager
def progress_bar(name: str, quiet: bool, **units: Any) -> Iterator[Progress]:
    """Yield a function that moves a bar on standard error, if that is a terminal."""
    with tqdm(
        **units,
        desc=printable(name)[:30],
        ncols=min(get_terminal_size().columns, WIDEST) - len("^C "),  # which is echoed behind it
        leave=False,
        delay=1e-9,  # first drawn when the total is known
        disable=quiet or None,
    ) as drawn:

        def advance(done: int, total: int) -> None:
            drawn.total = total
            drawn.update(done - drawn.n)
            if done == 0:
                drawn.refresh()

        yield advance


def console() -> Console:
    """Return a console on standard output, no wider than bars are good for."""
    found = Console(highlight=False, markup=False, emoji=False)
    found.width = min(found.width, WIDEST)
    return found


def show(screen: Console, *parts: str | tuple[str, str]) -> None:
    """Print a line of plain and of styled parts; lines too long are left to the terminal."""
    text = Text.assemble(*parts)
    text.rstrip()
    screen.print(text, soft_wrap=True)


def show_titled(screen: Console, title: str, *lines: str) -> None:
    """Print a title, in which nothing can do harm to the terminal, and lines about it."""
    show(screen, (printable(title), TITLE))
    for line in lines:
        show(screen, (f"  {line}", LABEL))


def show_text(screen: Console, text: Text) -> None:
    """Print lines, the last of which ends itself; those too long are left to the terminal."""
    screen.print(text, soft_wrap=True, end="")


def sum_of(count: int, text: str) -> Text:
    """Return lines about several files together."""
    return Text.assemble((f"{count:,} files", TITLE), "\n", (f"  {text}", LABEL), "\n")


def error_text(path: Path, error: MmapioError) -> str:
    """Return the message of an error, with the name of the file in it."""
    text = str(error)
    return printable(text if path.name in text else f"{path}: {text}")


def print_error(text: str) -> None:
    """Print an error as a line on standard error."""
    print(f"mmapio: error: {printable(text)}", file=sys.stderr)


def bar_of(share: float, room: int, in_ascii: bool) -> str:
    """Return a bar that fills its share of the room; any share above 0 can be seen."""
    eighths = max(round(share * room * 8), 1 if share else 0)
    if in_ascii:
        return "#" * math.ceil(eighths / 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _quoted(path: Path) -> str:
    return printable(str(path))


def _json_text(entries: list[dict[str, Any]]) -> str:
    """Return JSON with a line for each thing, and one for a list of numbers, however long."""
    text = json.dumps(entries, indent=2, allow_nan=False)
    return _FLAT_LIST.sub(lambda found: f"[{' '.join(found[1].split())}]", text)
