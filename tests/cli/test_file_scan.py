"""Reports of `scan`, beside those of numpy for the same file."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapio
from mmapio.cli import file_scan
from mmapio.cli.file_scan import BYTE_CLASSES, ArrayScan, BytesScan, FieldScan, plain, scan_file
from mmapio.files.npy import MAGIC

NUMBERS = ["?", *"bBhHiIqQefd", ">i2", ">u4", ">i8", ">f2", ">f4", ">f8"]


def some(dtype: npt.DTypeLike, shape: int | tuple[int, ...]) -> npt.NDArray[np.generic]:
    values = np.random.default_rng(7).normal(0, 30, shape)
    return np.abs(values).astype(dtype) if np.dtype(dtype).kind in "bu" else values.astype(dtype)


def scan_array(path: Path, values: npt.NDArray[np.generic]) -> ArrayScan:
    np.save(path, values)
    found = scan_file(path)
    assert isinstance(found, ArrayScan)
    return found


def scan_bytes(path: Path, content: bytes) -> BytesScan:
    path.write_bytes(content)
    found = scan_file(path)
    assert isinstance(found, BytesScan)
    return found


def check(field: FieldScan, values: npt.NDArray[np.generic]) -> None:
    """Compare all statistics of a field with what numpy says of its values."""
    found = field.statistics
    assert found is not None
    kept = values[values == values]
    numbers = kept.astype("f8")
    assert field.count == found.count == values.size
    assert (found.nans, found.zeros) == (values.size - kept.size, int((values == 0).sum()))
    assert (found.min, found.max) == (kept.min(), kept.max())
    assert found.mean == pytest.approx(numbers.mean(), rel=1e-12)
    assert found.std == pytest.approx(numbers.std(), rel=1e-9)
    expected, _ = np.histogram(numbers, np.append(found.edges[:-1], np.inf))
    assert found.counts.tolist() == expected.tolist()


# Arrays -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_are_described_as_numpy_does(dtype: str, tmp_path: Path) -> None:
    values = some(dtype, (40, 25))
    found = scan_array(tmp_path / "a.npy", values)
    assert (found.dtype, found.shape, found.order) == (values.dtype, (40, 25), "C")
    assert found.nbytes == values.nbytes
    assert [field.name for field in found.fields] == [""]
    check(found.fields[0], values)


def test_nans_are_counted_and_left_out(tmp_path: Path) -> None:
    values = some("f8", 1000)
    values[::7] = np.nan
    check(scan_array(tmp_path / "a.npy", values).fields[0], values)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (2, 0, 4), (3, 4, 5)])
def test_every_shape_is_scanned(shape: tuple[int, ...], tmp_path: Path) -> None:
    found = scan_array(tmp_path / "a.npy", np.ones(shape))
    statistics = found.fields[0].statistics
    assert statistics is not None
    assert (found.shape, statistics.count) == (shape, math.prod(shape))
    assert statistics.sum == math.prod(shape)


def test_fortran_order_is_told(tmp_path: Path) -> None:
    values = np.asfortranarray(some("f4", (30, 40)))
    found = scan_array(tmp_path / "a.npy", values)
    assert (found.order, found.shape) == ("F", (30, 40))
    check(found.fields[0], values)


def test_fields_are_told_apart_by_their_whole_names(tmp_path: Path) -> None:
    place = [("x", "<f4"), ("y", ">f8")]
    values = np.zeros(50, [("id", "<i4"), ("at", place), ("tag", "S8"), ("m", "<i2", (2, 3))])
    for field in (values["id"], values["at"]["x"], values["at"]["y"], values["m"]):
        field[:] = some(field.dtype, field.shape)
    found = {field.name: field for field in scan_array(tmp_path / "a.npy", values).fields}
    assert list(found) == ["id", "at.x", "at.y", "tag", "m"]
    assert found["m"].shape == (50, 2, 3)
    check(found["id"], values["id"])
    check(found["at.x"], values["at"]["x"])
    check(found["at.y"], values["at"]["y"])
    check(found["m"], values["m"])


def test_complex_numbers_have_two_parts(tmp_path: Path) -> None:
    values = some("f4", 60) + 1j * some("f4", 60)[::-1]
    real, imag = scan_array(tmp_path / "a.npy", values).fields
    assert (real.name, imag.name) == ("real", "imag")
    check(real, values.real)
    check(imag, values.imag)


def test_complex_fields_keep_their_name(tmp_path: Path) -> None:
    found = scan_array(tmp_path / "a.npy", np.zeros(3, [("z", "c16")]))
    assert [field.name for field in found.fields] == ["z.real", "z.imag"]


@pytest.mark.parametrize("dtype", ["S3", "U5", "V7", "g"])
def test_what_is_no_number_is_only_counted(dtype: str, tmp_path: Path) -> None:
    if np.dtype(dtype) == np.dtype("f8"):
        pytest.skip("longdouble is double here")
    (field,) = scan_array(tmp_path / "a.npy", np.zeros((4, 5), dtype)).fields
    assert (field.count, field.statistics) == (20, None)
    assert field.to_json()["itemsize"] == np.dtype(dtype).itemsize


def test_raw_items_may_begin_anywhere(tmp_path: Path) -> None:
    values = some(">f8", (10, 4))
    path = tmp_path / "raw"
    path.write_bytes(b"abc" + values.tobytes())
    found = scan_file(path, dtype=">f8", shape=(-1, 4), offset=3)
    assert isinstance(found, ArrayScan)
    assert found.shape == (10, 4)
    check(found.fields[0], values)


def test_raw_items_in_fortran_order(tmp_path: Path) -> None:
    path = tmp_path / "raw"
    path.write_bytes(bytes(12))
    found = scan_file(path, dtype="u1", shape=(3, 4), order="F")
    assert isinstance(found, ArrayScan)
    assert found.order == "F"


def test_an_array_in_many_blocks_is_described_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.zeros(1000, [("a", "<f8"), ("b", "<i4", 2)])
    values["a"], values["b"] = some("f8", 1000), some("i4", (1000, 2))
    values["a"][:100] = np.nan
    monkeypatch.setattr(file_scan, "_BLOCK_BYTES", 1000)
    a, b = scan_array(tmp_path / "a.npy", values).fields
    check(a, values["a"])
    check(b, values["b"])


def test_progress_is_told_up_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_scan, "_BLOCK_BYTES", 1000)
    np.save(tmp_path / "a.npy", np.zeros(300))
    told: list[tuple[int, int]] = []
    scan_file(tmp_path / "a.npy", progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 2400), (1000, 2400), (2000, 2400), (2400, 2400)]


def test_the_file_is_free_afterwards(tmp_path: Path) -> None:
    scan_array(tmp_path / "a.npy", np.zeros(3))
    scan_bytes(tmp_path / "b", b"abc")
    for path in tmp_path.iterdir():
        path.unlink()  # which Windows refuses while it is mapped


# Bytes --------------------------------------------------------------------------------------------


@given(st.binary(max_size=300).filter(lambda content: not content.startswith(MAGIC)))
def test_bytes_are_counted(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    found = scan_bytes(tmp_path_factory.getbasetemp() / "bytes", content)
    tally = Counter(content)
    assert found.counts.tolist() == [tally[byte] for byte in range(256)]
    assert found.nbytes == len(content)
    assert sum(found.classes.values()) == len(content)
    assert found.lines == len(content.split(b"\n")) - (not content or content.endswith(b"\n"))


@pytest.mark.parametrize(
    ("content", "entropy"),
    [
        (b"", 0),
        (b"aaaa", 0),
        (b"abab", 1),
        (bytes(range(256)) * 3, 8),
        (b"aab", 0.9182958340544896),
    ],
)
def test_entropy_is_that_of_shannon(content: bytes, entropy: float, tmp_path: Path) -> None:
    found = scan_bytes(tmp_path / "bytes", content).entropy
    assert found == pytest.approx(entropy, abs=1e-12)
    assert math.copysign(1, found) == 1


def test_every_byte_is_in_one_class() -> None:
    assert (np.sum(list(BYTE_CLASSES.values()), axis=0) == 1).all()


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("zero", b"\0"),
        ("control", b"\x01\x08\x0e\x1b\x1f\x7f"),
        ("whitespace", b" \t\n\v\f\r"),
        ("digits", b"0123456789"),
        ("letters", b"azAZ"),
        ("punctuation", b"!/:@[`{~_"),
        ("high", b"\x80\xaa\xb5\xc0\xff"),
    ],
)
def test_classes_are_those_of_ascii(name: str, members: bytes) -> None:
    assert BYTE_CLASSES[name][list(members)].all()


def test_bytes_in_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_scan, "_BLOCK_BYTES", 100)
    content = bytes(range(256)) * 3
    assert scan_bytes(tmp_path / "bytes", content).counts.tolist() == [3] * 256


@pytest.mark.parametrize("content", [b"", b"\x93NUMP", b"not an array"])
def test_what_does_not_begin_as_npy_is_bytes_whatever_its_name(
    content: bytes, tmp_path: Path
) -> None:
    assert scan_bytes(tmp_path / "a.npy", content).nbytes == len(content)


# Errors and JSON ----------------------------------------------------------------------------------


def test_errors_are_those_of_open(tmp_path: Path) -> None:
    with pytest.raises(mmapio.MissingFileError):
        scan_file(tmp_path / "none")
    with pytest.raises(mmapio.DirectoryError):
        scan_file(tmp_path)
    np.save(tmp_path / "a.npy", np.zeros(100))
    with (tmp_path / "a.npy").open("r+b") as file:
        file.truncate(500)
    with pytest.raises(mmapio.FormatError, match="truncated"):
        scan_file(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.5, np.nan, np.inf, -np.inf]),
        np.array([], "i4"),
        np.array([-(2**63), 2**63 - 1]),
        np.zeros(2, [("a", "f4"), ("b", [("c", "c8"), ("d", "S2")], (2,))]),
    ],
)
def test_reports_are_json(values: npt.NDArray[np.generic], tmp_path: Path) -> None:
    report = scan_array(tmp_path / "a.npy", values).to_json()
    assert report["path"] == str(tmp_path / "a.npy")
    text = json.dumps(report, allow_nan=False)
    assert json.loads(text)["shape"] == list(values.shape)


def test_bytes_reports_are_json(tmp_path: Path) -> None:
    report = json.loads(json.dumps(scan_bytes(tmp_path / "b", b"a\nb").to_json()))
    assert (report["lines"], report["classes"]["letters"], report["counts"][97]) == (2, 2, 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (np.float64(math.inf), "Infinity"),
        (-math.inf, "-Infinity"),
        (1.5, 1.5),
        (2**70, 2**70),
        (np.array([1, 2]), [1, 2]),
    ],
)
def test_numbers_that_json_has_not(value: object, expected: object) -> None:
    assert plain(value) == expected
