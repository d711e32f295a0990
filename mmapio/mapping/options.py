"""What is done with memory when it is mapped: the options `touch`, `advise`, `hugepages`, `lock`.

What lasts is done to the memory that a resize adds as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from .._os import Advice
from ..errors import ArgumentError, MmapioError
from .page_advice import advise_pages, as_advice, lock_pages
from .region import Region

__all__ = ["Options", "Touch", "as_options"]

Touch = Literal["never", "eager"]

# What is said about memory once, and holds for pages that are not there yet.
_LASTING: Final = frozenset(
    {
        Advice.NORMAL,
        Advice.RANDOM,
        Advice.SEQUENTIAL,
        Advice.HUGEPAGE,
        Advice.NOHUGEPAGE,
        Advice.DONTFORK,
        Advice.DOFORK,
        Advice.MERGE,
        Advice.UNMERGE,
    }
)


class Options(NamedTuple):
    """What is to be done with the memory of a mapping, at once and for what it gains later."""

    touch: bool
    advice: Advice | None
    hugepages: bool
    lock: bool

    def apply(self, region: Region) -> None:
        """Do all of it; raise at the first that fails, and nobody keeps the region."""
        self._advise(region, 0)
        if self.advice is not None and self.advice not in _LASTING:
            advise_pages(region, 0, region.size, self.advice)
        if self.touch:
            from ..kernels import touch_pages

            touch_pages(region.bytes()[: region.size])
            if self.hugepages:
                with contextlib.suppress(MmapioError):
                    advise_pages(region, 0, region.size, Advice.COLLAPSE)
        if self.lock:
            lock_pages(region, 0, region.size)
        region.source.extend = self._extend

    def _extend(self, region: Region, old: int, new: int) -> None:
        """Do to what a resize has added what lasts."""
        self._advise(region, old)
        if self.lock:
            lock_pages(region, old, new - old)

    def _advise(self, region: Region, start: int) -> None:
        """Give the advice that lasts, on all the room that there is from a byte on."""
        length = region.capacity - start
        if self.hugepages:
            # A wish: what the system cannot do costs speed and nothing else.
            with contextlib.suppress(MmapioError):
                advise_pages(region, start, length, Advice.HUGEPAGE)
        if self.advice is not None and self.advice in _LASTING:
            advise_pages(region, start, length, self.advice)


def as_options(
    touch: object, advise: str | None, hugepages: object, lock: object
) -> Callable[[Region], None] | None:
    """Return what is to be done with a mapping that is opened; None for nothing."""
    if not (isinstance(touch, str) and touch in ("never", "eager")):
        raise ArgumentError(f"touch must be 'never' or 'eager', got {touch!r}")
    if touch == "never" and advise is None and not hugepages and not lock:
        return None
    advice = None if advise is None else as_advice(advise)
    return Options(touch == "eager", advice, bool(hugepages), bool(lock)).apply
