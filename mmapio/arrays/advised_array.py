"""What the system is to do with the memory of an array: as of a mapping, for the array's bytes."""

from __future__ import annotations

from ..mapping.page_advice import (
    advise_pages,
    as_advice,
    lock_pages,
    prefetch_pages,
    release_pages,
    unlock_pages,
)
from ..mapping.region import Region

__all__ = ["AdvisedArray"]


class AdvisedArray:
    """The part of `MappedArray` that controls the pages of its memory.

    All of it is about the bytes from the array's lowest to its highest, gaps of a strided view
    included.
    """

    __slots__ = ()

    def _memory(self) -> tuple[Region, int, int]:
        """Return the memory it lies in, and offset and length in it of what the array spans."""
        raise NotImplementedError

    def advise(self, advice: str) -> None:
        """Tell the system what is to happen to the array's memory; no advice costs data.

        Parameters
        ----------
        advice : str
            As for `MappedFile.advise`: ``"random"``, ``"sequential"``, ``"willneed"`` and others.

        Raises
        ------
        ArgumentError, MappingLostError, FileError, ReadOnlyError, ClosedError
            As of `MappedFile.advise`.
        UnsupportedError
            If this system does not take the advice, or the array is a copy, which has no file.

        Examples
        --------
        >>> import mmapio
        >>> a = mmapio.create("advised.npy", (1000, 100), "f4")
        >>> a[100:200].advise("willneed")
        """
        advise_pages(*self._memory(), as_advice(advice))

    def prefetch(self) -> None:
        """Start to read the array into memory, and return at once.

        Raises
        ------
        ReplacedError, ClosedError
            As of `MappedFile.prefetch`.
        UnsupportedError
            If the array is a copy, which has no file.

        Examples
        --------
        >>> import mmapio
        >>> a = mmapio.create("prefetched.npy", (1000, 100), "f4")
        >>> a[500:].prefetch()
        """
        prefetch_pages(*self._memory())

    def release(self, evict: bool = False) -> None:
        """Take the array out of this process's memory; it is there again when it is used.

        Parameters
        ----------
        evict : bool, default False
            Take it out of the system's page cache as well, having made durable what is dirty.

        Raises
        ------
        FlushError, FileError, ClosedError
            As of `MappedFile.release`.
        UnsupportedError
            As of `MappedFile.release`; or if the array is a copy, which has no file.

        Examples
        --------
        >>> import mmapio
        >>> a = mmapio.create("released.npy", (1000, 100), "f4")
        >>> a[:500] = 1
        >>> a[:500].release(evict=True)
        >>> a[499, 0]
        np.float32(1.0)
        """
        release_pages(*self._memory(), evict)

    def lock(self) -> None:
        """Read the array in, and keep it in memory until `unlock`, or the end of the mapping.

        Raises
        ------
        FileError, MappingLostError, ClosedError
            As of `MappedFile.lock`.
        UnsupportedError
            If the array is a copy, which has no file.

        Examples
        --------
        >>> import mmapio
        >>> a = mmapio.anonymous(1000, "u1")
        >>> a[:100].lock()
        >>> a.unlock()
        """
        lock_pages(*self._memory())

    def unlock(self) -> None:
        """Let the system take the array's pages out of memory again, should it have to.

        Raises
        ------
        ClosedError
            If the mapping was closed.
        UnsupportedError
            If the array is a copy, which has no file.

        Examples
        --------
        >>> import mmapio
        >>> mmapio.anonymous(1000, "u1").unlock()
        """
        unlock_pages(*self._memory())
