"""CPUs that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from ..._os._groups import groups_with

__all__ = ["usable_cpus"]


def usable_cpus() -> int:
    """Return the CPUs that affinity and cgroup quotas leave to this process.

    Returns
    -------
    int
        At least 1; a quota of 1.5 CPUs counts as 2.

    Examples
    --------
    >>> from mmapio.kernels.engine.cpus import usable_cpus
    >>> usable_cpus() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    quotas = (quota for folder, _ in groups_with("cpu") for quota in _quota(folder))
    return max(1, min([allowed, *map(math.ceil, quotas)]))


def _quota(folder: Path) -> Iterator[float]:
    """Read cgroup v2's ``cpu.max``, or v1's pair of files; no limit is ``max`` or -1."""
    for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        try:
            quota, period = " ".join((folder / name).read_text() for name in names).split()
        except (OSError, ValueError):
            continue
        if quota not in ("max", "-1"):
            yield int(quota) / int(period)
