"""What becomes of a mapping when its file is lost under it: `check`, `guard`, `recover`."""

from __future__ import annotations

from .._validation import bounded
from ._atomic import AtomicContent
from .losses import Guarding, check_file, check_region, recover

__all__ = ["GuardedContent"]


class GuardedContent(AtomicContent):
    """Bytes that can be lost, and are missed: the part of `MappedFile` that tells of losses."""

    __slots__ = ()

    @property
    def guarded(self) -> bool:
        """Whether a loss of the file becomes an error here, rather than the process's end."""
        return self.region.row != 0

    def check(self, offset: int = 0, length: int | None = None) -> None:
        """Raise if a range of the mapping has been lost since the file was opened.

        Parameters
        ----------
        offset : int, default 0
            First byte.
        length : int, optional
            Length in bytes; up to the end if left out.

        Raises
        ------
        MappingLostError
            If the file became shorter, if its disk was full when something was stored, or if the
            drive failed.
        ReplacedError
            If there is another file at the path now.
        OutOfBoundsError
            If the range does not lie within the mapping.
        ClosedError
            If the mapping is closed.

        Notes
        -----
        It looks for what the guard has met, and compares the file's size: bytes are also lost
        without a signal, in the page that holds the end of a file. That a file was cut off and
        then grew again is noticed by its blocks, if it had no holes before, it lost one, and the
        new part is holes.

        Examples
        --------
        >>> import os, mmapio
        >>> m = mmapio.MappedFile.open("checked.bin", "x+", size=100)
        >>> m.check()
        >>> os.truncate("checked.bin", 50)
        >>> m.check(0, 50)
        >>> m.check()
        Traceback (most recent call last):
        mmapio.errors.MappingLostError: [Errno ...] bytes 50 to 100 of the file were lost under \
the mapping, and read zeros: another program has cut the file off: '...checked.bin'
        """
        with self._source.lock:  # no resize meanwhile
            start, count = bounded(offset, length, self.size)
            region = self.region
            check_region(region, start, start + count)
            check_file(region, start, start + count)

    def guard(self) -> Guarding:
        """Return a context manager that checks at its end, for code that works on arrays.

        Returns
        -------
        Guarding
            For a ``with`` block; it does what `check` does at both ends of it. An error that the
            block raises becomes the cause of the one about the loss, if there was one.

        Warns
        -----
        RuntimeWarning
            If there is no guard on this platform; what `check` finds without one is found.

        Raises
        ------
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import os, mmapio
        >>> m = mmapio.MappedFile.open("guarded.bin", "x+", size=100_000)
        >>> try:
        ...     with m.guard():
        ...         os.truncate("guarded.bin", 0)
        ...         total = m.view().sum()
        ... except mmapio.MappingLostError as error:
        ...     print(total, error.cause)
        0 truncated
        """
        return Guarding(self.region, self.check)

    def recover(self) -> int:
        """Map the file again over what was lost of it, as far as it reaches now.

        What was stored in the zeros that had taken its place is lost with them. In mode ``c`` so
        is all that was stored between the first and the last byte that were lost.

        Returns
        -------
        int
            Bytes of memory that show the file again: whole pages. What is still lost, `check`
            tells.

        Raises
        ------
        ReplacedError
            If the path no longer leads to the file that was mapped.
        ClosedError
            If the mapping is closed.

        Examples
        --------
        >>> import os, mmapio
        >>> m = mmapio.MappedFile.open("recovered.bin", "x+", size=8192)
        >>> os.truncate("recovered.bin", 0)
        >>> m.view().any()
        np.False_
        >>> with open("recovered.bin", "wb") as file:
        ...     _ = file.write(b"again" * 2000)
        >>> m.recover()
        8192
        >>> bytes(m.view(0, 5))
        b'again'
        """
        with self._source.lock:
            return recover(self.region, self.size)
