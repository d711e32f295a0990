"""Linking of what LLVM emits into position-independent code: one section, with words after it.

What the code calls outside of itself it finds by these words, which are the only thing in it that
differs between processes. Each is reached by a stub beside the code, relative to its own position:
one that jumps to the address in the word, or one that returns the word.

Sources: the System V ABI on object files (ELF-64), its supplements for AMD64 (R_X86_64_PLT32) and
AArch64 (R_AARCH64_CALL26, and x16 for stubs), and their manuals on the instructions in the stubs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

__all__ = ["MACHINES", "UnlinkableError", "link"]

_ALLOCATED: Final = 2  # of a section's flags: it is in memory while the code runs
_RELOCATIONS: Final = 4  # types of sections
_SYMBOLS: Final = 2
_FUNCTION: Final = 2  # type of a symbol
# Code of this length is within reach of what AArch64 loads relative to its own position.
_LONGEST_CODE: Final = 1 << 19
_ALIGNMENT: Final = 16

_unpack_section_place: Final = struct.Struct("<40xQ10xHHH").unpack_from
_Patch = Callable[[bytearray, int, int], None]


class UnlinkableError(Exception):
    """Raised when LLVM has emitted something that cannot be kept."""


class _Section(NamedTuple):
    name: bytes
    type: int
    flags: int
    content: bytes
    info: int


class _Symbol(NamedTuple):
    name: str
    is_function: bool
    section: int
    offset: int


class _Machine(NamedTuple):
    """Relocations that can be done, by type, and the stubs for functions and for values."""

    patches: dict[int, _Patch]
    jump: Callable[[int], bytes]
    fetch: Callable[[int], bytes]


def _patch_amd64(code: bytearray, at: int, distance: int) -> None:
    struct.pack_into("<i", code, at, distance)


def _patch_aarch64(code: bytearray, at: int, distance: int) -> None:
    (instruction,) = struct.unpack_from("<I", code, at)
    struct.pack_into("<I", code, at, instruction | (distance >> 2 & 0x3FF_FFFF))


MACHINES: Final = {
    "x86_64": _Machine(
        {2: _patch_amd64, 4: _patch_amd64},  # R_X86_64_PC32, R_X86_64_PLT32
        lambda distance: b"\xff\x25" + struct.pack("<i", distance - 6),  # jmp *word(%rip)
        # mov word(%rip), %rax; ret
        lambda distance: b"\x48\x8b\x05" + struct.pack("<i", distance - 7) + b"\xc3",
    ),
    "aarch64": _Machine(
        {282: _patch_aarch64, 283: _patch_aarch64},  # R_AARCH64_JUMP26, R_AARCH64_CALL26
        # ldr x16, word; br x16
        lambda distance: struct.pack("<II", 0x5800_0010 | distance >> 2 << 5, 0xD61F_0200),
        # ldr x0, word; ret
        lambda distance: struct.pack("<II", 0x5800_0000 | distance >> 2 << 5, 0xD65F_03C0),
    ),
}


def link(
    emitted: bytes, machine: str, functions: Sequence[str], values: Sequence[str]
) -> tuple[bytes, dict[str, int]]:
    """Return position-independent code and where its functions begin.

    A word for each function and each value is to follow it.
    """
    sections = list(_sections(emitted))
    text = _only_code(sections)
    symbols = list(_symbols(sections))
    code = bytearray(sections[text].content)
    offsets = {s.name: s.offset for s in symbols if s.section == text and s.is_function}
    stubs = _append_stubs(code, MACHINES[machine], functions, values)
    for at, kind, symbol, addend in _relocations(sections, text):
        name = symbols[symbol].name
        is_here = symbols[symbol].section == text
        to = symbols[symbol].offset if is_here else stubs.get(name)
        patch = MACHINES[machine].patches.get(kind)
        if to is None or patch is None:
            raise UnlinkableError(f"a relocation of type {kind} to {name or 'data'!r}")
        patch(code, at, to + addend - at)
    return bytes(code), offsets


def _append_stubs(
    code: bytearray, machine: _Machine, functions: Sequence[str], values: Sequence[str]
) -> dict[str, int]:
    """Append a stub for each name; return where they are."""
    start = len(code) + -len(code) % _ALIGNMENT
    names = (*functions, *values)
    words = start + _ALIGNMENT * len(names)
    if words + 8 * len(names) > _LONGEST_CODE:
        raise UnlinkableError(f"{len(code)} bytes of code")
    stubs = {name: start + _ALIGNMENT * n for n, name in enumerate(names)}
    code.extend(bytes(words - len(code)))
    for n, at in enumerate(stubs.values()):
        make = machine.jump if n < len(functions) else machine.fetch
        stub = make(words + 8 * n - at)
        code[at : at + len(stub)] = stub
    return stubs


def _sections(emitted: bytes) -> Iterator[_Section]:
    """Yield the sections of an object file."""
    start, size, count, names = _unpack_section_place(emitted)
    if emitted[:6] != b"\x7fELF\2\1" or size != 64:
        raise UnlinkableError("not a little-endian ELF-64 object")
    rows = [
        struct.unpack_from("<IIQQQQIIQQ", emitted, start + size * number) for number in range(count)
    ]
    for name, type_, flags, _, offset, length, _, info, *_ in rows:
        begin = rows[names][4] + name
        yield _Section(
            emitted[begin : emitted.index(b"\0", begin)],
            type_,
            flags,
            emitted[offset : offset + length],
            info,
        )


def _only_code(sections: list[_Section]) -> int:
    """Return the number of the section of code; there must be no other that it needs."""
    needed = {
        number: section.name
        for number, section in enumerate(sections)
        # Nothing unwinds through the code, so what only serves that is left out.
        if section.flags & _ALLOCATED and section.content and section.name != b".eh_frame"
    }
    if list(needed.values()) != [b".text"]:
        raise UnlinkableError(f"sections {list(needed.values())}")
    return next(iter(needed))


def _symbols(sections: list[_Section]) -> Iterator[_Symbol]:
    """Yield the symbols of an object file, in the order that relocations number them in."""
    names = next(s.content for s in sections if s.name == b".strtab")
    table = next(s.content for s in sections if s.type == _SYMBOLS)
    for start, info, _, section, offset, _ in struct.iter_unpack("<IBBHQQ", table):
        name = names[start : names.index(b"\0", start)].decode()
        yield _Symbol(name, info & 15 == _FUNCTION, section, offset)


def _relocations(sections: list[_Section], text: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (offset, type, number of the symbol, addend) of what is to be patched in the code."""
    for section in sections:
        if section.type == _RELOCATIONS and section.info == text:
            for at, info, addend in struct.iter_unpack("<QQq", section.content):
                yield at, info & 0xFFFF_FFFF, info >> 32, addend
