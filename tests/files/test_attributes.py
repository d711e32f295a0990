"""Attributes that a new file takes from the one it replaces, as root and as another user."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import _os
from mmapio.files.publishing import publishing

if sys.platform != "linux":
    pytest.skip("only Linux has these attributes", allow_module_level=True)

User = Callable[..., AbstractContextManager[None]]

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
# A list as the kernel takes it: version 2; tag, permissions and id of each entry. USER_OBJ, USER,
# GROUP_OBJ, MASK, OTHER.
NOBODY = 0xFFFF_FFFF
LIST = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in [(1, 6, NOBODY), (2, 6, 1234), (4, 4, NOBODY), (16, 6, NOBODY), (32, 0, NOBODY)]
)


@pytest.fixture(params=["nameless", "hidden"], autouse=True)
def draft(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run every test with drafts that have no name, and with hidden ones."""
    if request.param == "hidden":
        monkeypatch.setattr(_os, "open_nameless", lambda directory: None)
    return str(request.param)


@pytest.fixture
def target(public: Path) -> Path:
    path = public / "x.npy"
    mmapio.save(path, [1])
    return path


def set_attribute(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM):
            raise
        pytest.skip(f"{name} cannot be set here: {error.strerror}")


def attributes(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


def ways(path: Path) -> dict[str, Callable[[], object]]:
    """Return every way to replace a file."""
    np.save(path.with_name("other.npy"), [5, 6])
    path.with_name("raw").write_bytes(b"123")
    return {
        "save": lambda: mmapio.save(path, [2, 3]),
        "create": lambda: mmapio.create(path, 2, overwrite=True),
        "open": lambda: mmapio.open(path, "w+", dtype="u1", shape=3),
        "map": lambda: mmapio.MappedFile.open(path, "w+", size=9).close(),
        "grow": lambda: mmapio.GrowableArray.open(path, "w+", dtype="u1").close(),
        "copy": lambda: mmapio.copy(path.with_name("other.npy"), path),
        "to_npy": lambda: mmapio.to_npy(path.with_name("raw"), path, "u1", overwrite=True),
        "to_raw": lambda: mmapio.to_raw(path.with_name("other.npy"), path, overwrite=True),
        "np.memmap": lambda: mmapio.memmap(path, "u1", "w+", shape=3),
    }


WAYS = ("save", "create", "open", "map", "grow", "copy", "to_npy", "to_raw", "np.memmap")


@pytest.mark.parametrize("way", WAYS)
def test_a_colleague_leaves_the_group_its_access(target: Path, as_user: User, way: str) -> None:
    replace = ways(target)[way]
    replace()  # what is imported now, others may not be able to read
    os.chown(target, 1001, 2000)
    target.chmod(0o2664)
    with as_user(1002, 2000):
        replace()
    facts = target.stat()
    assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (1002, 2000, 0o2664)


def test_a_group_that_cannot_be_kept_is_told_and_gives_nobody_its_rights(
    target: Path, as_user: User
) -> None:
    os.chown(target, 1001, 2000)
    target.chmod(0o6775)
    with as_user(1002), pytest.warns(RuntimeWarning, match="does not keep .* group 2000"):
        mmapio.save(target, [2])
    facts = target.stat()
    assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (1002, 1002, 0o755)


def test_a_list_gives_another_group_no_more_than_all_others(target: Path, as_user: User) -> None:
    os.chown(target, 1001, 2000)
    set_attribute(target, ACCESS, LIST)
    with as_user(1002), pytest.warns(RuntimeWarning, match="does not keep .* group 2000"):
        mmapio.save(target, [2])
    assert target.stat().st_gid == 1002
    entries = list(struct.iter_unpack("<HHI", os.getxattr(target, ACCESS)[4:]))
    assert [(tag, given) for tag, given, _ in entries] == [(1, 6), (2, 6), (4, 0), (16, 6), (32, 0)]


@pytest.mark.parametrize("bits", [0o4755, 0o2755, 0o1644, 0o600, 0o400])
def test_bits_that_writing_takes_away_are_kept(target: Path, as_user: User, bits: int) -> None:
    os.chown(target, 1002, 2000)
    target.chmod(bits)
    with as_user(1002, 2000):
        mmapio.save(target, [2, 3])
    assert stat.S_IMODE(target.stat().st_mode) == bits
    assert target.stat().st_gid == 2000


def test_a_draft_of_a_secret_is_one(target: Path, draft: str) -> None:
    target.chmod(0o600)
    with publishing(str(target), "save", replace=True, durable=False) as new:
        assert stat.S_IMODE(os.fstat(new.fd).st_mode) == 0o600


@pytest.mark.parametrize("user", [0, 1002])
@pytest.mark.parametrize("way", WAYS)
def test_lists_and_attributes_stay(target: Path, as_user: User, user: int, way: str) -> None:
    replace = ways(target)[way]
    replace()
    os.chown(target, user, user)
    set_attribute(target, ACCESS, LIST)
    set_attribute(target, "user.origin", b"a sensor")
    before, mode = attributes(target), target.stat().st_mode
    with as_user(user) if user else contextlib.nullcontext():
        replace()
    assert attributes(target) == before
    assert target.stat().st_mode == mode


def test_trusted_attributes_stay_where_they_can(target: Path, as_user: User) -> None:
    set_attribute(target, "trusted.note", b"x")
    set_attribute(target, "trusted.overlay.opaque", b"y")  # of the inode, for another file system
    mmapio.save(target, [2])
    assert os.getxattr(target, "trusted.note") == b"x"
    assert "trusted.overlay.opaque" not in os.listxattr(target)
    os.chown(target, 1002, 1002)
    with as_user(1002):
        mmapio.save(target, [2])  # without a word: nobody but root sees it
    assert "trusted.note" not in os.listxattr(target)


def test_an_attribute_that_may_not_be_read_is_told(target: Path, as_user: User) -> None:
    set_attribute(target, "user.origin", b"a sensor")
    os.chown(target, 1001, 1002)
    target.chmod(0o600)
    with as_user(1002), pytest.warns(RuntimeWarning, match=r"does not keep .* user\.origin"):
        mmapio.save(target, [2])
    assert np.load(target).tolist() == [2]


def test_a_list_that_the_file_system_does_not_take_is_told(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_attribute(target, ACCESS, LIST)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room for it")

    monkeypatch.setattr(os, "setxattr", refuse)
    assert stat.S_IMODE(target.stat().st_mode) == 0o660  # the mask of the list, not the group's
    with pytest.warns(RuntimeWarning, match=f"does not keep .* {ACCESS}"):
        mmapio.save(target, [2])
    assert np.load(target).tolist() == [2]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_file_is_at_no_time_more_open_than_the_old_one(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_attribute(target, ACCESS, LIST)
    seen: list[tuple[bool, int]] = []
    change = os.fchmod

    def fchmod(fd: int, mode: int) -> None:
        change(fd, mode)
        seen.append((ACCESS in os.listxattr(fd), stat.S_IMODE(mode)))

    monkeypatch.setattr(os, "fchmod", fchmod)
    mmapio.save(target, [2])
    assert seen[-1] == (True, 0o660)
    assert all(mode == 0o600 for _, mode in seen[:-1])


@pytest.fixture
def masked() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_a_new_file_gets_the_list_of_its_folder(public: Path, masked: None) -> None:
    set_attribute(public, DEFAULT, LIST)
    (public / "theirs").touch()
    mmapio.save(public / "ours.npy", [1])
    assert attributes(public / "ours.npy") == attributes(public / "theirs") != {}
    assert (public / "ours.npy").stat().st_mode == (public / "theirs").stat().st_mode


def test_a_file_that_had_no_list_gets_none_of_its_folder(target: Path) -> None:
    target.chmod(0o640)
    set_attribute(target.parent, DEFAULT, LIST)
    mmapio.save(target, [1])
    assert attributes(target) == {}
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("of_source", "expected"), [(0o600, 0o600), (0o666, 0o640), (0o444, 0o440)]
)
def test_a_copy_is_as_secret_as_its_source(
    target: Path, masked: None, of_source: int, expected: int
) -> None:
    target.chmod(of_source)
    raw = target.with_name("raw")
    copied = target.with_name("copy.npy")
    mmapio.copy(target, copied)
    mmapio.to_raw(target, raw)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (copied, raw)] == [expected] * 2
    raw.chmod(of_source)
    mmapio.to_npy(raw, target.with_name("again.npy"), "i8")
    assert stat.S_IMODE(target.with_name("again.npy").stat().st_mode) == expected
    target.chmod(0o600)
    copied.chmod(0o644)
    mmapio.copy(target, copied)  # what is replaced leaves its own
    assert stat.S_IMODE(copied.stat().st_mode) == 0o644


def test_another_hard_link_keeps_the_old_file(target: Path) -> None:
    os.link(target, target.with_name("link.npy"))
    mmapio.save(target, [7, 8])
    assert np.load(target.with_name("link.npy")).tolist() == [1]
    assert target.stat().st_nlink == 1


def test_a_growing_header_moves_with_all_of_it(target: Path, as_user: User) -> None:
    with open(target, "wb") as file:
        np.lib.format.write_array(file, np.arange(3), version=(1, 0))
    content = target.read_bytes()
    start = content.index(b"{")
    end = content.index(b"}") + 1
    header = content[start:end] + b"\n"
    target.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + content[128:])
    set_attribute(target, ACCESS, LIST)
    set_attribute(target, "user.origin", b"a sensor")
    os.chown(target, 1001, 2000)
    before, inode = attributes(target), target.stat().st_ino
    with as_user(1002, 2000), contextlib.suppress(PermissionError):
        mmapio.GrowableArray.open(target, "r+").close()
    assert target.stat().st_ino == inode  # whom the list does not name may not write
    mmapio.GrowableArray.open(target, "r+").close()
    assert target.stat().st_ino != inode
    assert (target.stat().st_uid, target.stat().st_gid) == (1001, 2000)
    assert attributes(target) == before


@pytest.mark.parametrize("write", [mmapio.save, lambda path, a: mmapio.copy(path / "b.npy", path)])
def test_a_directory_in_the_way_is_told_before_anything_is_written(
    write: Callable[[Path, Any], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # and without a warning of what the new file does not keep of it
    mmapio.save(tmp_path / "b.npy", np.zeros(3))
    monkeypatch.setattr("mmapio.files.publishing.Draft", None)
    with pytest.raises(mmapio.DirectoryError, match=r"a directory is there; name a file in it"):
        write(tmp_path, np.zeros(3))
