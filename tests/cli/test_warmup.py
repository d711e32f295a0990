"""`mmapio warmup`: kernels that are there for other processes."""

from __future__ import annotations

import functools
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest

from mmapio._os._machine_code import can_keep

# With all kernels, warming up takes the better part of a minute.
FEW_KERNELS = """
import sys
from mmapio import kernels
from mmapio.__main__ import main
from mmapio.kernels.engine import jit

assert all(hasattr(kernels, name) for name in kernels.__all__)
few = [k for k in jit.KERNELS if k.dispatcher.__name__ == "find_match"]
jit.KERNELS[:] = few
try:
    status = main()
except SystemExit as end:
    status = end.code
"""
CACHE_STATS = """
stats = [kernel.dispatcher.stats for kernel in few]
print("loaded", sum(sum(each.cache_hits.values()) for each in stats))
print("compiled", sum(sum(each.cache_misses.values()) for each in stats))
"""


@pytest.fixture
def warm_up_in_terminal(in_terminal: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Return a function that compiles a few kernels, none of which is in the cache yet."""
    command = [sys.executable, "-W", "error", "-c", FEW_KERNELS + "sys.exit(status)"]
    return functools.partial(in_terminal, "warmup", command=command, NUMBA_CACHE_DIR=str(tmp_path))


def test_what_warmup_compiles_is_there_for_other_processes(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    code = FEW_KERNELS + CACHE_STATS
    first, again = (run_python(code, "warmup", NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    line = r"(\d+) kernels are ready, after [\d.]+ m?s\n"
    assert re.fullmatch(line + r"loaded 0\ncompiled \1\n", first)
    assert re.fullmatch(line + r"loaded \1\ncompiled 0\n", again)


@pytest.mark.skipif(not can_keep(), reason="no machine code is kept here")
def test_the_first_file_needs_no_compiler_after_warmup(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    code = """
import sys
import mmapio
m = mmapio.MappedFile.open(sys.executable)
print(m.guarded, "llvmlite" in sys.modules)
"""
    run_python(FEW_KERNELS, "warmup", NUMBA_CACHE_DIR=str(tmp_path))
    assert run_python(code, NUMBA_CACHE_DIR=str(tmp_path)) == "True False\n"


def test_warmup_fails_where_nothing_can_be_kept(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    (tmp_path / "file").write_text("")
    folder = {
        "NUMBA_CACHE_DIR": str(tmp_path / "file" / "cache"),
        "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator",
    }
    code = "import sys; sys.stderr = sys.stdout" + FEW_KERNELS + "print(status)"
    told = run_python(code, "warmup", **folder).splitlines()
    assert told[-1] == "1"
    assert re.fullmatch(
        r"mmapio: error: .*cannot keep compiled code: .*; set NUMBA_CACHE_DIR to .*", told[-2]
    )


def test_a_terminal_shows_how_far_warmup_is(warm_up_in_terminal: Callable[..., Any]) -> None:
    terminal = warm_up_in_terminal()
    terminal.expect(r"kernels: +0%\|")
    assert terminal.before.strip() == ""
    terminal.expect(r"kernels: +[1-9]\d*%\|.* [1-9]\d*/[1-9]\d* ")
    terminal.expect(r"\r {40,}\r\d+ kernels are ready, after ")  # the bar is wiped
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_a_quiet_warmup_shows_no_bar(warm_up_in_terminal: Callable[..., Any]) -> None:
    terminal = warm_up_in_terminal("--quiet")
    terminal.expect(pexpect.EOF)
    assert terminal.before is not None
    assert re.fullmatch(r"[1-9]\d* kernels are ready, after [^\n]+\n", terminal.before)


@pytest.mark.parametrize("wait", [0, 0.1, 0.2])
def test_interrupt_ends_warmup_whatever_it_meets(
    wait: float, warm_up_in_terminal: Callable[..., Any]
) -> None:
    """Where it meets a function that LLVM calls, it would be lost, or end in a traceback."""
    terminal = warm_up_in_terminal()
    terminal.expect(r"kernels: +[1-9]\d*%\|")
    time.sleep(wait)
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert terminal.before is not None
    assert "Traceback" not in terminal.before
    assert "ready" not in terminal.before
