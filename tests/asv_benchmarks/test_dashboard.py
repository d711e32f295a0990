"""The plugin of asv: pages without a network, steps that are sure, quick runs kept apart."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

asv = pytest.importorskip("asv", reason="the extra `bench` is not installed")
from template import dashboard  # noqa: E402
from template.dashboard import offline, steps  # noqa: E402

TEMPLATE = Path(dashboard.__file__).parents[1]
ASV_PAGE = Path(asv.__file__).parent / "www" / "index.html"

BENCHMARK = """
from pathlib import Path

def track_level():
    return float(Path({level!r}).read_text())
"""


class Project:
    """A repository with one benchmark, whose figure a file decides, and the template's settings."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.level = directory / ".level"
        (directory / "benchmarks").mkdir(parents=True)
        (directory / "benchmarks" / "__init__.py").touch()
        (directory / "benchmarks" / "bench.py").write_text(BENCHMARK.format(level=str(self.level)))
        for name in ("dashboard", "asv.conf.json", ".gitignore"):
            copy = shutil.copytree if (TEMPLATE / name).is_dir() else shutil.copy
            copy(TEMPLATE / name, directory / name)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> None:
        who = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *arguments], cwd=self.directory, check=True)

    def asv(self, command: str, *arguments: str) -> None:
        run = [sys.executable, "-m", "asv", command, *arguments]
        done = subprocess.run(run, cwd=self.directory, capture_output=True, text=True)
        assert not done.returncode, done.stdout + done.stderr

    def measure(self, level: float, *more: str) -> None:
        """Commit, and measure the commit."""
        self.level.write_text(str(level))
        self.git("add", "benchmarks")
        self.git("commit", "--quiet", "--allow-empty", "--message", f"Level {level}")
        self.asv("run", "--python=same", "--set-commit-hash", "HEAD", "--machine", "m", *more)

    def published(self) -> tuple[str, list[object]]:
        """Return the page, and what the page of regressions shows."""
        self.asv("publish")
        html = self.directory / ".asv" / "html"
        regressions = json.loads((html / "regressions.json").read_text())["regressions"]
        return (html / "index.html").read_text(), regressions


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # where asv looks for what machine this is
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    made = Project(tmp_path / "project")
    made.asv("machine", "--yes", "--machine", "m")
    return made


def test_the_page_of_this_asv_loads_nothing_from_afar() -> None:
    page, missing = offline.localized(ASV_PAGE.read_text())
    assert missing == []
    loaded = [line for line in page.splitlines() if "<script" in line or "<link" in line]
    assert [line for line in loaded if "//" in line] == []
    named = {name for name in (file.name for file in offline.WWW.iterdir()) if name in page}
    assert named == {file.name for file in offline.WWW.iterdir()} - {"README.md"}


def test_what_is_not_there_is_left_as_it_is_and_told() -> None:
    line = '<script src="https://x.org/new.js" integrity="sha256-x" onerror="f()"></script>'
    assert offline.localized(line) == (line, ["new.js"])


def test_a_step_needs_two_commits() -> None:
    short, long = [(0, 5, 1.0), (5, 6, 2.0)], [(0, 5, 1.0), (5, 7, 2.0)]
    assert steps.sure_steps(short) == short[:1]
    assert steps.sure_steps(long) == long
    assert steps.sure_steps([]) == []


def test_a_history_from_its_first_commit_to_a_regression(project: Project) -> None:
    project.measure(99.0, "--quick")  # reaches no page
    assert [file.name for file in (project.directory / ".asv").iterdir()] == ["results-quick"]
    project.measure(1.0)
    page, regressions = project.published()
    assert "One commit was measured so far" in page
    assert regressions == []
    project.measure(2.0)  # an equal commit, on a bad day
    page, regressions = project.published()
    assert "measured so far" not in page
    assert "https://" not in page.replace("https://github.com/airspeed-velocity", "")
    assert regressions == []
    project.measure(2.0)
    _, (regression,) = project.published()
    assert regression[4:6] == [2.0, 1.0]
