"""Empty files, as of `touch` and `tempfile`: mode ``a+`` takes them for ones that are not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import GrowableArray, MappedFile, RingBuffer, SeqLock, ShardedCounter, _os
from mmapio.errors import FileError, FormatError

FIRST: dict[str, Callable[[Path], Any]] = {
    "MappedFile": lambda path: MappedFile.open(path, "a+", size=100),
    "open": lambda path: mmapio.open(path, "a+", dtype="f8", shape=7),
    "RingBuffer": lambda path: RingBuffer.open(path, "a+", dtype="i8", capacity=8),
    "SeqLock": lambda path: SeqLock.open(path, "a+", dtype="i8"),
    "ShardedCounter": lambda path: ShardedCounter.open(path, "a+"),
}
if _os.CAN_MAP_PAST_END:
    FIRST["GrowableArray"] = lambda path: GrowableArray.open(path, "a+", dtype="i8")


@pytest.mark.parametrize("kind", FIRST)
def test_an_empty_file_is_as_good_as_none(tmp_path: Path, kind: str) -> None:
    new, empty = tmp_path / "new.npy", tmp_path / "empty.npy"
    empty.touch(mode=0o640)
    for path in (new, empty):
        for _ in range(2):
            FIRST[kind](path).close()
    assert new.read_bytes() == empty.read_bytes() != b""
    if os.name == "posix":
        assert empty.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["empty.npy", "new.npy"]


@pytest.mark.parametrize("kind", FIRST)
def test_a_temporary_file_can_be_filled(kind: str) -> None:
    if os.name == "nt":
        pytest.skip("Windows replaces no file that is open")
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        FIRST[kind](Path(file.name)).close()
        assert os.path.getsize(file.name) > 0
    assert not os.path.exists(file.name)


def test_what_fails_leaves_an_empty_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, link = tmp_path / "empty.npy", tmp_path / "link.npy"
    path.touch()
    link.symlink_to(path)
    inode = path.stat().st_ino

    def fail(*_: Any) -> int:
        raise OSError(12, "Cannot allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(_os, "map_file", fail)
        with pytest.raises(FileError):
            mmapio.open(path, "a+", dtype="f8", shape=7)
    assert (path.stat().st_size, path.stat().st_ino) == (0, inode)
    mmapio.open(link, "a+", dtype="f8", shape=7).close()
    assert link.is_symlink()
    assert np.load(path).shape == (7,)


@pytest.mark.skipif(not _os.CAN_MAP_PAST_END, reason="here a mapped file cannot grow")
def test_an_empty_file_is_named_as_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "empty.npy"
    path.touch()
    for mode in ("r", "r+", "a+"):
        with pytest.raises(FormatError, match=r"is empty, not a \.npy file"):
            GrowableArray.open(path, mode)
    assert path.stat().st_size == 0


MANY = """
import os, sys, traceback, mmapio

def begin(path, kind):
    if kind == "counter":
        with mmapio.ShardedCounter.open(path, "a+") as counter:
            for _ in range(100):
                counter.add(1)
        return
    while True:
        try:
            with mmapio.GrowableArray.open(path, "a+", dtype="i8") as g:
                g.append(1)
                return
        except mmapio.LockedError:
            pass

for number in range(10):
    path = sys.argv[1] + str(number)
    open(path, "w").close()
    told, tell = os.pipe()
    children = []
    for _ in range(6):
        children.append(os.fork())
        if children[-1] == 0:
            code = 1
            try:
                os.read(told, 1)
                begin(path, sys.argv[2])
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
    os.write(tell, b"x" * 6)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 6
    os.close(told), os.close(tell)
    if sys.argv[2] == "counter":
        assert mmapio.ShardedCounter.open(path).value == 600
    else:
        assert len(mmapio.GrowableArray.open(path)) == 6
print("all")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
@pytest.mark.parametrize("kind", ["counter", "array"])
def test_many_begin_with_one_empty_file(
    tmp_path: Path, kind: str, run_python: Callable[..., str]
) -> None:
    assert run_python(MANY, str(tmp_path / "shared.npy"), kind) == "all\n"
