"""Address space of growable arrays: how much they take, where there is a limit and where not."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmapio import GrowableArray, _os
from mmapio.errors import FileError
from mmapio.modes import Access

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux limits address space, and tells how much is used"
)

SHARES = """
import resource, sys, numpy as np, mmapio
used = lambda: int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
mmapio.create(sys.argv[1], 1)  # and so all that is compiled
limit = used() + (512 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
path = sys.argv[1] + "{}.npy"
arrays = [mmapio.GrowableArray.open(path.format(n), "w+", dtype="u1") for n in range(10)]
np.ones(256 << 20, "u1")  # there is room for others
g = mmapio.GrowableArray.open(path.format(10), "w+", dtype="u1", capacity="128 MiB")
print(g.mapping.capacity >> 20)
g = mmapio.GrowableArray.open(path.format(11), "w+", dtype="u1", capacity="8 GiB")
assert limit - used() > 256 << 20, used()
g, old = arrays[0], []
assert g.mapping.capacity < 16 << 20
block = np.arange(4 << 20, dtype="u4").astype("u1")
for number in range(25):  # past its share it moves; at last there is no room for twice as much
    g.extend(block)
    old.append(g.array[:: 1 << 20].sum())
    assert old[-1] == old[0] * (number + 1), number
g.commit()
print(len(g) >> 20)
"""


def test_a_small_share_is_taken_of_what_is_left(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    printed = run_python(SHARES, str(tmp_path / "grown"))
    assert printed.split() == ["128", "100"]


def test_all_of_it_is_taken_where_there_is_no_limit(tmp_path: Path) -> None:
    if _os.address_space_left() is not None:
        pytest.skip("this process has a limit")
    with GrowableArray.open(tmp_path / "a.npy", "w+", dtype="u1") as g:
        assert g.mapping.capacity >= 64 << 30
    with GrowableArray.open(tmp_path / "a.npy", "r+", capacity=1 << 20) as g:
        assert g.mapping.capacity == 1 << 20


def test_it_moves_without_room_to_spare_if_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = _os.map_file

    def map_file(fd: int, offset: int, length: int, access: Access) -> int:
        if length > 1 << 20:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return real(fd, offset, length, access)

    monkeypatch.setattr(_os, "map_file", map_file)
    with GrowableArray.open(tmp_path / "a.npy", "w+", dtype="u1") as g:
        g.extend([7] * 1_000_000)
        assert g.array.sum() == 7_000_000
        g.extend([7] * 100_000)
        with pytest.raises(FileError, match="Cannot allocate memory"):
            _ = g.array
        monkeypatch.undo()
        assert g.array.sum() == 7_700_000
