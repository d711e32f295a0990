"""All public functions of numpy, given mapped arrays: what plain arrays give, but for a named few.

Each call is made with a plain array and with a `MappedArray` of the same bytes, layout and rights;
compared are values, dtypes, strides, which bytes a result shares with its argument, whether it may
be written, what became of the argument, and the class of an error. What `numpy.memmap` does too is
numpy's own, and no difference of ours.

Of some 600,000 calls a part is tried, the same one each time; ``MMAPIO_SWEEP=all`` in the
environment tries them all.
"""

from __future__ import annotations

import copy
import inspect
import operator
import os
import types
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.lib.recfunctions
import pytest

import mmapio

ALL = os.environ.get("MMAPIO_SWEEP") == "all"
LEAST = 4  # arrays that each function is tried with in each pattern


# The arrays ---------------------------------------------------------------------------------------

NUMBERS = [1, 0, 2, 1, 3, 1, 2, 0, 1, 2, 1, 3]  # small: some functions take them for a shape
TEXTS = ["ab", "1", "", "Xyz", "b a", "ab"]
DAYS = ["2020-01-03", "NaT", "2021-05-01", "2019-12-31"]
RECORDS = [(1, 2.5), (2, 0.0), (0, np.nan), (1, -1.5)]
ARRAYS: dict[str, tuple[Any, str]] = {
    "bool": (np.array(NUMBERS) > 1, "r+"),
    "int8": (np.array(NUMBERS, "i1"), "r+"),
    "int64": (np.array(NUMBERS, "i8"), "r+"),
    "big-endian": (np.array(NUMBERS[:6], ">i4"), "r+"),
    "unsigned": (np.array(NUMBERS[:4], "u2"), "r"),
    "float16": (np.array(NUMBERS[:6], "f2"), "r+"),
    "float32, private": (np.array(NUMBERS[:6], "f4"), "c"),
    "nan": (np.array([1, np.nan, 3, np.inf, 0, -2.5]), "r+"),
    "big-endian float": (np.array([1, np.nan, 0.5], ">f8"), "r"),
    "complex": (np.array([1 + 1j, 0, 2, np.nan]), "r+"),
    "date": (np.array(DAYS, "M8[D]"), "r+"),
    "big-endian date": (np.array(DAYS[:2], ">M8[s]"), "r"),
    "duration": (np.array([5, 0, -3, 60], "m8[s]"), "r+"),
    "bytes": (np.array(TEXTS, "S"), "r+"),
    "str": (np.array(TEXTS), "r"),
    "void": (np.array([b"ab", b"\0c"], "V2"), "r+"),
    "structured": (np.array(RECORDS, [("a", "i4"), ("b", "f8")]), "r+"),
    "columns": (np.array(RECORDS[:2], [("a", "f4"), ("b", "f4")]), "r"),
    "no dimension": (np.array(2.0), "r+"),
    "one item": (np.array([1]), "r+"),
    "empty": (np.empty(0), "r+"),
    "no rows": (np.empty((0, 3), "i4"), "r"),
    "square": (np.array([[2.0, 1], [1, 3]]), "r+"),
    "rows": (np.array(NUMBERS, "f4").reshape(3, 4), "r+"),
    "F order": (np.array(NUMBERS).reshape(3, 4, order="F"), "r+"),
    "every other": (np.array(NUMBERS)[::2], "r+"),
    "reversed": (np.array(NUMBERS, "f8")[::-1], "r"),
    "three dimensions": (np.array(NUMBERS).reshape(2, 3, 2), "r"),
}


class Twins(NamedTuple):
    """A plain array, a mapped one, and numpy's own mapped one; with all bytes that they lie in."""

    plain: Any
    mapped: Any
    numpys: Any
    contents: bytes
    buffers: tuple[Any, Any, Any]


def twins_of(name: str, folder: Path) -> Twins:
    model, mode = ARRAYS[name]
    low, high = np.lib.array_utils.byte_bounds(model)
    contents = bytes((high - low) * b"\0") if model.size else b"\0" * 8
    whole = np.frombuffer(bytearray(contents), "u1")
    at = model.__array_interface__["data"][0] - low if model.size else 0
    np.ndarray(model.shape, model.dtype, whole, at, model.strides)[...] = model
    contents = whole.tobytes()
    path = folder / f"{list(ARRAYS).index(name)}.bin"
    path.write_bytes(contents)
    kind = (mmapio.MappedArray, mmapio.memmap)[list(ARRAYS).index(name) % 2]
    ours = mmapio.open(path, mode, dtype="u1").view(kind)
    numpys = np.memmap(path, "u1", mode)  # of the same memory, but never at once
    plain = np.frombuffer(contents if mode == "r" else bytearray(contents), "u1")
    buffers = (plain, ours, numpys)
    arrays = [
        np.ndarray.__new__(type(each), model.shape, model.dtype, each, at, model.strides)
        for each in buffers
    ]
    for array in arrays:
        array.flags.writeable = mode != "r"
    return Twins(*arrays, contents, buffers)


# The arguments ------------------------------------------------------------------------------------

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
PATTERNS: dict[str, Callable[[Any], Arguments]] = {
    "a": lambda a: ((a,), {}),
    "a, a": lambda a: ((a, a), {}),
    "a, a, a": lambda a: ((a, a, a), {}),
    "a, 1": lambda a: ((a, 1), {}),
    "1, a": lambda a: ((1, a), {}),
    "a, 0, 1": lambda a: ((a, 0, 1), {}),
    "a, 0.5": lambda a: ((a, 0.5), {}),
    "a, None": lambda a: ((a, None), {}),
    "a, [0]": lambda a: ((a, [0]), {}),
    "a, shape": lambda a: ((a, a.shape[::-1]), {}),
    "a, (-1, 1)": lambda a: ((a, (-1, 1)), {}),
    "a, text": lambda a: ((a, "x"), {}),  # "a" was a dtype, which numpy 2.0 overran
    "a, dtype": lambda a: ((a, np.dtype("f4")), {}),
    "a, len": lambda a: ((a, len), {}),
    "len, a": lambda a: ((len, a), {}),
    "[a, a]": lambda a: (([a, a],), {}),
    "'i,i', a": lambda a: (("...,...->...", a, a), {}),
    "axis": lambda a: ((a,), {"axis": 0}),
    "last axis": lambda a: ((a,), {"axis": -1}),
    "kept axis": lambda a: ((a,), {"axis": 0, "keepdims": True}),
    "out": lambda a: ((a,), {"out": a}),
    "subok": lambda a: ((a,), {"subok": True}),
    "mask": lambda a: ((a, a == a, 1), {}),
}
if hasattr(np, "_NoValue"):
    PATTERNS["where"] = lambda a: ((a,), {"where": a == a, "initial": 1})


# The functions ------------------------------------------------------------------------------------

# Uninitialised memory, files, global state, and what prints.
LEFT_OUT = frozenset(
    name
    for line in (
        "empty empty_like ndarray recarray chararray fromfile load loads loadtxt genfromtxt",
        "fromregex save savez savez_compressed savetxt memmap open_memmap DataSource",
        "seterr seterrcall setbufsize set_printoptions set_string_function printoptions errstate",
        "geterr geterrcall test info show_config show_runtime source lookfor get_include",
        "get_printoptions getbufsize nested_iters frompyfunc dump dumps tofile ids",
        "masked_all masked_all_like",
        "__new__ __init__ __init_subclass__ __subclasshook__ __getattribute__ __getattr__",
        "__setattr__ __delattr__ __reduce__ __reduce_ex__ __setstate__ __sizeof__ __dir__",
        "__repr__ __str__ __format__ __buffer__ __array_function__ __array_ufunc__",
        "__array_finalize__ __array_wrap__ __getstate__ __class__ __class_getitem__",
        "__dlpack__ __array_namespace__ __hash__ __iter__",
    )
    for name in line.split()
)
MODULES: dict[str, Any] = {
    "np": np,
    "linalg": np.linalg,
    "fft": np.fft,
    "strings": np.strings,
    "char": np.char,
    "ma": np.ma,
    "emath": np.emath,
    "recfunctions": numpy.lib.recfunctions,
    "stride_tricks": np.lib.stride_tricks,
}


OTHERS = ("methods", "attributes", "python", "random")
# Of Python itself, and what other libraries ask arrays for.
PYTHONS: tuple[Any, ...] = (
    *(
        list,
        tuple,
        set,
        bool,
        int,
        float,
        complex,
        bytes,
        bytearray,
        memoryview,
        len,
        sum,
        max,
        min,
    ),
    *(sorted, reversed, iter, next, abs, divmod, round, hash, str, format, isinstance, range, zip),
    *(map, filter, enumerate, any, all, copy.copy, copy.deepcopy, np.random.SeedSequence),
)
DRAWS = ("shuffle", "permutation", "choice", "normal", "poisson", "binomial")
DRAWS += ("permuted", "multinomial", "dirichlet", "multivariate_normal", "beta", "exponential")


def functions_of(place: str) -> dict[str, Callable[..., Any]]:
    """Return the public functions of a place by name."""
    others = others_of(place)
    if others is not None:
        return others
    module = MODULES[place]
    names = getattr(module, "__all__", None) or dir(module)
    found = {name: getattr(module, name) for name in sorted(set(names) - LEFT_OUT)}
    is_module = inspect.ismodule
    return {
        name: thing
        for name, thing in found.items()
        if callable(thing) and not name.startswith("_") and not is_module(thing)
        if not inspect.isclass(thing) or issubclass(thing, (np.generic, np.matrix))
    }


def attribute(name: str) -> Callable[..., Any]:
    """Return a function that gets an attribute, or sets it first to what else it is given."""

    def use(a: Any, *values: Any) -> Any:
        for value in values:
            setattr(a, name, value)
        return getattr(a, name), a

    return use


def drawing(kind: Any, name: str) -> Callable[..., Any]:
    """Return a method of a generator of random numbers, which begins anew at each call."""

    def draw(a: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(kind(5), name)(a, *args, **kwargs), a

    return draw


def others_of(place: str) -> dict[str, Callable[..., Any]] | None:
    """Return the functions of what is no module of numpy; None for one that is."""
    if place == "methods":
        names = [name for name in dir(np.ndarray) if callable(getattr(np.ndarray, name))]
        return {name: method(name) for name in names if name not in LEFT_OUT}
    if place == "attributes":
        names = [name for name in dir(np.ndarray) if not callable(getattr(np.ndarray, name))]
        return {name: attribute(name) for name in names if not name.startswith("_")}
    if place == "python":
        found = {name: getattr(operator, name) for name in operator.__all__}
        found |= {thing.__name__: thing for thing in PYTHONS}
        return found
    if place == "random":
        kinds = {"rng": np.random.default_rng, "state": np.random.RandomState}
        return {f"{kind}.{name}": drawing(kinds[kind], name) for kind in kinds for name in DRAWS}
    return None


def method(name: str) -> Callable[..., Any]:
    return lambda a, *args, **kwargs: getattr(a, name)(*args, **kwargs)


# What comes of a call -----------------------------------------------------------------------------

OURS = (mmapio.MappedArray, np.memmap)


def facts(thing: Any, buffer: Any, depth: int = 0) -> Any:
    """Return all that is compared of a result."""
    if isinstance(thing, np.ma.MaskedArray):
        parts = (facts(thing.data, buffer), facts(np.ma.getmaskarray(thing), buffer))
        return type(thing).__name__, parts, repr(thing.fill_value)
    if isinstance(thing, np.ndarray):
        return facts_of_array(thing, buffer)
    if isinstance(thing, (list, tuple)) and depth < 3:
        return type(thing).__name__, [facts(each, buffer, depth + 1) for each in thing]
    if isinstance(thing, dict):
        return [facts(each, buffer, depth + 1) for each in thing.items()]
    if isinstance(thing, np.generic):
        return type(thing).__name__, thing.dtype.str, Values(np.asarray(thing))
    if isinstance(thing, (types.GeneratorType, map, filter, zip)):
        return [facts(each, buffer, depth + 1) for each in thing]
    if isinstance(thing, (bool, int, float, complex, str, bytes, type(None), np.dtype)):
        return type(thing).__name__, repr(thing)
    return type(thing).__name__  # an iterator or the like: that there is one


def facts_of_array(array: Any, buffer: Any) -> Any:
    kind = "ndarray" if isinstance(array, OURS) else type(array).__name__
    start = buffer.__array_interface__["data"][0]
    offset = array.__array_interface__["data"][0] - start
    is_shared = array.size and 0 <= offset < buffer.nbytes
    place = offset if is_shared else None
    writeable = array.flags.writeable
    return kind, array.dtype, array.shape, array.strides, place, writeable, Values(array)


class Values:
    """The items of an array: equal to those of another if the bytes are, or nearly the numbers."""

    def __init__(self, array: Any) -> None:
        plain = array.view(np.ndarray)
        has_gaps = plain.dtype.names is not None  # which copies leave as memory was
        self.items = plain.copy() if plain.dtype.kind in "fc" else None
        self.contents: Any = plain.tobytes()
        if plain.dtype.hasobject or has_gaps:
            self.contents = repr(plain.tolist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Values):
            return False
        if self.contents == other.contents:
            return True
        ours, theirs = self.items, other.items
        if ours is None or theirs is None or ours.shape != theirs.shape:
            return False
        return bool(np.allclose(ours, theirs, 1e-3 if ours.itemsize < 4 else 1e-5, 0, True))

    def __repr__(self) -> str:
        return repr(self.contents)[:200]


def outcome(function: Callable[..., Any], pattern: str, twins: Twins, which: int) -> Any:
    """Return all that is compared of a call, and undo what it did to its argument."""
    buffer, contents = twins.buffers[which], twins.contents
    array = twins[which].view()
    try:
        args, kwargs = PATTERNS[pattern](array)
        result = function(*args, **kwargs)
        found = facts(result, buffer)
        if isinstance(result, OURS) and result.size and not np.may_share_memory(result, buffer):
            found = (found, "a copy that keeps the class")
    except Exception as error:
        return type(error).__name__
    if buffer.tobytes() == contents:
        return found, None
    became = buffer.tobytes()
    np.copyto(buffer, np.frombuffer(contents, "u1"))
    return found, Values(np.frombuffer(became, "u1"))


# The calls ----------------------------------------------------------------------------------------

# By function: why it may differ. All of numpy's own memmap are as well, but for two.
ALLOWED = {
    "np.array_repr": "shows the name of the class",
    "np.str_": "shows that of the items of a list",
    "np.object_": "keeps the arrays in a list as they are",
    "attributes.base": "is all of the memory, with its room to grow",
    "attributes.strides": "may reach as far as that",
    "python.str": "shows the name of the class, of the items of a list",
    "python.format": "shows it as well",
    "python.getitem": "items picked by a list or a mask keep the class",
    "methods.__getitem__": "items picked by a list or a mask keep the class: slices are fast so",
    **dict.fromkeys(
        ("char.equal", "char.not_equal", "char.less", "char.less_equal")
        + ("char.greater", "char.greater_equal"),
        "gives NotImplemented for bytes and str, which numpy takes from a subclass as a refusal",
    ),
}


def ends_process(place: str, name: str, pattern: str, array: str) -> bool:
    """Return whether numpy 2.0 or 2.4 is known to use memory that is not the array's."""
    if name == "as_strided":
        return pattern not in ("a", "subok", "a, None")
    if name == "array" and place == "char":
        return True
    return pattern == "out" and "cum" in name and array == "no dimension"


def calls(place: str, array: str) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Yield which calls are tried with an array: (description, pattern, function)."""
    number = list(ARRAYS).index(array)
    for name, function in functions_of(place).items():
        for pattern in PATTERNS:
            # By turns, so that over some functions each pattern meets each array.
            if ends_process(place, name, pattern, array):
                continue
            turn = zlib.crc32(f"{place}.{name} {pattern}".encode()) + number * 7919
            if ALL or pattern == "a" or turn % len(ARRAYS) < LEAST:
                yield f"{place}.{name}({pattern}) of {array}", pattern, function


def differences(place: str, array: str, folder: Path) -> Iterator[str]:
    twins = twins_of(array, folder)
    for call, pattern, function in calls(place, array):
        plain = outcome(function, pattern, twins, 0)
        mapped = outcome(function, pattern, twins, 1)
        if plain != mapped and mapped != outcome(function, pattern, twins, 2):
            yield f"{call}: {plain} but {mapped}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(1800 if ALL else 120)
@pytest.mark.parametrize("place", [*MODULES, *OTHERS])
def test_mapped_arrays_are_treated_as_plain_ones(place: str, tmp_path: Path) -> None:
    found: list[str] = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for array in ARRAYS:
            found += differences(place, array, tmp_path)
    wrong = [each for each in found if each.split("(")[0] not in ALLOWED]
    assert not wrong, "\n".join(wrong)


def test_the_sweep_is_of_all_of_numpy() -> None:
    numbers = {place: len(functions_of(place)) for place in [*MODULES, *OTHERS]}
    assert numbers["np"] > 400
    assert numbers["ma"] > 150
    assert numbers["methods"] > 100
    assert numbers["attributes"] > 10
    assert min(numbers.values()) >= 2
    tried = sum(1 for place in numbers for array in ARRAYS for _ in calls(place, array))
    assert tried > 100_000


@pytest.mark.parametrize(
    ("function", "array"),
    [
        (lambda a: a.astype("f4"), "int64"),  # another dtype
        (lambda a: a.view(np.ndarray).copy(), "str"),  # another memory
        (lambda a: a.view(np.ndarray)[::-1], "bytes"),  # other values
        (lambda a: a.setflags(write=False) or a, "nan"),  # other rights
        (lambda a: 1 / 0, "date"),  # an error
        (lambda a: a.fill(7) or a, "rows"),  # another argument afterwards
    ],
)
def test_a_difference_is_found(function: Any, array: str, tmp_path: Path) -> None:
    """Only of the mapped array does something else become."""

    def differing(a: Any) -> Any:
        return a if type(a) is np.ndarray else function(a)

    twins = twins_of(array, tmp_path)
    assert outcome(differing, "a", twins, 0) == outcome(differing, "a", twins, 0)
    assert outcome(differing, "a", twins, 0) != outcome(differing, "a", twins, 1)
    identity = outcome(lambda a: a, "a", twins, 0)
    assert identity == outcome(lambda a: a, "a", twins, 1) == outcome(lambda a: a, "a", twins, 2)
