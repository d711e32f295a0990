"""`Residency`: how much of a file is in memory, as numbers, text and a picture."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import _os
from .._formatting import printable, resampled, shades, size
from .._validation import as_count, as_positive, bounded
from ..errors import ArgumentError, FileError, UnsupportedError, file_error
from ..files.descriptors import as_path, reading
from . import heat_strip
from .cache_map import CacheMap, edges_of, map_of_file, map_of_memory

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BUCKETS", "Residency", "cells", "picture_of", "residency_of", "residency_of_memory"]

BUCKETS: Final = 128


@dataclass(frozen=True, eq=False)
class Residency:
    """Report of how much of a file or of memory is resident: see `MappedFile.residency`.

    Figures are bytes of whole pages, for the system knows no smaller ones. None stands for what it
    does not tell.

    Attributes
    ----------
    path : str or None
        The file; None if there is none.
    offset, length : int
        The range that was asked for, in bytes of the file.
    resident : int
        Bytes in memory: of a file, in the page cache, whoever brought them there.
    dirty, writeback : int or None
        Bytes of these that are to be written to the drive, and that are being written (Linux 6.5).
    evicted, recently_evicted : int or None
        Bytes that once were in memory; and that still would be, were there more of it (Linux 6.5).
    rss, swap : int or None
        Bytes that this process has mapped in, and that it has in swap; private copies of mode
        ``c`` included. None if it was a path that was asked for.
    map : numpy.ndarray of float32
        Which share of each bucket is in memory, from 0 to 1. Buckets divide the range evenly.
    dirty_map : numpy.ndarray of float32, or None
        The same of what is dirty.

    Examples
    --------
    >>> import mmapio
    >>> a = mmapio.create("warm.npy", (1000, 1000), "f8")
    >>> a[:] = 1
    >>> found = a.residency()
    >>> found.fraction
    1.0
    >>> found.resident >= a.nbytes
    True
    """

    path: str | None
    offset: int
    length: int
    resident: int
    dirty: int | None
    writeback: int | None
    evicted: int | None
    recently_evicted: int | None
    rss: int | None
    swap: int | None
    map: npt.NDArray[np.float32] = field(repr=False)
    dirty_map: npt.NDArray[np.float32] | None = field(repr=False)

    @property
    def span(self) -> int:
        """Bytes of the pages that the range lies on: `resident` when all of it is in memory."""
        edges = edges_of(self.offset, self.length, 1)
        return int(edges[-1] - edges[0])

    @property
    def fraction(self) -> float:
        """Share of the pages that is in memory, from 0 to 1; 1 for an empty range."""
        return self.resident / self.span if self.length else 1.0

    def to_json(self) -> dict[str, Any]:
        """Return the report as a dict that JSON can hold.

        Returns
        -------
        dict
            All attributes, `fraction` among them; maps are lists of numbers.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.MappedFile.anonymous(4096).residency().to_json()["map"]
        [0.0]
        """
        figures = ("resident", "dirty", "writeback", "evicted", "recently_evicted", "rss", "swap")
        return {
            "path": self.path,
            "offset": self.offset,
            "length": self.length,
            "fraction": self.fraction,
            **{name: getattr(self, name) for name in figures},
            "map": _rounded(self.map),
            "dirty_map": None if self.dirty_map is None else _rounded(self.dirty_map),
        }

    def text(self, width: int = 80, *, ascii_only: bool = False) -> str:
        """Draw the report as text.

        Parameters
        ----------
        width : int, default 80
            Columns to draw in.
        ascii_only : bool, default False
            Draw with characters of ASCII.

        Returns
        -------
        str
            The path, a bar over the range (``·`` nothing in memory, ``█`` everything, shades
            between them), and the figures.

        Raises
        ------
        ArgumentError
            If nothing can be drawn in so few columns.

        Examples
        --------
        >>> import mmapio
        >>> a = mmapio.create("drawn.bin", 1 << 20, "u1", raw=True)
        >>> a[:] = 1
        >>> print(a.residency().text(38).partition("drawn.bin")[2])
        <BLANKLINE>
          ████████████████████████████  100.0%
          1.00 MiB of 1.00 MiB in memory...
        """
        room = as_count(width, "width") - len("    100.0%")
        if room < 1:
            raise ArgumentError(f"width must be 11 or more, got {width}")
        bar = "".join(shade for shade, _ in cells(self, room, ascii_only=ascii_only))
        lines = [printable(self.path or "<anonymous>")]
        lines += [f"  {bar}  {self.fraction:>6.1%}"] if self.length else []
        return "\n".join((*lines, f"  {self.figures()}"))

    def figures(self) -> str:
        """Return the figures in one line of text.

        Returns
        -------
        str
            Sizes in units; what is 0, or unknown, is left out. ``empty`` if the range is.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.MappedFile.anonymous(4096).residency().figures()
        '0 bytes of 4.00 KiB in memory'
        """
        if not self.length:
            return "empty"
        named = {
            "dirty": self.dirty,
            "being written": self.writeback,
            "evicted": self.evicted,
            "mapped here": self.rss,
            "in swap": self.swap,
        }
        known = [f"{size(count)} {name}" for name, count in named.items() if count]
        return ", ".join([f"{size(self.resident)} of {size(self.span)} in memory", *known])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the report as a heat strip over the range, with matplotlib (extra ``plot``).

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure of pyplot's if left out.

        Returns
        -------
        matplotlib.axes.Axes
            Where it was drawn: the darker, the more is in memory; orange is dirty.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.

        Examples
        --------
        >>> import mmapio
        >>> from matplotlib.figure import Figure
        >>> a = mmapio.create("plotted.bin", 1 << 20, "u1", raw=True)
        >>> a[:] = 1
        >>> ax = a.residency(buckets=512).plot(Figure().subplots())
        >>> ax.get_title(loc="right")
        '100.0% of 1.00 MiB in memory...'
        """
        return heat_strip.draw(heat_strip.new_axes() if ax is None else ax, _strip_of(self))

    def __repr__(self) -> str:
        dirty = f", {size(self.dirty)} dirty" if self.dirty else ""
        share = f"{self.fraction:.1%} of {size(self.length)} in memory"
        return f"<Residency {self.path or '<anonymous>'} {share}{dirty}>"

    def __str__(self) -> str:
        return self.text()


def residency_of(
    path: str | os.PathLike[str],
    offset: int = 0,
    length: int | None = None,
    *,
    buckets: int = BUCKETS,
) -> Residency:
    """Report how much of a file is in memory, without mapping it.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    offset : int, default 0
        First byte.
    length : int, optional
        Length in bytes; up to the end if left out.
    buckets : int, default 128
        Into how many parts the map divides the range.

    Returns
    -------
    Residency
        What there is to tell; `rss` and `swap`, which are of mappings, are None.

    Raises
    ------
    FileError
        If the file cannot be opened, or is none.
    AccessError
        If the system does not tell this process.
    OutOfBoundsError
        If the range does not lie within the file.
    UnsupportedError
        If this platform tells it of mappings only.

    Examples
    --------
    >>> import mmapio
    >>> from mmapio.pagecache.residency import residency_of
    >>> mmapio.create("asked.npy", 1000, "f8").close()
    >>> residency_of("asked.npy")
    <Residency ...asked.npy 100.0% of 7.94 KiB in memory...>
    """
    count = as_positive(buckets, "buckets")
    name = as_path(path)
    with reading(name) as (fd, facts), _asking(name):
        start, nbytes = bounded(offset, length, facts.size)
        edges = edges_of(start, nbytes, count)
        found = map_of_file(fd, name, edges, by_page=False)
    return _report(os.fsdecode(path), start, nbytes, found, None)


def residency_of_memory(
    address: int,
    length: int,
    buckets: int | None,
    *,
    path: str | None = None,
    offset: int = 0,
    opened: Callable[[], AbstractContextManager[int]] | None = None,
) -> Residency:
    """Report how much of mapped memory is in memory; the caller keeps it mapped meanwhile.

    Parameters
    ----------
    address, length : int
        The range, in bytes.
    buckets : int or None
        As of `MappedFile.residency`.
    path : str, optional
        Path of the file that is mapped there, for the report.
    offset : int, default 0
        Byte of the file that lies at the address.
    opened : callable, optional
        Returns a context manager that yields a descriptor of the file; there is no file if left
        out.

    Returns
    -------
    Residency
        The report.

    Examples
    --------
    >>> import mmapio
    >>> from mmapio.pagecache.residency import residency_of_memory
    >>> a = mmapio.anonymous(4096, "u1")
    >>> residency_of_memory(a.ctypes.data, 4096, None).resident
    0
    """
    count = None if buckets is None else as_positive(buckets, "buckets")
    edges = edges_of(offset, length, count)
    found = None
    with _asking(path):
        if opened is not None:
            with contextlib.suppress(UnsupportedError), opened() as fd:
                found = map_of_file(fd, path, edges, by_page=count is None)
        start = address - (offset - int(edges[0]))
        if found is None:
            found = map_of_memory(start, edges)
        use = _os.memory_use(start, int(edges[-1] - edges[0]))
    return _report(path, offset, length, found, use)


@contextlib.contextmanager
def _asking(path: str | None) -> Iterator[None]:
    """Raise an error of ours for one of the system."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise file_error(error, "tell what is in memory", path) from error


def cells(report: Residency, width: int, *, ascii_only: bool = False) -> list[tuple[str, bool]]:
    """Draw the map of a report in a number of characters.

    Parameters
    ----------
    report : Residency
        What to draw.
    width : int
        How many characters.
    ascii_only : bool, default False
        Draw with characters of ASCII.

    Returns
    -------
    list of (str, bool)
        Each character, and whether a part of what it stands for is dirty.

    Examples
    --------
    >>> import mmapio
    >>> from mmapio.pagecache.residency import cells
    >>> cells(mmapio.MappedFile.anonymous(8192).residency(), 3)
    [('·', False), ('·', False), ('·', False)]
    """
    dirty = [False] * width
    if report.dirty_map is not None:
        dirty = [share > 0 for share in resampled(report.dirty_map, width)]
    drawn = shades(resampled(report.map, width), ascii_only=ascii_only)
    return list(zip(drawn, dirty, strict=True))


def picture_of(reports: Iterable[Residency]) -> Figure:
    """Draw reports one below the other, with a legend.

    Parameters
    ----------
    reports : iterable of Residency
        What to draw; one at least.

    Returns
    -------
    matplotlib.figure.Figure
        A figure that pyplot knows nothing of; `savefig` writes it to a file.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import mmapio
    >>> from mmapio.pagecache.residency import picture_of
    >>> figure = picture_of([mmapio.MappedFile.anonymous(1 << 20).residency()])
    >>> figure.savefig("anonymous.png")
    """
    return heat_strip.sheet([_strip_of(report) for report in reports])


def _strip_of(report: Residency) -> heat_strip.Strip:
    name = os.path.basename(report.path) if report.path else "<anonymous>"
    dirty = f", {size(report.dirty)} dirty" if report.dirty else ""
    caption = f"{report.fraction:.1%} of {size(report.length)} in memory{dirty}"
    if not report.length:
        caption = "empty"
    return heat_strip.Strip(
        name, caption, report.offset, report.length, report.map, report.dirty_map
    )


def _report(
    path: str | None, offset: int, length: int, found: CacheMap, use: _os.MemoryUse | None
) -> Residency:
    rss, swap = (None, None) if use is None else use
    figures, shares = found[:5], found[5:]
    return Residency(path, offset, length, *figures, rss, swap, *shares)


def _rounded(shares: npt.NDArray[np.float32]) -> list[float]:
    return [float(f"{share:.6g}") for share in shares.tolist()]  # what is not nothing stays so
