"""The program `mmapio`: its commands, each of which is in the file of its name."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .advise import advise
from .convert import convert
from .demo import demo
from .evict import evict
from .flush import flush
from .info import info
from .lock import lock
from .residency import residency
from .scan import scan
from .terminal import console, show
from .touch import touch
from .warmup import warmup

__all__ = ["app"]

app = typer.Typer(
    name="mmapio",
    help="Look into files and arrays at memory speed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# In the order of the help.
for _command in (residency, touch, evict, lock, advise, flush, convert, scan, info, demo, warmup):
    app.command()(_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        show(console(), f"mmapio {sys.modules['mmapio'].__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
]


@app.callback()
def _root(version: Version = False) -> None:
    if hasattr(sys.stdout, "reconfigure"):  # the name of a file may be no text at all
        sys.stdout.reconfigure(errors="backslashreplace")
