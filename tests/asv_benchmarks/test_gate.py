"""The gate: what it decides from samples, and what it does with commits, good and bad."""

from __future__ import annotations

import importlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "asv_benchmarks"))
gate = importlib.import_module("gate")
honesty = importlib.import_module("honesty")
chosen = importlib.import_module("gating.chosen")
decision = importlib.import_module("gating.decision")
instructions = importlib.import_module("gating.instructions")
plants = importlib.import_module("gating.plants")
trees = importlib.import_module("gating.trees")
worker = importlib.import_module("gating.worker")
Verdict = decision.Verdict

# The decision -----------------------------------------------------------------------------------

SEEDS = 40
THRESHOLD = 0.15


@pytest.fixture
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "RESAMPLES", 100)


def samples(slow: float, seed: int, processes: int, rounds: int, noise: float) -> list[list[float]]:
    """Return ratios as a busy machine gives them: each pair of processes has its own luck."""
    chance = random.Random(seed)
    groups = []
    for _ in range(processes):
        luck = chance.lognormvariate(0, noise / 2)
        turns = [slow * luck * chance.lognormvariate(0, noise) for _ in range(rounds)]
        turns[chance.randrange(rounds)] *= chance.choice([0.2, 5])  # something else ran
        groups.append(turns)
    return groups


def decide(slow: float, seed: int, noise: float) -> Any:
    first = decision.estimate(samples(slow, seed, *gate.FIRST, noise))
    again = None
    if decision.is_suspect(first, THRESHOLD):
        again = decision.estimate(samples(slow, -1 - seed, *gate.AGAIN, noise))
    return decision.verdict(first, again, THRESHOLD)


@pytest.mark.usefixtures("_few_resamples")
@pytest.mark.parametrize(
    ("slow", "noise", "wanted"),
    [
        (1.25, 0.05, Verdict.SLOWER),
        (1.25, 0.01, Verdict.SLOWER),
        (3.0, 0.2, Verdict.SLOWER),
        (1.0, 0.05, Verdict.SAME),
        (1.0, 0.15, Verdict.SAME),
        (1.05, 0.05, Verdict.SAME),
        (0.9, 0.05, Verdict.SAME),
        (0.7, 0.05, Verdict.FASTER),
    ],
)
def test_what_is_decided(slow: float, noise: float, wanted: Any) -> None:
    assert {decide(slow, seed, noise) for seed in range(SEEDS)} == {wanted}


def test_one_unlucky_pair_of_processes_decides_nothing() -> None:
    assert decision.estimate([[1.4] * 8, [1.0] * 8, [1.01] * 8]).ratio == 1.01


def test_an_estimate_tells_how_sure_it_is() -> None:
    sure = decision.estimate([[1.2] * 8] * 3)
    assert sure == (1.2, 1.2, 1.2)
    unsure = decision.estimate([[0.8, 1.2, 1.6], [0.7, 1.2, 1.7]])
    assert unsure.low < 1 < unsure.ratio < unsure.high
    assert decision.estimate([[1.2]]) == (1.2, 1.2, 1.2)


def test_both_looks_have_to_find_a_slow_down() -> None:
    slow, same, unsure = (
        decision.Estimate(*numbers) for numbers in ((1.3, 1.2, 1.4), (1.0, 0.9, 1.1), (1.3, 0.9, 2))
    )
    assert decision.verdict(slow, same, THRESHOLD) == Verdict.SAME
    assert decision.verdict(slow, unsure, THRESHOLD) == Verdict.UNSURE
    assert decision.verdict(slow, slow, THRESHOLD) == Verdict.SLOWER
    assert not decision.is_suspect(same, THRESHOLD)
    assert decision.is_suspect(decision.Estimate(1.08, 1.0, 1.2), THRESHOLD)
    assert decision.is_suspect(decision.Estimate(1.0, 0.8, 1.2), THRESHOLD)
    assert [decision.is_unsure(found, THRESHOLD) for found in (slow, same, unsure)] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("verdicts", "passed"),
    [
        ([], False),
        ([Verdict.SKIPPED, Verdict.NEW, Verdict.REMOVED], False),
        ([Verdict.SAME, Verdict.NEW, Verdict.REMOVED, Verdict.SKIPPED], True),
        ([Verdict.FASTER], True),
        ([Verdict.UNSURE], True),
        ([Verdict.SAME, Verdict.SLOWER], False),
        ([Verdict.SAME, Verdict.BROKEN], False),
    ],
)
def test_what_passes(verdicts: list[Any], passed: bool) -> None:
    assert decision.has_passed(verdicts) is passed


# Commits ----------------------------------------------------------------------------------------

LISTED = '[[benchmark]]\nname = "bench_tiny.Tiny.{name}"\nreference = "{reference}"\n'
BENCHMARKS = """
import mmapio

class Tiny:
    def setup(self): self.work = mmapio.work
    def time_work(self): self.work()
    def time_sum(self): sum(range(3000))
    def time_novelty(self): mmapio.novelty()
    def time_skipped(self): raise NotImplementedError("no such disk")
"""
MMAPIO = "def work():\n    sum(range({turns}))\n"


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

    def commit(branch: str, source: str, *names: str, reference: str = "python") -> None:
        (package / "__init__.py").write_text(source)
        listed = [LISTED.format(name=name, reference=reference) for name in names]
        (suite / "gate.toml").write_text("\n".join(listed) or "benchmark = []")
        trees.git(repository, "checkout", "-q", "-B", branch)
        trees.git(repository, "add", "-A")
        trees.git(repository, *who, "commit", "-q", "--allow-empty", "-m", f"On {branch}")

    subprocess.run(["git", "init", "-q", "-b", "main", str(repository)], check=True)
    return commit


def told(capsys: pytest.CaptureFixture[str], what: str) -> str:
    """Return the last line of the table about a benchmark."""
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith(what)][-1]


QUICK = ["--quick", "--no-instructions"]


@pytest.mark.parametrize("reference", ["python", "system", "disk"])
def test_a_branch_that_is_slower_fails(
    repository: Callable[..., None], capsys: pytest.CaptureFixture[str], reference: str
) -> None:
    repository("main", MMAPIO.format(turns=3000), "time_work", "time_sum", reference=reference)
    source = MMAPIO.format(turns=90_000)  # by so much that no busy disk can hide it
    repository("slow", source, "time_work", "time_sum", reference=reference)
    assert gate.main(QUICK) == 1
    assert "SLOWER" in told(capsys, "tiny.Tiny.time_work")


def test_a_branch_that_changes_nothing_passes(
    repository: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    repository("main", MMAPIO.format(turns=3000), "time_work", "time_skipped", "time_sum")
    source = MMAPIO.format(turns=3000) + "def novelty(): ...\n"
    repository("branch", source, "time_work", "time_skipped", "time_novelty")
    file = tmp_path / "found.json"
    assert gate.main([*QUICK, "--threshold", "9", "--json", str(file)]) == 0
    facts = json.loads(file.read_text())
    assert facts["passed"]
    assert {row["benchmark"]: row["verdict"] for row in facts["rows"]} == {
        "tiny.Tiny.time_work": "same",
        "tiny.Tiny.time_skipped": "skipped",
        "tiny.Tiny.time_novelty": "new",
        "tiny.Tiny.time_sum": "removed",
    }
    reasons = [row["reason"] for row in facts["rows"][1:]]
    assert reasons[0] == "head: no such disk"
    assert "has no attribute 'novelty'" in reasons[1]
    assert [name.split(" ", 1)[1] for name in (facts["base"], facts["head"])] == [
        "On main",
        "On branch",
    ]
    assert facts["rows"][0]["first"]["ratio"] > 0


def test_what_does_not_run_any_more_fails(
    repository: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    both = MMAPIO.format(turns=3000) + "def novelty(): ...\n"
    repository("main", both, "time_novelty")
    repository("branch", MMAPIO.format(turns=3000), "time_novelty")
    assert gate.main(QUICK) == 1
    out = capsys.readouterr().out
    assert "BROKEN: AttributeError" in out
    assert out.endswith("FAIL: 0 measured, 0 slower by more than 15%, 1 broken\n")


def test_what_only_the_head_skips_fails(
    repository: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    repository("main", MMAPIO.format(turns=3000), "time_work")
    repository("branch", "def work():\n    raise NotImplementedError('later')\n", "time_work")
    assert gate.main(QUICK) == 1
    assert "BROKEN: head: later" in capsys.readouterr().out


RUNS_ONCE = """
from pathlib import Path
been_here = Path(__file__).with_name("been_here")
again = been_here.exists()
been_here.touch()

def work():
    if again:
        raise OSError("no room")
    sum(range(3000))
"""


def test_a_slow_down_is_not_forgotten_when_the_base_fails_later(
    repository: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    repository("main", RUNS_ONCE, "time_work", "time_sum")
    repository("slow", MMAPIO.format(turns=90_000), "time_work", "time_sum")
    assert gate.main(QUICK) == 1
    assert "BROKEN: ran, and then did not; base: OSError: no room" in capsys.readouterr().out


@pytest.mark.parametrize("names", [(), ("time_skipped",)])
def test_it_fails_if_nothing_ran(
    repository: Callable[..., None], capsys: pytest.CaptureFixture[str], names: tuple[str, ...]
) -> None:
    repository("main", MMAPIO.format(turns=1), *names)
    repository("branch", MMAPIO.format(turns=1), *names)
    assert gate.main(QUICK) == 1
    assert capsys.readouterr().out.endswith("FAIL: nothing was measured\n")


def test_it_fails_if_a_process_dies_and_leaves_nothing(
    repository: Callable[..., None],
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setenv("TMPDIR", str(room))
    monkeypatch.setattr(tempfile, "tempdir", None)
    repository("main", MMAPIO.format(turns=3000), "time_work")
    repository("branch", "def work():\n    import os\n    os._exit(7)\n", "time_work")
    assert gate.main(QUICK) == 1
    assert "head ended: status 7" in capfd.readouterr().err
    assert list(room.iterdir()) == []


def test_main_is_compared_with_the_commit_before(repository: Callable[..., None]) -> None:
    repository("main", MMAPIO.format(turns=1))
    first = trees.git(gate.REPOSITORY, "rev-parse", "HEAD")
    with pytest.raises(trees.TreeError, match=r"HEAD\^|\^"):
        trees.merge_base(gate.REPOSITORY, "HEAD")
    repository("main", MMAPIO.format(turns=2))
    assert trees.merge_base(gate.REPOSITORY, "HEAD") == first
    repository("branch", MMAPIO.format(turns=3))
    assert trees.merge_base(gate.REPOSITORY, "HEAD") == trees.git(
        gate.REPOSITORY, "rev-parse", "main"
    )


def test_what_cannot_be_compared_is_told(
    repository: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    repository("trunk", MMAPIO.format(turns=1))
    assert gate.main([]) == 2
    assert "name a BASE" in capsys.readouterr().err
    assert gate.main(["nothing", "HEAD"]) == 2
    assert "nothing" in capsys.readouterr().err
    shutil.rmtree(gate.REPOSITORY / "mmapio")
    trees.git(gate.REPOSITORY, "rm", "-q", "-r", "mmapio")
    who = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    trees.git(gate.REPOSITORY, *who, "commit", "-q", "-m", "Take it away")
    assert gate.main(["trunk~1", "trunk"]) == 2
    assert "there is no mmapio in" in capsys.readouterr().err


# Its parts --------------------------------------------------------------------------------------


def test_every_listed_benchmark_is_there() -> None:
    for benchmark in chosen.listed_in(chosen.HERE):
        module, kind, method = benchmark.name.split(".")
        found = importlib.import_module(f"benchmarks.{module}")
        assert callable(getattr(getattr(found, kind), method))
        assert benchmark.reference in importlib.import_module("gating.references").KINDS


def test_samples_leave_out_the_wait_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = iter([1.0, 1.5])
    monkeypatch.setattr(worker, "elapsed_s", lambda work, calls: 0.75)
    with worker.contextlib.ExitStack() as stack:
        one = worker.Worker(stack)
        one.waits.so_far_s = lambda: next(waits)
        assert one.sample_s(lambda: None, 10) == pytest.approx(0.025)


def test_one_interruption_makes_no_short_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter([1.0, 1e-7, 1e-7, 2e-7, 1.0, 2e-7])
    monkeypatch.setattr(worker, "elapsed_s", lambda work, calls: next(taken, 1e-7 * calls))
    assert worker.calls_of(lambda: None) == 8192


def test_instructions_of_a_call_are_counted(repository: Callable[..., None]) -> None:
    if not instructions.can_count():
        pytest.skip("valgrind is not installed")
    repository("main", MMAPIO.format(turns=6000), "time_sum", "time_work")
    tree = gate.REPOSITORY
    suite = tree / "asv_benchmarks"
    listed = chosen.listed_in(suite)
    found = instructions.count((tree,), suite, listed)  # a process takes seconds to start
    (once,), (twice,) = (found[benchmark] for benchmark in listed)
    assert once > 3000
    assert twice == pytest.approx(2 * once, rel=0.1)


def test_every_plant_takes_root(tmp_path: Path) -> None:
    for what in plants.PLANTS:
        tree = plants.plant(what, chosen.HERE.parent, tmp_path / what.name, "raise SystemExit")
        source = (tree / "mmapio" / what.file).read_text()
        assert source.count("raise SystemExit\n") == 1
        assert what.benchmark in set(map(str, chosen.listed_in(chosen.HERE)))


def test_what_is_planted_fills_the_time() -> None:
    (unit, few), (_, many) = plants._filling(1e-7), plants._filling(1e-6)
    assert unit == "_ = 0"
    assert 1 <= few < many
    assert plants._filling(1e-3)[0] == "pass"


UNTIL_ENDED = """
import tempfile, time
from ending import clear_up_when_ended
clear_up_when_ended()
with tempfile.TemporaryDirectory(dir="."):
    print(flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is told to end there")
def test_who_is_told_to_end_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "ending.py").write_text((chosen.HERE / "ending.py").read_text())
    script = tmp_path / "until.py"
    script.write_text(UNTIL_ENDED)
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
    assert process.returncode == 128 + 15
    assert [path for path in tmp_path.iterdir() if path.name.startswith("tmp")] == []


# Whether it can be trusted ------------------------------------------------------------------------


def run(verdict: Any, *benchmarks: str) -> Any:
    """Return a run in which these benchmarks got this verdict."""
    row = {"verdict": verdict, "reason": "no room", "first": None, "again": None}
    if verdict != Verdict.BROKEN:
        row |= {"first": {"ratio": 1.2}, "again": {"ratio": 1.3}}
    return honesty.Run(dict.fromkeys(benchmarks, row), verdict not in decision.FAILURES, 1.0)


QUIET, ALARM, BROKEN = (run(verdict, "x") for verdict in ("same", "SLOWER", "BROKEN"))
FOUND = run("SLOWER", *(what.benchmark for what in plants.PLANTS))


@pytest.mark.parametrize(
    ("runs", "status", "line"),
    [
        ([QUIET] * 3 + [FOUND] * 5, 0, "0 of 3 runs failed where nothing changed"),
        ([QUIET, ALARM, QUIET] + [FOUND] * 5, 0, "1 of 3 runs failed where nothing changed"),
        ([BROKEN, QUIET, QUIET] + [FOUND] * 5, 0, "FAIL in 1 s, 0 looked at twice x no room"),
        ([ALARM, ALARM, QUIET] + [FOUND] * 5, 1, "2 of 3 runs failed where nothing changed"),
        ([QUIET] * 3 + [FOUND] * 4 + [ALARM], 1, "4 of 5 slow-downs of a quarter were found"),
        ([QUIET] * 4 + [FOUND] * 4, 1, "open made slower by 25%: found"),
    ],
)
def test_what_is_trusted(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    runs: list[Any],
    status: int,
    line: str,
) -> None:
    left = iter(runs)
    monkeypatch.setattr(honesty, "copy_of", lambda tree, directory: directory)
    monkeypatch.setattr(honesty, "grown", lambda what, clean, directory, suite: (clean, 0.25))
    monkeypatch.setattr(honesty, "gate", lambda base, head, under: next(left))
    assert honesty.main(["--runs", "3"]) == status
    assert line in capsys.readouterr().out
