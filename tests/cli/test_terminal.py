"""Output in pipes and in terminals: plain or coloured, cut off or interrupted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest

import mmapio

GIB = 1 << 30
COMMAND = [sys.executable, "-W", "error", "-m", "mmapio"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(mmapio.__file__).parents[1])}


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_a_pipe_gets_plain_text(run_apart: Callable[..., Any], numbers: Path, text: Path) -> None:
    found = run_apart("scan", numbers, text)
    assert (found.status, found.err) == (0, "")
    assert "\x1b" not in found.out
    assert "█" in found.out


def test_a_pipe_that_knows_only_ascii(
    run_apart: Callable[..., Any], numbers: Path, tmp_path: Path
) -> None:
    path = tmp_path / "Zähler"
    path.touch()
    found = run_apart("scan", numbers, path, PYTHONIOENCODING="ascii")
    assert (found.status, found.err) == (0, "")
    assert re.search(r" -1 to  0  #+ +3\d\.\d%$", found.out, re.M)
    assert r"Z\xe4hler" in found.out


@pytest.mark.skipif(sys.platform != "linux", reason="names are text on this platform")
def test_names_that_are_no_text(run_apart: Callable[..., Any], tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"\xff.bin")
    Path(os.fsdecode(path)).write_bytes(b"abc")
    for options in ([], ["--json"]):
        found = run_apart("scan", *options, os.fsdecode(path))
        assert (found.status, found.err) == (0, "")
        assert r"\udcff.bin" in found.out


@pytest.mark.parametrize(
    "arguments", [["scan"], ["scan", "--json"], ["info", "--json"], ["--help"], ["--version"]]
)
def test_a_reader_that_left_is_no_traceback(
    start: Callable[..., subprocess.Popen[str]], arguments: list[str], text: Path
) -> None:
    files = [text] * 3 if not arguments[0].startswith("-") else []
    with start(*arguments, *files) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


def test_the_first_line_is_enough(numbers: Path) -> None:
    command = subprocess.list2cmdline([*COMMAND, "scan", *[str(numbers)] * 50])
    if sys.platform == "win32":
        pytest.skip("head is no command of this platform")
    found = subprocess.run(
        f"{command} | head -1", shell=True, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert (found.stdout, found.stderr) == (f"{numbers}\n", "")


def test_a_terminal_gets_a_bar_and_colours(in_terminal: Callable[..., Any], numbers: Path) -> None:
    terminal = in_terminal("scan", numbers)
    terminal.expect(r"numbers\.npy: +0%\|")
    assert terminal.before.strip() == ""
    terminal.expect(r"\r {40,}\r\x1b\[1m")  # the bar is wiped, and the title bold
    terminal.expect_exact("\x1b[36m██")  # cyan
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


@pytest.mark.parametrize("option", ["--quiet", "-q"])
def test_a_quiet_scan_shows_no_bar(
    in_terminal: Callable[..., Any], option: str, numbers: Path
) -> None:
    terminal = in_terminal("scan", option, numbers)
    terminal.expect(pexpect.EOF)
    assert terminal.before is not None
    assert "numbers.npy\x1b[0m" in terminal.before
    assert "%|" not in terminal.before


def test_interrupt_ends_a_long_scan_at_once(
    in_terminal: Callable[..., Any], tmp_path: Path
) -> None:
    path = sparse(tmp_path / "long", 64 * GIB)
    terminal = in_terminal("scan", path)
    terminal.expect(r"long: +[1-9]\d*%\|")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert terminal.before is not None
    assert "Traceback" not in terminal.before


def test_the_terminal_is_as_it_was_after_an_interrupt(tmp_path: Path) -> None:
    path = sparse(tmp_path / "long", 64 * GIB)
    shell = pexpect.spawn(
        "/bin/sh", env=ENVIRONMENT | {"PS1": "ready"}, encoding="utf-8", codec_errors="replace"
    )
    shell.expect_exact("ready")
    shell.sendline(f"stty -a; {subprocess.list2cmdline([*COMMAND, 'scan', str(path)])}")
    shell.expect(r"(speed .*?)long: +0%\|")
    before = shell.match[1]
    shell.expect(r"long: +[1-9]\d*%\|")
    shell.sendintr()
    shell.expect_exact("ready")
    shell.sendline("echo status $?; stty -a; echo end")
    shell.expect(r"status 130\r\n(speed .*)end\r\n")
    assert " echo " in before
    assert before.split() == shell.match[1].split()


def test_json_keeps_texts_as_they_are(run_command: Callable[..., Any], tmp_path: Path) -> None:
    names = ["a [1,  2]", "b [  ]", 'c "[']
    for name in names:
        (tmp_path / name).touch()
    entries = run_command("residency", "--json", tmp_path).json
    assert [Path(entry["path"]).name for entry in entries] == names
