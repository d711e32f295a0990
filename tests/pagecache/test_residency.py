"""Reports of what is in memory, compared with vmtouch, fincore and what the test has done."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import _os
from mmapio._formatting import size
from mmapio._os import Advice
from mmapio.pagecache import cache_map
from mmapio.pagecache.residency import cells, picture_of, residency_of

PAGE = _os.PAGE_SIZE
PAGES = 256
SIZE = PAGES * PAGE
SHM = Path("/dev/shm")

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows does not tell what its cache holds of a file"
)


def _has_cachestat() -> bool:
    with open(__file__, "rb") as file:
        try:
            _os.cache_facts(file.fileno(), 0, 1)
        except OSError:
            return False
    return True


needs_cachestat = pytest.mark.skipif(
    not _has_cachestat(), reason="this system does not tell by cachestat (Linux 6.5)"
)
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


def evict(path: Path) -> None:
    """Take a file out of the page cache, or skip the test where that cannot be done."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        if not hasattr(os, "posix_fadvise"):
            pytest.skip("this system cannot take a file out of its page cache")
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if residency_of(path).resident:
        pytest.skip("this file system keeps pages in memory when it is asked to drop them")


def read_pages(path: Path, *pages: int) -> None:
    """Bring pages of a file into memory, and no others."""
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for page in pages:
            os.pread(file.fileno(), PAGE, page * PAGE)


def make(folder: Path, length: int = SIZE) -> Path:
    path = folder / "file.bin"
    path.write_bytes(np.random.default_rng(7).bytes(length))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make(tmp_path)


@pytest.fixture
def cold(path: Path) -> Path:
    evict(path)
    return path


@pytest.fixture
def on_tmpfs() -> Iterator[Path]:
    if not os.access(SHM, os.W_OK):
        pytest.skip(f"there is no {SHM}")
    folder = SHM / f"mmapio-test-{os.getpid()}-{threading.get_ident()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["cachestat", "mincore"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the report come from cachestat, then from mincore, as on a kernel without the former."""
    if request.param == "mincore":
        monkeypatch.setattr(_os, "cache_facts", refusing(errno.ENOSYS))
    elif not _has_cachestat():
        pytest.skip("this system has no cachestat")
    return request.param


def refusing(code: int) -> Callable[..., Any]:
    def refuse(*_: object) -> Any:
        raise OSError(code, os.strerror(code))

    return refuse


# The truth ----------------------------------------------------------------------------------------


def by_vmtouch(path: Path) -> int:
    if shutil.which("vmtouch") is None:
        pytest.skip("vmtouch is not installed")
    done = subprocess.run(["vmtouch", path], capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if "Resident Pages" in line]
    return int(line.split()[2].partition("/")[0]) * PAGE


def by_fincore(path: Path) -> int:
    if shutil.which("fincore") is None:
        pytest.skip("fincore is not installed")
    command = ["fincore", "--bytes", "--raw", "--noheadings", "--output", "RES", path]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


PEERS = [by_vmtouch, by_fincore]


@pytest.mark.page_cache
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("length", [1, PAGE - 1, SIZE, SIZE + 1])
def test_a_file_on_disk_is_as_peers_see_it(
    peer: Callable[[Path], int], length: int, way: str, tmp_path: Path
) -> None:
    path = make(tmp_path, length)
    assert residency_of(path).resident == peer(path) > 0
    evict(path)
    assert residency_of(path).resident == peer(path) == 0


@pytest.mark.page_cache
@pytest.mark.parametrize("peer", PEERS)
def test_a_file_that_is_in_memory_in_part_is_as_peers_see_it(
    peer: Callable[[Path], int], way: str, cold: Path
) -> None:
    read_pages(cold, 0, 3, 4, 5, 100, PAGES - 1)
    found = residency_of(cold)
    assert found.resident == peer(cold) > 0
    assert found.fraction == found.resident / SIZE


@pytest.mark.page_cache
@pytest.mark.parametrize("peer", PEERS)
def test_a_file_on_tmpfs_is_as_peers_see_it(
    peer: Callable[[Path], int], way: str, on_tmpfs: Path
) -> None:
    path = make(on_tmpfs)
    assert residency_of(path).resident == peer(path) == SIZE
    os.truncate(path, 4 * SIZE)
    assert residency_of(path).resident == peer(path) == SIZE


@pytest.mark.page_cache
@pytest.mark.parametrize("peer", PEERS)
def test_a_sparse_file_is_as_peers_see_it(
    peer: Callable[[Path], int], way: str, tmp_path: Path
) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"x" * 10 * PAGE)
    assert residency_of(path).resident == peer(path) == 10 * PAGE


@pytest.mark.page_cache
def test_pages_are_those_that_were_read(way: str, cold: Path) -> None:
    wanted = [0, 3, 4, 100, 255]
    read_pages(cold, *wanted)
    with mmapio.MappedFile.open(cold) as mapping:
        found = mapping.residency(buckets=None)
    assert np.flatnonzero(found.map).tolist() == wanted
    assert found.map.shape == (PAGES,)
    assert found.map.dtype == np.float32


@pytest.mark.page_cache
@pytest.mark.parametrize("window", [PAGE, 3 * PAGE, SIZE])
@pytest.mark.parametrize("buckets", [1, 7, 128, 255, 256, 1000])
def test_both_ways_draw_the_same_map(
    buckets: int, window: int, cold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not _has_cachestat():
        pytest.skip("this system has no cachestat")
    read_pages(cold, 1, 2, 64, 65, 66, 200)
    expected = residency_of(cold, buckets=buckets)
    monkeypatch.setattr(_os, "cache_facts", refusing(errno.ENOSYS))
    monkeypatch.setattr(cache_map, "_WINDOW_BYTES", window)
    found = residency_of(cold, buckets=buckets)
    assert found.map.tolist() == expected.map.tolist()
    assert (found.resident, found.length) == (expected.resident, expected.length)
    assert (found.dirty, found.writeback, found.evicted, found.dirty_map) == (None,) * 4


def dirtied(a: mmapio.MappedArray, part: slice) -> mmapio.Residency:
    """Store in an array, and return the report of it, taken before the system wrote that."""
    for value in range(10):
        a[part] = value
        found = a.residency(buckets=PAGES)
        if found.dirty:
            break
    return found


@pytest.mark.page_cache
@needs_cachestat
def test_dirty_is_what_is_yet_to_be_written(cold: Path) -> None:
    a = mmapio.open(cold, "r+", dtype="u1")
    found = dirtied(a, slice(10 * PAGE, 12 * PAGE))
    assert found.dirty == 2 * PAGE
    assert found.dirty_map is not None
    assert found.dirty_map[9:13].tolist() == [0, 1, 1, 0]
    a.flush()
    found = a.residency()
    assert (found.dirty, found.writeback) == (0, 0)


@pytest.mark.page_cache
@needs_cachestat
def test_evicted_is_what_was_in_memory_before(cold: Path) -> None:
    a = mmapio.open(cold, dtype="u1")
    a.touch_pages()
    try:
        _os.advise(a.ctypes.data, SIZE, Advice.PAGEOUT)
    except OSError as error:
        pytest.skip(f"this system pages nothing out on request: {error}")
    found = a.residency()
    if found.resident:
        pytest.skip("this system kept the pages")
    assert found.evicted == SIZE
    assert 0 <= found.recently_evicted <= SIZE


WRITE = """
import sys, mmapio
a = mmapio.open(sys.argv[1], "r+", dtype="u1")
a[:] = 2
"""


@pytest.mark.page_cache
def test_what_another_process_brings_in_counts(
    way: str, cold: Path, run_python: Callable[..., str]
) -> None:
    with mmapio.MappedFile.open(cold) as mapping:
        assert mapping.residency().resident == 0
        run_python(WRITE, str(cold))
        found = mapping.residency()
        assert found.fraction == 1
        assert (found.dirty is None) == (way == "mincore")
        assert found.rss in (0, None)


# Ranges -------------------------------------------------------------------------------------------


@pytest.mark.page_cache
@linux
def test_a_slice_tells_of_its_own_pages(way: str, cold: Path) -> None:
    a = mmapio.open(cold, dtype="<i4", shape=(PAGES, -1))
    _os.advise(a.ctypes.data, SIZE, Advice.DONTNEED)  # opening it has looked for a header
    evict(cold)
    read_pages(cold, *range(10, 20))
    assert a[10:20].residency().fraction == 1
    assert a[20:].residency().resident == 0
    assert a[5:15].residency().fraction == 0.5
    assert a[5:15].residency(buckets=2).map.tolist() == [0, 1]
    found = a[9:11, 5:7].residency()  # not contiguous: from its first byte to its last
    assert (found.offset, found.length) == (9 * PAGE + 20, PAGE + 8)
    assert (found.resident, found.span) == (PAGE, 2 * PAGE)


@pytest.mark.page_cache
@pytest.mark.parametrize(("offset", "length", "pages"), [(0, 1, 1), (1, PAGE, 2), (PAGE - 1, 2, 2)])
def test_figures_are_of_whole_pages(
    offset: int, length: int, pages: int, way: str, path: Path
) -> None:
    with mmapio.MappedFile.open(path) as mapping:
        found = mapping.residency(offset, length)
    assert (found.offset, found.length) == (offset, length)
    assert found.resident == found.span == pages * PAGE
    assert found.map.tolist() == [1] * pages


@pytest.mark.page_cache
def test_an_offset_of_the_mapping_counts(way: str, cold: Path) -> None:
    read_pages(cold, 7)
    with mmapio.MappedFile.open(cold, offset=5 * PAGE + 123) as mapping:
        found = mapping.residency(buckets=None)
        assert found.offset == 5 * PAGE + 123
        assert np.flatnonzero(found.map).tolist() == [2]
        assert mapping.residency(2 * PAGE, 10).resident == PAGE
        assert mapping.residency(0, 10).resident == 0


@pytest.mark.page_cache
def test_sixteen_tebibytes_take_no_time_and_no_memory(tmp_path: Path) -> None:
    path, length = tmp_path / "huge", (16 << 40) - PAGE
    with path.open("wb") as file:
        try:
            file.truncate(length)
        except OSError as error:
            pytest.skip(f"this file system has no files of 16 TiB: {error.strerror}")
    mapping = mmapio.MappedFile.open(path)
    middle = mapping.view(8 << 40, PAGE)
    assert middle.sum() == 0
    pages = mapping.residency((8 << 40) - (1 << 20), 2 << 20, buckets=None)
    assert len(pages.map) == (2 << 20) // PAGE
    assert pages.map[(1 << 20) // PAGE] == 1
    if _has_cachestat():
        found = mapping.residency(buckets=64)
        assert found.length == length
        assert np.flatnonzero(found.map).tolist() in ([31, 32], [32])
        assert mapping.residency(1 << 40, 14 << 40).rss == found.rss


@pytest.mark.parametrize("pages", [0, 1, 5, 128, 1000, 2**50])
@pytest.mark.parametrize("buckets", [1, 3, 128])
def test_buckets_divide_a_range_evenly(pages: int, buckets: int) -> None:
    edges = cache_map.edges_of(PAGE + 1, max(pages * PAGE - 1, 0), buckets).tolist()
    assert edges[0] == PAGE
    assert edges[-1] == (pages + 1) * PAGE
    assert len(edges) == min(buckets, pages) + 1
    lengths = np.diff(edges) // PAGE
    assert not lengths.size or lengths.max() - lengths.min() <= 1


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_an_empty_file(mode: str, way: str, tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    with mmapio.MappedFile.open(path, mode) as mapping:
        for found in (mapping.residency(), residency_of(path)):
            assert (found.length, found.resident, found.fraction) == (0, 0, 1)
            assert found.map.size == 0
            assert found.text() == f"{path}\n  empty"
            assert found.figures() == "empty"


# Mappings -----------------------------------------------------------------------------------------


@pytest.mark.page_cache
@linux
def test_what_is_mapped_here_and_private_copies(path: Path) -> None:
    mapping = mmapio.MappedFile.open(path, "c")
    assert mapping.residency().rss == 0
    mapping.view()[:PAGE] = 1
    assert mapping.residency(0, PAGE).rss == PAGE
    assert 0 < mapping.residency().rss <= SIZE
    mapping.touch_pages()
    found = mapping.residency()
    assert (found.rss, found.swap, found.resident) == (SIZE, 0, SIZE)
    assert residency_of(path).rss is None


@pytest.mark.page_cache
@linux
@pytest.mark.parametrize("way_of_pages", ["scanning", "reading"])
def test_pages_of_a_part_are_counted_one_by_one(
    way_of_pages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmapio._os import _linux_use

    if way_of_pages == "reading":
        monkeypatch.setattr(_linux_use, "_by_scanning", refusing(errno.ENOTTY))
        monkeypatch.setattr(_linux_use, "_WINDOW_BYTES", 16 * PAGE)
    pages = 2000  # of which so many, each alone, do not fit into one answer
    a = mmapio.anonymous((pages, PAGE), "u1")
    a[::2, 0] = 1
    assert a[1:-1].residency().rss == (pages // 2 - 1) * PAGE
    assert a[1 : pages // 2 : 2][:10].residency().rss == 9 * PAGE
    assert a[1].residency().rss == 0
    assert a[1, PAGE // 2 :].residency().rss == 0
    assert a[2, PAGE // 2 :].residency().rss == PAGE


@pytest.mark.page_cache
def test_memory_without_a_file() -> None:
    a = mmapio.anonymous(10 * PAGE, "u1")
    assert a.residency().resident == 0
    a[3 * PAGE] = 1
    found = a.residency()
    assert (found.path, found.dirty, found.resident) == (None, None, PAGE)
    assert np.flatnonzero(found.map).tolist() == [3]
    assert repr(found).startswith("<Residency <anonymous> 10.0% of")


@pytest.mark.page_cache
def test_a_descriptor_without_a_path(way: str, path: Path) -> None:
    with path.open("rb") as file:
        mapping = mmapio.MappedFile.from_fd(file.fileno())
    path.unlink()
    assert mapping.residency().fraction == 1


def test_a_grown_mapping_tells_of_all_of_it(way: str, path: Path) -> None:
    with mmapio.MappedFile.open(path, "r+", capacity=2 * SIZE) as mapping:
        mapping.resize(2 * SIZE)
        found = mapping.residency(buckets=2)
        assert (found.length, found.map[0]) == (2 * SIZE, 1)


@pytest.mark.page_cache
def test_asking_changes_nothing(cold: Path, tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    sparse.touch()
    os.truncate(sparse, SIZE)
    for path in (cold, sparse):
        before = path.stat()
        with mmapio.MappedFile.open(path, "r+") as mapping:
            for buckets in (1, 128, None):
                found = mapping.residency(buckets=buckets)
                assert (found.resident, found.dirty in (0, None)) == (0, True)
                assert found.rss in (0, None)
            residency_of(path)
        after = path.stat()
        assert after.st_blocks == before.st_blocks
        assert after.st_mtime_ns == before.st_mtime_ns


def test_asking_while_another_thread_closes(path: Path) -> None:
    for _ in range(20):
        mapping = mmapio.MappedFile.open(path)
        closer = threading.Thread(target=mapping.close)
        closer.start()
        try:
            while True:
                assert mapping.residency(buckets=None).length == SIZE
        except mmapio.ClosedError:
            pass
        closer.join()


# Refusals -----------------------------------------------------------------------------------------


def test_what_cannot_be_asked(path: Path) -> None:
    a = mmapio.open(path, dtype="u1")
    mapping = a.mapping
    assert mapping is not None
    with pytest.raises(mmapio.ArgumentError, match="buckets must be 1 or more, got 0"):
        mapping.residency(buckets=0)
    with pytest.raises(mmapio.ArgumentError, match="buckets must be 1 or more, got -1"):
        residency_of(path, buckets=-1)
    with pytest.raises(mmapio.ArgumentTypeError, match="buckets must be an integer"):
        a.residency(buckets=1.5)  # type: ignore[arg-type]
    with pytest.raises(mmapio.OutOfBoundsError):
        mapping.residency(SIZE, 1)
    with pytest.raises(mmapio.OutOfBoundsError):
        residency_of(path, SIZE + 1)
    with pytest.raises(mmapio.UnsupportedError, match="copy in memory"):
        a[[1, 2]].residency()
    with pytest.raises(mmapio.ArgumentError, match="width must be 11 or more, got 10"):
        a.residency().text(10)
    with pytest.raises(mmapio.MissingFileError):
        residency_of(path.with_name("none"))
    with pytest.raises(mmapio.DirectoryError):
        residency_of(path.parent)
    a.close()
    with pytest.raises(mmapio.ClosedError):
        mapping.residency()


def test_a_file_that_was_replaced(path: Path) -> None:
    with mmapio.MappedFile.open(path) as mapping:
        mmapio.save(path, np.zeros(3))
        with pytest.raises(mmapio.ReplacedError):
            mapping.residency()


AS_NOBODY = """
import os, sys
import mmapio
from mmapio import _os
from mmapio.pagecache.residency import residency_of
with mmapio.MappedFile.open(sys.argv[1]) as mapping:
    mapping.residency()  # all that is imported for it, which another user may not read
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
if sys.argv[2] == "mincore":
    def refuse(*_):
        raise OSError(38, "no such call")
    _os.cache_facts = refuse
with mmapio.MappedFile.open(sys.argv[1]) as mapping:
    for ask in (lambda: mapping.residency(buckets=None), lambda: residency_of(sys.argv[1])):
        try:
            print(ask().resident)
        except mmapio.AccessError as error:
            print(error)
"""


@pytest.mark.page_cache
@linux
@pytest.mark.parametrize("way_here", ["cachestat", "mincore"])
def test_who_may_not_know_is_told_so_rather_than_wrong(
    way_here: str, run_python: Callable[..., str]
) -> None:
    if os.geteuid():
        pytest.skip("only root can become another user")
    folder = Path("/tmp")  # which another user can reach, as he cannot reach tmp_path
    path = folder / f"mmapio-test-{os.getpid()}.bin"
    path.write_bytes(bytes(SIZE))
    try:
        path.chmod(0o644)
        evict(path)
        told = run_python(AS_NOBODY, str(path), way_here).splitlines()
        path.chmod(0o666)
        assert run_python(AS_NOBODY, str(path), way_here).splitlines() == ["0", "0"]
    finally:
        path.unlink()
    assert "cannot tell what of the file is in memory" in told[0]
    assert told[1] == "0" or "the system tells only who owns it" in told[1]


def test_a_sandbox_that_forbids_the_call(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_os, "cache_facts", refusing(errno.EPERM))
    assert residency_of(path).fraction == 1


def test_an_error_of_the_call_is_not_hidden(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_os, "cache_facts", refusing(errno.EIO))
    with pytest.raises(OSError) as caught:
        residency_of(path)
    assert caught.value.errno == errno.EIO


def test_a_platform_that_tells_of_mappings_only(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    monkeypatch.setattr(_os, "cache_facts", refusing(errno.ENOTSUP))
    monkeypatch.setattr(_os, "resident", refusing(errno.ENOTSUP))
    with pytest.raises(mmapio.UnsupportedError, match="map the file and ask the mapping"):
        residency_of(path)
    with mmapio.MappedFile.open(path) as mapping:
        monkeypatch.setattr(_os, "memory_use", lambda at, length: _os.MemoryUse(length, None))
        found = mapping.residency(buckets=4)
        assert (found.resident, found.rss, found.map.tolist()) == (SIZE, SIZE, [1] * 4)
        monkeypatch.setattr(_os, "memory_use", lambda at, length: _os.MemoryUse(None, None))
        with pytest.raises(mmapio.UnsupportedError, match="nor what this process has mapped"):
            mapping.residency()


# Text and pictures --------------------------------------------------------------------------------


def half(path: Path) -> mmapio.Residency:
    """Return the report of a file whose second half is in memory."""
    evict(path)
    read_pages(path, *range(PAGES // 2, PAGES))
    return residency_of(path)


@pytest.mark.parametrize("width", [11, 12, 40, 80, 200])
def test_text_is_as_wide_as_it_may_be(width: int, path: Path) -> None:
    name, bar, figures = half(path).text(width).splitlines()
    room = width - 10
    assert name == str(path)
    assert len(bar) == width
    assert bar.endswith("   50.0%")
    assert bar.strip()[0] == ("▒" if room == 1 else "·")
    assert bar.count("█") == bar.count("·") == room // 2
    assert figures == f"  {size(SIZE // 2)} of {size(SIZE)} in memory"


def test_text_of_ascii(path: Path) -> None:
    assert half(path).text(30, ascii_only=True).splitlines()[1] == f"  {'.' * 10}{'#' * 10}   50.0%"
    assert str(half(path)) == half(path).text()


@pytest.mark.page_cache
def test_shades_keep_nothing_and_all_apart(path: Path) -> None:
    evict(path)
    read_pages(path, 0, *range(64, 127), *range(128, 192))
    drawn = "".join(shade for shade, _ in cells(residency_of(path, buckets=256), 4))
    assert drawn == "░▓█·"


@needs_cachestat
def test_dirty_cells_are_told(cold: Path) -> None:
    found = dirtied(mmapio.open(cold, "r+", dtype="u1"), slice(-1, None))
    assert [dirty for _, dirty in cells(found, 4)] == [False, False, False, True]
    assert f", {size(PAGE)} dirty" in found.figures()
    assert repr(found).endswith(f", {size(PAGE)} dirty>")


@pytest.mark.page_cache
def test_json(path: Path) -> None:
    with mmapio.MappedFile.open(path) as mapping:
        found = mapping.residency(buckets=3)
        entry = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert entry["path"] == str(path)
    assert (entry["length"], entry["resident"], entry["fraction"]) == (SIZE, SIZE, 1)
    assert entry["map"] == [1, 1, 1]
    assert set(entry) == {*vars(found), "fraction"}


def test_a_plot_shows_where_it_is(path: Path) -> None:
    from matplotlib.figure import Figure

    report = half(path)
    ax = report.plot(Figure().subplots())
    (image,) = ax.images
    colours = np.asarray(image.get_array())
    assert colours.shape == (1, 128, 3)
    assert image.get_extent() == [0, SIZE, 0, 1]
    assert len(np.unique(colours[0, :64], axis=0)) == 1
    assert len(np.unique(colours[0, 64:], axis=0)) == 1
    assert colours[0, 0].mean() > colours[0, -1].mean()
    assert ax.get_title("left") == "file.bin"
    assert ax.get_title("right") == f"50.0% of {size(SIZE)} in memory"


def test_a_picture_of_several(path: Path, tmp_path: Path) -> None:
    (tmp_path / "$empty$").touch()
    reports = [half(path), residency_of(tmp_path / "$empty$")]
    reports.append(mmapio.anonymous(3 * PAGE, "u1").residency())
    picture = tmp_path / "picture.png"
    figure = picture_of(reports)
    figure.savefig(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [ax.get_title("right").partition("%")[0] for ax in figure.axes] == [
        "50.0",
        "empty",
        "0.0",
    ]


def test_a_plot_without_matplotlib(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.pyplot", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(mmapio.MissingExtraError, match=r"pip install 'mmapio\[plot\]'"):
        residency_of(path).plot()


def test_a_report_is_not_imported_before_it_is_asked_for(run_python: Callable[..., str]) -> None:
    name = "mmapio.pagecache.residency"
    code = f"import sys, mmapio; print({name!r} in sys.modules, mmapio.Residency.__name__)"
    assert run_python(code) == "False Residency\n"


@pytest.mark.parametrize(
    "name", ["cache_facts", "sees_cache", "resident", "memory_use", "identify"]
)
@pytest.mark.parametrize("of_path", [False, True])
def test_an_error_of_the_system_is_one_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, of_path: bool
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)
    m = mmapio.MappedFile.open(path)
    fds = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(_os, name, fail)
    if name in ("resident", "sees_cache"):  # which are asked where the cache's own figures lack

        def lack(*_: object) -> None:
            raise OSError(errno.ENOTSUP, "not told")

        monkeypatch.setattr(_os, "cache_facts", lack)
    if (name == "memory_use") and of_path:
        residency_of(path)
        return
    with pytest.raises(mmapio.FileError, match="broken") as caught:
        residency_of(path) if of_path else m.residency()
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(path))
    assert not fds or len(os.listdir("/proc/self/fd")) == fds
