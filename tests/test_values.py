"""One rule for what is stored: values x dtypes x what holds them x where they are stored.

A cell of the table is either stored exactly (floats rounded), or refused by an error that is both
mmapio's and a built-in one, while what was there stays as it was.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import inspect
import math
import os
from collections import UserList, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

import mmapio
from mmapio import (
    ArgumentError,
    ArgumentTypeError,
    GrowableArray,
    MappedFile,
    MappingLostError,
    RingBuffer,
    SeqLock,
    ShardedCounter,
    aio,
    atomics,
    kernels,
)
from mmapio._values import as_items

# What there is to store, as what, and what becomes of it ------------------------------------------

POINT = [("x", "i2"), ("y", "f4")]
DEEP = [("n", "u1"), ("p", [("t", "S2"), ("v", "i1", 2)])]
DAY = np.datetime64("2020-02-03")
NOON = np.datetime64("2020-02-03T12", "h")

CASES: list[tuple[Any, Any, Any]] = [
    (5, "i4", 5),
    (2**40, "i4", ArgumentError),
    (-(2**31), "i4", -(2**31)),
    (-(2**31) - 1, "i4", ArgumentError),
    (255, "u1", 255),
    (300, "u1", ArgumentError),
    (-1, "u2", ArgumentError),
    (2**63, "u8", 2**63),
    (2**63, "i8", ArgumentError),
    (2**64 - 1, ">u8", 2**64 - 1),
    (2**70, "i8", ArgumentError),
    (True, "i1", 1),
    (True, "?", True),
    (1, "?", True),
    (2, "?", ArgumentError),
    (-1, "?", ArgumentError),
    (1.0, "?", ArgumentTypeError),
    (3.0, "i4", ArgumentTypeError),
    (2.5, "i4", ArgumentTypeError),
    (math.nan, "i4", ArgumentTypeError),
    (-math.inf, "i8", ArgumentTypeError),
    (1 + 2j, "i8", ArgumentTypeError),
    (0.1, "f8", 0.1),
    (0.1, "f4", np.float32(0.1)),
    (1e-300, "f4", 0.0),
    (1e300, "f4", ArgumentError),
    (-3.5e38, ">f4", ArgumentError),
    (math.inf, "f4", math.inf),
    (math.nan, "f2", math.nan),
    (65504.0, "f2", 65504.0),
    (70000.0, "f2", ArgumentError),
    (7, "f4", 7.0),
    (True, "f8", 1.0),
    (2**24 + 1, "f4", ArgumentError),
    (2**53, "f8", 2.0**53),
    (2**53 + 1, "f8", ArgumentError),
    (2**63 - 1, "f8", ArgumentError),
    (2**70, "f8", 2.0**70),
    (10**400, "f8", ArgumentError),
    (1 + 2j, "f8", ArgumentTypeError),
    (1 + 2j, "c8", 1 + 2j),
    (1e300j, "c8", ArgumentError),
    (5, "c16", 5 + 0j),
    (2**53 + 1, "c16", ArgumentError),
    ("abc", "U3", "abc"),
    ("abcd", "U3", ArgumentError),
    (b"abc", "S3", b"abc"),
    (b"abcd", "S3", ArgumentError),
    ("abc", "S3", b"abc"),
    ("\xe9", "S3", ArgumentError),
    (b"\xff", "U3", ArgumentError),
    (b"abc", ">U3", "abc"),
    ("5", "f8", ArgumentTypeError),
    ("5", "i8", ArgumentTypeError),
    (5, "U3", ArgumentTypeError),
    (5.0, "S30", ArgumentTypeError),
    (b"ab", "V2", b"ab"),
    (b"abc", "V2", ArgumentError),
    (DAY, "M8[s]", np.datetime64("2020-02-03", "s")),
    (NOON, "M8[D]", ArgumentError),
    (np.datetime64("2020-02-03T00", "h"), ">M8[D]", DAY),
    (np.datetime64("3000-01-01"), "M8[ns]", ArgumentError),
    (np.datetime64("NaT", "D"), "M8[ns]", np.datetime64("NaT")),
    (DAY, "i8", ArgumentTypeError),
    (5, "M8[s]", ArgumentTypeError),
    ("2020-02-03", "M8[D]", ArgumentTypeError),
    (np.timedelta64(120, "s"), "m8[m]", np.timedelta64(2, "m")),
    (np.timedelta64(90, "s"), "m8[m]", ArgumentError),
    (np.timedelta64(1, "Y"), "m8[D]", ArgumentTypeError),
    (np.timedelta64(5, "s"), "f8", ArgumentTypeError),
    (7, "m8[s]", np.timedelta64(7, "s")),
    (-(2**63), "m8[s]", ArgumentError),
]

# Records, the widest dtype that they have by themselves, and the rest as above.
POINTS = [("x", "i8"), ("y", "f8")]
DEEPER = [("n", "i8"), ("p", [("t", "S9"), ("v", "i8", 2)])]
RECORDS: list[tuple[Any, Any, Any, Any]] = [
    ((1, 2.5), POINTS, POINT, (1, 2.5)),
    ((70000, 2.5), POINTS, POINT, ArgumentError),
    ((1.5, 2.5), [("x", "f8"), ("y", "f8")], POINT, ArgumentTypeError),
    ((1, 1e300), POINTS, POINT, ArgumentError),
    ((1, "a"), [("x", "i8"), ("y", "U1")], POINT, ArgumentTypeError),
    ((1, (b"ab", [2, 3])), DEEPER, DEEP, (1, (b"ab", [2, 3]))),
    ((1, (b"abc", [2, 3])), DEEPER, DEEP, ArgumentError),
    ((1, (b"ab", [2, 300])), DEEPER, DEEP, ArgumentError),
    ((256, (b"ab", [2, 3])), DEEPER, DEEP, ArgumentError),
]


class Series:
    """Like those of pandas: an array is in it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.array, dtype)


class Index:
    """An integer of another package."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


def apart(array: np.ndarray) -> np.ndarray:
    """Return the same values, that do not lie one after the other."""
    return np.repeat(array, 2)[::2]


def masked(array: np.ndarray) -> np.ma.MaskedArray:
    found = np.ma.masked_array(array, mask=True)
    found.mask.flags.writeable = False
    return found


def of_objects(value: Any) -> np.ndarray:
    found = np.empty(1, object)
    found[0] = value
    return found


# Makes what holds one value, of the shape that is named.
HOLDERS: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "number": ((), lambda value: value),
    "numpy scalar": ((), lambda value: np.asarray(value)[()]),
    "0-d array": ((), np.asarray),
    "swapped 0-d array": ((), lambda v: np.asarray(v).astype(np.asarray(v).dtype.newbyteorder())),
    "0-d object array": ((), lambda value: of_objects(value).reshape(())),
    "list": ((1,), lambda value: [value]),
    "tuple": ((1,), lambda value: (value,)),
    "list in a list": ((1, 1), lambda value: [[value]]),
    "list of numpy scalars": ((1,), lambda value: [np.asarray(value)[()]]),
    "list of arrays": ((1, 1), lambda value: [np.asarray([value])]),
    "array": ((1,), lambda value: np.asarray([value])),
    "array of 2 axes": ((1, 1), lambda value: np.asarray([[value]])),
    "swapped array": ((1,), lambda v: np.asarray([v]).astype(np.asarray(v).dtype.newbyteorder())),
    "strided array": ((1,), lambda value: apart(np.asarray([value]))),
    "Fortran order": ((1, 1), lambda value: np.asarray([[value]], order="F")),
    "read-only": (
        (1,),
        lambda value: np.frombuffer(np.asarray([value]), np.asarray([value]).dtype),
    ),
    "object array": ((1,), of_objects),
    "series": ((1,), lambda value: Series(np.asarray([value]))),
    "series of objects": ((1,), lambda value: Series(of_objects(value))),
    "buffer": ((1,), lambda value: memoryview(np.asarray([value]))),
    "recarray": ((1,), lambda value: np.asarray([value]).view(np.recarray)),
}


def held(value: Any, name: str) -> Any:
    """Return a value in a holder; None if that does not hold such values."""
    make = HOLDERS[name][1]
    if name in ("number", "list", "tuple", "list in a list", "object array", "0-d object array"):
        return make(value)
    if name == "series of objects":
        return make(value)
    natural = np.asarray(value).dtype
    if natural.hasobject or (name == "buffer" and natural.kind in "UMm"):
        return None
    return make(value)


# Where it can be stored ---------------------------------------------------------------------------


class Target(NamedTuple):
    """A way to store what a holder has, and to see what was stored since one has last looked."""

    put: Callable[[Any], object]
    read: Callable[[], np.ndarray]


def rows_of(g: GrowableArray) -> Callable[[], np.ndarray]:
    seen = 0

    def read() -> np.ndarray:
        nonlocal seen
        found, seen = g.array[seen:], len(g)
        return found

    return read


def append(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> Target:
    g = GrowableArray.open(path, "w+", dtype=dtype, row_shape=shape)
    return Target(g.append, rows_of(g))


def extend(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> Target:
    g = GrowableArray.open(path, "w+", dtype=dtype, row_shape=shape[1:])
    return Target(g.extend, rows_of(g))


def push(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> Target:
    ring = RingBuffer.anonymous((dtype, shape), 4)
    return Target(ring.push, ring.pop_many)


def push_many(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> Target:
    ring = RingBuffer.anonymous((dtype, shape[1:]), 4)
    return Target(ring.push_many, ring.pop_many)


def write(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> Target:
    lock = SeqLock.anonymous((dtype, shape))
    seen = 0

    def read() -> np.ndarray:
        nonlocal seen
        new, seen = lock.count - seen, lock.count
        return np.asarray(lock.read())[None][:new]

    return Target(lock.write, read)


def scatter(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> Target:
    a = MappedFile.anonymous(3 * dtype.itemsize).view().view(dtype).reshape(3, *shape)
    before, is_stored = a.tobytes(), False

    def put(values: Any) -> None:
        nonlocal is_stored
        kernels.scatter(a, 1, values)
        is_stored = True

    def read() -> np.ndarray:
        nonlocal is_stored
        new, is_stored = int(is_stored), False
        found = a[1 : 1 + new].copy()
        a[1 : 1 + new] = np.frombuffer(before, dtype)[0]
        assert a.tobytes() == before, "other items were changed"
        return found

    return Target(put, read)


PLACES = {f.__name__: f for f in (append, extend, push, push_many, write, scatter)}


class Targets:
    """Targets of one place, each used again for the same dtype and shape."""

    def __init__(self, place: str, folder: Path) -> None:
        self.place, self.folder = place, folder
        self.made: dict[Any, Target] = {}

    def of(self, dtype: np.dtype, shape: tuple[int, ...]) -> Target:
        key = dtype, shape
        if key not in self.made:
            path = self.folder / str(len(self.made))
            self.made[key] = PLACES[self.place](path, dtype, shape)
        return self.made[key]


def outcome(target: Target, holder: Any) -> Any:
    """Return what was stored, or the error if nothing was."""
    try:
        target.put(holder)
    except Exception as error:
        return error if not len(target.read()) else "it was refused, and stored"
    stored = target.read()
    return stored.reshape(-1)[0] if len(stored) == 1 else f"{len(stored)} were stored"


def agrees(found: Any, expected: Any, dtype: np.dtype) -> bool:
    """Return whether the outcome of a cell is the expected one."""
    if isinstance(expected, type):
        builtin = ValueError if expected is ArgumentError else TypeError
        is_ours = isinstance(found, expected) and isinstance(found, builtin)
        return is_ours and "does not fit dtype" in str(found)
    if isinstance(found, Exception | str) and not isinstance(found, np.str_):
        return False
    wanted = np.asarray(expected).astype(dtype) if not dtype.names else np.array(expected, dtype)
    return bool(np.asarray(found, dtype).tobytes() == wanted.tobytes())


@pytest.mark.parametrize("place", PLACES)
def test_a_value_is_stored_exactly_or_refused_whatever_holds_it(place: str, tmp_path: Path) -> None:
    targets, wrong, count = Targets(place, tmp_path), [], 0
    for value, kind, expected in CASES:
        dtype = np.dtype(kind)
        for name, (shape, _) in HOLDERS.items():
            holder = held(value, name)
            if holder is None or (place in ("extend", "push_many") and shape == ()):
                continue
            found = outcome(targets.of(dtype, shape), holder)
            count += 1
            if not agrees(found, expected, dtype):
                wrong.append(f"{holder!r} ({name}) as {dtype}: {found!r}, not {expected!r}")
    assert not wrong, "\n".join(wrong)
    assert count > 900


@pytest.mark.parametrize("place", PLACES)
def test_records_are_stored_field_by_field(place: str, tmp_path: Path) -> None:
    holders: dict[str, tuple[tuple[int, ...], Callable[[Any, Any], Any]]] = {
        "tuple": ((), lambda record, wide: record),
        "list": ((1,), lambda record, wide: [record]),
        "object array": ((1,), lambda record, wide: of_objects(record)),
        "array": ((1,), lambda record, wide: np.array([record], wide)),
        "strided array": ((1,), lambda record, wide: apart(np.array([record], wide))),
        "record": ((), lambda record, wide: np.array(record, wide)[()]),
        "list of records": ((1,), lambda record, wide: [np.array(record, wide)[()]]),
    }
    targets, wrong = Targets(place, tmp_path), []
    for record, wide, kind, expected in RECORDS:
        dtype = np.dtype(kind)
        for name, (shape, make) in holders.items():
            if place in ("extend", "push_many") and shape == ():
                continue
            found = outcome(targets.of(dtype, shape), make(record, wide))
            if not agrees(found, expected, dtype):
                wrong.append(f"{record!r} ({name}) as {dtype}: {found!r}, not {expected!r}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "values",
    [
        5,
        [5, 6],
        np.array([5]),
        {"x": 1, "y": 2.0},
        np.array([(2.0, 1)], [("y", "f4"), ("x", "i2")]),
        np.array([(1, 2.0)], [("a", "i2"), ("b", "f4")]),
        np.array([(1, 2.0, 3)], [*POINT, ("z", "i1")]),
        np.array([(1, [2.0])], [("x", "i2"), ("y", "f4", 1)]),
        [(1, 2.0, 3)],
    ],
    ids=repr,
)
def test_what_has_other_fields_is_no_such_record(place: str, values: Any, tmp_path: Path) -> None:
    target = PLACES[place](tmp_path / "stored", np.dtype(POINT), (1,))
    found = outcome(target, values)
    assert isinstance(found, ArgumentError | ArgumentTypeError), found


def test_what_pads_the_fields_is_zero(tmp_path: Path) -> None:
    dtype = np.dtype([("a", "u1"), ("b", "i8")], align=True)
    g = GrowableArray.open(tmp_path / "g.npy", "w+", dtype=dtype)
    full = np.frombuffer(b"\xff" * 64, dtype)
    g.extend(full[::2].astype([("a", "u1"), ("b", "i8")]))
    g.append((1, 2))
    assert {bytes(row)[1:8] for row in g.array} == {bytes(7)}


STRANGE: dict[str, Any] = {
    "None": None,
    "None in a list": [None],
    "None in an array": of_objects(None),
    "a generator": (number for number in (1, 2)),
    "a set": {1},
    "a dict": {1: 2},
    "a decimal": decimal.Decimal(1),
    "an object": [object()],
    "a list in an object array": of_objects([1, 2]),
    "texts among numbers": [1, "a"],
    "numbers among None": [1, None],
    "lists of two lengths": [[1, 2], [3]],
    "a time": dt.time(1),
}


@pytest.mark.parametrize("dtype", ["i4", "f8", "?", "U3", "M8[s]", POINT])
@pytest.mark.parametrize("place", PLACES)
def test_what_numpy_knows_no_value_of_is_refused(place: str, dtype: Any, tmp_path: Path) -> None:
    target = PLACES[place](tmp_path / "stored", np.dtype(dtype), (1,))
    for name, values in STRANGE.items():
        found = outcome(target, values)
        assert isinstance(found, ArgumentError | ArgumentTypeError), (name, found)


def test_integers_of_others_and_dates_of_python_are_values_too() -> None:
    def stored(values: Any, dtype: str) -> Any:
        return as_items(values, np.dtype(dtype)).tolist()

    assert stored([Index(5), 6], "i1") == [5, 6]
    with pytest.raises(ArgumentError, match=r"values\[1\] is .* does not fit dtype int8"):
        stored([5, Index(600)], "i1")
    noon = dt.datetime(2020, 2, 3, 12)
    assert stored(noon, "M8[s]") == noon
    assert stored([noon.date(), np.datetime64("NaT")], "M8[D]") == [noon.date(), None]
    assert stored([dt.timedelta(minutes=2)], "m8[s]") == [dt.timedelta(minutes=2)]
    with pytest.raises(ArgumentError, match="in units of 'D' there is no such value"):
        stored([noon], "M8[D]")
    with pytest.raises(ArgumentError, match="has a time zone"):
        stored([noon.replace(tzinfo=dt.UTC)], "M8[s]")


def test_integers_among_floats_change_no_less_than_alone() -> None:
    mixed = [0.5, 2**53 + 1]
    for values in (mixed, np.array(mixed, object), [mixed]):
        with pytest.raises(ArgumentError, match=r"1\] is 9007199254740993, .* it would be rounded"):
            as_items(values, np.dtype("f8"))
        with pytest.raises(ArgumentTypeError, match="it takes integers"):
            as_items(values, np.dtype("i8"))
    with pytest.raises(ArgumentError, match="rounded to 24 binary digits"):
        as_items([0.5, 2**24 + 1], np.dtype("f4"))
    assert as_items([0.5, 2**60, True], np.dtype("f8")).tolist() == [0.5, 2.0**60, 1.0]


def test_a_message_names_the_value_the_place_and_the_reason(tmp_path: Path) -> None:
    g = GrowableArray.open(tmp_path / "g.npy", "w+", dtype="i1", row_shape=2)
    with pytest.raises(ArgumentError) as caught:
        g.extend(np.array([[1, 2], [3, 300]]))
    reason = "rows[1, 1] is 300, which does not fit dtype int8: it holds -128 to 127"
    assert str(caught.value) == reason
    with pytest.raises(ArgumentTypeError, match=r"row\[1\] is .*2\.5.* it takes integers"):
        g.append([1.0, 2.5])


def test_one_wrong_row_far_behind_leaves_nothing_and_is_named(tmp_path: Path) -> None:
    g = GrowableArray.open(tmp_path / "g.npy", "w+", dtype="u1")
    g.append(1)
    size = os.path.getsize(g.path)
    rows = np.zeros(20 << 20, "i2")  # of more than one piece
    rows[-2] = -7
    with pytest.raises(ArgumentError, match=rf"rows\[{len(rows) - 2}\] is -7"):
        g.extend(rows)
    assert (len(g), os.path.getsize(g.path)) == (1, size)


def test_an_array_without_items_has_no_value_that_does_not_fit(tmp_path: Path) -> None:
    for place in ("extend", "push_many"):
        for dtype in ("i4", "U3", "M8[s]", POINT):
            target = PLACES[place](tmp_path / f"{dtype}", np.dtype(dtype), (1,))
            for values in ([], np.zeros(0), np.zeros(0, "M8[D]"), ()):
                target.put(values)
                assert len(target.read()) == 0


def test_a_right_array_is_taken_as_it_is() -> None:
    for dtype in ("f8", "i4", POINT, "U3"):
        array = np.zeros(3, dtype)
        assert as_items(array, array.dtype) is array


def test_dtypes_of_other_packages_take_numbers_and_give_them() -> None:
    for value, name, expected in (
        (1.5, "bfloat16", 1.5),
        (0.1, "bfloat16", float(ml_dtypes.bfloat16(0.1))),
        (1e300, "bfloat16", ArgumentError),
        (257, "bfloat16", ArgumentError),
        (1e4, "float8_e4m3fn", ArgumentError),
        (7, "int4", 7),
        (8, "int4", ArgumentError),
        (1.0, "int4", ArgumentTypeError),
        ("1", "float8_e5m2", ArgumentTypeError),
    ):
        dtype = np.dtype(getattr(ml_dtypes, name))
        for holder in (value, [value], np.array([value])):
            if isinstance(expected, type):
                with pytest.raises(expected, match="does not fit dtype"):
                    as_items(holder, dtype)
            else:
                assert as_items(holder, dtype).astype("f8").sum() == expected
    given = np.array([1.5], ml_dtypes.bfloat16)
    assert as_items(given, np.dtype("f4")).tolist() == [1.5]
    with pytest.raises(ArgumentTypeError, match="it takes integers"):
        as_items(given, np.dtype("i4"))


# Cells of one number ------------------------------------------------------------------------------

CELLS: dict[str, Callable[[np.ndarray], Callable[[Any], object]]] = {
    "store": lambda a: lambda value: atomics.store(a, 0, value),
    "exchange": lambda a: lambda value: atomics.exchange(a, 0, value),
    "compare_exchange": lambda a: lambda value: atomics.compare_exchange(a, 0, 0, value),
    "AtomicCell.store": lambda a: atomics.AtomicCell(a, 0).store,
    "AtomicCell.value": lambda a: lambda value: setattr(atomics.AtomicCell(a, 0), "value", value),
    "AtomicCell.exchange": lambda a: atomics.AtomicCell(a, 0).exchange,
    "AtomicArray.store": lambda a: lambda value: atomics.AtomicArray(a).store(0, value),
    "MappedFile.atomic": lambda a: (
        lambda value: atomics.AtomicCell(a, 0).compare_exchange(0, value)
    ),
    "fetch_add": lambda a: lambda value: atomics.fetch_add(a, 0, value),
    "AtomicCell.fetch_add": lambda a: lambda value: atomics.AtomicCell(a, 0).fetch_add(value),
    "scatter_add": lambda a: lambda value: kernels.scatter_add(a, 0, value),
}


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_takes_the_same_values(cell: str) -> None:
    wrong = []
    for value, kind, expected in CASES:
        dtype = np.dtype(kind)
        kinds = "iuf" if "add" in cell else "biuf"
        if dtype.kind not in kinds or dtype == "f2" or not dtype.isnative:
            continue
        for name, (shape, _) in HOLDERS.items():
            holder = held(value, name)
            if holder is None or shape != ():
                continue
            a = MappedFile.anonymous(8).view().view(dtype)
            found: Any = None
            try:
                CELLS[cell](a)(holder)
            except Exception as error:
                found = error
            if isinstance(expected, type):
                right = agrees(found, expected, dtype) and not a.any()
            else:
                right = found is None and agrees(a[0], expected, dtype)
            if not right:
                wrong.append(f"{holder!r} ({name}) as {dtype}: {found!r}, {a[0]!r}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("value", [[5], np.zeros(1, "i8"), (5, 6), "5", b"5", None, {}, object()])
@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell != "scatter_add"])
def test_a_cell_takes_one_number_only(cell: str, value: Any) -> None:
    a = np.zeros(1, "i8")
    with pytest.raises((ArgumentError, ArgumentTypeError)):
        CELLS[cell](a)(value)
    assert not a.any()


def test_a_counter_takes_integers_of_64_bits() -> None:
    counter = ShardedCounter.anonymous()
    for value in (5, np.int8(5), np.array(5), True, 2**63 - 1, -(2**63)):
        counter.add(value)
    total = counter.value
    for value in (2**63, 1.0, "1", None, np.ma.masked, np.float64(1), [1], np.uint64(2**63)):
        with pytest.raises((ArgumentError, ArgumentTypeError)):
            counter.add(value)
    assert counter.value == total


def test_an_error_of_the_value_itself_is_passed_on() -> None:
    class Broken:
        def __index__(self) -> int:
            raise LookupError("of its own")

    with pytest.raises(LookupError, match="of its own"):
        atomics.store(np.zeros(1, "i8"), 0, Broken())


@pytest.mark.parametrize("values", [[np.uint64(5), np.int64(-1)], [[np.uint64(1), 2, np.int8(-3)]]])
def test_signed_and_unsigned_integers_in_a_list_are_stored_as_they_are(values: list[Any]) -> None:
    # numpy makes floats of them
    assert as_items(values, np.dtype("i8")).tolist() == np.array(values, object).tolist()
    with pytest.raises(ArgumentError, match=r"\] is -\d, .* it holds 0 to 255"):
        as_items(values, np.dtype("u1"))


@pytest.mark.parametrize("text", ["a\0", b"a\0", "\0", b"\0"])
def test_texts_whose_end_would_not_be_read_back_are_refused(text: Any) -> None:
    for dtype in ("S4", "U4"):
        for values in (text, [text], (type(text)(), text)):
            with pytest.raises(ArgumentError, match="null characters at its end"):
                as_items(values, np.dtype(dtype))
    if isinstance(text, bytes):
        assert as_items([text], np.dtype("V4")).tobytes() == text.ljust(4, b"\0")


# Masks --------------------------------------------------------------------------------------------

MASKED = np.ma.masked_array([1.0, 2.0], mask=[False, True])
MASKED_INDEX = np.ma.masked_array([0, 1], mask=[False, True])


class ItemByItem:
    """A sequence by no name, of which numpy makes an array all the same."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: int) -> Any:
        return self.items[at]


class AsArray:
    """Whatever shows itself as an array."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.array


class Stored(NamedTuple):
    """A way to store an array of floats, and a look at all that it stores to."""

    put: Callable[[Any], object]
    seen: Callable[[], Any]


def ways(folder: Path, n: int) -> dict[str, Stored]:
    """Return every way to store an array of n floats, by the name of what does it."""
    m = MappedFile.anonymous(8 * n)
    g = GrowableArray.open(folder / "row.npy", "w+", dtype="f8", row_shape=n)
    each = GrowableArray.open(folder / "rows.npy", "w+", dtype="f8")
    ring, lock = RingBuffer.anonymous(("f8", n), 4), SeqLock.anonymous(("f8", n))
    numbers, a = RingBuffer.anonymous("f8", n), np.zeros(n)
    path, all_of_them = folder / "saved.npy", np.arange(n)

    def seen() -> Any:
        rows = [len(g), len(each), len(ring), len(numbers), lock.count]
        sizes = [os.path.getsize(g.path), os.path.getsize(each.path)]
        return rows, sizes, path.exists(), a.tobytes(), m.read()

    puts: dict[str, Callable[[Any], object]] = {
        "MappedFile.write": lambda v: m.write(0, v),
        "Segment.write": lambda v: m.segment(0, 8 * n).write(0, v),
        "GrowableArray.append": g.append,
        "GrowableArray.extend": each.extend,
        "RingBuffer.push": ring.push,
        "RingBuffer.push_many": numbers.push_many,
        "SeqLock.write": lock.write,
        "mmapio.save": lambda v: mmapio.save(path, v),
        "kernels.scatter": lambda v: kernels.scatter(a, all_of_them, v),
        "kernels.scatter_add": lambda v: kernels.scatter_add(a, all_of_them, v),
        "aio.write": lambda v: asyncio.run(aio.write(m, 0, v)),
        "aio.append": lambda v: asyncio.run(aio.append(g, v)),
        "aio.extend": lambda v: asyncio.run(aio.extend(each, v)),
        "aio.push": lambda v: asyncio.run(aio.push(ring, v)),
        "aio.push_many": lambda v: asyncio.run(aio.push_many(numbers, v)),
        "atomics.ring_push": lambda v: atomics.ring_push(ring.lines, ring.slots, v),
        "atomics.seqlock_write": lambda v: atomics.seqlock_write(lock.lines, lock.slots, v),
    }
    return {name: Stored(put, seen) for name, put in puts.items()}


WAYS = (
    *("MappedFile.write", "Segment.write", "GrowableArray.append", "GrowableArray.extend"),
    *("RingBuffer.push", "RingBuffer.push_many", "SeqLock.write", "mmapio.save"),
    *("kernels.scatter", "kernels.scatter_add"),
    *("aio.write", "aio.append", "aio.extend", "aio.push", "aio.push_many"),
    *("atomics.ring_push", "atomics.seqlock_write"),
)
BYTES_ONLY = ("MappedFile.write", "Segment.write", "aio.write")


@pytest.mark.parametrize("way", WAYS)
def test_masks_are_refused_everywhere(way: str, tmp_path: Path) -> None:
    stored = ways(tmp_path, 2)[way]
    holders: list[Any] = [MASKED, np.ma.masked_array([1.0, 2.0])]
    if way not in BYTES_ONLY:
        holders += [[1.0, np.ma.masked], [MASKED[:1], MASKED[1:]], (1.0, MASKED[1])]
        holders += [deque([1.0, np.ma.masked]), UserList([MASKED[:1], MASKED[1:]])]
        holders += [ItemByItem([1.0, MASKED[1]]), AsArray(MASKED)]
    before = stored.seen()
    for holder in holders:
        with pytest.raises(ArgumentTypeError, match=r"no masks: use a\.compressed\(\)"):
            stored.put(holder)
    assert stored.seen() == before
    stored.put(np.array([1.0, 2.0]))
    assert stored.seen() != before


BY_INDEX: dict[str, Callable[[Any, Any], object]] = {
    "gather": lambda a, indices: kernels.gather(a, indices),
    "scatter": lambda a, indices: kernels.scatter(a, indices, 1),
    "scatter_add": lambda a, indices: kernels.scatter_add(a, indices, 1),
}


@pytest.mark.parametrize("function", BY_INDEX)
def test_masks_of_indices_and_targets_are_refused(function: str) -> None:
    a = np.zeros(3)
    for indices in (MASKED_INDEX, [0, np.ma.masked]):
        with pytest.raises(ArgumentTypeError, match="no masks"):
            BY_INDEX[function](a, indices)
    with pytest.raises(ArgumentTypeError, match="no masks"):
        BY_INDEX[function](np.ma.masked_array(a), [0])
    assert not a.any()


def test_masks_of_what_is_written_into_are_refused() -> None:
    a, out = np.arange(4.0), np.ma.masked_array(np.zeros(4), mask=True)
    with pytest.raises(ArgumentTypeError, match="no masks"):
        kernels.gather(a, [0, 1, 2, 3], out)
    with pytest.raises(ArgumentTypeError, match="no masks"):
        kernels.map_chunks(a, np.negative, out)
    assert not out.data.any()


def test_masks_of_cells_and_buffers_are_refused() -> None:
    cells, m = np.ma.masked_array(np.zeros(2, "i8"), mask=[True, False]), MappedFile.anonymous(16)
    for use in (
        lambda: atomics.fetch_add(cells, 0, 1),
        lambda: atomics.store(cells, 1, 1),
        lambda: atomics.AtomicCell(cells, 0),
        lambda: atomics.AtomicArray(cells),
        lambda: atomics.store(np.zeros(2), np.ma.masked_array(1, mask=True), 1),
        lambda: m.read_into(0, cells),
        lambda: m.write(0, cells),
    ):
        with pytest.raises(ArgumentTypeError, match="no masks"):
            use()
    assert not cells.data.any()


# Sources that their files have lost ---------------------------------------------------------------

PAGE = mmapio._os.PAGE_SIZE
COUNT = 20 * PAGE // 8
guarded = pytest.mark.skipif(mmapio.guard.why_not() is not None, reason=str(mmapio.guard.why_not()))

# Makes as many floats as there are in half of the mapped array.
SOURCES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "mapped array": ("f8", lambda a: a[:COUNT]),
    "plain array": ("f8", lambda a: np.asarray(a)[:COUNT]),
    "backwards": ("f8", lambda a: np.asarray(a)[COUNT - 1 :: -1]),
    "strided": ("f8", lambda a: a[::2]),
    "buffer": ("f8", lambda a: memoryview(a)[:COUNT]),
    "strided buffer": ("f8", lambda a: memoryview(a)[::2]),
    "series": ("f8", lambda a: Series(np.asarray(a)[:COUNT])),
    "to be converted": ("f4", lambda a: a[:COUNT]),
    "foreign base": ("f8", lambda a: np.lib.stride_tricks.as_strided(a, (COUNT,), (8,))),
}


@pytest.mark.parametrize("way", WAYS)
@guarded
def test_a_lost_source_is_copied_by_nobody(way: str, tmp_path: Path) -> None:
    for number, (name, (dtype, make)) in enumerate(SOURCES.items()):
        for is_known in (False, True):
            folder = tmp_path / f"{number}{is_known}"
            folder.mkdir()
            path = folder / "source.bin"
            a = mmapio.create(path, 2 * COUNT, dtype, raw=True)
            a[:] = 1
            stored, source = ways(folder, COUNT)[way], make(a)
            before = stored.seen()
            os.truncate(path, 5 * PAGE)
            if is_known:
                assert (np.asarray(a) == 0).any()
            if name == "series" and way in BYTES_ONLY:
                continue
            with pytest.raises(MappingLostError, match="lost under the mapping") as caught:
                stored.put(source)
            assert caught.value.filename == str(path), name
            after = stored.seen()
            assert after[:3] == before[:3], (name, is_known)
            if is_known:
                assert after == before, name
            del caught, stored, source, a


@guarded
def test_lost_records_and_arrays_in_lists_are_copied_by_nobody(tmp_path: Path) -> None:
    a = mmapio.create(tmp_path / "a.bin", PAGE, POINT, raw=True)
    a["x"] = 1
    last = a[-1]
    os.truncate(tmp_path / "a.bin", PAGE)
    g = GrowableArray.open(tmp_path / "g.npy", "w+", dtype=POINT)
    ring, lock = RingBuffer.anonymous(POINT, 4), SeqLock.anonymous(POINT)
    for put in (g.append, ring.push, lock.write, lambda v: g.extend([v]), g.extend):
        with pytest.raises(MappingLostError):
            put(last if put != g.extend else [*a])
    for holder in (list, deque, UserList, ItemByItem):
        with pytest.raises(MappingLostError):
            mmapio.save(tmp_path / "saved.npy", holder([a[:3], a[-3:]]))
    assert (len(g), len(ring), lock.count) == (0, 0, 0)
    assert not (tmp_path / "saved.npy").exists()


@guarded
def test_lost_indices_lead_nowhere(tmp_path: Path) -> None:
    for is_known in (False, True):
        path = tmp_path / f"{is_known}.bin"
        indices = mmapio.create(path, COUNT, "i8", raw=True)
        indices[:] = 5
        os.truncate(path, 5 * PAGE)
        if is_known:
            assert not indices[-1]
        for function in (kernels.scatter, kernels.scatter_add):
            a = np.zeros(6)
            with pytest.raises(MappingLostError):
                function(a, indices, 1)
            assert not a.any()
        with pytest.raises(MappingLostError):
            kernels.gather(a, indices)


@guarded
def test_a_number_of_a_lost_array_is_stored_by_nobody(tmp_path: Path) -> None:
    a = mmapio.create(tmp_path / "a.bin", COUNT, "i8", raw=True)
    os.truncate(tmp_path / "a.bin", PAGE)
    with pytest.raises(MappingLostError):
        atomics.store(np.zeros(1, "i8"), 0, np.asarray(a)[-1:].reshape(()))


# Nothing is left out ------------------------------------------------------------------------------

# Names of parameters that are stored.
STORED = {
    *("value", "values", "record", "records", "row", "rows", "data", "array", "item", "items"),
    *("desired", "content", "contents", "key", "fill"),
}
# Functions that have such a parameter and store nothing of it.
READERS = {
    *("MappedArray.chunks", "memmap.chunks", "kernels.count"),
    *("aio.commit", "aio.rows", "aio.truncate", "aio.wait"),
}
# Functions of one number that are tried above: by name, or by a sister of the same code.
OF_CELLS = {
    *("ShardedCounter.add", "atomics.sharded_add", "atomics.store", "atomics.exchange"),
    *("atomics.compare_exchange", "atomics.fetch_add", "atomics.fetch_sub", "atomics.fetch_and"),
    *("atomics.fetch_or", "atomics.fetch_xor", "atomics.fetch_min", "atomics.fetch_max"),
}


def public_functions() -> Iterator[tuple[str, Any]]:
    """Yield all functions and methods that users are offered."""
    for room in (mmapio, kernels, atomics, aio):
        for name in room.__all__:
            thing = getattr(room, name)
            if inspect.isclass(thing):
                for part in (part for part in dir(thing) if not part.startswith("_")):
                    method = inspect.getattr_static(thing, part)
                    method = getattr(method, "__func__", method)
                    if inspect.isfunction(method) and method.__module__.startswith("mmapio"):
                        yield f"{name}.{part}", method
            elif callable(thing):
                yield f"{room.__name__.rpartition('.')[2]}.{name}", thing


def test_every_function_that_stores_is_tried() -> None:
    found = {
        name
        for name, function in public_functions()
        if STORED & inspect.signature(function).parameters.keys()
    }
    assert found == {*WAYS, *READERS, *OF_CELLS}
