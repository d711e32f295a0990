"""Fixtures of the commands: processes, terminals, and files to work on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pexpect
import pytest

import mmapio
from mmapio import _os
from mmapio.cli.evict import evict_file

COMMAND = [sys.executable, "-W", "error", "-m", "mmapio"]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(Path(mmapio.__file__).parents[1]),
    "PYTHONUNBUFFERED": "",  # output that waits until the end can meet a pipe that was closed
}
SIZE = 1 << 20


class Result(NamedTuple):
    """Output of a command, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_constant=pytest.fail)


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """Return a function that starts a command, whose output goes into pipes.

    Keywords are added to the environment.
    """

    def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            env=ENVIRONMENT | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    return start


@pytest.fixture
def run_apart(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., Result]:
    """Return a function that runs a command in a process of its own."""

    def run(*arguments: str | Path, **environment: str) -> Result:
        with start(*arguments, **environment) as process:
            out, err = process.communicate(timeout=100)
        return Result(process.returncode, out, err)

    return run


@pytest.fixture
def in_terminal() -> Callable[..., Any]:
    """Return a function that starts a command in a terminal.

    `command` replaces ``python -m mmapio``; keywords are added to the environment, and None takes
    a variable out of it.
    """
    if not hasattr(pexpect, "spawn"):
        pytest.skip("this platform has no pseudo-terminals")

    def start(
        *arguments: str | Path,
        command: Sequence[str] = COMMAND,
        rows: int = 24,
        columns: int = 80,
        folder: Path | None = None,
        **environment: str | None,
    ) -> pexpect.spawn[str]:
        terminal = {"TERM": "xterm-256color", "COLUMNS": str(columns)}
        variables = ENVIRONMENT | terminal | environment
        return pexpect.spawn(
            command[0],
            [*command[1:], *map(str, arguments)],
            cwd=folder and str(folder),
            env={name: value for name, value in variables.items() if value is not None},
            dimensions=(rows, columns),
            encoding="utf-8",
            codec_errors="replace",  # what is ended may be in the middle of a character
            timeout=60,
        )

    return start


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.npy"
    np.save(path, np.random.default_rng(7).normal(size=(1000, 20)))
    return path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.write_text("two words\n" * 100)
    return path


@pytest.fixture
def truncated(tmp_path: Path) -> Path:
    path = tmp_path / "truncated.npy"
    np.save(path, np.zeros(1000))
    os.truncate(path, 5000)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(np.random.default_rng(7).bytes(SIZE))
    return path


@pytest.fixture
def cold(path: Path) -> Path:
    if evict_file(path).after.resident:
        pytest.skip("this file system keeps pages in memory when it is asked to drop them")
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder of what there is: files, nothing, holes, pipes and links."""
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "a").write_bytes(b"a" * 3 * _os.PAGE_SIZE)
    (tree / "b").write_bytes(b"b" * 100)
    (tree / "empty").touch()
    with (tree / "holes").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"h" * _os.PAGE_SIZE)
    os.mkfifo(tree / "pipe")
    (tree / "link").symlink_to("b")
    return tree
