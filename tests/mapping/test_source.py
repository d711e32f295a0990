"""Files behind mappings: found, opened, created, raced for, and recognised again."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mmapio import MappedFile, _os
from mmapio.errors import (
    AccessError,
    ArgumentError,
    ArgumentTypeError,
    DirectoryError,
    ExistingFileError,
    FileError,
    MissingFileError,
    OutOfBoundsError,
    ReplacedError,
)
from mmapio.mapping.region import Region
from mmapio.mapping.source import Source

MODES = ["r", "r+", "c", "w+", "x+", "a+"]
CREATING = ["w+", "x+", "a+"]
CONTENT = bytes(range(256)) * 40

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such files")
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps mapped files in place")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def opened(path: Any, mode: str, size: int = 10) -> MappedFile:
    return MappedFile.open(path, mode, size if mode in CREATING else None)


def replace(path: Path, content: bytes) -> None:
    """Put another file in a file's place."""
    path.with_name("other").write_bytes(content)
    os.replace(path.with_name("other"), path)


# Paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_a_path_is_text_bytes_or_an_object(path: Path, kind: Callable[[Path], Any]) -> None:
    with MappedFile.open(kind(path)) as m:
        assert m.path == str(path)
        assert m.read() == CONTENT


@pytest.mark.parametrize("wrong", [3, None, 1.5, ["file"]])
def test_what_is_no_path_is_refused(wrong: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="path must be a str, bytes or os"):
        MappedFile.open(wrong)


@pytest.mark.parametrize("mode", MODES)
def test_a_null_character_is_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ArgumentError, match="has a null character"):
        opened(str(tmp_path / "a\0b"), mode)


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_path_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(FileError):
        opened("", mode)
    assert [each.name for each in tmp_path.rglob("*")] == ["here"]


@on_linux
def test_a_name_that_is_no_text_is_fine(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xfe"
    with MappedFile.open(name, "x+", 4) as m:
        assert repr(m).endswith("mode='x+' size=4 open>")
        assert os.fsencode(m.path or "") == name
    assert os.path.getsize(name) == 4


def test_a_relative_path_stays_right_when_the_folder_changes(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(path.parent)
    m = MappedFile.open("file", "r+")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    m.resize(7)
    assert (m.path, path.stat().st_size) == (str(path), 7)


# Files that cannot be mapped ------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["r", "r+", "c", "a+"])
def test_a_missing_file_is_told(tmp_path: Path, mode: str) -> None:
    with pytest.raises(MissingFileError, match=f"cannot open in mode '{mode[0]}") as caught:
        MappedFile.open(tmp_path / "missing", mode)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, str(tmp_path / "missing"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_missing_folder_is_told(tmp_path: Path, mode: str) -> None:
    with pytest.raises(MissingFileError):
        opened(tmp_path / "missing" / "file", mode)


@on_posix
@pytest.mark.parametrize("mode", MODES)
def test_a_folder_is_told(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ExistingFileError if mode == "x+" else DirectoryError):
        opened(tmp_path, mode)


@on_posix
@pytest.mark.parametrize("mode", ["r", "r+", "c", "a+", "w+"])
def test_a_pipe_is_refused_without_waiting_for_its_other_end(tmp_path: Path, mode: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="not a regular file"):
        opened(tmp_path / "pipe", mode)
    assert [each.is_fifo() for each in tmp_path.iterdir()] == [True]


@on_linux
@pytest.mark.parametrize("path", ["/proc/self/status", "/sys/kernel/profiling", "/dev/zero"])
def test_what_the_kernel_only_pretends_to_be_a_file_is_refused(path: str) -> None:
    if not os.path.exists(path):
        pytest.skip(f"there is no {path} here")
    with pytest.raises(FileError, match="cannot map") as caught:
        MappedFile.open(path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENODEV, path)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Give root's rights up for a while; who has none has no need to."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@on_posix
@pytest.mark.parametrize(
    ("mode", "permissions", "folder"),
    [
        ("r", 0o000, 0o777),
        ("c", 0o222, 0o777),
        ("r+", 0o444, 0o777),
        ("a+", 0o444, 0o777),
        ("w+", 0o666, 0o555),
        ("x+", None, 0o555),
        ("a+", None, 0o555),
    ],
)
def test_a_lack_of_permission_is_told(mode: str, permissions: int | None, folder: int) -> None:
    with tempfile.TemporaryDirectory() as name:  # the folders of pytest are closed to others
        path = Path(name, "file")
        if permissions is not None:
            path.write_bytes(b"old")
            path.chmod(permissions)
        Path(name).chmod(folder)
        before = sorted(os.listdir(name))
        with as_nobody(), pytest.raises(AccessError) as caught:
            opened(path, mode)
        Path(name).chmod(0o700)
        assert caught.value.errno == errno.EACCES
        assert sorted(os.listdir(name)) == before
        assert permissions is None or path.read_bytes() == b"old"


# Creating -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", CREATING)
@pytest.mark.parametrize("size", [0, 1, 4096, 10_000])
@pytest.mark.parametrize("reserve", [False, True])
def test_a_new_file_is_zeros_of_its_size(
    tmp_path: Path, mode: str, size: int, reserve: bool
) -> None:
    with MappedFile.open(tmp_path / "new", mode, size, reserve=reserve) as m:
        assert (m.size, m.read()) == (size, bytes(size))
    assert (tmp_path / "new").read_bytes() == bytes(size)
    assert os.listdir(tmp_path) == ["new"]


@pytest.mark.parametrize(("mode", "needed"), [("w+", True), ("x+", True), ("a+", False)])
def test_creating_needs_a_size(path: Path, mode: str, needed: bool) -> None:
    if needed:
        with pytest.raises(ArgumentError, match=f"mode '{mode[0]}.' creates a file and needs its"):
            MappedFile.open(path, mode)
    else:
        assert MappedFile.open(path, mode).size == len(CONTENT)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_size_is_for_modes_that_create(path: Path, mode: str) -> None:
    with pytest.raises(ArgumentError, match="size is for modes that create a file"):
        MappedFile.open(path, mode, 10)


def test_what_is_there_is_kept_replaced_or_opened(path: Path) -> None:
    with pytest.raises(ExistingFileError, match="cannot create: File exists"):
        MappedFile.open(path, "x+", 10)
    assert path.read_bytes() == CONTENT
    with MappedFile.open(path, "a+", 10) as m:
        assert m.read() == CONTENT
        m.write(0, b"kept")
    assert path.read_bytes() == b"kept" + CONTENT[4:]
    with MappedFile.open(path, "w+", 10) as m:
        assert m.read() == bytes(10)
    assert path.read_bytes() == bytes(10)


@pytest.mark.parametrize("mode", CREATING)
@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"size": -1}, ArgumentError),
        ({"size": 2**63}, ArgumentError),
        ({"size": 2**63 - 1}, FileError),
        ({"size": 2**63 - 1, "reserve": False}, FileError),
        ({"size": "10"}, ArgumentTypeError),
        ({"size": 10, "offset": 11}, OutOfBoundsError),
        ({"size": 10, "offset": 5, "length": 6}, OutOfBoundsError),
        ({"size": 10, "offset": -1}, ArgumentError),
        ({"size": 10, "length": 1.0}, ArgumentTypeError),
        ({"size": 10, "capacity": -1}, ArgumentError),
        ({"size": 10, "capacity": "20 cubits"}, ArgumentError),
        ({"size": 10, "capacity": b"20"}, ArgumentTypeError),
    ],
)
def test_a_wrong_argument_changes_no_file(
    path: Path, mode: str, options: dict[str, Any], kind: type[Exception]
) -> None:
    if mode != "w+":
        path.unlink()
    with pytest.raises(kind):
        MappedFile.open(path, mode, **options)
    assert os.listdir(path.parent) == (["file"] if mode == "w+" else [])
    assert mode != "w+" or path.read_bytes() == CONTENT


def test_a_window_is_one_of_the_file_that_is_there(path: Path) -> None:
    """The size is for a file that is not."""
    with MappedFile.open(path, "a+", 10, offset=20, length=5) as m:
        assert m.read() == CONTENT[20:25]
    path.unlink()
    with pytest.raises(OutOfBoundsError):
        MappedFile.open(path, "a+", 10, offset=20, length=5)
    assert not path.exists()


@on_posix
def test_a_file_is_created_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for mode in ("a+", "w+"):
        (tmp_path / mode).symlink_to(Path("inner", mode))
        with MappedFile.open(tmp_path / mode, mode, 5):
            pass
        assert (tmp_path / mode).is_symlink()
        assert (tmp_path / "inner" / mode).stat().st_size == 5


@pytest.mark.parametrize("mode", CREATING)
@pytest.mark.parametrize("reserve", [False, True])
@pytest.mark.parametrize("hidden", [False, True])
def test_a_new_file_is_whole_before_it_has_its_name(
    path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, reserve: bool, hidden: bool
) -> None:
    if hidden:
        monkeypatch.setattr(_os, "open_nameless", lambda directory: None)
    if mode != "w+":
        path.unlink()
    steps = []

    def watch(module: Any, name: str) -> None:
        real = getattr(module, name)

        def watched(*args: Any) -> Any:
            steps.append(name)
            assert path.exists() == (mode == "w+")
            assert mode != "w+" or path.read_bytes() == CONTENT
            return real(*args)

        monkeypatch.setattr(module, name, watched)

    for module, name in ((_os, "allocate"), (os, "ftruncate"), (os, "write")):
        watch(module, name)
    MappedFile.open(path, mode, 5000, reserve=reserve).close()
    assert steps == (["allocate"] if reserve else ["ftruncate"])


def test_a_file_that_goes_and_comes_is_opened_or_created_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file appears after it was looked for, and before it is created."""
    path = tmp_path / "file"
    real = _os.allocate

    def late(fd: int, offset: int, length: int) -> None:
        path.write_bytes(b"theirs")
        real(fd, offset, length)

    monkeypatch.setattr(_os, "allocate", late)
    with MappedFile.open(path, "a+", 5000) as m:
        assert m.read() == b"theirs"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("mode", CREATING)
@pytest.mark.parametrize("linked", [False, True])
def test_the_first_flush_makes_the_name_of_a_new_file_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, linked: bool
) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    path = folder / "new"
    if linked:
        if mode == "x+" or sys.platform == "win32":
            pytest.skip("that mode does not follow a link, or there are none")
        path = tmp_path / "link"
        path.symlink_to(folder / "new")
    synced: list[str] = []
    monkeypatch.setattr(_os, "sync_directory", synced.append)
    m = opened(path, mode)
    assert synced == []
    m.flush()
    m.flush()
    assert synced == [str(folder)]


def test_a_file_that_was_there_needs_no_sync_of_its_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_os, "sync_directory", pytest.fail)
    for mode in ("r+", "a+"):
        MappedFile.open(path, mode).flush()


# A full disk ----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return the path of a file system in memory that has room for 1 MiB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux may mount a small tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this root may not mount a tmpfs: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def state_of(folder: Path) -> tuple[dict[str, bytes], int]:
    """Return the files of a folder, and how many bytes are free on its disk."""
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    return {each.name: each.read_bytes() for each in folder.iterdir()}, free


@pytest.mark.parametrize("mode", CREATING)
@pytest.mark.parametrize("hidden", [False, True])
def test_a_full_disk_is_an_error_at_creation_and_leaves_all_as_it_was(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, mode: str, hidden: bool
) -> None:
    if hidden:
        monkeypatch.setattr(_os, "open_nameless", lambda directory: None)
    if mode == "w+":
        (small_disk / "file").write_bytes(CONTENT)
    before = state_of(small_disk)
    with pytest.raises(FileError, match="No space left on device; 2097152 bytes") as caught:
        MappedFile.open(small_disk / "file", mode, 2 << 20)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(small_disk / "file"))
    assert state_of(small_disk) == before
    with MappedFile.open(small_disk / "file", mode, before[1] // 2) as m:
        assert m.size == before[1] // 2


def test_every_page_that_is_free_can_be_had_and_not_one_more(small_disk: Path) -> None:
    for number in range(20):
        (small_disk / f"filler {number}").write_bytes(bytes(1 << 15))
        free = state_of(small_disk)[1]
        with pytest.raises(FileError):
            MappedFile.open(small_disk / "file", "x+", free + 1)
        MappedFile.open(small_disk / "file", "x+", free).view()[:] = 1
        os.unlink(small_disk / "file")


def test_a_full_disk_is_an_error_at_resize_and_leaves_all_as_it_was(small_disk: Path) -> None:
    m = MappedFile.open(small_disk / "file", "x+", 10_000, capacity=4 << 20)
    m.write(0, CONTENT[:10_000])
    view = m.view(9_000)
    before = state_of(small_disk)
    for size in (2 << 20, 8 << 20):  # within capacity, and past it
        with pytest.raises(FileError, match="No space left on device") as caught:
            m.resize(size, force=True)
        assert caught.value.errno == errno.ENOSPC
        assert state_of(small_disk) == before
        assert (m.size, view.tobytes()) == (10_000, CONTENT[9_000:10_000])
    m.resize(1 << 19)
    assert m.read() == CONTENT[:10_000] + bytes((1 << 19) - 10_000)
    view[0] = 7
    assert m.read(9_000, 1) == b"\7"


def test_without_reserve_a_full_disk_takes_files_of_any_size(small_disk: Path) -> None:
    m = MappedFile.open(small_disk / "file", "x+", 1 << 30, reserve=False)
    m.resize(1 << 31)
    assert m.read((1 << 31) - 1) == b"\0"
    assert (small_disk / "file").stat().st_blocks * 512 < 1 << 20


# Recognised again -----------------------------------------------------------------------------

NEEDS: dict[str, Callable[[MappedFile], Any]] = {
    "fileno": lambda m: m.fileno(),
    "detach": lambda m: m.detach(),
    "resize": lambda m: m.resize(5),
    "pickle": lambda m: pickle.loads(pickle.dumps(m)),
}


@on_posix
@pytest.mark.parametrize("need", NEEDS.values(), ids=NEEDS)
@pytest.mark.parametrize("content", [CONTENT, b"shorter", CONTENT * 2, b""])
def test_another_file_in_its_place_is_noticed(
    path: Path, need: Callable[[MappedFile], Any], content: bytes
) -> None:
    m = MappedFile.open(path, "r+")
    replace(path, content)
    with pytest.raises(ReplacedError, match="was replaced by another; open the path anew"):
        need(m)
    assert m.read() == CONTENT
    assert path.read_bytes() == content
    with pytest.raises(ReplacedError):  # what it wrote is at no path
        m.flush()


@on_posix
@pytest.mark.parametrize("need", NEEDS.values(), ids=NEEDS)
def test_a_file_that_is_gone_is_noticed(path: Path, need: Callable[[MappedFile], Any]) -> None:
    m = MappedFile.open(path, "r+")
    path.unlink()
    with pytest.raises((ReplacedError, MissingFileError)):
        need(m)
    assert m.read() == CONTENT


@on_posix
@pytest.mark.parametrize("need", NEEDS.values(), ids=NEEDS)
def test_another_file_with_the_same_inode_is_noticed(
    path: Path, need: Callable[[MappedFile], Any]
) -> None:
    for _ in range(50):
        m = MappedFile.open(path, "r+")
        pickled = pickle.dumps(m)
        inode = path.stat().st_ino
        m.close()
        path.unlink()
        time.sleep(0.02)  # before Linux 6.13 the clock of files ticks every 1 to 10 ms
        path.write_bytes(CONTENT)
        if path.stat().st_ino == inode:
            break
    else:
        pytest.skip("the file system of the temporary directory did not use an inode again")
    with pytest.raises(ReplacedError):
        pickle.loads(pickled)


@on_posix
def test_a_file_that_was_moved_and_put_back_is_the_same(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    path.rename(path.with_name("away"))
    with pytest.raises(ReplacedError, match="is gone"):
        m.fileno()
    path.with_name("away").rename(path)
    assert os.fstat(m.fileno()).st_ino == path.stat().st_ino


# Descriptors ----------------------------------------------------------------------------------


@on_linux
def test_ten_thousand_mappings_are_open_under_a_limit_of_1024_descriptors(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    code = """
import os, resource, sys
import mmapio
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
names = [f"{sys.argv[1]}/{number}" for number in range(100)]
many = [mmapio.MappedFile.open(name, "x+", 5000) for name in names]
before = len(os.listdir("/proc/self/fd"))
modes = ["r", "r+", "c", "a+"]
many += [mmapio.MappedFile.open(names[n % 100], modes[n % 4], offset=n % 99) for n in range(9900)]
assert len(os.listdir("/proc/self/fd")) == before
for number, m in enumerate(many[:100]):
    m.write(4999, bytes([number]))
assert all(m.read(m.size - 1) == bytes([number % 100]) for number, m in enumerate(many))
for m in many:
    m.close()
print(len(many))
"""
    assert run_python(code, str(tmp_path)) == "10000\n"


def number_of_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@on_linux
@pytest.mark.parametrize("mode", MODES)
def test_no_descriptor_is_kept(path: Path, mode: str) -> None:
    if mode == "x+":
        path.unlink()
    before = number_of_descriptors()
    m = opened(path, mode, 5000)
    m.flush()
    pickle.dumps(m) if mode != "c" else None
    assert number_of_descriptors() == before
    m.close()


@on_linux
def test_what_needs_a_descriptor_opens_the_file_anew_and_keeps_none(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    before = number_of_descriptors()
    m.resize(5)
    assert number_of_descriptors() == before


@on_linux
def test_flushing_without_waiting_keeps_one_descriptor(path: Path) -> None:
    """To open the file anew would take seven times as long as the call."""
    m = MappedFile.open(path, "r+")
    before = number_of_descriptors()
    for _ in range(3):
        m.flush(wait=False)
    assert number_of_descriptors() == before + 1
    m.close()
    assert number_of_descriptors() == before


@on_linux
def test_no_descriptor_is_lost_when_opening_fails(path: Path) -> None:
    before = number_of_descriptors()
    for mode, options in [
        ("r", {"offset": 10**9}),
        ("x+", {"size": 5}),
        ("w+", {"size": 2**63 - 1}),
        ("r+", {"capacity": 2**63 - 1}),
    ]:
        with pytest.raises((OSError, OutOfBoundsError)):
            MappedFile.open(path, mode, **options)  # type: ignore[arg-type]
    with pytest.raises(DirectoryError):
        MappedFile.open(path.parent)
    with open(path, "rb") as file:
        for wrong in ({"mode": "r+"}, {"offset": 10**9}, {"capacity": 2**63 - 1}):
            with pytest.raises((OSError, OutOfBoundsError)):
                MappedFile.from_fd(file.fileno(), **wrong)
    assert number_of_descriptors() == before


@pytest.mark.parametrize("kind", [Source, Region])
def test_what_an_interrupt_left_without_content_goes_silently(kind: type) -> None:
    """Ctrl-C can come at the first instruction of `__init__`; an error here fails the test."""
    kind.__new__(kind)


def test_a_descriptor_that_is_in_use_is_closed_when_it_is_not(path: Path) -> None:
    """A signal handler may close the mapping while a call resizes it, and open another file."""
    m = MappedFile.open(path, "r+")
    fd, source = m.fileno(), m._source
    with source.opened_here() as used:
        m.close()
        assert used == fd
        os.fstat(used)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_descriptor_is_opened_for_who_keeps_none(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    with m._source.opened_here() as fd:
        os.fstat(fd)
    assert m._source.kept_descriptor is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
