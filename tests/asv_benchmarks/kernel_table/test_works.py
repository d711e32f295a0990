"""Works of the table of kernels: kernels and peers find the same, and each can be measured."""

from __future__ import annotations

import pytest
from benchmarks.kernel_table import cases, measuring, peers, works

SMALL = [case for case in cases.cases(dtypes=["f8", "u1"], sizes=["100k"]) if case.layout == "1-d"]


@pytest.mark.parametrize("name", works.WORKS)
def test_numpy_or_the_standard_library_does_the_work_of_every_kernel(name: str) -> None:
    case = next(case for case in SMALL if case.work == name) if name[:4] != "axis" else None
    case = case or cases.cases([name], dtypes=["f8"], sizes=["100k"])[-1]
    left_out = measuring.disagreeing(case, case.does.peers)
    if measuring.OURS in left_out:
        pytest.skip(left_out[measuring.OURS])
    compared = {peer.split()[0] for peer in case.does.peers.keys() - left_out.keys()}
    assert compared & {"numpy", "bytes", "zlib"}, left_out


def test_all_packages_are_peers_of_some_work() -> None:
    named = {peer.split()[0] for work in works.WORKS.values() for peer in work.peers}
    assert {*peers.PACKAGES} <= named
