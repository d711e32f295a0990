"""`mmapio residency`: bars, pictures, and files that are followed."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest

from mmapio.cli.evict import evict_file

SIZE = 1 << 20
pytestmark = [
    pytest.mark.page_cache,
    pytest.mark.skipif(
        sys.platform == "win32", reason="Windows does not tell what its cache holds of a file"
    ),
]


def test_residency_draws_a_bar(run_command: Callable[..., Any], path: Path) -> None:
    found = run_command("residency", path)
    assert (found.status, found.err) == (0, "")
    name, bar, figures = found.out.splitlines()
    assert name == str(path)
    assert bar == "  " + "█" * 70 + "  100.0%"
    assert figures.startswith("  1.00 MiB of 1.00 MiB in memory")


@pytest.mark.parametrize("columns", [5, 20, 40, 100, 300])
def test_bars_fit_the_terminal(run_command: Callable[..., Any], columns: int, path: Path) -> None:
    bar = run_command("residency", path, columns=columns).out.splitlines()[1]
    assert len(bar) == min(max(columns, 14), 100)


def test_residency_of_what_was_evicted(run_command: Callable[..., Any], cold: Path) -> None:
    bar, figures = run_command("residency", cold).out.splitlines()[1:]
    assert bar == "  " + "·" * 70 + "    0.0%"
    assert figures == "  0 bytes of 1.00 MiB in memory"


def test_residency_of_a_tree(run_command: Callable[..., Any], tree: Path) -> None:
    found = run_command("residency", tree)
    assert (found.status, found.err) == (0, "")
    names = [line for line in found.out.splitlines() if line.startswith(str(tree))]
    assert names == [str(tree / name) for name in ("b", "empty", "holes", "deep/a")]
    assert "\n4 files\n  " in found.out
    assert found.out.count("%") == 4  # none of the empty file, one of all


def test_residency_as_json(run_command: Callable[..., Any], path: Path, tree: Path) -> None:
    found = run_command("residency", "--json", path, tree / "empty", tree / "none")
    whole, empty, broken = found.json
    assert found.status == 1
    assert (whole["path"], whole["length"], whole["resident"]) == (str(path), SIZE, SIZE)
    assert len(whole["map"]) == 128
    assert (empty["fraction"], empty["map"]) == (1, [])
    assert set(broken) == {"path", "error"}
    assert len(found.out.splitlines()) < 40  # a line for a map, not one for each of its numbers


def test_residency_draws_a_picture(
    run_command: Callable[..., Any], tree: Path, tmp_path: Path
) -> None:
    from PIL import Image

    picture = tmp_path / "picture.png"
    found = run_command("residency", tree, "--png", picture)
    assert (found.status, found.err) == (0, "")
    with Image.open(picture) as image:
        assert image.width > 1000
        assert image.height > 4 * 100
        assert len(image.getcolors(1 << 24)) > 10


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("none/picture.png", "cannot draw: No such file or directory"),
        (".", "cannot draw: a directory is there"),
    ],
)
def test_a_picture_that_cannot_be_written(
    run_command: Callable[..., Any], target: str, complaint: str, path: Path, tmp_path: Path
) -> None:
    found = run_command("residency", path, "--png", tmp_path / target)
    assert found.status == 1
    assert complaint in found.err
    assert "in memory" in found.out


def test_an_old_picture_stays_if_a_new_one_cannot_be_written(
    run_command: Callable[..., Any], path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"old")

    def fail(*arguments: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = sorted(os.listdir(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        found = run_command("residency", path, "--png", picture)
    assert (found.status, picture.read_bytes()) == (1, b"old")
    assert "cannot draw: No space left" in found.err
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no devices among its files")
def test_a_picture_is_written_to_a_device(run_command: Callable[..., Any], path: Path) -> None:
    assert run_command("residency", path, "--png", os.devnull).status == 0


@pytest.mark.parametrize(
    ("name", "begin"), [("a.pdf", b"%PDF"), ("a.SVG", b"<?xml"), ("a", b"\x89PNG")]
)
def test_a_picture_is_what_its_suffix_says(
    run_command: Callable[..., Any], name: str, begin: bytes, path: Path, tmp_path: Path
) -> None:
    found = run_command("residency", path, "--png", tmp_path / name)
    assert (found.status, found.err) == (0, "")
    assert (tmp_path / name).read_bytes().startswith(begin)


def test_a_picture_of_an_unknown_kind(
    run_command: Callable[..., Any], path: Path, tmp_path: Path
) -> None:
    found = run_command("residency", path, "--png", tmp_path / "a.xyz")
    assert found.status == 1
    assert re.search("cannot draw '.*a.xyz': .*supported formats: .*png", found.err)


def test_a_picture_of_nothing(run_command: Callable[..., Any], tmp_path: Path) -> None:
    found = run_command("residency", tmp_path / "none", "--png", tmp_path / "picture.png")
    assert found.status == 1
    assert "there is nothing to draw" in found.err
    assert list(tmp_path.iterdir()) == []


def test_a_picture_without_matplotlib(
    run_command: Callable[..., Any], path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    found = run_command("residency", path, "--png", tmp_path / "picture.png")
    assert found.status == 1
    assert "pip install 'mmapio[plot]'" in found.err


def test_a_pipe_that_knows_only_ascii(run_apart: Callable[..., Any], path: Path) -> None:
    found = run_apart("residency", path, PYTHONIOENCODING="ascii", COLUMNS="40")
    assert (found.status, found.err) == (0, "")
    assert found.out.splitlines()[1] == "  " + "#" * 30 + "  100.0%"


def test_a_terminal_gets_colours_and_may_refuse_them(
    in_terminal: Callable[..., Any], path: Path
) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    terminal = in_terminal("residency", path)
    terminal.expect_exact("\x1b[36m" + "█" * 70 + "\x1b[0m")  # cyan; what is dirty is yellow
    terminal.expect(pexpect.EOF)
    terminal = in_terminal("residency", path, NO_COLOR="1")
    terminal.expect(pexpect.EOF)
    assert "\x1b[36m" not in terminal.before
    assert "█" in terminal.before


def test_watch_follows_until_interrupted(in_terminal: Callable[..., Any], cold: Path) -> None:
    terminal = in_terminal("residency", "--watch", "--interval", "0.05", cold)
    terminal.expect(r"0\.0%")
    cold.read_bytes()
    terminal.expect(r"100\.0%")
    evict_file(cold)
    terminal.expect(r"  0\.0%")
    cold.unlink()
    terminal.expect(r"No such file or directory")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert "Traceback" not in terminal.before


def test_watch_follows_the_size_of_the_terminal(
    in_terminal: Callable[..., Any], path: Path, tmp_path: Path
) -> None:
    for n in range(12):
        (tmp_path / f"small{n:02}").write_bytes(b"x")
    terminal = in_terminal(
        *("residency", "--watch", "--interval", "0.05", "."),
        columns=60,
        folder=tmp_path,  # so that names are short: what is too wide is cut off
        COLUMNS=None,
        LINES=None,
    )
    # Of 23 lines the total takes two, and what is left out one: six files of three lines fit.
    terminal.expect_exact("... and 7 more")
    terminal.expect_exact("13 files")
    terminal.setwinsize(12, 40)
    terminal.expect_exact("... and 11 more")
    terminal.expect_exact("13 files")
    terminal.expect(r"[^█](█+)\x1b")
    assert len(terminal.match[1]) == 30
    terminal.setwinsize(60, 90)
    terminal.expect_exact("small11")
    terminal.expect_exact("13 files")
    terminal.expect(r"[^█](█+)\x1b")
    assert len(terminal.match[1]) == 80
    terminal.sendintr()
    terminal.expect(pexpect.EOF)


def test_watch_in_a_pipe_goes_on_below(
    start: Callable[..., subprocess.Popen[str]], path: Path
) -> None:
    with start("residency", "-w", "--interval", "0.01", path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = [process.stdout.readline() for _ in range(9)]
        process.stdout.close()
        assert process.stderr.read() == ""
    assert seen[:3] == seen[3:6] == seen[6:]
    assert re.search(r"100\.0%", seen[1])
