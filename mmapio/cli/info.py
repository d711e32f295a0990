"""The command `info`: headers, sizes and disk layout of files."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.console import Console

from .._formatting import dtype_text, nbytes, printable
from ..files.inspection import FileInfo, inspect
from .options import Files, Json
from .terminal import LABEL, TITLE, report_each, show

__all__ = ["info"]


def info(files: Files, as_json: Json = False) -> None:
    """Show header, sizes and disk layout, without reading the data."""
    report_each(files, inspect, _print_info, as_json)


# Rendering ----------------------------------------------------------------------------------------


def _print_info(screen: Console, report: FileInfo) -> None:
    show(screen, (printable(report.path), TITLE))
    for label, value in _info_facts(report):
        show(screen, (f"  {label:<11}", LABEL), (value, "red" if label == "missing" else ""))
    show(screen)


def _info_facts(report: FileInfo) -> Iterator[tuple[str, str]]:
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
