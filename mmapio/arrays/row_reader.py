"""Rows of a growable array's file, as its readers see them: those that are committed."""

from __future__ import annotations

import os
import threading

from .. import _forking
from ..errors import FormatError
from ..files.descriptors import replaced_error
from ..guard.lost_memory import lost_error
from ..mapping.mapped_file import MappedFile
from .growing_header import whole_header
from .row_file import layout_of

__all__ = ["RowReader"]


class RowReader:
    """Header of a mapped file that another process appends to: its layout, and `committed` rows."""

    __slots__ = ("__weakref__", "_header", "_mapping", "committed", "layout", "lock")

    def __init__(self, mapping: MappedFile) -> None:
        self._mapping = mapping
        self._header = b""
        self.committed = -1
        self.renew()
        _forking.renew_in_child(self)
        self.refresh()

    def renew(self) -> None:
        """Make a new lock: in a forked child, the old one may be held by a thread that is gone."""
        self.lock = threading.RLock()

    def refresh(self) -> None:
        """Read the header again, which the writer may have changed."""
        mapping, again = self._mapping, False
        while True:
            data = mapping._hold().bytes()
            if self._header and data[: len(self._header)].tobytes() == self._header:
                count = self.committed
            else:
                header, self._header = whole_header(data[: mapping.size])
                self.layout = layout_of(header, mapping._source.name)
                count = header.shape[0]
            if self._size_of_file() >= self.layout.end(count):
                break
            if again:
                self._header = b""  # so that the next look reads it again
                raise FormatError(
                    f"{mapping.path!r} is truncated: its header tells of {count} rows"
                )
            self._header, again = b"", True  # it may have been truncated after the header was read
        self.committed = count

    def check(self, count: int) -> None:
        """Raise if so many rows are no longer in the file, or it is not the one at its path."""
        mapping, end = self._mapping, self.layout.end(count)
        mapping.check(0, min(end, mapping.size))
        facts = mapping._source.facts_now()
        if facts is not None and facts.size < end:
            raise lost_error(mapping._source, facts.size, end, "truncated")

    def _size_of_file(self) -> int:
        """Return the size of the file now, which must still be the one at the path."""
        path, source = str(self._mapping.path), self._mapping._source
        try:
            found = os.stat(path)
        except FileNotFoundError as error:
            raise replaced_error(path, "is gone") from error
        if source.facts is None or found.st_ino != source.facts.inode:
            raise replaced_error(path, "was replaced by another")
        return found.st_size
