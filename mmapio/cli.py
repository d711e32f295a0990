"""The command line: what `reports`, `inspection` and `demo` find out, printed."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from shutil import get_terminal_size
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final, Protocol, TypeVar

import numpy as np
import typer
from rich.console import Console
from rich.text import Text
from tqdm import tqdm

from . import demo as demonstration
from ._words import bin_labels, dtype_text, duration, nbytes, number, printable, size
from .errors import MmapioError
from .inspection import FileInfo, inspect
from .reports import ArrayScan, BytesScan, FieldScan, Progress
from .reports import scan as scan_file

__all__ = ["Order", "app", "demo", "info", "scan", "warmup"]

app = typer.Typer(
    name="mmapio",
    help="Look into files and arrays at memory speed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_WIDEST: Final = 100  # columns; bars longer than that are no easier to compare
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_TELLING: Final = 1 << 20  # bytes below which a throughput tells nothing
_SHORTEST: Final = 4
_TITLE: Final = "bold"
_LABEL: Final = "dim"
_BAR: Final = "cyan"
_BYTES: Final[dict[str, Any]] = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}


class Order(StrEnum):
    """Which index of an array varies fastest."""

    C = "C"
    F = "F"


class _Jsonable(Protocol):
    def to_json(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=_Jsonable)
Fact = tuple[str, str]
Share = tuple[str, int]


def _parse_dtype(text: str) -> np.dtype[Any]:
    try:
        return np.dtype(text)
    except (TypeError, ValueError, SyntaxError):
        raise typer.BadParameter(f"{text!r} is no dtype of numpy, such as '<f4'") from None


def _parse_shape(text: str) -> Any:
    try:
        return tuple(int(item) for item in text.strip("()").split(",") if item.strip())
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no shape, such as '1000,-1'") from None


def _print_version(wanted: bool) -> None:
    if wanted:
        print("mmapio", sys.modules["mmapio"].__version__, flush=True)
        raise typer.Exit


# Options ------------------------------------------------------------------------------------------

Files = Annotated[list[Path], typer.Argument(metavar="FILE", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")]
Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
]
Dtype = Annotated[
    Any, typer.Option(parser=_parse_dtype, metavar="DTYPE", help="Read raw items, such as '<f4'.")
]
Shape = Annotated[
    Any,
    typer.Option(parser=_parse_shape, metavar="N,M,...", help="Their shape; one may be -1."),
]
Offset = Annotated[int | None, typer.Option(min=0, help="Byte at which they begin.")]
Ordering = Annotated[Order, typer.Option(help="Whether the last or the first index runs fastest.")]
Threads = Annotated[int | None, typer.Option(min=1, help="By default, one for every CPU.")]


# Commands -----------------------------------------------------------------------------------------


@app.callback()
def _root(version: Version = False) -> None:
    if hasattr(sys.stdout, "reconfigure"):  # the name of a file may be no text at all
        sys.stdout.reconfigure(errors="backslashreplace")


@app.command()
def scan(
    files: Files,
    dtype: Dtype = None,
    shape: Shape = None,
    offset: Offset = None,
    order: Ordering = Order.C,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read whole files, and tell what is in them.

    Of .npy files, and of raw items with --dtype: extremes, mean, standard
    deviation and a histogram of every field. Bins hold their lower bound, not
    the upper one. Of any other file: lines, kinds of bytes, and entropy.
    """
    if dtype is None and (shape is not None or offset is not None):
        raise typer.BadParameter("--shape and --offset are for raw items; give their --dtype too")

    def scan_one(path: Path) -> ArrayScan | BytesScan:
        options: dict[str, Any] = {"dtype": dtype, "shape": shape, "offset": offset}
        with _progress_bar(path.name, quiet, **_BYTES) as progress:
            return scan_file(path, **options, order=order.value, threads=threads, progress=progress)

    _report(files, scan_one, _print_scan, as_json)


@app.command()
def info(files: Files, as_json: Json = False) -> None:
    """Tell what can be told without reading the data: header, sizes, place on the disk."""
    _report(files, inspect, _print_info, as_json)


@app.command()
def demo() -> None:
    """Show mmapio at work on the source text of Python's standard library."""
    console, good = _console(), True
    try:
        with TemporaryDirectory(prefix="mmapio-demo-", ignore_cleanup_errors=True) as folder:
            for step in demonstration.run(Path(folder)):
                _print_step(console, step)
                good &= step.ok
    except MmapioError as error:
        _print_error(str(error))
        raise typer.Exit(1) from None
    if good:
        _show(console, ("\nDone: every result equals numpy's.", "green"))
    else:
        _show(console, ("\nFAILED: a result differs from numpy's.", "red"))
    raise typer.Exit(0 if good else 1)


@app.command()
def warmup(quiet: Quiet = False) -> None:
    """Compile all kernels ahead, so that no first scan has to wait.

    They are kept on disk, in a folder that NUMBA_CACHE_DIR can name, for every
    process that may read it. Done once, it is done until mmapio or numba change.
    """
    from . import kernels

    begin = time.perf_counter()
    try:
        with _progress_bar("kernels", quiet, unit=" kernels") as progress:
            ready = kernels.compile_all(progress)
    except MmapioError as error:
        _print_error(str(error))
        raise typer.Exit(1) from None
    _show(_console(), f"{ready} kernels are ready, after {duration(time.perf_counter() - begin)}")


def _report(
    files: Sequence[Path],
    look_at: Callable[[Path], R],
    show: Callable[[Console, R], None],
    as_json: bool,
) -> None:
    """Look at each file, whatever is wrong with the others."""
    console, found, failed = _console(), [], False
    for path in files:
        try:
            report = look_at(path)
        except MmapioError as error:
            failed = True
            _print_error(str(error) if path.name in str(error) else f"{path}: {error}")
            found.append({"path": str(path), "error": str(error)})
        else:
            found.append(report.to_json())
            if not as_json:
                show(console, report)
    if as_json:
        print(json.dumps(found, indent=2, allow_nan=False), flush=True)
    raise typer.Exit(1 if failed else 0)


@contextmanager
def _progress_bar(name: str, quiet: bool, **units: Any) -> Iterator[Progress]:
    """Yield what moves a bar on standard error; there is none where no terminal is."""
    with tqdm(
        **units,
        desc=printable(name)[:30],
        ncols=min(get_terminal_size().columns, _WIDEST) - len("^C "),  # which is echoed behind it
        leave=False,
        delay=1e-9,  # first drawn when the total is known
        disable=quiet or None,
    ) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
            if done == 0:
                bar.refresh()

        yield advance


# Rendering ----------------------------------------------------------------------------------------


def _console() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = min(console.width, _WIDEST)
    return console


def _show(console: Console, *parts: str | tuple[str, str]) -> None:
    """Print a line of plain and of styled parts; lines too long are left to the terminal."""
    text = Text.assemble(*parts)
    text.rstrip()
    console.print(text, soft_wrap=True)


def _print_scan(console: Console, report: ArrayScan | BytesScan) -> None:
    _show(console, (printable(report.path), _TITLE))
    if isinstance(report, BytesScan):
        _show(console, (_line(size(report.nbytes), _speed(report)), _LABEL))
        _print_beside(console, _byte_facts(report), _byte_classes(report))
        return
    kind, shape = dtype_text(report.dtype), _shape(report.shape, report.order)
    _show(console, (_line(kind, shape, size(report.nbytes), _speed(report)), _LABEL))
    for field in report.fields:
        if field.name:
            kind, shape = dtype_text(field.dtype), _shape(field.shape)
            _show(console, (f"  {printable(field.name)}", _TITLE), (_line(kind, shape), _LABEL))
        _print_beside(console, _field_facts(field), _histogram(field))


def _print_info(console: Console, report: FileInfo) -> None:
    _show(console, (printable(report.path), _TITLE))
    for label, value in _info_facts(report):
        _show(console, (f"  {label:<11}", _LABEL), (value, "red" if label == "missing" else ""))
    _show(console)


def _print_beside(console: Console, facts: list[Fact], bars: list[Share]) -> None:
    """Print labelled numbers on the left, and labelled bars on the right."""
    wide = [max((len(row[column]) for row in facts), default=0) for column in (0, 1)]
    label = max((len(name) for name, _ in bars), default=0)
    room = max(_SHORTEST, console.width - sum(wide) - label - len("  " * 5 + "100.0%"))
    total = sum(count for _, count in bars)
    longest = max((count for _, count in bars), default=0)
    for fact, bar in zip_longest(facts, bars):
        name, value = fact or ("", "")
        parts = [(f"  {name:<{wide[0]}}  ", _LABEL), (f"{value:>{wide[1]}}  ", "")]
        if bar is not None:
            drawn = _bar(bar[1] / longest, room, console.options.ascii_only)
            share = f"  {bar[1] / total:>6.1%}"
            parts += [(f"{bar[0]:>{label}}  ", _LABEL), (f"{drawn:<{room}}", _BAR), (share, "")]
        _show(console, *parts)
    _show(console)


def _print_error(text: str) -> None:
    print(f"mmapio: error: {printable(text)}", file=sys.stderr)


def _print_step(console: Console, step: demonstration.Step) -> None:
    _show(console, ("ok      ", "green") if step.ok else ("FAILED  ", "red"), (step.did, _TITLE))
    _show(console, (f"        {step.found}", _LABEL))
    if step.seconds is None:
        return
    took = f"        {duration(step.seconds)}"
    if step.peer_seconds is not None:
        ratio = step.peer_seconds / step.seconds
        took += f"; np.memmap {duration(step.peer_seconds)}, {ratio:.1f} times as long"
    _show(console, (took, _LABEL))


def _bar(share: float, room: int, in_ascii: bool) -> str:
    """Return a bar that fills its share of the room; what is not nothing can be seen."""
    eighths = max(round(share * room * 8), 1 if share else 0)
    if in_ascii:
        return "#" * math.ceil(eighths / 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _line(*parts: str) -> str:
    return "  " + ", ".join(filter(None, parts))


# Contents of the tables ---------------------------------------------------------------------------


def _byte_facts(report: BytesScan) -> list[Fact]:
    return [
        ("bytes", f"{report.nbytes:,}"),
        ("lines", f"{report.lines:,}"),
        ("entropy", f"{report.entropy:.3f} of 8 bits"),
    ]


def _byte_classes(report: BytesScan) -> list[Share]:
    return list(report.classes.items()) if report.nbytes else []


def _field_facts(field: FieldScan) -> list[Fact]:
    found = field.statistics
    if found is None:
        return [("count", f"{field.count:,}"), ("item size", f"{field.dtype.itemsize:,} bytes")]
    nans = [("NaN", found.nans)] if field.dtype.kind == "f" else []
    infinities = [("infinite", found.infs)] if found.infs else []
    facts = [
        ("count", found.count),
        *nans,
        *infinities,
        ("zero", found.zeros),
        ("min", found.min),
        ("max", found.max),
        ("mean", found.mean),
        ("std", found.std),
    ]
    return [(label, number(value)) for label, value in facts]


def _histogram(field: FieldScan) -> list[Share]:
    found = field.statistics
    if found is None:
        return []
    labels = bin_labels(found.edges.tolist(), field.dtype.kind in "biu")
    if found.min == found.max:
        labels = [number(found.min)]
    return list(zip(labels, found.counts.tolist(), strict=True))


def _info_facts(report: FileInfo) -> Iterator[Fact]:
    header = report.header
    yield "kind", f".npy array, version {report.version}" if header else "bytes"
    if header is not None:
        yield "dtype", dtype_text(header.dtype)
        for name, (dtype, at, *_) in (header.dtype.fields or {}).items():
            yield "", f"{printable(name)}: {dtype} at byte {at}"
        yield "shape", f"{header.shape}, {header.order} order, {math.prod(header.shape):,} items"
    yield "size", nbytes(report.size)
    if header is not None:
        yield "data", f"{nbytes(report.data_bytes)} from byte {report.data_offset:,}"
        aligned = "aligned" if report.items_aligned else "not aligned"
        yield "alignment", f"{report.alignment:,} bytes; items are {aligned}"
    if report.missing:
        yield "missing", f"{nbytes(report.missing)}: the file is truncated"
    if report.trailing:
        yield "trailing", f"{nbytes(report.trailing)} after the data"
    yield "allocated", f"{nbytes(report.allocated)}, {report.allocated_percent:.1f} % of the size"
    holes = f"{len(report.holes):,}, of {nbytes(report.hole_bytes)}" if report.holes else "none"
    yield "holes", holes


def _shape(shape: tuple[int, ...], order: str = "C") -> str:
    return f"shape {shape}" + (", F order" if order == "F" else "")


def _speed(report: ArrayScan | BytesScan) -> str:
    if report.nbytes < _TELLING:
        return ""
    return f"read in {duration(report.seconds)}, {report.gib_per_second:.2f} GiB/s"
