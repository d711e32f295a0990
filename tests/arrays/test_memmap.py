"""`mmapio.memmap` against `numpy.memmap`: the same, but where numpy crashes or loses data."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.lib.stride_tricks import as_strided, sliding_window_view

import mmapio

POSIX = pytest.mark.skipif(
    sys.platform == "win32",
    reason="Windows keeps mapped files, and has other links and permissions",
)
CONTENT = bytes(range(256)) * 40
DTYPES = [">i2", "<f8", "u1", "S3", "<U2", "?", "<M8[s]", "<c8", "(2,)<i2", "V5"]
STRUCTURED = [np.dtype([("a", "u1"), ("b", ">f4", (2,))]), np.dtype("u1,f8", align=True)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a file that holds `CONTENT`."""
    path = tmp_path / "x.bin"
    path.write_bytes(CONTENT)
    return path


def outcome(make: Callable[..., Any], folder: str, content: bytes, arguments: Any) -> Any:
    """Return all that can be told of an array that `make` maps over a file, or its error."""
    path = os.path.join(folder, "x.bin")
    Path(path).write_bytes(content)
    try:
        a = make(path, **arguments)
    except Exception as error:
        return error
    facts = (a.shape, a.dtype, a.strides, a.offset, a.mode, a.filename, a.flags.writeable)
    before = a.tobytes("A")  # as it lies in memory: other orders leave padding to chance
    if a.flags.writeable and a.size:
        a.reshape(-1)[0] = a.reshape(-1)[-1]
    a.flush()
    return facts, before, a.tobytes("A"), Path(path).read_bytes()


SHAPES = st.one_of(
    st.none(),
    st.integers(1, 30),
    hnp.array_shapes(max_dims=3, max_side=6),
    hnp.array_shapes(max_dims=3, max_side=6).map(list),
    st.just(()),
)


@given(
    content=st.integers(1, len(CONTENT)).map(lambda length: CONTENT[:length]),
    dtype=st.sampled_from([*DTYPES, *STRUCTURED, np.float32]),
    mode=st.sampled_from(["r", "r+", "w+", "c", "readonly", "readwrite", "write", "copyonwrite"]),
    offset=st.one_of(st.integers(0, 40), st.integers(0, len(CONTENT))),
    shape=SHAPES,
    order=st.sampled_from("CF"),
)
@settings(max_examples=250)
def test_the_same_array_or_the_same_class_of_error(content: bytes, **arguments: Any) -> None:
    if arguments["shape"] is None and arguments["offset"] > len(content):
        arguments["offset"] %= len(content)  # numpy makes negative sizes of it
    with tempfile.TemporaryDirectory() as folder:
        theirs = outcome(np.memmap, folder, content, arguments)
        ours = outcome(mmapio.memmap, folder, content, arguments)
    if isinstance(theirs, Exception):
        assert isinstance(ours, mmapio.MmapioError), (theirs, ours)
        assert isinstance(ours, type(theirs)), (theirs, ours)
    else:
        assert ours == theirs


@given(
    content=st.binary(max_size=20),
    dtype=st.sampled_from(["u1", "<f8", "S3"]),
    mode=st.sampled_from(["r", "r+", "w+", "c"]),
    offset=st.integers(0, 25),
    shape=st.one_of(st.none(), st.integers(0, 3), st.tuples(st.integers(0, 4), st.integers(0, 4))),
)
@settings(max_examples=100)
def test_the_same_of_next_to_nothing(content: bytes, **arguments: Any) -> None:
    if arguments["shape"] is None:
        arguments["offset"] %= len(content) + 1
    with tempfile.TemporaryDirectory() as folder:
        theirs = outcome(np.memmap, folder, content, arguments)
        ours = outcome(mmapio.memmap, folder, content, arguments)
    if isinstance(ours, Exception):
        assert isinstance(ours, (mmapio.FormatError, mmapio.ArgumentError))
        assert isinstance(ours, type(theirs))
    elif isinstance(theirs, Exception):
        assert ours[1] == b""  # numpy can map no empty file
    else:
        assert ours[:3] == theirs[:3]
        assert ours[3].ljust(1, b"\0") == theirs[3]  # numpy makes one byte of nothing


ERRORS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("missing",), {"mode": "r"}),
    (("missing",), {"mode": "r+", "shape": 3}),
    (("missing",), {"mode": "c"}),
    (("missing",), {}),
    (("no folder/x",), {"mode": "w+", "shape": 3}),
    ((".",), {"mode": "r"}),
    ((".",), {"mode": "w+", "shape": 3}),
    (("x.bin",), {"mode": "rw"}),
    (("x.bin",), {"mode": None}),
    (("x.bin",), {"mode": "w+"}),
    (("x.bin",), {"mode": "r", "shape": 10**6}),
    (("x.bin",), {"mode": "c", "shape": 10**6}),
    (("x.bin",), {"mode": "r", "dtype": "S7"}),
    (("x.bin",), {"mode": "r", "dtype": "f8", "offset": 1}),
    (("x.bin",), {"mode": "r", "dtype": "nonsense"}),
    (("x.bin",), {"mode": "r", "dtype": 3}),
    (("x.bin",), {"mode": "r", "shape": 3.0}),
    (("x.bin",), {"mode": "r", "shape": "abc"}),
    ((3,), {"mode": "r"}),
    ((None,), {"mode": "r"}),
    (("nu\0ll",), {"mode": "r"}),
    (("/dev/null",), {"mode": "r"}),
]


@pytest.mark.parametrize(("arguments", "keywords"), ERRORS, ids=str)
def test_errors_are_those_that_numpy_raises(
    path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Any, keywords: Any
) -> None:
    monkeypatch.chdir(path.parent)
    with pytest.raises((OSError, ValueError, TypeError)) as theirs:
        np.memmap(*arguments, **keywords)
    with pytest.raises(mmapio.MmapioError) as ours:
        mmapio.memmap(*arguments, **keywords)
    assert isinstance(ours.value, theirs.type)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("mode", ["w+", "x+", "a+"])
def test_modes_that_make_a_file(tmp_path: Path, mode: str) -> None:
    a = mmapio.memmap(tmp_path / "new", "<i2", mode, 10, (2, 3))
    a[...] = 258
    assert (a.mode, a.offset) == (mode, 10)
    assert (tmp_path / "new").read_bytes() == bytes(10) + b"\x02\x01" * 6


def test_files_too_short_are_extended_in_mode_r_plus(path: Path) -> None:
    a = mmapio.memmap(path, mode="r+", shape=len(CONTENT) + 5000, offset=10)
    assert path.stat().st_size == len(CONTENT) + 5010
    assert bytes(a) == CONTENT[10:] + bytes(5010)
    a[-1] = 7
    assert path.read_bytes()[-1] == 7


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_the_file_name_is_absolute(path: Path, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    a = mmapio.memmap(kind("x.bin"))
    assert a.filename == str(path)
    if kind is not os.fsencode:  # numpy forgets the name of those
        assert a.filename == os.fspath(np.memmap(kind("x.bin")).filename)


@pytest.mark.parametrize("make", [np.memmap, mmapio.memmap])
def test_file_objects(path: Path, make: Any) -> None:
    with path.open("r+b") as file:
        file.seek(100)
        a = make(file, "u1", "r+", 3, 5)
        file.seek(0)
    a[:] = 1
    assert (a.filename, a.offset, a.mode) == (str(path), 3, "r+")
    assert path.read_bytes() == CONTENT[:3] + b"\1" * 5 + CONTENT[8:]
    with path.open("rb") as file:
        private = make(file, mode="c", shape=8)
        assert make(file, mode="r", shape=3).tolist() == [0, 1, 2]
        with pytest.raises(PermissionError):
            make(file, mode="r+")
    private[:] = 9
    assert path.read_bytes()[:4] == b"\0\1\2\1"


@pytest.mark.parametrize("make", [np.memmap, mmapio.memmap])
def test_what_a_file_object_holds_back_is_not_lost(make: Any) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"abc")
        a = make(file, "u1", "r+", 1, 4)
        assert bytes(a) == b"bc\0\0"
        a[1:] = 120
        file.seek(0)
        assert file.read() == b"abxxx"
        assert a.filename is None


def test_a_file_without_a_name_can_be_mapped_and_grown() -> None:
    with tempfile.TemporaryFile() as file:
        a = mmapio.memmap(file, "<i4", "w+", shape=(2, 2))
        a[:] = 5
        file.seek(0)
        assert np.frombuffer(file.read(), "<i4").tolist() == [5] * 4


# As a class -------------------------------------------------------------------------------------


class Table(mmapio.memmap):
    """A subclass, with an attribute, as users of `numpy.memmap` derive them."""

    label = "none"


class WithState(mmapio.memmap):
    """A subclass that pickles what it adds, as numpy's manual shows."""

    unit: str

    def __array_finalize__(self, origin: Any) -> None:
        self.unit = getattr(origin, "unit", "m")

    def __reduce__(self) -> Any:
        function, arguments, state = super().__reduce__()
        return function, arguments, (*state, self.unit)

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state[:-1])
        self.unit = state[-1]


def test_it_is_a_class(path: Path) -> None:
    a = mmapio.memmap(path, "<i4")
    strided = as_strided(a, (3, 2), (8, 4), subok=True), sliding_window_view(a, 4, subok=True)
    for view in (a, a[3:], a[::2], a.view("<i2"), a.reshape(2, -1), a.T, np.squeeze(a), *strided):
        view.flush()
        assert type(view) is mmapio.memmap
        assert isinstance(view, mmapio.MappedArray)
        assert view.filename == str(path)
    for plain in (a + 1, a.copy(), a.astype("f4"), np.add(a, a), np.cumsum(a), a.take([1, 2])):
        assert type(plain) is np.ndarray
    assert isinstance(a.sum(), np.int64)
    assert type(mmapio.open(path, dtype="u1")) is mmapio.MappedArray
    a += 1
    assert type(a) is mmapio.memmap


def test_a_subclass_keeps_its_class(path: Path) -> None:
    a = Table(path, "<i4", shape=(5, 4))
    a.label = "mine"
    b = a[1:3]
    assert (type(b), b.label, b.offset, b.mode) == (Table, "none", 16, "r+")
    for result in (a[[0, 1]], a + 1, a.sum(axis=0), a.copy(), a.astype("f8"), a.take([1])):
        assert type(result) is Table
        assert result.mapping is None
        assert result.filename is None
    b[:] = 7
    b.flush()
    assert path.read_bytes()[16:20] == b"\7\0\0\0"
    plain = a.ndarray
    assert type(plain) is np.ndarray
    assert np.shares_memory(plain, a)


@pytest.mark.parametrize("kind", [mmapio.memmap, Table])
def test_a_class_travels_with_its_reference(path: Path, kind: Any) -> None:
    a = kind(path, "<i4", shape=(5, 4))
    again = pickle.loads(pickle.dumps(a[1:3]))
    assert (type(again), again.filename, again.offset) == (kind, str(path), 16)
    again[:] = 3
    assert (a[1:3] == 3).all()


def test_a_subclass_pickles_as_it_says(path: Path) -> None:
    a = WithState(path, "<i4", shape=(5, 4))
    a.unit = "km"
    again = pickle.loads(pickle.dumps(a[1:3]))
    assert (type(again), again.unit, again.mapping) == (WithState, "km", None)
    assert (again == a[1:3]).all()
    copy = pickle.loads(pickle.dumps(Table(path, "<i4") + 1))
    assert type(copy) is Table


@pytest.mark.parametrize("kind", [mmapio.memmap, Table])
def test_closing_is_refused_while_slices_live(path: Path, kind: Any) -> None:
    a = kind(path)
    part = a[3:]
    with pytest.raises(mmapio.InUseError):
        a.close()
    del part
    a.close()
    assert a.closed


def test_a_view_of_another_class_keeps_the_mapping_in_use(path: Path) -> None:
    a = mmapio.open(path, dtype="u1")
    view = a[::2].view(mmapio.memmap)
    part = view[1:]
    assert part.ndarray.tolist() == list(CONTENT[2::2])
    with pytest.raises(mmapio.InUseError):
        part.close()
    assert a.tolist() == list(CONTENT)


def test_the_mapping_has_the_name_that_numpy_gives_it(path: Path) -> None:
    a = mmapio.memmap(path)
    assert a[1:]._mmap is a._mmap is a.mapping
    assert a[[1, 2]]._mmap is None


@pytest.mark.parametrize("order", ["C", "c", "F", "f", "A", "K", None, b"F", np.str_("F")])
def test_orders_are_those_of_numpy(path: Path, order: Any) -> None:
    for mode in ("r", "w+"):
        ours = mmapio.memmap(path, "u1", mode, 0, (3, 4), order)
        theirs = np.memmap(path, "u1", mode, 0, (3, 4), order)
        assert ours.strides == theirs.strides


@pytest.mark.parametrize("order", ["", "X", "CF", "Fortran", 1, True, [], b"X"])
def test_other_orders_are_refused_first(path: Path, order: Any) -> None:
    with pytest.raises((mmapio.ArgumentError, mmapio.ArgumentTypeError), match="order"):
        mmapio.memmap(path, "u1", "w+", 0, (3, 4), order)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("mode", ["r", "r+", "w+", "c", "readonly", "write"])
def test_the_mode_of_a_file_object_is_the_one_given(path: Path, mode: Any) -> None:
    with path.open("r+b") as file:
        ours = mmapio.memmap(file, "u1", mode, shape=5)
        assert ours.mode == np.memmap(file, "u1", mode, shape=5).mode
    assert path.read_bytes() == CONTENT  # in w+ too, as with numpy


# numpy's own tests ------------------------------------------------------------------------------

NUMPYS = Path(np._core.__file__).parent / "tests" / "test_memmap.py"
DIFFERENCES = {
    "test_filename": "filename is always a str",
    "test_path": "filename is always a str",
    "test_view": "the base of a view is an array over the whole file",
    "test_getitem": "items picked by a list or a mask keep the class",
    "test_empty_array": "an empty file is an empty array",
}


@pytest.mark.skipif(not NUMPYS.exists(), reason="this numpy was installed without its tests")
def test_the_tests_of_numpy_pass_but_for_what_is_documented(tmp_path: Path) -> None:
    text = NUMPYS.read_text() + "\n\nimport mmapio\n\nmemmap = mmapio.memmap\n"
    (tmp_path / "test_of_numpy.py").write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = thread_unsafe\n")
    report = tmp_path / "report.xml"
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--junitxml={report}")
    command = [sys.executable, "-m", "pytest", *options, "test_of_numpy.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    cases = list(ET.parse(report).iter("testcase"))
    failed = {case.get("name") for case in cases if len(case) and case[0].tag != "skipped"}
    assert len(cases) >= 15
    assert failed == set(DIFFERENCES) & {case.get("name") for case in cases}, done.stdout
    notes = " ".join((mmapio.memmap.__doc__ or "").lower().replace("`", "").split())
    assert [reason for reason in DIFFERENCES.values() if reason.lower() not in notes] == []


# Where it differs, as its documentation says ------------------------------------------------------


@POSIX
def test_w_plus_leaves_the_old_file_to_those_who_map_it(path: Path) -> None:
    old = mmapio.memmap(path, mode="r")
    new = mmapio.memmap(path, mode="w+", shape=5)
    new[:] = 1
    assert bytes(old) == CONTENT
    assert path.read_bytes() == b"\1" * 5


def test_the_offset_of_a_slice_is_its_own(path: Path) -> None:
    a = mmapio.memmap(path, "<i4", offset=8)
    assert (a.offset, a[10:].offset, a[10:].mode, a[10:].filename) == (8, 48, "r+", str(path))
    copy = a[[1, 2]]
    assert (copy.offset, copy.mode, copy.filename) == (None, None, None)


def test_an_empty_file_is_an_empty_array(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for mode in ("r", "r+", "c"):
        a = mmapio.memmap(tmp_path / "empty", "f8", mode)
        assert (a.shape, a.dtype, a.offset) == ((0,), float, 0)
        a.flush()
        a.close()
    assert (tmp_path / "empty").stat().st_size == 0


def test_flush_is_durable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    sync = mmapio._os.sync

    def spy(address: int, length: int, failed: list[int]) -> None:
        calls.append((address, length))
        sync(address, length, failed)

    monkeypatch.setattr(mmapio._os, "sync", spy)
    mmapio.memmap(path).flush()
    assert len(calls) == 1
    assert calls[0][1] >= len(CONTENT)


def test_object_dtypes_are_refused_before_anything_is_touched(path: Path) -> None:
    with pytest.raises(mmapio.ArgumentError, match="objects"):
        mmapio.memmap(path, object, "w+", shape=3)
    assert path.read_bytes() == CONTENT


def test_positional_arguments_and_defaults_are_those_of_numpy(path: Path) -> None:
    by_position = mmapio.memmap(path, ">u2", "r", 6, (4, 5), "F")
    by_name = mmapio.memmap(filename=path, dtype=">u2", mode="r", offset=6, shape=(4, 5), order="F")
    theirs = np.memmap(path, ">u2", "r", 6, (4, 5), "F")
    for a in (by_position, by_name):
        assert (a.strides, a.tobytes()) == (theirs.strides, theirs.tobytes())
    default = mmapio.memmap(path)
    assert (default.dtype, default.mode, default.shape) == ("u1", "r+", (len(CONTENT),))
    assert mmapio.memmap(path, None, "r").dtype == float
