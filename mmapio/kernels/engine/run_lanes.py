"""Runs of few items reduced one by one, in lanes side by side.

A short run pays for the beginning and the end of a loop, and for the lanes that become one number.
So items that do not fill the lanes are a vector of their own, and the lanes of 8 runs are joined
at once. LLVM cuts vectors into those that the processor has; every lane gets the same items in the
same order, so a sum has the same bits on all processors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from mmapio.kernels.engine import emitting
from mmapio.kernels.engine.column_vectors import cast
from mmapio.kernels.engine.jit import inside
from mmapio.kernels.engine.lanes import LANES, two_sum

__all__ = [
    "LEAST_RUN",
    "RUNS",
    "add_float_run",
    "add_int_run",
    "greatest_of_run",
    "join_runs",
    "least_of_run",
]

RUNS = 8  # that are joined at once
LEAST_RUN = 16
_VECTORS = 8  # that are added as a tree
_FEWER = (4, 2, 1)
_BYTE_LANES = 16
_LINE = 64
_WORD = ir.IntType(64)
_INT = ir.IntType(32)
_DOUBLES = ir.VectorType(ir.DoubleType(), LANES)

Row = NDArray[Any]
Vector = Any
Load = Callable[[Any], Vector]


# What they do, in Python ------------------------------------------------------------------------


def add_float_run(x: Row, start: int, count: int, totals: Row, errors: Row, number: int) -> None:
    """Add the items of a run, of at least 16, in 8 lanes, with the error of each addition.

    Up to 8 vectors are added as a tree first, as `lanes.add_runs` does.

    Parameters
    ----------
    x : numpy.ndarray
        A contiguous row of numbers.
    start, count : int
        Where the run is, and how many items it has.
    totals, errors : numpy.ndarray
        float64: 8 lanes for each of 8 runs.
    number : int
        Which of these runs it is.
    """
    total, error = np.zeros(LANES), np.zeros(LANES)
    with np.errstate(all="ignore"):
        for some in _groups(x[start : start + count].astype(np.float64)):
            total, slip = two_sum(total, _tree(some))
            error = error + slip
    totals[number * LANES : (number + 1) * LANES] = total
    errors[number * LANES : (number + 1) * LANES] = error


def join_runs(totals: Row, errors: Row, out: Row) -> None:
    """Store the 8 sums of 8 runs, of which `add_float_run` has the lanes."""
    total, error = totals.reshape(RUNS, LANES), errors.reshape(RUNS, LANES)
    with np.errstate(all="ignore"):
        while total.shape[1] > 1:
            total, slip = two_sum(total[:, ::2], total[:, 1::2])
            error = (error[:, ::2] + error[:, 1::2]) + slip
        out[:] = np.where(np.isfinite(total), total + error, total)[:, 0]


def add_int_run(x: Row, start: int, count: int) -> Any:
    """Return the sum of a run of at least 16 integers modulo 2**64."""
    return x[start : start + count].sum(dtype=np.int64)


def least_of_run(x: Row, start: int, count: int) -> Any:
    """Return the least item of a run of at least 16; or NaN, if it has any."""
    return _nearest(np.less, x[start : start + count])


def greatest_of_run(x: Row, start: int, count: int) -> Any:
    """Return the greatest item of a run of at least 16; or NaN, if it has any."""
    return _nearest(np.greater, x[start : start + count])


def _nearest(compare: Callable[..., Any], run: Row) -> Any:
    """Of equal values, which zeros of both signs are, the last one is kept in each step."""

    def nearer(one: Row, other: Row) -> Row:
        return np.where(compare(one, other), one, other)

    if (run != run).any():
        return run.dtype.type(np.nan)
    lanes = _LINE // run.itemsize
    lanes = lanes if run.size >= lanes else LANES
    best = run[:lanes]
    for at in range(lanes, run.size - lanes + 1, lanes):
        best = nearer(best, run[at : at + lanes])
    best = nearer(best, run[-lanes:])
    while best.size > 1:
        best = nearer(best[: best.size // 2], best[best.size // 2 :])
    return best[0]


def _groups(run: Row) -> Iterator[Row]:
    """Yield the vectors that are added as a tree; of the last one, lanes may be empty."""
    whole = run.size // LANES
    vectors = run[: whole * LANES].reshape(whole, LANES)
    at = whole // _VECTORS * _VECTORS
    yield from (vectors[first : first + _VECTORS] for first in range(0, at, _VECTORS))
    for some in _FEWER:
        if whole & some:
            yield vectors[at : at + some]
            at += some
    left = run.size % LANES
    if left:
        yield np.concatenate([np.zeros(LANES - left), run[-left:]])[None]


def _tree(terms: Any) -> Any:
    """Add neighbours, and their sums, until one is left."""
    while len(terms) > 1:
        terms = terms[::2] + terms[1::2]
    return terms[0]


# The same in vectors ----------------------------------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator]
def _add_float_run(
    _typing: Any, x: Any, start: Any, count: Any, totals: Any, errors: Any, number: Any
) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row, *sums = (
            context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 3, 4)
        )
        total, error = (cgutils.alloca_once(builder, _DOUBLES) for _ in range(2))
        for place in (total, error):
            builder.store(ir.Constant(_DOUBLES, None), place)

        def add(vectors: list[Vector]) -> None:
            terms = [cast(builder, x.dtype, one, ir.Constant(_DOUBLES, None)) for one in vectors]
            while len(terms) > 1:
                terms = list(map(builder.fadd, terms[::2], terms[1::2]))
            rounded, slip = emitting.two_sum(builder, builder.load(total), terms[0])
            builder.store(rounded, total)
            builder.store(builder.fadd(builder.load(error), slip), error)

        load = functools.partial(_load, builder, builder.gep(row.data, [arguments[1]]), LANES)
        _emit_vectors(builder, arguments[2], LANES, (_VECTORS, *_FEWER), load, add)
        place = builder.mul(arguments[5], _WORD(LANES))
        for one, array in zip((total, error), sums, strict=True):
            pointer = builder.bitcast(builder.gep(array.data, [place]), _DOUBLES.as_pointer())
            builder.store(builder.load(one), pointer, align=1)
        return context.get_dummy_value()

    return numba.types.void(x, start, count, totals, errors, number), generate


def _load(builder: Any, data: Any, lanes: int, at: Any) -> Vector:
    vector = ir.VectorType(data.type.pointee, lanes)
    return builder.load(builder.bitcast(builder.gep(data, [at]), vector.as_pointer()), align=1)


def _emit_vectors(
    builder: Any,
    count: Any,
    lanes: int,
    groups: tuple[int, ...],
    load: Load,
    add: Callable[[list[Vector]], object],
) -> None:
    """Call `add` with the vectors of a run: as many as the first group, and what is left then.

    Items that do not fill a vector are loaded with some that are in one already, and 0 for these.
    """
    many, *fewer = groups
    rounds = builder.udiv(count, _WORD(many * lanes))
    with cgutils.for_range(builder, rounds) as loop:
        first = builder.mul(loop.index, _WORD(many * lanes))
        add([load(builder.add(first, _WORD(i * lanes))) for i in range(many)])
    done = cgutils.alloca_once(builder, _WORD)
    builder.store(builder.mul(rounds, _WORD(many * lanes)), done)
    for some in fewer:
        is_there = builder.and_(count, _WORD(some * lanes))
        with builder.if_then(builder.icmp_unsigned("!=", is_there, _WORD(0))):
            first = builder.load(done)
            add([load(builder.add(first, _WORD(i * lanes))) for i in range(some)])
            builder.store(builder.add(first, _WORD(some * lanes)), done)
    left = builder.and_(count, _WORD(lanes - 1))
    with builder.if_then(builder.icmp_unsigned("!=", left, _WORD(0))):
        last = load(builder.sub(count, _WORD(lanes)))
        numbers = ir.Constant(ir.VectorType(_INT, lanes), list(range(lanes)))
        new = builder.trunc(builder.sub(_WORD(lanes), left), _INT)
        is_new = builder.icmp_signed(">=", numbers, emitting.in_all_lanes(builder, new, lanes))
        add([builder.select(is_new, last, ir.Constant(last.type, None))])


@intrinsic  # type: ignore[untyped-decorator]
def _join_runs(_typing: Any, totals: Any, errors: Any, out: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = [
            context.make_array(kind)(context, builder, argument).data
            for kind, argument in zip(signature.args, arguments, strict=True)
        ]
        total, error = (
            [_load(builder, data, LANES, _WORD(run * LANES)) for run in range(RUNS)]
            for data in given[:2]
        )
        while len(total) > 1:
            (ones, others), (slips, more) = (_split(builder, each) for each in (total, error))
            pairs = [emitting.two_sum(builder, *pair) for pair in zip(ones, others, strict=True)]
            lost = map(builder.fadd, slips, more)
            error = [builder.fadd(one, pair[1]) for one, pair in zip(lost, pairs, strict=True)]
            total = [pair[0] for pair in pairs]
        [whole], [slip] = total, error
        zeros = ir.Constant(_DOUBLES, None)
        is_sum = builder.fcmp_ordered("==", builder.fsub(whole, whole), zeros)
        found = builder.select(is_sum, builder.fadd(whole, slip), whole)
        builder.store(found, builder.bitcast(given[2], _DOUBLES.as_pointer()), align=1)
        return context.get_dummy_value()

    return numba.types.void(totals, errors, out), generate


def _split(builder: Any, vectors: list[Vector]) -> tuple[list[Vector], list[Vector]]:
    """Emit vectors of the lanes of two, of each second one: the even ones, and the odd ones."""
    masks = [
        ir.Constant(ir.VectorType(_INT, LANES), list(range(first, 2 * LANES, 2)))
        for first in (0, 1)
    ]
    even, odd = (
        [
            builder.shuffle_vector(one, other, mask)
            for one, other in zip(vectors[::2], vectors[1::2], strict=True)
        ]
        for mask in masks
    )
    return even, odd


@intrinsic  # type: ignore[untyped-decorator]
def _add_int_run(_typing: Any, x: Any, start: Any, count: Any) -> Any:
    is_byte = x.dtype.bitwidth == 8
    lanes, bits = (_BYTE_LANES, 32) if is_byte else (LANES, 64)
    words = ir.VectorType(ir.IntType(bits), lanes)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = context.make_array(signature.args[0])(context, builder, arguments[0])
        total = cgutils.alloca_once(builder, words)
        builder.store(ir.Constant(words, None), total)

        def add(vectors: list[Vector]) -> None:
            for one in vectors:
                term = cast(builder, x.dtype, one, ir.Constant(words, None))
                builder.store(builder.add(builder.load(total), term), total)

        load = functools.partial(_load, builder, builder.gep(row.data, [arguments[1]]), lanes)
        _emit_vectors(builder, arguments[2], lanes, (4, 2, 1), load, add)
        kind = ir.FunctionType(words.element, [words])
        name = f"llvm.vector.reduce.add.v{lanes}i{bits}"
        reduce = cgutils.get_or_insert_function(builder.module, kind, name)
        found = builder.call(reduce, [builder.load(total)])
        return builder.sext(found, _WORD) if is_byte else found

    return numba.types.int64(x, start, count), generate


def _emit_nearest(sign: str) -> Callable[..., tuple[Any, Callable[..., Any]]]:
    """Return the emitter of a search for one extreme of a run."""

    def emit(_typing: Any, x: Any, start: Any, count: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            row = context.make_array(signature.args[0])(context, builder, arguments[0])
            data = builder.gep(row.data, [arguments[1]])
            search = functools.partial(_emit_search, builder, x.dtype, sign, data, arguments[2])
            lanes = _LINE * 8 // x.dtype.bitwidth
            if lanes == LANES:
                return search(lanes)
            found = cgutils.alloca_once(builder, data.type.pointee)
            are_enough = builder.icmp_unsigned(">=", arguments[2], _WORD(lanes))
            with builder.if_else(are_enough) as (then, otherwise):
                with then:
                    builder.store(search(lanes), found)
                with otherwise:
                    builder.store(search(LANES), found)
            return builder.load(found)

        return x.dtype(x, start, count), generate

    return emit


def _emit_search(builder: Any, item: Any, sign: str, data: Any, count: Any, lanes: int) -> Any:
    """Emit the search in vectors of which the last one ends where the run does."""
    is_float = isinstance(item, numba.types.Float)
    load = functools.partial(_load, builder, data, lanes)
    first = load(_WORD(0))
    best = cgutils.alloca_once(builder, first.type)
    nans = cgutils.alloca_once(builder, ir.VectorType(ir.IntType(1), lanes))
    builder.store(first, best)
    builder.store(ir.Constant(nans.type.pointee, None), nans)
    nearer = functools.partial(_nearer, builder, item, sign)

    def look(at: Any) -> None:
        vector = load(at)
        builder.store(nearer(builder.load(best), vector), best)
        if is_float:
            is_nan = builder.fcmp_unordered("uno", vector, vector)
            builder.store(builder.or_(builder.load(nans), is_nan), nans)

    with cgutils.for_range(builder, builder.udiv(count, _WORD(lanes))) as loop:
        look(builder.mul(loop.index, _WORD(lanes)))
    look(builder.sub(count, _WORD(lanes)))
    vector = builder.load(best)
    while (half := vector.type.count // 2) >= 1:
        ends = (_some(builder, vector, range(begin, begin + half)) for begin in (0, half))
        vector = nearer(*ends)
        if half == 1:
            break
    found = vector
    if not is_float:
        return found
    flags = builder.bitcast(builder.load(nans), ir.IntType(lanes))
    has_nan = builder.icmp_unsigned("!=", flags, flags.type(0))
    return builder.select(has_nan, ir.Constant(found.type, float("nan")), found)


def _some(builder: Any, vector: Vector, places: range) -> Any:
    if len(places) == 1:
        return builder.extract_element(vector, _INT(places[0]))
    mask = ir.Constant(ir.VectorType(_INT, len(places)), list(places))
    return builder.shuffle_vector(vector, vector, mask)


def _nearer(builder: Any, item: Any, sign: str, one: Any, other: Any) -> Any:
    """Emit a choice that is one instruction on most processors."""
    if isinstance(item, numba.types.Float):
        compare = builder.fcmp_ordered
    else:
        compare = builder.icmp_signed if item.signed else builder.icmp_unsigned
    return builder.select(compare(sign, one, other), one, other)


_least_of_run: Any = intrinsic(_emit_nearest("<"))
_greatest_of_run: Any = intrinsic(_emit_nearest(">"))


@inside(add_float_run)
def _add_float_run_inside(
    x: Any, start: Any, count: Any, totals: Any, errors: Any, number: Any
) -> Callable[..., None]:
    return lambda x, start, count, totals, errors, number: _add_float_run(
        x, start, count, totals, errors, number
    )


@inside(join_runs)
def _join_runs_inside(totals: Any, errors: Any, out: Any) -> Callable[..., None]:
    return lambda totals, errors, out: _join_runs(totals, errors, out)


@inside(add_int_run)
def _add_int_run_inside(x: Any, start: Any, count: Any) -> Callable[..., Any]:
    return lambda x, start, count: _add_int_run(x, start, count)


@inside(least_of_run)
def _least_of_run_inside(x: Any, start: Any, count: Any) -> Callable[..., Any]:
    return lambda x, start, count: _least_of_run(x, start, count)


@inside(greatest_of_run)
def _greatest_of_run_inside(x: Any, start: Any, count: Any) -> Callable[..., Any]:
    return lambda x, start, count: _greatest_of_run(x, start, count)
