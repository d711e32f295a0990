"""Running a kernel over all pieces of an array, in threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numpy.typing import NDArray

from mmapio.kernels._layout import Pieces
from mmapio.kernels._pool import run_workers

__all__ = ["map_pieces", "visit_pieces"]

R = TypeVar("R")


def visit_pieces(
    visit: Callable[[int, NDArray[Any]], object],
    pieces: Pieces,
    threads: int | None = None,
    progress: bool = False,
) -> None:
    """Call `visit` with the number of each piece, and with the piece."""
    run_workers(
        len(pieces),
        pieces.buffer,
        lambda buffer, number: visit(number, pieces.take(number, buffer)),
        threads=threads,
        progress=progress,
        nbytes=pieces.nbytes,
    )


def map_pieces(
    kernel: Callable[[NDArray[Any]], R],
    pieces: Pieces,
    threads: int | None = None,
    progress: bool = False,
) -> list[R]:
    """Return what a kernel says of each piece, in their order, whichever thread got which."""
    results: list[R | None] = [None] * len(pieces)

    def visit(number: int, piece: NDArray[Any]) -> None:
        results[number] = kernel(piece)

    visit_pieces(visit, pieces, threads, progress)
    return cast("list[R]", results)
