"""`mmapio demo`: what it prints, and what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

import mmapio
from mmapio.__main__ import main
from mmapio.cli import demonstration

PACKAGE = str(Path(mmapio.__file__).parents[1])


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
        codec_errors="replace",  # what is ended may be in the middle of a character
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
    def steps(folder: Path) -> Iterator[demonstration.Step]:
        yield demonstration.Step("did this", "found that", ok=ok)
        yield demonstration.Step("did more", "found nothing")

    monkeypatch.setattr(demonstration, "run", steps)
    assert run_main(monkeypatch) == status
    out = capsys.readouterr().out
    assert ("FAILED" in out) == (not ok)
    assert "did more" in out


def test_an_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(demonstration.sysconfig, "get_path", lambda name: str(tmp_path))
    assert run_main(monkeypatch) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mmapio: error: this Python has no source text")
    assert err.count("\n") == 1
