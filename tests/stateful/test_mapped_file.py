"""`MappedFile` against a bytearray: whatever is done to it, in whatever order."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from mmapio import MappedFile, Segment, _os
from mmapio.errors import (
    ClosedError,
    ExistingFileError,
    InUseError,
    MissingFileError,
    OutOfBoundsError,
    ReadOnlyError,
    UnsupportedError,
)

PAGE = _os.PAGE_SIZE
EDGES = [0, 1, 100, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 3 * PAGE - 5]
sizes = st.sampled_from(EDGES[::-1]) | st.integers(0, 4 * PAGE)
# Where in a mapping: parts of its size, for that changes.
parts = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1)
data = st.binary(min_size=1, max_size=20) | st.sampled_from([b"x" * PAGE, b"y" * (2 * PAGE + 9)])


class View:
    """An array over a mapping, and which bytes of the mapping it shows."""

    def __init__(self, array: Any, offset: int) -> None:
        self.array = array
        self.offset = offset
        self.closed = False

    def expected(self, content: bytes | bytearray) -> bytes:
        """Return what it shows: zeros where there is nothing any more."""
        shown = b"" if self.closed else content[self.offset : self.offset + self.array.nbytes]
        return bytes(shown) + bytes(self.array.nbytes - len(shown))


class MappedFileMachine(RuleBasedStateMachine):
    """One file, at most one mapping of it, and views that may outlive the mapping."""

    views = Bundle("views")
    segments = Bundle("segments")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "file"
        self.file: bytearray | None = None  # what is in the file; None if it is not there
        self.private: bytearray | None = None  # what a copy-on-write mapping shows
        self.m: MappedFile | None = None
        self.offset = 0
        self.size = 0
        self.alive: list[View] = []

    def teardown(self) -> None:
        self.alive.clear()
        if self.m is not None:
            self.m.close(force=True)
        shutil.rmtree(self.folder)

    # The model ------------------------------------------------------------------------------------

    @property
    def content(self) -> bytearray:
        if self.private is not None:
            return self.private
        assert self.file is not None
        return self.file[self.offset : self.offset + self.size]

    @property
    def opened(self) -> MappedFile:
        assert self.m is not None
        return self.m

    @property
    def mode(self) -> str:
        return self.opened.mode

    def store(self, offset: int, data: bytes) -> None:
        if self.private is not None:
            self.private[offset : offset + len(data)] = data
        else:
            assert self.file is not None
            start = self.offset + offset
            self.file[start : start + len(data)] = data

    def span(self, at: float, of: float) -> tuple[int, int]:
        """Return offset and length of a part of the mapping."""
        offset = int(at * self.size)
        return offset, int(of * (self.size - offset))

    # Opening and closing --------------------------------------------------------------------------

    @initialize(
        target=views,
        mode=st.sampled_from(["w+", "x+", "a+"]),
        size=st.sampled_from(EDGES[2:]),
        at=st.sampled_from([0.0, 0.5]),
        capacity=st.sampled_from([None, 6 * PAGE]),
        text=st.binary(min_size=1, max_size=20),
    )
    def begin(self, mode: str, size: int, at: float, capacity: int | None, text: bytes) -> Any:
        self.open(mode=mode, size=size, at=at, to=1.0, capacity=capacity, reserve=True)
        self.write(at=0.0, data=(text * self.size)[: self.size])
        return self.view(at=0.0, of=1.0, kind="view")

    @precondition(lambda self: self.m is None)
    @rule(
        mode=st.sampled_from(["r", "r+", "w+", "x+", "a+", "c"]),
        size=sizes,
        at=st.just(0.0) | parts,
        to=st.just(1.0) | parts,
        capacity=st.none() | sizes.map(lambda size: 3 * size),
        reserve=st.booleans(),
    )
    def open(
        self, mode: str, size: int, at: float, to: float, capacity: int | None, reserve: bool
    ) -> None:
        creates = mode in ("w+", "x+", "a+")
        keeps = self.file is not None and mode not in ("w+", "x+")
        if mode == "a+" and not self.file:
            keeps = False  # an empty file is as good as none
        total = len(self.file) if keeps and self.file is not None else size
        offset = int(at * total)
        length = None if to == 1.0 else int(to * (total - offset))
        with contextlib.ExitStack() as stack:
            if self.file is None and not creates:
                stack.enter_context(pytest.raises(MissingFileError))
            if self.file is not None and mode == "x+":
                stack.enter_context(pytest.raises(ExistingFileError))
            self.m = MappedFile.open(
                self.path,
                mode,
                size if creates else None,
                offset=offset,
                length=length,
                capacity=capacity,
                reserve=reserve,
            )
        if self.m is None:
            return
        if not keeps:
            self.file = bytearray(size)
        self.offset, self.size = offset, total - offset if length is None else length
        self.private = self.content if mode == "c" else None

    @precondition(lambda self: self.m is not None)
    @rule(force=st.sampled_from([False, False, True]))
    def close(self, force: bool) -> None:
        m = self.opened
        if self.alive and not force:
            with pytest.raises(InUseError):
                m.close()
            return
        m.close(force)
        for view in self.alive:
            view.closed = True
        assert m.closed
        m.close()
        with pytest.raises(ClosedError):
            m.read()
        self.forget()

    @precondition(lambda self: self.m is not None and not self.alive)
    @rule()
    def detach(self) -> None:
        if self.mode == "c":
            return
        fd = self.opened.detach()
        assert os.fstat(fd).st_size == len(self.file or b"")
        os.close(fd)
        self.forget()

    def forget(self) -> None:
        self.m = self.private = None
        self.alive = []

    # Reading and writing --------------------------------------------------------------------------

    @precondition(lambda self: self.m is not None)
    @rule(at=parts, of=parts)
    def read(self, at: float, of: float) -> None:
        m, content = self.opened, self.content
        offset, length = self.span(at, of)
        expected = bytes(content[offset : offset + length])
        assert m.read(offset, length) == expected
        out = bytearray(length)
        assert m.read_into(offset, out) == length
        reader = m.reader()
        reader.seek(offset)
        assert out == reader.read(length) == expected
        with pytest.raises(OutOfBoundsError):
            m.read(offset, self.size - offset + 1)

    @precondition(lambda self: self.m is not None)
    @rule(at=parts, data=data)
    def write(self, at: float, data: bytes) -> None:
        m, offset = self.opened, int(at * self.size)
        if offset + len(data) > self.size:
            with pytest.raises(OutOfBoundsError):
                m.write(offset, data)
        elif self.mode == "r":
            with pytest.raises(ReadOnlyError):
                m.write(offset, data)
        else:
            assert m.write(offset, data) == len(data)
            self.store(offset, data)

    @precondition(lambda self: self.m is not None)
    @rule(step=st.integers(1, 2 * PAGE))
    def cut(self, step: int) -> None:
        m, content = self.opened, bytes(self.content)
        pieces = [piece.tobytes() for piece in m.chunks(step)]
        assert pieces == [content[at : at + step] for at in range(0, self.size, step)]
        assert b"".join(page.tobytes() for page in m.pages(copy=True)) == content

    @precondition(lambda self: self.m is not None)
    @rule(at=parts, of=parts, wait=st.booleans())
    def flush(self, at: float, of: float, wait: bool) -> None:
        self.opened.flush(*self.span(at, of), wait=wait)

    # Views ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.m is not None)
    @rule(target=views, at=parts, of=parts, kind=st.sampled_from(["view", "u4", "buffer"]))
    def view(self, at: float, of: float, kind: str) -> View:
        m: Any = self.opened
        offset, length = self.span(at, of)
        if kind == "buffer":
            offset, array = 0, np.frombuffer(m, "u1") if self.size else m.view()
        elif kind == "u4":
            array = m.view(offset, length // 4 * 4, "u4")
        else:
            array = m.view(offset, length)
        view = View(array, offset)
        self.alive.append(view)
        return view

    @rule(view=views, at=parts, value=st.integers(0, 255))
    def store_through(self, view: View, at: float, value: int) -> None:
        # Of what lies past the end nothing is promised but that it does no harm.
        bytes_there = min(view.array.nbytes, self.size - view.offset)
        if view.closed or view not in self.alive or bytes_there <= 0 or self.mode == "r":
            return
        position = int(at * (bytes_there - 1))
        view.array.view("u1")[position] = value
        self.store(view.offset + position, bytes([value]))

    @rule(view=consumes(views))
    def drop(self, view: View) -> None:
        if view in self.alive:
            self.alive.remove(view)
        view.array = None  # hypothesis holds on to the view

    @rule(view=views)
    def look(self, view: View) -> None:
        """Look at one that may be of a mapping that is closed."""
        if view.closed:
            assert not view.array.any()

    # Size -----------------------------------------------------------------------------------------

    @precondition(lambda self: self.m is not None)
    @rule(size=sizes | st.integers(0, 9 * PAGE), force=st.sampled_from([True, True, False]))
    def resize(self, size: int, force: bool) -> None:
        m = self.opened
        assert self.file is not None
        moves = size < self.size or size > m.capacity
        if self.mode == "r":
            with pytest.raises(ReadOnlyError):
                m.resize(size)
        elif self.mode == "c" or self.offset + self.size < len(self.file):
            with pytest.raises((UnsupportedError, InUseError)):
                m.resize(size)
        elif moves and self.alive and not force:
            with pytest.raises(InUseError):
                m.resize(size)
        else:
            m.resize(size, force)
            del self.file[self.offset + size :]
            self.file.extend(bytes(self.offset + size - len(self.file)))
            self.size = size

    # Segments and pickles -------------------------------------------------------------------------

    @precondition(lambda self: self.m is not None)
    @rule(target=segments, at=parts, of=parts)
    def segment(self, at: float, of: float) -> Any:
        return self.opened.segment(*self.span(at, of)), self.opened

    @rule(pair=segments, data=data)
    def use_segment(self, pair: tuple[Segment, MappedFile], data: bytes) -> None:
        segment, m = pair
        if m.closed:
            with pytest.raises(ClosedError):
                segment.read()
            return
        end = segment.offset + segment.length
        if end > self.size:
            with pytest.raises(OutOfBoundsError):
                segment.read()
            return
        assert segment.read() == self.content[segment.offset : end]
        if len(data) > segment.length:
            with pytest.raises(OutOfBoundsError):
                segment.write(0, data)
        elif self.mode != "r":
            segment.write(0, data)
            self.store(segment.offset, data)

    @precondition(lambda self: self.m is not None)
    @rule(at=parts, value=st.integers(0, 255))
    def pickle(self, at: float, value: int) -> None:
        if self.mode == "c":
            with pytest.raises(UnsupportedError):
                pickle.dumps(self.opened)
            return
        with pickle.loads(pickle.dumps(self.opened)) as again:
            assert again.read() == self.content
            if self.mode != "r" and self.size:
                offset = int(at * (self.size - 1))
                again.write(offset, bytes([value]))
                self.store(offset, bytes([value]))

    # Always ---------------------------------------------------------------------------------------

    @invariant()
    def the_file_is_as_it_should_be(self) -> None:
        assert os.listdir(self.folder) == ([] if self.file is None else ["file"])
        if self.file is not None:
            assert self.path.read_bytes() == self.file

    @invariant()
    def the_mapping_is_as_it_should_be(self) -> None:
        if self.m is not None:
            assert (self.m.size, self.m.offset, self.m.closed) == (self.size, self.offset, False)
            assert self.m.read() == self.content
            assert self.m.capacity >= self.size

    @invariant()
    def views_show_the_bytes_they_were_made_for(self) -> None:
        content = self.content if self.alive else b""
        for view in self.alive:
            assert view.array.tobytes() == view.expected(content)


TestMappedFile = MappedFileMachine.TestCase
TestMappedFile.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
