"""Machine code that is kept on disk, and what is not trusted there."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest

from mmapio._os._machine_code import address_in, can_keep, machine_code

pytestmark = pytest.mark.skipif(not can_keep(), reason="no machine code is kept here")

# Calls it, and tells whether LLVM was needed.
RUN = """
import ctypes, os, sys
from mmapio._os._machine_code import address_in, machine_code
IR = '''
declare i32 @getppid()
declare i64 @word()
define i64 @get(i64 %at) {
  %pointer = inttoptr i64 %at to P64
  %value = load i64, P64 %pointer
  ret i64 %value
}
define i64 @both() {
  %at = call i64 @word()
  %word = call i64 @get(i64 %at)
  %pid = call i32 @getppid()
  %wide = zext i32 %pid to i64
  %sum = add i64 %word, %wide
  ret i64 %sum
}
'''
word = ctypes.c_uint64(1000)
libc = ctypes.CDLL(None)
addresses = machine_code(
    IR, {"getppid": address_in(libc, "getppid")}, {"word": ctypes.addressof(word)}
)
assert ctypes.CFUNCTYPE(ctypes.c_uint64)(addresses["both"])() == 1000 + os.getppid()
print("compiled" if "llvmlite" in sys.modules else "kept")
"""


@pytest.fixture
def run(run_python: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    return lambda code=RUN, **environment: run_python(
        code, **{"NUMBA_CACHE_DIR": str(tmp_path)} | environment
    ).strip()


def test_code_is_compiled_once(run: Callable[..., str]) -> None:
    assert [run(), run(), run()] == ["compiled", "kept", "kept"]


def test_what_is_not_linkable_is_compiled_each_time() -> None:
    ir = """
define double @more(double %x) {
  %y = fmul double %x, 0x3FF8000000000000
  ret double %y
}
"""
    address = machine_code(ir, {})["more"]
    assert ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(address)(3.0) == 4.5


def test_values_and_functions_reach_code_that_is_compiled_each_time() -> None:
    ir = """
declare i64 @strlen(i64)
declare i64 @text()
define i64 @length() {
  %at = call i64 @text()
  %result = call i64 @strlen(i64 %at)
  ret i64 %result
}
@unlinkable = global i64 1
"""
    text = ctypes.create_string_buffer(b"seven..")
    functions = {"strlen": address_in(ctypes.CDLL(None), "strlen")}
    address = machine_code(ir, functions, {"text": ctypes.addressof(text)})["length"]
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(address)() == 7
