"""CPUs that affinity and quotas leave to a process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmapio._os import _groups
from mmapio.kernels.engine import cpus


@pytest.mark.parametrize(
    ("groups", "files", "count"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1),
        ("0::/a\n", {"a/cpu.max": "max 100000\n"}, 8),
        ("3:cpuset:/\n1:cpu,cpuacct:/j\n0::/\n", {"cpu/j/cpu.cfs_quota_us": "300000\n"}, 3),
        ("1:cpu:/j\n", {"cpu/j/cpu.cfs_quota_us": "-1\n"}, 8),
        ("0::/\n", {"cpu.max": "nonsense"}, 8),
    ],
)
def test_a_quota_limits_the_cpus(
    groups: str,
    files: dict[str, str],
    count: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = tmp_path / "own"
    own.write_text(groups)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        if name.endswith("quota_us"):
            (tmp_path / name).with_name("cpu.cfs_period_us").write_text("100000\n")
    monkeypatch.setattr(_groups, "_GROUPS", tmp_path)
    monkeypatch.setattr(_groups, "_OWN_GROUPS", own)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert cpus.usable_cpus() == count
    monkeypatch.setattr(_groups, "_OWN_GROUPS", tmp_path / "missing")
    assert cpus.usable_cpus() == 8
