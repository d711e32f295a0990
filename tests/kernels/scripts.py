"""Scripts of tests, each run by an interpreter of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mmapio

__all__ = ["LIMIT_S", "run_script"]

LIMIT_S = 580  # most of it may be spent on compiling, beside other tests


def run_script(script: str, *how: str, longer: float = 1, **environment: str) -> list[str]:
    """Run a script, where warnings are errors, and return what it printed; a crash is a status."""
    path = str(Path(mmapio.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-W", "error", script, *how],
        env=os.environ | {"PYTHONPATH": path} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S * max(1.0, longer),
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout.splitlines()
