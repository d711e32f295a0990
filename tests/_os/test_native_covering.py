"""Native functions that map over memory do what those of the platform do."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmapio import _os
from mmapio._os import _native
from mmapio.modes import Access

pytestmark = pytest.mark.skipif(
    not _native.is_made_for_here(), reason="there are no native functions for this platform"
)

PAGE = _os.PAGE_SIZE


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(opened, b"a" * PAGE + b"b" * PAGE)
    yield opened
    os.close(opened)


def areas(address: int) -> list[str]:
    """Return the bounds, permissions, offset and file of what is mapped at an address."""
    with open("/proc/self/maps") as lines:
        found = [line.split() for line in lines]
    return next(f[1:3] + f[4:5] for f in found if int(f[0].split("-")[0], 16) == address)


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except OSError as error:
        return type(error), error.errno, error.strerror, error.filename


@pytest.mark.parametrize("access", Access)
def test_the_same_is_mapped(native: dict[str, Callable[..., Any]], fd: int, access: Access) -> None:
    from mmapio._os import _posix

    found = []
    for cover, map_file_at in (
        (_posix.cover, _posix.map_file_at),
        (native["cover"], native["map_file_at"]),
    ):
        start = _os.map_file(fd, 0, 2 * PAGE, Access.WRITE)
        assert cover(start + PAGE, PAGE, access) is None
        first = areas(start + PAGE)
        assert map_file_at(fd, PAGE, start + PAGE, PAGE, access) is None
        second = areas(start + PAGE) if access is not Access.WRITE else areas(start)
        memory = np.ctypeslib.as_array(
            (np.ctypeslib.ctypes.c_char * (2 * PAGE)).from_address(start)
        )
        found.append((first, second, memory.tobytes()))
        del memory
        _os.unmap(start, 2 * PAGE)
    assert found[0] == found[1]
    assert found[1][2] == b"a" * PAGE + b"b" * PAGE


def test_errors_are_the_same(native: dict[str, Callable[..., Any]], fd: int) -> None:
    from mmapio._os import _posix

    start = _os.map_file(fd, 0, 2 * PAGE, Access.WRITE)
    for name, args in (
        *(("cover", (start + 1, PAGE, Access.READ)), ("cover", (start, 0, Access.READ))),
        *(("map_file_at", (fd, 1, start, PAGE, Access.READ)),),
        *(("map_file_at", (-1, 0, start, PAGE, Access.READ)),),
        *(("map_file_at", (fd, 0, start + 1, PAGE, Access.COPY)),),
    ):
        expected = outcome(getattr(_posix, name), *args)
        assert expected is not None, (name, args)
        assert outcome(native[name], *args) == expected, (name, args)
    _os.unmap(start, 2 * PAGE)


def test_wrong_arguments_are_type_errors(native: dict[str, Callable[..., Any]]) -> None:
    for name, args in (
        *(("cover", ()), ("cover", (1, 2)), ("cover", (1, 2, 0)), ("cover", (1, 2, None))),
        *(("cover", ("1", 2, Access.READ)), ("map_file_at", (1, 2, 3, 4, 1))),
        *(("map_file_at", (1, 2, 3, 4, Access.READ, 6)),),
    ):
        with pytest.raises(TypeError):
            native[name](*args)


def test_nothing_is_leaked(native: dict[str, Callable[..., Any]], fd: int) -> None:
    start = _os.map_file(fd, 0, PAGE, Access.WRITE)
    things = [None, Access.READ, Access, OSError]
    before = [sys.getrefcount(each) for each in things]
    for _ in range(5000):
        native["cover"](start, PAGE, Access.READ)
        native["map_file_at"](fd, 0, start, PAGE, Access.READ)
        outcome(native["cover"], start + 1, PAGE, Access.READ)
    after = [sys.getrefcount(each) for each in things]
    _os.unmap(start, PAGE)
    assert max(b - a for a, b in zip(before, after, strict=True)) < 100
