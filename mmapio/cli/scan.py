"""The command `scan`: statistics and histograms of whole files."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console

from .._formatting import (
    bin_labels,
    date_text,
    dtype_text,
    duration,
    number,
    printable,
    size,
    throughput,
)
from .file_scan import ArrayScan, BytesScan, FieldScan, scan_file
from .options import DropBehind, Dtype, Files, Json, Offset, Order, Ordering, Quiet, Shape, Threads
from .terminal import BAR, BYTES, LABEL, TITLE, bar_of, progress_bar, report_each, show

__all__ = ["scan"]

_SHORTEST: Final = 4
_FIGURES: Final = ("min", "max", "mean", "std")

Fact = tuple[str, str]
Share = tuple[str, int]


def scan(
    files: Files,
    dtype: Dtype = None,
    shape: Shape = None,
    offset: Offset = None,
    order: Ordering = Order.C,
    threads: Threads = None,
    drop_behind: DropBehind = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read whole files, and summarize their contents.

    Of .npy files, and of raw items with --dtype: extremes, mean, standard
    deviation and a histogram of every field. Bins hold their lower bound, not
    the upper one. Of any other file: lines, kinds of bytes, and entropy.
    """
    if dtype is None and (shape is not None or offset is not None):
        raise typer.BadParameter("--shape and --offset are for raw items; give their --dtype too")

    def scan_one(path: Path) -> ArrayScan | BytesScan:
        options: dict[str, Any] = {"dtype": dtype, "shape": shape, "offset": offset}
        with progress_bar(path.name, quiet, **BYTES) as progress:
            options |= {"threads": threads, "progress": progress, "drop_behind": drop_behind}
            return scan_file(path, **options, order=order.value)

    report_each(files, scan_one, _print_scan, as_json)


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


def _line(*parts: str) -> str:
    return "  " + ", ".join(filter(None, parts))


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
    nans += [("NaT", found.nans)] if field.dtype.kind in "mM" else []
    infinities = [("infinite", found.infs)] if found.infs else []
    facts = [
        ("count", found.count),
        *nans,
        *infinities,
        ("zero", found.zeros),
        *((name, getattr(found, name)) for name in _FIGURES),
        *((f"finite {name}", getattr(found.finite, name)) for name in _FIGURES if found.infs),
    ]
    return [(label, date_text(value) or number(value)) for label, value in facts]


def _histogram(field: FieldScan) -> list[Share]:
    found = field.statistics
    if found is None:
        return []
    if found.edges.dtype.kind in "mM":
        return list(zip(map(str, found.edges), found.counts.tolist(), strict=False))
    labels = bin_labels(found.edges.tolist(), field.dtype.kind in "biu")
    if found.min == found.max:
        labels = [number(found.min)]
    return list(zip(labels, found.counts.tolist(), strict=True))


def _shape(shape: tuple[int, ...], order: str = "C") -> str:
    return f"shape {shape}" + (", F order" if order == "F" else "")


def _speed(report: ArrayScan | BytesScan) -> str:
    speed = throughput(report.nbytes, report.seconds)
    return f"read in {duration(report.seconds)}, {speed}" if speed else ""
