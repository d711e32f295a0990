"""Disks that are small, and can be taken away."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest


def _run(*command: object) -> str:
    """Run a command; a failure skips the test and tells why."""
    name = str(command[0])
    if shutil.which(name) is None:
        pytest.skip(f"there is no {name} here")
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{name} is not allowed here (it needs root on Linux): {done.stderr.strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def _mounted(folder: Path, *what: object) -> Iterator[Path]:
    folder.mkdir()
    _run("mount", *what, folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class LoopDisk(NamedTuple):
    """A disk that is a file."""

    folder: Path  # where its file system is mounted
    device: str
    image: Path


@pytest.fixture
def small_tmpfs(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a file system in memory, of a size such as ``1m``."""
    if sys.platform != "linux":
        pytest.skip("there is no tmpfs here")
    with contextlib.ExitStack() as stack:

        def mount(size: str) -> Path:
            folder = tmp_path / f"tmpfs-{size}"
            options = ["-t", "tmpfs", "-o", f"size={size}", "none"]
            return stack.enter_context(_mounted(folder, *options))

        yield mount


@pytest.fixture
def block_device(tmp_path: Path) -> Iterator[Callable[[bytes], LoopDisk]]:
    """Return a function that makes a block device with some contents, from a file."""
    if sys.platform != "linux":
        pytest.skip("there are no loop devices here")
    with contextlib.ExitStack() as stack:

        def attach(contents: bytes) -> LoopDisk:
            image = tmp_path / "device.image"
            image.write_bytes(contents)
            device = _run("losetup", "--find", "--show", image)
            stack.callback(subprocess.run, ["losetup", "--detach", device], check=False)
            return LoopDisk(tmp_path, device, image)

        yield attach


@pytest.fixture
def small_ext4(tmp_path: Path) -> Iterator[Callable[[int], LoopDisk]]:
    """Return a function that mounts an ext4 file system of some MiB, from a file."""
    if sys.platform != "linux":
        pytest.skip("there are no loop devices here")
    with contextlib.ExitStack() as stack:

        def mount(mebibytes: int) -> LoopDisk:
            image = tmp_path / f"ext4-{mebibytes}.image"
            with open(image, "wb") as file:
                file.truncate(mebibytes << 20)
            _run("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image)
            device = _run("losetup", "--find", "--show", image)
            stack.callback(subprocess.run, ["losetup", "--detach", device], check=False)
            folder = stack.enter_context(_mounted(tmp_path / f"ext4-{mebibytes}", device))
            return LoopDisk(folder, device, image)

        yield mount
