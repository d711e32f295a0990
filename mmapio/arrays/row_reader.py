"""Rows of a growable array's file, as its readers see them: those that are committed."""

from __future__ import annotations

import threading
from typing import Any, NoReturn

import numpy as np

from .. import _forking, _os
from ..errors import FormatError, file_error
from ..files.descriptors import replaced_error
from ..files.header_seal import whole_header
from ..files.npy import NpyHeader
from ..guard.lost_memory import any_loss, lost_error
from ..mapping.mapped_file import MappedFile
from .room_to_grow import map_path_with_room
from .row_layout import RowLayout, check_layout, empty_file, layout_of

__all__ = ["RowReader"]


class RowReader:
    """Header of a mapped file that another process appends to: its layout, and `committed` rows.

    `mapping` is another one once the file was copied up, as overlayfs does for its first writer.
    """

    __slots__ = ("__weakref__", "_header", "_wanted", "committed", "layout", "lock", "mapping")

    layout: RowLayout

    def __init__(
        self,
        mapping: MappedFile,
        dtype: np.dtype[Any] | None = None,
        row_shape: tuple[int, ...] | None = None,
    ) -> None:
        self.mapping = mapping
        self._wanted = dtype, row_shape
        self._header = b""
        self.committed = -1
        self.renew()
        _forking.renew_in_child(self)
        self.refresh()

    def renew(self) -> None:
        """Make a new lock: in a forked child, the old one may be held by a thread that is gone."""
        self.lock = threading.RLock()

    def refresh(self) -> None:
        """Read the header again, which the writer may have changed; on failure all is as it was.

        What was lost, and is there again, is mapped anew.
        """
        mapping, header = self.mapping, self._header
        hold = mapping._hold()
        data = hold.bytes()
        if header and data[: len(header)].tobytes() == header and not hold.region.has_loss:
            facts, end = self._facts_now(), self.layout.end(self.committed)
            if facts.identity == mapping._source.identity and facts.size >= end:
                return
        del data
        self._look_anew()

    def _look_anew(self) -> None:
        again = False
        while True:
            facts = self._facts_now()
            mapping = self._mapping_of(facts)
            if any_loss():
                mapping.recover()
            header, raw = self._header_in(mapping, facts.size)
            layout = layout_of(header, mapping._source.name)
            if mapping is not self.mapping and self.committed >= 0 and layout != self.layout:
                raise replaced_error(str(mapping.path), "was replaced by another")
            check_layout(layout, *self._wanted, str(mapping.path))
            count = header.shape[0]
            size, end = self._facts_now().size, layout.end(count)
            if size >= end:
                break
            if again:
                self._raise_missing(mapping, size, end, count)
            again = True  # it may have been truncated after the header was read
        mapping._span(0, min(end, mapping.size)).check_lost()
        self.mapping, self._header, self.layout, self.committed = mapping, raw, layout, count

    def _facts_now(self) -> _os.FileFacts:
        """Return the facts of the file that is at the path now."""
        path = str(self.mapping.path)
        try:
            return _os.identify_path(path)
        except FileNotFoundError as error:
            raise replaced_error(path, "is gone") from error
        except OSError as error:
            raise file_error(error, "look at the file", path) from error

    def _mapping_of(self, facts: _os.FileFacts) -> MappedFile:
        """Return the mapping of the file at the path, which must be the one that was opened.

        overlayfs shows a file of a lower layer until somebody opens it to write, and its copy from
        then on. The device and the inode stay those of the original, which nobody can be given
        anew while that is mapped; the copy has its own time of birth.
        """
        mapping, path = self.mapping, str(self.mapping.path)
        known = mapping._source.identity
        if known is None or facts.identity == known:
            return mapping
        if facts.identity[:3] == known[:3] or self.committed < 0:
            return map_path_with_room(path, mapping._source.options, facts.identity)
        raise replaced_error(path, "was replaced by another")

    def _header_in(self, mapping: MappedFile, size: int) -> tuple[NpyHeader, bytes]:
        """Return the header in a mapping of a file of that size."""
        if size < len(self._header):
            self._raise_missing(mapping, size, self.layout.end(self.committed), self.committed)
        if size == 0:
            facts = mapping._source.facts
            if facts is not None and facts.is_device:
                raise FormatError(
                    f"{mapping.path!r} is a device, which cannot grow: use mmapio.open"
                )
            raise empty_file(mapping._source.name)
        data = mapping._hold().bytes()

        def read(offset: int, length: int) -> bytes:
            return data[offset : offset + length].tobytes()

        try:
            return whole_header(read, min(size, len(data)))
        except FormatError as error:
            # Cut off to nothing, and grown again by something else
            if self._header and not data[: len(self._header)].any():
                end = self.layout.end(self.committed)
                more = "and something else grew it again"
                raise lost_error(mapping._source, 0, end, "truncated", more) from error
            raise

    def _raise_missing(self, mapping: MappedFile, size: int, end: int, count: int) -> NoReturn:
        """Raise the error for a file that ends before the rows that its header tells of."""
        if self.committed >= 0:
            raise lost_error(mapping._source, size, end, "truncated")
        raise FormatError(f"{mapping.path!r} is truncated: its header tells of {count} rows")

    def check(self, count: int) -> None:
        """Raise if so many rows are no longer in the file, or it is not the one at its path."""
        mapping, end = self.mapping, self.layout.end(count)
        mapping.check(0, min(end, mapping.size))
        facts = mapping._source.facts_now()
        if facts is not None and facts.size < end:
            raise lost_error(mapping._source, facts.size, end, "truncated")
        self._header_in(mapping, end)  # which raises if something else wrote it anew
