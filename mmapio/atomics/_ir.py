"""The LLVM instructions behind the atomic operations, and the numba intrinsics around them.

A cell is found by `place`, which turns an array and an index into a pointer; `operate` takes that
pointer. The pointer holds no reference: the function around both has the array as an argument,
and its caller keeps that alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import basic_indexing, make_array, normalize_indices
from numba.np.numpy_support import as_dtype

from mmapio.atomics._rules import INSTRUCTIONS, failure_order, misaligned

__all__ = ["emit", "fence", "operate", "place", "result_type"]

_LLVM_ORDERS = {
    "relaxed": "monotonic",
    "acquire": "acquire",
    "release": "release",
    "acq_rel": "acq_rel",
    "seq_cst": "seq_cst",
}


def result_type(operation: str, dtype: Any) -> Any:
    """Return the numba type of what `operation` returns."""
    if operation == "compare_exchange":
        return numba.types.BaseTuple.from_types((dtype, numba.types.boolean))
    return numba.types.none if operation == "store" else dtype


def emit(
    operation: str, context: Any, builder: Any, cell: Any, values: Sequence[Any], order: str
) -> Any:
    """Emit `operation` on `cell`, a (dtype, pointer), and return its result.

    A bool is a bit in a register and a byte in memory, so values are converted on both ways.
    """
    dtype, pointer = cell
    words = [context.get_value_as_data(builder, dtype, value) for value in values]
    if operation == "store":
        builder.store_atomic(*words, pointer, _LLVM_ORDERS[order], as_dtype(dtype).itemsize)
        return context.get_dummy_value()
    if operation == "compare_exchange":
        return _emit_compare_exchange(context, builder, cell, words, order)
    if operation == "load":
        word = builder.load_atomic(pointer, _LLVM_ORDERS[order], as_dtype(dtype).itemsize)
    else:
        instruction = INSTRUCTIONS[operation][as_dtype(dtype).kind]
        word = builder.atomic_rmw(instruction, pointer, *words, _LLVM_ORDERS[order])
    return context.data_model_manager[dtype].from_data(builder, word)


def _emit_compare_exchange(
    context: Any, builder: Any, cell: Any, words: Sequence[Any], order: str
) -> Any:
    """Emit a comparison of bits, as in C++: LLVM has no `cmpxchg` on floats."""
    dtype, pointer = cell
    bits = ir.IntType(as_dtype(dtype).itemsize * 8)
    orders = _LLVM_ORDERS[order], _LLVM_ORDERS[failure_order(order)]
    expected, desired = (builder.bitcast(word, bits) for word in words)
    pointer = builder.bitcast(pointer, bits.as_pointer())
    pair = builder.cmpxchg(pointer, expected, desired, *orders)
    word = builder.bitcast(builder.extract_value(pair, 0), context.get_data_type(dtype))
    old = context.data_model_manager[dtype].from_data(builder, word)
    result = result_type("compare_exchange", dtype)
    return context.make_tuple(builder, result, (old, builder.extract_value(pair, 1)))


def _operate(_typing: Any, operation: Any, cell: Any, values: Any, order: Any) -> Any:
    """Type and emit `operate(operation, cell, values, order)`, `values` being a tuple."""
    dtype, name = cell.dtype, operation.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        converted = [
            context.cast(builder, value, source, dtype)
            for value, source in zip(
                cgutils.unpack_tuple(builder, arguments[2]), signature.args[2], strict=True
            )
        ]
        place = (dtype, arguments[1])
        return emit(name, context, builder, place, converted, order.literal_value)

    return result_type(name, dtype)(operation, cell, values, order), generate


def _place(_typing: Any, a: Any, index: Any) -> Any:
    """Type and emit `place(a, index)`: a pointer to one element or to one field."""
    field = isinstance(a, numba.types.Record)
    dtype = a.typeof(index.literal_value) if field else a.dtype

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if field:
            offset, word = a.offset(index.literal_value), context.get_data_type(dtype)
            pointer = cgutils.get_record_member(builder, arguments[0], offset, word)
        else:
            pointer = _element_pointer(context, builder, signature.args, arguments)
        _require_alignment(context, builder, pointer, as_dtype(dtype))
        return pointer

    return numba.types.CPointer(dtype)(a, index), generate


def _element_pointer(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    """Return a pointer to one element, by the rules of numba's own `a[i]`."""
    (array_kind, index_kind), (array, index) = kinds, arguments
    index_kinds, indices = (index_kind,), (index,)
    if isinstance(index_kind, numba.types.BaseTuple):
        index_kinds, indices = tuple(index_kind), cgutils.unpack_tuple(builder, index)
    index_kinds, indices = normalize_indices(context, builder, index_kinds, indices)
    struct = make_array(array_kind)(context, builder, array)
    boundscheck = context.enable_boundscheck
    return basic_indexing(
        context, builder, array_kind, struct, index_kinds, indices, boundscheck=boundscheck
    )[0]


def _require_alignment(context: Any, builder: Any, pointer: Any, dtype: Any) -> None:
    """Raise on a misaligned cell, which locks the bus or faults; numba's types cannot tell."""
    if dtype.itemsize == 1:
        return
    address = builder.ptrtoint(pointer, context.get_value_type(numba.types.uintp))
    past = builder.and_(address, address.type(dtype.itemsize - 1))
    with builder.if_then(cgutils.is_not_null(builder, past), likely=False):
        error = misaligned(dtype, "this one does not")
        context.call_conv.return_user_exc(builder, type(error), error.args)


def _fence(_typing: Any, order: Any) -> Any:
    """Type and emit `fence(order)`."""

    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        builder.fence(_LLVM_ORDERS[order.literal_value])
        return context.get_dummy_value()

    return numba.types.none(order), generate


place = intrinsic(prefer_literal=True)(_place)
operate = intrinsic(prefer_literal=True)(_operate)
fence = intrinsic(prefer_literal=True)(_fence)
