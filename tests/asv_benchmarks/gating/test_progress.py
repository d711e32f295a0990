"""Progress: the newest line on a terminal, and a line now and then in a log."""

from __future__ import annotations

import io

import pytest
from gating import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_the_newest_line_and_none_in_the_end() -> None:
    stream = Terminal()
    told = progress.Progress(stream)
    told.tell("round 1")
    told.tell("round 2")
    told.end()
    assert stream.getvalue() == "\r\x1b[Kround 1\r\x1b[Kround 2\r\x1b[K"


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 0.0, 9.0, 10.0, 10.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    stream = io.StringIO()
    told = progress.Progress(stream)
    for what in ("round 1", "round 2", "round 3"):
        told.tell(what)
    told.end()
    assert [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()] == [
        "round 1",
        "round 3",
    ]
