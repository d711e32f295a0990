"""`mmapio touch`: what is in memory afterwards."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest

from mmapio import _os
from mmapio.cli.evict import evict_file
from mmapio.pagecache.residency import residency_of

PAGE = _os.PAGE_SIZE
pytestmark = [
    pytest.mark.page_cache,
    pytest.mark.skipif(
        sys.platform == "win32", reason="Windows does not tell what its cache holds of a file"
    ),
]


def test_touch_brings_a_file_in(run_command: Callable[..., Any], cold: Path) -> None:
    found = run_command("touch", cold)
    assert (found.status, found.err) == (0, "")
    assert found.out.startswith(f"{cold}\n  1.00 MiB of 1.00 MiB in memory, 1.00 MiB read in ")
    assert residency_of(cold).fraction == 1


def test_touch_leaves_holes_out(run_command: Callable[..., Any], tree: Path, cold: Path) -> None:
    evict_file(tree / "holes")
    (found,) = run_command("touch", "--json", tree / "holes").json
    assert found["bytes"] == 64 << 20
    assert PAGE <= found["resident"] < 16 << 20
    assert residency_of(tree / "holes", 32 << 20, PAGE).fraction == 1


def test_touch_shows_how_far_it_is(in_terminal: Callable[..., Any], path: Path, tree: Path) -> None:
    terminal = in_terminal("touch", path, tree)
    terminal.expect(r"files: +0%\|")
    terminal.expect(r"file\.bin: +\d+%\|")
    terminal.expect_exact("5 files")
    terminal.expect(pexpect.EOF)
    terminal = in_terminal("touch", "--quiet", path, tree)
    terminal.expect(pexpect.EOF)
    assert "%|" not in terminal.before


@pytest.mark.parametrize("command", [["touch"], ["advise", "populate_read"]])
def test_a_file_that_does_not_fit_into_memory_is_not_read(
    run_command: Callable[..., Any],
    tmp_path: Path,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(24 << 20))
    evict_file(path)
    monkeypatch.setattr(_os, "available_memory", lambda: 16 << 20)
    found = run_command(*command, path)
    assert (found.status, found.out) == (1, "")
    assert "cannot bring in 24.00 MiB" in found.err
    assert found.err.endswith("with 16.00 MiB of memory available; --force does it all the same\n")
    assert residency_of(path).resident == 0
    assert run_command(*command, "--force", path).status == 0
    assert residency_of(path).fraction == 1
    assert run_command(*command, path).status == 0  # it is there already
