"""The buffer protocol for a class in Python 3.11, which does not know ``__buffer__`` (PEP 688).

The class's C slot must hold a C function. One made by ctypes from Python code would not do: ctypes
prints an exception instead of passing it on. So it is machine code, as the guard has.

Sources: CPython 3.11's Include/cpython/object.h on PyTypeObject and PyBufferProcs,
Objects/typeobject.c on inherit_slots; its documentation on bf_getbuffer.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
from collections.abc import Iterator
from typing import Final

from ..errors import UnsupportedError
from ._machine_code import address_in, machine_code

__all__ = ["export_buffer", "prepare_buffers"]

# The header of a variable-sized object is three words, and 17 members come before this one.
_TP_AS_BUFFER: Final = 20 * ctypes.sizeof(ctypes.c_void_p)

_CALLED: Final = ("PyObject_GetAttr", "PyObject_GetBuffer", "PyBuffer_FillInfo", "Py_DecRef")
# WORD is an integer that holds a pointer.
# PyBuffer_FillInfo empties the view, as a function that fails must.
_CODE: Final = """
declare WORD @attribute()
declare WORD @PyObject_GetAttr(WORD, WORD)
declare i32 @PyObject_GetBuffer(WORD, WORD, i32)
declare i32 @PyBuffer_FillInfo(WORD, WORD, WORD, WORD, i32, i32)
declare void @Py_DecRef(WORD)

define i32 @get_buffer(WORD %self, WORD %view, i32 %flags) {
  %name = call WORD @attribute()
  %exporter = call WORD @PyObject_GetAttr(WORD %self, WORD %name)
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
    if _is_needed() and _slots(cls)[0] is None:
        functions = _compile(attribute)
        for each in _with_subclasses(cls):
            slots = _slots(each)
            slots[:] = [had or function for had, function in zip(slots, functions, strict=True)]


def prepare_buffers() -> None:
    """Keep the machine code on disk that `export_buffer` needs, if any is, and can be had."""
    if _is_needed():
        with contextlib.suppress(Exception):  # whoever needs it can do without, and says so
            _compile("_buffer")


def _is_needed() -> bool:
    return sys.implementation.name == "cpython" and sys.version_info[:2] == (3, 11)


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


@functools.cache
def _compile(attribute: str) -> tuple[int, int]:
    """Return the functions' addresses; they are never freed: any instance may outlive us."""
    name = sys.intern(attribute)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(name))
    ir = _CODE.replace("WORD", f"i{8 * ctypes.sizeof(ctypes.c_void_p)}")
    functions = {called: address_in(ctypes.pythonapi, called) for called in _CALLED}
    code = machine_code(ir, functions, {"attribute": id(name)})
    return code["get_buffer"], code["release_buffer"]
