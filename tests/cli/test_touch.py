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
