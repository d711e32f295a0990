"""Facts about files from /proc: the processes that map them, and the file system type.

Sources: proc_pid_maps(5), proc_pid_mountinfo(5).
"""

from __future__ import annotations

import os
import sys

assert sys.platform == "linux"  # so that mypy passes over this file elsewhere

__all__ = ["file_system", "mapped_by"]


def file_system(fd: int) -> str:
    """Return the kind of file system that a file lies in, such as tmpfs; empty: not told."""
    device = os.fstat(fd).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            known = [line.split(" - ") for line in mounts]
    except OSError:
        return ""
    # "36 35 98:0 / /mnt rw - ext4 /dev/sda1 rw": the device is the third of the first part.
    kinds = [right.split()[0] for left, right in known if left.split()[2] == number]
    return kinds[0] if kinds else ""


def mapped_by(fd: int) -> list[int]:
    """Return the processes that map a file; of other users', only root is told."""
    facts = os.fstat(fd)
    number = f" {os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x} {facts.st_ino} "
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()] if _HAS_PROC else []
    return [pid for pid in pids if _maps(pid, number)]


def _maps(pid: int, number: str) -> bool:
    """Return True if a process maps the file with this device and inode."""
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as areas:
            return any(number in area for area in areas)
    except OSError:  # it is not ours, or is gone
        return False


_HAS_PROC = os.path.isdir("/proc/self")
