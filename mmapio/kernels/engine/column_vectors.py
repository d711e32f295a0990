"""Rows combined column by column, in vectors of a fixed length.

Left to itself, the compiler asks at run time whether rows overlap the results, and gives up where
there are many rows. Columns have nothing to do with each other, so vectors of any length give the
same bits; of 8 rows, memory is asked for the next 8 while these are combined.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from mmapio.kernels.engine import emitting
from mmapio.kernels.engine.jit import inside

__all__ = [
    "ROWS_AT_ONCE",
    "VECTOR_BYTES",
    "add_float_row",
    "add_float_rows",
    "add_int_row",
    "add_int_rows",
    "add_square_row",
    "add_square_rows",
    "cast",
    "float_sums",
    "int_sums",
    "keep_greatest_row",
    "keep_greatest_rows",
    "keep_least_row",
    "keep_least_rows",
    "kept",
]

ROWS_AT_ONCE = 8
VECTOR_BYTES = 64  # a line of the cache
_MOST_RESULT_BYTES = 128  # longer vectors take long to compile
_SHORT_LANES = 8  # for what is left over of a row
_WORD = ir.IntType(64)

Vector = Any
Row = NDArray[Any]
# Of vectors of rows, of the accumulators and of arguments, to vectors for the accumulators.
Combine = Callable[..., tuple[Vector, ...]]


# What they do, in Python ------------------------------------------------------------------------


def add_float_rows(x: Row, places: Row, ahead: int, total: Row, error: Row) -> None:
    """Add the 8 rows that start at `places` in a tree, and their sum with its rounding error.

    Parameters
    ----------
    x : numpy.ndarray
        A contiguous row of floats, or of integers.
    places : numpy.ndarray
        int64: where each row starts; all are as long as `total`.
    ahead : int
        How far behind each row lies one that is needed next.
    total, error : numpy.ndarray
        float64, contiguous: the sums of columns.
    """
    term = _tree(_taken(x, places, total.size, np.float64), np.add)
    _add_term(x.itemsize, term, total, error)


def add_float_row(x: Row, places: Row, ahead: int, total: Row, error: Row) -> None:
    """Do for one row what `add_float_rows` does for 8."""
    _add_term(x.itemsize, _taken(x, places[:1], total.size, np.float64)[0], total, error)


def _add_term(itemsize: int, term: Row, total: Row, error: Row) -> None:
    """Keep the errors of what has float64's own precision; those of less are far below it."""
    with np.errstate(all="ignore"):
        if itemsize < 8:
            total += term
            return
        rounded = total + term
        shadow = rounded - total
        error += (total - (rounded - shadow)) + (term - shadow)
        total[:] = rounded


def add_int_rows(x: Row, places: Row, ahead: int, total: Row) -> None:
    """Add 8 rows of integers to sums of 32 bits, for items of at most 16 bits, else of 64."""
    total += np.sum(_taken(x, places, total.size, total.dtype), 0, total.dtype)


def add_int_row(x: Row, places: Row, ahead: int, total: Row) -> None:
    """Do for one row what `add_int_rows` does for 8."""
    add_int_rows(x, places[:1], ahead, total)


def add_square_rows(x: Row, places: Row, ahead: int, means: Row, slips: Row, squares: Row) -> None:
    """Add the deviations of 8 rows from rounded means of the columns, and their squares."""
    with np.errstate(all="ignore"):
        steps = _taken(x, places, means.size, np.float64) - means
        slips += _tree(steps, np.add)
        squares += _tree(steps * steps, np.add)


def add_square_row(x: Row, places: Row, ahead: int, means: Row, slips: Row, squares: Row) -> None:
    """Do for one row what `add_square_rows` does for 8."""
    with np.errstate(all="ignore"):
        steps = _taken(x, places[:1], means.size, np.float64)[0] - means
        slips += steps
        squares += steps * steps


def keep_least_rows(x: Row, places: Row, ahead: int, least: Row) -> None:
    """Keep the least of each column of 8 rows; a NaN enters and stays."""
    _keep(np.less, _taken(x, places, least.size, x.dtype), least)


def keep_least_row(x: Row, places: Row, ahead: int, least: Row) -> None:
    """Do for one row what `keep_least_rows` does for 8."""
    keep_least_rows(x, places[:1], ahead, least)


def keep_greatest_rows(x: Row, places: Row, ahead: int, greatest: Row) -> None:
    """Keep the greatest of each column of 8 rows; a NaN enters and stays."""
    _keep(np.greater, _taken(x, places, greatest.size, x.dtype), greatest)


def keep_greatest_row(x: Row, places: Row, ahead: int, greatest: Row) -> None:
    """Do for one row what `keep_greatest_rows` does for 8."""
    keep_greatest_rows(x, places[:1], ahead, greatest)


def _keep(compare: Callable[[Row, Row], Any], rows: Row, best: Row) -> None:
    """Of equal values, which zeros of both signs are, the last one is kept."""

    def nearer(one: Row, other: Row) -> Row:
        return np.where(compare(one, other), one, other)

    found = _tree(rows, nearer)
    if found.dtype.kind == "f":  # a NaN would make floats of integers, which round
        found = np.where((rows != rows).any(axis=0), found.dtype.type(np.nan), found)
    best[:] = np.where(best != best, best, nearer(best, found))


def _taken(x: Row, places: Row, width: int, dtype: Any) -> NDArray[Any]:
    return np.array([x[place : place + width] for place in places.tolist()]).astype(dtype)


def _tree(rows: Any, add: Any) -> Any:
    """Combine neighbours, and then what became of them, until one is left."""
    rows = list(rows)
    while len(rows) > 1:
        rows = [add(one, other) for one, other in zip(rows[::2], rows[1::2], strict=True)]
    return rows[0]


# The same in vectors ----------------------------------------------------------------------------


def _emit(
    rows: int, combine: Combine, written: Sequence[int]
) -> Callable[..., tuple[Any, Callable[..., Any]]]:
    """Return the emitter of a loop over columns.

    `combine` gets the builder, numba's type of the items, a vector of each row and of each array
    that follows `ahead`, and returns vectors for those of these that are `written`.
    """

    def emit(_typing: Any, x: Any, places: Any, ahead: Any, columns: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds = signature.args
            row, where = (
                context.make_array(kinds[i])(context, builder, arguments[i]) for i in (0, 1)
            )
            results = [
                context.make_array(kind)(
                    context, builder, builder.extract_value(arguments[3], number)
                )
                for number, kind in enumerate(kinds[3])
            ]
            starts = [
                builder.gep(row.data, [builder.load(builder.gep(where.data, [_WORD(i)]))])
                for i in range(rows)
            ]
            whole = _lanes(kinds[0].dtype, kinds[3])
            width, done = results[0].nitems, cgutils.alloca_once_value(builder, _WORD(0))
            for lanes in sorted({whole, min(whole, _SHORT_LANES), 1}, reverse=True):
                fetch = arguments[2] if rows > 1 and lanes == whole else None
                step = functools.partial(
                    _emit_step,
                    builder,
                    (kinds[0].dtype, lanes, fetch),
                    combine,
                    (starts, [result.data for result in results], written),
                )
                _emit_loop(builder, done, width, lanes, step)
            return context.get_dummy_value()

        return numba.types.void(x, places, ahead, columns), generate

    return emit


def _lanes(item: Any, results: Any) -> int:
    """Return how many columns are a vector: a line of the cache, unless the results are many."""
    most: int = _MOST_RESULT_BYTES * 8 // max(result.dtype.bitwidth for result in results)
    return min(VECTOR_BYTES * 8 // int(item.bitwidth), most)


def _emit_loop(
    builder: Any, done: Any, width: Any, lanes: int, body: Callable[[Any], None]
) -> None:
    """Call `body` with the column that each whole vector starts at, from where the last ended."""
    first = builder.load(done)
    count = builder.udiv(builder.sub(width, first), _WORD(lanes))
    with cgutils.for_range(builder, count) as loop:
        body(builder.add(first, builder.mul(loop.index, _WORD(lanes))))
    builder.store(builder.add(first, builder.mul(count, _WORD(lanes))), done)


def _emit_step(
    builder: Any,
    kind: tuple[Any, int, Any],
    combine: Combine,
    rows_and_results: tuple[Sequence[Any], Sequence[Any], Sequence[int]],
    at: Any,
) -> None:
    """Emit what is done for a vector of columns."""
    item, lanes, fetch = kind
    starts, results, written = rows_and_results
    vectors = [_pointer(builder, start, at, lanes) for start in starts]
    rows = [builder.load(vector, align=1) for vector in vectors]
    if fetch is not None:
        with builder.if_then(builder.icmp_signed("!=", fetch, _WORD(0))):
            for start in starts:
                emitting.prefetch(builder, builder.gep(start, [builder.add(at, fetch)]), 2)
    places = [_pointer(builder, result, at, lanes) for result in results]
    found = combine(builder, item, rows, *[builder.load(place, align=1) for place in places])
    for number, vector in zip(written, found, strict=True):
        builder.store(vector, places[number], align=1)


def _pointer(builder: Any, start: Any, at: Any, lanes: int) -> Any:
    vector = ir.VectorType(start.type.pointee, lanes)
    return builder.bitcast(builder.gep(start, [at]), vector.as_pointer())


def cast(builder: Any, item: Any, vector: Vector, like: Vector) -> Vector:
    """Convert items to the type of the lanes of another vector."""
    wanted, given = like.type, vector.type
    if wanted == given:
        return vector
    if isinstance(item, numba.types.Float):
        return builder.fpext(vector, wanted)
    if isinstance(wanted.element, ir.IntType):
        return (builder.sext if item.signed else builder.zext)(vector, wanted)
    return (builder.sitofp if item.signed else builder.uitofp)(vector, wanted)


def float_sums(
    builder: Any, item: Any, rows: Sequence[Vector], total: Vector, error: Vector
) -> tuple[Vector, ...]:
    """Add a tree of rows; of float64, keep the error of adding it."""
    term = _tree([cast(builder, item, row, total) for row in rows], builder.fadd)
    if item.bitwidth < 64:
        return builder.fadd(total, term), error
    rounded, slip = emitting.two_sum(builder, total, term)
    return rounded, builder.fadd(error, slip)


def int_sums(builder: Any, item: Any, rows: Sequence[Vector], total: Vector) -> tuple[Vector, ...]:
    """Add bytes in 16 bits first, which 8 of them fit into."""
    if item.bitwidth == 8 and len(rows) > 1:
        short = ir.Constant(ir.VectorType(ir.IntType(16), rows[0].type.count), ir.Undefined)
        term = _tree([cast(builder, item, row, short) for row in rows], builder.add)
    else:
        term = _tree([cast(builder, item, row, total) for row in rows], builder.add)
    extend = builder.sext if item.signed else builder.zext
    return (builder.add(total, term if term.type == total.type else extend(term, total.type)),)


def _squares(
    builder: Any, item: Any, rows: Sequence[Vector], means: Vector, slips: Vector, squares: Vector
) -> tuple[Vector, ...]:
    steps = [builder.fsub(cast(builder, item, row, means), means) for row in rows]
    return (
        builder.fadd(slips, _tree(steps, builder.fadd)),
        builder.fadd(squares, _tree([builder.fmul(step, step) for step in steps], builder.fadd)),
    )


def kept(
    sign: str, builder: Any, item: Any, rows: Sequence[Vector], best: Vector
) -> tuple[Vector, ...]:
    """Compare integers, or floats so that one instruction does it, and look for NaNs apart."""
    if isinstance(item, numba.types.Integer):
        compare = builder.icmp_signed if item.signed else builder.icmp_unsigned

        def better(one: Vector, other: Vector) -> Vector:
            return builder.select(compare(sign, one, other), one, other)

        return (better(best, _tree(rows, better)),)

    def nearer(one: Vector, other: Vector) -> Vector:
        return builder.select(builder.fcmp_ordered(sign, one, other), one, other)

    pairs = zip(rows[::2], rows[1::2] if len(rows) > 1 else rows, strict=True)
    without = _tree([builder.fcmp_unordered("uno", *pair) for pair in pairs], builder.or_)
    nan = ir.Constant(best.type, [float("nan")] * best.type.count)
    term = builder.select(without, nan, _tree(rows, nearer))
    stays = builder.fcmp_unordered("uno", best, best)
    return (builder.select(stays, best, nearer(best, term)),)


_MEANINGS: list[tuple[Callable[..., None], Callable[..., None], Combine, tuple[int, ...]]] = [
    (add_float_rows, add_float_row, float_sums, (0, 1)),
    (add_int_rows, add_int_row, int_sums, (0,)),
    (add_square_rows, add_square_row, _squares, (1, 2)),
    (keep_least_rows, keep_least_row, functools.partial(kept, "<"), (0,)),
    (keep_greatest_rows, keep_greatest_row, functools.partial(kept, ">"), (0,)),
]


def _define(function: Callable[..., None], rows: int, combine: Combine, written: Any) -> None:
    """Let kernels call the vectors where Python calls the function."""
    emitted: Any = intrinsic(_emit(rows, combine, written))

    def of_one(x: Any, places: Any, ahead: Any, a: Any) -> Callable[..., None]:
        return lambda x, places, ahead, a: emitted(x, places, ahead, (a,))

    def of_two(x: Any, places: Any, ahead: Any, a: Any, b: Any) -> Callable[..., None]:
        return lambda x, places, ahead, a, b: emitted(x, places, ahead, (a, b))

    def of_three(x: Any, places: Any, ahead: Any, a: Any, b: Any, c: Any) -> Callable[..., None]:
        return lambda x, places, ahead, a, b, c: emitted(x, places, ahead, (a, b, c))

    results = function.__code__.co_argcount - 3
    inside(function)((of_one, of_two, of_three)[results - 1])


for _many, _single, _combine, _written in _MEANINGS:
    _define(_many, ROWS_AT_ONCE, _combine, _written)
    _define(_single, 1, _combine, _written)
