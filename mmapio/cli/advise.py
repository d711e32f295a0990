"""The command `advise`: hints about files in the page cache."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from .. import _os
from .._formatting import size
from .._validation import Progress, steps
from ..errors import ArgumentError
from ..files.holes import holes_of
from ..mapping.mapped_file import MappedFile
from ..pagecache.memory_hints import runs
from ..pagecache.memory_room import check_room
from .evict import evict_file
from .options import Force, Json, Paths, Quiet
from .page_cache import NOT_TOLD, CacheChange, data_pieces, naming_force, residency_if_told
from .terminal import BYTES, progress_bar, report_tree, show_titled

__all__ = ["ADVICE", "Advised", "advise", "advise_file", "check_advice"]

ADVICE: Final = ("willneed", "dontneed", "cold", "pageout", "populate_read")
_INSTEAD: Final = "advise on a part of it, or on all with force=True"
_READING: Final = ("willneed", "populate_read")
_PASSING: Final = {
    "normal": "how far to read ahead is a matter of each open file",
    "random": "how far to read ahead is a matter of each open file",
    "sequential": "how far to read ahead is a matter of each open file",
    "hugepage": "huge pages are a matter of each mapping",
    "nohugepage": "huge pages are a matter of each mapping",
    "collapse": "huge pages are a matter of each mapping",
    "dontfork": "what a child gets is a matter of its parent's mappings",
    "dofork": "what a child gets is a matter of its parent's mappings",
    "merge": "only private memory is merged, and no file has any",
    "unmerge": "only private memory is merged, and no file has any",
    "populate_write": "it would make pages dirty that nobody has changed",
}


def _advice_that_begins(incomplete: str) -> list[str]:
    return [name for name in ADVICE if name.startswith(incomplete)]


Advice = Annotated[
    str,
    typer.Argument(
        metavar="ADVICE",
        show_default=False,
        help=f"One of {', '.join(ADVICE)}.",
        autocompletion=_advice_that_begins,
    ),
]


def advise(
    advice: Advice,
    files: Paths,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Advise the system how files in its page cache will be used.

    That cache is shared, so the advice outlasts this command: willneed begins to
    read files in, but no holes; populate_read waits for it, too; dontneed drops
    them, once what is dirty is written; cold pages are the first to go when
    memory is short, and pageout drops them at once. What other processes have
    mapped stays.
    """
    try:
        check_advice(advice)
    except ArgumentError as error:
        raise typer.BadParameter(str(error)) from None

    def advise_one(path: Path) -> Advised:
        with naming_force(), progress_bar(path.name, quiet, **BYTES) as progress:
            return advise_file(path, advice, progress, force=force)

    report_tree(files, advise_one, _show_advised, as_json, quiet, sum_up=_change)


@dataclass(frozen=True)
class Advised(CacheChange):
    """Outcome of advice on a file."""

    advice: str

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as a dict that JSON can hold."""
        return super().to_json() | {"advice": self.advice}


def check_advice(advice: str) -> None:
    """Refuse advice that would end with this process, or that does not exist."""
    if advice in ADVICE:
        return
    names = ", ".join(ADVICE)
    if advice in _PASSING:
        raise ArgumentError(
            f"advice {advice!r} would end with this command: {_PASSING[advice]}; what acts on the "
            f"cache that all processes share is {names}"
        )
    raise ArgumentError(f"advice must be one of {names}, got {advice!r}")


def advise_file(
    path: str | os.PathLike[str],
    advice: str,
    progress: Progress | None = None,
    *,
    force: bool = False,
) -> Advised:
    """Advise the system how the cached pages of a file will be used; holes are not read in.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    advice : str
        One of `ADVICE`.
    progress : callable, optional
        Called with the bytes done and the bytes to do, at the beginning and after each piece.
    force : bool, default False
        Populate even what does not fit into the memory that is available.

    Returns
    -------
    Advised
        What has come of it.

    Raises
    ------
    ArgumentError
        If the advice is another one.
    UnsupportedError
        If the system knows no such advice.
    FileError
        If the file cannot be opened or mapped.
    InsufficientMemoryError
        If what is missing of it does not fit into memory, is to be populated, and `force` is False.

    Examples
    --------
    >>> import mmapio
    >>> from mmapio.cli.advise import advise_file
    >>> mmapio.save("advised.npy", [1, 2, 3])
    >>> advise_file("advised.npy", "populate_read").after.fraction
    1.0
    """
    check_advice(advice)
    if advice == "dontneed":
        evicted = evict_file(path)
        return Advised(evicted.path, evicted.size, evicted.before, evicted.after, advice)
    before = residency_if_told(path)
    with MappedFile.open(path) as mapping:
        size = mapping.size
        # Holes are not to be read in; where they were, they may go.
        holes = holes_of(mapping.fileno(), size) if advice in _READING else ()
        pieces = list(data_pieces(holes, size))
        if advice == "populate_read" and not force:
            there, total = (before.resident if before else 0), sum(n for _, n in pieces)
            check_room(total, "bring in", lambda: _INSTEAD, lambda: max(0, total - there))
        for start, length in pieces:
            if progress is not None:
                progress(start, size)
            _advise_piece(mapping, advice, start, length)
            mapping.release(start, length)
        if progress is not None:
            progress(size, size)
    return Advised(os.fspath(path), size, before, residency_if_told(path), advice)


def _advise_piece(mapping: MappedFile, advice: str, start: int, length: int) -> None:
    if advice == "willneed" and _os.PREFETCH_BYTES:
        # `MappedFile.prefetch` ends with the mapping, which is closed before all is asked for.
        for low, high in steps(start, start + length, _os.PREFETCH_BYTES):
            with contextlib.suppress(OSError):  # it only makes things faster
                _os.prefetch(mapping.fileno(), low, high - low)
        return
    if advice in _READING:
        mapping.advise(advice, start, length, force=True)  # it was looked at as a whole
        return
    # These act on what this process has mapped: so that is first, but only what is in memory.
    for low, high in _cached(mapping, start, length):
        mapping.view(low, high - low)[:: _os.PAGE_SIZE].max()
        mapping.advise(advice, low, high - low)


def _cached(mapping: MappedFile, start: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield where the parts of a range that are in memory begin and end."""
    # The mapping begins at the first byte of the file, and so at a page.
    address = mapping.view(start, length).ctypes.data
    for low, high in runs(_os.resident(address, length)):
        yield start + low, start + min(high, length)


# Rendering ----------------------------------------------------------------------------------------


def _show_advised(screen: Console, report: Advised) -> None:
    show_titled(screen, report.path, _change([report]))


def _change(reports: list[Advised]) -> str:
    """Return how much of some files is in memory, and was before, as far as it is told."""
    told = [(r.after.resident, r.before.resident) for r in reports if r.after and r.before]
    if not told:
        return NOT_TOLD
    after, before = map(sum, zip(*told, strict=True))
    return f"{size(after)} in memory, {size(before)} before"
