"""Mapped memory under live arrays: where it lies, what a resize does to it, and its end."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmapio import MappedFile, _os
from mmapio.errors import (
    AccessError,
    ArgumentError,
    ArgumentTypeError,
    FileError,
    InUseError,
    UnsupportedError,
)

PAGE = _os.PAGE_SIZE
SIZE = 3 * PAGE + 100
CONTENT = bytes(np.random.default_rng(3).integers(1, 256, SIZE, "u1"))

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this")
past_end = pytest.mark.skipif(
    not _os.CAN_MAP_PAST_END, reason="this platform maps no further than the end of a file"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def address(m: MappedFile) -> int:
    found: int = m.view(0, 0).__array_interface__["data"][0]
    return found


def padded(data: bytes, size: int) -> bytes:
    """Return `data` cut off or filled up with zeros to a size."""
    return data[:size] + bytes(max(0, size - len(data)))


# Capacity -------------------------------------------------------------------------------------


@past_end
@pytest.mark.parametrize("capacity", [0, 1, SIZE, SIZE + 1, 100 * PAGE, 1 << 40])
@pytest.mark.parametrize("offset", [0, 1, PAGE - 1, PAGE])
def test_growth_within_capacity_stays_in_place(path: Path, capacity: int, offset: int) -> None:
    m = MappedFile.open(path, "r+", offset=offset, capacity=capacity)
    assert m.capacity >= max(capacity, m.size)
    before = address(m)
    m.resize(min(m.capacity, 50 * PAGE))
    assert address(m) == before
    m.resize(5)
    m.resize(min(m.capacity, 50 * PAGE))
    assert address(m) == before
    assert m.read() == padded(CONTENT[offset : offset + 5], m.size)


@past_end
def test_capacity_costs_no_memory_and_no_file(path: Path) -> None:
    m = MappedFile.open(path, "r+", capacity=1 << 40)
    assert (m.capacity, m.size, path.stat().st_size) == (1 << 40, SIZE, SIZE)
    assert m.read() == CONTENT


def test_memory_without_a_file_grows_up_to_its_capacity() -> None:
    m = MappedFile.anonymous(10, capacity=5 * PAGE)
    m.write(0, b"data")
    view = m.view()
    m.resize(5 * PAGE)
    view[4] = ord("!")
    assert m.read() == padded(b"data!", 5 * PAGE)
    with pytest.raises(UnsupportedError, match=f"up to its capacity, {5 * PAGE} bytes; {6 * PAGE}"):
        m.resize(6 * PAGE)
    assert (m.size, m.read(0, 5)) == (5 * PAGE, b"data!")


# Growth and shrinking -------------------------------------------------------------------------

SIZES = [0, 1, 100, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, SIZE, SIZE + 1, 5 * PAGE, 50 * PAGE]


@pytest.mark.parametrize("capacity", [None, 20 * PAGE])
@pytest.mark.parametrize("offset", [0, 5, PAGE + 5, SIZE])
@pytest.mark.parametrize("size", SIZES)
def test_file_and_mapping_get_the_size(
    path: Path, capacity: int | None, offset: int, size: int
) -> None:
    m = MappedFile.open(path, "r+", offset=offset, capacity=capacity)
    m.resize(size)
    expected = padded(CONTENT[offset:], size)
    assert (m.size, len(m), m.read()) == (size, size, expected)
    assert path.read_bytes() == CONTENT[:offset] + expected
    if size:
        m.write(size - 1, b"e")
        assert path.read_bytes() == CONTENT[:offset] + expected[:-1] + b"e"


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("size", [1, 100, PAGE, PAGE + 1])
def test_an_empty_file_grows(tmp_path: Path, create: bool, size: int) -> None:
    path = tmp_path / "empty"
    if not create:
        path.touch()
    m = MappedFile.open(path, "x+" if create else "r+", 0 if create else None)
    view = m.view()
    m.resize(size, force=True)
    m.write(0, b"x" * size)
    m.flush()
    assert (view.size, m.read(), path.read_bytes()) == (0, b"x" * size, b"x" * size)


def test_a_window_of_nothing_grows_and_shrinks_under_a_view(path: Path) -> None:
    m = MappedFile.open(path, "r+", offset=SIZE)
    view = m.view()
    for size in (100, 0, 5 * PAGE, 0, 3):
        m.resize(size, force=True)
        m.write(0, b"x" * size)
        assert path.read_bytes() == CONTENT + b"x" * size
    assert view.size == 0


@pytest.mark.parametrize("reserve", [False, True])
def test_growth_takes_blocks_if_it_is_to(tmp_path: Path, reserve: bool) -> None:
    path = tmp_path / "file"
    m = MappedFile.open(path, "x+", 10, reserve=reserve)
    m.resize(1 << 20)
    if sys.platform != "win32":
        assert (path.stat().st_blocks * 512 >= 1 << 20) == reserve


@pytest.mark.parametrize("capacity", [None, 200 * PAGE])
def test_views_of_all_times_show_the_same_bytes(path: Path, capacity: int | None) -> None:
    m = MappedFile.open(path, "r+", capacity=capacity)
    views = [m.view()]
    for pages in (5, 20, 100):
        m.resize(pages * PAGE, force=True)
        views.append(m.view())
    for number, writer in enumerate(views):
        writer[number * 10] = number
        writer[len(writer) - 1] = 100 + number
        for reader in views:
            common = min(len(reader), len(writer))
            np.testing.assert_array_equal(reader[:common], writer[:common])
    assert path.read_bytes() == m.read()


def test_a_resize_to_the_same_size_does_nothing(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    before = address(m)
    m.resize(SIZE)
    assert (address(m), m.read(), path.read_bytes()) == (before, CONTENT, CONTENT)


@pytest.mark.parametrize(("offset", "length"), [(0, SIZE - 1), (5, 10), (0, 0)])
def test_what_ends_before_its_file_is_not_resized(path: Path, offset: int, length: int) -> None:
    m = MappedFile.open(path, "r+", offset=offset, length=length)
    with pytest.raises(UnsupportedError, match=f"ends at byte {offset + length} of a file of"):
        m.resize(SIZE)
    assert path.read_bytes() == CONTENT


def test_what_another_grew_is_not_cut_off(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    with open(path, "ab") as file:
        file.write(b"theirs")
    for size in (5, SIZE, 10 * PAGE):
        with pytest.raises(UnsupportedError, match="only one that reaches to the end"):
            m.resize(size)
    assert path.read_bytes() == CONTENT + b"theirs"


def test_many_moves_leave_no_traces(path: Path) -> None:
    """Otherwise a file that grows step by step gets ever slower, and the list of places longer."""
    m = MappedFile.open(path, "r+", reserve=False)

    def grow(times: int) -> int:
        for _ in range(times):
            m.resize(m.size + PAGE)
        return sum(sys.getsizeof(each) for each in vars_of(m._region.source))

    first = grow(10)
    assert grow(100) <= first


def vars_of(thing: object) -> Iterator[Any]:
    return (getattr(thing, name) for name in type(thing).__slots__)  # type: ignore[attr-defined]


# Resizing under live views: refused where they would not follow ---------------------------------


def test_growth_past_capacity_under_a_view_is_refused(path: Path) -> None:
    m = MappedFile.open(path, "r+", capacity=5 * PAGE)
    view = m.view()
    if _os.CAN_MAP_PAST_END:
        m.resize(5 * PAGE)
    with pytest.raises(InUseError, match=f"its capacity is {m.capacity}, and arrays over it are"):
        m.resize(m.capacity + 1)
    assert path.stat().st_size == m.size
    assert (view.tobytes(), m.read(0, SIZE)) == (CONTENT, CONTENT)
    del view
    m.resize(9 * PAGE)
    assert m.read() == padded(CONTENT, 9 * PAGE)


@past_end
@pytest.mark.parametrize("memory", [False, True])
def test_shrinking_under_a_view_is_refused_unless_forced(path: Path, memory: bool) -> None:
    m = MappedFile.anonymous(SIZE) if memory else MappedFile.open(path, "r+")
    m.write(0, CONTENT)
    view = m.view(0, 5)  # though this one would be spared
    with pytest.raises(InUseError, match=r"cannot shrink the mapping of .*force=True"):
        m.resize(PAGE)
    assert m.read() == CONTENT
    whole = m.view()
    m.resize(PAGE, force=True)
    assert (view.tobytes(), whole.tobytes()) == (CONTENT[:5], padded(CONTENT[:PAGE], SIZE))
    del view, whole
    m.resize(5)
    assert m.read() == CONTENT[:5]


@past_end
def test_views_in_another_process_see_growth(path: Path, run_python: Callable[..., str]) -> None:
    writer = """
import sys, mmapio
m = mmapio.MappedFile.open(sys.argv[1], "r+", capacity="1 GiB")
view = m.view()
m.resize(m.size + 10)
m.view(m.size - 10)[:] = 77
"""
    reader = MappedFile.open(path, capacity="1 GiB")
    everything = reader._region.bytes()
    run_python(writer, str(path))
    assert everything[: SIZE + 10].tobytes() == CONTENT + bytes([77]) * 10


# Shrinking under live views: where others die of SIGBUS, so in a process of its own ------------

UNDER_VIEWS = """
import os, sys, traceback
import numpy as np
import mmapio

PAGE = mmapio._os.PAGE_SIZE
path = sys.argv[1]

def begin(offset, capacity, file=True):
    global m, views, content, start
    if file:
        m = mmapio.MappedFile.open(path, "w+", offset + 10 * PAGE, offset=offset, capacity=capacity)
    else:
        m = mmapio.MappedFile.anonymous(10 * PAGE, capacity=capacity)
    content = bytearray(np.arange(10 * PAGE, dtype="u4").astype("u1") | 1)
    m.write(0, content)
    views, start = [m.view()], offset

def resize(size):
    m.resize(size, force=True)
    content[size:] = b""
    content.extend(bytes(size - len(content)))
    check()

def check():
    assert len(m) == len(content)
    assert m.read() == content
    if m.path:
        assert os.path.getsize(path) == start + len(content)
    for view in views:
        found = view.tobytes()
        known = min(len(found), len(content))
        assert found[:known] == content[:known], "a view shows other bytes"
        assert not any(found[known:]), "a view shows what is cut off"

def tell(name, story, *arguments):
    child = os.fork()
    if child == 0:
        try:
            story(*arguments)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        failed.append(f"{name}, {arguments}: {status}")

failed = []
mmapio.MappedFile.anonymous(1)  # what is done once is done before the forks
"""

STORIES = """
def cut_off(size):
    resize(size)
    resize(size // 2)

def grown_back():
    resize(PAGE)
    resize(10 * PAGE)
    m.write(9 * PAGE, b"x" * PAGE)
    content[9 * PAGE:] = b"x" * PAGE
    check()

def grown_back_in_part():
    resize(PAGE)
    resize(2 * PAGE)
    resize(3 * PAGE + 5)

def grown_in_a_page():
    resize(PAGE + 5)
    resize(PAGE + 50)

def cut_off_and_grown_in_steps():
    for size in [*range(40000, -1, -3000), *range(0, 40000, 3000)]:
        resize(size)

def cut_off_after_growth():
    resize(50 * PAGE)
    views.append(m.view())
    for size in (PAGE, 20 * PAGE, 90 * PAGE, 5):
        resize(size)

def stored_in_what_is_left():
    resize(PAGE)
    views[0][:PAGE] = 7
    content[:] = bytes([7]) * PAGE
    check()
    resize(4 * PAGE)
    resize(0)

def stored_past_the_end():
    resize(PAGE + 5)
    views[0][PAGE + 6:] = 9  # no harm, and no trace of it later
    resize(10 * PAGE)

def forced_close():
    resize(PAGE)
    m.close(force=True)
    assert not views[0].any()

def all_of_them(*options):
    stories = [each for each in globals().values() if getattr(each, "__code__", None)]
    for story in stories[stories.index(cut_off) + 1 : stories.index(forced_close) + 1]:
        tell(story.__name__, lambda *options: (begin(*options), story()), *options)
    for size in (0, PAGE, 3 * PAGE + 7, 10 * PAGE - 1):
        tell("cut_off", lambda size: (begin(*options), cut_off(size)), size)

all_of_them(0, 100 * PAGE, False)
for offset in (0, PAGE + 5):
    for capacity in (None, 100 * PAGE):
        all_of_them(offset, capacity)
sys.exit(chr(10).join(failed) or 0)
"""


@past_end
@pytest.mark.parametrize("memory", [False, True])
def test_views_live_through_resizes(
    tmp_path: Path, run_python: Callable[..., str], memory: bool
) -> None:
    """On disk, and where files are in memory: there the kernel keeps what lies past their end."""
    folder = Path("/dev/shm")
    if memory and not folder.is_dir():
        pytest.skip("there is no file system in memory here")
    path = folder / f"mmapio test {os.getpid()}" if memory else tmp_path / "file"
    try:
        run_python(UNDER_VIEWS + STORIES, str(path))
    finally:
        path.unlink(missing_ok=True)


# Failures -------------------------------------------------------------------------------------

FAULTS = """
from mmapio import _os
from mmapio.errors import MmapioError

def failing_at(module, name, turn):
    real, calls = getattr(module, name), []
    def call(*args):
        calls.append(args)
        if len(calls) == turn:
            if name == "allocate":  # which can stop half way
                real(args[0], args[1], args[2] // 2)
            raise OSError(28, "No space left on device")
        return real(*args)
    setattr(module, name, call)
    return calls, lambda: setattr(module, name, real)

def fault(module, step, pages, turn, must_fail):
    begin(0, 12 * PAGE)
    resize(20 * PAGE)  # past capacity: the memory moves
    views.append(m.view())
    resize(5 * PAGE + 5)
    calls, mend = failing_at(module, step, turn)
    try:
        m.resize(pages * PAGE, force=True)
    except MmapioError as error:
        assert isinstance(error, OSError) and error.errno == 28
    else:
        assert not must_fail
        return
    finally:
        mend()
    check()
    views[0][3] = views[1][4] = 99
    content[3:5] = bytes([99, 99])
    check()
    resize(PAGE)
    resize(30 * PAGE)

for module, step, pages, times in [
    (_os, "allocate", 8, 1),
    (_os, "allocate", 40, 1),
    (_os, "map_file", 40, 1),
    (_os, "map_file_at", 8, 2),
    (_os, "map_file_at", 40, 2),
    (_os, "cover", 1, 2),
    (os, "ftruncate", 1, 1),
]:
    for turn in range(1, 5):
        tell("fault", fault, module, step, pages, turn, turn <= times)
sys.exit(chr(10).join(failed) or 0)
"""


@past_end
def test_a_resize_that_fails_at_any_step_leaves_all_as_it_was(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    run_python(UNDER_VIEWS + FAULTS, str(tmp_path / "file"))


@on_linux
def test_a_file_too_large_for_its_limit_stays_as_it_was(path: Path) -> None:
    import resource

    m = MappedFile.open(path, "r+")
    view = m.view()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10 * PAGE, limits[1]))
    try:
        with pytest.raises(FileError) as caught:
            m.resize(20 * PAGE, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert (m.size, m.read(), view.tobytes(), path.read_bytes()) == (SIZE, *[CONTENT] * 3)
    m.resize(20 * PAGE, force=True)


@pytest.mark.parametrize("reserve", [False, True])
@pytest.mark.parametrize(
    ("size", "kind"),
    [
        (-1, ArgumentError),
        (2**63, ArgumentError),
        (2**63 - 1, (FileError, ArgumentError)),
        (1.0, ArgumentTypeError),
        ("1", ArgumentTypeError),
        (None, ArgumentTypeError),
    ],
)
def test_a_wrong_size_changes_nothing(
    path: Path, reserve: bool, size: Any, kind: type[Exception]
) -> None:
    m = MappedFile.open(path, "r+", offset=5, reserve=reserve)
    with pytest.raises(kind):
        m.resize(size)
    assert (m.size, m.read(), path.read_bytes()) == (SIZE - 5, CONTENT[5:], CONTENT)


@on_linux
def test_memory_that_cannot_be_had_leaves_the_file_as_it_was(
    path: Path, run_python: Callable[..., str]
) -> None:
    code = """
import os, resource, sys
import mmapio
m = mmapio.MappedFile.open(sys.argv[1], "r+", reserve=False)
view, before = m.view(), m.read()
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
try:
    m.resize(8 << 30, force=True)
except OSError as error:
    print(error.errno, m.size == os.path.getsize(sys.argv[1]) == len(before))
assert m.read() == view.tobytes() == before
"""
    assert run_python(code, str(path), OPENBLAS_NUM_THREADS="1") == f"{errno.ENOMEM} True\n"


@on_linux
def test_a_file_sealed_against_a_resize_stays_as_it_was() -> None:
    import fcntl

    fd = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, SIZE)
    m = MappedFile.from_fd(fd, "r+")
    m.write(0, CONTENT)
    view = m.view()
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    for size in (5, PAGE, 20 * PAGE):
        with pytest.raises(AccessError):
            m.resize(size, force=True)
        assert (m.size, m.read(), view.tobytes()) == (SIZE, CONTENT, CONTENT)
        view[-1] = CONTENT[-1]
        assert os.pread(fd, SIZE, 0) == CONTENT
    os.close(fd)


# The life of memory ---------------------------------------------------------------------------


def test_a_view_outlives_its_mapping(path: Path) -> None:
    view = MappedFile.open(path, "r+").view()
    assert view.tobytes() == CONTENT
    view[0] = 7
    assert path.read_bytes()[0] == 7


@on_linux
def test_memory_goes_with_its_last_array(path: Path) -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count(str(path))

    m = MappedFile.open(path, "r+")
    first = m.view(0, 5)[1:]
    m.resize(100 * PAGE, force=True)
    second = m.view(0, 5).reshape(1, 5)
    assert mapped() == 2
    del first
    assert mapped() == 1
    del m
    assert (mapped(), second.tobytes()) == (1, CONTENT[:5])
    del second
    assert mapped() == 0
