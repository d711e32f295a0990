"""The command line: what `reports`, `inspection` and `demo` find out, printed."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from .._formatting import (
    bin_labels,
    dtype_text,
    duration,
    nbytes,
    number,
    printable,
    size,
    throughput,
)
from ..errors import MmapioError
from ..files.inspection import FileInfo, inspect
from . import cache_commands, convert_command, residency_command
from . import demo as demonstration
from .file_scan import ArrayScan, BytesScan, FieldScan
from .file_scan import scan as scan_file
from .options import Dtype, Files, Json, Offset, Order, Ordering, Quiet, Shape, Threads
from .terminal import (
    BAR,
    BYTES,
    LABEL,
    TITLE,
    bar_of,
    console,
    print_error,
    progress_bar,
    report_each,
    show,
)

__all__ = ["app", "demo", "info", "scan", "warmup"]

app = typer.Typer(
    name="mmapio",
    help="Look into files and arrays at memory speed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_SHORTEST: Final = 4


Fact = tuple[str, str]
Share = tuple[str, int]


def _print_version(wanted: bool) -> None:
    if wanted:
        print("mmapio", sys.modules["mmapio"].__version__, flush=True)
        raise typer.Exit


# Options ------------------------------------------------------------------------------------------

Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
]


# Commands -----------------------------------------------------------------------------------------

for _commands in (residency_command, cache_commands, convert_command):
    for _command in _commands.COMMANDS:
        app.command()(_command)


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
        with progress_bar(path.name, quiet, **BYTES) as progress:
            return scan_file(path, **options, order=order.value, threads=threads, progress=progress)

    report_each(files, scan_one, _print_scan, as_json)


@app.command()
def info(files: Files, as_json: Json = False) -> None:
    """Tell what can be told without reading the data: header, sizes, place on the disk."""
    report_each(files, inspect, _print_info, as_json)


@app.command()
def demo() -> None:
    """Show mmapio at work on the source text of Python's standard library."""
    screen, good = console(), True
    try:
        with TemporaryDirectory(prefix="mmapio-demo-", ignore_cleanup_errors=True) as folder:
            for step in demonstration.run(Path(folder)):
                _print_step(screen, step)
                good &= step.ok
    except MmapioError as error:
        print_error(str(error))
        raise typer.Exit(1) from None
    if good:
        show(screen, ("\nDone: every result equals numpy's.", "green"))
    else:
        show(screen, ("\nFAILED: a result differs from numpy's.", "red"))
    raise typer.Exit(0 if good else 1)


@app.command()
def warmup(quiet: Quiet = False) -> None:
    """Compile all kernels ahead, so that no first scan has to wait.

    They are kept on disk, in a folder that NUMBA_CACHE_DIR can name, for every
    process that may read it. Done once, it is done until mmapio or numba change.
    """
    from .. import kernels

    begin = time.perf_counter()
    try:
        with progress_bar("kernels", quiet, unit=" kernels") as progress:
            ready = kernels.compile_all(progress)
    except MmapioError as error:
        print_error(str(error))
        raise typer.Exit(1) from None
    show(console(), f"{ready} kernels are ready, after {duration(time.perf_counter() - begin)}")


# Rendering ----------------------------------------------------------------------------------------


def _print_scan(screen: Console, report: ArrayScan | BytesScan) -> None:
    show(screen, (printable(report.path), TITLE))
    if isinstance(report, BytesScan):
        show(screen, (_line(size(report.nbytes), _speed(report)), LABEL))
        _print_beside(screen, _byte_facts(report), _byte_classes(report))
        return
    kind, shape = dtype_text(report.dtype), _shape(report.shape, report.order)
    show(screen, (_line(kind, shape, size(report.nbytes), _speed(report)), LABEL))
    for field in report.fields:
        if field.name:
            kind, shape = dtype_text(field.dtype), _shape(field.shape)
            show(screen, (f"  {printable(field.name)}", TITLE), (_line(kind, shape), LABEL))
        _print_beside(screen, _field_facts(field), _histogram(field))


def _print_info(screen: Console, report: FileInfo) -> None:
    show(screen, (printable(report.path), TITLE))
    for label, value in _info_facts(report):
        show(screen, (f"  {label:<11}", LABEL), (value, "red" if label == "missing" else ""))
    show(screen)


def _print_beside(screen: Console, facts: list[Fact], bars: list[Share]) -> None:
    """Print labelled numbers on the left, and labelled bars on the right."""
    wide = [max((len(row[column]) for row in facts), default=0) for column in (0, 1)]
    label = max((len(name) for name, _ in bars), default=0)
    room = max(_SHORTEST, screen.width - sum(wide) - label - len("  " * 5 + "100.0%"))
    total = sum(count for _, count in bars)
    longest = max((count for _, count in bars), default=0)
    for fact, bar in zip_longest(facts, bars):
        name, value = fact or ("", "")
        parts = [(f"  {name:<{wide[0]}}  ", LABEL), (f"{value:>{wide[1]}}  ", "")]
        if bar is not None:
            drawn = bar_of(bar[1] / longest, room, screen.options.ascii_only)
            share = f"  {bar[1] / total:>6.1%}"
            parts += [(f"{bar[0]:>{label}}  ", LABEL), (f"{drawn:<{room}}", BAR), (share, "")]
        show(screen, *parts)
    show(screen)


def _print_step(screen: Console, step: demonstration.Step) -> None:
    show(screen, ("ok      ", "green") if step.ok else ("FAILED  ", "red"), (step.did, TITLE))
    show(screen, (f"        {step.found}", LABEL))
    if step.seconds is None:
        return
    took = f"        {duration(step.seconds)}"
    if step.peer_seconds is not None:
        ratio = step.peer_seconds / step.seconds
        took += f"; np.memmap {duration(step.peer_seconds)}, {ratio:.1f} times as long"
    show(screen, (took, LABEL))


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
    speed = throughput(report.nbytes, report.seconds)
    return f"read in {duration(report.seconds)}, {speed}" if speed else ""
