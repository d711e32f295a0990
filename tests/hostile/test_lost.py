"""Files that are lost under their mappings: an error from each operation, never a death."""

from __future__ import annotations

import errno
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import MappedArray, MappedFile, MappingLostError, _os, kernels
from mmapio.errors import FileError, ReplacedError

pytestmark = pytest.mark.skipif(
    mmapio.guard.why_not() is not None, reason=str(mmapio.guard.why_not())
)

PAGE = _os.PAGE_SIZE
PAGES = 20
LEFT = 5 * PAGE + 123  # what a truncated file still has
CONTENT = np.arange(PAGES * PAGE, dtype="u1").tobytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    return path


def cut(path: Path, size: int = LEFT) -> None:
    os.truncate(path, size)


# Every operation ----------------------------------------------------------------------------------

OF_MAPPINGS: dict[str, Callable[[MappedFile], Any]] = {
    "read": lambda m: m.read(),
    "read_into": lambda m: m.read_into(PAGE, bytearray(10 * PAGE)),
    "write": lambda m: m.write(8 * PAGE, bytes(PAGE)),
    "chunks": lambda m: list(m.chunks(1000, copy=True)),
    "pages": lambda m: list(m.pages(copy=True)),
    "segment": lambda m: m.segment(10 * PAGE, 10).read(),
    "segment write": lambda m: m.segment(10 * PAGE, 10).write(0, b"a"),
    "reader": lambda m: m.reader().readall(),
    "buffered reader": lambda m: io.BufferedReader(m.reader(), 3 * PAGE).read(),
    "flush": lambda m: m.flush(),
    "touch_pages": lambda m: m.touch_pages(),
    "touch_pages to write": lambda m: m.touch_pages(write=True, threads=2),
    "check": lambda m: m.check(),
}


@pytest.mark.parametrize("operation", OF_MAPPINGS.values(), ids=OF_MAPPINGS)
def test_an_operation_that_meets_a_loss_tells_what_and_why(
    path: Path, operation: Callable[[MappedFile], Any]
) -> None:
    m = MappedFile.open(path, "r+")
    operation(m)
    cut(path)
    with pytest.raises(MappingLostError, match="another program has cut the file off") as caught:
        operation(m)
    error = caught.value
    assert isinstance(error, OSError)
    assert (error.filename, error.cause, error.errno) == (str(path), "truncated", errno.ENODATA)
    assert LEFT <= error.start < error.stop == len(CONTENT)
    assert m.read(0, LEFT) == CONTENT[:LEFT] or b"\0" in m.read(0, LEFT)  # what is left is there


OF_ARRAYS: dict[str, Callable[[MappedArray], Any]] = {
    "sum": kernels.sum,
    "sum of columns": lambda a: kernels.sum(a.reshape(-1, 4), axis=0),
    "mean": kernels.mean,
    "std": kernels.std,
    "var": kernels.var,
    "min": kernels.min,
    "max": kernels.max,
    "minmax": kernels.minmax,
    "argmin": kernels.argmin,
    "argmax": lambda a: kernels.argmax(a[::3]),
    "count": lambda a: kernels.count(a, 7),
    "count_nonzero": kernels.count_nonzero,
    "find": lambda a: kernels.find(a, np.arange(99, dtype="u1").tobytes() + b"x"),
    "find_all": lambda a: kernels.find_all(a, 7),
    "histogram": kernels.histogram,
    "byte_counts": kernels.byte_counts,
    "checksum": kernels.checksum,
    "describe": kernels.describe,
    "gather": lambda a: kernels.gather(a.reshape(-1, PAGE), [1, 2, 15]),
    "scatter": lambda a: kernels.scatter(a.reshape(-1, PAGE), [15], np.zeros((1, PAGE), "u1")),
    "scatter_add": lambda a: kernels.scatter_add(a, [1, 15 * PAGE], [1, 1]),
    "touch_pages": lambda a: a.touch_pages(),
    "save": lambda a: mmapio.save(f"{a.filename}.npy", a),
    "save of columns": lambda a: mmapio.save(f"{a.filename}.npy", a.reshape(-1, PAGE)[:, :100]),
    "flush": lambda a: a.flush(),
    "check": lambda a: a.check(),
}


@pytest.mark.parametrize("operation", OF_ARRAYS.values(), ids=OF_ARRAYS)
def test_an_operation_on_an_array_that_is_lost_says_so(
    path: Path, operation: Callable[[MappedArray], Any]
) -> None:
    a = mmapio.open(path, "r+", dtype="u1")
    operation(a)
    cut(path)
    with pytest.raises(MappingLostError) as caught:
        operation(a)
    assert caught.value.cause == "truncated"
    assert caught.value.filename == str(path)
    assert sorted(each.name for each in path.parent.iterdir()) in (
        ["file.bin"],
        ["file.bin", "file.bin.npy"],
    )


def test_buffers_of_a_mapping_are_known_to_be_of_it(path: Path) -> None:
    m = MappedFile.open(path)
    arrays = [np.frombuffer(m, "u1"), np.asarray(m), np.frombuffer(memoryview(m), "<u4")[::2]]
    cut(path)
    for each in arrays:
        with pytest.raises(MappingLostError):
            kernels.sum(each)


def test_what_lies_before_the_loss_is_read_without_an_error(path: Path) -> None:
    a = mmapio.open(path, "r+", dtype="u1")
    cut(path)
    with pytest.raises(MappingLostError):
        kernels.sum(a)
    whole = LEFT // PAGE * PAGE
    assert kernels.sum(a[:whole]) == np.frombuffer(CONTENT[:whole], "u1").sum(dtype="u8")
    a[:whole].check()
    assert a.mapping is not None
    assert a.mapping.read(0, whole) == CONTENT[:whole]


def test_a_loss_in_one_mapping_is_none_in_another(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(CONTENT)
    a, b = (mmapio.open(each, dtype="u1") for each in (path, other))
    cut(path)
    assert a[-1] == 0  # the fault
    assert kernels.sum(b) == np.frombuffer(CONTENT, "u1").sum(dtype="u8")
    b.check()
    with pytest.raises(MappingLostError):
        kernels.sum(a)


# Plain numpy, in a `guard` block ------------------------------------------------------------------


def test_a_guarded_block_raises_at_its_end(path: Path) -> None:
    a = mmapio.open(path, dtype="u1")
    with a.guard():
        assert a.sum() == np.frombuffer(CONTENT, "u1").sum()
    sums: list[int] = []

    def use() -> None:
        cut(path)
        sums.append(int(a[LEFT:].sum()))

    with pytest.raises(MappingLostError) as caught, a.guard():
        use()
    assert sums == [0]
    assert (caught.value.start, caught.value.stop) == (LEFT, len(CONTENT))


def test_an_error_that_lost_bytes_led_to_is_the_cause(path: Path) -> None:
    m = MappedFile.open(path)
    with pytest.raises(MappingLostError) as caught, m.guard():
        cut_and_divide(m, path)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    fine = MappedFile.anonymous(1)
    with pytest.raises(ZeroDivisionError), fine.guard():
        cut_and_divide(fine, path)


def cut_and_divide(m: MappedFile, path: Path) -> float:
    cut(path)
    return 1 / float(m.view()[-1].item())


def test_a_slice_guards_only_itself(path: Path) -> None:
    a = mmapio.open(path, dtype="u1")
    part = a[:PAGE]
    with part.guard():
        cut(path)
        assert part.sum() == np.frombuffer(CONTENT[:PAGE], "u1").sum()


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_stores_and_loads_of_each_mode_survive(path: Path, mode: str) -> None:
    a = mmapio.open(path, mode, dtype="u1")

    def use() -> None:
        cut(path, 0)
        if mode != "r":
            a[::PAGE] = 7
        a.sum()

    with pytest.raises(MappingLostError), a.guard():
        use()


def test_system_calls_on_lost_pages_are_told_as_well(path: Path, tmp_path: Path) -> None:
    a = mmapio.open(path, dtype="u1")

    def write() -> None:
        cut(path, 0)
        (tmp_path / "out").write_bytes(memoryview(a))

    with pytest.raises(MappingLostError) as caught, a.guard():
        write()
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFAULT


# Losses without a signal --------------------------------------------------------------------------


def test_the_page_of_the_end_is_checked_at_every_length(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    for gone in range(1, PAGE + 1):
        cut(path, len(CONTENT) - gone)
        with pytest.raises(MappingLostError) as caught:
            m.check()
        assert caught.value.start == len(CONTENT) - gone
        if gone % 100 == 1:
            with pytest.raises(MappingLostError):
                m.flush()
        m.check(0, len(CONTENT) - gone)


@pytest.mark.parametrize("left", [0, 1, PAGE, LEFT])
def test_a_file_that_was_cut_and_grew_again_is_noticed(path: Path, left: int) -> None:
    m = MappedFile.open(path, "r+")
    cut(path, left)
    cut(path, len(CONTENT))
    with pytest.raises(MappingLostError, match="grew it again"):
        m.check()
    with pytest.raises(MappingLostError, match="grew it again"):
        m.flush()
    m.recover()  # holes are known of from here on
    m.check()


@pytest.mark.parametrize("mode", ["r", "r+"])
@pytest.mark.parametrize("grow", [cut, lambda path, size: allocated(path, size)])
def test_a_cut_that_was_seen_is_not_forgotten_when_the_file_grows(
    path: Path, mode: str, grow: Callable[[Path, int], object]
) -> None:
    m = MappedFile.open(path, mode)
    cut(path, LEFT)
    with pytest.raises(MappingLostError):
        m.check()
    grow(path, len(CONTENT))  # with as many blocks as before, maybe
    for _ in range(2):
        m.check(0, LEFT - PAGE)
        with pytest.raises(MappingLostError, match="grew it again"):
            m.check()
    m.recover()
    m.check()


def allocated(path: Path, size: int) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        _os.allocate(fd, 0, size)
    finally:
        os.close(fd)


def look(m: MappedFile) -> None:
    m.check()


def look_in_a_block(m: MappedFile) -> None:
    with m.guard():
        pass


LOOKS: dict[str, Callable[[MappedFile], Any]] = {
    "check": look,
    "flush": lambda m: m.flush(),
    "guard": look_in_a_block,
}


@pytest.mark.parametrize("looks", [0, 1, 2])
@pytest.mark.parametrize("operation", LOOKS.values(), ids=LOOKS)
def test_a_file_that_was_made_anew_is_noticed_until_somebody_accepts_it(
    path: Path, operation: Callable[[MappedFile], Any], looks: int
) -> None:
    m = MappedFile.open(path, "r+")
    for _ in range(looks):
        operation(m)
    np.memmap(path, "u1", "w+", shape=len(CONTENT))[-5:] = 0  # the last page has its block
    for _ in range(2):
        with pytest.raises(
            MappingLostError, match=r"grew it again; recover\(\) takes it"
        ) as caught:
            operation(m)
    assert (caught.value.start, caught.value.cause) == (0, "truncated")
    assert m.recover() == 0
    operation(m)


def dig(path: Path, start: int, stop: int) -> None:
    """Give back the blocks of zeros, as `fallocate --dig-holes` does."""
    with open(path, "r+b") as file:
        file.seek(start)
        assert not file.read(stop - start).strip(b"\0")
        _os.punch_hole(file.fileno(), start, stop - start)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize(
    ("start", "stop"), [(5, 9), (0, 9), (5, PAGES), (PAGES - 1, PAGES), (0, PAGES)]
)
@pytest.mark.parametrize("operation", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize("looks", [0, 1])
def test_blocks_alone_are_no_loss(
    path: Path,
    operation: Callable[[MappedFile], Any],
    start: int,
    stop: int,
    mode: str,
    looks: int,
) -> None:
    content = np.frombuffer(CONTENT, "u1").copy()
    content[start * PAGE : stop * PAGE] = 0
    path.write_bytes(content.tobytes())
    m = MappedFile.open(path, mode)
    for _ in range(looks):
        operation(m)
    dig(path, start * PAGE, stop * PAGE)
    for _ in range(3):
        operation(m)
    assert m.read() == content.tobytes()
    with open(path, "r+b") as file:
        file.write(CONTENT)
    m.check()
    cut(path, 0)
    cut(path, len(CONTENT))
    with pytest.raises(MappingLostError, match="grew it again"):
        m.check()


def test_zeros_that_were_stored_may_be_dug_out_again_and_again(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    data = m.view()
    m.flush()
    for low in range(PAGES):
        data[low * PAGE :] = 0
        dig(path, low * PAGE, len(CONTENT))
        m.flush()
        m.check()
        data[low * PAGE :] = np.arange(len(CONTENT) - low * PAGE)
        with m.guard():
            data[-1] = 7
    del data


def test_a_file_with_holes_is_watched_from_the_first_look_on(path: Path) -> None:
    with open(path, "r+b") as file:
        _os.punch_hole(file.fileno(), 5 * PAGE, 5 * PAGE)
    m = MappedFile.open(path, "r+")
    m.check()
    cut(path, 12 * PAGE)
    cut(path, len(CONTENT))
    with pytest.raises(MappingLostError, match="grew it again"):
        m.check()
    with pytest.raises(MappingLostError, match="grew it again") as caught:
        m.check(12 * PAGE, 1)
    assert caught.value.start == 12 * PAGE


def test_what_is_before_the_cut_is_whole(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    m.check()
    cut(path)
    cut(path, len(CONTENT))
    m.check(0, 5 * PAGE)
    for offset in (LEFT, 6 * PAGE, len(CONTENT) - 1):
        with pytest.raises(MappingLostError) as caught:
            m.check(offset, 1)
        assert caught.value.start == offset
    with pytest.raises(MappingLostError) as caught:
        m.check()
    assert LEFT - PAGE < caught.value.start <= LEFT


def test_what_was_written_again_is_whole(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    m.check()
    with open(path, "wb") as file:
        file.seek(10 * PAGE)
        file.write(CONTENT[10 * PAGE :])
    m.check(11 * PAGE)
    for offset in (0, 9 * PAGE):
        with pytest.raises(MappingLostError, match="grew it again") as caught:
            m.check(offset)
        assert caught.value.start == offset


def test_a_file_that_was_written_again_holds_what_was_written(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    for byte in b"abc":
        m.check()
        path.write_bytes(bytes([byte]) * len(CONTENT))
        m.check()
        assert m.read(0, 1) == bytes([byte])
    m.check()
    cut(path, PAGE)
    cut(path, len(CONTENT))
    with pytest.raises(MappingLostError, match="grew it again"):
        m.check()


def test_another_file_at_the_path_is_noticed(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    mmapio.copy(path, path)
    for operation in (m.check, m.flush):
        with pytest.raises(ReplacedError):
            operation()
    assert m.read() == CONTENT
    path.unlink()
    m.check()  # nobody can expect what is stored to be found
    m.flush()


@pytest.mark.parametrize("reserve", [True, False])
def test_own_changes_of_the_size_are_no_losses(path: Path, reserve: bool) -> None:
    m = MappedFile.open(path, "r+", reserve=reserve)
    for size in (PAGE, 30 * PAGE, 3, 7 * PAGE + 1, 0, 40 * PAGE):
        m.resize(size)
        m.check()
        m.flush()
        assert len(m.read()) == size


# Back again ---------------------------------------------------------------------------------------


def test_a_file_that_is_whole_again_is_mapped_again(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    view = m.view()
    cut(path)
    with pytest.raises(MappingLostError):
        m.read()
    assert view[-1] == 0
    path.write_bytes(b"x" * len(CONTENT))
    with pytest.raises(MappingLostError):
        m.read()  # until somebody has seen it
    assert m.recover() > 0
    m.check()
    assert m.read() == b"x" * len(CONTENT)
    view[-1] = 7
    assert path.read_bytes()[-1] == 7
    assert m.recover() == 0


def test_what_is_still_gone_stays_lost(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    cut(path, 0)
    with pytest.raises(MappingLostError):
        m.read()
    path.write_bytes(CONTENT[: 10 * PAGE])
    assert m.recover() == 10 * PAGE
    assert m.read(0, 10 * PAGE) == CONTENT[: 10 * PAGE]
    with pytest.raises(MappingLostError) as caught:
        m.read()
    assert caught.value.start == 10 * PAGE
    path.write_bytes(CONTENT)
    m.recover()
    assert m.read() == CONTENT


def test_a_copy_on_write_mapping_is_recovered_as_one(path: Path) -> None:
    m = MappedFile.open(path, "c")
    cut(path, 0)
    assert m.view()[-1] == 0
    path.write_bytes(CONTENT)
    m.recover()
    m.write(0, b"mine")
    assert m.read(0, 4) == b"mine"
    assert path.read_bytes() == CONTENT


def test_growth_maps_what_was_lost_past_the_end(path: Path) -> None:
    m = MappedFile.open(path, "r+", capacity=100 * PAGE)
    spare = m._region.bytes()  # as a kernel that runs past the end would see it
    assert spare[50 * PAGE] == 0
    m.resize(60 * PAGE)
    m.write(50 * PAGE, b"kept")
    assert path.read_bytes()[50 * PAGE :][:4] == b"kept"
    m.check()
    assert m.read(50 * PAGE, 4) == b"kept"


def test_a_closed_mapping_has_nothing_to_check(path: Path) -> None:
    m = MappedFile.open(path)
    m.close()
    for operation in (m.check, m.guard, m.recover):
        with pytest.raises(mmapio.ClosedError):
            operation()
    copy = mmapio.open(path, dtype="u1") + 1
    assert type(copy) is np.ndarray


# How it is mapped ---------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1, PAGE, 2 * PAGE - 1])
@pytest.mark.parametrize("left", [0, 3 * PAGE, 3 * PAGE + 1])
def test_offsets_are_those_of_the_file(path: Path, offset: int, left: int) -> None:
    m = MappedFile.open(path, "r", offset=offset, length=10 * PAGE + 1)
    cut(path, left)
    with pytest.raises(MappingLostError) as caught:
        m.read()
    assert (caught.value.start, caught.value.stop) == (max(left, offset), offset + m.size)


def test_a_descriptor_without_a_path_is_enough(path: Path) -> None:
    with open(path, "rb") as file:
        m = MappedFile.from_fd(file.fileno())
    cut(path)
    with pytest.raises(MappingLostError) as caught:
        m.read()
    assert caught.value.filename is None
    assert caught.value.start == LEFT


def test_a_file_that_lost_its_name_is_lost_page_by_page(path: Path) -> None:
    m = MappedFile.open(path)
    fd = os.open(path, os.O_RDWR)
    path.unlink()
    os.ftruncate(fd, LEFT)
    os.close(fd)
    with pytest.raises(MappingLostError):
        m.read()


def test_the_size_of_another_file_at_the_path_is_not_taken_for_its_own(path: Path) -> None:
    m = MappedFile.open(path)
    with open(path, "r+b") as file:
        path.unlink()
        path.write_bytes(b"short")
        file.truncate(LEFT)
        with pytest.raises(MappingLostError):
            m.read(10 * PAGE, 1)
        file.write(b"z" * len(CONTENT))
        file.flush()
        assert m.read(11 * PAGE, 1) == b"z"  # only the page that was met is lost


def test_a_mapping_that_was_sent_is_guarded_too(path: Path) -> None:
    m = pickle.loads(pickle.dumps(MappedFile.open(path)))
    cut(path)
    with pytest.raises(MappingLostError):
        m.read()


def test_a_moved_mapping_is_guarded_in_both_places(path: Path) -> None:
    m = MappedFile.open(path, "r+")
    old = m.view()
    m.resize(1000 * PAGE, force=True)
    cut(path)
    assert old[-1] == 0
    with pytest.raises(MappingLostError):
        kernels.sum(old)
    with pytest.raises(MappingLostError):
        m.read()
    path.write_bytes(bytes(b"y" * 1000 * PAGE))
    m.recover()
    assert (old[-1], m.view()[-1]) == (ord("y"), ord("y"))


def test_the_pages_in_its_place_have_the_same_rights(path: Path, run_python: Any) -> None:
    code = f"""
import ctypes, os, sys, mmapio
m = mmapio.MappedFile.open({str(path)!r})
address = m.view().ctypes.data
os.truncate({str(path)!r}, 0)
assert m.view()[0] == 0
pid = os.fork()
if pid == 0:
    ctypes.memset(address, 1, 1)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert run_python(code).strip() == "-11"


# Without the guard --------------------------------------------------------------------------------

DIES = """
import os, sys, mmapio
m = mmapio.MappedFile.open(sys.argv[1], guard=sys.argv[2] == "on")
print(m.guarded, flush=True)
os.truncate(sys.argv[1], 0)
m.read()
"""


@pytest.mark.parametrize(("option", "variable"), [("off", "1"), ("on", "0"), ("off", "0")])
def test_it_can_be_switched_off(path: Path, option: str, variable: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DIES, str(path), option],
        env=os.environ | {"MMAPIO_GUARD": variable},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (-7, b"False")


def test_without_it_sizes_are_still_compared(path: Path, run_python: Any) -> None:
    code = """
import os, sys, mmapio
m = mmapio.MappedFile.open(sys.argv[1])
os.truncate(sys.argv[1], 0)
try:
    with m.guard():
        raise SystemExit("entered")
except mmapio.MappingLostError as error:
    print(error.cause)
"""
    assert run_python(code, str(path), MMAPIO_GUARD="0") == "truncated\n"


# Disks --------------------------------------------------------------------------------------------


def test_a_full_disk_under_a_file_with_holes(small_tmpfs: Callable[[str], Path]) -> None:
    disk = small_tmpfs("1m")
    a = mmapio.create(disk / "a.bin", 8 << 20, "u1", raw=True, reserve=False)
    with pytest.raises(MappingLostError, match="no space on the disk") as caught, a.guard():
        a[:] = 1
    assert (caught.value.errno, caught.value.cause) == (errno.ENOSPC, "no space")
    assert caught.value.start >= 256 << 10
    os.truncate(disk / "a.bin", 0)
    os.truncate(disk / "a.bin", 8 << 20)
    a.recover()
    a.check()
    a[-100:] = 3
    a[-100:].flush()


def test_a_full_ext4_under_a_file_with_holes(small_ext4: Callable[[int], Any]) -> None:
    disk = small_ext4(8).folder
    m = MappedFile.open(disk / "a.bin", "x+", 32 << 20, reserve=False)
    data = np.ones(32 << 20, "u1")
    with pytest.raises(MappingLostError) as caught:
        m.write(0, data)
    assert caught.value.cause == "no space"
    (disk / "other").write_bytes(b"")  # the file system still works


def test_every_other_page_is_lost_to_a_full_disk(small_tmpfs: Callable[[str], Path]) -> None:
    """More holes than a process may have areas of memory: all of it is given up then."""
    limit = int(Path("/proc/sys/vm/max_map_count").read_text())
    pages = 2 * limit + 100
    if limit > 100_000:
        pytest.skip(f"vm.max_map_count is {limit}: this would take too long")
    disk = small_tmpfs("64k")
    a = mmapio.create(disk / "a.bin", pages * PAGE, "u1", raw=True, reserve=False)
    with pytest.raises(MappingLostError), a.guard():
        a[::-1][:: 2 * PAGE] = 1
    a.close()


def test_a_drive_that_fails(small_ext4: Callable[[int], Any]) -> None:
    disk = small_ext4(32)
    path = disk.folder / "a.bin"
    path.write_bytes(os.urandom(24 << 20))
    subprocess.run(["sync", "--file-system", str(disk.folder)], check=True)
    m = MappedFile.open(path)
    os.truncate(disk.image, 4 << 20)
    subprocess.run(["losetup", "--set-capacity", disk.device], check=True)
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    Path("/proc/sys/vm/drop_caches").write_text("1")
    with pytest.raises(FileError) as caught:
        m.read()
    assert isinstance(caught.value, MappingLostError)
    assert (caught.value.cause, caught.value.errno) == ("I/O error", errno.EIO)
