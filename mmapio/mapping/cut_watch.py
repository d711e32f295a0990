"""Watch over the end of a file, which tells that it was cut off, and has grown again since.

Neither the size nor the blocks of the file do. Its size is as it was, and it has fewer blocks as
well when another program digs out the zeros in it, or the file system packs them. But whoever maps
its last page privately, and has a copy of it, keeps that when a hole is punched there and loses it
when the file is cut off: past the end, POSIX wants SIGBUS of private pages too. See
truncate_pagecache and truncate_pagecache_range in mm/truncate.c of Linux.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from .. import _os
from ..files.holes import has_hole

__all__ = ["CutWatch"]


_LOOKS: Final = 4  # at so many it is asked whether the page is in memory
# Each copy is an area of memory, of which vm.max_map_count allows 65530 for mappings and all.
_MOST_COPIES: Final = 1 << 14

_copies: set[int] = set()


class CutWatch:
    """Copy of the last page of a mapping, which goes when the file is cut off before it.

    Parameters
    ----------
    blocks : int
        Blocks that the file has.
    """

    __slots__ = ("_looks", "_page", "blocks", "has_seen_cut", "seen")

    def __init__(self, blocks: int) -> None:
        self._page = 0
        self._looks = 0
        self.blocks = blocks
        self.has_seen_cut = False  # by its size, which may be as it was the next time
        # The path of the file, and its packed facts, if the next check need not look further while
        # they are the same.
        self.seen: tuple[bytes, bytes] | None = None

    @property
    def is_set(self) -> bool:
        """True if there is a copy, so that a cut is noticed from here on."""
        return self._page != 0

    def set(
        self,
        address: int,
        offset: int,
        blocks: int,
        opened: Callable[[], AbstractContextManager[int]],
    ) -> None:
        """Copy a page of a file, unless it would have to be read from the drive for that.

        It is mapped at an `address` already, and is at an `offset` in the file that is `opened`.
        """
        self.blocks = blocks
        self._looks += 1
        if self._looks > _LOOKS and self._looks & (self._looks - 1):  # ever more rarely
            return
        if len(_copies) >= _MOST_COPIES:
            return
        try:
            is_resident = _os.is_resident(address)
            with opened() as fd:
                if (is_resident and _os.sees_cache(fd)) or has_hole(fd, offset, offset + 1):
                    self._keep(_os.map_copied(fd, offset))
        except OSError:  # no descriptor or memory is left: another time, maybe
            return

    def _keep(self, page: int) -> None:
        _copies.add(page)
        if self._page:  # a signal handler has made one meanwhile
            _give_back(page)
        else:
            self._page = page

    def saw_cut(self, blocks: int) -> bool:
        """Return whether the file, which has another number of blocks now, was cut off."""
        try:
            if not _os.is_copied(self._page):
                return True
        except OSError:  # no descriptor is left: another time
            return False
        self.blocks = blocks
        return False

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if getattr(self, "_page", 0) and not finalizing():
            page, self._page = self._page, 0
            _give_back(page)


def _give_back(page: int) -> None:
    _copies.discard(page)  # first: what is unmapped may be another's a moment later
    with contextlib.suppress(OSError):  # nobody could be told
        _os.unmap(page, _os.PAGE_SIZE)
