"""numpy's writers over the files of their own arrays: the right contents, or one error first."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps mapped files as they are")
SIZES = [1, 300, 3000, 100_000]  # less than a page, and much more


def make(tmp_path: Path, size: int, raw: bool = False, mode: str = "r") -> mmapio.MappedArray:
    """Return a mapped array of 1, 2, 3 ..."""
    path = tmp_path / ("t.bin" if raw else "t.npy")
    values = np.arange(1.0, size + 1)
    if raw:
        values.tofile(path)
        return mmapio.memmap(path, "f8", mode)
    np.save(path, values)
    return mmapio.open(path, mode)


def values_of_savez(path: Path) -> Any:
    with np.load(path) as archive:
        return np.concatenate([archive[name] for name in archive])


# Each: how it writes, how it is read, and the suffix of the path.
WRITERS: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Path], Any], str]] = {
    "save": (np.save, np.load, ".npy"),
    "save by name": (lambda path, a: np.save(file=path, arr=a), np.load, ".npy"),
    "save without suffix": (lambda path, a: np.save(path[:-4], a), np.load, ".npy"),
    "save a Path": (lambda path, a: np.save(Path(path), a), np.load, ".npy"),
    "savez": (np.savez, values_of_savez, ".npz"),
    "savez_compressed": (lambda path, a: np.savez_compressed(path, x=a), values_of_savez, ".npz"),
    "savetxt": (np.savetxt, np.loadtxt, ".txt"),
    "tofile": (lambda path, a: a.tofile(path), np.fromfile, ".bin"),
    "tofile a Path": (lambda path, a: a.tofile(file=Path(path)), np.fromfile, ".bin"),
    "tofile bytes": (lambda path, a: a.tofile(os.fsencode(path)), np.fromfile, ".bin"),
    "tofile as text": (
        lambda path, a: a.tofile(path, sep=" ", format="%s"),
        lambda path: np.fromfile(path, sep=" "),
        ".bin",
    ),
}


@POSIX
@pytest.mark.parametrize("size", SIZES[:3])
@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written_over_the_mapped_file_is_whole(
    tmp_path: Path, name: str, size: int
) -> None:
    write, read, suffix = WRITERS[name]
    path = tmp_path / f"own{suffix}"
    values = np.arange(1.0, size + 1)
    values.tofile(path)
    for mode in ("r", "r+", "c"):
        values.tofile(path)
        a = mmapio.memmap(path, "f8", mode)
        write(str(path), a)
        np.testing.assert_array_equal(np.atleast_1d(read(path)), values)
        np.testing.assert_array_equal(a, values)  # the old file, whole
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@POSIX
@pytest.mark.parametrize("size", SIZES)
def test_views_and_other_mappings_of_the_file_are_known(tmp_path: Path, size: int) -> None:
    for view in (
        lambda a: a[size // 2 :],
        lambda a: a[::-1],
        lambda a: a[::3],
        lambda a: np.lib.stride_tricks.as_strided(a, (size, 2), (8, 0), subok=True),
        lambda a: a.view("V8").view(mmapio.memmap).view("f8"),
    ):
        values = view(np.arange(1.0, size + 1).view(mmapio.MappedArray)).view(np.ndarray)
        path = tmp_path / "t.npy"
        first = make(tmp_path, size)
        np.save(path, view(first))
        np.testing.assert_array_equal(np.load(path), values)
        other = [make(tmp_path, size), mmapio.open(path)][1]
        np.save(path, view(other))
        np.testing.assert_array_equal(np.load(path), values)


@POSIX
def test_links_to_the_file_are_known(tmp_path: Path) -> None:
    for make_link in (os.symlink, os.link):
        a = make(tmp_path, 3000)
        link = tmp_path / "link.npy"
        make_link(tmp_path / "t.npy", link)
        np.save(link, a)
        for path in (link, tmp_path / "t.npy"):
            np.testing.assert_array_equal(np.load(path), np.arange(1.0, 3001))
        link.unlink()


@POSIX
@pytest.mark.parametrize("size", SIZES)
def test_a_growable_array_is_saved_over_its_own_file(tmp_path: Path, size: int) -> None:
    path = tmp_path / "g.npy"
    with mmapio.GrowableArray.open(path, "w+", dtype="f8", row_shape=()) as g:
        g.extend(np.arange(1.0, size + 1))
        g.commit()
        np.save(path, g)
        np.testing.assert_array_equal(np.load(path), np.arange(1.0, size + 1))
        np.save(file=path, arr=g)
        with pytest.raises(mmapio.ReplacedError):
            g.commit()
        g.close(commit=False)


def test_functions_take_growable_arrays_as_arrays(tmp_path: Path) -> None:
    with mmapio.GrowableArray.open(tmp_path / "g.npy", "w+", dtype="f8", row_shape=2) as g:
        g.extend(np.arange(12.0).reshape(6, 2))
        rows = g[:]
        for function in (np.sum, np.ravel, np.argsort, np.nanmax, np.ndim, np.shape, np.isnan):
            np.testing.assert_array_equal(function(g), function(rows))
        both = np.concatenate([g, rows], axis=1)
        np.testing.assert_array_equal(both, np.hstack((rows, rows)))
        np.testing.assert_array_equal(g, rows)
        assert type(np.flip(g)) is np.ndarray
        np.savez(tmp_path / "x.npz", first=g)
        np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["first"], rows)


@POSIX
def test_one_of_several_arrays_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.arange(300.0).tofile(path)
    a = mmapio.memmap(path, "f8", "r")
    np.savez(path, np.ones(3), x=a, y=np.asarray(a)[1:])
    with np.load(path) as archive:
        assert archive["arr_0"].sum() == 3
        np.testing.assert_array_equal(archive["x"], np.arange(300.0))


@pytest.mark.parametrize("size", SIZES)
def test_other_files_are_written_as_by_numpy(tmp_path: Path, size: int) -> None:
    a = make(tmp_path, size)
    os.mkdir(tmp_path / "ours")
    os.mkdir(tmp_path / "numpys")
    for write, _, suffix in WRITERS.values():
        for array, folder in ((a, "ours"), (a.ndarray, "numpys")):
            write(str(tmp_path / folder / f"x{suffix}"), array)
        ours, numpys = (tmp_path / folder / f"x{suffix}" for folder in ("ours", "numpys"))
        if suffix == ".npz":  # which has the time in it
            np.testing.assert_array_equal(values_of_savez(ours), values_of_savez(numpys))
        else:
            assert ours.read_bytes() == numpys.read_bytes()
    data = io.BytesIO()
    np.save(data, a)
    data.seek(0)
    np.testing.assert_array_equal(np.load(data), a)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("opened", "write"),
    [
        (lambda path: open(path, "wb"), np.save),
        (lambda path: open(path, "wb", buffering=0), np.save),
        (lambda path: open(path, "wb"), np.savez),
        (lambda path: open(path, "w"), np.savetxt),
        (lambda path: gzip.open(path, "wb"), np.savetxt),
        (lambda path: open(path, "wb"), lambda file, a: a.tofile(file)),
        (lambda path: open(path, "wb"), lambda file, a: a.dump(file)),
    ],
)
@POSIX
def test_a_file_that_was_cut_off_before_is_told(
    tmp_path: Path, opened: Any, write: Any, size: int
) -> None:
    a = make(tmp_path, size)
    with (
        opened(tmp_path / "t.npy") as file,
        pytest.raises(mmapio.MappingLostError, match="opening a file for writing"),
    ):
        write(file, a)


@POSIX
def test_a_file_that_is_cut_off_meanwhile_is_told(tmp_path: Path) -> None:
    """The file object cannot be seen to be that of the array: it has no descriptor."""

    class Sneaky(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            os.truncate(tmp_path / "t.npy", 128)
            return len(data)

    a = make(tmp_path, 3000)
    with pytest.raises(mmapio.MappingLostError):
        np.save(Sneaky(), a)


@pytest.mark.parametrize("size", SIZES)
def test_an_open_file_is_not_written_over_while_it_is_read(tmp_path: Path, size: int) -> None:
    a = make(tmp_path, size)
    path = tmp_path / "t.npy"
    before = path.read_bytes()
    with open(path, "r+b") as file:
        for write in (np.save, np.savez, np.savetxt, lambda file, a: a.tofile(file)):
            with pytest.raises(mmapio.ArgumentError, match="open file that it is mapped from"):
                write(file, a)
        file.read(3)  # the descriptor is further on than the file object
        with pytest.raises(mmapio.ArgumentError):
            np.save(file, a)
    assert path.read_bytes() == before


@POSIX
def test_what_comes_after_the_array_may_be_written(tmp_path: Path) -> None:
    """Several arrays in one file, one after the other, is a thing that people do."""
    a = make(tmp_path, 3000)
    for _ in range(2):
        with open(tmp_path / "t.npy", "ab") as file:
            np.save(file, a[5:])
    with open(tmp_path / "t.npy", "r+b") as file:
        file.seek(0, 2)
        np.save(file, a)
        file.seek(0)
        sizes = [len(np.load(file)) for _ in range(4)]
    assert sizes == [3000, 2995, 2995, 3000]


@POSIX
def test_what_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    a = make(tmp_path, 300)
    before = (tmp_path / "t.npy").read_bytes()
    for write, kind in (
        (lambda path: np.savetxt(path, a, fmt="%d %d"), ValueError),
        (lambda path: a.tofile(path, sep=" ", format="%d %d"), TypeError),
        (lambda path: a.dump(path), mmapio.ArgumentError),
        (lambda path: np.savez(str(path)[:-4] + "/x", a), OSError),
    ):
        with pytest.raises(kind):
            write(tmp_path / "t.npy")
        assert (tmp_path / "t.npy").read_bytes() == before
    os.rename(tmp_path / "t.npy", tmp_path / "t.gz")
    with pytest.raises(mmapio.ArgumentError, match="compress"):
        np.savetxt(tmp_path / "t.gz", a)
    assert (tmp_path / "t.gz").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(TypeError):
        a.tofile()  # type: ignore[call-arg]


def test_a_dump_to_another_file_refers_to_the_array(tmp_path: Path) -> None:
    a = make(tmp_path, 300)
    a.dump(tmp_path / "t.pickle")
    again = pickle.loads((tmp_path / "t.pickle").read_bytes())
    assert again.filename == a.filename


@POSIX
def test_an_error_that_is_kept_keeps_no_array(tmp_path: Path) -> None:
    a = make(tmp_path, 300, raw=True)
    kept = []
    with open(tmp_path / "t.bin", "r+b") as file:
        for write in (a[1:].dump, a[1:].tofile):
            with pytest.raises(mmapio.ArgumentError) as caught:
                write(file)
            kept.append(caught.value)
        del write
    a.close()
    assert len(kept) == 2


@POSIX
def test_a_closed_array_stands_in_nobodys_way(tmp_path: Path) -> None:
    a = make(tmp_path, 300)
    a.close()
    inode = (tmp_path / "t.npy").stat().st_ino
    np.save(tmp_path / "t.npy", a)
    assert (tmp_path / "t.npy").stat().st_ino == inode
    np.save(tmp_path / "t.npy", mmapio.anonymous(3))
    assert np.load(tmp_path / "t.npy").tolist() == [0, 0, 0]
