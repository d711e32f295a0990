"""Machine code from LLVM's language, compiled once per machine and kept on disk.

To load LLVM and compile takes 60 to 150 ms and 97 MiB in every process; to map what was kept takes
a tenth of a millisecond. Where code cannot be kept, it is compiled anew each time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from .. import _os

__all__ = ["address_in", "can_keep", "machine_code"]

_FORMAT: Final = 1  # of what is kept: another number makes all of it stale
# Sources that make something else of the same text when they change.
_MAKERS: Final = ("_linking.py", "_machine_code.py", "_native/_language.py")
_MACHINES: Final = ("x86_64", "aarch64")  # those that code can be linked for


def machine_code(
    ir: str,
    functions: Mapping[str, int],
    values: Mapping[str, int] | None = None,
    *,
    translate: Callable[[str], str] = str,
    compiles: bool = True,
) -> dict[str, int]:
    """Return the address of each function that is defined in LLVM's language.

    The code is executable, and is never freed. It is compiled if it is not on disk: so everything
    that differs between processes is in `functions` or in `values`, and nothing of it in `ir`.

    Parameters
    ----------
    ir : str
        The module. It declares what it calls: ``declare i32 @munmap(i64, i64)``. P64, P32 and P8
        are written for pointers, ``ptr`` or ``i64*`` by LLVM's version. It has no data of its own:
        no globals, no constants of floats or vectors, no `switch` with a table (four cases or more
        make one), nothing that becomes a call of memcpy or memset. What has is still compiled, but
        not kept.
    functions : mapping of str to int
        The addresses of the functions that it declares, by name.
    values : mapping of str to int, optional
        Words that it asks for, by name: ``declare i64 @table()``, and ``call i64 @table()``.
    translate : callable, optional
        Makes LLVM's language of `ir`, if that is another one; called only to compile.
    compiles : bool, default True
        False: what is not on disk is not compiled, and there are no addresses.

    Raises
    ------
    OSError
        If there is no room to compile, or the system refuses memory that can be executed.
    """
    values = values or {}
    kept = None
    if can_keep():
        kept = _kept(ir, [*functions], [*values], translate if compiles else None)
    if kept is None:
        return _compiled_here(translate(ir), functions, values) if compiles else {}
    words = struct.pack(f"={len(functions) + len(values)}Q", *functions.values(), *values.values())
    start = _os.map_code(kept.code + words)
    return {name: start + offset for name, offset in kept.offsets.items()}


def can_keep() -> bool:
    """Return whether code is kept on disk on this platform, if it can be written."""
    is_linux = sys.platform == "linux" and sys.maxsize > 1 << 32
    return is_linux and platform.machine() in _MACHINES


def address_in(library: ctypes.CDLL, name: str) -> int:
    """Return the address of a function of a library."""
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


class _Code(NamedTuple):
    """Position-independent code, which the words follow, and where its functions begin."""

    code: bytes
    offsets: dict[str, int]


def _kept(
    ir: str,
    functions: list[str],
    values: list[str],
    translate: Callable[[str], str] | None,
) -> _Code | None:
    """Return code from disk, or compile it and put it there; None if it cannot be kept.

    Without `translate` it is not compiled.
    """
    from ._code_files import keep_code, kept_code, key_of

    machine = platform.machine()
    key = key_of(_FORMAT, _makers(), machine, ir, functions, values)
    body = kept_code(key)
    if body is not None:
        return _unpack(body)
    if translate is None:
        return None
    from ._linking import UnlinkableError, link

    emitted = _emitted(translate(ir))
    try:
        code = _Code(*link(emitted, machine, functions, values))
    except UnlinkableError:
        return None
    keep_code(key, _pack(code))
    return code


def _makers() -> list[tuple[int, int]]:
    """Return the sizes and times of the sources of this room; none of a package in an archive."""
    folder = os.path.dirname(__file__)
    with contextlib.suppress(OSError):
        facts = [os.stat(os.path.join(folder, name)) for name in _MAKERS]
        return [(each.st_size, each.st_mtime_ns) for each in facts]
    return []


def _pack(kept: _Code) -> bytes:
    """Return one line of names and offsets, then the code."""
    names = " ".join(f"{name}={offset}" for name, offset in kept.offsets.items())
    return names.encode() + b"\n" + kept.code


def _unpack(body: bytes) -> _Code:
    names, _, code = body.partition(b"\n")
    pairs = (pair.partition("=") for pair in names.decode().split())
    return _Code(code, {name: int(offset) for name, _, offset in pairs})


def _module(ir: str) -> Any:
    """Return what LLVM makes of its language."""
    from ._room_to_compile import check_room_to_compile

    check_room_to_compile()
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    try:
        return llvm.parse_assembly(_with_pointers(ir, "ptr", "ptr", "ptr"))
    except RuntimeError:  # before LLVM 16 pointers have types
        return llvm.parse_assembly(_with_pointers(ir, "i64*", "i32*", "i8*"))


def _with_pointers(ir: str, p64: str, p32: str, p8: str) -> str:
    return ir.replace("P64", p64).replace("P32", p32).replace("P8", p8)


def _target() -> Any:
    import llvmlite.binding as llvm

    return llvm.Target.from_default_triple()


def _emitted(ir: str) -> bytes:
    """Return the object file of a module, for any machine of this kind."""
    module = _module(ir)
    # Not for position-independent code, which would want tables that there are none of.
    machine = _target().create_target_machine(opt=1, reloc="static", codemodel="small")
    emitted: bytes = machine.emit_object(module)
    return emitted


def _compiled_here(
    ir: str, functions: Mapping[str, int], values: Mapping[str, int]
) -> dict[str, int]:
    """Compile for this process alone."""
    for name, value in values.items():
        declared, defined = (
            rf"declare (i\d+) @{name}\(\)",
            rf"define \1 @{name}() {{ ret \1 {value} }}",
        )
        ir = re.sub(declared, defined, ir)
    module = _module(ir)
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(module, _target().create_target_machine(opt=1))
    for name, address in functions.items():
        engine.add_global_mapping(module.get_function(name), address)
    names = [each.name for each in module.functions if not each.is_declaration]
    addresses = {name: engine.get_function_address(name) for name in names}
    engine.detach()
    return addresses
