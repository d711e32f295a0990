"""Room in memory: what is refused, and what says so."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from mmapio import MappedFile, _os, kernels
from mmapio.errors import InsufficientMemoryError
from mmapio.pagecache.memory_room import bytes_to_come, check_room

MIB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is there")


def check(nbytes: int, to_come: int) -> None:
    check_room(nbytes, "keep", lambda: "take less", lambda: to_come)


def test_a_part_of_what_is_available_is_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_os, "available_memory", lambda: 160 * MIB)
    check(150 * MIB, 150 * MIB)
    check(500 * MIB, 150 * MIB)
    check(MIB, MIB << 20)  # so little is not asked about
    said = r"cannot keep 151.00 MiB with 160.00 MiB of memory available; take less"
    with pytest.raises(InsufficientMemoryError, match=said):
        check(151 * MIB, 151 * MIB)
    said = r"keep 500.00 MiB, 151.00 MiB of which are still to come, with"
    with pytest.raises(InsufficientMemoryError, match=said):
        check(500 * MIB, 151 * MIB)
    monkeypatch.setattr(_os, "available_memory", lambda: None)
    check(MIB << 20, MIB << 20)


@linux
def test_what_is_larger_than_the_machine_is_refused_without_a_look_at_each_page() -> None:
    def count() -> int:
        raise AssertionError("it would take a minute")

    with pytest.raises(InsufficientMemoryError, match=r"cannot keep 4.00 EiB with"):
        check_room(1 << 62, "keep", lambda: "take less", count)
    m = MappedFile.anonymous(1 << 44)
    for call in (m.lock, lambda: m.advise("populate_write"), lambda: m.advise("populate_read")):
        with pytest.raises(InsufficientMemoryError, match=r"16.00 TiB with"):
            call()


@linux
def test_pages_that_are_there_are_not_to_come(tmp_path: Path) -> None:
    m = MappedFile.open(tmp_path / "file", "x+", size=4 * MIB, reserve=False)
    m.advise("random")  # reads nothing ahead
    address, nbytes = m._region.whole_pages(0, m.size)
    assert bytes_to_come(address, nbytes) == 4 * MIB
    m.write(0, bytes(MIB))
    assert bytes_to_come(address, nbytes) == 3 * MIB
    assert bytes_to_come(address, nbytes, counts_cached=False) == 4 * MIB
    m.lock(MIB, MIB)
    assert bytes_to_come(address, nbytes, counts_cached=False) == 3 * MIB


@linux
def test_private_pages_are_there_when_they_were_copied(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(4 * MIB))
    m = MappedFile.open(tmp_path / "file", "c")
    address, nbytes = m._region.whole_pages(0, m.size)
    assert bytes_to_come(address, nbytes) == 0
    assert bytes_to_come(address, nbytes, writing=True) == 4 * MIB
    m.view()[:MIB] = 1
    assert bytes_to_come(address, nbytes, writing=True) == 3 * MIB


@linux
@pytest.mark.parametrize("write", [False, True])
def test_arrays_of_others_are_looked_at_too(monkeypatch: pytest.MonkeyPatch, write: bool) -> None:
    with mmap.mmap(-1, 24 * MIB) as memory:
        a = np.frombuffer(memory, "u1")
        monkeypatch.setattr(_os, "available_memory", lambda: 16 * MIB)
        with pytest.raises(InsufficientMemoryError, match=r"touch_pages\(..., force=True\)"):
            kernels.touch_pages(a, write=write)
        assert bytes_to_come(a.ctypes.data, a.nbytes) == 24 * MIB  # none was touched
        kernels.touch_pages(a, write=write, force=True)
        kernels.touch_pages(a, write=write)
        del a
