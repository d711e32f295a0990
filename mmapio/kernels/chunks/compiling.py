"""A user's kernel and the loop around it, compiled together: a chunk then costs nanoseconds.

The compiled code is kept in memory for as long as it is among the last used, and not on disk: the
functions are the user's, and so is the question of when their code is stale.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core.registry import cpu_target
from numpy.typing import NDArray

from mmapio.errors import KernelError
from mmapio.kernels.chunks.messages import explained, name_of, result_type, type_of
from mmapio.kernels.chunks.records import NO_RECORDS, RECORDS
from mmapio.kernels.chunks.uncompiled import plain_loop, read_only, require_function, silent
from mmapio.kernels.engine.jit import JIT_DISABLED

__all__ = [
    "Compiled",
    "call_types",
    "compiled",
    "kept",
    "kind_of",
    "kinds_of",
    "owned",
    "reduction",
]

Compiled = Callable[..., Any]
Args = tuple[Any, ...]

_KEPT = 256
_FLAGS = 0x503  # C and F order, aligned, writeable: what the numba type of an array depends on
_LEAST, _GREATEST = -(2**63), 2**63 - 1
_SCALARS = types.Number, types.Boolean, types.NPDatetime, types.NPTimedelta
_USE = "; for a record, an array of one"
_found: dict[Any, Any] = {}


def reduction(
    kernel: Any, combine: Any, a: NDArray[Any], init: Any, args: Args, by_records: bool
) -> tuple[Compiled, Compiled, Any]:
    """Return the loop over spans of chunks, what combines its results, and their numba type.

    The loop is ``run(a, chunk, span, last, mark, limit, state, args)`` and goes on from a state to
    the span `last`, but ends after `limit` chunks. It returns how many it left of these, and the
    new state: ``(span, row, started, acc, fresh, part)``, where `acc` is the result of whole spans
    and `part` that of the chunks of this one; if not `started`, or if `fresh`, they lend their type
    only.
    """
    kinds = kind_of(a, "a"), kind_of(init, "init"), kinds_of(args)
    if JIT_DISABLED:
        return _uncompiled_reduction(kernel, combine, init, by_records)
    key = kernel, combine, *kinds, by_records
    found: tuple[Compiled, Compiled, Any] = kept(key) or kept(
        key, _reduction(kernel, combine, a, init, args, by_records)
    )
    return found


def kept(key: Any, compiled: Any = None) -> Any:
    """Return what was compiled for a key, or keep it, in place of what was kept first."""
    if compiled is None:
        try:
            return _found.get(key)
        except TypeError:  # whatever cannot be a key is no kernel: who compiles it, says so
            return None
    if len(_found) >= _KEPT:
        _found.pop(next(iter(_found)), None)
    _found[key] = compiled
    return compiled


def kinds_of(args: Args) -> Args:
    """Return what stands for the numba types of a kernel's other arguments."""
    return tuple([kind_of(value, "args", number) for number, value in enumerate(args)])


def kind_of(value: Any, name: str, number: int | None = None) -> Any:
    """Return what stands for a value's numba type, which itself takes microseconds to find."""
    kind = type(value)
    if kind is np.ndarray:
        return value.dtype, value.ndim, value.flags.num & _FLAGS
    if kind is tuple:
        return tuple([kind_of(item, name, at) for at, item in enumerate(value)])
    if kind in (float, bool, complex) or (kind is int and _LEAST <= value <= _GREATEST):
        return kind
    if isinstance(value, np.generic):
        return value.dtype
    return type_of(value, name if number is None else f"{name}[{number}]")


def owned(init: Any, kind: Any) -> Any:
    """Return what `combine` may change: `init`, as a value of the results' numba type."""
    if kind is types.int64:
        return init  # the usual case; what follows takes half a microsecond
    if isinstance(init, tuple):
        items = map(owned, init, kind)
        return type(init)(*items) if hasattr(init, "_fields") else tuple(items)
    if isinstance(init, np.ndarray):
        return np.array(init)
    value = init
    if type(init) is int and isinstance(kind, types.Float | types.Complex):
        value = complex(init) if isinstance(kind, types.Complex) else float(init)
    inexact = type(init) is int and value != init
    if inexact or (kind == types.uint64 and init < 0):
        raise KernelError(
            f"the kernel's results are of type {kind}, which cannot hold init {init}; convert them"
        )
    return value


def call_types(
    kernel: Any, a: NDArray[Any], args: Args, rows: int = 0, *, views: bool = False
) -> tuple[Any, Any, Any]:
    """Return the numba types of a chunk, of `args`, and of what the kernel makes of them.

    What an uncompiled kernel makes of them shows in a chunk of so many `rows`. The kernel may
    return `views` of the chunk where its results are stored at once.
    """
    array = type_of(a, "an array")
    # Read-only, so that no accumulator can be a part of the file that it would then write to, or
    # an array that all threads share.
    chunk = _fixed(array.copy(layout="C" if array.layout == "C" else "A"))
    rest = [_fixed(type_of(value, f"args[{number}]")) for number, value in enumerate(args)]
    if JIT_DISABLED:
        require_function(kernel, "kernel")
        result = type_of(silent(kernel)(read_only(a[:rows]), *read_only(args)), "a result")
    else:
        result = result_type(kernel, "kernel", (chunk, *rest))
    if not _is_value(result, views):
        new = "an array" if views else "a new array"
        raise KernelError(
            f"{name_of(kernel, 'kernel')} returns {result}; it must return a number, {new}, "
            f"or a tuple of these{_USE * _has_record(result)}"
        )
    return chunk, types.BaseTuple.from_types(tuple(rest)), result


def _fixed(kind: Any) -> Any:
    """Return a type with all its arrays read-only."""
    if isinstance(kind, types.BaseTuple):
        names = getattr(kind, "instance_class", None)
        return types.BaseTuple.from_types(tuple(map(_fixed, kind)), names)
    return kind.copy(readonly=True) if isinstance(kind, types.Array) else kind


def compiled(function: Callable[..., Any], signature: Args) -> Compiled:
    """Return what runs a function that was put together from the user's, without the GIL."""
    if JIT_DISABLED:
        return plain_loop(function)
    try:
        run: Compiled = numba.njit(nogil=True, error_model="numpy")(function).compile(signature)
    except Exception as error:  # numba lets any exception out
        raise explained(error, "the kernel compiles alone, but not in the loop") from None
    return run


def _is_value(kind: Any, views: bool = False) -> bool:
    """Return True for types of results: numbers, arrays of their own, and tuples of those."""
    if isinstance(kind, types.BaseTuple):
        return all(_is_value(item, views) for item in kind)
    return isinstance(kind, _SCALARS) or (isinstance(kind, types.Array) and (views or kind.mutable))


def _has_record(kind: Any) -> bool:
    """Return True for a lone record, which to numba is an address within an array."""
    if isinstance(kind, types.BaseTuple):
        return any(map(_has_record, kind))
    return isinstance(kind, types.Record)


def _reduction(
    kernel: Any, combine: Any, a: NDArray[Any], init: Any, args: Args, by_records: bool
) -> tuple[Compiled, Compiled, Any]:
    chunk, rest, value = call_types(kernel, a, args)
    wanted = type_of(init, "init")
    if not _is_value(wanted):
        use = _USE * _has_record(wanted)
        raise KernelError(f"init must be a number, an array or a tuple of these, got {wanted}{use}")
    unify = cpu_target.typing_context.unify_types
    wanted = _widened(init, wanted, value)
    acc = unify(wanted, value)
    if acc is None or _any_order(acc) != _any_order(wanted):
        raise KernelError(f"{name_of(kernel, 'kernel')} returns {value}, but init is {wanted}")
    for right in (value, acc):
        result = result_type(combine, "combine", (acc, right))
        if unify(acc, result) != acc:
            raise KernelError(
                f"{name_of(combine, 'combine')} of {acc} and {right} returns {result}, "
                f"but init is {acc}"
            )
    limits = RECORDS if by_records else NO_RECORDS
    state = types.BaseTuple.from_types(
        (types.int64, types.int64, types.boolean, acc, types.boolean, acc)
    )
    numbers = (types.int64,) * 3
    signature = (chunk, *numbers, types.uint8, types.int64, state, rest)
    run = compiled(_loop(kernel, combine, *limits), signature)
    return run, compiled(lambda left, right: combine(left, right), (acc, acc)), acc


def _uncompiled_reduction(
    kernel: Any, combine: Any, init: Any, by_records: bool
) -> tuple[Compiled, Compiled, Any]:
    """Return what `reduction` does, of whatever types the results turn out to be."""
    require_function(kernel, "kernel")
    require_function(combine, "combine")
    limits = RECORDS if by_records else NO_RECORDS
    return plain_loop(_loop(kernel, combine, *limits)), silent(combine), type_of(init, "init")


def _widened(init: Any, wanted: Any, value: Any) -> Any:
    """Return the type of `init`, in which a number of Python's is of the kind that results are."""
    if isinstance(init, tuple):
        if not isinstance(value, types.BaseTuple) or len(value) != len(init):
            return wanted
        items = tuple(map(_widened, init, wanted, value))
        return types.BaseTuple.from_types(items, getattr(wanted, "instance_class", None))
    if type(init) in (int, float) and isinstance(value, types.Complex):
        return types.complex128
    if type(init) is int and isinstance(value, types.Float):
        return types.float64
    return types.uint64 if type(init) is int and value == types.uint64 else wanted


def _any_order(kind: Any) -> Any:
    """Return the type without the order in which arrays lie, which init does not decide."""
    if isinstance(kind, types.BaseTuple):
        return tuple(map(_any_order, kind))
    return kind.copy(layout="A") if isinstance(kind, types.Array) else kind


def _loop(kernel: Any, combine: Any, start_of: Any, stop_of: Any) -> Compiled:
    """Return the loop of `reduction`. It finds the same wherever it is left and gone on with."""

    def run(
        a: NDArray[Any],
        chunk: int,
        span: int,
        last: int,
        mark: int,
        limit: int,
        state: Any,
        args: Args,
    ) -> tuple[int, Any]:
        number, start, started, acc, fresh, part = state
        while number < last:
            end = min((number + 1) * span, len(a))
            if fresh:
                start = start_of(a, number * span, end, mark)
            while start < end:
                if limit == 0:
                    return limit, (number, start, started, acc, fresh, part)
                stop = stop_of(a, min(start + chunk, end), mark)
                value = kernel(a[start:stop], *args)
                part = value if fresh else combine(part, value)
                start, fresh, limit = stop, False, limit - 1
            if not fresh:
                acc = combine(acc, part) if started else part
                started, fresh, part = True, True, acc
            number += 1
        return limit, (number, start, started, acc, fresh, part)

    return run
