"""Opening: whatever can fail does so before anything at the path changes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import FlushPolicy, MappedFile, _os
from mmapio.errors import ArgumentError, FileError, MmapioError
from mmapio.mapping.options import MapOptions
from mmapio.modes import Access, Mode

PRECIOUS = b"precious" * 100

# Each creates, or replaces what is there.
CREATORS: dict[str, Callable[..., Any]] = {
    "w+": lambda path, **options: MappedFile.open(path, "w+", **({"size": 800} | options)),
    "array w+": lambda path, **options: mmapio.open(
        path, "w+", **({"dtype": "u1", "shape": 800} | options)
    ),
    "create": lambda path, **options: mmapio.create(path, 800, "u1", overwrite=True, **options),
    "raw": lambda path, **options: mmapio.create(
        path, 800, "u1", raw=True, overwrite=True, **options
    ),
    "x+": lambda path, **options: MappedFile.open(
        path.with_name("new"), "x+", **({"size": 800} | options)
    ),
    "a+": lambda path, **options: MappedFile.open(
        path.with_name("new"), "a+", **({"size": 800} | options)
    ),
    "new": lambda path, **options: mmapio.create(path.with_name("new"), 800, "u1", **options),
}
# Values of the wrong type or without sense, and such as fail when the memory is mapped.
WRONG: list[dict[str, Any]] = [
    {"flush_policy": "always"},
    {"flush_policy": FlushPolicy},
    {"flush_policy": 3},
    {"capacity": "200 TiB"},
    {"capacity": "much"},
    {"capacity": -1},
    {"capacity": 1.5},
    {"touch": "often"},
    {"touch": True},
    {"advise": "well"},
    {"advise": 7},
    {"lock": "no"},
    {"hugepages": "yes"},
    {"guard": None},
    {"reserve": "some"},
]
SIZES: list[dict[str, Any]] = [
    {"size": "800"},
    {"size": -1},
    {"size": None},
    {"size": 800, "offset": -1},
    {"size": 800, "offset": 900},
    {"size": 800, "offset": 1.5},
    {"size": 800, "length": 801},
    {"size": 800, "length": "all"},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.npy"
    path.write_bytes(PRECIOUS)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


@pytest.mark.parametrize("creator", CREATORS)
@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_option_changes_nothing(path: Path, creator: str, wrong: dict[str, Any]) -> None:
    before = contents(path.parent)
    with pytest.raises(MmapioError):
        CREATORS[creator](path, **wrong)
    assert contents(path.parent) == before


@pytest.mark.parametrize("creator", ["w+", "x+", "a+"])
@pytest.mark.parametrize("wrong", SIZES, ids=str)
def test_a_wrong_size_or_range_changes_nothing(
    path: Path, creator: str, wrong: dict[str, Any]
) -> None:
    before = contents(path.parent)
    with pytest.raises(MmapioError):
        CREATORS[creator](path, **wrong)
    assert contents(path.parent) == before


def calls() -> list[str]:
    """Return the system calls that creating a file may make."""
    names = ("open_nameless", "allocate", "identify", "map_file", "publish_nameless")
    return [name for name in names if hasattr(_os, name)]


@pytest.mark.parametrize("creator", CREATORS)
@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", calls())
def test_a_system_call_that_fails_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, creator: str, code: int, call: str
) -> None:
    before, left_open = contents(path.parent), len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(_os, call, failing(code))
        with pytest.raises(FileError) as raised:
            CREATORS[creator](path, flush_policy=FlushPolicy.every_bytes(10))
        assert raised.value.errno == code
    del raised
    assert contents(path.parent) == before
    assert len(os.listdir("/proc/self/fd")) == left_open


def failing(code: int) -> Callable[..., Any]:
    def fail(*arguments: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


def test_too_little_address_space_changes_nothing(
    path: Path, run_python: Callable[..., str]
) -> None:
    code = """if True:
        import resource, sys
        import mmapio
        mmapio.anonymous(10, "u1")
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
        for name, replace in ((sys.argv[1], True), (sys.argv[1] + ".new", False)):
            try:
                mmapio.create(name, (4 << 30,), "u1", overwrite=replace, reserve=False)
            except mmapio.FileError as error:
                print(error.strerror)
    """
    assert run_python(code, str(path)).count("Cannot allocate memory") == 2
    assert contents(path.parent) == {path.name: PRECIOUS}


def test_a_mapping_that_fails_leaves_nothing_open_while_its_error_is_kept(path: Path) -> None:
    left_open, kept = len(os.listdir("/proc/self/fd")), []
    with open(path, "rb") as file:
        for _ in range(10):
            with pytest.raises(FileError) as raised:
                MappedFile.from_fd(file.fileno(), "r+")
            kept.append(raised)
        assert len(os.listdir("/proc/self/fd")) == left_open + 1


# The options ------------------------------------------------------------------------------------


def test_options_are_what_their_arguments_mean() -> None:
    options = MapOptions("a+", size=np.int64(5), capacity="1 KiB", touch="eager", lock=np.True_)
    assert options.mode is Mode.OPEN_OR_CREATE
    assert (options.size, options.capacity, options.touch, options.lock) == (5, 1024, True, True)
    assert options.prepares
    assert not MapOptions().prepares


def test_options_never_change() -> None:
    options = MapOptions()
    with pytest.raises(AttributeError):
        options.mode = Mode.UPDATE  # type: ignore[misc]
    with pytest.raises(AttributeError):
        options.extra = 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode.access is not Access.WRITE])
def test_a_policy_is_for_modes_that_write(mode: Mode) -> None:
    with pytest.raises(ArgumentError, match="is for modes that write"):
        MapOptions(mode, flush_policy=FlushPolicy.always())
    assert MapOptions(mode, flush_policy=FlushPolicy.manual()).flush_policy


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode.settled is mode])
@pytest.mark.parametrize("size", [0, 5])
def test_a_size_is_for_modes_that_create(mode: Mode, size: int) -> None:
    with pytest.raises(ArgumentError, match="size is for modes that create a file"):
        MapOptions(mode, size=size)
