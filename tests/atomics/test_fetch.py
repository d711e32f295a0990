"""Results and refusals of the atomic operations, in kernels and from Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

from mmapio import atomics
from mmapio.errors import (
    ArgumentError,
    ArgumentTypeError,
    MisalignedError,
    ReadOnlyError,
)

INTEGERS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
FLOATS = ("f4", "f8")
DTYPES = (*INTEGERS, *FLOATS, "?")
EXCHANGES = ("store", "exchange")
NUMBERS = ("fetch_add", "fetch_sub", "fetch_min", "fetch_max")
BITS = ("fetch_and", "fetch_or", "fetch_xor")

MODEL: dict[str, Callable[[Any, Any], Any]] = {
    "store": lambda old, value: value,
    "exchange": lambda old, value: value,
    "fetch_add": np.add,
    "fetch_sub": np.subtract,
    "fetch_and": np.bitwise_and,
    "fetch_or": np.bitwise_or,
    "fetch_xor": np.bitwise_xor,
    "fetch_min": np.fmin,
    "fetch_max": np.fmax,
}


def operations_on(dtype: str) -> tuple[str, ...]:
    """Return the operations of one value that cells of `dtype` have."""
    kind = np.dtype(dtype).kind
    numbers, bits = NUMBERS if kind != "b" else (), BITS if kind != "f" else ()
    return (*EXCHANGES, *numbers, *bits)


def values_of(dtype: str) -> np.ndarray:
    """Return the values at the edges of `dtype`, and some between."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return np.array([False, True])
    if kind == "f":
        return np.array([0.0, -0.0, 1.5, -2.25, np.inf, -np.inf, np.nan], dtype)
    limits = np.iinfo(dtype)
    return np.array([0, 1, 2, 100, limits.min, limits.max, limits.max - 1], dtype)


def same(found: Any, expected: Any) -> bool:
    """Return whether two arrays have the same bits, but for what kind of NaN they hold."""
    found, expected = np.asarray(found), np.asarray(expected)
    signs = found.dtype.kind != "f" or bool((np.signbit(found) == np.signbit(expected)).all())
    return np.array_equal(found, expected, equal_nan=found.dtype.kind == "f") and signs


@numba.njit
def numbers_kernel(a, old, value):
    atomics.store(a, 0, value)
    old[1] = atomics.exchange(a, 1, value)
    old[2] = atomics.fetch_add(a, 2, value)
    old[3] = atomics.fetch_sub(a, 3, value)
    old[4] = atomics.fetch_min(a, 4, value)
    old[5] = atomics.fetch_max(a, 5, value)


@numba.njit
def bits_kernel(a, old, value):
    atomics.store(a, 0, value)
    old[1] = atomics.exchange(a, 1, value)
    old[2] = atomics.fetch_and(a, 2, value)
    old[3] = atomics.fetch_or(a, 3, value)
    old[4] = atomics.fetch_xor(a, 4, value)


def run_python(names: tuple[str, ...]) -> Callable[..., None]:
    """Return a stand-in for the kernels that calls the functions from Python."""

    def run(a: np.ndarray, old: np.ndarray, value: Any) -> None:
        for index, name in enumerate(names):
            result = getattr(atomics, name)(a, index, value)
            old[index] = old[index] if name == "store" else result

    return run


def run_bound(names: tuple[str, ...]) -> Callable[..., None]:
    """Return a stand-in for the kernels that calls bound methods, of cells and of an array."""

    def run(a: np.ndarray, old: np.ndarray, value: Any) -> None:
        cells = atomics.AtomicArray(a)
        for index, name in enumerate(names):
            if index % 2:
                result = getattr(cells, name)(index, value)
            else:
                result = getattr(atomics.AtomicCell(a, index), name)(value)
            old[index] = old[index] if name == "store" else result

    return run


NUMBER_OPERATIONS = (*EXCHANGES, *NUMBERS)
BIT_OPERATIONS = (*EXCHANGES, *BITS)
RUNNERS = [
    (dtype, names, run)
    for names, kernel in [(NUMBER_OPERATIONS, numbers_kernel), (BIT_OPERATIONS, bits_kernel)]
    for dtype in DTYPES
    if set(names) <= set(operations_on(dtype))
    for run in (kernel, run_python(names), run_bound(names))
]


@pytest.mark.parametrize(("dtype", "names", "run"), RUNNERS)
def test_each_operation_is_its_model(dtype, names, run):
    for start in values_of(dtype):
        for value in values_of(dtype):
            a, old = np.full(len(names), start), np.full(len(names), start)
            run(a, old, value)
            with np.errstate(over="ignore", invalid="ignore"):
                expected = [MODEL[name](start, value) for name in names]
            zeros = np.dtype(dtype).kind == "f" and start == value == 0
            if zeros:  # as in C, either zero is the lesser
                assert (a == expected).all()
            else:
                assert same(a, np.array(expected, dtype)), (start, value)
            assert same(old, np.full(len(names), start)), (start, value)


@numba.njit
def cas_kernel(a, expected, desired):
    return atomics.compare_exchange(a, 0, expected, desired), atomics.load(a, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_compare_exchange(dtype):
    for start in values_of(dtype):
        for expected in values_of(dtype):
            equal = start.tobytes() == expected.tobytes()
            desired = values_of(dtype)[1]
            after = desired if equal else start
            (old, success), left = cas_kernel(np.array([start]), expected, desired)
            assert (same(old, start), success, same(left, after)) == (True, equal, True)
            a = np.array([start])
            old, success = atomics.compare_exchange(a, 0, expected, desired)
            assert (same(old, start), success, same(a[0], after)) == (True, equal, True)
            assert type(success) is bool


@pytest.mark.parametrize("dtype", DTYPES)
def test_python_gets_python_numbers(dtype):
    a = np.array([values_of(dtype)[1]])
    kinds = {"b": bool, "i": int, "u": int, "f": float}
    assert type(atomics.load(a, 0)) is kinds[a.dtype.kind]
    assert atomics.AtomicCell(a, 0).value == a[0]
    assert atomics.AtomicArray(a).load(-1) == a[0]


# --- where cells are ----------------------------------------------------------------------------


@numba.njit
def bump(a, index):
    return atomics.fetch_add(a, index, 1)


def call_bump(a: Any, index: Any) -> Any:
    return atomics.fetch_add(a, index, 1)


def cell_bump(a: Any, index: Any) -> Any:
    return atomics.AtomicCell(a, index).fetch_add(1)


ARRAYS = {
    "1-d": (np.zeros(5, "i4"), [0, 4, -1, -5, (2,), np.uint8(3)]),
    "2-d": (np.zeros((3, 4), "i4"), [(0, 0), (2, 3), (-1, -4), (np.uint64(1), -2)]),
    "Fortran": (np.zeros((3, 4), "i4", order="F"), [(0, 0), (2, 3), (-1, -4)]),
    "strided": (np.zeros((6, 8), "i4")[::-2, 1::3], [(0, 0), (2, -1), (1, 1)]),
    "3-d": (np.zeros((2, 3, 4), "i4"), [(1, -1, 2)]),
    "0-d": (np.zeros((), "i4"), [()]),
    "subclass": (np.zeros(5, "i4").view(np.recarray), [2, -1]),
}


@pytest.mark.parametrize("run", [bump, call_bump, cell_bump])
@pytest.mark.parametrize("name", ARRAYS)
def test_indices_are_numpys(run, name):
    a, indices = ARRAYS[name]
    for index in indices:
        expected = a.copy()
        expected[index] += 1
        assert run(a, index) == expected[index] - 1
        np.testing.assert_array_equal(a, expected)


RECORD = np.dtype([("count", "u8"), ("flag", "?"), ("pair", "i4", (2,)), ("x", "f4")], align=True)


@numba.njit
def fields_kernel(records, i):
    atomics.fetch_add(records["count"], i, 1)
    atomics.fetch_add(records.count, i, 1)
    atomics.fetch_add(records[i], "count", 1)
    atomics.store(records["flag"], i, True)
    atomics.fetch_add(records["pair"], (i, 1), 5)
    atomics.fetch_add(records[i]["pair"], 0, 4)
    atomics.fetch_min(records[i], "x", -2)


def test_fields_of_structured_arrays():
    records, expected = np.zeros(3, RECORD), np.zeros(3, RECORD)
    expected[1] = (3, True, (4, 5), -2)
    fields_kernel(records, 1)
    assert (records == expected).all()
    fields_kernel.py_func(again := np.zeros(3, RECORD).view(np.recarray), 1)
    assert (again == expected).all()


def test_unpadded_records_work_where_their_fields_are_aligned():
    dtype = np.dtype([("head", "u8"), ("tail", "u8")])

    @numba.njit
    def kernel(records):
        atomics.fetch_add(records["tail"], 1, 2)
        return atomics.fetch_add(records[1], "tail", 3)

    records = np.zeros(2, dtype)
    assert kernel(records) == 2
    assert records[1]["tail"] == 5


PACKED = np.dtype([("flag", "u1"), ("count", "i4")])


@numba.njit
def packed_record(records):
    atomics.fetch_add(records[0], "count", 1)


@numba.njit
def packed_field(records):
    atomics.fetch_add(records["count"], 0, 1)


@pytest.mark.parametrize(
    "touch",
    [
        lambda: packed_record(np.zeros(3, PACKED)),
        lambda: packed_field(np.zeros(3, PACKED)),
        lambda: bump(np.zeros(3, PACKED)["count"], 0),
        lambda: bump(np.zeros(9, "u1")[1:5].view("i4"), 0),
        lambda: atomics.fetch_add(np.zeros(3, PACKED)["count"], 0, 1),
        lambda: atomics.fetch_add(np.zeros(3, PACKED)[0], "count", 1),
        lambda: atomics.AtomicCell(np.zeros(9, "u1")[1:5].view("i4"), 0),
        lambda: atomics.AtomicArray(np.zeros(3, PACKED)["count"]),
    ],
)
def test_misaligned_cells_are_refused(touch):
    with pytest.raises(MisalignedError, match="an atomic int32 must lie at a multiple of 4 bytes"):
        touch()


@pytest.mark.parametrize(
    ("dtype", "where"),
    [(PACKED, "1 of 5"), (np.dtype([("count", "i4"), ("x", "u1")]), "0 of 5")],
)
def test_packed_records_are_refused_as_the_kernel_compiles(dtype, where):
    kernel = numba.njit(packed_record.py_func)
    with pytest.raises(MisalignedError, match=f"field 'count' is at byte {where}-byte records"):
        kernel.compile((numba.typeof(np.zeros(3, dtype)),))


def test_only_the_misaligned_cells_of_an_array_are_refused():
    counts = np.zeros(5, PACKED)["count"]
    aligned = next(i for i in range(4) if (counts[i:].ctypes.data) % 4 == 0)
    assert bump(counts, aligned) == 0
    assert atomics.fetch_add(counts, aligned, 1) == 1


def test_kernels_wrap_around_and_check_bounds_only_when_asked():
    checked = numba.njit(boundscheck=True)(bump.py_func)
    a = np.zeros(3, "i4")
    assert checked(a, -3) == 0
    with pytest.raises(IndexError):
        checked(a, 3)


def test_a_kernel_can_catch_what_an_atomic_raises():
    @numba.njit
    def guarded(a):
        try:
            return atomics.fetch_add(a, 0, 1)
        except Exception:
            return -1

    assert guarded(np.zeros(9, "u1")[1:5].view("i4")) == -1
    assert guarded(np.zeros(1, "i4")) == 0


# --- what is refused ----------------------------------------------------------------------------


def read_only(dtype: str = "i4") -> np.ndarray:
    a = np.zeros(3, dtype)
    a.flags.writeable = False
    return a


def both(call: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Return a call from Python, and the same as a kernel."""
    return [call, numba.njit(call)]


REFUSED = [
    (ReadOnlyError, "fetch_add writes", call_bump, (read_only(), 0)),
    (ReadOnlyError, "store writes", lambda a: atomics.store(a, 0, 1), (read_only(),)),
    (ArgumentTypeError, "float64; got dtype complex64", call_bump, (np.zeros(3, "c8"), 0)),
    (ArgumentTypeError, "float64; got dtype datetime64", call_bump, (np.zeros(3, "M8[s]"), 0)),
    (ArgumentTypeError, "float64; got dtype float16", call_bump, (np.zeros(3, "f2"), 0)),
    (ArgumentTypeError, "float64; got dtype {'names'", call_bump, (np.zeros(3, RECORD), 0)),
    (
        ArgumentTypeError,
        "fetch_add works on signed, unsigned, float",
        call_bump,
        (np.zeros(3, "?"), 0),
    ),
    (
        ArgumentTypeError,
        "fetch_or works on bool, signed, unsigned cells; got dtype float64",
        lambda a: atomics.fetch_or(a, 0, 1),
        (np.zeros(3),),
    ),
    (ArgumentError, "one integer per dimension: 2; got 1", call_bump, (np.zeros((2, 2)), 0)),
    (ArgumentError, "one integer per dimension: 1; got 2", call_bump, (np.zeros(2), (0, 0))),
    (ArgumentTypeError, "atomics work on arrays and records; got", call_bump, ((1, 2), 0)),
    (
        ArgumentError,
        "name of a field, one of count, flag, pair, x; got 'cuont'",
        lambda a: atomics.fetch_add(a[0], "cuont", 1),
        (np.zeros(3, RECORD),),
    ),
    (
        ArgumentError,
        "one of relaxed, acquire, seq_cst; got 'release'",
        lambda a: atomics.load(a, 0, order="release"),
        (np.zeros(3),),
    ),
    (
        ArgumentError,
        "one of relaxed, release, seq_cst; got 'acq_rel'",
        lambda a: atomics.store(a, 0, 1, "acq_rel"),
        (np.zeros(3),),
    ),
    (
        ArgumentError,
        "the order of fence must be a literal string, one of acquire, release, acq_rel, seq_cst",
        lambda: atomics.fence("relaxed"),
        (),
    ),
    (
        ArgumentError,
        "one of relaxed, acquire, release, acq_rel, seq_cst; got 'consume'",
        lambda a: atomics.compare_exchange(a, 0, 1, 2, order="consume"),
        (np.zeros(3),),
    ),
    (
        ArgumentTypeError,
        "the order of fetch_add must be a literal string, .*; got 3",
        lambda a: atomics.fetch_add(a, 0, 1, 3),
        (np.zeros(3),),
    ),
]


@pytest.mark.parametrize(
    ("error", "message", "call", "arguments"),
    [(*case[:2], call, case[3]) for case in REFUSED for call in both(case[2])],
)
def test_refusals_are_one_sentence_in_kernels_and_in_python(error, message, call, arguments):
    with pytest.raises(error, match=message) as refusal:
        call(*arguments)
    assert "\n" not in str(refusal.value)
    assert not isinstance(refusal.value, numba.core.errors.NumbaError)


@pytest.mark.parametrize(
    ("index", "value", "in_kernel", "in_python"),
    [
        (
            0,
            0.5,
            "type float64 does not go into a cell of int32",
            "does not fit dtype int32",
        ),
        (0, "1", "does not go into a cell of int32", "does not fit dtype int32"),
        (0.5, 1, "made of integers; got float64", "cannot be interpreted as an int"),
        ((0.5,), 1, "made of integers; got UniTuple", "cannot be interpreted as an int"),
    ],
)
def test_numbers_of_another_kind_are_refused(index, value, in_kernel, in_python):
    def add(a, index, value):
        return atomics.fetch_add(a, index, value)

    for call, message in ((numba.njit(add), in_kernel), (add, in_python)):
        with pytest.raises(TypeError, match=message):
            call(np.zeros(3, "i4"), index, value)


def test_a_kernel_needs_a_literal_order():
    @numba.njit
    def kernel(a, order):
        return atomics.load(a, 0, order)

    with pytest.raises(ArgumentTypeError, match="the order of load must be a literal string"):
        kernel(np.zeros(1), "seq_cst")
