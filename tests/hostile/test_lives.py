"""The guard through the life of a process: threads, forks, other interpreters, and the end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmapio import guard

pytestmark = pytest.mark.skipif(guard.why_not() is not None, reason=str(guard.why_not()))

BEGIN = """
import os, sys, threading
import numpy as np
import mmapio
path = sys.argv[1]
m = mmapio.MappedFile.open(path, "r+")
view = m.view()

def lose(mapping=m):
    os.truncate(path, 0)
    try:
        mapping.read()
    except mmapio.MappingLostError:
        return True
    return False
"""

LIVES = {
    "a child that is forked": """
child = os.fork()
if child == 0:
    os._exit(0 if lose() and view[-1] == 0 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert mmapio.guard.loss_of(m._region.row) is None  # what the child met, this process has not
assert lose()
""",
    "a child of a process that has met a loss": """
assert lose()
child = os.fork()
if child == 0:
    with open(path, "wb") as file:
        file.write(b"x" * 100_000)
    os._exit(0 if m.recover() and view[-1] == ord("x") and lose() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
""",
    "a thread that Python does not know": """
import ctypes
libc = ctypes.CDLL(None)
os.truncate(path, 0)
thread, byte = ctypes.c_ulong(), view.ctypes.data
start = ctypes.cast(libc.strlen, ctypes.c_void_p)  # reads there until it finds a zero
assert libc.pthread_create(ctypes.byref(thread), None, start, ctypes.c_void_p(byte)) == 0
assert libc.pthread_join(thread, None) == 0
assert lose()
""",
    "a view at the end of the interpreter": """
class Last:
    def __init__(self):
        self.view = view
    def __del__(self):
        assert self.view[-1] == 0
last = Last()
os.truncate(path, 0)
""",
    "an exit function": """
import atexit
atexit.register(lambda: print(lose()))
""",
    "a thread that goes on at the end": """
def read():
    while True:
        view[-1]
for _ in range(3):
    threading.Thread(target=read, daemon=True).start()
os.truncate(path, 0)
""",
    "an alignment fault is not of a file": """
import ctypes
from mmapio.guard import _handler, _table
words = _table.handler.words
on_bus_error = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(words[16])
info = (ctypes.c_int32 * 32)(7, 0, 1)  # BUS_ADRALN
ctypes.memmove(ctypes.addressof(info) + 16, ctypes.byref(ctypes.c_uint64(view.ctypes.data)), 8)
on_bus_error(7, info, None)
assert words[0] == 0 and view[0] == ord("1")
info[2] = 2  # BUS_ADRERR
with m.guard():  # which puts the handler back
    pass
on_bus_error(7, info, None)
assert words[0] == 1 and view[0] == 0
""",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"1" * 100_000)
    return path


@pytest.mark.parametrize("name", LIVES)
def test_the_guard_is_there(name: str, path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", BEGIN + LIVES[name], str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("True\n" if name == "an exit function" else "")


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="it uses a module of Python 3.11")
def test_an_interpreter_within_the_process_can_end(
    path: Path, run_python: Callable[..., str]
) -> None:
    """numpy lets itself be imported by one interpreter of a process, which need not be the main."""
    code = f"""
import os, signal
import _xxsubinterpreters as interpreters
other = interpreters.create(isolated=False)
interpreters.run_string(other, {f"import sys, warnings; sys.argv = ['', {str(path)!r}]"!r} + '''
warnings.simplefilter("ignore")
''' + {BEGIN!r} + "assert lose()")
interpreters.destroy(other)
signal.signal(signal.SIGBUS, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGBUS)
"""
    assert run_python(code) == "handled\n"


def test_threads_of_kernels_let_the_signal_through(
    path: Path, run_python: Callable[..., str]
) -> None:
    code = """
import os, signal, sys
import numpy as np
import mmapio
from mmapio import kernels
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGBUS])
with open(sys.argv[1], "wb") as file:
    file.truncate(64 << 20)
a = mmapio.open(sys.argv[1], dtype="u1")
kernels.sum(np.ones(64 << 20, "u1"), threads=4)  # starts the threads
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGBUS])
os.truncate(sys.argv[1], 0)
try:
    kernels.sum(a, threads=4)
except mmapio.MappingLostError:
    print("told")
"""
    assert run_python(code, str(path)) == "told\n"


@pytest.mark.parametrize("times", [1, 70])
def test_rows_are_used_again(path: Path, times: int) -> None:
    import mmapio

    mappings = [mmapio.MappedFile.open(path) for _ in range(times)]
    assert guard._table.handler is not None
    used = guard._table.handler.used
    for _ in range(3):
        for each in mappings:
            each.close()
        mappings = [mmapio.MappedFile.open(path) for _ in range(times)]
    assert guard._table.handler.used == used
    rows = {each._region.row for each in mappings}
    assert len(rows) == times
    assert 0 not in rows


def test_a_full_table_warns_and_maps_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mmapio
    from mmapio.guard import _handler

    mmapio.MappedFile.open(path).close()
    assert guard._table.handler is not None
    monkeypatch.setattr(guard._table, "free", [])
    monkeypatch.setattr(_handler, "ROWS", guard._table.handler.used)
    said = "can be guarded at once; this one is not"
    for deep in (
        lambda: mmapio.create(path.with_name("new.npy"), 10),
        lambda: mmapio.open(path, dtype="u1"),
        lambda: mmapio.GrowableArray.open(path.with_name("log.npy"), "w+", dtype="f8"),
    ):
        with pytest.warns(RuntimeWarning, match=said) as told:
            deep().close()
        assert {each.filename for each in told} == {__file__}
    with pytest.warns(RuntimeWarning, match=said):
        m = mmapio.MappedFile.open(path)
    assert not m.guarded
    assert m.read(0, 1) == b"1"
    os.truncate(path, 0)
    with pytest.raises(mmapio.MappingLostError):
        m.check()


def test_where_it_cannot_be_compiled_files_are_mapped_without_it(
    path: Path, run_python: Callable[..., str]
) -> None:
    code = """
import sys, warnings
import mmapio
sys.modules["mmapio.guard._handler"] = None
m = mmapio.MappedFile.open(sys.argv[1])
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    with m.guard():
        pass
print(m.guarded, m.read(0, 1), *(each.message for each in told))
"""
    assert "cannot be compiled here: import of mmapio.guard._handler halted" in run_python(
        code, str(path)
    )


def test_where_there_is_no_guard_a_block_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mmapio

    monkeypatch.setattr(guard._table, "handler", None)
    monkeypatch.setattr(guard, "why_not", lambda: "there is none for plan9 on pdp11")
    m = mmapio.MappedFile.open(path)
    assert not m.guarded
    said = "not guarded: there is none for plan9"
    with pytest.warns(RuntimeWarning, match=said) as told, m.guard():
        pass
    assert told[0].filename == __file__
    os.truncate(path, 100)
    with pytest.raises(mmapio.MappingLostError) as caught:
        m.check()
    assert (caught.value.start, caught.value.stop) == (100, 100_000)
    m.check(0, 100)
