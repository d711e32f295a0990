"""Functions of machine code that do in one call what takes several of Python's.

A system call by ctypes takes 1.5 us, most of it in Python, and what belongs together takes several.
Each function here does the same as a composed one of the same name and arguments (in `_composed`,
or the module of the platform), at a fifth of the price: the same results, errors and effects, which
tests compare. Without this room all works, only slower: on platforms and Pythons that it is not
made for, where nobody has compiled it yet, and with ``MMAPIO_NATIVE=0`` in the environment.

Nobody loads LLVM for it. It is compiled, and kept on disk, by a process that has loaded LLVM for
something else, as the first one does that maps a file.
"""

from __future__ import annotations

import functools
import os
import platform
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from ... import _os
from .._contract import NAMES as ALL_NAMES

__all__ = ["NAMES", "is_made_for_here", "look_again", "native_functions", "on_first_use"]

_VARIABLE: Final = "MMAPIO_NATIVE"
# Not asked of the code, which is read when the first of them is called.
NAMES: Final = (
    *("append_rows", "cover", "map_file_at", "map_new", "map_whole"),
    *("start_writeback", "sync", "sync_unchanged", "unmap"),
)
# These follow when another is called: finalizers call them, and must not import or read anything.
_FOLLOWING: Final = ("unmap",)


def is_made_for_here() -> bool:
    """Return whether there are native functions for this platform and Python."""
    return (
        sys.platform == "linux"
        and sys.maxsize > 1 << 32
        and sys.implementation.name == "cpython"
        and not sys.abiflags  # "t" and "d" have other objects, and "t" no GIL to rely on
        and platform.machine() in ("x86_64", "aarch64")
        and os.environ.get(_VARIABLE) != "0"
    )


class _Places:
    """Names of functions, in which native ones take the places of composed ones.

    They do when the first of them is called. If any other function has been put there by then, that
    was done on purpose, and the composed ones stay, which call it.
    """

    def __init__(self, names: dict[str, Any], all_names: Iterable[str]) -> None:
        self._names = names
        self._composed = {name: names[name] for name in NAMES}
        names.update({name: self._first(name) for name in NAMES if name not in _FOLLOWING})
        self._known = {name: names[name] for name in all_names}
        self._are_native = False

    def _first(self, name: str) -> Callable[..., Any]:
        """Return the function that stands for a name until one of them is called."""
        composed = self._composed[name]

        @functools.wraps(composed)
        def first(*args: Any) -> Any:
            self.take()
            function = self._names[name]
            return (composed if function is first else function)(*args)

        return first

    def take(self) -> None:
        """Let native functions take their places, or the composed ones if there are none."""
        names, known = self._names, self._known
        found = {}
        if self._are_native:
            return
        if all(names[name] is thing for name, thing in known.items()):
            found = native_functions()
        put = {name: found.get(name, self._composed[name]) for name in NAMES}
        # In one step, for another thread may do the same.
        names.update({name: put[name] for name in NAMES if names[name] is known[name]})
        self._known = known | put
        self._are_native = bool(found)


_places: list[_Places] = []


def on_first_use() -> None:
    """Let native functions take their places in `_os` when the first one is called, if it can."""
    if is_made_for_here() and _os.CAN_MAP_PAST_END:  # else it is the stub
        _places.append(_Places(vars(_os), ALL_NAMES))


def look_again() -> None:
    """Let native functions take their places, if they have not, now that LLVM is loaded."""
    for each in _places:
        each.take()


def native_functions(compiles: bool = False) -> dict[str, Callable[..., Any]]:
    """Return the native functions by name; none if their code is not at hand.

    It is if it was kept on disk, or if LLVM is loaded; `compiles` makes it by all means.
    """
    if not is_made_for_here():
        return {}
    from ._building import built_in_functions

    try:
        return built_in_functions(NAMES, compiles or "llvmlite.binding" in sys.modules)
    except Exception:  # code made at run time may be forbidden, for one
        if compiles:
            raise
        return {}
