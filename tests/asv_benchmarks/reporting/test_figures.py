"""Figures of the page: what they depend on, and who could not be measured."""

from __future__ import annotations

import sys

import pytest
from reporting import figures

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="is measured on Linux alone")


def test_who_cannot_do_one_thing_is_asked_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    class Work:
        params = ("h5py", "mmapio")

        def setup(self, name: str, refusal: str) -> None:
            self.peer = name
            if refusal and name == "h5py":
                raise NotImplementedError(refusal)

        def work(self, peer: str) -> None: ...

    asked = [("a", Work, ("no disk",)), ("b", Work, ("",)), ("c", Work, ("1 CPU",))]
    monkeypatch.setattr(figures.bench_peers, "TABLE", asked)
    found = figures.peers(2)
    assert [{*row["seconds"]} for row in found["rows"]] == [
        {"mmapio"},
        {"h5py", "mmapio"},
        {"mmapio"},
    ]
    assert found["skipped"] == {"h5py": "no disk; 1 CPU"}


@on_linux
def test_what_the_figures_depend_on_is_told() -> None:
    told = figures.facts()
    assert {"date", "mmapio", "Python", "packages", "processor", "memory", "system"} <= {*told}
    assert all(told.values())
