"""Tests of what pieces tell the threads that share them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest
from samples import small_boxes

from mmapio import kernels
from mmapio.kernels.engine import pieces
from mmapio.kernels.statistics import _columns

_SCANS = {
    "sum": lambda a: kernels.sum(a),
    "min": lambda a: kernels.min(a),
    "argmin": lambda a: kernels.argmin(a),
    "minmax": lambda a: kernels.minmax(a),
    "even bins": lambda a: kernels.histogram(a, 3, (0, 9)),
    "uneven bins": lambda a: kernels.histogram(a, [0, 1, 5]),
    "find": lambda a: kernels.find(a, -1),
    "find_all": lambda a: kernels.find_all(a, -1),
    "columns": lambda a: kernels.sum(a.reshape(-1, 4), axis=0),
    "runs": lambda a: kernels.sum(a.reshape(4, -1), axis=1),
    "least of columns": lambda a: kernels.min(a.reshape(-1, 4), axis=0),
}


def test_what_is_remembered_of_helpers_is_of_one_kind_of_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If two kernels shared a kind, the verdict on one would be passed on the other."""
    kinds: dict[str, set[Hashable]] = {}

    def noted(*args: Any, kind: Hashable = None, **options: Any) -> Any:
        kinds[name].add(kind)
        return run_workers(*args, kind=kind, **options)

    run_workers = pieces.run_workers
    for module in (pieces, _columns):
        monkeypatch.setattr(module, "run_workers", noted)
    monkeypatch.setattr(pieces, "_DIRECT_BYTES", 64)
    a = np.arange(4096, dtype="f8") % 10
    with small_boxes(1024):
        for name, scan in _SCANS.items():
            kinds[name] = set()
            scan(a)
    assert all(len(found) == 1 and None not in found for found in kinds.values()), kinds
    assert len(set.union(*kinds.values())) == len(_SCANS)
