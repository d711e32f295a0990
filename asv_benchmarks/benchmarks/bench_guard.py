"""Cost of the guard while nothing is lost: row 27 of the targets; and that of a loss."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import mmapio
from mmapio import kernels

from .common import InTemporaryDirectory, ratio, target

_LARGE_BYTES = 64 << 20


class Guarded(InTemporaryDirectory):
    """Arrays of one file, with the guard and without it."""

    def setup(self) -> None:
        super().setup()
        self.file = self.noise("raw.bin", _LARGE_BYTES)
        self.names: dict[str, Any] = {
            "guarded": mmapio.open(self.file, dtype="u1"),
            "plain": mmapio.open(self.file, dtype="u1", guard=False),
            "open": mmapio.open,
            "path": self.file,
            "scan": kernels.sum,
        }
        if not self.names["guarded"].mapping.guarded:
            raise NotImplementedError("there is no guard here")

    def time_guard_block(self) -> None:
        with self.names["guarded"].guard():
            pass

    def time_check(self) -> None:
        self.names["guarded"].check()

    @target(row=27, at_most=1.05)
    def track_ratio_slice(self) -> float:
        """Slice a guarded array, against one that is not (target: at most 1.05)."""
        return ratio("guarded[100:200]", "plain[100:200]", self.names)

    @target(row=27, at_most=1.05)
    def track_ratio_sum(self) -> float:
        """Sum up 64 MiB, guarded, against not (target: at most 1.05)."""
        return ratio("scan(guarded)", "scan(plain)", self.names)

    @target(row=27, at_most=1.2)
    def track_ratio_open(self) -> float:
        """Open and close a raw file, guarded, against not (target: at most 1.2)."""
        ours = "a = open(path, dtype='u1'); a[0]; a.close()"
        peer = "a = open(path, dtype='u1', guard=False); a[0]; a.close()"
        return ratio(ours, peer, self.names)


class Lost(InTemporaryDirectory):
    """A file that is cut off, read, told of, and mapped again when it has grown."""

    def setup(self) -> None:
        super().setup()
        self.file = self.zeros("raw.bin", _LARGE_BYTES)
        self.array = mmapio.open(self.file, dtype="u1")
        if self.array.mapping is None or not self.array.mapping.guarded:
            raise NotImplementedError("there is no guard here")

    def time_loss_of_all(self) -> None:
        os.truncate(self.file, 0)
        with contextlib.suppress(mmapio.MappingLostError), self.array.guard():
            self.array[0]
        os.truncate(self.file, _LARGE_BYTES)
        self.array.recover()
