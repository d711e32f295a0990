"""The bytes of a mapping: viewing, reading, writing, cutting into pieces, the buffer protocol."""

from __future__ import annotations

import array
import hashlib
import io
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmapio import MappedFile, _os
from mmapio.errors import (
    ArgumentError,
    ArgumentTypeError,
    ClosedError,
    OutOfBoundsError,
    ReadOnlyError,
)

PAGE = _os.PAGE_SIZE
SIZE = 2 * PAGE + 100
CONTENT = bytes(np.arange(SIZE, dtype="u4").astype("u1") ^ (np.arange(SIZE) >> 8).astype("u1"))

INTEGERS = [np.dtype(code).type for code in np.typecodes["AllInteger"]]


def mapped(path: Path, mode: str = "r", **options: Any) -> MappedFile:
    """Return a mapping of a file that holds CONTENT."""
    path.write_bytes(CONTENT)
    return MappedFile.open(path, mode, **options)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.fixture
def m(path: Path) -> MappedFile:
    return mapped(path, "r+")


# Ranges ---------------------------------------------------------------------------------------

EDGES = [0, 1, PAGE - 1, PAGE, PAGE + 1, SIZE - 1, SIZE]


@pytest.mark.parametrize("offset", EDGES)
@pytest.mark.parametrize("length", [0, 1, PAGE, None])
def test_a_range_is_the_bytes_of_the_file(path: Path, offset: int, length: int | None) -> None:
    m = mapped(path)
    end = SIZE if length is None else offset + length
    if end > SIZE:
        with pytest.raises(OutOfBoundsError):
            m.view(offset, length)
        with pytest.raises(OutOfBoundsError):
            m.read(offset, length)
        return
    expected = CONTENT[offset:end]
    assert type(m.read(offset, length)) is bytes
    assert m.read(offset, length) == expected
    view = m.view(offset, length)
    assert type(view) is np.ndarray
    assert view.dtype == np.uint8
    assert (view.ndim, view.tobytes()) == (1, expected)


def test_without_a_range_it_is_all(m: MappedFile) -> None:
    assert m.read() == m.view().tobytes() == CONTENT
    assert m.size == len(m) == SIZE


CALLS: dict[str, Callable[[MappedFile, Any, Any], Any]] = {
    "view": lambda m, offset, length: m.view(offset, length),
    "view as a type": lambda m, offset, length: m.view(offset, length, "u1"),
    "read": lambda m, offset, length: m.read(offset, length),
    "segment": lambda m, offset, length: m.segment(offset, length),
    "flush": lambda m, offset, length: m.flush(offset, length),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("offset", "length", "kind"),
    [
        (-1, 1, ArgumentError),
        (0, -1, ArgumentError),
        (SIZE + 1, 0, OutOfBoundsError),
        (SIZE, 1, OutOfBoundsError),
        (0, SIZE + 1, OutOfBoundsError),
        (1, 2**63 - 1, OutOfBoundsError),
        (2**63, 1, ArgumentError),
        (0, 2**64, ArgumentError),
        (1.0, 1, ArgumentTypeError),
        (0, 1.0, ArgumentTypeError),
        ("0", 1, ArgumentTypeError),
        (None, 1, ArgumentTypeError),
        (0, b"1", ArgumentTypeError),
        (np.float32(0), 1, ArgumentTypeError),
        (np.int8(-1), 1, ArgumentError),
        (np.uint64(2**64 - 1), 1, ArgumentError),
    ],
)
def test_a_wrong_range_is_one_clear_error(
    m: MappedFile, call: Callable[..., Any], offset: Any, length: Any, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        call(m, offset, length)


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_of_every_width_are_accepted(m: MappedFile, kind: Any) -> None:
    three, five = kind(3), kind(5)
    assert m.read(three, five) == CONTENT[3:8]
    assert m.view(three, five).tobytes() == CONTENT[3:8]
    assert m.segment(three, five).read(kind(1), kind(2)) == CONTENT[4:6]
    assert m.write(three, b"new") == 3
    assert m.read_into(three, out := bytearray(3)) == 3
    assert out == b"new"
    assert len(next(iter(m.chunks(five)))) == 5
    m.flush(three, five)


def test_an_empty_mapping_has_empty_everything(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for m in (MappedFile.open(tmp_path / "empty", "r+"), MappedFile.anonymous(0)):
        assert (m.size, m.read(), m.view().size, bytes(memoryview(m))) == (0, b"", 0, b"")
        assert (m.write(0, b""), m.read_into(0, bytearray())) == (0, 0)
        assert (list(m.chunks(1)), list(m.pages()), m.reader().read()) == ([], [], b"")
        assert (len(m.segment(0, 0)), m.segment(0, 0).read()) == (0, b"")
        m.flush()
        with pytest.raises(OutOfBoundsError):
            m.write(0, b"x")
        with pytest.raises(OutOfBoundsError):
            m.read(1)


# Types of items -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "<f4", ">i8", "c16", "S3", [("a", "<i2"), ("b", ">f8")]])
def test_a_view_can_be_of_any_type_at_any_offset(path: Path, dtype: Any) -> None:
    kind = np.dtype(dtype)
    length = 7 * kind.itemsize
    found = mapped(path).view(3, length, dtype)
    assert (found.dtype, found.shape) == (kind, (7,))
    assert found.tobytes() == CONTENT[3 : 3 + length]


def test_a_length_must_be_whole_items(m: MappedFile) -> None:
    with pytest.raises(ArgumentError, match="length 10 is not a multiple of the 4 bytes of dtype"):
        m.view(0, 10, "f4")


@pytest.mark.parametrize("dtype", ["O", object, [("a", "O")], "S", "V0", "no such type", [1]])
def test_a_type_that_is_not_its_bytes_is_refused(m: MappedFile, dtype: Any) -> None:
    with pytest.raises((ArgumentError, ArgumentTypeError), match="dtype"):
        m.view(0, 16, dtype)


def test_only_what_is_writable_gives_writable_views(path: Path) -> None:
    for mode in ("r+", "c"):
        assert mapped(path, mode).view(0, 8, "f8").flags.writeable
    view = mapped(path, "r").view(0, 8)
    assert not view.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        view.flags.writeable = True


# Writing and reading into ---------------------------------------------------------------------

DATA = {
    "bytes": b"abcd",
    "bytearray": bytearray(b"abcd"),
    "memoryview": memoryview(b"abcd"),
    "every second byte": memoryview(b"a-b-c-d-")[::2],
    "array of the standard library": array.array("i", [1, -2]),
    "ndarray": np.arange(6, dtype=">i4"),
    "Fortran order": np.asfortranarray(np.arange(6, dtype="i2").reshape(2, 3)),
    "backwards": np.arange(6)[::-1],
    "structured": np.array([(1, 2.0)], dtype=[("a", "u1"), ("b", "f8")]),
    "dates": np.array(["2026-11-23"], dtype="M8[D]"),
    "one number": np.float64(7),
    "no dimension": np.array(7, dtype="i2"),
    "nothing": b"",
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_data_are_written_in_c_order(m: MappedFile, path: Path, data: Any) -> None:
    expected = data.tobytes() if hasattr(data, "tobytes") else bytes(data)
    assert m.write(5, data) == len(expected)
    after = CONTENT[:5] + expected + CONTENT[5 + len(expected) :]
    assert m.read() == path.read_bytes() == after


@pytest.mark.parametrize("data", ["text", 3, None, [1, 2], {}])
def test_what_has_no_bytes_is_not_written(m: MappedFile, data: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=f"got '{type(data).__name__}'"):
        m.write(0, data)


def test_objects_are_not_written(m: MappedFile) -> None:
    with pytest.raises(ArgumentError, match="hold Python objects"):
        m.write(0, np.array([None]))


@pytest.mark.parametrize(("offset", "length"), [(SIZE - 3, 4), (SIZE, 1), (SIZE + 1, 0), (0, 9999)])
def test_what_does_not_fit_is_not_written_at_all(m: MappedFile, offset: int, length: int) -> None:
    with pytest.raises(OutOfBoundsError):
        m.write(offset, b"x" * length)
    assert m.read() == CONTENT


@pytest.mark.parametrize("data", [b"x", b""])
def test_a_read_only_mapping_is_not_written(path: Path, data: bytes) -> None:
    with pytest.raises(ReadOnlyError, match=f"the mapping of {str(path)!r} is read-only"):
        mapped(path).write(0, data)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_a_write_of_its_own_bytes_moves_them(source: int, target: int, length: int) -> None:
    m = MappedFile.anonymous(80)
    m.write(0, bytes(range(80)))
    m.write(target, m.view(source, length))
    expected = bytearray(range(80))
    expected[target : target + length] = bytes(range(source, source + length))
    assert m.read() == expected


OUTS = {
    "bytearray": bytearray(8),
    "memoryview": memoryview(bytearray(8)),
    "array of the standard library": array.array("q", [0]),
    "ndarray": np.zeros((2, 2), ">i2"),
    "part of an ndarray": np.zeros((3, 4), "i2")[1:2],
    "no dimension": np.zeros((), "f8"),
}


@pytest.mark.parametrize("out", OUTS.values(), ids=OUTS)
def test_a_buffer_is_filled(path: Path, out: Any) -> None:
    assert mapped(path).read_into(9, out) == 8
    assert bytes(memoryview(out).cast("B")) == CONTENT[9:17]


@pytest.mark.parametrize(
    "out",
    [
        b"12345678",
        np.zeros((2, 2), order="F"),
        np.zeros(8)[::2],
        memoryview(bytearray(8))[::2],
        np.frombuffer(b"12345678"),
    ],
)
def test_a_buffer_that_cannot_be_filled_is_refused(m: MappedFile, out: Any) -> None:
    with pytest.raises(ArgumentError, match="out must be"):
        m.read_into(0, out)


def test_a_buffer_too_large_is_left_as_it_was(m: MappedFile) -> None:
    out = bytearray(b"kept")
    with pytest.raises(OutOfBoundsError):
        m.read_into(SIZE - 3, out)
    assert out == b"kept"


# Pieces ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 7, PAGE, SIZE - 1, SIZE, SIZE + 1, 2**63 - 1])
def test_chunks_are_all_of_one_size_but_the_last(m: MappedFile, step: int) -> None:
    chunks = list(m.chunks(step))
    assert b"".join(chunk.tobytes() for chunk in chunks) == CONTENT
    assert {len(chunk) for chunk in chunks[:-1]} <= {step}
    assert 0 < len(chunks[-1]) <= step
    assert {type(chunk) for chunk in chunks} == {np.ndarray}


@pytest.mark.parametrize("offset", [0, 1, PAGE - 1, PAGE, SIZE - 1, SIZE])
@pytest.mark.parametrize("length", [None, 0, 1])
def test_pages_end_where_those_of_memory_do(path: Path, offset: int, length: int | None) -> None:
    length = min(SIZE - offset, 1) if length == 1 else length
    m = mapped(path, offset=offset, length=length)
    pages = list(m.pages())
    assert b"".join(page.tobytes() for page in pages) == m.read()
    for page in pages[1:]:
        assert page.__array_interface__["data"][0] % PAGE == 0
    assert all(0 < len(page) <= PAGE for page in pages)


CUTS: dict[str, Callable[..., Any]] = {
    "chunks": lambda m, **options: m.chunks(PAGE, **options),
    "pages": lambda m, **options: m.pages(**options),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_pieces_are_the_memory_itself(m: MappedFile, path: Path, cut: Callable[..., Any]) -> None:
    for number, piece in enumerate(cut(m)):
        piece[-1] = 50 + number
    ends = [PAGE - 1, 2 * PAGE - 1, SIZE - 1]
    assert [path.read_bytes()[end] for end in ends] == [50, 51, 52]
    with pytest.raises(BufferError):
        m.close()  # `piece` lives


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_copies_of_pieces_are_apart(m: MappedFile, cut: Callable[..., Any]) -> None:
    copies = list(cut(m, copy=True))
    for copy in copies:
        assert copy.flags.owndata
        copy[:] = 0
    assert m.read() == CONTENT
    m.close()  # they do not keep it in use


@pytest.mark.parametrize("pieces", [lambda m: m.chunks(10), lambda m: m.pages()])
def test_pieces_of_a_read_only_mapping_are_read_only(path: Path, pieces: Any) -> None:
    assert not any(piece.flags.writeable for piece in pieces(mapped(path)))
    assert all(piece.flags.writeable for piece in pieces(mapped(path, "c")))


@pytest.mark.parametrize(
    ("step", "kind"), [(0, ArgumentError), (-1, ArgumentError), (1.5, ArgumentTypeError)]
)
def test_a_step_that_goes_nowhere_is_refused_at_once(
    m: MappedFile, step: Any, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="nbytes must be"):
        m.chunks(step)


# The buffer protocol --------------------------------------------------------------------------


def test_the_buffer_is_the_memory(m: MappedFile, path: Path) -> None:
    buffer: Any = m
    view = memoryview(buffer)
    assert (view.format, view.itemsize, view.shape, view.readonly) == ("B", 1, (SIZE,), False)
    view[:3] = b"mem"
    np.asarray(buffer)[3:6] = list(b"arr")
    assert io.BytesIO(b"stream").readinto(buffer) == 6
    assert path.read_bytes()[:6] == m.read(0, 6) == b"stream"
    assert bytes(buffer) == m.read()
    assert hashlib.sha256(buffer).digest() == hashlib.sha256(m.read()).digest()
    assert np.frombuffer(buffer, "<u4", 4, 4).tobytes() == m.read(4, 16)


def test_a_class_derived_from_it_has_the_buffer_too(path: Path) -> None:
    class Derived(MappedFile):
        pass

    path.write_bytes(CONTENT)
    with Derived.open(path) as m:
        assert type(m) is Derived
        assert bytes(memoryview(m)) == CONTENT


def test_the_buffer_of_a_read_only_mapping_is_read_only(path: Path) -> None:
    buffer: Any = mapped(path)
    assert memoryview(buffer).readonly
    assert not np.asarray(buffer).flags.writeable
    with pytest.raises((TypeError, BufferError)):
        io.BytesIO(b"new").readinto(buffer)
    assert np.asarray(buffer).tobytes() == CONTENT


@pytest.mark.parametrize("export", [memoryview, np.asarray, partial(np.frombuffer, dtype="u1")])
def test_a_buffer_keeps_the_mapping_in_use(m: MappedFile, export: Any) -> None:
    buffer = export(m)
    with pytest.raises(BufferError):
        m.close()
    assert bytes(buffer) == CONTENT
    del buffer
    m.close()


@pytest.mark.parametrize("capacity", [None, 4 * SIZE])
def test_a_buffer_ends_where_the_mapping_does(path: Path, capacity: int | None) -> None:
    m: Any = mapped(path, "r+", offset=5, length=SIZE - 5, capacity=capacity)
    assert bytes(memoryview(m)) == CONTENT[5:]
    m.resize(10)
    assert bytes(memoryview(m)) == CONTENT[5:15]


def test_a_buffer_can_be_written_to_a_file_without_a_copy(m: MappedFile, path: Path) -> None:
    buffer: Any = m
    fd = os.open(path.with_name("copy"), os.O_CREAT | os.O_WRONLY | getattr(os, "O_BINARY", 0))
    assert os.write(fd, buffer) == SIZE
    os.close(fd)
    assert path.with_name("copy").read_bytes() == CONTENT


# After close ----------------------------------------------------------------------------------

USES: dict[str, Callable[[Any], Any]] = {
    "view": lambda m: m.view(0, 1),
    "view of all": lambda m: m.view(),
    "view as a type": lambda m: m.view(0, 1, "u1"),
    "read": lambda m: m.read(),
    "read_into": lambda m: m.read_into(0, bytearray(1)),
    "write": lambda m: m.write(0, b"x"),
    "chunks": lambda m: m.chunks(1),
    "pages": lambda m: m.pages(),
    "segment": lambda m: m.segment(0, 1),
    "reader": lambda m: m.reader(),
    "size": lambda m: m.size,
    "len": len,
    "capacity": lambda m: m.capacity,
    "flush": lambda m: m.flush(),
    "resize": lambda m: m.resize(1),
    "fileno": lambda m: m.fileno(),
    "detach": lambda m: m.detach(),
    "with": lambda m: m.__enter__(),
    "pickle": lambda m: m.__reduce__(),
    "memoryview": memoryview,
    "bytes": bytes,
    "asarray": np.asarray,
    "frombuffer": np.frombuffer,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("force", [False, True])
def test_after_close_every_use_says_so(
    m: MappedFile, path: Path, use: Callable[[Any], Any], force: bool
) -> None:
    m.close(force)
    with pytest.raises(ClosedError, match=f"the mapping of {str(path)!r} is closed"):
        use(m)
