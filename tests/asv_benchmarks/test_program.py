"""The programs beside the benchmarks: each starts from anywhere, and clears up when it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from gating import chosen

UNTIL_ENDED = """
import tempfile, time
from program import run

def main(arguments):
    with tempfile.TemporaryDirectory(dir="."):
        print(*arguments, flush=True)
        time.sleep(60)

run(main)
"""


@pytest.mark.parametrize(
    "name", ["compare.py", "gate.py", "honesty.py", "kernels_table.py", "ratios.py"]
)
def test_every_program_explains_itself(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(chosen.HERE / name), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {name} ")


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is told to end there")
def test_who_is_told_to_end_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text((chosen.HERE / "program.py").read_text())
    script = tmp_path / "until.py"
    script.write_text(UNTIL_ENDED)
    command = [sys.executable, str(script), "begun"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.terminate()
    assert process.returncode == 128 + 15
    assert [path for path in tmp_path.iterdir() if path.name.startswith("tmp")] == []
