"""The loop that stores what a user's kernel makes of each chunk."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.np.numpy_support import as_dtype
from numpy.typing import NDArray

from mmapio.errors import KernelError
from mmapio.kernels.chunks.compiling import (
    Args,
    Compiled,
    call_types,
    compiled,
    kept,
    kind_of,
    kinds_of,
)
from mmapio.kernels.chunks.messages import name_of, type_of
from mmapio.kernels.engine.jit import JIT_DISABLED, part

__all__ = ["MisfitError", "compiled_map"]

Outs = tuple[NDArray[Any], ...]


class MisfitError(Exception):
    """Raised by the loop, with the chunk's number and the shape of a result that has no place."""


def compiled_map(
    kernel: Any, a: NDArray[Any], outs: Outs, single: bool, args: Args, rows: int
) -> Any:
    """Return the loop over chunks, and which outputs have a row for each row of `a`.

    The others have a row for each chunk. The loop is ``run(a, chunk, first, last, outs, args)``.
    A kernel whose result is not a tuple has a `single` output. Chunks are of so many `rows`.
    """
    if JIT_DISABLED:
        return _compiled_map(kernel, a, outs, single, args, rows)
    key = kernel, kind_of(a, "a"), kind_of(outs, "out"), single, kinds_of(args)
    return kept(key) or kept(key, _compiled_map(kernel, a, outs, single, args, rows))


def _compiled_map(
    kernel: Any, a: NDArray[Any], outs: Outs, single: bool, args: Args, rows: int
) -> tuple[Compiled, tuple[bool, ...]]:
    chunk, rest, result = call_types(kernel, a, args, rows, views=True)
    name = name_of(kernel, "kernel")
    values = (result,) if single else tuple(result) if isinstance(result, types.BaseTuple) else ()
    if len(values) != len(outs) or any(isinstance(value, types.BaseTuple) for value in values):
        wanted = "one array" if single else f"a tuple of {len(outs)} arrays"
        raise KernelError(f"{name} returns {result}, but out is {wanted}")
    by_rows = tuple(map(_has_rows_of_a, (name,) * len(outs), values, outs))
    store = _store_all(list(map(_store_of, values, by_rows)))
    kinds = types.BaseTuple.from_types(tuple(type_of(out, "out") for out in outs))
    signature = (chunk, types.int64, types.int64, types.int64, kinds, rest)
    return compiled(_loop(kernel, store, single), signature), by_rows


def _has_rows_of_a(name: str, value: Any, out: NDArray[Any]) -> bool:
    """Return True if a result has a row of `out` for each row of its chunk, not one for all."""
    ndim = value.ndim if isinstance(value, types.Array) else 0
    dtype = as_dtype(value.dtype if isinstance(value, types.Array) else value)
    if out.ndim not in (ndim, ndim + 1) or out.ndim == 0:
        raise KernelError(
            f"{name} returns {value}, so out must have {ndim + 1} dimensions, one row for each "
            f"chunk{f', or {ndim}, one row for each row' if ndim else ''}; it has {out.ndim}"
        )
    if not np.can_cast(dtype, out.dtype, "same_kind"):
        raise KernelError(f"{name} returns {value}, which out, of {out.dtype}, cannot hold")
    if dtype != out.dtype and not (_converts(dtype) and _converts(out.dtype)):
        raise KernelError(
            f"{name} returns {value}, which compiled code cannot convert to {out.dtype}: make out "
            f"of {dtype}, and convert it with astype"
        )
    return out.ndim == ndim


def _converts(dtype: np.dtype[Any]) -> bool:
    """Return True for the numbers that numba makes of each other."""
    return dtype.kind in "biufc" and dtype != np.float16


def _store_of(value: Any, by_rows: bool) -> Any:
    if not isinstance(value, types.Array):
        return _store_number
    return _store_rows if by_rows else _store_row


def _loop(kernel: Any, store: Any, single: bool) -> Compiled:
    """Return the loop of `compiled_map`."""
    values_of = _alone if single else _as_it_is

    def run(a: NDArray[Any], chunk: int, first: int, last: int, outs: Outs, args: Args) -> None:
        for number in range(first, last):
            start, stop = number * chunk, min((number + 1) * chunk, len(a))
            store(outs, number, start, stop, values_of(kernel(a[start:stop], *args)))

    return run


def _store_all(stores: list[Any]) -> Any:
    """Return what stores each value in its output: their types differ, so that none can loop."""
    store, *others = stores
    if not others:

        def store_last(outs: Outs, n: int, start: int, stop: int, values: Any) -> None:
            store(outs[0], n, start, stop, values[0])

        return numba.njit(store_last)
    rest = _store_all(others)

    def store_first(outs: Outs, n: int, start: int, stop: int, values: Any) -> None:
        store(outs[0], n, start, stop, values[0])
        rest(outs[1:], n, start, stop, values[1:])

    return numba.njit(store_first)


@part()
def _alone(value: Any) -> tuple[Any]:
    return (value,)


@part()
def _as_it_is(values: Any) -> Any:
    return values


@part()
def _store_number(out: NDArray[Any], number: int, start: int, stop: int, value: Any) -> None:
    out[number] = value


@part()
def _store_row(out: NDArray[Any], number: int, start: int, stop: int, value: Any) -> None:
    if value.shape != out.shape[1:]:
        raise MisfitError(number, value.shape)
    out[number] = value


@part()
def _store_rows(out: NDArray[Any], number: int, start: int, stop: int, value: Any) -> None:
    rows = out[start:stop]
    if value.shape != rows.shape:
        raise MisfitError(number, value.shape)
    rows[:] = value
