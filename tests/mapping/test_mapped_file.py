"""`MappedFile`: its modes, windows, size, flushes, descriptors, end and pickles."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import pickle
import re
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmapio import MappedFile, _os
from mmapio.errors import (
    AccessError,
    ArgumentError,
    ArgumentTypeError,
    ClosedError,
    DirectoryError,
    FileError,
    InUseError,
    OutOfBoundsError,
    ReadOnlyError,
    UnsupportedError,
)

PAGE = _os.PAGE_SIZE
SIZE = 2 * PAGE + 100
CONTENT = bytes(np.random.default_rng(2).integers(0, 256, SIZE, "u1"))
INTEGERS = [np.dtype(code).type for code in np.typecodes["AllInteger"]]

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this")
forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def m(path: Path) -> MappedFile:
    return MappedFile.open(path, "r+")


# Modes ----------------------------------------------------------------------------------------


def test_r_shows_the_file_and_changes_nothing(path: Path) -> None:
    m = MappedFile.open(path)
    assert (m.mode, m.read()) == ("r", CONTENT)
    with pytest.raises(ReadOnlyError):
        m.write(0, b"x")
    with pytest.raises(ReadOnlyError, match="open it in 'r\\+'"):
        m.resize(5)
    assert path.read_bytes() == CONTENT


def test_a_mapping_follows_the_file(path: Path) -> None:
    for mode in ("r", "r+"):
        m = MappedFile.open(path, mode)
        with open(path, "r+b") as file:
            file.write(mode.encode())
        assert m.read(0, len(mode)) == mode.encode()


@pytest.mark.parametrize("mode", ["r+", "a+", "readwrite"])
def test_a_store_is_in_the_file_at_once(path: Path, mode: str) -> None:
    m, other = MappedFile.open(path, mode), MappedFile.open(path)
    m.write(PAGE - 1, b"ab")
    m.view(SIZE - 1, 1)[0] = 7
    expected = CONTENT[: PAGE - 1] + b"ab" + CONTENT[PAGE + 1 : -1] + b"\7"
    assert m.read() == other.read() == path.read_bytes() == expected


def test_c_keeps_its_stores_to_itself(path: Path) -> None:
    m, other = MappedFile.open(path, "c"), MappedFile.open(path, "r+")
    m.write(0, b"mine")
    m.flush()
    other.write(2 * PAGE, b"theirs")
    assert m.read(0, 4) == b"mine"
    assert other.read(0, 4) == path.read_bytes()[:4] == CONTENT[:4]
    m.close()
    assert path.read_bytes()[:4] == CONTENT[:4]
    with pytest.raises(UnsupportedError, match="private copy: no resize"):
        MappedFile.open(path, "c").resize(5)


def test_c_needs_no_right_to_write(path: Path) -> None:
    path.chmod(0o444)
    m = MappedFile.open(path, "c")
    m.write(0, b"mine")
    assert m.read(0, 4) == b"mine"


@pytest.mark.parametrize("mode", ["w", "rb", "", None, 3])
def test_an_unknown_mode_is_refused_before_the_file_is_touched(path: Path, mode: Any) -> None:
    with pytest.raises(ArgumentError, match=f"got {mode!r}"):
        MappedFile.open(path, mode, 10)
    assert path.read_bytes() == CONTENT


# Windows --------------------------------------------------------------------------------------

OFFSETS = [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, SIZE - 1, SIZE]


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("length", [0, 1, 99, PAGE, None])
def test_a_window_need_not_be_aligned(
    path: Path, mode: str, offset: int, length: int | None
) -> None:
    end = SIZE if length is None else offset + length
    if end > SIZE:
        with pytest.raises(OutOfBoundsError, match=f"past the end, at {SIZE} bytes"):
            MappedFile.open(path, mode, offset=offset, length=length)
        return
    with MappedFile.open(path, mode, offset=offset, length=length) as m:
        assert (m.offset, m.size, m.read()) == (offset, end - offset, CONTENT[offset:end])
        if mode != "r" and m.size:
            m.write(m.size - 1, b"x")
            m.flush()
            expected = CONTENT[: end - 1] + b"x" + CONTENT[end:] if mode == "r+" else CONTENT
            assert path.read_bytes() == expected


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_of_every_width_are_accepted(path: Path, kind: Any) -> None:
    with MappedFile.open(path, offset=kind(3), length=kind(5), capacity=kind(100)) as m:
        assert (m.read(), type(m.offset), type(m.size)) == (CONTENT[3:8], int, int)
    with MappedFile.open(path, "w+", kind(100)) as m:
        m.resize(kind(120))
        assert m.size == 120
        m.flush(kind(3), kind(5))
    assert path.stat().st_size == 120
    assert MappedFile.anonymous(kind(7), capacity=kind(9)).size == 7


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"offset": -1}, ArgumentError),
        ({"length": -1}, ArgumentError),
        ({"capacity": -1}, ArgumentError),
        ({"offset": 2**63}, ArgumentError),
        ({"length": 2**64}, ArgumentError),
        ({"offset": SIZE + 1}, OutOfBoundsError),
        ({"length": SIZE + 1}, OutOfBoundsError),
        ({"offset": 2**62, "length": 2**62}, OutOfBoundsError),
        ({"offset": 0.0}, ArgumentTypeError),
        ({"offset": None}, ArgumentTypeError),
        ({"length": "1"}, ArgumentTypeError),
        ({"capacity": [1]}, ArgumentTypeError),
        ({"capacity": 2**63 - 1}, FileError),
    ],
)
def test_a_wrong_window_is_one_clear_error(
    path: Path, options: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        MappedFile.open(path, **options)
    with open(path, "rb") as file, pytest.raises(kind):
        MappedFile.from_fd(file.fileno(), **options)


# Memory without a file ------------------------------------------------------------------------


def test_anonymous_memory_is_zeros_and_can_be_written() -> None:
    m = MappedFile.anonymous(SIZE)
    assert (m.path, m.mode, m.size, m.read()) == (None, "r+", SIZE, bytes(SIZE))
    m.write(0, CONTENT)
    m.flush()
    assert m.read() == CONTENT
    for use in (m.fileno, m.detach):
        with pytest.raises(UnsupportedError, match="<anonymous> has no file behind it"):
            use()
    assert m.read() == CONTENT


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        (-1, ArgumentError),
        (2**63, ArgumentError),
        (2**63 - 1, FileError),
        (1.0, ArgumentTypeError),
        (None, ArgumentTypeError),
    ],
)
def test_a_wrong_size_of_memory_is_refused(size: Any, kind: type[Exception]) -> None:
    for options in ({"size": size}, {"size": 1, "capacity": size}):
        if options["size"] is not None and options.get("capacity", size) is not None:
            with pytest.raises(kind):
                MappedFile.anonymous(**options)


@forking
def test_a_forked_child_shares_memory_without_a_file(run_python: Callable[..., str]) -> None:
    code = """
import os
import mmapio
m = mmapio.MappedFile.anonymous(10, capacity=100_000)
m.resize(50_000)
child = os.fork()
if child == 0:
    m.write(49_990, b"from child")
    m.close()
    os._exit(0)
os.waitpid(child, 0)
print(m.read(49_990).decode())
"""
    assert run_python(code) == "from child\n"


# Descriptors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_an_open_file_can_be_mapped(path: Path, mode: str) -> None:
    with open(path, "r+b") as file:
        m = MappedFile.from_fd(file.fileno(), mode, offset=7)
        file.seek(5)
    assert (m.path, m.mode, m.offset, m.read()) == (None, mode, 7, CONTENT[7:])
    if mode != "r":
        m.write(0, b"new")
        assert path.read_bytes()[7:10] == (b"new" if mode == "r+" else CONTENT[7:10])
    assert repr(m) == f"<MappedFile <descriptor> mode={mode!r} size={SIZE - 7} open>"


def test_a_mapped_descriptor_can_be_resized_and_flushed(path: Path) -> None:
    with open(path, "r+b") as file:
        m = MappedFile.from_fd(file.fileno(), "r+")
    m.resize(5 * PAGE)
    m.write(5 * PAGE - 3, b"end")
    m.flush()
    assert path.read_bytes() == CONTENT + bytes(5 * PAGE - SIZE - 3) + b"end"
    assert os.path.samestat(os.fstat(m.fileno()), path.stat())


@on_linux
def test_a_file_without_a_name_can_be_mapped() -> None:
    fd = os.memfd_create("nothing")
    os.ftruncate(fd, 10)
    m = MappedFile.from_fd(fd, "r+")
    m.write(0, b"memory")
    m.resize(3 * PAGE)
    assert os.pread(fd, 6, 0) == b"memory"
    assert os.fstat(fd).st_size == 3 * PAGE
    os.close(fd)
    assert m.read(0, 6) == b"memory"


@pytest.mark.parametrize("fd", [-1, 10**6, 2**31, 2**40, np.int64(2**62)])
def test_what_is_no_descriptor_is_refused(fd: int) -> None:
    with pytest.raises((FileError, ArgumentError)):
        MappedFile.from_fd(fd)


@pytest.mark.parametrize("fd", ["1", 1.0, None, sys.stdout])
def test_what_is_no_number_is_no_descriptor(fd: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="fd must be an integer"):
        MappedFile.from_fd(fd)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows opens no folders")
def test_what_cannot_be_mapped_is_refused_by_its_descriptor(path: Path) -> None:
    pipe = os.pipe()
    folder = os.open(path.parent, os.O_RDONLY)
    with pytest.raises(FileError, match="not a regular file"):
        MappedFile.from_fd(pipe[0])
    with pytest.raises(DirectoryError):
        MappedFile.from_fd(folder)
    reading = os.open(path, os.O_RDONLY)
    writing = os.open(path, os.O_WRONLY)
    for fd, mode in [(reading, "r+"), (writing, "r"), (writing, "r+")]:
        with pytest.raises(AccessError):
            MappedFile.from_fd(fd, mode)
    for fd in (*pipe, folder, reading, writing):
        os.close(fd)


@pytest.mark.parametrize("mode", ["w+", "x+", "a+"])
def test_a_descriptor_is_in_no_mode_that_creates(path: Path, mode: str) -> None:
    with open(path, "r+b") as file, pytest.raises(ArgumentError, match="use 'r\\+'"):
        MappedFile.from_fd(file.fileno(), mode)


def test_the_descriptor_stays_the_mappings_own(m: MappedFile, path: Path) -> None:
    fd = m.fileno()
    assert m.fileno() == fd
    assert not os.get_inheritable(fd)
    assert os.path.samestat(os.fstat(fd), path.stat())
    m.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_descriptor_closes_when_the_mapping_goes(path: Path) -> None:
    m = MappedFile.open(path)
    fd = m.fileno()
    view = m.view()
    del m
    assert os.fstat(fd).st_size == SIZE
    del view
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@pytest.mark.parametrize("kept", [False, True])
def test_detach_gives_the_descriptor_away(m: MappedFile, path: Path, kept: bool) -> None:
    kept and m.fileno()
    m.write(0, b"last")
    fd = m.detach()
    assert m.closed
    assert os.path.samestat(os.fstat(fd), path.stat())
    assert os.pread(fd, 4, 0) == b"last"
    os.close(fd)
    with pytest.raises(ClosedError):
        m.detach()


def descriptors_of(path: str) -> int:
    """Return how many descriptors of a file this process has open."""
    wanted, found = os.stat(path), 0
    for fd in range(1024):
        with contextlib.suppress(OSError):
            found += os.path.samestat(os.fstat(fd), wanted)
    return found


def test_detach_under_a_view_is_refused_and_loses_nothing(m: MappedFile) -> None:
    view = m.view()
    with pytest.raises(InUseError):
        m.detach()
    assert (m.read(), view.tobytes()) == (CONTENT, CONTENT)
    m.fileno()
    assert m.path is not None
    assert descriptors_of(m.path) == 1


# Flush ----------------------------------------------------------------------------------------

FAR = 32 << 20  # the kernel writes its large folios whole, so what is near may go out as well


def dirty(m: MappedFile) -> int:
    """Return how many bytes of a mapping are still to be written."""
    address = m.view(0, 1).__array_interface__["data"][0] // PAGE * PAGE
    text = Path("/proc/self/smaps").read_text()
    entry = re.search(rf"^{address:08x}-.*?(?=^[0-9a-f]+-)", text, re.DOTALL | re.MULTILINE)
    assert entry is not None
    sizes = re.findall(r"^(?:Shared|Private)_Dirty: +(\d+) kB", entry[0], re.MULTILINE)
    return sum(map(int, sizes)) * 1024


@pytest.fixture(params=[0, 1, PAGE + 5])
def near_and_far(tmp_path: Path, request: pytest.FixtureRequest) -> MappedFile:
    """Return a mapping of a large file, from some byte on, with a dirty page at either end."""
    if sys.platform != "linux":
        pytest.skip("only Linux tells which pages are dirty, in /proc/self/smaps")
    size = FAR + 4 * PAGE
    MappedFile.open(tmp_path / "large", "x+", size, reserve=False).close()
    m = MappedFile.open(tmp_path / "large", "r+", offset=request.param)
    for data in (b"x", b"y"):
        m.write(0, data)
        m.write(m.size - 1, data)
        assert dirty(m) == 2 * PAGE
        if data == b"x":
            os.fsync(m.fileno())
            if dirty(m):
                pytest.skip("the temporary directory is on a file system in memory")
    return m


@pytest.mark.parametrize(
    ("offset", "length", "left"),
    [(0, 1, 1), (FAR, None, 1), (-1, 1, 1), (PAGE, FAR, 2), (0, None, 0), (-1, 0, 2), (0, 0, 2)],
)
def test_a_flush_cleans_the_pages_of_its_range_and_no_others(
    near_and_far: MappedFile, offset: int, length: int | None, left: int
) -> None:
    m = near_and_far
    m.flush(offset % m.size, length)
    assert dirty(m) == left * PAGE


def test_a_flush_of_two_bytes_can_clean_two_pages(near_and_far: MappedFile) -> None:
    m = near_and_far
    m.flush()
    border = PAGE - m.offset % PAGE
    m.write(border - 1, b"ab")
    assert dirty(m) == 2 * PAGE
    m.flush(border - 1, 2)
    assert dirty(m) == 0


def test_a_flush_cleans_what_was_stored_before_the_mapping_moved(near_and_far: MappedFile) -> None:
    m = near_and_far
    m.flush()
    view = m.view()
    m.resize(m.size + FAR, force=True)
    view[:1] = 7
    assert (m.read(0, 1), dirty(m)) == (b"\7", PAGE)
    m.flush(0, 1)
    assert dirty(m) == 0


def test_without_waiting_only_the_range_is_started(near_and_far: MappedFile) -> None:
    m = near_and_far
    m.flush(m.size - 1, 1, wait=False)
    deadline = time.monotonic() + 5  # by itself the kernel leaves a dirty page for 30 seconds
    while dirty(m) > PAGE and time.monotonic() < deadline:
        time.sleep(0.01)
    assert dirty(m) == PAGE


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("kind", ["r", "c", "anonymous", "nothing", "empty"])
def test_what_has_nothing_to_write_is_not_synced(
    path: Path, monkeypatch: pytest.MonkeyPatch, wait: bool, kind: str
) -> None:
    if kind == "empty":
        path.write_bytes(b"")
    m = MappedFile.anonymous(99) if kind == "anonymous" else None
    m = m or MappedFile.open(path, kind if kind in ("r", "c") else "r+")
    for name in ("sync", "sync_file", "start_writeback"):
        monkeypatch.setattr(_os, name, pytest.fail)
    m.flush(0, 0 if kind == "nothing" else None, wait)


@pytest.mark.parametrize("wait", [False, True])
def test_an_error_of_the_drive_is_told(
    m: MappedFile, path: Path, monkeypatch: pytest.MonkeyPatch, wait: bool
) -> None:
    def fail(*args: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(_os, "sync" if wait else "start_writeback", fail)
    with pytest.raises(FileError, match="cannot flush 20 bytes at 10: Input/output") as caught:
        m.flush(10, 20, wait)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(path))


# Close ----------------------------------------------------------------------------------------

HOLDERS: dict[str, Callable[[MappedFile], Any]] = {
    "view": lambda m: m.view(),
    "empty view": lambda m: m.view(0, 0),
    "view of a view": lambda m: m.view(0, 24)[::2].reshape(2, -1)[1:],
    "typed view": lambda m: m.view(0, 16, "f8"),
    "chunk": lambda m: next(iter(m.chunks(10))),
    "pieces to come": lambda m: m.pages(),
    "buffer": lambda m: memoryview(m.view()),  # type: ignore[arg-type]
    "cycle": lambda m: [m.view(), []].append([]) or [m.view()],  # type: ignore[func-returns-value]
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_close_under_a_view_is_refused_and_changes_nothing(
    m: MappedFile, path: Path, hold: Callable[[MappedFile], Any]
) -> None:
    holder = hold(m)
    for _ in range(2):
        with pytest.raises(InUseError) as caught:
            m.close()
    assert isinstance(caught.value, BufferError)
    assert str(caught.value).startswith(f"cannot close the mapping of {str(path)!r}: arrays over")
    assert (m.closed, m.read()) == (False, CONTENT)
    del holder, caught
    m.close()
    assert m.closed


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_a_forced_close_is_never_refused(m: MappedFile, hold: Callable[[MappedFile], Any]) -> None:
    holder = hold(m)
    m.close(force=True)
    assert m.closed
    del holder


@pytest.mark.parametrize("mode", ["r", "r+", "c", "anonymous"])
@pytest.mark.parametrize("offset", [0, 5, PAGE, PAGE + 5])
def test_after_a_forced_close_views_read_zeros(path: Path, mode: str, offset: int) -> None:
    m = (
        MappedFile.anonymous(SIZE)
        if mode == "anonymous"
        else MappedFile.open(path, mode, offset=offset)
    )
    if mode != "r":
        m.write(0, b"data")
    views = [m.view(), m.view(0, 3), m.view(m.size - 8, 8, "f8")]
    m.close(force=True)
    m.close(force=True)
    m.close()
    assert not any(view.any() for view in views)
    if mode == "r":
        assert not views[0].flags.writeable
    else:
        views[0][:] = 9  # lost, and no harm
    expected = CONTENT[:offset] + b"data" + CONTENT[offset + 4 :] if mode == "r+" else CONTENT
    assert path.read_bytes() == expected


def test_a_forced_close_reaches_views_of_before_a_move(m: MappedFile, path: Path) -> None:
    views = [m.view()]
    for pages in (10, 100):
        m.resize(pages * PAGE, force=True)
        views.append(m.view())
    with pytest.raises(InUseError):
        m.close()
    m.close(force=True)
    assert not any(view.any() for view in views)
    assert path.read_bytes()[:SIZE] == CONTENT


def test_close_under_a_view_of_before_a_move_is_refused(m: MappedFile) -> None:
    view = m.view()
    m.resize(100 * PAGE, force=True)
    with pytest.raises(InUseError):
        m.close()
    assert view.tobytes() == CONTENT == m.read(0, SIZE)
    del view
    m.close()


@pytest.mark.parametrize("force", [False, True])
def test_closing_twice_is_fine(m: MappedFile, force: bool) -> None:
    for _ in range(3):
        m.close(force)
    assert m.closed


def test_a_with_block_closes_at_its_end(m: MappedFile) -> None:
    with m as entered:
        assert entered is m
        assert not m.closed
    assert m.closed
    with pytest.raises(ClosedError), m:
        pytest.fail("entered")


def test_a_with_block_leaves_views_their_memory(path: Path) -> None:
    with MappedFile.open(path, "r+") as m:
        first = m.view()
        m.resize(100 * PAGE, force=True)
        for piece in m.chunks(PAGE):
            piece[0] = 1
    assert m.closed
    with pytest.raises(ClosedError):
        m.read()
    m.close(force=True)
    assert first[1:].tobytes() == path.read_bytes()[1:SIZE]
    piece[-1] = first[0] = 7
    assert path.read_bytes()[:: 100 * PAGE - 1] == b"\7\7"


def test_a_with_block_keeps_no_descriptor(path: Path) -> None:
    with MappedFile.open(path) as m:
        view, fd = m.view(), m.fileno()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert view.tobytes() == CONTENT


@pytest.mark.parametrize("hold", [True, False])
def test_a_with_block_does_not_hide_an_error(path: Path, hold: bool) -> None:
    with pytest.raises(ZeroDivisionError), MappedFile.open(path) as m:  # noqa: PT012
        view = m.view() if hold else b""
        1 / 0  # noqa: B018
    assert m.closed
    assert len(view) == hold * SIZE


def test_closing_inside_a_with_block_is_fine(path: Path) -> None:
    with MappedFile.open(path) as m:
        m.close()
    assert m.closed


@on_linux
def test_memory_is_given_back(path: Path) -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count(str(path))

    m = MappedFile.open(path)
    assert mapped() == 1
    m.close()
    assert mapped() == 0
    m = MappedFile.open(path)
    view = m.view(0, 5)
    del m
    assert (mapped(), view.tobytes()) == (1, CONTENT[:5])
    del view
    assert mapped() == 0
    m = MappedFile.open(path)
    view = m.view()
    m.close(force=True)
    assert (mapped(), bool(view.any())) == (0, False)


@on_linux
def test_nothing_is_leaked(path: Path) -> None:
    def held() -> tuple[int, int]:
        gc.collect()
        maps = Path("/proc/self/maps").read_text().count("\n")
        return maps, len(os.listdir("/proc/self/fd"))

    def use() -> None:
        for turn in range(100):
            m = MappedFile.open(path, "r+", capacity=turn % 2 * 100_000)
            view = m.view(0, 10)
            m.fileno()
            m.resize(SIZE + turn * PAGE, force=True)
            m.resize(SIZE, force=True)
            m.close(force=True)
            del view

    use()
    before = held()
    use()
    assert max(now - then for now, then in zip(held(), before, strict=True)) < 20


def test_a_mapping_in_a_cycle_is_collected(path: Path) -> None:
    m = MappedFile.open(path)
    gone = weakref.ref(m)
    cycle: list[Any] = [m, m.view()]
    cycle.append(cycle)
    del m, cycle
    gc.collect()
    assert gone() is None


# What it tells --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["r", "r+", "w+", "a+", "c"])
def test_it_tells_path_mode_size_and_state(path: Path, mode: str) -> None:
    m = MappedFile.open(path, mode, 10 if mode == "w+" else None)
    size = 10 if mode == "w+" else SIZE
    assert repr(m) == f"<MappedFile {str(path)!r} mode={mode!r} size={size} open>"
    assert (m.path, m.mode, m.size, len(m), m.closed) == (str(path), mode, size, size, False)
    m.close()
    assert repr(m) == f"<MappedFile {str(path)!r} mode={mode!r} closed>"
    assert (m.path, m.mode, m.closed) == (str(path), mode, True)


@pytest.mark.parametrize("name", ["size", "mode", "path", "offset", "closed", "capacity"])
def test_what_it_tells_cannot_be_set(m: MappedFile, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(m, name, 1)


# Pickles --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["r", "r+", "a+", "w+", "x+"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_a_reference(tmp_path: Path, mode: str, protocol: int) -> None:
    path = tmp_path / "file"
    if mode != "x+":
        path.write_bytes(CONTENT)
    m = MappedFile.open(path, mode, 50 << 20 if mode in ("w+", "x+") else None, reserve=False)
    pickled = pickle.dumps(m, protocol)
    assert len(pickled) <= 1024
    with pickle.loads(pickled) as again:
        assert (again.path, again.size) == (m.path, m.size)
        assert again.mode == ("r" if mode == "r" else "r+")
        if mode != "r":
            again.write(3, b"shared")
            assert m.read(3, 6) == b"shared"


def test_a_pickle_knows_its_window(path: Path) -> None:
    m = MappedFile.open(path, offset=PAGE + 3, length=50)
    assert pickle.loads(pickle.dumps(m)).read() == CONTENT[PAGE + 3 : PAGE + 53]


def test_a_pickle_is_of_the_size_it_was_made_at(m: MappedFile) -> None:
    pickled = pickle.dumps(m)
    m.resize(10 * PAGE)
    assert pickle.loads(pickled).size == SIZE
    assert pickle.loads(pickle.dumps(m)).size == 10 * PAGE
    m.resize(10)
    with pytest.raises(OutOfBoundsError):
        pickle.loads(pickled)


def test_another_process_maps_the_same_bytes(m: MappedFile, run_python: Callable[..., str]) -> None:
    code = """
import pickle, sys
m = pickle.loads(bytes.fromhex(sys.argv[1]))
m.write(0, m.read(0, 3)[::-1])
"""
    run_python(code, pickle.dumps(m).hex())
    assert m.read() == CONTENT[2::-1] + CONTENT[3:]


@pytest.mark.parametrize("kind", ["anonymous", "descriptor", "c"])
def test_what_has_no_path_to_it_is_not_pickled(path: Path, kind: str) -> None:
    with open(path, "rb") as file:
        m = {
            "anonymous": lambda: MappedFile.anonymous(5),
            "descriptor": lambda: MappedFile.from_fd(file.fileno()),
            "c": lambda: MappedFile.open(path, "c"),
        }[kind]()
    with pytest.raises(UnsupportedError, match="cannot be pickled: another process finds no such"):
        pickle.dumps(m)


def test_touch_pages_counts_the_pages_of_a_range(tmp_path: Path) -> None:
    m = MappedFile.open(tmp_path / "m.bin", "x+", size=3 * _os.PAGE_SIZE + 1)
    assert m.touch_pages() == 4
    assert m.touch_pages(1, _os.PAGE_SIZE, write=True) == 2
    assert m.touch_pages(_os.PAGE_SIZE, 0) == 0
    with pytest.raises(OutOfBoundsError):
        m.touch_pages(0, 4 * _os.PAGE_SIZE)
    m.close()
    with pytest.raises(ClosedError):
        m.touch_pages()
    with pytest.raises(ReadOnlyError):
        MappedFile.open(tmp_path / "m.bin").touch_pages(write=True)
