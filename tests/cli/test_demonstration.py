"""Steps of the demonstration: what is wrong with one is noticed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapio
from mmapio.cli import demonstration


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.write_bytes(b"some text\nof two lines\n" * 1000)
    return path


def test_processes_count_what_one_process_counts(text: Path) -> None:
    assert demonstration._count_in_processes(text, text.with_name("counts.npy")).ok


def test_counts_that_never_came_are_noticed(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demonstration, "_in_processes", lambda jobs: True)
    assert not demonstration._count_in_processes(text, text.with_name("counts.npy")).ok


def test_a_process_that_ends_badly_is_noticed(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def count_and_fail(jobs: Any) -> bool:
        for job in jobs:
            demonstration.count_into(*job)
        return False

    monkeypatch.setattr(demonstration, "_in_processes", count_and_fail)
    assert not demonstration._count_in_processes(text, text.with_name("counts.npy")).ok


@pytest.mark.skipif(sys.platform == "win32", reason="children cannot be kept from Ctrl-C here")
def test_interrupts_wait_until_children_are_started() -> None:
    blocked = []
    ask = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"

    def start() -> None:
        with demonstration._interrupts_held_back():
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
    assert not demonstration._in_processes([(too_short, part)])


def test_a_scan_that_is_wrong_is_noticed(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = demonstration.file_scan.scan_file(text)
    wrong.counts[0] += 1
    monkeypatch.setattr(demonstration.file_scan, "scan_file", lambda path: wrong)
    assert not demonstration._scan_text(text).ok


@given(st.binary(max_size=100))
def test_line_lengths_are_those_of_split(content: bytes) -> None:
    m = mmapio.MappedFile.anonymous(len(content))
    m.write(0, content)
    assert demonstration.line_lengths(m).tolist() == [
        len(line) for line in content.split(b"\n")[:-1]
    ]


def test_line_lengths_across_chunks() -> None:
    m = mmapio.MappedFile.anonymous(3 << 20)
    ends = [5, (1 << 20) - 1, 1 << 20, (2 << 20) + 7]
    m.view()[ends] = ord("\n")
    assert demonstration.line_lengths(m).tolist() == (np.diff([-1, *ends]) - 1).tolist()


def test_sources_are_those_of_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("b.py", "a.py", "pkg/c.py", "site-packages/d.py", "pkg/test/e.py", "f.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    monkeypatch.setattr(demonstration.sysconfig, "get_path", lambda name: str(tmp_path))
    assert demonstration.library_sources() == [b"a.py", b"b.py", b"c.py"]
    monkeypatch.setattr(demonstration, "_MOST_BYTES", 5)
    assert demonstration.library_sources() == [b"a.py", b"b.py"]
