"""Files behind addresses, and rings of reads."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmapio import _os

PAGE = _os.PAGE_SIZE

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems report no such thing")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a file"
    path.write_bytes(bytes(range(256)) * (4 * PAGE // 256))
    return path


def mapped(path: Path, mode: Any = "r", offset: int = 0) -> NDArray[np.uint8]:
    a: NDArray[np.uint8] = np.memmap(path, "u1", mode, offset=offset)
    return a


@linux
def test_a_file_behind_memory(path: Path) -> None:
    a, facts = mapped(path, offset=PAGE), os.stat(path)
    place = _os.file_at(a.ctypes.data + 100, PAGE)
    assert place is not None
    assert place.path == str(path)
    assert place.inode == facts.st_ino
    assert place.offset == PAGE + 100
    device = os.major(facts.st_dev), os.minor(facts.st_dev)
    assert (place.device_major, place.device_minor) == device


@linux
def test_memory_that_is_not_all_of_one_file(path: Path) -> None:
    assert _os.file_at(np.zeros(9).ctypes.data, 9) is None
    private = mapped(path, "c")
    assert _os.file_at(private.ctypes.data, 9) is None
    a = mapped(path)
    assert _os.file_at(a.ctypes.data, 1 << 40) is None
    fd = os.open(path, os.O_RDONLY)
    try:
        area = _os.map_anonymous(3 * PAGE)
        _os.map_file_at(fd, 0, area, PAGE, _os._contract.Access.READ)
        assert _os.file_at(area, PAGE) is not None
        assert _os.file_at(area, PAGE + 1) is None
        _os.map_file_at(fd, 2 * PAGE, area + PAGE, PAGE, _os._contract.Access.READ)
        assert _os.file_at(area, PAGE + 1) is None
        _os.unmap(area, 3 * PAGE)
    finally:
        os.close(fd)


def test_a_ring_is_made_or_refused() -> None:
    try:
        plan = _os.ring_setup(8)
    except OSError as error:
        refusal = error.errno
        pytest.skip(f"no rings here: {errno.errorcode.get(refusal or 0)}")
    os.close(plan.fd)
    assert plan.entries == 8
    assert plan.room >= 8
    assert plan.done + 16 * plan.room <= plan.length


def test_what_is_no_ring_cannot_be_entered() -> None:
    with pytest.raises(OSError, match=r".+"):
        _os.ring_enter(-1, 0, 0)
