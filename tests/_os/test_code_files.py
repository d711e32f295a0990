"""Files of machine code: where they are, and which of them are trusted."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mmapio._os import _code_files
from mmapio._os._code_files import code_folders, keep_code, kept_code, key_of
from mmapio._os._machine_code import can_keep

pytestmark = pytest.mark.skipif(not can_keep(), reason="no machine code is kept here")

KEY = key_of("this", 1)
ANOTHER_USER = 54321
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    return tmp_path / "mmapio"


@pytest.fixture
def file(folder: Path) -> Path:
    """Return the file of what is kept under KEY."""
    keep_code(KEY, b"code")
    assert kept_code(KEY) == b"code"
    (only,) = folder.iterdir()
    return only


def test_what_is_kept_is_found(folder: Path) -> None:
    assert kept_code(KEY) is None
    keep_code(KEY, b"code")
    assert kept_code(KEY) == b"code"
    assert kept_code(key_of("this", 2)) is None
    keep_code(KEY, b"other")
    assert kept_code(KEY) == b"other"
    assert len(list(folder.iterdir())) == 1


def test_nobody_else_may_write_to_it_whatever_the_mask_is(folder: Path) -> None:
    before = os.umask(0)
    try:
        keep_code(KEY, b"code")
    finally:
        os.umask(before)
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert kept_code(KEY) == b"code"


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def swap_for_another(file: Path) -> None:
    """Put the file of another key there, as whoever may write to the folder can."""
    content = file.read_bytes()
    keep_code(key_of("other"), b"other")
    (other,) = (each for each in file.parent.iterdir() if each.read_bytes() != content)
    other.replace(file)


def link_to(file: Path) -> None:
    file.rename(file.with_suffix(".elsewhere"))
    file.symlink_to(file.with_suffix(".elsewhere"))


def replace_by_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def replace_by_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


SPOILT: dict[str, Callable[[Path], object]] = {
    "damaged": damage,
    "cut off": lambda file: os.truncate(file, file.stat().st_size - 1),
    "cut off within the digest": lambda file: os.truncate(file, 7),
    "empty": lambda file: os.truncate(file, 0),
    "too long": lambda file: os.truncate(file, 1 << 30),
    "of another key": swap_for_another,
    "writable by its group": lambda file: file.chmod(0o664),
    "writable by all": lambda file: file.chmod(0o646),
    "a link": link_to,
    "a pipe": replace_by_a_pipe,
    "a folder": replace_by_a_folder,
}


@pytest.mark.parametrize("how", SPOILT)
def test_what_is_spoilt_is_not_found_and_is_replaced(file: Path, how: str) -> None:
    SPOILT[how](file)
    assert kept_code(KEY) is None
    keep_code(KEY, b"anew")
    assert kept_code(KEY) == (None if how == "a folder" else b"anew")
    assert not list(file.parent.glob(f"{file.name}.*-*"))


def test_a_file_of_another_user_is_not_trusted(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if IS_ROOT:
        os.chown(file, ANOTHER_USER, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: ANOTHER_USER)
    assert kept_code(KEY) is None
    if IS_ROOT:
        keep_code(KEY, b"anew")
        assert kept_code(KEY) == b"anew"


@pytest.mark.skipif(not IS_ROOT, reason="only root can have files that are its own")
def test_a_file_of_root_is_trusted_by_all(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: ANOTHER_USER)
    assert kept_code(KEY) == b"code"


def test_a_folder_that_takes_nothing_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", Path("/proc/nowhere"), Path("/dev/full")):
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
        keep_code(KEY, b"code")
        assert kept_code(KEY) is None


@pytest.mark.parametrize("written", [0, 3])
def test_a_full_disk_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:written]))
        keep_code(KEY, b"code")
    assert list(folder.iterdir()) == []
    assert kept_code(KEY) is None


def test_an_interrupt_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        keep_code(KEY, b"code")
    assert list(folder.iterdir()) == []


def test_folders_are_those_of_numba(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    package = Path(_code_files.__file__).parent
    assert code_folders() == [str(package / "__pycache__"), str(tmp_path / "numba" / "mmapio")]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert code_folders()[1:] == [str(tmp_path / ".cache" / "numba" / "mmapio")]
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "named"))
    assert code_folders() == [str(tmp_path / "named" / "mmapio")]


def test_where_the_package_cannot_be_written_the_user_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    package = tmp_path / "package"
    package.touch()  # no folder can be made in it
    monkeypatch.setattr(_code_files, "__file__", str(package / "_code_files.py"))
    keep_code(KEY, b"code")
    assert kept_code(KEY) == b"code"
    assert len(list((tmp_path / "numba" / "mmapio").iterdir())) == 1
