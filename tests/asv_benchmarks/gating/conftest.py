"""A repository of a tiny mmapio, with commits to compare."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from gating import gate, trees

LISTED = '[[benchmark]]\nname = "bench_tiny.Tiny.{name}"\nturn_ms = {turn_ms}\n'
BENCHMARKS = """
import mmapio

class Tiny:
    def setup(self): self.work = mmapio.work
    def time_work(self): self.work()
    def time_sum(self): sum(range(3000))
    def time_novelty(self): mmapio.novelty()
    def time_skipped(self): raise NotImplementedError("no such disk")
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that commits a tiny mmapio, and what the gate is to run over it."""
    repository = tmp_path / "repository"
    package, suite = repository / "mmapio", repository / "asv_benchmarks"
    (suite / "benchmarks").mkdir(parents=True)
    package.mkdir()
    (suite / "benchmarks" / "__init__.py").touch()
    (suite / "benchmarks" / "bench_tiny.py").write_text(BENCHMARKS)
    monkeypatch.setattr(gate, "REPOSITORY", repository)
    who = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")

    def commit(branch: str, source: str, *names: str, turn_ms: float = 5) -> None:
        (package / "__init__.py").write_text(source)
        listed = [LISTED.format(name=name, turn_ms=turn_ms) for name in names]
        (suite / "gate.toml").write_text("\n".join(listed) or "benchmark = []")
        trees.git(repository, "checkout", "-q", "-B", branch)
        trees.git(repository, "add", "-A")
        trees.git(repository, *who, "commit", "-q", "--allow-empty", "-m", f"On {branch}")

    subprocess.run(["git", "init", "-q", "-b", "main", str(repository)], check=True)
    return commit
