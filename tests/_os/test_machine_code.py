"""Machine code that is kept on disk, and what is not trusted there."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmapio._os._code_files import key_of
from mmapio._os._machine_code import _makers, address_in, can_keep, machine_code

pytestmark = pytest.mark.skipif(not can_keep(), reason="no machine code is kept here")

ANOTHER_USER = 54321
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

IR = """
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
"""
# Calls it, and tells whether LLVM was needed.
RUN = f"""
import ctypes, os, sys
from mmapio._os import _code_files, _linking, _room_to_compile
from mmapio._os._code_files import key_of
from mmapio._os._machine_code import address_in, machine_code
link, linked = _linking.link, []
_linking.link = lambda *whatever: linked.append(1) or link(*whatever)
BEFORE
word = ctypes.c_uint64(1000)
functions = {{"getppid": address_in(ctypes.CDLL(None), "getppid")}}
try:
    addresses = machine_code({IR!r}, functions, {{"word": ctypes.addressof(word)}})
except OSError as error:
    print(error)
else:
    result = ctypes.CFUNCTYPE(ctypes.c_uint64)(addresses["both"])() - os.getppid()
    print("compiled" if linked else "kept", result)
"""
COMPILED, KEPT = "compiled 1000", "kept 1000"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that other users can read."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def run(run_python: Callable[..., str], folder: Path) -> Callable[..., str]:
    def run(before: str = "", **environment: str) -> str:
        where = {"NUMBA_CACHE_DIR": str(folder)} | environment
        return run_python(RUN.replace("BEFORE", before), **where).strip()

    return run


def test_code_is_compiled_once(run: Callable[..., str]) -> None:
    assert [run(), run(), run()] == [COMPILED, KEPT, KEPT]


def test_another_linker_makes_code_anew(run: Callable[..., str]) -> None:
    run()
    assert (
        run("from mmapio._os import _machine_code\n_machine_code._makers = lambda: [7]") == COMPILED
    )


def test_llvm_is_not_loaded_for_code_that_was_kept(run: Callable[..., str]) -> None:
    run()
    assert run("sys.modules['llvmlite'] = sys.modules['numba'] = None") == KEPT


# What could be done to a file ------------------------------------------------------------------

OTHER_CODE = {
    "x86_64": bytes.fromhex("b807000000c3"),  # mov $7, %eax; ret
    "aarch64": bytes.fromhex("e0008052c0035fd6"),  # mov w0, #7; ret
}


@pytest.fixture
def planted(run: Callable[..., str], folder: Path) -> Path:
    """Return a file of code that does something else, with a digest that is right."""
    run()
    (file,) = folder.rglob("code-*")
    key = key_of(1, _makers(), platform.machine(), IR, ["getppid"], ["word"])
    body = kept_in(file, key)
    names, _, code = body.partition(b"\n")
    at = int(dict(pair.split(b"=") for pair in names.split())[b"both"])
    other = OTHER_CODE[platform.machine()]
    changed = names + b"\n" + code[:at] + other + code[at + len(other) :]
    file.write_bytes(hashlib.blake2b(key + changed, digest_size=32).digest() + changed)
    return file


def kept_in(file: Path, key: bytes) -> bytes:
    content = file.read_bytes()
    assert content[:32] == hashlib.blake2b(key + content[32:], digest_size=32).digest()
    return content[32:]


def test_a_file_of_this_user_is_run(run: Callable[..., str], planted: Path) -> None:
    """The code that the other tests plant does something if it is run."""
    told = run("os.getppid = lambda: 0")
    assert told == "kept 7"


def link_to(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


UNTRUSTED: dict[str, Callable[[Path], object]] = {
    "its group may write": lambda file: file.chmod(0o664),
    "all may write": lambda file: file.chmod(0o666),
    "a link": link_to,
    "another digest": lambda file: file.write_bytes(b"x" + file.read_bytes()[1:]),
    "cut off": lambda file: os.truncate(file, file.stat().st_size - 1),
}
if IS_ROOT:
    UNTRUSTED["another owner"] = lambda file: os.chown(file, ANOTHER_USER, -1)


@pytest.mark.parametrize("how", UNTRUSTED)
def test_a_file_that_is_not_trusted_is_not_run(
    run: Callable[..., str], planted: Path, how: str
) -> None:
    UNTRUSTED[how](planted)
    assert [run(), run()] == [COMPILED, KEPT]


AS_ANOTHER_USER = f"import llvmlite.binding; os.setuid({ANOTHER_USER})"
only_root = pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")


@only_root
def test_a_user_who_cannot_write_compiles_each_time(run: Callable[..., str], folder: Path) -> None:
    assert [run(AS_ANOTHER_USER), run(AS_ANOTHER_USER)] == [COMPILED, COMPILED]
    assert list(folder.rglob("code-*")) == []


@only_root
def test_what_root_has_kept_serves_all_users(run: Callable[..., str]) -> None:
    assert [run(), run(AS_ANOTHER_USER)] == [COMPILED, KEPT]


@only_root
def test_what_another_user_has_kept_does_not_serve_root(
    run: Callable[..., str], folder: Path
) -> None:
    folder.chmod(0o777)
    assert [run(AS_ANOTHER_USER), run(AS_ANOTHER_USER)] == [COMPILED, KEPT]
    assert [run(), run()] == [COMPILED, KEPT]


# Systems that let nobody make code -------------------------------------------------------------

# From linux/prctl.h: what is not executable never becomes so.
DENY_MAKING_EXECUTABLE = "assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0"
# A filter of system calls, from linux/seccomp.h and linux/filter.h: mprotect with PROT_EXEC is
# refused, as SELinux does, and so are files in memory.
DENY_ALL = """
import platform, struct
mprotect, memfd_create = {"x86_64": (10, 319), "aarch64": (226, 279)}[platform.machine()]
allow, refuse = 0x7FFF0000, 0x00050000 | 13
steps = [
    (0x20, 0, 0, 0),  # number of the system call
    (0x15, 5, 0, memfd_create),
    (0x15, 0, 3, mprotect),
    (0x20, 0, 0, 32),  # its third argument
    (0x45, 2, 0, 4),
    (0x06, 0, 0, allow),
    (0x06, 0, 0, allow),
    (0x06, 0, 0, refuse),
]
rules = b"".join(struct.pack("=HBBI", *step) for step in steps)
memory = ctypes.create_string_buffer(rules)
program = struct.pack("@HP", len(steps), ctypes.addressof(memory))
prctl = ctypes.CDLL(None).prctl
assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, program, 0, 0) == 0
"""


def has_deny_making_executable() -> bool:
    code = "import ctypes, sys; sys.exit(ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0)"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(not has_deny_making_executable(), reason="needs Linux 6.3 or newer")
def test_where_memory_cannot_become_executable_a_file_in_memory_is_mapped(
    run: Callable[..., str],
) -> None:
    assert [run(DENY_MAKING_EXECUTABLE), run(DENY_MAKING_EXECUTABLE)] == [COMPILED, KEPT]


def test_where_no_memory_can_be_executed_an_error_says_so(run: Callable[..., str]) -> None:
    for _ in range(2):
        assert run(DENY_ALL) == (
            "[Errno 13] no memory for machine code can be had, Permission denied"
        )


def test_memory_of_code_cannot_be_written(run: Callable[..., str]) -> None:
    tell = """
from mmapio import _os
map_code = _os.map_code
def tell(code):
    address = map_code(code)
    for area in open("/proc/self/maps"):
        low, high = (int(bound, 16) for bound in area.split()[0].split("-"))
        if low <= address < high:
            print(area.split()[1])
    return address
_os.map_code = tell
"""
    assert run(tell) == f"r-xp\n{COMPILED}"
    if has_deny_making_executable():
        assert run(tell + DENY_MAKING_EXECUTABLE) == f"r-xp\n{KEPT}"


# What cannot be kept -----------------------------------------------------------------------------


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
