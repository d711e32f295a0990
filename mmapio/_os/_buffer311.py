"""The buffer protocol for a class in Python 3.11, which does not know ``__buffer__`` (PEP 688).

The class's C slot must hold a C function. One made by ctypes from Python code would not do: ctypes
prints an exception instead of passing it on. So llvmlite compiles one, as it does for the guard.

Sources: CPython 3.11's Include/cpython/object.h on PyTypeObject and PyBufferProcs,
Objects/typeobject.c on inherit_slots; its documentation on bf_getbuffer.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from typing import Final

from ..errors import UnsupportedError
from ._room_to_compile import check_room_to_compile

__all__ = ["export_buffer"]

# The header of a variable-sized object is three words, and 17 members come before this one.
_TP_AS_BUFFER: Final = 20 * ctypes.sizeof(ctypes.c_void_p)

_CALLED: Final = ("PyObject_GetAttr", "PyObject_GetBuffer", "PyBuffer_FillInfo", "Py_DecRef")
# WORD is an integer that holds a pointer: versions of LLVM differ in how they write pointers.
# PyBuffer_FillInfo empties the view, as a function that fails must.
_CODE: Final = """
declare WORD @PyObject_GetAttr(WORD, WORD)
declare i32 @PyObject_GetBuffer(WORD, WORD, i32)
declare i32 @PyBuffer_FillInfo(WORD, WORD, WORD, WORD, i32, i32)
declare void @Py_DecRef(WORD)

define i32 @get_buffer(WORD %self, WORD %view, i32 %flags) {
  %exporter = call WORD @PyObject_GetAttr(WORD %self, WORD NAME)
  %failed = icmp eq WORD %exporter, 0
  br i1 %failed, label %fail, label %export
fail:
  call i32 @PyBuffer_FillInfo(WORD %view, WORD 0, WORD 0, WORD 0, i32 1, i32 0)
  ret i32 -1
export:
  %result = call i32 @PyObject_GetBuffer(WORD %exporter, WORD %view, i32 %flags)
  call void @Py_DecRef(WORD %exporter)
  ret i32 %result
}

; It has nothing to do, but numpy.frombuffer keeps a buffer only if there is one.
define void @release_buffer(WORD %self, WORD %view) {
  ret void
}
"""


def export_buffer(cls: type[object], attribute: str) -> None:
    """Let instances of `cls` export the buffer of what their `attribute` is at that moment.

    An exception that the attribute raises reaches whoever asked for the buffer. Subclasses export
    too; a class that does already stays as it is. Other Pythons than CPython 3.11 are left alone:
    they know `__buffer__`.
    """
    if sys.implementation.name != "cpython" or sys.version_info[:2] != (3, 11):
        return
    if _slots(cls)[0] is None:
        functions = _compile(attribute)
        for each in _with_subclasses(cls):
            slots = _slots(each)
            slots[:] = [had or function for had, function in zip(slots, functions, strict=True)]


def _with_subclasses(cls: type[object]) -> Iterator[type[object]]:
    """Yield the classes there are already: they took over `cls`'s slots when they were made."""
    yield cls
    for child in cls.__subclasses__():
        yield from _with_subclasses(child)


def _slots(cls: type[object]) -> ctypes.Array[ctypes.c_void_p]:
    """Return the memory of `bf_getbuffer` and `bf_releasebuffer` in `cls->tp_as_buffer`."""
    procs = ctypes.c_void_p.from_address(id(cls) + _TP_AS_BUFFER).value or 0
    # A class made in Python holds the table itself: if not, it is none, or has another layout.
    if not 0 < procs - id(cls) < sys.getsizeof(cls):
        raise UnsupportedError(f"class {cls.__name__!r} cannot be made to export a buffer here")
    return (ctypes.c_void_p * 2).from_address(procs)


def _compile(attribute: str) -> tuple[int, int]:
    """Return the functions' addresses; they are never freed: any instance may outlive us."""
    check_room_to_compile()
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name = sys.intern(attribute)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(name))
    word = f"i{8 * ctypes.sizeof(ctypes.c_void_p)}"
    module = llvm.parse_assembly(_CODE.replace("WORD", word).replace("NAME", str(id(name))))
    machine = llvm.Target.from_default_triple().create_target_machine(opt=0)
    engine = llvm.create_mcjit_compiler(module, machine)
    for called in _CALLED:
        address = ctypes.cast(getattr(ctypes.pythonapi, called), ctypes.c_void_p).value
        engine.add_global_mapping(module.get_function(called), address)
    get_buffer = engine.get_function_address("get_buffer")
    release_buffer = engine.get_function_address("release_buffer")
    engine.detach()
    return get_buffer, release_buffer
