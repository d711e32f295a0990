"""The command `warmup`: kernels compiled ahead of their first use."""

from __future__ import annotations

import time

import typer

from .._formatting import duration
from ..errors import MmapioError
from .options import Quiet
from .terminal import console, print_error, progress_bar, show

__all__ = ["warmup"]


def warmup(quiet: Quiet = False) -> None:
    """Compile all kernels now, so that the first scan does not have to.

    They are kept on disk, with the machine code that the first mapped file takes,
    in a folder that NUMBA_CACHE_DIR can name, for every process that may read it.
    Done once, it is done until mmapio or numba change.
    """
    from .. import kernels

    begin = time.perf_counter()
    try:
        with progress_bar("kernels", quiet, unit=" kernels") as progress:
            ready = kernels.compile_all(progress)
    except MmapioError as error:
        print_error(str(error))
        raise typer.Exit(1) from None
    if not ready:
        show(console(), "nothing to compile: NUMBA_DISABLE_JIT is set, so kernels run in Python")
        return
    show(console(), f"{ready} kernels are ready, after {duration(time.perf_counter() - begin)}")
