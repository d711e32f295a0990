"""Atomic operations as built-in methods of Python, bound to an address.

numba's compiled entry points still unpack a tuple and convert an address at every call, three
times the price of an empty Python function. A `PyCFunction` with the fast calling convention costs
about as much as the empty function, so one is emitted here through numba's boxing: the boxed form
of a `Methods` is a tuple of `PyCFunction_NewEx` of code in the same compiled module. Only
functions of CPython's stable ABI are called.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import CPUDispatcher
from numba.extending import NativeValue, box, models, register_model, unbox
from numba.np.numpy_support import as_dtype, from_dtype

from mmapio.atomics import _ir
from mmapio.atomics._numbers import from_python, return_null_if_set
from mmapio.atomics._rules import VALUE_COUNTS, operations
from mmapio.errors import OutOfBoundsError

__all__ = ["at_address", "bind_array", "bind_cell", "compiled"]

_METH_FASTCALL = 0x80
_POINTER = ir.IntType(8).as_pointer()
_METHOD_DEFINITION = ir.LiteralStructType([_POINTER, _POINTER, ir.IntType(32), _POINTER])


class Methods(types.Type):  # type: ignore[misc]  # numba has no types
    """A tuple of where some cells of a dtype are; boxed, a tuple of the methods bound to it."""

    def __init__(self, dtype: Any, place: str) -> None:
        self.dtype = dtype
        self.place = place
        super().__init__(f"Methods({dtype}, {place}, {_sources_digest()})")


@functools.cache
def _sources_digest() -> int:
    """Return a number that changes with this package: numba's cache looks at one file only."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return zlib.crc32(b"".join(path.read_bytes() for path in sources))


def bind_cell(dtype: np.dtype[Any], address: int, owner: object) -> dict[str, Any]:
    """Return the operations on the cell at `address` as built-ins that keep `owner` alive.

    Nothing checks the address: it must be aligned, mapped and, but for `load`, writable.
    """
    return _bind(dtype, "cell", (_pack(address), owner))


def bind_array(
    dtype: np.dtype[Any], address: int, owner: object, count: int, stride: int
) -> dict[str, Any]:
    """Return the operations on `count` cells, `stride` bytes apart, which take the index first."""
    facts = _pack(address, count, stride)
    return _bind(dtype, "array", (facts, owner, OutOfBoundsError))


@functools.cache
def at_address(dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the operations on any cell, which take its address first and keep nothing alive."""
    return _bind(dtype, "address", ())


def _pack(*numbers: int) -> bytes:
    """Return `numbers` in the form that the compiled code reads fastest."""
    return np.array(numbers, np.intp).tobytes()


def _bind(dtype: np.dtype[Any], place: str, state: tuple[Any, ...]) -> dict[str, Any]:
    """Return the operations that `dtype` has, by name."""
    return dict(zip(operations(dtype.kind), _binder(dtype, place)(state), strict=True))


@functools.cache
def _binder(dtype: np.dtype[Any], place: str) -> Callable[[object], tuple[Any, ...]]:
    """Return the function that binds; its compiled code has to outlive every method it made."""

    def bind(state: Any) -> Any:
        return state  # unboxing takes a tuple of addresses, boxing gives a tuple of methods

    # numba names cache files after functions, and two processes may mix up the entries of one
    bind.__qualname__ = f"bind_{dtype}_{place}"
    binder: Callable[[object], tuple[Any, ...]]
    binder = compiled(bind, Methods(from_dtype(dtype), place))
    return binder


def compiled(kernel: Callable[..., Any], *signature: Any) -> Any:
    """Return `kernel` compiled for one signature, whatever `NUMBA_DISABLE_JIT` says."""
    dispatcher = CPUDispatcher(kernel, targetoptions={"nopython": True})
    try:
        dispatcher.enable_caching()
        return dispatcher.compile(signature)
    except (RuntimeError, OSError):  # no folder to cache in, or one that cannot be written to
        return CPUDispatcher(kernel, targetoptions={"nopython": True}).compile(signature)


def _unbox_state(_kind: Any, state: Any, _c: Any) -> NativeValue:
    """Pass the tuple through as it is."""
    return NativeValue(state)


def _box_methods(kind: Any, state: Any, c: Any) -> Any:
    """Return a tuple of new built-ins whose self is the tuple `state`."""
    null, pyobj = c.pyapi.get_null_object(), c.pyapi.pyobj
    signature = ir.FunctionType(pyobj, [_POINTER, pyobj, pyobj])
    create = cgutils.get_or_insert_function(c.builder.module, signature, "PyCFunction_NewEx")
    methods = [
        c.builder.call(create, [_method_definition(operation, kind, c), state, null])
        for operation in operations(as_dtype(kind.dtype).kind)
    ]
    result = c.pyapi.tuple_pack(methods)
    for method in methods:
        c.pyapi.decref(method)
    return result


def _method_definition(operation: str, kind: Any, c: Any) -> Any:
    """Return the address of a constant `PyMethodDef` of code emitted for it."""
    module, api = c.builder.module, c.pyapi
    signature = ir.FunctionType(api.pyobj, [api.pyobj, api.pyobj.as_pointer(), api.py_ssize_t])
    function = ir.Function(module, signature, module.get_unique_name("mmapio_method"))
    function.linkage = "internal"
    _emit_method(operation, kind, function, c.context)
    name = c.context.insert_const_string(module, operation)
    parts = [name, function.bitcast(_POINTER), ir.IntType(32)(_METH_FASTCALL), _POINTER(None)]
    fields = _METHOD_DEFINITION(parts)
    return cgutils.global_constant(module, "mmapio_method_def", fields).bitcast(_POINTER)


def _emit_method(operation: str, kind: Any, function: Any, context: Any) -> None:
    """Emit what the built-in does: convert the arguments, operate, convert the result."""
    builder = ir.IRBuilder(function.append_basic_block())
    api = context.get_python_api(builder)
    state, arguments, count = function.args
    arity = VALUE_COUNTS[operation] + int(kind.place != "cell")
    _check_count(operation, api, count, arity)
    numbers = [builder.load(cgutils.gep_inbounds(builder, arguments, at)) for at in range(arity)]
    address = _emit_address(kind.place, api, state, numbers)
    pointer = builder.bitcast(address, context.get_data_type(kind.dtype).as_pointer())
    values = [from_python(api, kind.dtype, number) for number in numbers]
    result = _ir.emit(operation, context, builder, (kind.dtype, pointer), values, "seq_cst")
    builder.ret(api.from_native_value(_ir.result_type(operation, kind.dtype), result))


def _emit_address(place: str, api: Any, state: Any, numbers: list[Any]) -> Any:
    """Emit the address of the cell, for which the first of `numbers` may be needed."""
    if place == "address":
        address = api.long_as_voidptr(numbers.pop(0))
        return_null_if_set(api, cgutils.is_null(api.builder, address))
        return address
    packed = api.bytes_as_string(api.tuple_getitem(state, 0))
    facts = api.builder.bitcast(packed, api.py_ssize_t.as_pointer())
    base = api.builder.inttoptr(_fact(api, facts, 0), _POINTER)
    if place == "cell":
        return base
    return cgutils.pointer_add(api.builder, base, _offset(api, state, facts, numbers.pop(0)))


def _fact(api: Any, facts: Any, at: int) -> Any:
    """Emit a read of one of the numbers that `_pack` put together, which nothing aligns."""
    return api.builder.load(cgutils.gep_inbounds(api.builder, facts, at), align=1)


def _check_count(operation: str, api: Any, count: Any, arity: int) -> None:
    """Emit the refusal of too many or too few arguments."""
    wrong = api.builder.icmp_signed("!=", count, count.type(arity))
    with api.builder.if_then(wrong, likely=False):
        message = f"{operation}() takes {arity} positional arguments but %zd were given"
        api.err_format("PyExc_TypeError", message, count)
        api.builder.ret(api.get_null_object())


def _offset(api: Any, state: Any, facts: Any, number: Any) -> Any:
    """Emit how many bytes from the first cell the index `number` leads; negative ones wrap."""
    builder, size = api.builder, api.py_ssize_t
    signature = ir.FunctionType(size, [api.pyobj, api.pyobj])
    convert = cgutils.get_or_insert_function(builder.module, signature, "PyNumber_AsSsize_t")
    out_of_bounds = api.tuple_getitem(state, 2)
    index = builder.call(convert, [number, out_of_bounds])
    return_null_if_set(api, builder.icmp_signed("==", index, size(-1)))
    count, stride = _fact(api, facts, 1), _fact(api, facts, 2)
    negative = builder.icmp_signed("<", index, size(0))
    position = builder.select(negative, builder.add(index, count), index)
    outside = builder.icmp_unsigned(">=", position, count)
    with builder.if_then(outside, likely=False):
        api.err_format(out_of_bounds, "index %zd is outside of %zd cells", index, count)
        builder.ret(api.get_null_object())
    return builder.mul(position, stride)


register_model(Methods)(models.OpaqueModel)
unbox(Methods)(_unbox_state)
box(Methods)(_box_methods)
