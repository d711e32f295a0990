"""Residency of files: row 25 of the targets."""

from __future__ import annotations

import errno
import os

import mmapio
from mmapio import _os
from mmapio.modes import Access

from . import common
from .common import InTemporaryDirectory, elapsed_s, ratio_of, target

SPARSE_BYTES = 10 << 30
TIB_BYTES = 1 << 40


def sparse(path: str, size: int) -> str:
    """Make a file that is one hole."""
    with open(path, "wb") as file:
        try:
            file.truncate(size)
        except OSError as error:  # the file system has no such files
            raise NotImplementedError(f"no file of {size} bytes: {error.strerror}") from error
    return path


class ResidencySparse(InTemporaryDirectory):
    """Row 25, residency of a sparse file of 10 GiB: at most 0.2 of what mincore takes.

    That is what vmtouch does: map the file, ask of all its pages, count, and unmap it.
    """

    def setup(self) -> None:
        super().setup()
        self.file = sparse(self.path("sparse.bin"), SPARSE_BYTES)
        self.fd = os.open(self.file, os.O_RDONLY)
        self.mapping = mmapio.MappedFile.open(self.file)

    def teardown(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)
        super().teardown()

    def time_mmapio(self) -> None:
        self.mapping.residency()

    def time_mincore(self) -> None:
        self.mincore()

    @target(row=25, at_most=0.2)
    def track_ratio_mincore(self) -> float:
        """Residency of a sparse file of 10 GiB, against mincore (target: at most 0.2)."""
        try:
            _os.cache_facts(self.fd, 0, SPARSE_BYTES)
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.ENOTSUP):
                raise common.Skip("this system has no cachestat") from error
            raise
        return ratio_of(lambda: elapsed_s(self.mapping.residency), lambda: elapsed_s(self.mincore))

    def mincore(self) -> int:
        """Return how many pages are in memory, by asking for each."""
        address = _os.map_file(self.fd, 0, SPARSE_BYTES, Access.READ)
        try:
            return int(_os.resident(address, SPARSE_BYTES).sum())
        finally:
            _os.unmap(address, SPARSE_BYTES)


class ResidencyRange(InTemporaryDirectory):
    """Ranges of a file of 1 TiB, a few pages of which are in memory."""

    def setup(self) -> None:
        super().setup()
        self.file = sparse(self.path("large.bin"), TIB_BYTES)
        self.mapping = mmapio.MappedFile.open(self.file)
        self.mapping.view()[:: TIB_BYTES // 8].sum()

    def time_all(self) -> None:
        self.mapping.residency()

    def time_pages_of_1_gib(self) -> None:
        self.mapping.residency(TIB_BYTES // 2, 1 << 30, buckets=None)
