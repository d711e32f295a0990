"""A file system of one's own, whose power can be cut: ext4 on a loop device, for root on Linux."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), with EXT4_GOING_FLAGS_NOLOGFLUSH: what is not on the
# drive, and what the journal has not committed, is lost.
_SHUTDOWN = 0x8004587D
_WITHOUT_FLUSH = struct.pack("I", 2)


class Ext4:
    """A file system in a file; mounted while `mount` is in force."""

    def __init__(self, folder: Path, mebibytes: int = 32) -> None:
        self.image = folder / "image"
        self.root = folder / "mounted"
        self.root.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(mebibytes << 20)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(self.image))

    def mount(self) -> None:
        """Mount it, replaying its journal."""
        _run("mount", "-o", "loop,nodiratime", str(self.image), str(self.root))

    def unmount(self) -> None:
        """Unmount it."""
        _run("umount", str(self.root))

    def cut_power(self) -> None:
        """Lose what was not synced, and come back as after a power loss."""
        directory = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, _SHUTDOWN, _WITHOUT_FLUSH)
        finally:
            os.close(directory)
        self.unmount()
        self.mount()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{command[0]}: {done.stderr.strip()}")


@contextlib.contextmanager
def small_drive(folder: Path, mebibytes: int) -> Iterator[Path]:
    """Yield a folder with room for so much: a drive's image in it has no more, whatever it says."""
    where = folder / "drive"
    where.mkdir()
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(where))
    except OSError as error:
        pytest.skip(f"no small file system can be mounted here: {error}")
    try:
        yield where
    finally:
        _run("umount", str(where))


@contextlib.contextmanager
def mounted(folder: Path) -> Iterator[Ext4]:
    """Yield a mounted file system whose power can be cut, or skip the test with the reason."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a file system and cut its power")
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed")
    try:
        device = Ext4(folder)
        device.mount()
    except OSError as error:
        pytest.skip(f"no loop device can be mounted here: {error}")
    try:
        yield device
    finally:
        with contextlib.suppress(OSError):
            device.unmount()
