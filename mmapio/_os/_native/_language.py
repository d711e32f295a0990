"""The language that functions of this room are written in: LLVM's, with what Python asks for.

A function is text between lines ``FUNCTION name kind:argument ...`` and ``END``. In between is LLVM
IR over integers, in which pointers are i64 too, with a few things more:

- what is called need not be declared;
- ``%x = load i64, %at`` and ``store i64 %x, %at`` take an i64 for the address;
- ``%at = room 4`` is the address of 4 words on the stack;
- ``return True``, or another of Python's constants, returns it.

An argument is checked and converted: ``int`` is an exact int of 64 bits, ``fd`` one of 32,
``bytes`` the address of a bytes object's characters, ``list`` an exact list, ``access`` the number
of an `Access`, and ``object`` anything; the object itself is ``%name.object``. Some blocks are
there already: ``fail:`` ends the function with the exception that is set, and ``wrong:`` sets
TypeError before that. ``raise:`` is one for OSError, whose code is in ``errno``.
"""

from __future__ import annotations

import re
from typing import Final

from ._calls import called

__all__ = ["expand", "function_names"]

_WORD_BYTES: Final = 8
_FUNCTION: Final = re.compile(r"^FUNCTION (\w+)((?: \w+:\w+)*)$", re.MULTILINE)
_LOAD: Final = re.compile(r"^ *(%[\w.]+) = load (i\d+), (%[\w.]+)$")
_STORE: Final = re.compile(r"^ *store (i\d+) (\S+), (%[\w.]+)$")
_ROOM: Final = re.compile(r"^ *(%[\w.]+) = room (\d+)$")
_RETURN: Final = re.compile(r"^ *return (\w+)$")


def function_names(code: str) -> list[str]:
    """Return the names of the functions that a text defines."""
    return [name for name, _ in _FUNCTION.findall(code)]


def expand(code: str) -> str:
    """Return a text as LLVM IR, in which P64, P32 and so on are written for pointers."""
    ir = "\n".join(_Expansion().lines_of(code))
    return "\n".join([*called(code).values(), ir, ""])


class _Expansion:
    """The expansion of one text, line by line."""

    def __init__(self) -> None:
        self._count = 0
        self._out: list[str] = []

    def lines_of(self, code: str) -> list[str]:
        """Return the lines of IR."""
        for line in code.splitlines():
            bare = line.partition(";")[0].rstrip()
            if match := _FUNCTION.match(bare):
                self._begin(match[1], match[2].split())
            elif bare:
                self._line("}" if bare == "END" else bare)
        return self._out

    def _lines(self, *lines: str) -> None:
        for line in lines:
            self._line(line)

    def _line(self, line: str) -> None:
        if match := _LOAD.match(line):
            name, kind, at = match.groups()
            line = f"  {name} = load {kind}, {self._pointer(kind, at)}"
        elif match := _STORE.match(line):
            kind, value, at = match.groups()
            line = f"  store {kind} {value}, {self._pointer(kind, at)}"
        elif match := _ROOM.match(line):
            at = self._new()
            self._out.append(f"  {at} = alloca i64, i32 {match[2]}")
            line = f"  {match[1]} = ptrtoint P64 {at} to i64"
        elif match := _RETURN.match(line):
            value = self._new()
            self._lines(
                f"  {value} = call i64 @object_{match[1]}()",
                f"  call void @Py_IncRef(i64 {value})",
            )
            line = f"  ret i64 {value}"
        self._out.append(line)

    def _new(self) -> str:
        """Return a name that there is not yet."""
        self._count += 1
        return f"%.{self._count}"

    def _pointer(self, kind: str, at: str) -> str:
        """Return an address as a pointer."""
        name = self._new()
        self._out.append(f"  {name} = inttoptr i64 {at} to P{kind[1:]}")
        return f"P{kind[1:]} {name}"

    def _begin(self, name: str, arguments: list[str]) -> None:
        """Begin a function: check how many arguments there are, and convert them."""
        self._lines(
            f"define i64 @{name}(i64 %self, i64 %args, i64 %count) {{",
            f"  %count.right = icmp eq i64 %count, {len(arguments)}",
            "  br i1 %count.right, label %convert, label %wrong",
            "wrong:",
            "  %.bad = call i32 @PyErr_BadArgument()",
            "  br label %fail",
            "raise:",
            "  %.error = call i64 @object_OSError()",
            "  %.null = call i64 @PyErr_SetFromErrno(i64 %.error)",
            "  br label %fail",
            "fail:",
            "  ret i64 0",
            "convert:",
        )
        for i, argument in enumerate(arguments):
            kind, _, own = argument.partition(":")
            self._lines(
                f"  %{own}.at = add i64 %args, {_WORD_BYTES * i}",
                f"  %{own}.object = load i64, %{own}.at",
            )
            getattr(self, f"_as_{kind}")(own, f"%{own}.object")

    def _as_object(self, name: str, given: str) -> None:
        self._line(f"  %{name} = add i64 {given}, 0")

    def _as_list(self, name: str, given: str) -> None:
        self._check_type(name, given, "list")
        self._as_object(name, given)

    def _as_access(self, name: str, given: str) -> None:
        self._check_type(name, given, "Access")
        self._line(f"  %{name} = call i64 @PyLong_AsLongLong(i64 {given})")  # which cannot fail

    def _as_bytes(self, name: str, given: str) -> None:
        self._lines(
            f"  %{name} = call i64 @PyBytes_AsString(i64 {given})",
            f"  %{name}.bad = icmp eq i64 %{name}, 0",
            f"  br i1 %{name}.bad, label %fail, label %{name}.good",
            f"{name}.good:",
        )

    def _as_int(self, name: str, given: str) -> None:
        self._check_type(name, given, "int")  # for no other, no Python code can run here
        self._lines(
            f"  %{name} = call i64 @PyLong_AsLongLong(i64 {given})",
            f"  %{name}.negative = icmp eq i64 %{name}, -1",
            f"  br i1 %{name}.negative, label %{name}.look, label %{name}.good",
            f"{name}.look:",
            f"  %{name}.error = call i64 @PyErr_Occurred()",
            f"  %{name}.bad = icmp ne i64 %{name}.error, 0",
            f"  br i1 %{name}.bad, label %fail, label %{name}.good",
            f"{name}.good:",
        )

    def _as_fd(self, name: str, given: str) -> None:
        # One that is too large is none, and must not become another.
        self._as_int(f"{name}.long", given)
        self._lines(
            f"  %{name}.short = trunc i64 %{name}.long to i32",
            f"  %{name}.again = sext i32 %{name}.short to i64",
            f"  %{name}.fits = icmp eq i64 %{name}.again, %{name}.long",
            f"  %{name} = select i1 %{name}.fits, i32 %{name}.short, i32 -1",
        )

    def _check_type(self, name: str, given: str, wanted: str) -> None:
        self._lines(
            f"  %{name}.type.at = add i64 {given}, {_WORD_BYTES}",
            f"  %{name}.type = load i64, %{name}.type.at",
            f"  %{name}.wanted = call i64 @object_{wanted}()",
            f"  %{name}.is = icmp eq i64 %{name}.type, %{name}.wanted",
            f"  br i1 %{name}.is, label %{name}.right, label %wrong",
            f"{name}.right:",
        )
