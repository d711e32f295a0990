"""`save`, `copy` and `delete`: whole files, or none."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio

PAGE = mmapio._os.PAGE_SIZE
PADDED = np.dtype([("a", "u1"), ("b", "<f8"), ("c", "<u2")], align=True)
POSIX = pytest.mark.skipif(
    sys.platform == "win32",
    reason="Windows keeps mapped files, and has other links and permissions",
)
NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.npy"


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


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on another file system than `tmp_path`."""
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system at /dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shm))
    yield folder
    shutil.rmtree(folder)


def allocated(path: Path) -> int:
    return getattr(path.stat(), "st_blocks", 0) * 512


# save --------------------------------------------------------------------------------------------


def _arrays() -> dict[str, Any]:
    whole = np.arange(4 * 70_000, dtype="<i4").reshape(4, 70_000)
    records = np.full((300, 400 * PADDED.itemsize), 0xEE, "u1").view(PADDED)  # its padding, too
    records["a"], records["b"] = 7, np.arange(400)
    return {
        "C order": whole,
        "F order": np.asfortranarray(whole),
        "transposed": whole.T,
        "columns": whole[:, ::3],
        "backwards": whole[::-1, ::-1],
        "a field": records["b"],
        "3-d, axes swapped": np.arange(60_000.0).reshape(30, 40, 50).swapaxes(0, 1),
        "broadcast": np.broadcast_to(np.arange(5), (7, 5)),
        "foreign byte order": np.arange(10, dtype=">i8"),
        "foreign and cut": np.arange(100_000, dtype=">f4").reshape(-1, 2)[:, 1],
        "padded": records,
        "padded and cut": records[::2, 1::3],
        "some fields": records[["a", "c"]],
        "unaligned": np.frombuffer(bytes(range(81)), "u1")[1:].view("<f8"),
        "0-d": np.array(5.5),
        "a scalar": np.float32(2),
        "a list": [[1, 2], [3, 4]],
        "empty": np.zeros((3, 0)),
        "nothing": [],
        "text": np.array(["é", "日本"]),
        "times": np.arange("2020", "2024", dtype="M8[M]")[::2],
        "subarrays": np.zeros(3, [("x", "<f4", (2, 3)), ("y", "S3")]),
        "titles": np.ones(3, [(("title", "x"), "<i4")]),
        "bools": np.arange(10) % 3 == 0,
        "read-only": np.frombuffer(b"abcdefgh", "<i4"),
    }


@pytest.mark.parametrize("name", _arrays())
def test_save_writes_what_numpy_writes(tmp_path: Path, name: str) -> None:
    array = _arrays()[name]
    np.save(tmp_path / "theirs.npy", array)
    mmapio.save(tmp_path / "ours.npy", array)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()
    opened = mmapio.open(tmp_path / "ours.npy")
    np.testing.assert_array_equal(opened, array)
    assert opened.dtype == np.asarray(array).dtype


@POSIX
def test_save_takes_mapped_arrays_even_from_the_file_that_it_replaces(path: Path) -> None:
    a = mmapio.create(path, (3, 4), "<i4")
    a[...] = np.arange(12).reshape(3, 4)
    mmapio.save(path, a[:, ::2] + 1)
    mmapio.save(path, mmapio.open(path)[::-1])
    assert np.load(path).tolist() == [[9, 11], [5, 7], [1, 3]]
    np.testing.assert_array_equal(a, np.arange(12).reshape(3, 4))


@POSIX
def test_whoever_maps_the_old_file_keeps_it(path: Path, run_python: Callable[..., str]) -> None:
    code = """
import subprocess, sys, mmapio
path = sys.argv[1]
a = mmapio.open(path)
code = "import sys, numpy, mmapio; mmapio.save(sys.argv[1], numpy.zeros(2))"
subprocess.run([sys.executable, "-c", code, path], check=True)
print(a.tolist(), mmapio.open(path).tolist())
"""
    np.save(path, np.arange(5))
    assert run_python(code, str(path)) == "[0, 1, 2, 3, 4] [0.0, 0.0]\n"


@POSIX
@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "日本" * 42], ids=["ASCII", "é", "CJK"])
def test_names_as_long_as_the_file_system_allows(tmp_path: Path, name: str) -> None:
    mmapio.save(tmp_path / name, [1])
    mmapio.copy(tmp_path / name, tmp_path / name)
    mmapio.create(tmp_path / name, 2, overwrite=True).close()
    assert np.load(tmp_path / name).tolist() == [0, 0]


@POSIX
def test_save_keeps_permissions_and_follows_links(tmp_path: Path) -> None:
    target, link = tmp_path / "target.npy", tmp_path / "link.npy"
    mmapio.save(target, [1])
    link.symlink_to(target)
    for mode in (0o600, 0o640, 0o755, 0o444):
        target.chmod(mode)
        mmapio.save(link, [mode])
        assert target.stat().st_mode & 0o7777 == mode
        assert np.load(target).tolist() == [mode]
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link.npy", "target.npy"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can chown")
def test_save_keeps_the_owner(path: Path) -> None:
    mmapio.save(path, [1])
    os.chown(path, 12345, 23456)
    path.chmod(0o640)
    mmapio.save(path, [2])
    facts = path.stat()
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o777) == (12345, 23456, 0o640)


def test_save_is_durable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def spy(module: Any, name: str) -> None:
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args: (steps.append(name), real(*args))[1])

    spy(mmapio._os, "sync_file")
    spy(mmapio._os, "sync_directory")
    spy(os, "replace")
    mmapio.save(path, [1, 2, 3])
    assert steps == ["sync_file", "replace", "sync_directory"]
    steps.clear()
    mmapio.copy(path, path.with_name("y.npy"))
    assert steps == ["sync_file", "replace", "sync_directory"]
    steps.clear()
    mmapio.create(path, 3, overwrite=True)
    assert steps == ["sync_file", "replace", "sync_directory"]


@pytest.mark.parametrize(
    ("how", "name"),
    [(how, name) for how in ("save", "copy", "create") for name in ("sync_file", "sync_directory")]
    + [("save", "allocate"), ("create", "allocate")],
)
def test_an_error_of_the_drive_is_told_and_leaves_one_whole_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, how: str, name: str
) -> None:
    mmapio.save(path, [1, 2, 3])
    mmapio.save(path.with_name("new.npy"), [4, 5])

    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(mmapio._os, name, fail)
        with pytest.raises(mmapio.FileError, match=str(path)) as caught:
            {
                "save": lambda: mmapio.save(path, [4, 5]),
                "copy": lambda: mmapio.copy(path.with_name("new.npy"), path),
                "create": lambda: mmapio.create(path, 2, overwrite=True),
            }[how]()
    assert caught.value.errno == errno.EIO
    # Only the last step comes after the new file has taken the old one's place.
    expected = {"save": [4, 5], "copy": [4, 5], "create": [0, 0]}[how]
    assert np.load(path).tolist() == (expected if name == "sync_directory" else [1, 2, 3])
    assert sorted(os.listdir(path.parent)) == ["new.npy", "x.npy"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(small_disk: Path) -> None:
    path = small_disk / "x.npy"
    with pytest.raises(mmapio.FileError) as caught:
        mmapio.save(path, np.zeros(1 << 20))
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(small_disk) == []
    mmapio.save(path, np.full(15_000, 7.0))
    before = path.read_bytes()
    for items in (1 << 20, 30_000, 20_000):  # the last two fit, but not beside the old file
        with pytest.raises(mmapio.FileError, match=str(path)) as caught:
            mmapio.save(path, np.zeros(items))
        assert caught.value.errno == errno.ENOSPC
        assert os.listdir(small_disk) == ["x.npy"]
        assert path.read_bytes() == before
    mmapio.save(path, np.zeros(15_000))


def test_a_full_disk_fails_a_copy_and_leaves_the_old_file(small_disk: Path, tmp_path: Path) -> None:
    mmapio.save(tmp_path / "large.npy", np.ones(1 << 17))
    target = small_disk / "x.npy"
    for old in (None, [1, 2]):
        if old:
            mmapio.save(target, old)
        with pytest.raises(mmapio.FileError) as caught:
            mmapio.copy(tmp_path / "large.npy", target)
        assert caught.value.errno == errno.ENOSPC
        assert os.listdir(small_disk) == (["x.npy"] if old else [])
    assert np.load(target).tolist() == [1, 2]


STEPS = """
import os, signal, sys, numpy as np, mmapio
from mmapio import _os

path = sys.argv[1]
old, new = np.arange(1000), np.full(5000, 7)

def outcome(child):
    status = os.waitpid(child, 0)[1]
    found = np.load(path).tolist()
    assert found in (old.tolist(), new.tolist()), (status, len(found))
    return status, "new" if len(found) == 5000 else "old"

def killed(module, name, after):
    mmapio.save(path, old)
    if (child := os.fork()) == 0:
        real = getattr(module, name)
        def die(*args, **keywords):
            if after:
                real(*args, **keywords)
            os.kill(os.getpid(), signal.SIGKILL)
        setattr(module, name, die)
        mmapio.save(path, new)
        os._exit(1)
    return outcome(child)
"""


@NEEDS_FORK
def test_kill_9_at_every_step_of_save_leaves_the_old_file_or_the_new(
    path: Path, run_python: Callable[..., str]
) -> None:
    code = """
steps = [(_os, "allocate"), (os, "write"), (_os, "sync_file"), (os, "replace")]
if "publish_nameless" in vars(_os) and _os.open_nameless(os.path.dirname(path)) is not None:
    steps.append((_os, "publish_nameless"))
for module, name in steps:
    for after in (False, True):
        status, found = killed(module, name, after)
        assert status == 9, (name, after, status)
        assert found == ("new" if name == "replace" and after else "old"), (name, after)
assert killed(_os, "sync_directory", False) == (9, "new")
print("old or new")
"""
    assert run_python(STEPS + code, str(path)) == "old or new\n"


@NEEDS_FORK
def test_kill_9_at_any_time_leaves_the_old_file_or_the_new(
    path: Path, run_python: Callable[..., str]
) -> None:
    code = """
import random, time
random.seed(int(sys.argv[2]))
for _ in range(60):
    if (child := os.fork()) == 0:
        while True:
            mmapio.save(path, new)
            mmapio.save(path, old)
    time.sleep(random.random() / 100)
    os.kill(child, signal.SIGKILL)
    outcome(child)
print("old or new")
"""
    mmapio.save(path, np.arange(1000))
    assert run_python(STEPS + code, str(path), "1") == "old or new\n"


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([None]), "object"),
        (np.array([{}, 3]), "object"),
        (np.zeros(2, [("a", "i4"), ("b", "O")]), "object"),
        (np.zeros(2, np.dtypes.StringDType()), "StringDType"),
    ],
    ids=["None", "dict", "field", "strings"],
)
def test_what_cannot_be_saved(path: Path, array: Any, message: str) -> None:
    with pytest.raises(mmapio.ArgumentError, match=message):
        mmapio.save(path, array)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("how", ["save", "copy"])
def test_bad_targets(tmp_path: Path, how: str) -> None:
    mmapio.save(tmp_path / "x.npy", [1])
    (tmp_path / "folder").mkdir()
    before = sorted(os.listdir(tmp_path))

    def write(target: Any) -> None:
        if how == "save":
            mmapio.save(target, [1, 2])
        else:
            mmapio.copy(tmp_path / "x.npy", target)

    cases: list[tuple[Any, type[Exception], type[Exception]]] = [
        (tmp_path / "folder", mmapio.DirectoryError, IsADirectoryError),
        (tmp_path / "no folder" / "y", mmapio.MissingFileError, FileNotFoundError),
        (tmp_path / "x.npy" / "y", mmapio.FileError, OSError),
        (tmp_path / ("n" * 300), mmapio.FileError, OSError),
        (f"{tmp_path}/nu\0ll", mmapio.ArgumentError, ValueError),
        (7, mmapio.ArgumentTypeError, TypeError),
        (None, mmapio.ArgumentTypeError, TypeError),
        ("", mmapio.FileError, OSError),
    ]
    for target, ours, builtin in cases:
        with pytest.raises(ours) as caught:
            write(target)
        assert isinstance(caught.value, builtin), target
        if isinstance(caught.value, OSError):
            assert caught.value.errno
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("how", ["save", "copy"])
def test_a_pipe_or_a_device_is_not_replaced_by_a_file(tmp_path: Path, how: str) -> None:
    pipe, source = tmp_path / "pipe", tmp_path / "x.npy"
    os.mkfifo(pipe)
    mmapio.save(source, [1])
    with pytest.raises(mmapio.FileError, match="regular file") as caught:
        mmapio.save(pipe, [1]) if how == "save" else mmapio.copy(source, pipe)
    assert caught.value.errno
    assert pipe.is_fifo()


# Where files need a name from the start ----------------------------------------------------------


@pytest.fixture
def no_nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let new files have a hidden name, as on file systems and platforms without O_TMPFILE."""
    monkeypatch.setattr(mmapio._os, "open_nameless", lambda directory: None)


@pytest.mark.usefixtures("no_nameless")
def test_files_under_a_hidden_name_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    mmapio.create(path, 3, "i4")[:] = 5
    with pytest.raises(mmapio.ExistingFileError):
        mmapio.create(path, 3, "i4")
    with pytest.raises(mmapio.FileError):
        mmapio.create(path, 2**62, "u1", overwrite=True)
    assert mmapio.open(path, "a+").tolist() == [5, 5, 5]
    mmapio.save(path, [1, 2])
    mmapio.copy(path, tmp_path / "y.npy")
    mmapio.create(path, 2, "i4", overwrite=True)
    assert (np.load(path).tolist(), np.load(tmp_path / "y.npy").tolist()) == ([0, 0], [1, 2])
    assert sorted(os.listdir(tmp_path)) == ["x.npy", "y.npy"]


@POSIX
@pytest.mark.usefixtures("no_nameless")
def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "x.npy"
    mmapio.create(path, 3, "i4")[:] = 5
    with pytest.raises(mmapio.ExistingFileError):
        mmapio.create(path, 9, "i4")
    assert np.load(path).tolist() == [5, 5, 5]
    assert os.listdir(tmp_path) == ["x.npy"]


# copy --------------------------------------------------------------------------------------------


def _sparse_file(path: Path) -> bytes:
    """Write a file of data, a hole, data at odd places, and a hole at its end."""
    with path.open("wb") as file:
        file.write(os.urandom(3 * PAGE + 17))
        file.seek(1 << 20)
        file.write(b"middle")
        file.seek((8 << 20) - 5)
        file.write(b"more")
        file.truncate((16 << 20) + 3)
        file.flush()
        os.fsync(file.fileno())
    return path.read_bytes()


def test_copies_have_the_same_bytes_and_keep_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    content = _sparse_file(source)
    mmapio.copy(source, target)
    assert target.read_bytes() == content
    if allocated(source) < 1 << 20:  # this file system has holes
        assert allocated(target) <= allocated(source) + 16 * PAGE


@pytest.mark.parametrize("there", [True, False])
def test_copies_between_file_systems(tmp_path: Path, elsewhere: Path, there: bool) -> None:
    folders = (tmp_path, elsewhere) if there else (elsewhere, tmp_path)
    source, target = folders[0] / "source", folders[1] / "target"
    content = _sparse_file(source)
    mmapio.copy(source, target)
    assert target.read_bytes() == content
    assert allocated(target) < 1 << 20
    assert os.listdir(folders[1]) == ["target"]


@pytest.mark.parametrize("size", [0, 1, PAGE - 1, PAGE, PAGE + 1, 5 << 20])
def test_copies_of_every_size(tmp_path: Path, size: int) -> None:
    content = np.random.default_rng(0).bytes(size)
    (tmp_path / "source").write_bytes(content)
    (tmp_path / "target").write_bytes(b"what was here before, and longer" * 10)
    mmapio.copy(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == content
    assert (tmp_path / "source").read_bytes() == content


def test_a_copy_shares_nothing_that_is_written_later(tmp_path: Path) -> None:
    a = mmapio.create(tmp_path / "a.npy", PAGE, "u1")
    a[:] = 1  # not flushed: copied from the page cache all the same
    mmapio.copy(tmp_path / "a.npy", tmp_path / "b.npy")
    b = mmapio.open(tmp_path / "b.npy", "r+")
    assert (b == 1).all()
    a[:] = 2
    b[0] = 3
    assert (a[0], b[0], b[1]) == (2, 3, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux copies in several ways")
@pytest.mark.parametrize("way", ["kernel", "hand", "whole"])
@pytest.mark.parametrize("there", [False, True])
def test_a_source_that_is_cut_off_meanwhile_leaves_no_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, there: bool
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * 100_000)
    if there:
        target.write_bytes(b"old")
    left: list[int] = []

    def cutting(module: Any, name: str) -> None:
        real = getattr(module, name)

        def cut(*arguments: Any) -> Any:
            os.truncate(source, left[-1])
            return real(*arguments)

        monkeypatch.setattr(module, name, cut)

    if way == "kernel":
        cutting(os, "copy_file_range")
    elif way == "whole":
        cutting(mmapio._os, "copy_contents")
    else:
        monkeypatch.delattr(os, "copy_file_range")
        cutting(os, "pread")
    for size in (50_000, 99_999, 0):
        left.append(size)
        with pytest.raises(mmapio.FileError, match="was cut off while it was copied") as caught:
            mmapio.copy(source, target)
        assert (caught.value.errno, caught.value.filename) == (errno.ENODATA, str(source))
        assert sorted(os.listdir(tmp_path)) == ["source", "target"][: 1 + there]
        assert not there or target.read_bytes() == b"old"
        source.write_bytes(b"x" * 100_000)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux copies in its kernel")
def test_ctrl_c_parts_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmapio._os import _linux

    source, real, pieces = tmp_path / "source", os.copy_file_range, []
    source.write_bytes(b"x" * 100_000)

    def interrupted(*arguments: int) -> int:
        pieces.append(arguments[2])
        if len(pieces) == 2:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(_linux, "_COPY_BYTES", 1000)
    monkeypatch.setattr(os, "copy_file_range", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mmapio.copy(source, tmp_path / "target")
    assert pieces == [1000, 1000]
    assert os.listdir(tmp_path) == ["source"]


@POSIX
def test_a_copy_replaces_atomically(tmp_path: Path) -> None:
    mmapio.save(tmp_path / "new.npy", np.arange(5))
    mmapio.save(tmp_path / "x.npy", np.arange(3))
    (tmp_path / "x.npy").chmod(0o640)
    old = mmapio.open(tmp_path / "x.npy")
    mmapio.copy(tmp_path / "new.npy", tmp_path / "x.npy")
    assert old.tolist() == [0, 1, 2]
    assert mmapio.open(tmp_path / "x.npy").tolist() == [0, 1, 2, 3, 4]
    assert (tmp_path / "x.npy").stat().st_mode & 0o777 == 0o640
    mmapio.copy(tmp_path / "x.npy", tmp_path / "x.npy")  # onto itself
    assert np.load(tmp_path / "x.npy").tolist() == [0, 1, 2, 3, 4]


def test_bad_sources(tmp_path: Path) -> None:
    cases: list[tuple[Any, type[Exception], type[Exception]]] = [
        (tmp_path / "missing", mmapio.MissingFileError, FileNotFoundError),
        (tmp_path, mmapio.DirectoryError, IsADirectoryError),
        ("nu\0ll", mmapio.ArgumentError, ValueError),
        (7, mmapio.ArgumentTypeError, TypeError),
    ]
    if os.path.exists("/dev/zero"):
        cases.append(("/dev/zero", mmapio.FileError, OSError))
    for source, ours, builtin in cases:
        with pytest.raises(ours) as caught:
            mmapio.copy(source, tmp_path / "target")
        assert isinstance(caught.value, builtin)
    assert os.listdir(tmp_path) == []


# delete ------------------------------------------------------------------------------------------


@POSIX
def test_whoever_maps_a_deleted_file_keeps_it(path: Path) -> None:
    a = mmapio.create(path, 1000, "i4")
    a[:] = np.arange(1000)
    mmapio.delete(path)
    assert not path.exists()
    assert a.sum() == 499_500
    a[0] = 5
    a.flush()
    mmapio.create(path, 3)
    assert a[0] == 5
    a.close()


@POSIX
def test_delete_takes_the_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch()
    link.symlink_to(target)
    mmapio.delete(link)
    assert os.listdir(tmp_path) == ["target"]
    mmapio.delete(os.fsencode(target))
    assert os.listdir(tmp_path) == []


def test_bad_deletions(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    cases: list[tuple[Any, type[Exception], type[Exception]]] = [
        (tmp_path / "missing", mmapio.MissingFileError, FileNotFoundError),
        ("", mmapio.MissingFileError, FileNotFoundError),
        ("nu\0ll", mmapio.ArgumentError, ValueError),
        (3, mmapio.ArgumentTypeError, TypeError),
        (tmp_path / "folder", mmapio.FileError, OSError),
    ]
    for target, ours, builtin in cases:
        with pytest.raises(ours) as caught:
            mmapio.delete(target)
        assert isinstance(caught.value, builtin)
    assert os.listdir(tmp_path) == ["folder"]
    with pytest.raises(mmapio.MissingFileError) as missing:
        mmapio.delete(tmp_path / "missing")
    assert (missing.value.errno, missing.value.filename) == (errno.ENOENT, f"{tmp_path}/missing")
