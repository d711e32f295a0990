"""`mmapio scan`: what it prints, beside what numpy says of the same file."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import _os

GIB = 1 << 30


def test_scan_prints_statistics_and_histogram(
    run_command: Callable[..., Any], numbers: Path
) -> None:
    values = np.load(numbers)
    found = run_command("scan", numbers)
    assert (found.status, found.err) == (0, "")
    lines = found.out.splitlines()
    assert lines[0] == str(numbers)
    assert lines[1] == "  float64, shape (1000, 20), 156.25 KiB"
    assert re.search(r"^  count +20,000 ", found.out, re.M)
    assert re.search(rf"^  min +{values.min():.6g} ", found.out, re.M)
    assert re.search(rf"^  std +{values.std():.6g} ", found.out, re.M)
    assert re.search(r" -1 to  0  █+[▏▎▍▌▋▊▉]? +3\d\.\d%$", found.out, re.M)
    assert re.search(r"  4 to  5  ▏ +0\.0%$", found.out, re.M)
    assert max(map(len, lines[1:])) <= 80


def test_scan_prints_classes_of_bytes(run_command: Callable[..., Any], text: Path) -> None:
    found = run_command("scan", text)
    assert found.status == 0
    assert re.search(r"^  lines +100 ", found.out, re.M)
    assert re.search(r" letters  █+ +80\.0%$", found.out, re.M)
    assert re.search(r" whitespace  █+[▏▎▍▌▋▊▉]? +20\.0%$", found.out, re.M)


def test_scan_tells_every_field(run_command: Callable[..., Any], tmp_path: Path) -> None:
    place = [("x", "f4"), ("y", "f4")]
    np.save(tmp_path / "a.npy", np.ones(10, [("at", place), ("tag", "S5")]))
    found = run_command("scan", tmp_path / "a.npy").out
    assert "  2 fields, 13 bytes an item, shape (10,), 130 bytes\n" in found
    assert "  at.x  float32, shape (10,)\n" in found
    assert "  tag  |S5, shape (10,)\n  count           10\n  item size  5 bytes\n" in found


def test_scan_reads_raw_items(run_command: Callable[..., Any], tmp_path: Path) -> None:
    values = np.arange(12, dtype=">i2").reshape(3, 4)
    (tmp_path / "raw").write_bytes(b"header!" + values.tobytes())
    options = ("--dtype", ">i2", "--shape", "-1,4", "--offset", "7")
    (found,) = run_command("scan", "--json", *options, tmp_path / "raw").json
    assert (found["dtype"], found["shape"]) == (">i2", [3, 4])
    assert (found["fields"][0]["min"], found["fields"][0]["sum"]) == (0, 66)


def test_json_agrees_with_numpy(run_command: Callable[..., Any], tmp_path: Path) -> None:
    values = np.random.default_rng(7).normal(size=5000)
    values[:3] = np.nan, np.inf, 0
    np.save(tmp_path / "a.npy", values)
    (found,) = run_command("scan", "--json", tmp_path / "a.npy").json
    (field,) = found["fields"]
    assert (found["kind"], found["bytes"], found["shape"]) == ("array", 40000, [5000])
    assert (field["count"], field["nans"], field["infs"], field["zeros"]) == (5000, 1, 1, 1)
    assert (field["min"], field["max"]) == (np.nanmin(values), "Infinity")
    assert (field["mean"], field["std"]) == ("Infinity", None)
    kept = values[np.isfinite(values)]
    finite = field["finite"]
    assert (finite["min"], finite["max"]) == (kept.min(), kept.max())
    assert finite["std"] == pytest.approx(kept.std())
    text = run_command("scan", tmp_path / "a.npy").out
    assert re.search(r"^  max +inf ", text, re.M)
    assert re.search(rf"^  finite max +{kept.max():.6g}", text, re.M)
    expected, _ = np.histogram(kept, field["histogram"]["edges"])
    assert field["histogram"]["counts"] == expected.tolist()


def test_dates_are_shown_as_dates(run_command: Callable[..., Any], tmp_path: Path) -> None:
    days = np.array(["2020-01-01", "2020-01-05", "NaT"], ">M8[D]")
    np.save(tmp_path / "a.npy", days)
    np.save(tmp_path / "none.npy", days[2:])
    text = run_command("scan", tmp_path / "a.npy").out
    for shown in (
        "NaT +1",
        "min +2020-01-01",
        "max +2020-01-05",
        "mean +2020-01-03",
        "std +2 days",
    ):
        assert re.search(rf"^  {shown}\b", text, re.M)
    assert re.search(r" 2020-01-01  █+ +50\.0%$", text, re.M)
    found, none = run_command("scan", "--json", tmp_path / "a.npy", tmp_path / "none.npy").json
    (field,) = found["fields"]
    assert (field["nans"], field["min"], field["max"]) == (1, "2020-01-01", "2020-01-05")
    assert (field["sum"], field["std"]) == (None, "2 days")
    assert field["histogram"]["edges"][:2] == ["2020-01-01", "2020-01-02"]
    assert (none["fields"][0]["min"], none["fields"][0]["std"]) == (None, None)
    assert re.search(r"^  max +-", run_command("scan", tmp_path / "none.npy").out, re.M)


def test_json_is_one_document_for_all_files(
    run_command: Callable[..., Any], numbers: Path, text: Path
) -> None:
    found = run_command("scan", "--json", numbers, text, numbers)
    assert [entry["kind"] for entry in found.json] == ["array", "bytes", "array"]
    assert found.err == ""


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_nothing(
    run_command: Callable[..., Any], numbers: Path, threads: int
) -> None:
    (found,) = run_command("scan", "--json", "--threads", str(threads), numbers).json
    (expected,) = run_command("scan", "--json", numbers).json
    assert found["fields"] == expected["fields"]


def resident_in(path: Path) -> int:
    a = np.memmap(path, "u1", "r")
    return int(_os.resident(a.ctypes.data, a.nbytes).sum()) * _os.PAGE_SIZE


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives back a part of a mapping")
@pytest.mark.parametrize("fields", [[("x", "f4"), ("y", "i4")], "u1"])
def test_a_file_is_released_behind_the_scan(
    run_command: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fields: Any,
) -> None:
    """Each block is released once, when all its fields have been read."""
    monkeypatch.setattr("mmapio.cli.file_scan._WINDOW_BYTES", 8 << 20)
    path = tmp_path / "a.npy"
    values = np.random.default_rng(0).integers(0, 9, 48 << 20, "u1").view(fields)
    np.save(path, values)
    (expected,) = run_command("scan", "--json", path).json
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if resident_in(path) > 4 << 20:
            pytest.skip("this file system keeps pages in memory when it is asked to drop them")
    (found,) = run_command("scan", "--json", "--drop-behind", path).json
    for each in (expected, found):
        del each["seconds"], each["gib_per_second"]
        for field in each["fields"]:
            for rounded in ("sum", "mean", "var", "std"):
                field[rounded] = pytest.approx(field[rounded], rel=1e-9, nan_ok=True)
    assert found == expected
    assert resident_in(path) < 24 << 20


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros((0, 3), "f4, i4"), np.array(1.5)])
def test_arrays_without_items_or_dimensions(
    run_command: Callable[..., Any], values: Any, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", values)
    for options in ([], ["--json"]):
        assert run_command("scan", *options, tmp_path / "a.npy").status == 0


def test_an_empty_file(run_command: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    found = run_command("scan", tmp_path / "empty")
    assert (found.status, found.err) == (0, "")
    assert "  0 bytes\n" in found.out
    (entry,) = run_command("scan", "--json", tmp_path / "empty").json
    assert (entry["bytes"], entry["lines"], entry["entropy"]) == (0, 0, 0)


def test_the_files_that_numpy_ships(run_command: Callable[..., Any]) -> None:
    files = sorted(Path(np.__file__).parent.rglob("*.npy"))
    if not files:
        pytest.skip("this numpy was installed without its tests")
    found = run_command("scan", "--json", *files)
    for path, entry in zip(files, found.json, strict=True):
        try:
            with warnings.catch_warnings(action="ignore"):
                expected = np.load(path)
        except ValueError:
            assert "pickled Python objects" in entry["error"]
        else:
            assert entry["shape"] == list(expected.shape)
            assert [field["count"] for field in entry["fields"]] == [expected.size]


def test_a_sparse_file_of_four_gib(run_apart: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "sparse.npy"
    mmapio.create(path, GIB + 1, "<u4", reserve=False).close()
    (info,) = run_apart("info", "--json", path).json
    assert info["data_bytes"] == 4 * (GIB + 1)
    (found,) = run_apart("scan", "--json", path).json
    (field,) = found["fields"]
    assert (field["count"], field["zeros"], field["max"]) == (GIB + 1, GIB + 1, 0)
    assert found["gib_per_second"] > 0
