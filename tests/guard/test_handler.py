"""The handler's code: kept on disk, so that the first file a process maps needs no compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm
import pytest

import mmapio
from mmapio import guard
from mmapio._os import _buffer311, _linking
from mmapio.guard import _handler

only_guarded = pytest.mark.skipif(guard.why_not() is not None, reason=f"{guard.why_not()}")

# Opens a file, loses it, and tells whether that took a compiler.
LOSE = """
import os, sys
import mmapio
path = sys.argv[1] + f"/{os.getpid()}"
with open(path, "wb") as file:
    file.write(b"1" * 40000)
a = mmapio.open(path, dtype="u1")
compiled = "llvmlite" in sys.modules
assert a[20000] == ord("1")
os.truncate(path, 100)
assert a[20000] == 0
try:
    a.check()
except mmapio.MappingLostError:
    print("compiled" if compiled else "kept")
"""


@only_guarded
def test_the_first_file_needs_no_compiler_once_there_is_code(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    kept = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    told = [run_python(LOSE, str(tmp_path), **kept).strip() for _ in range(2)]
    assert told == ["compiled", "kept"]


FIRST_USES = """
import sys
import numpy as np
import mmapio
folder = sys.argv[1]
np.save(folder + "/a.npy", np.arange(1000))
with open(folder + "/b", "wb") as file:
    file.write(bytes(10000))
for path, dtype in ((folder + "/a.npy", None), (folder + "/b", "u1")):
    a = mmapio.open(path, "r+", dtype=dtype)
    a[0] = a[1]
    a.flush()
    a.close()
a = mmapio.create(folder + "/c.npy", 1000, overwrite=True)
a[0] = 1
a.flush()
rows = mmapio.GrowableArray.open(folder + "/d.npy", "w+", dtype="f8")
rows.append(1)
rows.extend([1, 2])
rows.commit()
m = mmapio.MappedFile.open(folder + "/b", "r+")
m.view(0, 10)[0] = 1
memoryview(m)
m.close()
print(*(name for name in ("llvmlite", "numba") if name in sys.modules))
"""


@only_guarded
def test_no_first_use_needs_a_compiler_once_there_is_code(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    kept = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    run_python(FIRST_USES, str(tmp_path), **kept)
    assert run_python(FIRST_USES, str(tmp_path), **kept) == "\n"


@only_guarded
def test_eight_processes_may_be_first_at_once(tmp_path: Path) -> None:
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(Path(mmapio.__file__).parents[1]),
    }
    command = [sys.executable, "-W", "error", "-c", LOSE, str(tmp_path)]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    told = [process.communicate()[0].strip() for process in running]
    assert set(told) <= {"compiled", "kept"}
    assert "compiled" in told
    # Of drafts nothing is left.
    kept = {path.suffix for path in (tmp_path / "cache").rglob("code-*")}
    assert kept == {".bin"}


FORKED = """
import os, sys
import mmapio
path = sys.argv[1]
def fill():
    with open(path, "wb") as file:
        file.write(b"1" * 40000)
def lose(a):
    os.truncate(path, 100)
    return a[20000]
def forked(use):
    child = os.fork()
    if child == 0:
        os._exit(7 + use())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
fill()
forked(lambda: lose(mmapio.open(path, dtype="u1")))
fill()
a = mmapio.open(path, dtype="u1")
forked(lambda: lose(a))
print("llvmlite" in sys.modules)
"""


@only_guarded
def test_the_first_file_may_be_of_a_forked_child(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    kept = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    run_python(LOSE, str(tmp_path), **kept)
    assert run_python(FORKED, str(tmp_path / "a"), **kept) == "False\n"


@only_guarded
def test_two_threads_may_be_first_at_once(tmp_path: Path, run_python: Callable[..., str]) -> None:
    code = """
import sys, threading
import mmapio
barrier = threading.Barrier(4)
opened = []
def first():
    barrier.wait()
    opened.append(mmapio.open(sys.argv[1], dtype="u1"))
threads = [threading.Thread(target=first) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len({a.mapping.guarded for a in opened}), opened[0].mapping.guarded)
"""
    (tmp_path / "a").write_bytes(bytes(10000))
    kept = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for _ in range(2):
        assert run_python(code, str(tmp_path / "a"), **kept) == "1 True\n"


@only_guarded
def test_without_a_guard_nothing_is_compiled_or_kept(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    code = """
import sys
import mmapio
a = mmapio.open(sys.argv[1], dtype="u1")
print(a.mapping.guarded, "mmapio.guard._handler" in sys.modules)
"""
    (tmp_path / "a").write_bytes(bytes(10000))
    off = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "MMAPIO_GUARD": "0"}
    assert run_python(code, str(tmp_path / "a"), **off) == "False False\n"


@pytest.mark.parametrize("machine", _linking.MACHINES)
def test_the_handler_can_be_kept_on_every_machine_that_has_it(machine: str) -> None:
    code, offsets = linked(_handler._with_numbers(machine), machine, _handler._CALLED, "table")
    assert {"on_bus_error", "ensure"} <= set(offsets)
    assert len(code) < 4000


@pytest.mark.parametrize("machine", _linking.MACHINES)
def test_buffers_of_python_311_can_be_kept_on_every_machine(machine: str) -> None:
    ir = _buffer311._CODE.replace("WORD", "i64")
    _, offsets = linked(ir, machine, _buffer311._CALLED, "attribute")
    assert set(offsets) == {"get_buffer", "release_buffer"}


def linked(
    ir: str, machine: str, functions: tuple[str, ...], value: str
) -> tuple[bytes, dict[str, int]]:
    """Return code as it is linked for a machine, which need not be this one."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        module = llvm.parse_assembly(ir.replace("P64", "ptr").replace("P32", "ptr"))
    except RuntimeError:  # before LLVM 16 pointers have types
        module = llvm.parse_assembly(ir.replace("P64", "i64*").replace("P32", "i32*"))
    target = llvm.Target.from_triple(f"{machine}-unknown-linux-gnu")
    options = {"opt": 1, "reloc": "static", "codemodel": "small"}
    emitted = target.create_target_machine(**options).emit_object(module)
    return _linking.link(emitted, machine, functions, [value])
