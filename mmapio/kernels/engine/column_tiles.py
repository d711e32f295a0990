"""All rows of a table reduced to one, in tiles of columns whose results stay in registers.

For tables in the cache: `column_vectors` is for those that are not, and for rows that lie anywhere.
Columns have nothing to do with each other, so vectors of any length give the same bits. Runs of so
few items that each is no vector are the columns of the table that is turned.
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

from mmapio.kernels.engine.column_vectors import Combine, float_sums, int_sums, kept
from mmapio.kernels.engine.jit import inside
from mmapio.kernels.engine.lanes import two_sum

__all__ = [
    "LEAST_COLUMNS",
    "add_float_columns",
    "add_float_lines",
    "add_int_columns",
    "add_int_lines",
    "keep_greatest_columns",
    "keep_greatest_lines",
    "keep_least_columns",
    "keep_least_lines",
]

LEAST_COLUMNS = 8
_ROWS = 8  # that are combined as a tree
_FEWER = (4, 2, 1)  # how those that are left are
_VECTORS = 4  # side by side in a tile
_LINE = 64
_WORD = ir.IntType(64)
_DOUBLE = ir.DoubleType()

Row = NDArray[Any]
Vector = Any


# What they do, in Python ------------------------------------------------------------------------


def add_float_columns(x: Row, start: int, rows: int, out: Row) -> None:
    """Store sums of columns, of floats or of integers as floats.

    Up to 8 rows are added as a tree; such sums in turn, and of float64 with the error of each.

    Parameters
    ----------
    x : numpy.ndarray
        A contiguous row of numbers.
    start, rows : int
        Where the first of the rows is, and how many there are. They follow each other.
    out : numpy.ndarray
        float64, contiguous: an item for each of at least 8 columns.
    """
    _add_floats(_table(x, start, rows, out), out)


def add_float_lines(x: Row, start: int, rows: int, out: Row) -> None:
    """Do for runs of so many items what `add_float_columns` does for columns."""
    _add_floats(_turned(x, start, rows, out), out)


def add_int_columns(x: Row, start: int, rows: int, out: Row) -> None:
    """Store sums of columns of integers modulo 2**64; `out` is of int64."""
    out[:] = _table(x, start, rows, out).sum(0, np.int64)


def add_int_lines(x: Row, start: int, rows: int, out: Row) -> None:
    """Do for runs what `add_int_columns` does for columns."""
    out[:] = _turned(x, start, rows, out).sum(0, np.int64)


def keep_least_columns(x: Row, start: int, rows: int, out: Row) -> None:
    """Store the least item of each column; or NaN, if it has any."""
    _keep(np.less, _table(x, start, rows, out), out)


def keep_least_lines(x: Row, start: int, rows: int, out: Row) -> None:
    """Do for runs what `keep_least_columns` does for columns."""
    _keep(np.less, _turned(x, start, rows, out), out)


def keep_greatest_columns(x: Row, start: int, rows: int, out: Row) -> None:
    """Store the greatest item of each column; or NaN, if it has any."""
    _keep(np.greater, _table(x, start, rows, out), out)


def keep_greatest_lines(x: Row, start: int, rows: int, out: Row) -> None:
    """Do for runs what `keep_greatest_columns` does for columns."""
    _keep(np.greater, _turned(x, start, rows, out), out)


def _table(x: Row, start: int, rows: int, out: Row) -> Row:
    return x[start : start + rows * out.size].reshape(rows, out.size)


def _turned(x: Row, start: int, rows: int, out: Row) -> Row:
    return x[start : start + rows * out.size].reshape(out.size, rows).T


def _add_floats(table: Row, out: Row) -> None:
    total, error = np.zeros(out.size), np.zeros(out.size)
    with np.errstate(all="ignore"):
        for some in _groups(table):
            term = _tree(some.astype(np.float64), np.add)
            if table.itemsize < 8:
                total = total + term
            else:
                total, slip = two_sum(total, term)
                error = error + slip
        out[:] = np.where(np.isfinite(total), total + error, total)


def _keep(compare: Callable[..., Any], table: Row, out: Row) -> None:
    """Of equal values, which zeros of both signs are, the last one is kept."""

    def nearer(one: Row, other: Row) -> Row:
        return np.where(compare(one, other), one, other)

    best = table[0]
    for some in _groups(table):
        best = nearer(best, _tree(some, nearer))
    if table.dtype.kind == "f":
        best = np.where((table != table).any(axis=0), table.dtype.type(np.nan), best)
    out[:] = best


def _groups(table: Row) -> Iterator[Row]:
    """Yield the rows that are combined as a tree."""
    rows = len(table)
    whole = rows // _ROWS * _ROWS
    yield from (table[at : at + _ROWS] for at in range(0, whole, _ROWS))
    for some in _FEWER:
        if rows & some:
            yield table[whole : whole + some]
            whole += some


def _tree(rows: Row, combine: Callable[[Row, Row], Row]) -> Row:
    """Combine neighbours, and then what became of them, until one is left."""
    found: list[Row] = list(rows)
    while len(found) > 1:
        found = list(map(combine, found[::2], found[1::2]))
    return found[0]


# The same in vectors ----------------------------------------------------------------------------


class _Kind:
    """A reduction of items of a type: its vectors, and how these begin, go on and end."""

    def __init__(self, combine: Combine, item: Any) -> None:
        self.combine, self.item = combine, item
        self._of, self._places, self.lanes = None, 1, _LINE * 8 // item.bitwidth
        if combine is float_sums:
            self._of, self._places, self.lanes = _DOUBLE, 2, LEAST_COLUMNS
        elif combine is int_sums:
            self._of = ir.IntType(32 if item.bitwidth == 8 else 64)
            self.lanes = max(LEAST_COLUMNS, _LINE * 4 // item.bitwidth)

    def first(self, items: Vector) -> list[Vector]:
        """Return the results before the first row: zeros, or the row itself."""
        if self._of is None:
            return [items]
        vector = ir.VectorType(self._of, items.type.count)
        return [ir.Constant(vector, None)] * self._places

    def last(self, builder: Any, results: list[Vector], like: Any) -> Vector:
        """Return what is stored."""
        if self.combine is float_sums:
            total, error = results
            is_sum = builder.fcmp_ordered(
                "==", builder.fsub(total, total), ir.Constant(total.type, None)
            )
            return builder.select(is_sum, builder.fadd(total, error), total)
        [found] = results
        return builder.sext(found, like) if found.type != like else found


def _emit(combine: Combine, turned: bool) -> Callable[..., tuple[Any, Callable[..., Any]]]:
    """Return the emitter of a reduction of columns; those of a turned table are runs."""

    def emit(_typing: Any, x: Any, start: Any, rows: Any, out: Any) -> Any:
        kind = _Kind(combine, x.dtype)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            row, found = (
                context.make_array(signature.args[i])(context, builder, arguments[i])
                for i in (0, 3)
            )
            first, rows = builder.gep(row.data, [arguments[1]]), arguments[2]
            load = functools.partial(_load, builder, first, found.nitems)
            if turned:
                load = functools.partial(_load_turned, builder, first, rows)
            step = functools.partial(_emit_tile, builder, kind, load, rows, found.data)
            done = cgutils.alloca_once_value(builder, _WORD(0))
            whole = [] if turned else [(kind.lanes, _VECTORS), (kind.lanes, 1)]
            for lanes, vectors in (*whole, (LEAST_COLUMNS, 1)):
                _emit_tiles(builder, done, found.nitems, lanes, vectors, step)
            return context.get_dummy_value()

        return numba.types.void(x, start, rows, out), generate

    return emit


def _emit_tiles(
    builder: Any, done: Any, width: Any, lanes: int, vectors: int, step: Callable[..., None]
) -> None:
    """Emit whole tiles of so many vectors; of single ones, the last ends where the row does.

    Columns that it shares with the one before it are reduced twice.
    """
    columns = lanes * vectors
    begin = builder.load(done)
    count = builder.udiv(builder.sub(width, begin), _WORD(columns))
    with cgutils.for_range(builder, count) as loop:
        step(builder.add(begin, builder.mul(loop.index, _WORD(columns))), lanes, vectors)
    begin = builder.add(begin, builder.mul(count, _WORD(columns)))
    builder.store(begin, done)
    if vectors == 1:
        is_left = builder.icmp_unsigned("<", begin, width)
        fits = builder.icmp_unsigned(">=", width, _WORD(columns))
        with builder.if_then(builder.and_(is_left, fits)):
            step(builder.sub(width, _WORD(columns)), lanes, vectors)
            builder.store(width, done)


def _load(builder: Any, table: Any, width: Any, row: Any, column: Any, lanes: int) -> Vector:
    """Load items of a row, which follow each other."""
    vector = ir.VectorType(table.type.pointee, lanes)
    place = builder.gep(table, [builder.add(builder.mul(row, width), column)])
    return builder.load(builder.bitcast(place, vector.as_pointer()), align=1)


def _load_turned(builder: Any, table: Any, rows: Any, row: Any, column: Any, lanes: int) -> Vector:
    """Load items of a row one by one: what follow each other are the items of a column."""
    loaded = ir.Constant(ir.VectorType(table.type.pointee, lanes), ir.Undefined)
    for lane in range(lanes):
        start = builder.mul(builder.add(column, _WORD(lane)), rows)
        item = builder.load(builder.gep(table, [builder.add(start, row)]))
        loaded = builder.insert_element(loaded, item, ir.IntType(32)(lane))
    return loaded


def _emit_tile(
    builder: Any,
    kind: _Kind,
    load_at: Callable[..., Vector],
    rows: Any,
    out: Any,
    at: Any,
    lanes: int,
    vectors: int,
) -> None:
    """Emit the reduction of a tile, whose first column is `at`."""

    def load(row: Any, number: int) -> Vector:
        return load_at(row, builder.add(at, _WORD(number * lanes)), lanes)

    results = []
    for number in range(vectors):
        starts = kind.first(load(_WORD(0), number))
        results.append([cgutils.alloca_once(builder, one.type) for one in starts])
        for one, place in zip(starts, results[-1], strict=True):
            builder.store(one, place)

    def add(first: Any, count: int) -> None:
        numbers = [builder.add(first, _WORD(i)) for i in range(count)]
        for number, places in enumerate(results):
            items = [load(row, number) for row in numbers]
            found = kind.combine(builder, kind.item, items, *map(builder.load, places))
            for one, place in zip(found, places, strict=True):
                builder.store(one, place)

    groups = builder.udiv(rows, _WORD(_ROWS))
    with cgutils.for_range(builder, groups) as loop:
        add(builder.mul(loop.index, _WORD(_ROWS)), _ROWS)
    done = cgutils.alloca_once(builder, _WORD)
    builder.store(builder.mul(groups, _WORD(_ROWS)), done)
    for some in _FEWER:
        has = builder.icmp_unsigned("!=", builder.and_(rows, _WORD(some)), _WORD(0))
        with builder.if_then(has):
            first = builder.load(done)
            add(first, some)
            builder.store(builder.add(first, _WORD(some)), done)
    stored = ir.VectorType(out.type.pointee, lanes)
    for number, places in enumerate(results):
        place = builder.gep(out, [builder.add(at, _WORD(number * lanes))])
        found = kind.last(builder, list(map(builder.load, places)), stored)
        builder.store(found, builder.bitcast(place, stored.as_pointer()), align=1)


def _define(function: Callable[..., None], combine: Combine, turned: bool) -> None:
    """Let kernels call the vectors where Python calls the function."""
    emitted: Any = intrinsic(_emit(combine, turned))

    def inside_kernels(x: Any, start: Any, rows: Any, out: Any) -> Callable[..., None]:
        return lambda x, start, rows, out: emitted(x, start, rows, out)

    inside(function)(inside_kernels)


for _columns, _lines, _combine in (
    (add_float_columns, add_float_lines, float_sums),
    (add_int_columns, add_int_lines, int_sums),
    (keep_least_columns, keep_least_lines, functools.partial(kept, "<")),
    (keep_greatest_columns, keep_greatest_lines, functools.partial(kept, ">")),
):
    _define(_columns, _combine, False)
    _define(_lines, _combine, True)
