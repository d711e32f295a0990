"""The end of the interpreter under open mappings: silent and clean."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmapio

BEGIN = """
import sys
import numpy as np
import mmapio
m = mmapio.MappedFile.open(sys.argv[1], "r+")
m.write(0, b"last")
"""

ENDINGS = {
    "a mapping": "",
    "a view": "view = m.view()",
    "a view and no mapping": "view = m.view(); del m",
    "a typed view of a view": "view = m.view(0, 80, 'f8')[2:]",
    "a buffer": "buffer = memoryview(m); array = np.asarray(m)",
    "a descriptor": "m.fileno()",
    "a reader": "import io; reader = io.BufferedReader(m.reader()); reader.read(2)",
    "a decoder": "import io; text = io.TextIOWrapper(m.reader(), 'latin-1'); text.read(2)",
    "a segment": "segment = m.segment(0, 5)",
    "pieces to come": "pieces = m.pages(); next(pieces)",
    "moved memory": "view = m.view(); m.resize(100_000, force=True); later = m.view()",
    "covered memory": "view = m.view(); m.resize(4, force=True)",
    "a forced close": "view = m.view(); m.close(force=True)",
    "a cycle": "cycle = [m, m.view(), m.reader()]; cycle.append(cycle); del m",
    "a cycle that nobody has": "cycle = [m, m.view()]; cycle.append(cycle); del m, cycle",
    "an array": "a = mmapio.open(sys.argv[1], 'r+', dtype='u1'); part = a[5:]",
    "no file": "anonymous = mmapio.MappedFile.anonymous(10); view = anonymous.view()",
    "an attribute of a class": "class Holder: held = m; view = m.view()",
    "an attribute of a module": "np.held = m; np.view = m.view(); sys.held = m.view()",
    "a default": "def function(held=m, view=m.view()): pass",
    "many": "many = [mmapio.MappedFile.open(sys.argv[1], 'c') for _ in range(1000)]",
    "an open with block": "m.__enter__(); view = m.view()",
    "sys.exit": "view = m.view(); sys.exit(0)",
    "atexit": "import atexit; atexit.register(m.close); atexit.register(m.flush)",
    "atexit with force": "import atexit; view = m.view(); atexit.register(m.close, force=True)",
    "a finalizer": "import weakref; weakref.finalize(m, print, end='')",
    "a thread": """
import threading, time
def use():
    while True:
        m.read(); m.view()[5:10] = 9; m.flush(0, 1, wait=False)
threading.Thread(target=use, daemon=True).start()
time.sleep(0.1)
""",
    "a last use": """
class Last:
    def __init__(self, m):
        self.m, self.view = m, m.view()
    def __del__(self):
        assert self.m.read(0, 4) == self.view[:4].tobytes() == b"last"
last = Last(m)
del m
""",
}


# Each ending is that of a forked child: an interpreter that has imported everything already.
FORKS = """
import os, sys, traceback
import mmapio
mmapio.MappedFile.anonymous(1)
found = []
for name, ending in eval(sys.argv[2]).items():
    with open(sys.argv[1], "wb") as file:
        file.write(bytes(5000))
    child = os.fork()
    if child == 0:
        errors = os.open(sys.argv[1] + " errors", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(errors, 1)
        os.dup2(errors, 2)
        exec(ending)
        break
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open(sys.argv[1] + " errors") as file:
        said = file.read()
    with open(sys.argv[1], "rb") as file:
        data = file.read(4)
    if (status, said, data) != (0, "", b"last"):
        found.append(f"{name}: {status} {data} {said}")
else:
    sys.exit(chr(10).join(found) or 0)
"""


def end(code: str, path: Path, *options: str, more: str = "") -> subprocess.CompletedProcess[str]:
    package = str(Path(mmapio.__file__).parents[1])
    return subprocess.run(
        [sys.executable, *options, "-c", code, str(path), more],
        env=os.environ | {"PYTHONPATH": package},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(5000))
    return path


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
@pytest.mark.parametrize("options", [(), ("-X", "dev", "-W", "error")])
def test_the_interpreter_ends_in_silence(path: Path, options: tuple[str, ...]) -> None:
    endings = {name: BEGIN + ending for name, ending in ENDINGS.items()}
    done = end(FORKS, path, *options, more=repr(endings))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("ending", ["a view", "a reader", "a cycle", "an attribute of a module"])
def test_an_interpreter_of_its_own_does_too(path: Path, ending: str) -> None:
    done = end(BEGIN + ENDINGS[ending], path, "-X", "dev", "-W", "error")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert path.read_bytes()[:4] == b"last"


def test_an_error_that_ends_it_is_all_there_is_to_see(path: Path) -> None:
    done = end(
        BEGIN + "view = m.view()\nwith m:\n    kept = m.view()\n    1 / 0", path, "-X", "dev"
    )
    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert done.stderr.count("Error") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_end_in_silence_too(path: Path, method: str) -> None:
    script = path.with_name("script.py")
    script.write_text(f"""
import multiprocessing, sys
import mmapio

def use(m, view=None):
    m.write(0, b"child")
    global kept
    kept = m, m.view()

if __name__ == "__main__":
    m = mmapio.MappedFile.open(sys.argv[1], "r+")
    kept = m.view()
    child = multiprocessing.get_context({method!r}).Process(target=use, args=(m,))
    child.start()
    child.join()
    assert child.exitcode == 0
""")
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", str(script), str(path)],
        env=os.environ | {"PYTHONPATH": str(Path(mmapio.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert path.read_bytes()[:5] == b"child"
