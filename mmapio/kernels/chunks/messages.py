"""Error messages about users' kernels, in one sentence where numba fills a page."""

from __future__ import annotations

import inspect
import linecache
import os
import re
from collections.abc import Sequence
from typing import Any

import numba
from numba.core.errors import NumbaError
from numba.core.registry import cpu_target
from numba.core.types import unliteral
from numba.extending import is_jitted

from mmapio.errors import KernelError

__all__ = ["explained", "name_of", "result_type", "type_of"]

_NUMBA = os.path.dirname(numba.__file__)
_PLACES = re.compile(r'(?:File "| at )([^"\n(<]+)(?:", line | \()(\d+)')
_CAUSE = re.compile(r"raised a specific error:\s+\w+: (?!Failed in )([^\n]+)")
_CALL = re.compile(r"found for signature:\s+>>> ([^\n]+)")


def result_type(function: Any, role: str, arguments: Sequence[Any]) -> Any:
    """Return the numba type of what a user's function returns; it is compiled for that."""
    if not is_jitted(function):
        kind = getattr(function, "__name__", type(function).__name__)
        raise KernelError(f"{role} must be compiled with numba.njit, and {kind!r} is not")
    name = name_of(function, role)
    try:
        inspect.signature(function.py_func).bind(*arguments)
    except TypeError as error:
        raise KernelError(f"{name} is called with {len(arguments)} arguments: {error}") from None
    types = ", ".join(map(str, arguments))
    try:
        context = cpu_target.typing_context
        context.refresh()
        signature = context.resolve_function_type(numba.typeof(function), tuple(arguments), {})
    except Exception as error:  # numba lets any exception out
        raise explained(error, f"{name} does not compile for ({types})") from None
    if signature is None and not function.targetoptions.get("nopython"):
        raise KernelError(f"{name} is compiled in object mode; compile it with numba.njit")
    if signature is None:
        raise KernelError(
            f"{name} was compiled for other types than ({types}); leave the signature out of its "
            "decorator, and numba compiles it for these"
        )
    return unliteral(signature.return_type)


def name_of(function: Any, role: str) -> str:
    """Return the name of a user's function for messages."""
    return f"{role} {getattr(function, 'py_func', function).__name__}()"


def type_of(value: Any, name: str) -> Any:
    """Return the numba type of an argument."""
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise KernelError(f"{name} is {value}, but integers in kernels have 64 bits; pass a float")
    try:
        return numba.typeof(value)
    except Exception as error:
        what = f"{name} of type {type(value).__name__!r} cannot be handed to a kernel"
        raise explained(error, what) from None


def explained(error: Exception, what: str) -> KernelError:
    """Return an error that tells what went wrong in which of the user's lines."""
    place = _place(error)
    return KernelError(f"{what}: {_reason(error)}{f', at {place}' if place else ''}")


def _reason(error: Exception) -> str:
    """Return the sentence that matters of all that numba says."""
    text = str(error)
    if not isinstance(error, NumbaError):  # it trips over itself, above all where arrays change
        kind = type(error).__name__
        return f"numba fails with {kind}; does it change a chunk? These are read-only"
    cause, call = _CAUSE.search(text), _CALL.search(text)
    if cause:
        return cause[1]
    if call:
        return f"no implementation of {call[1]}"
    lines = [line for line in text.splitlines() if line and not line.startswith("Failed in")]
    return lines[0] if lines else text


def _place(error: Exception) -> str:
    """Return where in the user's code it happened: the innermost line that is not numba's."""
    found = [(file, int(line)) for file, line in _PLACES.findall(str(error))]
    loc = getattr(error, "loc", None)
    if loc is not None:
        found.append((loc.filename, loc.line))
    for file, line in found:
        source = linecache.getline(os.path.abspath(file), line).strip()
        if source and not os.path.abspath(file).startswith(_NUMBA):
            return f"{os.path.basename(file)}:{line}: {source}"
    return ""
