"""Devices: block devices are mapped as files are, character devices where a size is given."""

from __future__ import annotations

import errno
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import MappedFile, guard

pytestmark = pytest.mark.skipif(
    not os.path.exists("/dev/zero") or sys.platform == "darwin",
    reason="there is no /dev/zero that can be mapped here",
)
SIZE = 1 << 20
CONTENT = np.arange(SIZE // 4, dtype="<i4")
WITHOUT_GUARD = guard.why_not()


@pytest.fixture
def device(block_device: Callable[[bytes], Any]) -> Any:
    return block_device(CONTENT.tobytes())


# Block devices ------------------------------------------------------------------------------------


def test_a_block_device_is_an_array(device: Any) -> None:
    arrays = [
        mmapio.memmap(device.device, "<i4", "r"),
        mmapio.memmap(Path(device.device), "<i4", "r", shape=SIZE // 4),
        mmapio.open(device.device, dtype="<i4"),
        mmapio.open(device.device, "r+", dtype="<i4", shape=-1),
        MappedFile.open(device.device, "c").view(dtype="<i4"),
    ]
    theirs = np.memmap(device.device, "<i4", "r")
    for array in arrays:
        np.testing.assert_array_equal(array, theirs)
    with open(device.device, "rb") as file:
        file.seek(7)
        assert mmapio.memmap(file, "<i4", "r", offset=40)[0] == 10
        assert file.tell() == 7


def test_what_is_stored_in_a_block_device_is_there(device: Any) -> None:
    a = mmapio.memmap(device.device, "<i4", "r+", offset=4096, shape=(4, 4))
    a[:] = 7
    a.flush()
    a[1:].flush(wait=False)
    a.check()
    with a.guard():
        assert a.sum() == 7 * 16
    a.prefetch()
    a.advise("random")
    a.release()
    assert 0 <= a.residency().fraction <= 1
    again = pickle.loads(pickle.dumps(a[1:]))
    assert (again.filename, again.offset) == (device.device, 4096 + 16)
    assert (again == 7).all()
    a.close(force=True)
    assert np.fromfile(device.image, "<i4", 16, offset=4096).tolist() == [7] * 16


def test_a_block_device_does_not_grow_and_is_not_replaced(device: Any) -> None:
    for mode in ("r", "r+"):
        with pytest.raises(mmapio.FormatError, match="only 1048576 are there"):
            mmapio.memmap(device.device, "u1", mode, shape=SIZE + 1)
        with pytest.raises(mmapio.FormatError, match="past the end"):
            mmapio.memmap(device.device, "u1", mode, offset=SIZE + 1)
    with pytest.raises(mmapio.FileError, match="in mode 'r\\+'"):
        mmapio.memmap(device.device, "u1", "w+", shape=10)
    with pytest.raises(mmapio.FileError, match="in mode 'r\\+'"):
        mmapio.save(device.device, np.zeros(3))
    for size in (2 * SIZE, 100):
        with pytest.raises(mmapio.UnsupportedError, match="is a device"):
            MappedFile.open(device.device, "r+").resize(size)
    a = mmapio.memmap(device.device, "<i4", "r")
    with pytest.raises(mmapio.FileError, match="in mode 'r\\+'"):
        a.tofile(device.device)
    with open(device.device, "r+b") as file:
        with pytest.raises(mmapio.ArgumentError, match="open file that it is mapped from"):
            a[1:].tofile(file)
        file.seek(1 << 19)
        a[:4].tofile(file)  # after what it reads
        file.seek(1 << 19)
        file.write(CONTENT[1 << 17 :][:4].tobytes())
    assert device.image.read_bytes() == CONTENT.tobytes()


@pytest.mark.skipif(WITHOUT_GUARD is not None, reason=f"there is no guard: {WITHOUT_GUARD}")
def test_a_block_device_that_cannot_be_read_raises(device: Any) -> None:
    a = mmapio.memmap(device.device, "u1", "r")
    os.truncate(device.image, 0)
    a.release(evict=True)
    with pytest.raises(mmapio.MappingLostError) as caught, a.guard():
        _ = a[SIZE // 2 :: 4096].sum()
    assert caught.value.errno == errno.EIO
    assert caught.value.cause == "I/O error"
    assert caught.value.start >= SIZE // 2 - 4096
    device.image.write_bytes(CONTENT.tobytes())
    assert a.recover() > 0
    assert bytes(a) == CONTENT.tobytes()


# Character devices --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_character_device_is_mapped_where_a_size_is_given(mode: str) -> None:
    arrays: list[Any] = [
        mmapio.memmap("/dev/zero", "f8", mode, 8, (3, 4)),
        mmapio.open("/dev/zero", mode, dtype="f8", shape=(3, 4)),
        MappedFile.open("/dev/zero", mode, length=96).view(dtype="f8").reshape(3, 4),
    ]
    with open("/dev/zero", "r+b", buffering=0) as file:
        arrays.append(mmapio.memmap(file, "f8", mode, shape=(3, 4)))
    for a in arrays:
        assert a.shape == (3, 4)
        assert not a.any()
        if mode != "r":
            a[1:] = 5
            assert a.sum() == 40
    ours, theirs = arrays[0], np.memmap("/dev/zero", "f8", mode, 8, (3, 4))
    assert (ours.offset, ours.mode, ours.filename) == (theirs.offset, theirs.mode, "/dev/zero")
    ours.check()
    ours.flush()
    ours.close()


def test_what_is_stored_in_a_character_device_travels_by_value() -> None:
    """Each mapping of /dev/zero has memory of its own: a reference would lead to zeros."""
    a = mmapio.memmap("/dev/zero", "f8", "r+", shape=3)
    a[:] = 5
    assert pickle.loads(pickle.dumps(a)).tolist() == [5, 5, 5]
    with pytest.raises(mmapio.UnsupportedError):
        pickle.dumps(a.mapping)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_a_character_device_without_a_size_is_refused(path: str) -> None:
    for make in (
        lambda: mmapio.memmap(path, mode="r"),
        lambda: mmapio.memmap(path, mode="r+", shape=(-1, 3)),
        lambda: mmapio.open(path, dtype="f4"),
        lambda: MappedFile.open(path, "r+"),
    ):
        with pytest.raises(mmapio.FileError, match="has no size; give a length"):
            make()
    for make in (
        lambda: mmapio.GrowableArray.open(path, "r+"),
        lambda: mmapio.copy(path, "/dev/null"),
        lambda: mmapio.create(path, 3, overwrite=True),
    ):
        with pytest.raises(mmapio.FileError, match="not a regular file"):
            make()


def test_a_device_that_cannot_be_mapped_is_an_error() -> None:
    with pytest.raises(mmapio.FileError, match="No such device") as caught:
        mmapio.memmap("/dev/null", "u1", "r", shape=10)
    assert caught.value.errno == errno.ENODEV
