"""`open`, `create` and `anonymous`: what opens, in which mode, and what is refused and how."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import mmapio
from mmapio import _os

ITEMS = np.arange(24, dtype="<i4")
POSIX = pytest.mark.skipif(
    sys.platform == "win32",
    reason="Windows keeps mapped files, and has other links and permissions",
)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and /dev as Linux has them")


@pytest.fixture
def npy(tmp_path: Path) -> Path:
    """Return the path of a `.npy` file of `ITEMS`, 4 by 6."""
    path = tmp_path / "x.npy"
    np.save(path, ITEMS.reshape(4, 6))
    return path


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Return the path of a file of the bare bytes of `ITEMS`."""
    path = tmp_path / "x.bin"
    path.write_bytes(ITEMS.tobytes())
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a file system of its own, of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (needs root on Linux)")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


# Opening -----------------------------------------------------------------------------------------


def test_a_npy_file_is_opened_by_its_header(npy: Path) -> None:
    a = mmapio.open(npy)
    assert (a.shape, a.dtype, a.mode, a.filename) == ((4, 6), "<i4", "r", str(npy))
    np.testing.assert_array_equal(a, ITEMS.reshape(4, 6))
    assert not a.flags.writeable


@LINUX
def test_opening_uses_none_of_the_memory(npy: Path, raw: Path) -> None:
    for a in (mmapio.open(npy), mmapio.open(raw, dtype="i4")):
        assert a.mapping is not None
        start = a.mapping.view().ctypes.data
        assert _os.memory_use(start, _os.PAGE_SIZE).rss == 0
        assert a.sum() == ITEMS.sum()
        assert _os.memory_use(start, _os.PAGE_SIZE).rss == _os.PAGE_SIZE


def test_the_magic_tells_a_npy_file_not_its_name(npy: Path, raw: Path) -> None:
    renamed = npy.rename(npy.with_name("x.dat"))
    assert mmapio.open(renamed).shape == (4, 6)
    misnamed = raw.rename(raw.with_name("y.npy"))
    assert mmapio.open(misnamed, dtype="<i4").tolist() == ITEMS.tolist()
    with pytest.raises(mmapio.FormatError, match=r"y\.npy' is not a \.npy file.*dtype="):
        mmapio.open(misnamed)


def test_an_offset_says_that_a_npy_file_is_to_be_read_raw(npy: Path) -> None:
    assert bytes(mmapio.open(npy, dtype="S1", offset=1, shape=5)) == b"NUMPY"
    a = mmapio.open(npy, "r+", dtype="<i4", offset=128, shape=(-1, 6))
    assert a.offset == 128
    np.testing.assert_array_equal(a, ITEMS.reshape(4, 6))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (None, (24,)),
        (-1, (24,)),
        ((-1, 6), (4, 6)),
        ([2, -1, 3], (2, 4, 3)),
        ((2, 3), (2, 3)),
        (5, (5,)),
        ((), ()),
        ((0, 3), (0, 3)),
        (np.uint8(7), (7,)),
        (np.array([-1, 8], "i1"), (3, 8)),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_shapes_of_raw_files(raw: Path, shape: Any, expected: tuple[int, ...], order: Any) -> None:
    a = mmapio.open(raw, dtype="<i4", shape=shape, order=order)
    model = ITEMS[: int(np.prod(expected))].reshape(expected, order=order)
    assert (a.shape, a.strides) == (model.shape, model.strides)
    np.testing.assert_array_equal(a, model)


@given(
    dtype=hnp.scalar_dtypes().filter(lambda dtype: dtype.itemsize > 0),
    shape=hnp.array_shapes(min_dims=0, min_side=0, max_side=4),
    offset=st.integers(0, 5000),
    order=st.sampled_from("CF"),
    rest=st.integers(0, 9),
)
@settings(max_examples=100)
def test_raw_items_at_any_byte(
    dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, order: Any, rest: int
) -> None:
    count = int(np.prod(shape)) * dtype.itemsize
    content = np.random.default_rng(0).integers(0, 3, offset + count + rest, dtype="u1").tobytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "raw"
        path.write_bytes(content)
        model = np.ndarray(shape, dtype, content, offset, order=order)
        for mode in ("r", "r+", "c"):
            a = mmapio.open(path, mode, dtype=dtype, shape=shape, offset=offset, order=order)
            assert (a.shape, a.dtype, a.strides) == (model.shape, dtype, model.strides)
            assert (a.offset, a.tobytes()) == (offset, model.tobytes())
            assert a.flags.writeable == (mode != "r")
            a.close()


@pytest.mark.parametrize(
    "dtype",
    [
        *(">i4", "<u2", ">f8", "S3", "<U1", "<M8[s]", "?", "V4"),
        [("a", "u1"), ("b", ">f8")],
        np.dtype([("a", "u1"), ("b", "<f8")], align=True),
        [("n", [("x", "<i4", (2, 2))]), ("y", "S2")],
        [(("a title", "t"), "<i2"), ("z", "<c8")],
    ],
    ids=str,
)
def test_dtypes_of_created_and_reopened_files(tmp_path: Path, dtype: Any) -> None:
    kind = np.dtype(dtype)
    for name, options in (("x.npy", {}), ("x.bin", {"dtype": dtype, "shape": (3, 4)})):
        path = tmp_path / name
        a = mmapio.create(path, (3, 4), dtype, raw=not name.endswith("npy"))
        assert (a.dtype, a.shape, a.mode) == (kind, (3, 4), "x+")
        assert not np.ascontiguousarray(a).view("u1").any()
        model = np.ones((3, 4), "u1").astype(kind) if kind.names is None else np.ones((3, 4), kind)
        a[...] = model
        a.close()
        again: Any = mmapio.open(path, **options)
        assert again.dtype == kind
        np.testing.assert_array_equal(again, model)


def test_a_dtype_with_a_shape_gives_dimensions_as_in_numpy(tmp_path: Path) -> None:
    a = mmapio.create(tmp_path / "x.npy", 3, "(2,)<i4")
    a[...] = np.arange(6).reshape(3, 2)
    again = mmapio.open(tmp_path / "x.npy")
    assert (again.shape, again.dtype) == ((3, 2), "<i4")
    np.testing.assert_array_equal(again, np.arange(6).reshape(3, 2))
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), again)


def test_what_is_wanted_of_a_npy_file_must_be_so(npy: Path) -> None:
    assert mmapio.open(npy, dtype="<i4", shape=(-1, 6)).shape == (4, 6)
    with pytest.raises(mmapio.FormatError, match=r"x\.npy' has dtype int32, not float64"):
        mmapio.open(npy, dtype="f8")
    with pytest.raises(mmapio.FormatError, match=r"x\.npy' has shape \(4, 6\), not \(6, 4\)"):
        mmapio.open(npy, shape=(6, 4))
    for shape in ((24,), (5, 6), (-1, 5), (2, 2), (-1, 6, 1)):
        with pytest.raises(mmapio.FormatError, match=r"\(4, 6\)"):
            mmapio.open(npy, shape=shape)


def test_zero_dimensions_and_zero_sizes(tmp_path: Path) -> None:
    for number, shape in enumerate([(), (0,), (3, 0), (0, 2, 2), 0]):
        for is_raw in (False, True):
            path = tmp_path / f"{number}{is_raw}.npy"
            a = mmapio.create(path, shape, "<f4", raw=is_raw)
            a[...] = 7
            a.flush()
            assert a.offset == (0 if is_raw else 128)
            a.close()
            b = mmapio.open(path, dtype="<f4", shape=shape)
            assert b.shape == (shape if isinstance(shape, tuple) else (shape,))
            assert (b == 7).all()
            assert path.stat().st_size == b.nbytes + (0 if is_raw else 128)


def test_a_sparse_file_above_4_gib(tmp_path: Path) -> None:
    path = tmp_path / "big.npy"
    a = mmapio.create(path, (3, 1 << 30), "<i2", reserve=False)
    a[-1, -1] = 7
    a[2, 5] = 9
    a[2, 5:6].flush()
    a.close()
    assert path.stat().st_size == 128 + 6 * 2**30
    b = mmapio.open(path)
    assert (b[2, 5], b[-1, -1], b[0, 0]) == (9, 7, 0)
    assert b[2, 5:].offset == 128 + 2 * (2 * 2**30 + 5)
    assert np.load(path, mmap_mode="r")[2, 5] == 9
    c = mmapio.open(path, dtype="<i2", offset=128 + 4 * 2**30 + 10, shape=1)
    assert (c[0], c.offset) == (9, 128 + 4 * 2**30 + 10)


@pytest.mark.parametrize("kind", [str, os.fsencode, Path, os.path.relpath])
def test_paths_of_every_kind(npy: Path, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(npy.parent)
    a = mmapio.open(kind(npy))
    assert a.filename == str(npy)
    monkeypatch.chdir("/")
    assert mmapio.open(a.filename).shape == (4, 6)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\n.npy"
    mmapio.create(path, 3, "i1")[:] = 5
    assert mmapio.open(path).tolist() == [5, 5, 5]
    with pytest.raises(mmapio.ExistingFileError):
        mmapio.create(path, 3, "i1")


# Modes -------------------------------------------------------------------------------------------


def test_mode_r_reads_only(npy: Path) -> None:
    a = mmapio.open(npy, "r")
    with pytest.raises(ValueError, match="read-only"):
        a[0, 0] = 1
    with pytest.raises(ValueError):
        a.flags.writeable = True
    a.flush()  # nothing to write is no error


def test_mode_r_plus_writes_to_the_file(npy: Path) -> None:
    a = mmapio.open(npy, "r+")
    a[0, 0] = 77
    assert mmapio.open(npy)[0, 0] == 77  # at once, for everybody
    assert np.load(npy)[0, 0] == 77


def test_mode_c_keeps_what_is_written_private(npy: Path) -> None:
    before = npy.read_bytes()
    a, b = mmapio.open(npy, "c"), mmapio.open(npy, "c")
    a += 1000
    a.flush()
    assert (a.mode, a[0, 0], b[0, 0]) == ("c", 1000, 0)
    a.close()
    assert npy.read_bytes() == before
    npy.chmod(0o444)
    mmapio.open(npy, "c")[:] = 1


@pytest.mark.parametrize("mode", ["w+", "x+", "a+"])
@pytest.mark.parametrize("name", ["new.npy", "NEW.NPY", "new.bin"])
def test_modes_that_create(tmp_path: Path, mode: str, name: str) -> None:
    path = tmp_path / name
    a = mmapio.open(path, mode, dtype=">i2", shape=(2, 3), order="F")
    assert (a.shape, a.mode, a.flags.f_contiguous, a.sum()) == ((2, 3), mode, True, 0)
    a[...] = [[1, 2, 3], [4, 5, 6]]
    if name.lower().endswith("npy"):
        assert np.load(path).tolist() == a.tolist()
    else:
        assert np.fromfile(path, ">i2").tolist() == [1, 4, 2, 5, 3, 6]


def test_mode_x_refuses_what_is_there(npy: Path) -> None:
    before = npy.read_bytes()
    with pytest.raises(mmapio.ExistingFileError) as caught:
        mmapio.open(npy, "x+", dtype="i4", shape=3)
    assert isinstance(caught.value, FileExistsError)
    assert (caught.value.errno, caught.value.filename) == (errno.EEXIST, str(npy))
    assert npy.read_bytes() == before


@POSIX
def test_mode_w_leaves_the_old_file_to_those_who_map_it(npy: Path) -> None:
    old = mmapio.open(npy)
    new = mmapio.open(npy, "w+", dtype="u1", shape=2)
    new[:] = 9
    np.testing.assert_array_equal(old, ITEMS.reshape(4, 6))
    assert mmapio.open(npy).tolist() == [9, 9]


def test_mode_a_opens_or_creates(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    a = mmapio.open(path, "a+", dtype="i4", shape=(2, 3))
    a[...] = 5
    b = mmapio.open(path, "a+", dtype="i4", shape=(2, 3))
    assert b.tolist() == a.tolist()
    b[0, 0] = 6
    assert a[0, 0] == 6
    assert mmapio.open(path, "a+").shape == (2, 3)
    for options in ({"dtype": "f4"}, {"shape": (3, 2)}, {"dtype": "i4", "shape": 7}):
        with pytest.raises(mmapio.FormatError, match=r"has (dtype|shape)"):
            mmapio.open(path, "a+", **options)
    with pytest.raises(mmapio.MissingFileError):
        mmapio.open(tmp_path / "other.npy", "a+")


def test_mode_a_needs_a_raw_file_to_be_large_enough(raw: Path) -> None:
    a = mmapio.open(raw, "a+", dtype="<i4", shape=24)
    assert a.tolist() == ITEMS.tolist()
    with pytest.raises(mmapio.FormatError, match="needs 100 bytes, but only 96"):
        mmapio.open(raw, "a+", dtype="<i4", shape=25)
    assert raw.stat().st_size == 96


def test_many_processes_that_open_or_create_get_one_file(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    code = """
import os, sys, numpy as np, mmapio
path = sys.argv[1]
for round in range(20):
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            a = mmapio.open(f"{path}{round}.npy", "a+", dtype="i4", shape=4)
            a[number] = number + 1
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert mmapio.open(f"{path}{round}.npy").tolist() == [1, 2, 3, 4], round
print("one file")
"""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    assert run_python(code, str(tmp_path / "x")) == "one file\n"


# Creating ----------------------------------------------------------------------------------------


def test_create_refuses_what_is_there_unless_told(npy: Path) -> None:
    with pytest.raises(mmapio.ExistingFileError):
        mmapio.create(npy, 3)
    assert np.load(npy).shape == (4, 6)
    a = mmapio.create(npy, 3, overwrite=True)
    assert (a.tolist(), a.dtype) == ([0, 0, 0], float)


@POSIX
def test_overwriting_leaves_the_old_file_to_another_process(
    npy: Path, run_python: Callable[..., str]
) -> None:
    code = """
import subprocess, sys, mmapio
path = sys.argv[1]
a = mmapio.open(path)
part = a[2:, 1:]
code = "import sys, mmapio; mmapio.create(sys.argv[1], 3, overwrite=True)[:] = 9"
subprocess.run([sys.executable, "-c", code, path], check=True)
print(a.sum(), part.sum(), mmapio.open(path).tolist())
"""
    expected = f"{ITEMS.sum()} {ITEMS.reshape(4, 6)[2:, 1:].sum()} [9.0, 9.0, 9.0]\n"
    assert run_python(code, str(npy)) == expected


@POSIX
def test_overwriting_keeps_permissions_and_follows_links(tmp_path: Path) -> None:
    target, link = tmp_path / "target.npy", tmp_path / "link.npy"
    np.save(target, ITEMS)
    target.chmod(0o640)
    link.symlink_to(target)
    mmapio.create(link, 2, "u1", overwrite=True)[:] = 1
    assert link.is_symlink()
    assert np.load(target).tolist() == [1, 1]
    assert target.stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.npy", "target.npy"]


@POSIX
def test_new_files_get_the_permissions_of_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        mmapio.create(tmp_path / "x.npy", 2)
    finally:
        os.umask(old)
    assert (tmp_path / "x.npy").stat().st_mode & 0o777 == 0o640


def _allocated(path: Path) -> int:
    return getattr(path.stat(), "st_blocks", 0) * 512


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")
def test_blocks_are_allocated_unless_told_otherwise(tmp_path: Path) -> None:
    count = 1 << 20
    a = mmapio.create(tmp_path / "whole.npy", count, "u1")
    b = mmapio.create(tmp_path / "holes.npy", count, "u1", reserve=False)
    c = mmapio.open(tmp_path / "open.npy", "w+", dtype="u1", shape=count)
    d = mmapio.open(tmp_path / "open holes.npy", "w+", dtype="u1", shape=count, reserve=False)
    e = mmapio.create(tmp_path / "whole.npy", 2 * count, "u1", overwrite=True)
    assert {x.sum() for x in (a, b, c, d, e)} == {0}
    assert _allocated(tmp_path / "whole.npy") >= 2 * count
    assert _allocated(tmp_path / "open.npy") >= count
    assert _allocated(tmp_path / "holes.npy") < count // 8
    assert _allocated(tmp_path / "open holes.npy") < count // 8


def test_a_full_disk_is_an_error_at_creation(small_disk: Path) -> None:
    for how in (
        lambda path: mmapio.create(path, 1 << 20, "u1"),
        lambda path: mmapio.create(path, 1 << 20, "u1", overwrite=True),
        lambda path: mmapio.create(path, 1 << 20, "u1", raw=True),
        lambda path: mmapio.open(path, "w+", dtype="u1", shape=1 << 20),
        lambda path: mmapio.open(path, "x+", dtype="u1", shape=1 << 20),
        lambda path: mmapio.open(path, "a+", dtype="u1", shape=1 << 20),
        lambda path: mmapio.memmap(path, "u1", "w+", shape=1 << 20),
    ):
        with pytest.raises(mmapio.FileError, match=r"1048.*reserve=False") as caught:
            how(small_disk / "x.npy")
        assert caught.value.errno == errno.ENOSPC
        assert list(small_disk.iterdir()) == []
    a = mmapio.create(small_disk / "x.npy", 100_000, "u1")
    a[:] = 1  # all of it is there
    sparse = mmapio.create(small_disk / "y.npy", 1 << 20, "u1", reserve=False)
    sparse[:10] = 1


def test_a_full_disk_leaves_the_old_file(small_disk: Path) -> None:
    path = small_disk / "x.npy"
    old = mmapio.create(path, 100_000, "u1")
    old[:] = 7
    for how in (
        lambda: mmapio.create(path, 1 << 20, "u1", overwrite=True),
        lambda: mmapio.create(path, 200_000, "u1", overwrite=True),  # fits, but not beside the old
        lambda: mmapio.open(path, "w+", dtype="u1", shape=1 << 20),
    ):
        with pytest.raises(mmapio.FileError) as caught:
            how()
        assert caught.value.errno == errno.ENOSPC
        assert [p.name for p in small_disk.iterdir()] == ["x.npy"]
        assert (np.load(path) == 7).all()


# Anonymous ---------------------------------------------------------------------------------------


def test_anonymous_arrays_have_no_file(tmp_path: Path) -> None:
    a = mmapio.anonymous((2, 3), ">f4", order="F")
    assert (a.shape, a.dtype, a.flags.f_contiguous, a.sum()) == ((2, 3), ">f4", True, 0)
    assert (a.filename, a.mode, a.offset) == (None, "r+", 0)
    a[:] = 3
    a.flush()
    assert mmapio.anonymous(2).dtype == float
    assert mmapio.anonymous((0, 3)).shape == (0, 3)
    assert mmapio.anonymous(()).shape == ()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_children_share_anonymous_arrays(run_python: Callable[..., str]) -> None:
    code = """
import os, mmapio
a = mmapio.anonymous(4, "i8")
child = os.fork()
if child == 0:
    a[2] = 42
    os._exit(0)
os.waitpid(child, 0)
print(a.tolist())
"""
    assert run_python(code) == "[0, 0, 42, 0]\n"


# What is refused ---------------------------------------------------------------------------------

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def _call(*arguments: Any, **keywords: Any) -> Arguments:
    return arguments, keywords


NEW = {"dtype": "f8", "shape": 3}
REFUSED: list[tuple[Arguments, type[mmapio.MmapioError], type[Exception], str]] = [
    (_call("missing"), mmapio.MissingFileError, FileNotFoundError, "missing"),
    (_call("missing", "r+"), mmapio.MissingFileError, FileNotFoundError, "missing"),
    (_call("missing", "c"), mmapio.MissingFileError, FileNotFoundError, "missing"),
    (_call("no folder/x", "x+", **NEW), mmapio.MissingFileError, FileNotFoundError, "no folder"),
    (_call("no folder/x", "w+", **NEW), mmapio.MissingFileError, FileNotFoundError, "no folder"),
    (_call("no folder/x", "a+", **NEW), mmapio.MissingFileError, FileNotFoundError, "no folder"),
    (_call(""), mmapio.MissingFileError, FileNotFoundError, "''"),
    (_call("x.bin/x"), mmapio.FileError, OSError, "x.bin/x"),
    (_call("n" * 300), mmapio.FileError, OSError, "nnn"),
    (_call("."), mmapio.DirectoryError, IsADirectoryError, "directory"),
    (_call(".", "r+"), mmapio.DirectoryError, IsADirectoryError, "directory"),
    (_call(".", "w+", **NEW), mmapio.DirectoryError, IsADirectoryError, "directory"),
    (_call("nu\0ll"), mmapio.ArgumentError, ValueError, r"nu\\x00ll"),
    (_call("nu\0ll", "w+", **NEW), mmapio.ArgumentError, ValueError, r"nu\\x00ll"),
    (_call(3), mmapio.ArgumentTypeError, TypeError, "'int'"),
    (_call(None), mmapio.ArgumentTypeError, TypeError, "'NoneType'"),
    (_call(3.5, "w+", **NEW), mmapio.ArgumentTypeError, TypeError, "'float'"),
    (_call(["x.bin"], "a+", **NEW), mmapio.ArgumentTypeError, TypeError, "'list'"),
    (_call("x.bin", "rw"), mmapio.ArgumentError, ValueError, "got 'rw'"),
    (_call("x.bin", "w"), mmapio.ArgumentError, ValueError, "got 'w'"),
    (_call("x.bin", ""), mmapio.ArgumentError, ValueError, "got ''"),
    (_call("x.bin", 3), mmapio.ArgumentError, ValueError, "got 3"),
    (_call("x.bin", []), mmapio.ArgumentError, ValueError, r"got \[\]"),
    (_call("x.bin"), mmapio.FormatError, ValueError, "x.bin.*dtype="),
    (_call("x.bin", dtype="f8", offset=3), mmapio.FormatError, ValueError, "93 bytes.*8 bytes"),
    (_call("x.bin", dtype="S7"), mmapio.FormatError, ValueError, "96 bytes.*7 bytes"),
    (_call("x.bin", dtype="i4", shape=(-1, 7)), mmapio.FormatError, ValueError, "96 b.*28 b"),
    (_call("x.bin", dtype="i4", shape=25), mmapio.FormatError, ValueError, "100 bytes.*96"),
    (_call("x.bin", dtype="i4", shape=(5, 5)), mmapio.FormatError, ValueError, "100 bytes.*96"),
    (_call("x.bin", dtype="i4", shape=24, offset=1), mmapio.FormatError, ValueError, "96.*95"),
    (_call("x.bin", dtype="i4", offset=97), mmapio.FormatError, ValueError, "offset 97.*96"),
    (_call("x.bin", dtype="i4", offset=2**63 - 1), mmapio.FormatError, ValueError, "offset 92233"),
    (_call("x.bin", dtype="i4", offset=2**63), mmapio.ArgumentError, ValueError, "92233"),
    (_call("x.bin", dtype="i4", offset=-1), mmapio.ArgumentError, ValueError, "offset.*-1"),
    (_call("x.bin", dtype="i4", offset=1.0), mmapio.ArgumentTypeError, TypeError, "'float'"),
    (_call("x.bin", dtype="i4", offset="1"), mmapio.ArgumentTypeError, TypeError, "offset.*'str'"),
    (_call("x.bin", dtype="i4", order="A"), mmapio.ArgumentError, ValueError, "'A'"),
    (_call("x.bin", dtype="i4", order=None), mmapio.ArgumentError, ValueError, "None"),
    (_call("new", "w+"), mmapio.ArgumentError, ValueError, "'w\\+'.*dtype and a full shape"),
    (_call("new", "x+", dtype="f8"), mmapio.ArgumentError, ValueError, "'x\\+'.*full shape"),
    (_call("new", "w+", shape=3), mmapio.ArgumentError, ValueError, "dtype"),
    (_call("new", "w+", dtype="f8", shape=(-1, 2)), mmapio.ArgumentError, ValueError, "full shape"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "ours", "builtin", "message"), REFUSED)
def test_bad_arguments_of_open(
    raw: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Arguments,
    ours: type[mmapio.MmapioError],
    builtin: type[Exception],
    message: str,
) -> None:
    monkeypatch.chdir(raw.parent)
    arguments, keywords = call
    with pytest.raises(ours, match=message) as caught:
        mmapio.open(*arguments, **keywords)
    assert isinstance(caught.value, builtin)
    if isinstance(caught.value, OSError):
        assert caught.value.errno
        assert os.path.basename(str(arguments[0])) in str(caught.value.filename)
    assert [path.name for path in raw.parent.iterdir()] == ["x.bin"]
    assert raw.read_bytes() == ITEMS.tobytes()


def _short(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)[:24]


INTEGERS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, int]


def _makers(path: Path) -> list[Callable[..., Any]]:
    """Return every way to make a new array of some shape and dtype."""
    return [
        mmapio.anonymous,
        lambda shape, dtype="f4": mmapio.create(path, shape, dtype),
        lambda shape, dtype="f4": mmapio.create(path, shape, dtype, raw=True),
        lambda shape, dtype="f4": mmapio.create(path, shape, dtype, overwrite=True),
        lambda shape, dtype="f4": mmapio.open(path, "w+", dtype=dtype, shape=shape),
        lambda shape, dtype="f4": mmapio.memmap(path, dtype, "w+", shape=shape),
    ]


def test_integers_of_every_width_are_sizes(tmp_path: Path) -> None:
    for kind in INTEGERS:
        for make in _makers(tmp_path / "x.npy"):
            for shape in ((kind(2), kind(3)), kind(5), np.array([1, 2], kind)):
                (tmp_path / "x.npy").unlink(missing_ok=True)
                assert make(shape).shape == tuple(map(int, np.atleast_1d(shape)))


@pytest.mark.parametrize(
    ("shape", "error", "message"),
    [
        (-2, mmapio.ArgumentError, "-2"),
        ((3, -2), mmapio.ArgumentError, r"\(3, -2\)"),
        ((-1, 0), mmapio.ArgumentError, None),
        *((kind(-3), mmapio.ArgumentError, "-3") for kind in INTEGERS[:4]),
        (2**63, mmapio.ArgumentError, "9223372036854775808"),
        (2**62, mmapio.ArgumentError, "4611686018427387904"),
        ((2**31, 2**31), mmapio.ArgumentError, r"\(2147483648, 2147483648\)"),
        ((np.int32(2**31 - 1),) * 3, mmapio.ArgumentError, "2147483647"),
        ((0, 2**62), mmapio.ArgumentError, "4611686018427387904"),
        (np.uint64(2**64 - 1), mmapio.ArgumentError, "18446744073709551615"),
        (10**30, mmapio.ArgumentError, "1000000000000000000000000000000"),
        (np.int64(2**63 - 1), mmapio.ArgumentError, "9223372036854775807"),
        ((1,) * 65, mmapio.ArgumentError, "65"),
        (3.0, mmapio.ArgumentTypeError, "3.0"),
        ("3", mmapio.ArgumentTypeError, "'3'"),
        ((2, "3"), mmapio.ArgumentTypeError, "'3'"),
        ((2, None), mmapio.ArgumentTypeError, "None"),
        ([(1, 2), 3], mmapio.ArgumentTypeError, r"\[\(1, 2\), 3\]"),
        (np.float32(2), mmapio.ArgumentTypeError, "2.0"),
        ({2: 3}.items(), mmapio.ArgumentTypeError, "dict_items"),
    ],
    ids=_short,
)
def test_bad_shapes(
    tmp_path: Path, shape: Any, error: type[Exception], message: str | None
) -> None:
    for make in _makers(tmp_path / "x.npy"):
        with pytest.raises(error, match=message):
            make(shape)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("dtype", "error", "message"),
    [
        ("O", mmapio.ArgumentError, "object"),
        (object, mmapio.ArgumentError, "object"),
        ([("a", "i4"), ("b", "O")], mmapio.ArgumentError, "objects"),
        ([("a", [("b", "O", 2)])], mmapio.ArgumentError, "objects"),
        (np.dtypes.StringDType(), mmapio.ArgumentError, "StringDType"),
        ("S", mmapio.ArgumentError, "no size"),
        ("V0", mmapio.ArgumentError, "no size"),
        ("U0", mmapio.ArgumentError, "no size"),
        ([], mmapio.ArgumentError, "no size"),
        (("f4", (0,)), mmapio.ArgumentError, "no size"),
        ("nonsense", (mmapio.ArgumentError, mmapio.ArgumentTypeError), "'nonsense'"),
        (5, (mmapio.ArgumentError, mmapio.ArgumentTypeError), "5"),
        ([("a", "i4"), ("a", "i4")], mmapio.ArgumentError, "'a'"),
        ({"names": ["a"], "formats": ["i4"], "offsets": [-1]}, mmapio.ArgumentError, "-1"),
        ((int, -1), mmapio.ArgumentError, "-1"),
        ("(2,", mmapio.ArgumentError, r"'\(2,'"),
        ("i4,,i4", mmapio.ArgumentError, "i4,,i4"),
        ((np.void, 2**40), mmapio.ArgumentError, "1099511627776"),
    ],
    ids=_short,
)
def test_bad_dtypes(tmp_path: Path, dtype: Any, error: Any, message: str) -> None:
    for make in _makers(tmp_path / "x.npy"):
        with pytest.raises(error, match=message):
            make(3, dtype)
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "raw").write_bytes(bytes(96))
    with pytest.raises(error, match=message):
        mmapio.open(tmp_path / "raw", dtype=dtype)


@LINUX
@pytest.mark.parametrize(
    "path",
    ["/dev/null", "/dev/zero", "/proc/self/status", "/proc/self/mem", "/proc/cpuinfo", "/dev/tty"]
    + ["/sys/kernel/mm/transparent_hugepage/enabled", "/proc/self", "/dev/ptmx"],
)
def test_what_is_no_plain_file_is_refused(path: str) -> None:
    if not os.path.exists(path):
        pytest.skip(f"there is no {path} here")
    for mode in ("r", "r+", "c"):
        with pytest.raises(mmapio.FileError) as caught:
            mmapio.open(path, mode, dtype="u1")
        assert caught.value.errno
        assert caught.value.filename == path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for mode in ("r", "r+", "a+", "c"):
        with pytest.raises(mmapio.FileError, match="regular file"):
            mmapio.open(pipe, mode, dtype="u1", shape=3)
    for replace in (
        lambda: mmapio.open(pipe, "w+", dtype="u1", shape=3),
        lambda: mmapio.create(pipe, 3, overwrite=True),
    ):
        with pytest.raises(mmapio.FileError, match="regular file"):
            replace()
        assert pipe.is_fifo()


@POSIX
def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(mmapio.FileError) as caught:
        mmapio.open(loop)
    assert caught.value.errno == errno.ELOOP


@POSIX
def test_a_link_to_nothing(tmp_path: Path) -> None:
    link = tmp_path / "link.npy"
    link.symlink_to(tmp_path / "target.npy")
    with pytest.raises(mmapio.MissingFileError):
        mmapio.open(link)
    with pytest.raises(mmapio.ExistingFileError):  # as O_EXCL has it
        mmapio.create(link, 3)
    mmapio.open(link, "a+", dtype="u1", shape=3)[:] = 4
    assert link.is_symlink()
    assert np.load(tmp_path / "target.npy").tolist() == [4, 4, 4]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else"
)
def test_permissions(run_python: Callable[..., str]) -> None:
    code = """
import os, sys, tempfile, numpy as np, mmapio
folder = tempfile.mkdtemp()
os.chmod(folder, 0o755)
secret, public = f"{folder}/secret.npy", f"{folder}/public.npy"
for path, mode in (secret, 0o600), (public, 0o644):
    mmapio.create(path, 3, "i4")[:] = 7
    os.chmod(path, mode)
mmapio.open(public).close()
new = dict(dtype="i4", shape=3)
attempts = {
    "open secret": lambda: mmapio.open(secret),
    "open r+": lambda: mmapio.open(public, "r+"),
    "open a+": lambda: mmapio.open(public, "a+", **new),
    "open w+": lambda: mmapio.open(public, "w+", **new),
    "open x+": lambda: mmapio.open(f"{folder}/new.npy", "x+", **new),
    "create": lambda: mmapio.create(f"{folder}/new.npy", 3),
    "overwrite": lambda: mmapio.create(public, 3, overwrite=True),
    "save": lambda: mmapio.save(public, np.zeros(3)),
    "copy from": lambda: mmapio.copy(secret, f"{folder}/copy.npy"),
    "copy to": lambda: mmapio.copy(public, f"{folder}/copy.npy"),
    "delete": lambda: mmapio.delete(public),
    "memmap": lambda: mmapio.memmap(public),
}
if (child := os.fork()) == 0:
    os.setgid(65534)
    os.setuid(65534)
    for name, attempt in attempts.items():
        try:
            attempt()
        except mmapio.AccessError as error:
            assert isinstance(error, PermissionError), name
            assert folder in str(error), error
        else:
            print("not refused:", name)
    assert mmapio.open(public).tolist() == [7, 7, 7]
    private = mmapio.open(public, "c")
    private[:] = 1
    os._exit(0)
status = os.waitpid(child, 0)[1]
print(status, sorted(os.listdir(folder)), np.load(public).tolist())
for name in os.listdir(folder):
    os.unlink(f"{folder}/{name}")
os.rmdir(folder)
"""
    assert run_python(code) == "0 ['public.npy', 'secret.npy'] [7, 7, 7]\n"


def test_refused_files_leave_nothing_open(npy: Path, raw: Path) -> None:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc to count descriptors")
    (npy.parent / "broken.npy").write_bytes(npy.read_bytes()[:100])

    def state() -> tuple[int, int]:
        maps = Path("/proc/self/maps").read_text()
        return len(os.listdir("/proc/self/fd")), maps.count(str(npy.parent))

    before = state()
    for path, options in (
        (npy, {"dtype": "f8"}),
        (npy, {"shape": 3}),
        (npy.parent / "broken.npy", {}),
        (raw, {}),
        (raw, {"dtype": "f8", "shape": 99}),
        (npy.parent, {}),
    ):
        with contextlib.suppress(mmapio.MmapioError):
            mmapio.open(path, **options)
    assert state() == before


# Keywords that several makers share ---------------------------------------------------------------


def test_a_file_is_made_with_holes_where_no_blocks_are_asked_for(tmp_path: Path) -> None:
    size = 3 << 40
    mmapio.memmap(tmp_path / "new", "u1", "w+", shape=size, reserve=False)
    assert os.path.getsize(tmp_path / "new") == size
    longer = mmapio.memmap(tmp_path / "new", "u1", "r+", shape=size + 5, reserve=False)
    assert len(longer) == os.path.getsize(tmp_path / "new") == size + 5
    with open(tmp_path / "new", "r+b") as file:
        m = mmapio.MappedFile.from_fd(file.fileno(), "r+", reserve=False)
    m.resize(2 * size)
    assert os.path.getsize(tmp_path / "new") == 2 * size
    assert os.stat(tmp_path / "new").st_blocks < 1000


def test_arrays_are_made_with_room_to_grow(tmp_path: Path) -> None:
    makers: list[Callable[..., mmapio.MappedArray]] = [
        lambda **options: mmapio.anonymous(10, "u1", **options),
        lambda **options: mmapio.create(tmp_path / "a.npy", 10, "u1", **options),
        lambda **options: mmapio.open(tmp_path / "a.npy", "r+", **options),
    ]
    for make in makers:
        a = make(capacity="1 MiB")
        mapping = a.mapping
        assert mapping is not None
        assert mapping.capacity >= 1 << 20
        mapping.resize(1 << 20)
        assert a.tolist() == [0] * 10
        if mapping.path is not None:
            mapping.resize(138, force=True)


def test_an_array_is_created_with_a_policy(tmp_path: Path) -> None:
    policy = mmapio.FlushPolicy.every_writes(2)
    a = mmapio.create(tmp_path / "a.npy", 10, "u1", flush_policy=policy)
    assert a.mapping is not None
    assert a.mapping.flush_policy == policy
