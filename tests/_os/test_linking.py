"""Linking of position-independent code, for both architectures, whichever this machine has."""

from __future__ import annotations

import llvmlite.binding as llvm
import pytest

from mmapio._os._linking import MACHINES, UnlinkableError, link

CALLING = """
declare i64 @strlen(i64)
declare i64 @syscall(i64, ...)
declare i64 @table()
define internal i64 @own(i64 %x) noinline {
  %y = call i64 @strlen(i64 %x)
  %z = add i64 %y, 1
  ret i64 %z
}
define i64 @first(i64 %x) {
  %t = call i64 @table()
  %y = call i64 @own(i64 %t)
  %z = call i64 (i64, ...) @syscall(i64 %y, i64 1)
  ret i64 %z
}
define i64 @second(i64 %x) {
  %y = call i64 @first(i64 %x)
  %z = tail call i64 @strlen(i64 %y)
  ret i64 %z
}
"""
UNLINKABLE = {
    "a global": """
@here = global i64 1
define i64 @f(i64 %x) {
  %y = load i64, POINTER @here
  ret i64 %y
}
""",
    "a table of jumps": """
define i64 @f(i64 %x) {
  switch i64 %x, label %other [ i64 0, label %a  i64 1, label %b  i64 2, label %c  i64 3, label %d
    i64 4, label %a  i64 5, label %c  i64 6, label %b  i64 7, label %a ]
a:
  ret i64 11
b:
  ret i64 9
c:
  ret i64 700
d:
  ret i64 2
other:
  ret i64 5
}
""",
    "a call of what nobody names": """
declare i64 @missing(i64)
define i64 @f(i64 %x) {
  %y = call i64 @missing(i64 %x)
  %z = add i64 %y, 1
  ret i64 %z
}
""",
}


def emit(ir: str, machine: str) -> bytes:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        module = llvm.parse_assembly(ir.replace("POINTER", "ptr"))
    except RuntimeError:  # before LLVM 16 pointers have types
        module = llvm.parse_assembly(ir.replace("POINTER", "i64*"))
    target = llvm.Target.from_triple(f"{machine}-unknown-linux-gnu")
    options = {"opt": 1, "reloc": "static", "codemodel": "small"}
    emitted: bytes = target.create_target_machine(**options).emit_object(module)
    return emitted


def linked(ir: str, machine: str) -> tuple[bytes, dict[str, int]]:
    return link(emit(ir, machine), machine, ["strlen", "syscall"], ["table"])


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_are_linked(machine: str) -> None:
    code, offsets = linked(CALLING, machine)
    assert set(offsets) == {"own", "first", "second"}
    assert max(offsets.values()) < len(code)
    assert len(code) % 16 == 0


def test_amd64_calls_go_where_they_should() -> None:
    code, offsets = linked("declare i64 @table()\ndefine i64 @f() {\n  %x = call i64 @table()\n"
                           "  %y = add i64 %x, 1\n  ret i64 %y\n}", "x86_64")  # fmt: skip
    at = code.index(b"\xe8", offsets["f"])
    stub = at + 5 + int.from_bytes(code[at + 1 : at + 5], "little", signed=True)
    assert code[stub : stub + 3] == b"\x48\x8b\x05"  # mov word(%rip), %rax
    word = stub + 7 + int.from_bytes(code[stub + 3 : stub + 7], "little", signed=True)
    assert word == len(code) + 2 * 8  # the words of two functions are before it


def test_aarch64_calls_go_where_they_should() -> None:
    code, offsets = linked("declare i64 @table()\ndefine i64 @f() {\n  %x = call i64 @table()\n"
                           "  %y = add i64 %x, 1\n  ret i64 %y\n}", "aarch64")  # fmt: skip
    words = memoryview(code).cast("I")
    at = next(n for n in range(offsets["f"] // 4, len(words)) if words[n] >> 26 == 0b100101)  # bl
    stub = at + (words[at] & 0x3FF_FFFF)
    assert words[stub] >> 24 == 0x58  # ldr x0, word
    assert words[stub] & 31 == 0
    assert 4 * (stub + (words[stub] >> 5 & 0x7_FFFF)) == len(code) + 2 * 8


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", UNLINKABLE)
def test_what_needs_more_than_code_is_refused(name: str, machine: str) -> None:
    with pytest.raises(UnlinkableError):
        linked(UNLINKABLE[name], machine)


def test_another_format_is_refused() -> None:
    with pytest.raises(UnlinkableError, match="not a little-endian ELF-64 object"):
        link(b"MZ" + bytes(100), "x86_64", [], [])
