"""Native functions that write and sync do what the composed ones do: results, errors, effects."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mmapio import MappedFile, _os
from mmapio._os import _composed, _native
from mmapio.modes import Access

pytestmark = pytest.mark.skipif(
    not _native.is_made_for_here(), reason="there are no native functions for this platform"
)

PAGE = _os.PAGE_SIZE
Function = Callable[..., Any]


@pytest.fixture
def mapping(tmp_path: Path) -> Iterator[MappedFile]:
    with MappedFile.open(tmp_path / "a.bin", "x+", 4 * PAGE) as opened:
        opened.view()[:] = 1
        opened.flush()
        yield opened


def outcome(function: Function, *args: Any) -> tuple[Any, ...]:
    """Return the result of a call, or its error, and what it has left in its arguments."""
    given = [[*each] if type(each) is list else each for each in args]
    try:
        result = function(*given)
    except OSError as error:
        result = (type(error), error.errno, error.strerror, error.filename)
    return result, [each for each in given if type(each) is list]


def address(mapping: MappedFile) -> int:
    found: int = mapping.view().ctypes.data
    return found


def test_start_writeback(native: dict[str, Function], mapping: MappedFile) -> None:
    fd = mapping.fileno()
    from mmapio._os._linux import start_writeback as composed

    pipe, _ = ends = os.pipe()
    for args in (
        *((fd, 0, PAGE), (fd, 0, 0), (fd, 1 << 40, PAGE), (fd, 2**62, 2**62), (fd, -1, 5)),
        *((-1, 0, PAGE), (10**6, 0, 1), (pipe, 0, 1), (fd, 0, -1)),
    ):
        assert outcome(native["start_writeback"], *args) == outcome(composed, *args), args
    for end in ends:
        os.close(end)


def test_sync_notes_a_failure_before_it_raises(
    native: dict[str, Function], mapping: MappedFile
) -> None:
    from mmapio._os._posix import sync as composed

    start = address(mapping)
    for args in (
        *((start, PAGE, []), (start, 4 * PAGE, []), (start, 0, []), (start, PAGE, [3])),
        *((start + 1, PAGE, []), (start + 1, PAGE, [3]), (8 * PAGE, PAGE, [])),
    ):
        expected = outcome(composed, *args)
        if args[2] != [3] or args[0] != start:  # ctypes' errno is of an earlier call there
            assert outcome(native["sync"], *args) == expected, args


def test_sync_unchanged(native: dict[str, Function], mapping: MappedFile, tmp_path: Path) -> None:
    start, fd, path = address(mapping), mapping.fileno(), os.fsencode(str(mapping.path))
    facts = _os.identify(fd).packed
    other = _os.identify_path(str(tmp_path)).packed
    for args in (
        *((start, PAGE, [], fd, b"", facts), (start, PAGE, [], -1, path, facts)),
        *((start, PAGE, [], fd, b"", other), (start, PAGE, [], -1, path, other)),
        *((start, PAGE, [], -1, b"/nowhere", facts), (start, PAGE, [], 10**6, b"", facts)),
        *((start + 1, PAGE, [], fd, b"", facts), (8 * PAGE, PAGE, [], fd, b"", facts)),
    ):
        expected = outcome(_composed.sync_unchanged, *args)
        assert outcome(native["sync_unchanged"], *args) == expected, args
    assert outcome(native["sync_unchanged"], start, PAGE, [], fd, b"", facts)[0] is True
    for i in range(0, len(facts), 8):  # each number counts
        changed = facts[:i] + bytes([facts[i] ^ 1]) + facts[i + 1 :]
        assert native["sync_unchanged"](start, PAGE, [], fd, b"", changed) is False, i
    os.truncate(fd, 5 * PAGE)
    assert native["sync_unchanged"](start, PAGE, [], fd, b"", facts) is False


WRONG = {
    "start_writeback": [(), (1,), (1, 2), (1, 2, 3, 4), ("1", 2, 3), (1.0, 2, 3), (None, 2, 3)],
    "sync": [(), (1, 2), (1, 2, ()), (1, 2, None), ("a", 2, []), (1, b"", []), (True, 2, [])],
    "sync_unchanged": [
        (),
        (1, 2, [], 3, b""),
        (1, 2, [], 3, b"", b"short"),
        (1, 2, [], 3, b"", "text"),
        (1, 2, [], 3, None, bytes(48)),
        (1, 2, 0, 3, b"", bytes(48)),
        (1, 2, [], "3", b"", bytes(48)),
    ],
    "append_rows": [
        (),
        (1, 2, b"", 3),
        (1, 2, bytes(39), 3),
        (1, 2, bytes(8) + b"\1" + bytes(31), 3),
        (1, 2, bytes(8) + b"\xff" * 8 + bytes(24), 3),
        (1, 2, "plan", 3),
        (1, 2, bytes(40), 3.0),
        (1, 2, bytes(40), 3, 4),
    ],
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_type_errors(native: dict[str, Function], name: str) -> None:
    for args in WRONG[name]:
        with pytest.raises(TypeError):
            native[name](*args)


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, 10**40])
def test_integers_of_more_than_64_bits_are_refused(
    native: dict[str, Function], number: int
) -> None:
    for args in ((number, 0, 0), (0, number, 0), (0, 0, number)):
        with pytest.raises(OverflowError):
            native["start_writeback"](*args)


def test_a_descriptor_never_becomes_another(
    native: dict[str, Function], mapping: MappedFile
) -> None:
    fd = mapping.fileno()
    with pytest.raises(OSError, match="Bad file descriptor"):
        native["start_writeback"](fd + 2**32, 0, PAGE)


def test_nothing_is_leaked(native: dict[str, Function]) -> None:
    fd = os.memfd_create("leaks")  # which no drive has to write
    os.truncate(fd, PAGE)
    start = _os.map_file(fd, 0, PAGE, Access.WRITE)
    facts, number = _os.identify(fd).packed, 2**40 + 7
    failed: list[int] = []
    calls = [
        *(("sync_unchanged", (start, PAGE, failed, fd, b"", facts)),),
        *(("sync", (start, PAGE, failed)), ("sync", (start + 1, PAGE, failed))),
        *(("start_writeback", (fd, 0, PAGE)), ("start_writeback", (-1, number, number))),
        *(("start_writeback", (number, "1", 2)), ("start_writeback", (2**70, number, 2))),
    ]
    things = [None, True, False, facts, failed, OSError, number]
    before = [sys.getrefcount(each) for each in things]
    for name, args in calls * 5_000:
        with contextlib.suppress(OSError, TypeError, OverflowError):
            native[name](*args)
        failed.clear()
    after = [sys.getrefcount(each) for each in things]
    _os.unmap(start, PAGE)
    os.close(fd)
    assert max(b - a for a, b in zip(before, after, strict=True)) < 100
