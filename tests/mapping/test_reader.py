"""Readers: mappings as streams, for whatever reads files."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmapio import MappedFile, MappedReader
from mmapio.errors import ArgumentError, ArgumentTypeError, ClosedError

TEXT = b"name,value\nfirst,1\nsecond,2\n\nlast,\xc3\xa9"


def mapping_of(data: bytes) -> MappedFile:
    m = MappedFile.anonymous(len(data))
    m.write(0, data)
    return m


def reader_of(data: bytes) -> MappedReader:
    return mapping_of(data).reader()


# What takes it --------------------------------------------------------------------------------


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    """Return what a function writes to a file."""
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def test_json_loads_it() -> None:
    assert json.load(reader_of(b'{"a": [1, 2]}')) == {"a": [1, 2]}


def test_tarfile_opens_it() -> None:
    def write(file: io.BytesIO) -> None:
        with tarfile.open(fileobj=file, mode="w:gz") as tar:
            member = tarfile.TarInfo("inside")
            member.size = len(TEXT)
            tar.addfile(member, io.BytesIO(TEXT))

    with tarfile.open(fileobj=reader_of(written(write))) as tar:
        inside = tar.extractfile("inside")
        assert inside is not None
        assert inside.read() == TEXT


def test_gzip_opens_it() -> None:
    with gzip.open(reader_of(gzip.compress(TEXT * 1000))) as file:
        assert file.read() == TEXT * 1000


def test_zipfile_opens_it() -> None:
    def write(file: io.BytesIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inside", TEXT)

    with zipfile.ZipFile(reader_of(written(write))) as archive:
        assert archive.read("inside") == TEXT


def test_numpy_loads_arrays_from_it() -> None:
    data = np.arange(1000.0)
    with np.load(reader_of(written(lambda file: np.savez(file, data=data)))) as arrays:
        np.testing.assert_array_equal(arrays["data"], data)
    one = reader_of(written(lambda file: np.save(file, data)))
    np.testing.assert_array_equal(np.load(one), data)


@pytest.mark.parametrize("engine", ["c", "python"])
def test_pandas_reads_it(engine: Any) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(reader_of(b"a,b\n1,2.5\n3,4.5\n"), engine=engine)
    assert table.to_dict("list") == {"a": [1, 3], "b": [2.5, 4.5]}


def test_pickle_loads_it() -> None:
    assert pickle.load(reader_of(pickle.dumps({"a": 1}))) == {"a": 1}


def test_a_buffer_and_a_decoder_go_on_top() -> None:
    with io.BufferedReader(reader_of(TEXT), 4) as buffered:
        assert buffered.peek(1)[:1] == b"n"
        assert buffered.readlines() == TEXT.splitlines(keepends=True)
    with io.TextIOWrapper(reader_of(TEXT), "utf-8") as text:
        assert text.read() == TEXT.decode()
        text.seek(0)
        assert list(csv.reader(text))[1] == ["first", "1"]


def test_shutil_copies_it() -> None:
    assert written(lambda file: shutil.copyfileobj(reader_of(TEXT * 9999), file)) == TEXT * 9999


# A file among files ---------------------------------------------------------------------------

SIZE = 40
ints = st.integers(-5, 50)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 50)),
        st.tuples(st.just("readinto"), st.integers(0, 50).map(bytearray)),
        st.tuples(st.just("readline"), st.integers(-1, 50)),
        st.tuples(st.just("readall")),
        st.tuples(st.just("tell")),
        st.tuples(st.just("seek"), ints),
        st.tuples(st.just("seek"), ints, st.integers(0, 2)),
    )
)


def outcome(stream: Any, name: str, arguments: list[Any]) -> object:
    """Return what an operation on a stream gives; an error is an error, whatever its class."""
    copies = [bytearray(each) if type(each) is bytearray else each for each in arguments]
    with contextlib.suppress(*((OSError, ValueError) if name == "seek" else ())):
        return getattr(stream, name)(*copies), copies
    return "error"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reader") / "file"
    path.write_bytes(bytes(range(SIZE)))
    return path


@given(operations)
def test_it_does_what_an_open_file_does(file: Path, operations: list[tuple[Any, ...]]) -> None:
    with open(file, "rb", buffering=0) as peer, MappedFile.open(file) as m, m.reader() as reader:
        for name, *arguments in operations:
            assert outcome(reader, name, arguments) == outcome(peer, name, arguments)
            assert reader.tell() == peer.tell()


@pytest.mark.parametrize(
    ("offset", "whence", "position"), [(-1, 0, -1), (-6, 1, -1), (-SIZE - 1, 2, -1)]
)
def test_seeking_before_the_start_is_an_error(offset: int, whence: int, position: int) -> None:
    reader = reader_of(bytes(SIZE))
    reader.seek(5)
    with pytest.raises(ArgumentError, match=f"position must be 0 or more, got {position}"):
        reader.seek(offset, whence)
    assert reader.tell() == 5


def test_seeking_past_the_end_finds_nothing_there() -> None:
    reader = reader_of(b"short")
    assert reader.seek(10**12) == 10**12
    assert (reader.read(), reader.read(5), reader.readinto(bytearray(5))) == (b"", b"", 0)
    assert reader.seek(-1, os.SEEK_END) == 4
    assert reader.read() == b"t"


@pytest.mark.parametrize("kind", [np.dtype(code).type for code in np.typecodes["AllInteger"]])
def test_seeking_takes_integers_of_every_width(kind: Any) -> None:
    reader = reader_of(bytes(1000))
    position = reader.seek(kind(100))
    assert (position, type(position)) == (100, int)
    assert (reader.seek(kind(100), 1), reader.seek(kind(100), 2)) == (200, 1100)


@pytest.mark.parametrize("whence", [3, -1, None, "0"])
def test_an_unknown_whence_is_refused(whence: Any) -> None:
    with pytest.raises(ArgumentError, match="whence must be 0, 1 or 2"):
        reader_of(b"").seek(0, whence)


@pytest.mark.parametrize("offset", ["1", 1.0, None])
def test_an_offset_that_is_no_integer_is_refused(offset: Any) -> None:
    with pytest.raises(ArgumentTypeError):
        reader_of(b"").seek(offset)


@pytest.mark.parametrize("whence", [0, 1, 2])
def test_a_position_past_any_file_is_refused(whence: int) -> None:
    with pytest.raises(ArgumentError):
        reader_of(b"abc").seek(2**63, whence)


def test_it_fills_buffers_of_any_shape() -> None:
    data = np.zeros((2, 3), ">u2")
    assert reader_of(bytes(range(20))).readinto(data) == 12
    assert data.tobytes() == bytes(range(12))


def test_it_tells_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(TEXT)
    reader = MappedFile.open(tmp_path / "file").reader()
    assert isinstance(reader, io.RawIOBase)
    assert (reader.readable(), reader.seekable(), reader.writable()) == (True, True, False)
    assert (reader.name, reader.mode) == (str(tmp_path / "file"), "rb")
    assert reader_of(b"").name == "<anonymous>"
    with pytest.raises((io.UnsupportedOperation, NotImplementedError)):
        reader.write(b"x")
    for refused in (reader.truncate, reader.fileno):
        with pytest.raises(io.UnsupportedOperation):
            refused()


# Its life -------------------------------------------------------------------------------------


def test_closing_the_reader_leaves_the_mapping_open() -> None:
    m = mapping_of(TEXT)
    with m.reader() as reader:
        reader.read(1)
    assert reader.closed
    assert m.read() == TEXT
    m.close()


@pytest.mark.parametrize(
    "use",
    [
        lambda reader: reader.read(),
        lambda reader: reader.read(1),
        lambda reader: reader.readall(),
        lambda reader: reader.readinto(bytearray(1)),
        lambda reader: reader.seek(0),
        lambda reader: reader.tell(),
        lambda reader: reader.readable(),
        lambda reader: reader.seekable(),
    ],
)
def test_a_closed_reader_says_so(use: Callable[[MappedReader], Any]) -> None:
    reader = reader_of(TEXT)
    reader.close()
    reader.close()
    with pytest.raises(ClosedError, match="the reader of '<anonymous>' is closed"):
        use(reader)


@pytest.mark.parametrize("use", [lambda r: r.read(), lambda r: r.read(1), lambda r: r.seek(0, 2)])
def test_a_reader_of_a_closed_mapping_says_so(use: Callable[[MappedReader], Any]) -> None:
    m = mapping_of(TEXT)
    reader = m.reader()
    m.close()  # a reader keeps no memory in use
    with pytest.raises(ClosedError, match="the mapping of <anonymous> is closed"):
        use(reader)


def test_a_reader_sees_what_the_mapping_is_now() -> None:
    m = MappedFile.anonymous(10, capacity=20)
    reader = m.reader()
    assert reader.read() == bytes(10)
    m.resize(12)
    m.write(10, b"on")
    assert reader.read() == b"on"
    m.resize(4)
    assert reader.read() == b""
    assert reader.seek(0, 2) == 4


def test_readers_of_one_mapping_have_their_own_positions() -> None:
    m = mapping_of(b"abcdef")
    first, second = m.reader(), m.reader()
    assert (first.read(3), second.read(1), first.read(1)) == (b"abc", b"a", b"d")


def test_reading_more_than_there_is_takes_no_room_for_it() -> None:
    m = MappedFile.anonymous(10)
    m.write(0, b"0123456789")
    reader = m.reader()
    assert (reader.read(3), reader.read(2**62), reader.read(5)) == (b"012", b"3456789", b"")
    reader.seek(8)
    assert (reader.read(None), reader.tell()) == (b"89", 10)
    with pytest.raises(ArgumentTypeError, match="size must be an integer"):
        reader.read(1.5)
    with pytest.raises(ArgumentTypeError, match="buffer must be"):
        reader.readinto("text")
