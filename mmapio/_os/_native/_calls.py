"""Functions that a text of this room calls, which lie elsewhere."""

from __future__ import annotations

from typing import Final

__all__ = ["called"]

# What the checks of arguments call, whichever there are.
_OF_CHECKS: Final = {
    "PyBytes_AsString": "declare i64 @PyBytes_AsString(i64)",
    "PyErr_BadArgument": "declare i32 @PyErr_BadArgument()",
    "PyErr_Occurred": "declare i64 @PyErr_Occurred()",
    "PyErr_SetFromErrno": "declare i64 @PyErr_SetFromErrno(i64)",
    "PyLong_AsLongLong": "declare i64 @PyLong_AsLongLong(i64)",
    "Py_IncRef": "declare void @Py_IncRef(i64)",
    "object_Access": "declare i64 @object_Access()",
    "object_False": "declare i64 @object_False()",
    "object_None": "declare i64 @object_None()",
    "object_OSError": "declare i64 @object_OSError()",
    "object_True": "declare i64 @object_True()",
    "object_int": "declare i64 @object_int()",
    "object_list": "declare i64 @object_list()",
}


def called(code: str) -> dict[str, str]:
    """Return what a text calls without defining it: the declaration of each, by name.

    This is on the way of every process that uses native functions, so it takes no pattern.
    """
    found, defined = dict(_OF_CHECKS), set()
    for line in code.splitlines():
        code, _, _ = line.partition(";")
        if code.startswith("define "):
            defined.add(code.partition("@")[2].partition("(")[0])
        _, _, call = code.partition("call ")
        kind, _, rest = call.partition(" @")
        name, _, arguments = rest.partition("(")
        if name:
            kinds = ", ".join(each.split()[0] for each in arguments.split(",") if " " in each)
            found[name] = f"declare {kind} @{name}({kinds})"
    return {name: found[name] for name in found if name not in defined}
