"""Segments: ranges that know their own end, and are checked at every use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmapio import MappedFile
from mmapio.errors import (
    ArgumentError,
    ArgumentTypeError,
    ClosedError,
    OutOfBoundsError,
    ReadOnlyError,
)

CONTENT = bytes(range(100))


@pytest.fixture
def m(tmp_path: Path) -> MappedFile:
    (tmp_path / "file").write_bytes(CONTENT)
    return MappedFile.open(tmp_path / "file", "r+")


def test_a_segment_counts_from_its_own_start(m: MappedFile) -> None:
    segment = m.segment(10, 20)
    assert (len(segment), segment.offset, segment.length) == (20, 10, 20)
    assert segment.read() == CONTENT[10:30]
    assert segment.read(5, 3) == CONTENT[15:18]
    assert segment.read(18) == CONTENT[28:30]
    assert segment.view().tobytes() == CONTENT[10:30]
    assert segment.view(4, 8, ">u4").tobytes() == CONTENT[14:22]
    assert segment.view(2, dtype="S9").tolist() == [CONTENT[12:21], CONTENT[21:30]]


def test_a_store_lands_in_the_mapping(m: MappedFile) -> None:
    segment = m.segment(10, 20)
    segment.view(0, 1)[0] = 255
    assert segment.write(17, np.array([1, 2, 3], "u1")) == 3
    assert m.read() == CONTENT[:10] + b"\xff" + CONTENT[11:27] + b"\1\2\3" + CONTENT[30:]


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 21), (20, 1), (21, 0), (19, 2), (2**62, 1), (0, 100)]
)
def test_a_segment_never_reaches_past_its_own_end(m: MappedFile, offset: int, length: int) -> None:
    segment = m.segment(10, 20)
    data = b"x" * min(length, 200)
    for use in (
        lambda: segment.write(offset, data),
        lambda: segment.read(offset, length),
        lambda: segment.view(offset, length),
    ):
        with pytest.raises(OutOfBoundsError, match="past the end, at 20 bytes"):
            use()
    assert m.read() == CONTENT


@pytest.mark.parametrize(
    ("offset", "length", "kind"),
    [
        (81, 20, OutOfBoundsError),
        (101, 0, OutOfBoundsError),
        (-1, 5, ArgumentError),
        (0, -5, ArgumentError),
        (0, None, ArgumentTypeError),
        (0.5, 1, ArgumentTypeError),
    ],
)
def test_a_segment_must_lie_in_the_mapping(
    m: MappedFile, offset: Any, length: Any, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        m.segment(offset, length)


def test_the_whole_and_the_empty_are_segments(m: MappedFile) -> None:
    assert m.segment(0, 100).read() == CONTENT
    assert m.segment(100, 0).read() == b""
    assert m.segment(100, 0).write(0, b"") == 0


@pytest.mark.parametrize("offset", [-1, 1.5, None])
def test_a_wrong_offset_is_refused_before_anything_is_written(m: MappedFile, offset: Any) -> None:
    with pytest.raises((ArgumentError, ArgumentTypeError), match="offset must be"):
        m.segment(10, 20).write(offset, b"x")
    with pytest.raises(ArgumentTypeError, match="data must be"):
        m.segment(10, 20).write(0, "text")
    assert m.read() == CONTENT


@pytest.mark.parametrize("mode", ["read", "view", "write"])
def test_a_segment_is_checked_anew_after_a_resize(m: MappedFile, mode: str) -> None:
    segment = m.segment(50, 20)

    def use(offset: int, length: int) -> object:
        if mode == "write":
            return segment.write(offset, b"y" * length)
        return len(getattr(segment, mode)(offset, length))

    m.resize(60)
    assert use(0, 10) == 10
    for offset, length in [(0, 20), (0, 11), (10, 1), (15, 2)]:
        with pytest.raises(OutOfBoundsError, match="past the end, at 60 bytes"):
            use(offset, length)
    m.resize(40)
    with pytest.raises(OutOfBoundsError, match="at 40 bytes"):
        use(0, 1)
    m.resize(100_000)  # past the capacity, to another place in memory
    assert use(0, 20) == 20
    assert len(segment) == 20
    assert m.read(70) == bytes(100_000 - 70)


def test_a_segment_sees_the_memory_that_a_resize_moved_to(m: MappedFile) -> None:
    segment = m.segment(10, 5)
    m.resize(100_000)
    segment.write(0, b"moved")
    assert m.read(10, 5) == b"moved"


def test_a_segment_keeps_no_memory_in_use(m: MappedFile) -> None:
    segment = m.segment(10, 5)
    m.close()
    for use in (segment.read, segment.view, lambda: segment.write(0, b"")):
        with pytest.raises(ClosedError):
            use()


def test_a_segment_of_a_read_only_mapping_is_read_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    segment = MappedFile.open(tmp_path / "file").segment(10, 5)
    assert not segment.view().flags.writeable
    with pytest.raises(ReadOnlyError):
        segment.write(0, b"x")


def test_a_segment_tells_where_it_is(m: MappedFile) -> None:
    assert repr(m.segment(10, 5)) == f"<Segment of 5 bytes at 10 of {m!r}>"
