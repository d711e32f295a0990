"""`to_npy` and `to_raw`: the same bytes, with a header and without, and never half of a file."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import _os
from mmapio._polling import poll
from mmapio.errors import (
    ArgumentError,
    DirectoryError,
    ExistingFileError,
    FileError,
    FormatError,
    MissingFileError,
)
from mmapio.files import conversion
from mmapio.files.conversion import to_npy, to_raw

RECORD = np.dtype([("at", ">f8", 3), ("name", "S5"), ("n", "<i2")], align=True)
ARRAYS = {
    "C order": np.arange(24, dtype="<f4").reshape(2, 3, 4),
    "Fortran order": np.asfortranarray(np.arange(24, dtype=">i2").reshape(2, 3, 4)),
    "other byte order": np.arange(5, dtype=">u8"),
    "records": np.frombuffer(np.arange(7 * RECORD.itemsize, dtype="u1"), RECORD),
    "no items": np.zeros((0, 3), "f8"),
    "no dimensions": np.array(1.5),
    "odd size": np.arange(4097, dtype="u1"),
    "dates": np.arange("2024-01", "2024-06", dtype="M8[D]"),
}


@pytest.fixture(params=ARRAYS.values(), ids=ARRAYS)
def array(request: pytest.FixtureRequest) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = request.param
    return found


def order_of(array: np.ndarray[Any, Any]) -> Any:
    return "C" if array.flags.c_contiguous else "F"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_there_and_back_again(array: np.ndarray[Any, Any], tmp_path: Path) -> None:
    saved, raw, again = (tmp_path / name for name in ("saved.npy", "raw", "again.npy"))
    np.save(saved, array)
    header = to_raw(saved, raw)
    assert raw.read_bytes() == array.tobytes(order_of(array))
    assert (header.dtype, header.shape, header.order) == (array.dtype, array.shape, order_of(array))
    made = to_npy(raw, again, header.dtype, header.shape, order=header.order)
    assert made == header
    assert again.read_bytes() == saved.read_bytes()


def test_raw_items_from_a_byte_on_as_many_as_fit(tmp_path: Path) -> None:
    values = np.arange(12, dtype="<u2")
    (tmp_path / "raw").write_bytes(b"header!" + values.tobytes())
    to_npy(tmp_path / "raw", tmp_path / "a.npy", "<u2", (-1, 4), offset=7)
    assert np.array_equal(np.load(tmp_path / "a.npy"), values.reshape(3, 4))
    to_npy(tmp_path / "raw", tmp_path / "b.npy", "<u2", 5, offset=9)  # not all that are there
    assert np.array_equal(np.load(tmp_path / "b.npy"), values[1:6])
    to_npy(tmp_path / "raw", tmp_path / "c.npy", "(2,3)<u2", offset=7)
    assert np.array_equal(np.load(tmp_path / "c.npy"), values.reshape(2, 2, 3))


def test_what_follows_the_data_is_left_out(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3, dtype="u1"))
    with (tmp_path / "a.npy").open("ab") as file:
        file.write(b"more")
    to_raw(tmp_path / "a.npy", tmp_path / "raw")
    assert (tmp_path / "raw").read_bytes() == b"\0\1\2"


def test_holes_stay_holes_and_progress_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "_PIECE_BYTES", 3_000_000)
    with (tmp_path / "raw").open("wb") as file:
        file.truncate(8_000_000)
        file.seek(4_000_003)
        file.write(b"data")
    told: list[tuple[int, int]] = []
    to_npy(tmp_path / "raw", tmp_path / "a.npy", "u1", progress=lambda *at: told.append(at))
    assert told == [(done, 8_000_000) for done in (0, 3_000_000, 6_000_000, 8_000_000)]
    found = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert (bytes(found[4_000_003:4_000_007]), np.count_nonzero(found)) == (b"data", 4)
    if _os.identify_path(str(tmp_path / "raw")).allocated < 1_000_000:
        assert _os.identify_path(str(tmp_path / "a.npy")).allocated < 1_000_000


@pytest.mark.skipif(sys.platform == "win32", reason="limits of memory are unknown here")
def test_memory_is_bounded(tmp_path: Path) -> None:
    with (tmp_path / "raw").open("wb") as file:
        file.truncate(400_000_000)
        for at in range(0, 400_000_000, 20_000_000):
            os.pwrite(file.fileno(), bytes(1_000_000), at)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    to_npy(tmp_path / "raw", tmp_path / "a.npy", "u1")
    more_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert more_kib < 50_000


def test_by_hand_where_the_kernel_does_not_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    values = np.random.default_rng(7).integers(0, 256, 3_000_001, "u1")
    (tmp_path / "raw").write_bytes(values)
    to_npy(tmp_path / "raw", tmp_path / "a.npy", "u1")
    assert np.array_equal(np.load(tmp_path / "a.npy"), values)


def test_offset_0_is_for_who_wants_the_first_items_alone(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(range(96)))
    to_npy(tmp_path / "raw", tmp_path / "a.npy", ">i4", (3, 6), offset=0)
    assert np.load(tmp_path / "a.npy").tobytes() == bytes(range(72))


def test_what_is_there_is_kept_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"123456")
    (tmp_path / "a.npy").write_bytes(b"old")
    with pytest.raises(
        ExistingFileError, match=r"File exists; overwrite=True \(--overwrite\)"
    ) as caught:
        to_npy(tmp_path / "raw", tmp_path / "a.npy", "u1")
    assert caught.value.filename == str(tmp_path / "a.npy")
    assert (tmp_path / "a.npy").read_bytes() == b"old"
    with (tmp_path / "a.npy").open("rb") as reader:
        to_npy(tmp_path / "raw", tmp_path / "a.npy", "u1", overwrite=True)
        assert reader.read() == b"old"
    assert np.load(tmp_path / "a.npy").tolist() == list(b"123456")
    for target in ("raw", "link"):
        if target == "link":
            os.link(tmp_path / "raw", tmp_path / "link")
        with pytest.raises(ArgumentError, match="is the file that is to be converted"):
            to_npy(tmp_path / "raw", tmp_path / target, "u1", overwrite=True)
    assert (tmp_path / "raw").read_bytes() == b"123456"


def test_what_is_wrong_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    raw, saved, cut = (tmp_path / name for name in ("raw", "saved.npy", "cut.npy"))
    raw.write_bytes(b"1234567")
    np.save(saved, np.arange(100))
    cut.write_bytes(saved.read_bytes()[:-1])
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    before, new = names(tmp_path), tmp_path / "new"
    wrong: list[tuple[Any, type[Exception], str]] = [
        (lambda: to_npy(raw, new, "u2"), FormatError, "7 bytes are not a multiple of the 2"),
        (lambda: to_npy(raw, new, "u1", (2, 4)), FormatError, "needs 8 bytes"),
        (lambda: to_npy(raw, new, "u2", (1, 3)), FormatError, "has 7 bytes, .* takes 6: give the"),
        (lambda: to_npy(raw, new, "u1", 0), FormatError, r"shape \(0,\) of 1-byte items takes 0"),
        (lambda: to_npy(raw, new, "u1", offset=8), FormatError, "offset 8 lies past the end"),
        (lambda: to_npy(raw, new, "u1", offset=-1), ArgumentError, "offset must be 0 or more"),
        (lambda: to_npy(raw, new, "O"), ArgumentError, "Python objects"),
        (lambda: to_npy(raw, new, "u1", order="K"), ArgumentError, "must be 'C' or 'F'"),
        (lambda: to_npy(raw, new, "3u1", (2, 1), order="F"), ArgumentError, "C order within"),
        (lambda: to_npy(saved, new, "u1"), FormatError, "is a .npy file: leave out the dtype"),
        (lambda: to_npy(tmp_path / "none", new, "u1"), MissingFileError, "none"),
        (lambda: to_npy(tmp_path, new, "u1"), DirectoryError, "directory"),
        (lambda: to_npy(raw, tmp_path / "none" / "a", "u1"), FileError, "is there a directory"),
        (lambda: to_raw(raw, new), FormatError, "is no .npy file; .* give its dtype"),
        (lambda: to_raw(cut, new), FormatError, "is truncated: shape .* needs 928 bytes"),
        (lambda: to_raw(tmp_path / "objects.npy", new), FormatError, "pickled Python objects"),
    ]
    for call, kind, text in wrong:
        with pytest.raises(kind, match=text):
            call()
        assert names(tmp_path) == before


def test_a_source_that_shrinks_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "_PIECE_BYTES", 1000)
    (tmp_path / "raw").write_bytes(bytes(5000))

    def cut(done: int, total: int) -> None:
        if done == 2000:
            os.truncate(tmp_path / "raw", 2500)

    with pytest.raises(FormatError, match="was cut off while it was converted"):
        to_npy(tmp_path / "raw", tmp_path / "a.npy", "u1", progress=cut)
    assert names(tmp_path) == ["raw"]


SLOWLY = """
import sys, time
from mmapio.files import conversion
conversion._PIECE_BYTES = 1000
def told(done, total):
    if done == 3000:
        print("half", flush=True)
        time.sleep(1000)
conversion.to_npy(sys.argv[1], sys.argv[2], "u1", overwrite=True, progress=told)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only here drafts have no name")
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_conversion_that_is_killed_leaves_nothing(
    tmp_path: Path, ending: signal.Signals, old: bytes | None
) -> None:
    raw, target = tmp_path / "raw", tmp_path / "a.npy"
    raw.write_bytes(bytes(6000))
    if old is not None:
        target.write_bytes(old)
    before = names(tmp_path)
    worker = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, raw, target],
        env=os.environ | {"PYTHONPATH": str(Path(mmapio.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"half\n"
        time.sleep(0.01)
        worker.send_signal(ending)
        assert poll(lambda: worker.poll() is not None, 60)
    assert names(tmp_path) == before
    assert old is None or target.read_bytes() == old
