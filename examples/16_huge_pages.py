"""Random reads from a large table: in huge pages, and kept in memory.

An address is looked up in page tables, and what the processor remembers of them covers little
memory in pages of 4 KiB. One huge page stands for 512 of them. Where the system has none, or lets
this process lock less memory, all goes on without.
"""

import contextlib
import tempfile
from pathlib import Path

import numpy as np

import mmapio

ROWS = 1 << 17  # of 64 bytes: 8 MiB


def in_words(answer):
    return {True: "huge pages", False: "ordinary pages", None: "pages of unknown size"}[answer]


def in_memory():
    """Fill memory without a file, then put what is there into huge pages."""
    table = mmapio.anonymous((ROWS, 8), "f8", hugepages=True)
    table[:] = np.arange(ROWS)[:, np.newaxis]
    # The system may have none to give, or never have heard of them.
    with contextlib.suppress(mmapio.UnsupportedError, mmapio.FileError):
        table.advise("collapse")
    print(f"in memory: {in_words(table.mapping.is_hugepage_backed())}")
    rows = np.random.default_rng(1).integers(0, ROWS, 1000)
    assert (table[rows, 0] == rows).all()


def in_a_file(path):
    """Read a file in as huge pages, and keep a part of it in memory."""
    with mmapio.create(path, (ROWS, 8), "f8") as table:
        table[:] = np.arange(ROWS)[:, np.newaxis]
        table.flush()
        table.release(evict=True)  # what is in the page cache already stays in its pages
    table = mmapio.open(path, hugepages=True, touch="eager", advise="random")
    print(f"in a file: {in_words(table.mapping.is_hugepage_backed())}")
    try:
        table[:1000].lock()
        print("its first 1000 rows are locked")
        table[:1000].unlock()
    except mmapio.FileError as error:
        print(f"nothing is locked: {error.strerror}")


if __name__ == "__main__":
    in_memory()
    with tempfile.TemporaryDirectory() as directory:
        in_a_file(Path(directory, "table.npy"))
