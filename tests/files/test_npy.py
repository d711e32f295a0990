"""The `.npy` format: what numpy writes is read, what is written numpy would have written."""

from __future__ import annotations

import functools
import io
import itertools
import math
import os
import struct
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.lib.tests
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.lib import format as numpy_format

import mmapio
from mmapio.errors import FormatError
from mmapio.files.npy import MAGIC, NpyHeader, encode_header, read_header

PACKED = np.dtype([("a", "<i4"), ("b", ">f8"), ("c", "S3")])
PADDED = np.dtype([("a", "u1"), ("b", "<f8"), ("c", "<u2")], align=True)
DTYPES = [
    *(f"{order}{kind}" for order in "<>" for kind in ("i2", "i4", "i8", "u2", "u4", "u8")),
    *(f"{order}{kind}" for order in "<>" for kind in ("f2", "f4", "f8", "c8", "c16", "U7")),
    *("?", "i1", "u1", "S5", "V6", "<M8[ns]", ">M8[D]", "<m8[25s]", "<M8", "longdouble"),
    PACKED,
    PADDED,
    [("nested", PACKED), ("twice", [("deeper", PADDED, (2, 1))], (2,)), ("matrix", ">i2", (2, 3))],
    [(("a title", "short"), "<i4"), (("another", "other"), "<f4", (2,))],
    {"names": ["x"], "formats": ["<u2"], "offsets": [3], "itemsize": 11},
    [("", "<i4"), ("it's", "<i4"), ('quo"te', "<i4"), ("back\\slash", "<i4"), ("a\nb", "<i4")],
    [("é", "<i4"), ("ß" * 30, "<f8")],
    [("日本", "<i4"), ("\U0001f600", "<f8")],
]
SHAPES: list[tuple[int, ...]] = [
    (),
    (0,),
    (1,),
    (7,),
    (3, 4),
    (0, 5),
    (2, 0, 3),
    (2, 1, 3),
    (1,) * 9,
]


def saved(array: Any) -> bytes:
    """Return what numpy writes for an array."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header_of(array: Any) -> bytes:
    """Return the header that we write for an array."""
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    return encode_header(array.dtype, array.shape, fortran)


def parsed(data: bytes) -> NpyHeader:
    return read_header(lambda offset, length: data[offset : offset + length], len(data))


def with_text(text: str | bytes, version: tuple[int, int] = (1, 0), data: bytes = b"") -> bytes:
    """Return a file whose header says `text`."""
    raw = text if isinstance(text, bytes) else text.encode("latin1" if version[0] < 3 else "utf8")
    length = struct.pack("<H" if version == (1, 0) else "<I", len(raw))
    return MAGIC + bytes(version) + length + raw + data


def described(descr: str = "'<f8'", order: str = "False", shape: str = "(3,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


# What we write is what numpy writes --------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Stored array in format:UserWarning")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_headers_are_those_of_numpy_and_are_read_back(dtype: Any) -> None:
    for shape, order in itertools.product(SHAPES, ("C", "F")):
        array = np.zeros(shape, dtype, order=order)
        theirs = saved(array)
        assert theirs == header_of(array) + bytes(array.nbytes)
        header = parsed(theirs)
        assert header.file_size == len(theirs)
        assert (header.shape, header.dtype) == (array.shape, array.dtype)
        assert header.dtype.str == array.dtype.str
        assert array.strides == np.ndarray(shape, header.dtype, order=header.order).strides


@given(
    dtype=hnp.nested_dtypes(max_leaves=4, max_itemsize=64).filter(
        lambda dtype: dtype.itemsize and not dtype.hasobject and dtype.subdtype is None
    ),
    shape=hnp.array_shapes(min_dims=0, min_side=0, max_side=5),
    order=st.sampled_from("CF"),
)
@settings(max_examples=50)
def test_headers_of_any_dtype_are_those_of_numpy(
    dtype: np.dtype[Any], shape: tuple[int, ...], order: Any
) -> None:
    array = np.zeros(shape, dtype, order=order)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        theirs = saved(array)
    assert theirs[: len(theirs) - array.nbytes] == header_of(array)
    header = parsed(theirs)
    assert (header.dtype, header.shape) == (array.dtype, shape)


@given(st.lists(st.integers(0, 2**61), max_size=6), st.booleans())
@example([2**60], False)
@example([1, 10**17], True)
@example([2**61, 0], False)
def test_headers_leave_the_room_to_grow_that_numpy_leaves(sizes: list[int], order: bool) -> None:
    while math.prod(max(size, 1) for size in sizes) > 2**63 - 1:  # no array is that large
        sizes.pop()
    shape = tuple(sizes)
    theirs = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": order, "shape": shape}
    numpy_format.write_array_header_1_0(theirs, fields)
    assert encode_header(np.dtype("u1"), shape, order) == theirs.getvalue()


def test_padding_of_headers_of_every_length() -> None:
    for length in range(1, 130):
        array = np.zeros(2, [("f" * length, "<f4")])
        assert saved(array) == header_of(array) + bytes(array.nbytes)
        assert len(header_of(array)) % 64 == 0
        for order, shape in itertools.product((False, True), ((1, 10**15), (10**15, 1))):
            theirs = io.BytesIO()
            fields = {"descr": array.dtype.descr, "fortran_order": order, "shape": shape}
            numpy_format.write_array_header_1_0(theirs, fields)
            assert encode_header(array.dtype, shape, order) == theirs.getvalue()


def test_the_oldest_version_that_can_say_it_is_used() -> None:
    latin = np.dtype([("é", "f4")])
    wide = np.dtype([(f"a_rather_long_name_of_a_field_{i}", "f4") for i in range(1500)])
    unicode = np.dtype([("日本", "f4")])
    versions = [tuple(encode_header(d, (2,))[6:8]) for d in (latin, wide, unicode)]
    assert versions == [(1, 0), (2, 0), (3, 0)]
    array = np.zeros(2, wide)
    with pytest.warns(UserWarning, match="format 2.0"):
        theirs = saved(array)
    assert theirs == header_of(array) + bytes(array.nbytes)
    assert parsed(theirs).dtype == wide


def test_a_version_1_header_of_the_greatest_length_is_read() -> None:
    for length, version in ((65535, (1, 0)), (65536, (2, 0)), (1 << 20, (2, 0))):
        data = with_text(described().strip().ljust(length - 1) + "\n", version)
        assert parsed(data).data_offset == len(data)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_is_read(tmp_path: Path, version: tuple[int, int]) -> None:
    path = tmp_path / "x.npy"
    array = np.arange(12, dtype=">i4").reshape(3, 4, order="F").view([("é", ">i4")])
    with path.open("wb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        numpy_format.write_array(file, array, version=version)
    opened = mmapio.open(path)
    assert opened.dtype == array.dtype
    assert opened.strides == array.strides
    np.testing.assert_array_equal(opened, array)
    np.testing.assert_array_equal(opened, np.load(path))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.filterwarnings("ignore:Stored array in format:UserWarning")
def test_numpy_and_we_read_the_same_from_each_others_files(
    tmp_path: Path, dtype: Any, order: Any
) -> None:
    kind = np.dtype(dtype)
    filler = np.random.default_rng(0).integers(0, 100, 24 * kind.itemsize, dtype="u1")
    array = np.zeros((4, 6), kind, order=order)
    if "U" not in str(kind):  # not all bytes are characters
        array.reshape(-1, order="A").view("u1")[:] = filler
    np.save(tmp_path / "theirs.npy", array)
    opened = mmapio.open(tmp_path / "theirs.npy")
    assert (opened.dtype, opened.shape, opened.strides) == (kind, array.shape, array.strides)
    assert opened.tobytes("A") == array.tobytes("A")

    created = mmapio.create(tmp_path / "ours.npy", (4, 6), kind, order=order)
    created[...] = array
    loaded = np.load(tmp_path / "ours.npy")
    assert (loaded.dtype, loaded.shape, loaded.strides) == (kind, array.shape, array.strides)
    assert loaded.tobytes("A") == created.tobytes("A")


# What others wrote -------------------------------------------------------------------------------


def test_who_renames_the_fields_of_one_array_renames_no_others(tmp_path: Path) -> None:
    path = tmp_path / "records.npy"
    np.save(path, np.zeros(3, PADDED))
    mmapio.open(path).dtype.names = ("x", "y", "z")  # type: ignore[misc]
    assert mmapio.open(path).dtype.names == PADDED.names


def test_nor_where_records_are_described_as_no_others_are(tmp_path: Path) -> None:
    path = tmp_path / "records.npy"
    text = "{'descr': 'i4,f4', 'fortran_order': False, 'shape': (1,), }\n"
    path.write_bytes(with_text(text, data=bytes(8)))
    mmapio.open(path).dtype.names = ("x", "y")  # type: ignore[misc]
    assert mmapio.open(path).dtype.names == ("f0", "f1")


PLAIN = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }"


@pytest.mark.parametrize(
    "text",
    [
        *(PLAIN.replace("3, 4", shape) for shape in ("", "3,", "0,", "10, 20, 30", "3,4", "3, 4,")),
        *(
            PLAIN.replace("3, 4", shape)
            for shape in ("3", "03, 4", "3,,", ",", "-1,", "+3,", "1_0,")
        ),
        *(
            PLAIN.replace("3, 4", shape)
            for shape in ("\xb2,", " 3,", "9" * 19 + ",", "9" * 20 + ",")
        ),
        *(PLAIN.replace("<f8", descr) for descr in ("", "|V3", "a'b", "\\x3cf8", "\\", "', '")),
        *(PLAIN.replace("False", order) for order in ("True", "true", "0", "", "None")),
        *(
            PLAIN + end
            for end in ("\n", " \t \n", "\n ", "\n\n", "\v\n", ")", ", 'shape': (1,), }")
        ),
        *(PLAIN.replace(part, "") for part in ("{'descr': '", "', 'fortran_order': ", "), }")),
    ],
)
def test_simple_headers_say_what_they_say_to_those_who_read_any(text: str) -> None:
    def said(text: str) -> object:
        try:
            return parsed(with_text(text))[:3]
        except FormatError:
            return "refused"

    for whole in (text, text + "\n"):
        assert said(whole) == said(whole.replace("{", "{ ", 1))  # which is not as numpy writes it


def test_simple_headers_are_read_without_a_pattern(run_python: Callable[..., str]) -> None:
    # To compile one takes longer than all else of the first open.
    code = """
import io, re
import numpy as np
from mmapio.files.npy import plain_header
re.compile = None
for shape in ((), (3,), (2, 0, 4)):
    file = io.BytesIO()
    np.save(file, np.empty(shape, "<i2"))
    header = plain_header(file.getvalue()[:128])
    print(header.dtype, header.shape, header.fortran_order, header.data_offset)
"""
    expected = ["int16 () False 128", "int16 (3,) False 128", "int16 (2, 0, 4) False 128"]
    assert run_python(code).splitlines() == expected


def test_the_files_that_numpy_ships_are_opened_or_refused() -> None:
    found = sorted((Path(numpy.lib.tests.__file__).parent / "data").glob("*.npy"))
    assert len(found) >= 5
    readable = [path.name for path in found if "objarr" not in path.name]
    assert {"python3.npy", "win64python2.npy"} <= set(readable)
    for path in found:
        if path.name in readable:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # numpy's parser warns of Python 2
                expected = np.load(path)
            opened = mmapio.open(path)
            assert (opened.dtype, opened.shape) == (expected.dtype, expected.shape)
            np.testing.assert_array_equal(opened, expected)
        else:
            with pytest.raises(FormatError, match="Python objects"):
                mmapio.open(path)


@pytest.mark.parametrize(
    ("text", "dtype", "shape"),
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (3L, 4L)}", "<f8", (3, 4)),
        ("{'shape': (18446744073709551615L, 0)}", None, None),
        ("{'descr': [('a', '<i4'), ('b', '<f8', (2L,))], 'fortran_order': True, 'shape': (2L,)}",
         [("a", "<i4"), ("b", "<f8", (2,))], (2,)),
        ("{u'descr': u'<f8', u'fortran_order': False, u'shape': (3,)}", "<f8", (3,)),
        ('{"descr": "<f8", "fortran_order": False, "shape": ()}', "<f8", ()),
        ("{'shape':(3,),'fortran_order':False,'descr':'<f8'}", "<f8", (3,)),
        ("  {'descr' : '<f8' ,\n\t'fortran_order' :False,'shape': ( 3 , ) , }  \n", "<f8", (3,)),
        ("{'descr': ('<f8', (2,)), 'fortran_order': False, 'shape': (3,)}", ("<f8", (2,)), (3,)),
        ("{'descr': [('a', [('b', '<i4')]), ('', '|V4')], 'fortran_order': False, 'shape': (3,)}",
         {"names": ["a"], "formats": [[("b", "<i4")]], "offsets": [0], "itemsize": 8}, (3,)),
        (r"{'descr': [('\xe9\u65e5\U0001f600\'\\', '<i4')], 'fortran_order': False, 'shape': ()}",
         [("é日\U0001f600'\\", "<i4")], ()),
    ],
)  # fmt: skip
def test_headers_of_other_writers(text: str, dtype: Any, shape: Any) -> None:
    if dtype is None:
        with pytest.raises(FormatError):
            parsed(with_text(text))
        return
    header = parsed(with_text(text))
    assert (header.dtype, header.shape) == (np.dtype(dtype), shape)
    assert header.data_offset == len(with_text(text))


# What nobody should have written -----------------------------------------------------------------

MALFORMED = [
    (b"", "not a .npy file"),
    (b"\x93NUMP", "not a .npy file"),
    (b"PK\x03\x04 an archive", "not a .npy file"),
    (MAGIC, "version"),
    (MAGIC + b"\x01", "version"),
    (MAGIC + b"\x00\x00", "version"),
    (MAGIC + b"\x04\x00" + bytes(100), r"version \(4, 0\)"),
    (MAGIC + b"\x01\x01" + bytes(100), r"version \(1, 1\)"),
    (MAGIC + b"\x01\x00\x10", "truncated: the file ends at byte 9"),
    (MAGIC + b"\x01\x00\x76\x00{}", "truncated: it ends at byte 128, the file at 12"),
    (MAGIC + b"\x02\x00\xff\xff\xff\xff", "header of 4294967295 bytes is refused"),
    (with_text(""), "a value is missing"),
    (with_text("{"), "malformed"),
    (with_text("}"), "malformed"),
    (with_text("None"), "must be a dict"),
    (with_text("[]"), "must be a dict"),
    (with_text("{}"), "must be a dict"),
    (with_text(described()[:-3]), "malformed"),
    (with_text(described() + "1"), "something follows"),
    (with_text(described() + "\0"), "not a literal"),
    (with_text("{'descr': '<f8', 'fortran_order': False}"), "must be a dict"),
    (with_text(described()[:-2] + "'more': 1}"), "must be a dict"),
    (with_text("{'descr': '<f8' 'fortran_order': False, 'shape': (3,)}"), "comma is missing"),
    (with_text("{'descr' '<f8', 'fortran_order': False, 'shape': (3,)}"), "colon"),
    (with_text("{1: '<f8', 'fortran_order': False, 'shape': (3,)}"), "key must be a string"),
    (with_text("{'descr': '<f8, 'fortran_order': False, 'shape': (3,)}"), "malformed"),
    (with_text("__import__('os').system('echo pwned')"), "not a literal"),
    (with_text(described(order="0")), "fortran_order 0 is not a bool"),
    (with_text(described(order="'yes'")), "fortran_order 'yes' is not a bool"),
    (with_text(described(order="None")), "fortran_order None is not a bool"),
    (with_text(described(order="Talse")), "not a literal"),
    (with_text(described(order="Frue")), "not a literal"),
    (with_text(described(shape="3")), "shape 3 is not a tuple"),
    (with_text(described(shape="[3]")), r"shape \[3\] is not a tuple"),
    (with_text(described(shape="(3)")), "shape 3 is not a tuple"),
    (with_text(described(shape="(-3,)")), r"shape \(-3,\) is not a tuple of sizes"),
    (with_text(described(shape="(True,)")), "not a tuple of sizes"),
    (with_text(described(shape="('3',)")), "not a tuple of sizes"),
    (with_text(described(shape="(3.0,)")), "malformed"),
    (with_text(described(shape="(3e0,)")), "malformed"),
    (with_text(described(shape="(0x3,)")), "malformed"),
    (with_text(described(shape="(3, 4")), "malformed"),
    (with_text(described(shape="(,)")), "a value is missing"),
    (with_text(described(shape="(3,,)")), "a value is missing"),
    (with_text(described(shape=f"({2**63},)")), "overflows"),
    (with_text(described(shape=f"({2**60},)")), "overflows"),
    (with_text(described(shape=f"({2**32}, {2**32})")), "overflows"),
    (with_text(described(shape=f"(0, {2**62})")), "overflows"),
    (with_text(described(shape="(" + "9" * 21 + ",)")), "malformed"),
    (with_text(described(shape="(" + "9" * 5000 + ",)")), "malformed"),
    (with_text(described(shape="(" + "1," * 65 + ")")), "65 dimensions"),
    (with_text(described("'<f9'")), "'<f9' is not a dtype"),
    (with_text(described("'nonsense'")), "'nonsense' is not a dtype"),
    (with_text(described("'(2,'")), "is not a dtype"),
    (with_text(described("3")), "3 is not a dtype"),
    (with_text(described("[('a',)]")), "is not a dtype"),
    (with_text(described("[('a', '<i4'), ('a', '<i4')]")), "is not a dtype"),
    (with_text(described("{'names': 'a'}")), "is not a dtype"),
    (with_text(described("('<i4', (-1,))")), "is not a dtype"),
    (with_text(described("('<i4', (4294967296, 4294967296))")), "is not a dtype"),
    (with_text(described("'|O'")), "Python objects"),
    (with_text(described("'O'")), "Python objects"),
    (with_text(described("[('a', '<i4'), ('b', '|O')]")), "Python objects"),
    (with_text(described("[('a', [('b', '|O', (2,))])]")), "Python objects"),
    (with_text(described(r"'\q'")), r"unknown escape"),
    (with_text(described(r"'\xzz'")), r"unknown escape"),
    (with_text(described(r"'\UFFFFFFFF'")), r"unknown escape"),
    (with_text(b"{'descr': '\xff'}", (3, 0)), "not utf8"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "message"), MALFORMED, ids=[m for _, m in MALFORMED])
def test_malformed_headers_are_one_clear_error(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        parsed(data)
    assert isinstance(caught.value, ValueError)
    path = tmp_path / "x.npy"
    path.write_bytes(data)
    with pytest.raises(FormatError):  # by the public door, too
        mmapio.open(path)


@pytest.mark.parametrize("dtype", ["<f8", DTYPES[-4], [("日本", "<i4")]], ids=str)
def test_a_file_cut_at_any_byte_is_a_format_error(tmp_path: Path, dtype: Any) -> None:
    path = tmp_path / "x.npy"
    mmapio.save(path, np.ones((2, 3), dtype))
    whole = path.read_bytes()
    assert mmapio.open(path).shape == (2, 3)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError) as caught:
            mmapio.open(path)
    assert f"needs {len(whole)} bytes, the file has {len(whole) - 1}" in str(caught.value)
    assert str(path) in str(caught.value)


def _valid_headers() -> list[bytes]:
    arrays = [np.zeros((3, 4), dtype) for dtype in ("<f8", ">c16", "S5", "<M8[ns]")]
    nested = [("a", "<i4"), ("b", [("c", "<f8", (2, 2)), (("title", "d"), "S3")])]
    return [*map(header_of, arrays), header_of(np.zeros(5, nested)), header_of(np.zeros(1, PADDED))]


PIECES = ["(", ")", "[", "]", "{", "}", ",", ":", "'", '"', "\\", "-", "L", "0", "9" * 30, "T", " "]
PIECES += [
    "True",
    "None",
    "'descr'",
    "'shape'",
    "'|O'",
    "'<f8'",
    "1e9",
    "((((((",
    "\\x",
    "\\N{DASH}",
]

Edits = list[tuple[int, int, bytes]]


def _edits(pieces: st.SearchStrategy[bytes], start: int) -> st.SearchStrategy[Edits]:
    """Return edits of a header: where, how many bytes go, what comes in their place."""
    edit = st.tuples(st.integers(start, 150), st.integers(0, 8), pieces)
    return st.lists(edit, min_size=1, max_size=4)


def _edited(header: bytes, edits: Edits) -> bytes:
    for at, gone, new in edits:
        header = header[:at] + new + header[at + gone :]
    return header


@given(st.sampled_from(_valid_headers()), _edits(st.binary(max_size=4), 0))
@settings(max_examples=600)
@pytest.mark.filterwarnings("ignore")  # what numpy thinks of the dtypes that come out of this
def test_a_header_with_other_bytes_is_a_format_error_or_a_header(
    header: bytes, edits: Edits
) -> None:
    data = _edited(header, edits)
    try:
        found = parsed(data)
    except FormatError:
        return
    assert not found.dtype.hasobject
    assert 0 < found.data_offset <= len(data)


@given(
    st.sampled_from(_valid_headers()),
    _edits(st.sampled_from(PIECES).map(str.encode), len(MAGIC) + 4),
)
@settings(max_examples=800)
@example(_valid_headers()[0], [(62, 3, b"")])  # the comma of a tuple
@example(_valid_headers()[0], [(47, 1, b"T")])  # Talse
@pytest.mark.filterwarnings("ignore")
def test_no_header_is_read_otherwise_than_numpy_reads_it(header: bytes, edits: Edits) -> None:
    text = _edited(header, edits)[10:].rstrip() + b"\n"
    data = with_text(text)
    try:
        found = parsed(data)
    except FormatError:
        return
    shape, fortran_order, dtype = numpy_format.read_array_header_1_0(io.BytesIO(data[8:]))
    assert (found.shape, found.fortran_order, found.dtype) == (shape, fortran_order, dtype)


@given(st.binary(max_size=300), st.sampled_from([(1, 0), (2, 0), (3, 0)]))
@settings(max_examples=300)
def test_noise_is_a_format_error(noise: bytes, version: tuple[int, int]) -> None:
    with pytest.raises(FormatError):
        parsed(with_text(noise, version))


def _bombs() -> dict[str, Callable[[], bytes]]:
    big = (2, 0)
    return {
        "open brackets": lambda: with_text("[" * 1_000_000, big),
        "nested tuples": lambda: with_text("(" * 500_000 + ")" * 500_000, big),
        "nested dtypes": lambda: with_text(
            described("[('a', " * 5000 + "'<i4'" + ")]" * 5000), big
        ),
        "nested in a string": lambda: with_text(described(f"'{'(' * 500_000}'"), big),
        "a header of 10 MB": lambda: with_text(described().ljust(10_000_000), big),
        "a length that lies": lambda: MAGIC + b"\2\0" + struct.pack("<I", 2**32 - 1) + b"{}",
        "an integer of 1 MB": lambda: with_text(described(shape="9" * 1_000_000), big),
        "an integer in a string": lambda: with_text(described(f"'{'9' * 1_000_000}'"), big),
        "a million dimensions": lambda: with_text(described(shape=f"({'1,' * 500_000})"), big),
        "huge dimensions": lambda: with_text(
            described(shape=f"({'99999999999999999999,' * 49_000})"), big
        ),
        "an array of subarrays": lambda: with_text(described(f"('<i4', ({'9,' * 500_000}))"), big),
        "white space": lambda: with_text(" " * 1_000_000, big),
        "quotes": lambda: with_text("'" * 1_000_000, big),
        "backslashes": lambda: with_text("'" + "\\" * 1_000_000, big),
        "escapes": lambda: with_text("'" + "\\x41" * 250_000 + "'", big),
        "items of 2 GB": lambda: with_text(described("'|V2147483647'", shape="(1,)")),
        "sizes that overflow": lambda: with_text(described(shape=f"({2**62}, {2**62})")),
    }


@pytest.mark.parametrize("name", _bombs())
def test_header_bombs_cost_little(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.npy"
    path.write_bytes(_bombs()[name]())
    started = time.process_time()
    with pytest.raises(FormatError) as caught:
        mmapio.open(path)
    assert time.process_time() - started < 3
    assert len(str(caught.value)) < 1000


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npy"
    path.write_bytes(with_text(described().ljust(10_000_000), (2, 0)))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="10000000 bytes is refused"):
            mmapio.open(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_nothing_in_a_header_is_evaluated(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    flag = tmp_path / "evaluated"
    path.write_bytes(with_text(described(f"__import__('pathlib').Path({str(flag)!r}).touch()")))
    with pytest.raises(FormatError):
        mmapio.open(path)
    assert not flag.exists()
    assert "ast" not in vars(sys.modules["mmapio.files.npy"])


def test_what_is_too_wide_to_be_opened_is_not_created(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    dtype = np.dtype([(f"field_{i}", "i1") for i in range(60_000)])
    with pytest.raises(FormatError, match="too large"):
        mmapio.create(path, 1, dtype)
    assert not path.exists()


def _saving_zeros(path: Path, shape: int, dtype: Any) -> None:
    mmapio.save(path, np.zeros(shape, dtype))


@pytest.mark.parametrize("make", [mmapio.create, _saving_zeros])
def test_fields_that_overlap_cannot_be_described(tmp_path: Path, make: Any) -> None:
    dtype = np.dtype({"names": ["a", "b"], "formats": ["<i4", "<i4"], "offsets": [0, 2]})
    path = tmp_path / "x.npy"
    with pytest.raises((mmapio.ArgumentError, FormatError), match="overlap"):
        make(path, 3, dtype)
    assert list(tmp_path.iterdir()) == []
    raw = mmapio.create(path, 3, dtype, raw=True)  # raw bytes need no description
    raw["a"] = 1 << 16
    assert raw["b"].tolist() == [1, 1, 1]


UNREADABLE: dict[str, Any] = {
    "bfloat16": ml_dtypes.bfloat16,
    "float8": ml_dtypes.float8_e5m2,
    "float8 of another kind": ml_dtypes.float8_e4m3fn,
    "int4": ml_dtypes.int4,
    "uint2": ml_dtypes.uint2,
    "a field of bfloat16": [("a", "i4"), ("b", ml_dtypes.bfloat16)],
    "a subarray of int4": (ml_dtypes.int4, (2,)),
    "a name that is no plain str": [(np.str_("a"), "i4")],
    "too deep": functools.reduce(lambda inner, n: [(f"f{n}", inner)], range(40), "i4"),
}


def _writing(path: Path, dtype: np.dtype[Any]) -> dict[str, Callable[[], object]]:
    return {
        "save": lambda: mmapio.save(path, np.zeros(3, dtype)),
        "create": lambda: mmapio.create(path, 3, dtype),
        "create anew": lambda: mmapio.create(path, 3, dtype, overwrite=True),
        "open w+": lambda: mmapio.open(path, "w+", dtype=dtype, shape=3),
        "open x+": lambda: mmapio.open(path, "x+", dtype=dtype, shape=3),
        "open a+": lambda: mmapio.open(path, "a+", dtype=dtype, shape=3),
        "growable w+": lambda: mmapio.GrowableArray.open(path, "w+", dtype=dtype),
        "growable a+": lambda: mmapio.GrowableArray.open(path, "a+", dtype=dtype),
        "to_npy": lambda: mmapio.to_npy("raw.bin", path, dtype, overwrite=True),
        "ring": lambda: mmapio.RingBuffer.open(path, "w+", dtype, 4),
        "seqlock": lambda: mmapio.SeqLock.open(path, "a+", dtype),
    }


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_dtype_that_would_not_be_read_back_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    dtype = np.dtype(UNREADABLE[name])
    Path("raw.bin").write_bytes(bytes(dtype.itemsize * 3))
    for way, write in _writing(tmp_path / "x.npy", dtype).items():
        with pytest.raises(FormatError, match="cannot hold dtype"):
            write()
        assert os.listdir() == ["raw.bin"], way
    mmapio.save("x.npy", np.arange(4.0))
    for way, write in _writing(tmp_path / "x.npy", dtype).items():
        with pytest.raises((FormatError, mmapio.ExistingFileError)):
            write()
        assert np.load("x.npy").tolist() == [0, 1, 2, 3], way


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("name", ["bfloat16", "float8", "int4"])
def test_plain_bytes_are_read_as_any_dtype_of_their_size(
    tmp_path: Path, name: str, mode: str
) -> None:
    dtype = np.dtype(UNREADABLE[name])
    path, data = tmp_path / "x.npy", np.arange(-3, 3).reshape(2, 3).astype(dtype)
    mmapio.save(path, data.view(f"V{dtype.itemsize}"))
    a = mmapio.open(path, mode, dtype=dtype, shape=(2, 3))
    assert (a.dtype, a.tolist()) == (dtype, data.tolist())
    assert mmapio.open(path, dtype=(dtype, 3), shape=-1).shape == (2, 3)
    with pytest.raises(FormatError, match="has dtype"):
        mmapio.open(path, mode, dtype="f8")
    with pytest.raises(mmapio.ArgumentError, match="Python objects"):
        mmapio.open(path, mode, dtype=object)


def test_only_plain_bytes_are_taken_for_other_items(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for data in (np.zeros(3, "S2"), np.zeros(3, [("a", "i2")]), np.zeros(3, "u2")):
        mmapio.save(path, data)
        with pytest.raises(FormatError, match="has dtype"):
            mmapio.open(path, dtype="i2")


@pytest.mark.parametrize("kind", ["V0", "S0", "U0"])
def test_items_without_bytes_are_saved_as_numpy_does(tmp_path: Path, kind: str) -> None:
    data = np.zeros((2, 3), kind)
    np.save(tmp_path / "theirs.npy", data)
    for array in (data, data.T, data[::-1, ::2]):
        np.save(tmp_path / "theirs.npy", array)
        mmapio.save(tmp_path / "ours.npy", array)
        assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()
        assert mmapio.open(tmp_path / "ours.npy").shape == array.shape
