"""The gate with commits, good and bad."""

from __future__ import annotations

import importlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from gating import chosen, gate, trees

MMAPIO = "def work():\n    sum(range({turns}))\n"


def told(capsys: pytest.CaptureFixture[str], what: str) -> str:
    """Return the last line of the table about a benchmark."""
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith(what)][-1]


QUICK = ["--quick", "--no-instructions"]


@pytest.mark.parametrize("turn_ms", [1, 30])
def test_a_branch_that_is_slower_fails(
    repository: Callable[..., None], capsys: pytest.CaptureFixture[str], turn_ms: int
) -> None:
    repository("main", MMAPIO.format(turns=3000), "time_work", "time_sum", turn_ms=turn_ms)
    source = MMAPIO.format(turns=90_000)  # by so much that no busy machine can hide it
    repository("slow", source, "time_work", "time_sum", turn_ms=turn_ms)
    assert gate.main(QUICK) == 1
    assert "SLOWER" in told(capsys, "tiny.Tiny.time_work")


def test_a_name_that_no_benchmark_has_is_refused_at_once(
    repository: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repository("main", MMAPIO.format(turns=1), "time_work")
    repository("branch", MMAPIO.format(turns=2), "time_work", "time_sum")
    monkeypatch.setattr(gate.Comparison, "rows", lambda *_: pytest.fail("it was measured"))
    assert gate.main([*QUICK, "--only", "time_wrok"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        "no benchmark of gate.toml has 'time_wrok' in its name; there are:\n"
        "  tiny.Tiny.time_work\n  tiny.Tiny.time_sum\n"
    )


def test_a_long_run_tells_where_it_is(
    repository: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    repository("main", MMAPIO.format(turns=3000), "time_work")
    repository("branch", MMAPIO.format(turns=3000), "time_work")
    assert gate.main([*QUICK, "--threshold", "9"]) == 0
    err = capsys.readouterr().err
    assert "processes 1 of 1: setting up 1 of 1, tiny.Tiny.time_work\n" in err


def test_a_list_with_what_this_program_does_not_know_is_read() -> None:
    older = '[[benchmark]]\nname = "bench_a.A.time_b"\nreference = "disk"'
    assert [str(one) for one in chosen.chosen(older)] == ["a.A.time_b"]


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


def test_every_listed_benchmark_is_there() -> None:
    for benchmark in chosen.listed_in(chosen.HERE):
        module, kind, method = benchmark.name.split(".")
        found = importlib.import_module(f"benchmarks.{module}")
        assert callable(getattr(getattr(found, kind), method))
