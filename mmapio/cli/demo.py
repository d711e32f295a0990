"""The command `demo`: mmapio at work, step by step."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import typer
from rich.console import Console

from .._formatting import duration
from ..errors import MmapioError
from . import demonstration
from .terminal import LABEL, TITLE, console, print_error, show

__all__ = ["demo"]


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
