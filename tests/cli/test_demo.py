from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pexpect
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapio
from mmapio.__main__ import main
from mmapio.cli import demo

PACKAGE = str(Path(mmapio.__file__).parents[1])


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.write_bytes(b"some text\nof two lines\n" * 1000)
    return path


def run_main(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["mmapio", "demo"])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_the_demonstration_succeeds_and_leaves_nothing(tmp_path: Path) -> None:
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(tmp_path))
    found = subprocess.run(
        [sys.executable, "-W", "error", "-m", "mmapio", "demo"],
        env=os.environ | places | {"PYTHONPATH": PACKAGE},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.count("ok      ") == 6
    assert found.stdout.count("np.memmap") == 4
    assert found.stdout.endswith("\nDone: every result equals numpy's.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(pexpect, "spawn"), reason="no pseudo-terminals here")
@pytest.mark.parametrize("delay_s", [0, 0.3])
def test_interrupt_ends_the_demonstration(tmp_path: Path, delay_s: float) -> None:
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", "mmapio", "demo"],
        env=os.environ | {"PYTHONPATH": PACKAGE, "TMPDIR": str(tmp_path), "TERM": "xterm"},
        encoding="utf-8",
        timeout=60,
    )
    terminal.expect_exact("scan it: extremes")  # what follows are the processes
    time.sleep(delay_s)
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert terminal.before is not None
    assert "Traceback" not in terminal.before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("ok", "status"), [(True, 0), (False, 1)])
def test_a_wrong_result_is_a_failure(
    ok: bool,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def steps(folder: Path) -> Iterator[demo.Step]:
        yield demo.Step("did this", "found that", ok=ok)
        yield demo.Step("did more", "found nothing")

    monkeypatch.setattr(demo, "run", steps)
    assert run_main(monkeypatch) == status
    out = capsys.readouterr().out
    assert ("FAILED" in out) == (not ok)
    assert "did more" in out


def test_an_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(demo.sysconfig, "get_path", lambda name: str(tmp_path))
    assert run_main(monkeypatch) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mmapio: error: this Python has no source text")
    assert err.count("\n") == 1


def test_processes_count_what_one_process_counts(text: Path) -> None:
    assert demo._count_in_processes(text, text.with_name("counts.npy")).ok


def test_counts_that_never_came_are_noticed(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_in_processes", lambda jobs: True)
    assert not demo._count_in_processes(text, text.with_name("counts.npy")).ok


def test_a_process_that_ends_badly_is_noticed(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def count_and_fail(jobs: Any) -> bool:
        for job in jobs:
            demo.count_into(*job)
        return False

    monkeypatch.setattr(demo, "_in_processes", count_and_fail)
    assert not demo._count_in_processes(text, text.with_name("counts.npy")).ok


@pytest.mark.skipif(sys.platform == "win32", reason="children cannot be kept from Ctrl-C here")
def test_interrupts_wait_until_children_are_started() -> None:
    blocked = []
    ask = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"

    def start() -> None:
        with demo._interrupts_held_back():
            os.kill(os.getpid(), signal.SIGINT)
            child = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
            blocked.append(child.stdout)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        start()
    assert blocked == ["True\n"]
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_process_that_fails_is_noticed(text: Path) -> None:
    part = mmapio.open(text, dtype="u1")
    too_short = mmapio.create(text.with_name("counts.npy"), 3, "i8")
    assert not demo._in_processes([(too_short, part)])


def test_a_scan_that_is_wrong_is_noticed(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = mmapio.cli.file_scan.scan(text)
    wrong.counts[0] += 1
    monkeypatch.setattr(demo.file_scan, "scan", lambda path: wrong)
    assert not demo._scan_text(text).ok


@given(st.binary(max_size=100))
def test_line_lengths_are_those_of_split(content: bytes) -> None:
    m = mmapio.MappedFile.anonymous(len(content))
    m.write(0, content)
    assert demo.line_lengths(m).tolist() == [len(line) for line in content.split(b"\n")[:-1]]


def test_line_lengths_across_chunks() -> None:
    m = mmapio.MappedFile.anonymous(3 << 20)
    ends = [5, (1 << 20) - 1, 1 << 20, (2 << 20) + 7]
    m.view()[ends] = ord("\n")
    assert demo.line_lengths(m).tolist() == (np.diff([-1, *ends]) - 1).tolist()


def test_sources_are_those_of_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("b.py", "a.py", "pkg/c.py", "site-packages/d.py", "pkg/test/e.py", "f.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    monkeypatch.setattr(demo.sysconfig, "get_path", lambda name: str(tmp_path))
    assert demo.library_sources() == [b"a.py", b"b.py", b"c.py"]
    monkeypatch.setattr(demo, "_MOST_BYTES", 5)
    assert demo.library_sources() == [b"a.py", b"b.py"]
