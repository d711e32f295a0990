"""Built-in functions of Python, made of machine code without a compiler of C.

A function is METH_FASTCALL: it is given where its arguments are, and how many.

Sources: PyMethodDef and METH_FASTCALL in the documentation of Python's C API ("Common Object
Structures"), PyCFunction_NewEx in Include/cpython/methodobject.h.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np

from ...modes import Access
from .._machine_code import machine_code
from . import _appending, _covering, _creating, _opening, _writeback
from ._calls import called

__all__ = ["TEXT", "addresses", "built_in_functions", "knows_arrays"]

_CODE: Final = "\n".join(
    each.CODE for each in (_appending, _covering, _creating, _opening, _writeback)
)
TEXT: Final = _CODE.replace("PAGE_MORE", str(mmap.PAGESIZE - 1)).replace(
    "PAGE_MASK", str(-mmap.PAGESIZE)
)

_METH_FASTCALL: Final = 0x80
_PREFIX: Final = "object_"
_OBJECTS: Final = {
    "None": None,
    "True": True,
    "False": False,
    "OSError": OSError,
    "int": int,
    "list": list,
    "Access": Access,
    "ndarray": np.ndarray,
}


class _MethodDef(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_kept: list[_MethodDef] = []  # a function refers to its definition as long as it lives


def addresses(names: Iterable[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the addresses of functions by their names, and those of objects."""
    libc = ctypes.CDLL(None)
    functions, objects = {}, {}
    for name in names:
        if name.startswith(_PREFIX):
            objects[name] = id(_OBJECTS[name.removeprefix(_PREFIX)])
        else:
            library = ctypes.pythonapi if name.startswith("Py") else libc
            # In a third of the time of making a function of it.
            functions[name] = ctypes.addressof(ctypes.c_char.in_dll(library, name))
    return functions, objects


def built_in_functions(names: Iterable[str], compiles: bool) -> dict[str, Callable[..., Any]]:
    """Return functions by name; none if their code is not on disk, unless this `compiles` it."""
    if not knows_arrays():
        return {}
    functions, objects = addresses(called(TEXT))
    found = machine_code(TEXT, functions, objects, translate=_expanded, compiles=compiles)
    return {name: _built_in(name, found[name]) for name in names} if found else {}


def knows_arrays() -> bool:
    """Return whether arrays lie in memory as `_appending` reads them."""
    array = np.zeros((2, 3))[1:]
    words = (ctypes.c_uint64 * 9).from_address(id(array))
    dimensions, flags = words[4], words[8]
    return (
        words[1] == id(np.ndarray)
        and words[2] == array.__array_interface__["data"][0]
        and words[3] & 0xFFFF_FFFF == 2
        and [*(ctypes.c_uint64 * 2).from_address(dimensions)] == [1, 3]
        and words[6:8] == [id(array.base), id(array.dtype)]
        and flags & 1 == array.flags.c_contiguous
    )


def _expanded(text: str) -> str:
    from ._language import expand  # only to compile

    return expand(text)


def _built_in(name: str, address: int) -> Callable[..., Any]:
    """Return the function whose machine code is at an address."""
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    definition = _MethodDef(name.encode(), address, _METH_FASTCALL, None)
    _kept.append(definition)
    function: Callable[..., Any] = make(ctypes.addressof(definition), None, None)
    return function
