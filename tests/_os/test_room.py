"""Memory that can be had: read from files of the kernel, of which these are copies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mmapio import _os

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is one call")
GIB = 1 << 30
MEMORY = "MemTotal:       24737240 kB\nMemFree:          123 kB\nMemAvailable:    8388608 kB\n"
STAT = "anon 7\n{0}active_file 1000\n{0}inactive_file 24\nunevictable 5\n"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the files that are read; the process is in the group /a/b."""
    from mmapio._os import _groups, _linux_room

    (tmp_path / "meminfo").write_text(MEMORY)
    (tmp_path / "status").write_text("VmLck:\t     12 kB\nCapEff:\t0000000000004000\n")
    (tmp_path / "cgroup").write_text("0::/a/b\n")
    monkeypatch.setattr(_linux_room, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(_linux_room, "_STATUS", tmp_path / "status")
    monkeypatch.setattr(_groups, "_GROUPS", tmp_path)
    monkeypatch.setattr(_groups, "_OWN_GROUPS", tmp_path / "cgroup")
    return tmp_path


def group(folder: Path, prefix: str, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.stat").write_text(STAT.format(prefix))
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(f"{text}\n")


def test_the_machine_tells_what_it_has(kernel: Path) -> None:
    assert _os.available_memory() == 8 * GIB
    group(kernel / "a" / "b", "", max="max", high="max", current="5")
    assert _os.available_memory() == 8 * GIB


@pytest.mark.parametrize("level", ["a", "a/b"])
@pytest.mark.parametrize("limits", [("5000000", "max"), ("max", "5000000"), ("9000000", "5000000")])
def test_a_group_leaves_its_limit_less_its_use(
    kernel: Path, level: str, limits: tuple[str, str]
) -> None:
    group(kernel / level, "", max=limits[0], high=limits[1], current="2000000")
    assert _os.available_memory() == 3000000 + 1024
    group(kernel / level, "", max="10", high="max", current="2000000")
    assert _os.available_memory() == 0


def test_groups_of_version_1(kernel: Path) -> None:
    (kernel / "cgroup").write_text("9:name=systemd:/\n4:memory:/x/y\n0::/\n")
    none = str((1 << 63) - 4096)
    group(kernel / "memory", "total_", limit_in_bytes=none, usage_in_bytes="1")
    assert _os.available_memory() == 8 * GIB
    group(kernel / "memory" / "x", "total_", limit_in_bytes="5000000", usage_in_bytes="2000000")
    assert _os.available_memory() == 3000000 + 1024


def test_where_nothing_is_told_nothing_is_known(kernel: Path) -> None:
    for name in ("meminfo", "cgroup", "status"):
        (kernel / name).unlink()
    assert _os.available_memory() is None
    assert _os.lock_limit().locked == 0


def test_locks_have_no_limit_with_the_capability(kernel: Path) -> None:
    assert _os.lock_limit()[::2] == (None, 12 << 10)
    (kernel / "status").write_text("VmLck:\t     12 kB\nCapEff:\t0000000000000000\n")
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    assert _os.lock_limit().nbytes == (None if soft == resource.RLIM_INFINITY else soft)


def test_this_machine_has_some() -> None:
    available = _os.available_memory()
    assert available is not None
    assert 0 < available < 1 << 60
