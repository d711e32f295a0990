"""Tables of the page of figures: rows, each of the same work in several ways."""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from benchmarks import common
from benchmarks.common import InTemporaryDirectory

from mmapio import MappedFile, kernels

PAGE = 4096

Work = str | Callable[[], float]  # a statement, or a sampler


class Row(NamedTuple):
    """The same work by mmapio, which is the first of `ways`, and by its peers."""

    what: str
    crate: str
    names: dict[str, Any]
    ways: dict[str, Work]

    def measure(self) -> dict[str, Any]:
        """Return the row with a time for each way, in seconds."""
        samplers = [
            common.sampler(way, self.names) if isinstance(way, str) else way
            for way in self.ways.values()
        ]
        seconds = dict(zip(self.ways, common.medians(samplers), strict=True))
        return {"what": self.what, "crate": self.crate, "seconds": seconds}


class Table(InTemporaryDirectory):
    """A table: rows are measured one by one, each while its files are there."""

    title = ""
    note = ""
    numbers = itertools.count()  # no file is made anew under what maps it

    def rows(self) -> Iterator[Row]:
        raise NotImplementedError

    def measure(self) -> dict[str, Any]:
        """Return the table with all that its rows take."""
        note, rows = self.note, []
        self.setup()
        try:
            rows.extend(row.measure() for row in self.rows())  # those before an error stay
        except NotImplementedError as error:  # as asv understands it
            note = f"{note} The rest was skipped: {error}.".lstrip()
        finally:
            self.teardown()
        return {"title": self.title, "note": note, "rows": rows}

    def three(self, nbytes: int, mode: str = "r+") -> dict[str, Any]:
        """Map a file of noise by mmapio, numpy and the standard library."""
        path = self.noise(f"three{next(self.numbers)}.bin", nbytes)
        with open(path, "r+b") as file:
            plain = mmap.mmap(file.fileno(), 0)
        names = {"m": MappedFile.open(path, mode), "memmap": np.memmap(path, "u1", mode)}
        names |= {"plain": plain, "n": nbytes, "copyto": np.copyto}
        kernels.touch_pages(names["m"].view())
        names["memmap"][::PAGE].max(), plain[::PAGE]
        return names
