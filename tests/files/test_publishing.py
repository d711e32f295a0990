"""Files that appear at their path complete, or not at all."""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import _os
from mmapio.errors import (
    AccessError,
    DirectoryError,
    ExistingFileError,
    FileError,
    MissingFileError,
)
from mmapio.files.publishing import publishing

on_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such thing")


@pytest.fixture(params=["nameless", "hidden"], autouse=True)
def draft(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Run every test with drafts that have no name, and with hidden ones."""
    if request.param == "hidden":
        monkeypatch.setattr(_os, "open_nameless", lambda directory: None)
    elif (fd := _os.open_nameless(str(tmp_path))) is None:
        pytest.skip("this platform or file system has no files without a name")
    else:
        os.close(fd)
    kind: str = request.param
    return kind


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def publish(path: Path, data: bytes = b"new", replace: bool = True, durable: bool = False) -> None:
    with publishing(str(path), "publish", replace=replace, durable=durable) as draft:
        draft.write(data)


def contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


@pytest.mark.parametrize("replace", [False, True])
def test_a_file_appears_when_the_block_ends(folder: Path, replace: bool) -> None:
    target = folder / "file"
    with publishing(str(target), "publish", replace=replace, durable=False) as draft:
        draft.write(b"half")
        assert not target.exists()
        draft.write(b" and half")
    assert contents(folder) == {"file": b"half and half"}


def test_a_file_is_replaced_when_the_block_ends(folder: Path) -> None:
    target = folder / "file"
    target.write_bytes(b"old")
    with publishing(str(target), "publish", replace=True, durable=False) as draft:
        draft.write(b"new")
        assert target.read_bytes() == b"old"
    assert contents(folder) == {"file": b"new"}


def test_a_name_that_is_taken_is_kept(folder: Path) -> None:
    target = folder / "file"
    target.write_bytes(b"old")
    with pytest.raises(ExistingFileError, match="cannot publish: File exists") as caught:
        publish(target, replace=False)
    assert caught.value.filename == str(target)
    assert contents(folder) == {"file": b"old"}


def test_a_name_that_is_taken_meanwhile_is_kept(folder: Path) -> None:
    target = folder / "file"
    with (
        pytest.raises(ExistingFileError),
        publishing(str(target), "publish", replace=False, durable=False),
    ):
        target.write_bytes(b"theirs")
    assert contents(folder) == {"file": b"theirs"}


# Failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
@pytest.mark.parametrize("old", [{}, {"file": b"old"}])
def test_an_exception_in_the_block_leaves_all_as_it_was(
    folder: Path, error: type[BaseException], old: dict[str, bytes]
) -> None:
    for name, data in old.items():
        (folder / name).write_bytes(data)
    with (  # noqa: PT012 - what is tested is how a block ends
        pytest.raises(error),
        publishing(str(folder / "file"), "publish", replace=True, durable=True) as draft,
    ):
        draft.write(b"half")
        raise error
    assert contents(folder) == old


def test_an_error_of_the_system_in_the_block_tells_what_was_being_done(folder: Path) -> None:
    target = str(folder / "file")
    with (
        pytest.raises(FileError, match="cannot publish: No space left on device") as caught,
        publishing(target, "publish", replace=True, durable=True),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, target)
    assert contents(folder) == {}


STEPS = [
    (os, "fchown"),
    (os, "fchmod"),
    (_os, "sync_file"),
    (_os, "publish_nameless"),
    (os, "link"),
    (os, "replace"),
]


@pytest.mark.parametrize(("module", "step"), STEPS, ids=[name for _, name in STEPS])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
@pytest.mark.parametrize("replace", [False, True])
def test_a_step_that_fails_leaves_all_as_it_was(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    step: str,
    error: BaseException,
    replace: bool,
) -> None:
    old = {"file": b"old"} if replace else {}
    for name, data in old.items():
        (folder / name).write_bytes(data)
    reached = []

    def fail(*args: object, **kwargs: object) -> None:
        reached.append(step)
        raise error

    monkeypatch.setattr(module, step, fail, raising=False)
    try:
        publish(folder / "file", replace=replace, durable=True)
    except (FileError, KeyboardInterrupt):
        assert contents(folder) == old
    else:
        assert not reached
        assert contents(folder) == {"file": b"new"}


def test_each_of_those_steps_is_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch, draft: str
) -> None:
    """Otherwise the test above could pass by doing nothing."""
    taken = set()
    for module, step in STEPS:
        real = getattr(module, step, None)
        if real is not None:

            def note(*args: Any, step: str = step, real: Any = real, **kwargs: Any) -> Any:
                taken.add(step)
                return real(*args, **kwargs)

            monkeypatch.setattr(module, step, note)
    for replace in (False, True):
        publish(folder / "file", replace=replace, durable=True)
    if sys.platform == "linux":
        assert taken == {name for _, name in STEPS} - (
            {"publish_nameless"} if draft == "hidden" else set()
        )


@pytest.mark.parametrize("replace", [False, True])
def test_a_folder_that_is_not_there_is_told(folder: Path, replace: bool) -> None:
    with pytest.raises(MissingFileError, match="cannot publish"):
        publish(folder / "missing" / "file", replace=replace)


def test_a_folder_is_not_replaced(folder: Path) -> None:
    (folder / "inner").mkdir()
    with pytest.raises(DirectoryError):
        publish(folder / "inner")
    assert [each.name for each in folder.iterdir()] == ["inner"]


@on_posix
def test_what_is_no_file_is_not_replaced(folder: Path) -> None:
    """As root, a wrong path could be the end of /dev/null."""
    os.mkfifo(folder / "pipe")
    with pytest.raises(FileError, match="not a regular file"):
        publish(folder / "pipe")
    assert stat.S_ISFIFO(os.stat(folder / "pipe").st_mode)
    assert [each.name for each in folder.iterdir()] == ["pipe"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this platform cannot kill so")
def test_a_kill_leaves_all_as_it_was(
    folder: Path, run_python: Callable[..., str], draft: str
) -> None:
    if draft == "hidden":
        pytest.skip("a hidden draft stays behind when its process is killed")
    (folder / "file").write_bytes(b"old")
    code = """
import os, signal, sys
from mmapio.files.publishing import publishing
for replace in (False, True):
    child = os.fork()
    if child == 0:
        name = sys.argv[1] + ("/file" if replace else "/new")
        with publishing(name, "publish", replace=replace, durable=True) as draft:
            draft.write(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run_python(code, str(folder)).split() == ["-9", "-9"]
    assert contents(folder) == {"file": b"old"}


# What stays -----------------------------------------------------------------------------------


@on_posix
def test_whoever_has_the_old_file_open_keeps_it_whole(folder: Path) -> None:
    target = folder / "file"
    target.write_bytes(b"old")
    with open(target, "rb") as old:
        publish(target)
        assert old.read() == b"old"
    assert target.read_bytes() == b"new"


@on_posix
def test_permissions_and_owner_stay(folder: Path) -> None:
    target = folder / "file"
    target.write_bytes(b"old")
    if os.geteuid() == 0:
        os.chown(target, 12, 34)
    target.chmod(0o4741)
    before = target.stat()
    publish(target)
    after = target.stat()
    assert target.read_bytes() == b"new"
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )


@on_posix
def test_an_owner_that_may_not_be_given_is_let_go(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(errno.EPERM, "not yours")

    monkeypatch.setattr(os, "fchown", refuse)
    (folder / "file").write_bytes(b"old")
    publish(folder / "file")
    assert contents(folder) == {"file": b"new"}


@on_posix
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_a_new_file_has_the_permissions_that_the_umask_leaves(folder: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        publish(folder / "file", replace=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "file").stat().st_mode) == 0o666 & ~mask


@on_posix
@pytest.mark.parametrize("there", [False, True])
def test_the_target_of_a_link_is_replaced_and_the_link_stays(folder: Path, there: bool) -> None:
    (folder / "inner").mkdir()
    target, link = folder / "inner" / "file", folder / "link"
    if there:
        target.write_bytes(b"old")
    link.symlink_to(Path("inner", "file"))
    publish(link)
    assert link.is_symlink()
    assert contents(folder / "inner") == {"file": b"new"}


@on_posix
def test_a_file_system_without_links_will_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, draft: str
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    if draft == "nameless":
        pytest.skip("where there are nameless files there are links")
    monkeypatch.setattr(os, "link", refuse)
    publish(folder / "file", replace=False)
    assert contents(folder) == {"file": b"new"}
    with pytest.raises(ExistingFileError):
        publish(folder / "file", b"other", replace=False)
    assert contents(folder) == {"file": b"new"}


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("durable", [False, True])
def test_durable_syncs_the_contents_before_the_name_and_the_name_last(
    folder: Path, monkeypatch: pytest.MonkeyPatch, replace: bool, durable: bool
) -> None:
    seen: list[tuple[str, bool]] = []
    for name in ("sync_file", "sync_directory"):
        real = getattr(_os, name)

        def note(what: Any, name: str = name, real: Any = real) -> None:
            seen.append((name, (folder / "file").exists()))
            real(what)

        monkeypatch.setattr(_os, name, note)
    publish(folder / "file", replace=replace, durable=durable)
    assert seen == ([("sync_file", False), ("sync_directory", True)] if durable else [])


def test_no_descriptor_is_left_open(folder: Path) -> None:
    def lowest_free() -> int:
        fd = os.dup(1)
        os.close(fd)
        return fd

    before = lowest_free()
    publish(folder / "file")
    with pytest.raises(ExistingFileError):
        publish(folder / "file", replace=False)
    assert lowest_free() == before


@pytest.mark.parametrize("replace", [False, True])
def test_the_descriptor_can_be_kept(folder: Path, replace: bool) -> None:
    target = folder / "file"
    with publishing(str(target), "publish", replace=replace, durable=False) as draft:
        draft.write(b"new")
        draft.keep_open = True
    os.lseek(draft.fd, 0, os.SEEK_SET)
    assert os.read(draft.fd, 9) == b"new"
    assert os.path.samestat(os.fstat(draft.fd), target.stat())
    os.close(draft.fd)


def test_a_draft_that_fails_is_not_kept(folder: Path) -> None:
    (folder / "file").write_bytes(b"old")
    with (
        pytest.raises(ExistingFileError),
        publishing(str(folder / "file"), "publish", replace=False, durable=False) as draft,
    ):
        draft.keep_open = True
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(draft.fd)


def test_a_kept_draft_is_let_go_when_its_name_cannot_be_made_durable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(_os, "sync_directory", fail)
    with (  # noqa: PT012
        pytest.raises(FileError, match=r"the new file is in its place, but .* broken"),
        publishing(str(folder / "file"), "publish", replace=True, durable=True) as draft,
    ):
        fd = draft.fd
        draft.keep_open = True
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@pytest.mark.parametrize("code", ["EACCES", "EINVAL", "ENOTSUP", "EBADF", "EMFILE", "ENOENT"])
@pytest.mark.parametrize("replace", [False, True])
def test_a_directory_that_cannot_be_synced_fails_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, replace: bool, draft: str
) -> None:
    steps = []

    def fail(path: str) -> None:
        steps.append("directory")
        number = getattr(errno, code)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(_os, "sync_directory", fail)
    monkeypatch.setattr(_os, "sync_file", lambda fd: steps.append("file"))
    publish(folder / "file", replace=replace, durable=True)
    assert contents(folder) == {"file": b"new"}
    # After the name there is the file once more: journals write both together.
    expected = ["file", "directory", "file"] if sys.platform != "win32" else ["file", "directory"]
    assert steps == expected


def test_files_can_be_put_into_a_drop_box(
    public: Path, as_user: Callable[..., AbstractContextManager[None]]
) -> None:
    def put() -> None:
        mmapio.save(public / "saved.npy", [1, 2, 3])
        mmapio.save(public / "saved.npy", [1, 2])
        mmapio.copy(public / "saved.npy", public / "copy.npy")
        mmapio.create(public / "made.npy", 3, overwrite=True)
        with mmapio.MappedFile.open(public / "mapped", "w+", size=10) as m:
            m.write(0, b"x")
            m.flush()
            m.flush()
        with mmapio.GrowableArray.open(public / "grown.npy", "a+", dtype="i8") as g:
            g.append(1)

    put()  # as root: what is imported then, others may not be able to read
    for name in os.listdir(public):
        os.unlink(public / name)
    public.chmod(0o333)
    with as_user():
        put()
        with pytest.raises(PermissionError):
            os.listdir(public)
    public.chmod(0o777)
    assert sorted(os.listdir(public)) == [
        "copy.npy",
        "grown.npy",
        "made.npy",
        "mapped",
        "saved.npy",
    ]
    assert [len(np.load(public / f"{name}.npy")) for name in ("saved", "copy", "grown")] == [
        2,
        2,
        1,
    ]


def test_a_long_name_is_no_trouble(folder: Path) -> None:
    publish(folder / ("n" * 255))
    publish(folder / ("n" * 255), b"again")
    assert list(contents(folder).values()) == [b"again"]


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="this system has other permissions")
@pytest.mark.parametrize("replaces", [False, True])
def test_a_folder_that_is_not_writable_is_named(tmp_path: Path, replaces: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:  # which others may look into
        path = os.path.join(folder, "x.npy")
        if replaces:
            Path(path).write_bytes(b"old")
            os.chmod(path, 0o666)
        os.chmod(folder, 0o555)
        is_root = os.geteuid() == 0
        try:
            if is_root:
                os.seteuid(65534)
            with pytest.raises(AccessError, match="must be writable") as caught:
                publish(Path(path))
        finally:
            if is_root:
                os.seteuid(0)
            os.chmod(folder, 0o755)
        assert repr(folder) in str(caught.value)
        assert os.listdir(folder) == ["x.npy"] * replaces
