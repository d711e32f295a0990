"""Losses found by address: whatever stands between an array and its mapping."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided, sliding_window_view

import mmapio
from mmapio import MappedArray, MappedFile, MappingLostError, guard, kernels
from mmapio.guard import lost_memory

needs_guard = pytest.mark.skipif(guard.why_not() is not None, reason=str(guard.why_not()))

ITEMS = 100_000
PAGE = mmapio._os.PAGE_SIZE

# Other arrays over the memory of one, by ways that leave no, or a foreign, chain of bases.
WAYS: dict[str, Callable[[Any], np.ndarray[Any, Any]]] = {
    "itself": lambda a: a,
    "a slice": lambda a: a[1:],
    "ndarray": lambda a: a.ndarray,
    "as_strided": lambda a: as_strided(a, (ITEMS // 2,), (16,)),
    "windows": lambda a: sliding_window_view(a, 4)[::4],
    "broadcast": lambda a: np.broadcast_to(a, (2, ITEMS)),
    "dlpack": lambda a: np.from_dlpack(a.ndarray),
    "memoryview": lambda a: np.asarray(memoryview(a)),
    "frombuffer": lambda a: np.frombuffer(a, a.dtype),
    "ctypes": lambda a: np.ctypeslib.as_array(np.ctypeslib.as_ctypes(a)),
    "interface": lambda a: np.asarray(Exporter(a)),
    "nditer": lambda a: next(iter(np.nditer(a, flags=["external_loop"]))),
}


class Exporter:
    """Shows an array's memory as other libraries do, and itself as the base of what is made."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.__array_interface__ = array.__array_interface__


@pytest.fixture
def array(tmp_path: Path) -> MappedArray:
    array = mmapio.create(tmp_path / "ones.npy", ITEMS)
    array[:] = 1
    return array


@needs_guard
@pytest.mark.parametrize("way", WAYS)
def test_a_kernel_finds_the_loss(array: MappedArray, way: str) -> None:
    other = WAYS[way](array)
    assert kernels.sum(other) == other.size
    os.truncate(str(array.filename), ITEMS * 4)
    with pytest.raises(MappingLostError, match="another program has cut the file off"):
        kernels.sum(other)


@needs_guard
@pytest.mark.parametrize("way", WAYS)
def test_a_file_is_not_saved_half(array: MappedArray, way: str, tmp_path: Path) -> None:
    other, kept = WAYS[way](array), tmp_path / "kept.npy"
    mmapio.save(kept, np.arange(5))
    os.truncate(str(array.filename), ITEMS * 4)
    with pytest.raises(MappingLostError):
        mmapio.save(kept, other)
    assert np.load(kept).tolist() == [0, 1, 2, 3, 4]


@needs_guard
def test_buffers_of_a_mapping(tmp_path: Path) -> None:
    """Since Python 3.12 they have a base of Python's own."""
    for make in (np.asarray, lambda m: np.frombuffer(m, "u1"), lambda m: np.asarray(memoryview(m))):
        m = MappedFile.open(tmp_path / "bytes", "w+", size=10 * PAGE)
        other = make(m)
        os.truncate(tmp_path / "bytes", 0)
        with pytest.raises(MappingLostError):
            kernels.sum(other)


@needs_guard
def test_only_the_range_that_was_asked_for_counts(array: MappedArray) -> None:
    address = array.ctypes.data
    os.truncate(str(array.filename), ITEMS * 4)
    assert array[-1] == 0
    lost_memory.raise_if_lost(address, PAGE)
    lost_memory.raise_if_lost(address + array.nbytes - 8, 0)
    with pytest.raises(MappingLostError) as raised:
        lost_memory.raise_if_lost(address + array.nbytes - 8, 8)
    assert raised.value.stop <= array.nbytes + 128
    other = mmapio.anonymous(ITEMS)
    lost_memory.raise_if_lost(other.ctypes.data, other.nbytes)
    lost_memory.raise_if_array_lost(other)
    lost_memory.raise_if_array_lost("no array")


@needs_guard
def test_memory_that_was_another_mapping_is_not_lost(tmp_path: Path) -> None:
    """A row of the guard's table, and an address, are used again."""
    for number in range(20):
        m = MappedFile.open(tmp_path / f"{number}", "w+", size=10 * PAGE)
        address = m.view().ctypes.data
        os.truncate(tmp_path / f"{number}", 0)
        assert not m.view().any()
        m.close()
        again = MappedFile.anonymous(10 * PAGE)
        lost_memory.raise_if_lost(address, 10 * PAGE)
        again.close()


# Arrays that know their file ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda a: as_strided(a, (2, 2), (32, 8), subok=True),
        lambda a: sliding_window_view(a, 2, subok=True)[4:6],
        lambda a: as_strided(a[3:], (5,), (16,), subok=True),
    ],
)
def test_strided_views_know_their_file(array: MappedArray, make: Callable[..., Any]) -> None:
    view = make(array)
    assert type(view) is MappedArray
    assert view.filename == array.filename
    assert view.mapping is array.mapping
    at = view.__array_interface__["data"][0] - array.__array_interface__["data"][0]
    assert view.offset == array.offset + at
    view.flush()
    view.check()
    view.advise("random")


def test_a_copy_in_memory_has_no_file(array: MappedArray) -> None:
    copy = array[[1, 2, 3]]
    assert copy.filename is copy.offset is copy.mapping is None
    empty = np.empty(0).view(MappedArray)
    assert empty.filename is None


def test_neighbours_are_told_apart(tmp_path: Path) -> None:
    """Where one region ends another may begin, and an empty array lies at either."""
    arrays = [mmapio.create(tmp_path / f"{n}", PAGE, "u1", raw=True) for n in range(50)]
    for n, array in enumerate(arrays):
        strided = as_strided(array, (4,), (1,), subok=True)
        assert strided.filename == str(tmp_path / f"{n}")
        end = as_strided(array[-1:], (1,), (1,), subok=True)
        assert end.filename == str(tmp_path / f"{n}")
        assert array[PAGE:].filename == str(tmp_path / f"{n}")


@needs_guard
def test_no_reason_is_made_up_for_a_file_that_is_at_no_path(array: MappedArray) -> None:
    with open(str(array.filename), "r+b") as file:
        os.replace(str(array.filename), f"{array.filename}.moved")
        file.truncate(0)
    with pytest.raises(MappingLostError, match="the path leads to the file no more") as caught:
        kernels.sum(array)
    assert caught.value.cause == "unknown"
