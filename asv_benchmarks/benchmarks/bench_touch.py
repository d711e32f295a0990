"""Mapping pages before they are needed: rows 7 and 8 of the targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mmapio
from mmapio import _os, kernels

from . import common, floor
from .common import InTemporaryDirectory, elapsed_s, target


class TouchWarm(InTemporaryDirectory):
    """Row 7, `touch_pages` of what is mapped: at most 2 us for 1 MiB; for more, of a plain loop."""

    def setup(self) -> None:
        super().setup()
        self.ours = mmapio.open(self.noise("warm.bin", common.LARGE_BYTES), dtype="u1")
        self.time_mmapio()  # compiles, and maps all pages
        self.time_loop()

    def time_mmapio(self) -> None:
        kernels.touch_pages(self.ours)

    def time_loop(self) -> None:
        floor.touch(self.ours.ndarray, _os.PAGE_SIZE)

    @target(
        row=7,
        at_most=2,
        unit="us",
        reason="calling a compiled kernel from Python takes most of it",
    )
    def track_1_mib(self) -> float:
        """touch_pages of 1 MiB that is mapped (target: at most 2 us)."""
        names = {"touch": kernels.touch_pages, "ours": self.ours.ndarray[: 1 << 20]}
        return common.medians_s(["touch(ours)"], names)[0] * 1e6

    @target(row=7, at_most=1.0)
    def track_ratio_32_mib(self) -> float:
        """touch_pages of 32 MiB that is mapped, against a loop (target: at most 1)."""
        return self.ratio(self.ours.ndarray[: 32 << 20])

    @target(row=7, at_most=0.6)
    def track_ratio_all(self) -> float:
        """touch_pages of a large file that is mapped, against a loop (target: at most 0.6)."""
        return self.ratio(self.ours.ndarray)

    def ratio(self, ours: NDArray[np.uint8]) -> float:
        names = {"touch": kernels.touch_pages, "loop": floor.touch, "ours": ours}
        return common.ratio("touch(ours)", f"loop(ours, {_os.PAGE_SIZE})", names)


class TouchFirst(InTemporaryDirectory):
    """Row 8, the first touch of a cached file: at most 0.6 x the better of two usual ways.

    These are a loop in one thread, and one madvise(2) with ``MADV_POPULATE_READ``.
    """

    params = ("disk", "tmpfs")
    param_names = ("place",)

    def setup(self, place: str) -> None:
        self.directory = common.directory_in(place)
        self.file = self.noise("cached.bin", common.LARGE_BYTES)

    def first_touch_s(self, touch: Callable[[NDArray[np.uint8]], object]) -> float:
        """Return how long it takes to touch a new mapping."""
        with mmapio.open(self.file, dtype="u1") as a:
            return elapsed_s(lambda: touch(a.ndarray))

    def track_mmapio(self, place: str) -> float:
        """First touch_pages of a cached file."""
        return self.first_touch_s(kernels.touch_pages) * 1e3

    track_mmapio.unit = "ms"  # type: ignore[attr-defined]

    @target(
        row=8,
        at_most=0.6,
        reason="where the file lies in the largest folios, the peer is one system call that "
        "maps them whole, and a second thread makes that slower",
    )
    def track_ratio_better(self, place: str) -> float:
        """First touch of a cached file, against the better way (target: at most 0.6)."""
        ways: list[Callable[[Any], object]] = [kernels.touch_pages, loop, populate]
        ours, *others = common.medians(
            [lambda touch=touch: self.first_touch_s(touch) for touch in ways]  # type: ignore[misc]
        )
        return ours / min(others)


def loop(a: NDArray[np.uint8]) -> None:
    """Touch pages in a loop."""
    floor.touch(a, _os.PAGE_SIZE)


def populate(a: NDArray[np.uint8]) -> None:
    """Let the system map all pages at once; where it cannot, loop."""
    try:
        _os.advise(a.ctypes.data, a.size, _os.Advice.POPULATE_READ)
    except OSError:
        loop(a)
