"""Looking at mapped memory: rows 1, 2 and 3 of the targets.

The files are sparse and their bytes are never read: what is timed is making the views.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

import mmapio

from .common import InTemporaryDirectory, medians_s, ratio, target

LENGTH = 4096
REPEATS = range(1000)

SUBCLASS = (
    "numpy takes that long for a slice of any subclass of ndarray, an empty one too: "
    "`Slice.track_ratio_subclass` is 1"
)


class Empty(np.ndarray):
    __slots__ = ()


class Slice(InTemporaryDirectory):
    """Row 1, ``a[o:p]``: at most 1.6 x the time of an ndarray, and a tenth of `numpy.memmap`'s."""

    def setup(self) -> None:
        super().setup()
        path = self.zeros("slice.bin", 1 << 20)
        self.ours = mmapio.open(path, dtype="u1")
        self.ndarray = np.zeros(1 << 20, "u1")
        self.memmap = np.memmap(path, "u1", "r")

    def time_mapped_array_1000_times(self) -> None:
        slice_often(self.ours)

    def time_ndarray_1000_times(self) -> None:
        slice_often(self.ndarray)

    def time_memmap_1000_times(self) -> None:
        slice_often(self.memmap)

    @target(row=1, at_most=1.6, reason=SUBCLASS)
    def track_ratio_ndarray(self) -> float:
        """Slice of a MappedArray, against an ndarray's (target: at most 1.6)."""
        return self.ratio(self.ndarray)

    @target(row=1, at_most=1 / 10, reason=SUBCLASS)
    def track_ratio_memmap(self) -> float:
        """Slice of a MappedArray, against a np.memmap's (target: at most 1/10)."""
        return self.ratio(self.memmap)

    def track_ratio_subclass(self) -> float:
        """Slice of a MappedArray, against that of an empty subclass of ndarray (no target)."""
        return self.ratio(self.ndarray.view(Empty))

    track_ratio_subclass.unit = "x"  # type: ignore[attr-defined]

    def ratio(self, peer: Any) -> float:
        names = {"ours": self.ours, "peer": peer, "start": LENGTH, "end": 2 * LENGTH}
        return ratio("ours[start:end]", "peer[start:end]", names)


class View(InTemporaryDirectory):
    """Row 2, ``m.view(o, n)``, bounds-checked: at most 300 ns.

    Its peer is what the standard library and numpy do together, `numpy.frombuffer` over a `mmap`.
    """

    def setup(self) -> None:
        super().setup()
        path = self.zeros("view.bin", 1 << 20)
        self.ours = mmapio.MappedFile.open(path)
        with open(path, "rb") as file:
            self.mmap = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def time_view_1000_times(self) -> None:
        ours = self.ours
        for _ in REPEATS:
            ours.view(LENGTH, LENGTH)

    def time_frombuffer_1000_times(self) -> None:
        peer = self.mmap
        for _ in REPEATS:
            np.frombuffer(peer, "u1", LENGTH, LENGTH)

    @target(
        row=2,
        at_most=300,
        unit="ns",
        reason="a call of a method, three comparisons and a slice; the machine that the target was "
        "set on sliced an ndarray in 42 ns: compare `Slice.time_ndarray_1000_times`",
    )
    def track_view(self) -> float:
        """Bounds-checked MappedFile.view (target: at most 300 ns)."""
        names = {"ours": self.ours, "n": LENGTH}
        (view_s,) = medians_s(["ours.view(n, n)"], names)
        return view_s * 1e9

    def track_ratio_frombuffer(self) -> float:
        """MappedFile.view, against np.frombuffer over the standard library's mmap (no target)."""
        names = {"ours": self.ours, "peer": self.mmap, "n": LENGTH, "frombuffer": np.frombuffer}
        return ratio("ours.view(n, n)", "frombuffer(peer, 'u1', n, n)", names)

    track_ratio_frombuffer.unit = "x"  # type: ignore[attr-defined]


class Chunks(InTemporaryDirectory):
    """Row 3, 16 MiB in 4 KiB chunks: at most 1.15 x an ndarray's rows, 1/20 of `numpy.memmap`'s."""

    def setup(self) -> None:
        super().setup()
        rows = ((16 << 20) // LENGTH, LENGTH)
        self.file = self.zeros("chunks.bin", 16 << 20)
        self.ours = mmapio.MappedFile.open(self.file)
        self.ndarray = np.zeros(rows, "u1")
        self.memmap = np.memmap(self.file, "u1", "r", shape=rows)

    def time_chunks(self) -> None:
        for _ in self.ours.chunks(LENGTH):
            pass

    def time_ndarray_rows(self) -> None:
        for _ in self.ndarray:
            pass

    def time_memmap_rows(self) -> None:
        for _ in self.memmap:
            pass

    @target(row=3, at_most=1.15)
    def track_ratio_ndarray(self) -> float:
        """Chunks of a MappedFile, against the rows of an ndarray (target: at most 1.15)."""
        return self.ratio(self.ours, self.ndarray)

    @target(
        row=3,
        at_most=1 / 20,
        reason="the rows of an ndarray take nearly as long",
    )
    def track_ratio_memmap(self) -> float:
        """Chunks of a MappedFile, against the rows of a np.memmap (target: at most 1/20)."""
        # Of the first MiB only: all of a np.memmap takes so long that a busy machine interrupts
        # it, which would flatter us.
        part = mmapio.MappedFile.open(self.file, length=1 << 20)
        return self.ratio(part, self.memmap[: len(part) // LENGTH])

    def ratio(self, ours: mmapio.MappedFile, peer: Any) -> float:
        names = {"ours": ours, "peer": peer, "n": LENGTH}
        return ratio("for _ in ours.chunks(n): pass", "for _ in peer: pass", names)


def slice_often(array: Any) -> None:
    """Slice an array 1,000 times, as Python code does."""
    for _ in REPEATS:
        array[LENGTH : 2 * LENGTH]
