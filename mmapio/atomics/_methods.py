"""Atomic operations as built-in methods of Python classes.

numba's compiled entry points still unpack a tuple and convert an address at every call, three
times the price of an empty Python function. A built-in method with the fast calling convention
costs about as much as the empty function, so methods are emitted here through numba's boxing: the
boxed form of a `Methods` is a tuple of `PyDescr_NewMethod` of code in the same compiled module.
Only functions of CPython's stable ABI are called.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.core.registry import CPUDispatcher
from numba.extending import NativeValue, box, models, register_model, unbox
from numba.np.numpy_support import as_dtype, from_dtype

from mmapio._sources import sources_stamp
from mmapio.atomics import _ir
from mmapio.atomics._numbers import from_python, return_null_if_set
from mmapio.atomics._rules import VALUE_COUNTS, operations

__all__ = ["add_methods", "at_address", "compiled", "pack"]

_METH_FASTCALL = 0x80
# Where the first slot of an instance lies: CPython puts it behind the head of the object.
STATE_OFFSET = object.__basicsize__
_POINTER = ir.IntType(8).as_pointer()
_STAMP = sources_stamp("atomics")  # numba's own covers one file only
_METHOD_DEFINITION = ir.LiteralStructType([_POINTER, _POINTER, ir.IntType(32), _POINTER])


class Methods(numba.types.Type):  # type: ignore[misc]  # numba has no types
    """A class of cells of a dtype; boxed, a tuple of methods for it."""

    def __init__(self, dtype: Any, place: str) -> None:
        self.dtype = dtype
        self.place = place
        super().__init__(f"Methods({dtype}, {place}, {STATE_OFFSET}, {_STAMP})")


def add_methods(cls: type, dtype: np.dtype[Any], place: str) -> None:
    """Give a class the operations on cells of `dtype` as built-in methods.

    Of an instance, they read the first of its slots: bytes by `pack` of where the ``"cell"`` or the
    ``"array"`` of cells lies. Nothing checks the address: it must be aligned, mapped and, but for
    `load`, writable.
    """
    assert cls.__basicsize__ > STATE_OFFSET
    for name, method in _bind(dtype, place, cls).items():
        setattr(cls, name, method)


@functools.cache
def at_address(dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the operations on any cell, which take its address first and keep nothing alive."""
    return _bind(dtype, "address", None)


def pack(*numbers: int) -> bytes:
    """Return `numbers` in the form that the compiled code reads fastest."""
    return np.array(numbers, np.intp).tobytes()


def _bind(dtype: np.dtype[Any], place: str, owner: type | None) -> dict[str, Any]:
    """Return the operations that `dtype` has, by name: methods of a class, or functions."""
    return dict(zip(operations(dtype.kind), _binder(dtype, place)(owner), strict=True))


@functools.cache
def _binder(dtype: np.dtype[Any], place: str) -> Callable[[object], tuple[Any, ...]]:
    """Return the function that binds; its compiled code has to outlive every method it made."""

    def bind(owner: Any) -> Any:
        return owner  # unboxing takes a class, boxing gives a tuple of its methods

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


def _unbox_owner(_kind: Any, owner: Any, _c: Any) -> NativeValue:
    """Pass the class through as it is."""
    return NativeValue(owner)


def _box_methods(kind: Any, owner: Any, c: Any) -> Any:
    """Return a tuple of new built-ins: methods of the class `owner`, or functions."""
    create = _create_function if kind.place == "address" else _create_method
    methods = [
        create(c, _method_definition(operation, kind, c), owner)
        for operation in operations(as_dtype(kind.dtype).kind)
    ]
    result = c.pyapi.tuple_pack(methods)
    for method in methods:
        c.pyapi.decref(method)
    return result


def _create_function(c: Any, definition: Any, _owner: Any) -> Any:
    """Emit a built-in function."""
    null, pyobj = c.pyapi.get_null_object(), c.pyapi.pyobj
    signature = ir.FunctionType(pyobj, [_POINTER, pyobj, pyobj])
    create = cgutils.get_or_insert_function(c.builder.module, signature, "PyCFunction_NewEx")
    return c.builder.call(create, [definition, null, null])


def _create_method(c: Any, definition: Any, owner: Any) -> Any:
    """Emit a built-in method of a class."""
    pyobj = c.pyapi.pyobj
    signature = ir.FunctionType(pyobj, [pyobj, _POINTER])
    create = cgutils.get_or_insert_function(c.builder.module, signature, "PyDescr_NewMethod")
    return c.builder.call(create, [owner, definition])


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
    slot = cgutils.pointer_add(api.builder, state, STATE_OFFSET, api.pyobj.as_pointer())
    packed = api.builder.load(slot)
    with api.builder.if_then(cgutils.is_null(api.builder, packed), likely=False):
        api.err_set_string("PyExc_ValueError", "this object was made without its cells")
        api.builder.ret(api.get_null_object())
    data = api.bytes_as_string(packed)
    facts = api.builder.bitcast(data, api.py_ssize_t.as_pointer())
    base = api.builder.inttoptr(_fact(api, facts, 0), _POINTER)
    if place == "cell":
        return base
    return cgutils.pointer_add(api.builder, base, _offset(api, facts, numbers.pop(0)))


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


def _offset(api: Any, facts: Any, number: Any) -> Any:
    """Emit how many bytes from the first cell the index `number` leads; negative ones wrap."""
    builder, size = api.builder, api.py_ssize_t
    signature = ir.FunctionType(size, [api.pyobj, api.pyobj])
    convert = cgutils.get_or_insert_function(builder.module, signature, "PyNumber_AsSsize_t")
    out_of_bounds = api.builder.inttoptr(_fact(api, facts, 3), api.pyobj)
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
unbox(Methods)(_unbox_owner)
box(Methods)(_box_methods)
