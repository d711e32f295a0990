"""Programs under strace(1): what they ask of the kernel, and what if it fails or they die there."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import mmapio

WORKLOAD = Path(__file__).with_name("workload.py")
# All that changes a file, its position or a directory, or waits for a drive.
CALLS = (
    "write,pwrite64,lseek,ftruncate,fallocate,fsync,fdatasync,msync,linkat,rename,renameat,"
    "renameat2,unlink,unlinkat"
)
_LINE = re.compile(r"(?:\[pid +\d+\] |\d+ +)?(\w+)\((.*)\) += (-?\d+)")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Call(NamedTuple):
    """A system call: its name, the file of its first descriptor, its data, its other arguments."""

    name: str
    file: str
    data: bytes
    numbers: tuple[int, ...]
    result: int


def strace(*arguments: str, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
    """Run the workload under strace; return its exit status, what it printed, and the calls."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    command = ["strace", "-f", "-qq", *options, sys.executable, str(WORKLOAD), *arguments]
    path = str(Path(mmapio.__file__).parents[1])
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    if "ptrace" in done.stderr and "not permitted" in done.stderr:
        pytest.skip("this process may trace no other")
    return done.returncode, done.stdout, done.stderr


def calls(*arguments: str) -> list[Call]:
    """Run the workload, and return what it asked of the kernel, in order."""
    options = ("-y", "-x", "-s", "1000000", "-e", f"trace={CALLS}")
    status, _, trace = strace(*arguments, options=options)
    assert status == 0, trace[-3000:]
    return [call for line in trace.splitlines() if (call := parsed(line)) is not None]


def parsed(line: str) -> Call | None:
    """Return the call that a line of strace tells of."""
    match = _LINE.match(line)
    if match is None:
        return None
    name, arguments, result = match.groups()
    strings = _STRING.findall(arguments)
    data = ast.literal_eval(f'b"{strings[0]}"') if strings else b""
    file = re.match(r"\d+<((?:[^>\\]|\\.)*)>", arguments)
    others = _STRING.sub("", re.sub(r"<(?:[^>\\]|\\.)*>", "", arguments))
    numbers = tuple(int(number) for number in re.findall(r"(?<![\w.])\d+(?!\w)", others))
    return Call(name, file[1] if file else "", data, numbers, int(result))
