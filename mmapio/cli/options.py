"""Arguments and options that commands share: files, raw items in them, and the output."""

from __future__ import annotations

import ast
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

__all__ = [
    "DropBehind",
    "Dtype",
    "Files",
    "Force",
    "Json",
    "Offset",
    "Order",
    "Ordering",
    "Paths",
    "Quiet",
    "Shape",
    "Threads",
    "parse_path",
]


class Order(StrEnum):
    """Order of the items of an array: C, the last index varies fastest; or F, the first."""

    C = "C"
    F = "F"


def _parse_dtype(text: str) -> np.dtype[Any]:
    try:
        # Of records, as numpy describes them: "[('x', '<f4'), ('y', '<f4')]".
        return np.dtype(ast.literal_eval(text) if text.startswith(("[", "{")) else text)
    except (TypeError, ValueError, SyntaxError):
        raise typer.BadParameter(f"{text!r} is no dtype of numpy, such as '<f4'") from None


def _parse_shape(text: str) -> Any:
    try:
        return tuple(int(item) for item in text.strip("()").split(",") if item.strip())
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no shape, such as '1000,-1'") from None


def parse_path(text: str) -> Path:
    """Return the path of an argument."""
    # Left to typer, a path that may not be read would be wrong usage: no other would be looked at.
    if not text:
        raise typer.BadParameter("an empty text is no path: is a variable of the shell unset?")
    return Path(text)


Dtype = Annotated[
    Any, typer.Option(parser=_parse_dtype, metavar="DTYPE", help="Read raw items, such as '<f4'.")
]
Shape = Annotated[
    Any,
    typer.Option(parser=_parse_shape, metavar="N,M,...", help="Their shape; one may be -1."),
]
Offset = Annotated[int | None, typer.Option(min=0, help="Byte at which they begin.")]
Ordering = Annotated[Order, typer.Option(help="Whether the last or the first index runs fastest.")]

Files = Annotated[list[Path], typer.Argument(parser=parse_path, metavar="FILE", show_default=False)]
Paths = Annotated[
    list[Path],
    typer.Argument(
        parser=parse_path,
        metavar="FILE",
        show_default=False,
        help="Files; of folders, all in them.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")]
Threads = Annotated[int | None, typer.Option(min=1, help="By default, one for every CPU.")]
DropBehind = Annotated[
    bool, typer.Option("--drop-behind", help="Leave no more of a file in memory than was there.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Go on even if there is not enough memory for it.")
]
