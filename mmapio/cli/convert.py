"""The command `convert`: raw files made into `.npy` files, and back."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from numpy.lib import format as numpy_format
from rich.console import Console

from .._formatting import dtype_text, duration, printable, size, throughput
from ..errors import ArgumentError
from ..files.conversion import to_npy, to_raw
from ..files.npy import NpyHeader
from .options import Dtype, Json, Offset, Order, Ordering, Paths, Quiet, Shape, parse_path
from .terminal import BYTES, LABEL, TITLE, progress_bar, report_tree, show

__all__ = ["Converted", "convert"]


def _parse_target(text: str) -> Path:
    path = parse_path(text)
    if os.path.basename(text) in ("", os.curdir, os.pardir) and not os.path.isdir(path):
        raise typer.BadParameter(f"there is no folder {text!r}; make it first")
    return path


To = Annotated[
    Path | None,
    typer.Option(
        "--to",
        parser=_parse_target,
        metavar="PATH",
        help="A file, or a folder that is there; by default, beside each file.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]


@dataclass(frozen=True)
class Converted:
    """Outcome of a conversion.

    Attributes
    ----------
    source, target : pathlib.Path
        The file, and the one that was made of it.
    header : NpyHeader
        What the items are, as the `.npy` file says or said.
    is_raw : bool
        True if a raw file was made.
    seconds : float
        How long it took.
    """

    source: Path
    target: Path
    header: NpyHeader
    is_raw: bool
    seconds: float

    @property
    def nbytes(self) -> int:
        """Bytes of the items."""
        return self.header.file_size - self.header.data_offset

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as a dict that JSON can hold.

        Returns
        -------
        dict
            Paths, and what the items are.
        """
        return {
            "path": str(self.source),
            "target": str(self.target),
            "kind": "raw" if self.is_raw else "npy",
            "dtype": numpy_format.dtype_to_descr(self.header.dtype),
            "shape": list(self.header.shape),
            "order": self.header.order,
            "data_bytes": self.nbytes,
            "seconds": self.seconds,
        }


def convert(
    files: Paths,
    to: To = None,
    dtype: Dtype = None,
    shape: Shape = None,
    order: Ordering = Order.C,
    offset: Offset = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert raw files to .npy, with --dtype; or .npy files to raw.

    The items stay as they are, in their order and byte order. They are not
    loaded: a file of any size needs no memory. A new file appears when it is
    complete, or not at all. In folders, raw files are those not named .npy.
    """
    if dtype is None and (shape is not None or offset is not None or order is not Order.C):
        raise typer.BadParameter("--shape, --order and --offset are for raw items: give --dtype")
    is_one = len(files) == 1 and not os.path.isdir(files[0])  # a folder may hold any number
    if to is not None and not is_one and not os.path.isdir(to):
        what = "several files go" if len(files) > 1 else f"the files of {str(files[0])!r} go"
        raise typer.BadParameter(f"{what} into a folder, and {str(to)!r} is none; make it first")
    suffix, made = ".bin" if dtype is None else ".npy", dict[Path, Path]()

    def is_other_kind(path: Path) -> bool:
        return (path.suffix.lower() == ".npy") == (dtype is not None)

    def convert_one(path: Path) -> Converted:
        target, begin = _target_of(path, to, suffix), time.perf_counter()
        if target in made:
            raise ArgumentError(f"{path}: {made[target]} was made into {target} already")
        with progress_bar(path.name, quiet, **BYTES) as progress:
            options: dict[str, Any] = {"overwrite": overwrite, "progress": progress}
            if dtype is None:
                header = to_raw(path, target, **options)
            else:
                options |= {"order": order.value, "offset": offset}
                header = to_npy(path, target, dtype, shape, **options)
        made[target] = path
        seconds = time.perf_counter() - begin
        return Converted(path, target, header, dtype is None, seconds)

    report_tree(
        files,
        convert_one,
        _show_converted,
        as_json,
        quiet,
        leave_out=is_other_kind,
        sum_up=_in_all,
    )


def _target_of(path: Path, to: Path | None, suffix: str) -> Path:
    """Return the file to make of one."""
    name = path.with_suffix(suffix).name
    if to is None:
        return path.with_name(name)
    return to / name if os.path.isdir(to) else to


def _show_converted(screen: Console, report: Converted) -> None:
    header = report.header
    source, target = printable(str(report.source)), printable(str(report.target))
    show(screen, (f"{source} -> {target}", TITLE))
    facts = [dtype_text(header.dtype), f"shape {header.shape}"]
    facts += ["F order"] if header.fortran_order else []
    show(screen, (f"  {', '.join(facts)}, {_speed(report.nbytes, report.seconds)}", LABEL))
    if report.is_raw:
        show(screen, (f"  read it with {printable(_arguments(header))}", LABEL))


def _arguments(header: NpyHeader) -> str:
    """Return the arguments with which `mmapio.open` opens a raw file."""
    order = ", order='F'" if header.fortran_order else ""
    description = numpy_format.dtype_to_descr(header.dtype)
    return f"dtype={description!r}, shape={header.shape}{order}"


def _in_all(reports: list[Converted]) -> str:
    seconds = sum(report.seconds for report in reports)
    return _speed(sum(report.nbytes for report in reports), seconds)


def _speed(nbytes: int, seconds: float) -> str:
    speed = throughput(nbytes, seconds)
    return f"{size(nbytes)} in {duration(seconds)}" + (f", {speed}" if speed else "")
