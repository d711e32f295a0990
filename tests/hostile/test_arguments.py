"""Arguments of every kind, at every entry that takes sizes, shapes or types: done, or an error."""

from __future__ import annotations

import gc
import itertools
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest
import wrong_arguments
from hypothesis import given, settings
from hypothesis import strategies as st
from wrong_arguments import PATIENT

import mmapio
from mmapio import MappedArray, MappedFile, MmapioError, aio, kernels

SIZE = 10_000
EXAMPLES = max(1, int(30 * float(os.environ.get("MMAPIO_TEST_SCALE", "1"))))

NUMBERS = st.one_of(
    st.integers(-3, SIZE + 3),
    st.sampled_from([2**n + d for n in (12, 31, 32, 40, 62, 63, 64, 70) for d in (-1, 0, 1)]),
    st.sampled_from([-(2**n) for n in (31, 63, 64, 70)]),
    st.sampled_from([np.int8(-1), np.uint64(2**64 - 1), np.int64(5), True, np.bool_(True)]),
)
THINGS = st.one_of(
    st.none(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from(
        [object(), int, [], (), {}, {1}, np.zeros(3), np.float64(2), 1j, range(3), ...]
    ),
)
HOSTILE = NUMBERS | THINGS
SHAPES = st.one_of(
    HOSTILE, st.lists(HOSTILE, max_size=4), st.lists(NUMBERS, max_size=40).map(tuple)
)
DTYPES = st.one_of(
    THINGS,
    st.sampled_from(["u1", ">f8", "S0", "V0", "O", "U5", "M8[ns]", "i4,i4", "V2147483647", "f16"]),
    st.sampled_from([[("a", "u1"), ("a", "u1")], [("a", "O")], {"names": ["x"]}, ("u1", (2, 2))]),
    st.text(st.sampled_from("<>|=,:[]()*0123456789SUVMmfiucbBOp'a "), max_size=8),
)
MODES = st.sampled_from(["r", "r+", "c", "w+", "x+", "a+", "rb", "", None, 1, b"r"])


def first(things: Iterator[Any]) -> list[Any]:
    return list(itertools.islice(things, 3))


ENTRIES: dict[str, tuple[Callable[..., Any], Any]] = {
    "open": (
        lambda f, mode, dtype, shape, offset: mmapio.open(
            f, mode, dtype=dtype, shape=shape, offset=offset, reserve=False
        ),
        (MODES, DTYPES, SHAPES, HOSTILE),
    ),
    "open .npy": (
        lambda f, dtype, shape: mmapio.open(f"{f}.npy", dtype=dtype, shape=shape),
        (DTYPES, SHAPES),
    ),
    "create": (
        lambda f, shape, dtype, order, raw: mmapio.create(
            f, shape, dtype, order=order, raw=raw, overwrite=True, reserve=False
        ),
        (SHAPES, DTYPES, st.sampled_from(["C", "F", "A", None, 1]), st.booleans()),
    ),
    "memmap": (
        lambda f, dtype, mode, offset, shape: mmapio.memmap(f, dtype, mode, offset, shape),
        (DTYPES, st.sampled_from(["r", "c", "readonly", "x", None]), HOSTILE, SHAPES),
    ),
    "anonymous": (lambda f, *rest: mmapio.anonymous(*rest), (SHAPES, DTYPES)),
    "MappedFile.open": (
        lambda f, mode, size, offset, length, capacity: MappedFile.open(
            f, mode, size, offset=offset, length=length, capacity=capacity, reserve=False
        ),
        (MODES, HOSTILE, HOSTILE, HOSTILE, HOSTILE),
    ),
    "from_fd": (lambda f, fd, *rest: MappedFile.from_fd(fd, *rest), (THINGS, MODES)),
    "view": (lambda f, *rest: MappedFile.open(f).view(*rest), (HOSTILE, HOSTILE, DTYPES)),
    "read": (lambda f, *rest: MappedFile.open(f).read(*rest), (HOSTILE, HOSTILE)),
    "read_into": (lambda f, *rest: MappedFile.open(f).read_into(*rest), (HOSTILE, THINGS)),
    "write": (lambda f, *rest: MappedFile.open(f, "c").write(*rest), (HOSTILE, THINGS)),
    "segment": (lambda f, *rest: MappedFile.open(f).segment(*rest), (HOSTILE, HOSTILE)),
    "chunks": (lambda f, *rest: first(MappedFile.open(f).chunks(*rest)), (HOSTILE, st.booleans())),
    "flush": (lambda f, *rest: MappedFile.open(f, "r+").flush(*rest), (HOSTILE, HOSTILE)),
    "advise": (
        lambda f, *rest: MappedFile.open(f, "c").advise(*rest),
        (THINGS | st.sampled_from(["random", "willneed", "cold"]), HOSTILE, HOSTILE),
    ),
    "prefetch": (lambda f, *rest: MappedFile.open(f).prefetch(*rest), (HOSTILE, HOSTILE)),
    "release": (lambda f, *rest: MappedFile.open(f, "r+").release(*rest), (HOSTILE, HOSTILE)),
    "punch_hole": (lambda f, *rest: MappedFile.open(f, "r+").punch_hole(*rest), (HOSTILE, HOSTILE)),
    "lock": (lambda f, *rest: MappedFile.open(f).lock(*rest), (HOSTILE, HOSTILE)),
    "unlock": (lambda f, *rest: MappedFile.open(f).unlock(*rest), (HOSTILE, HOSTILE)),
    "options": (
        lambda f, touch, advice: MappedFile.open(f, touch=touch, advise=advice),
        (THINGS | st.sampled_from(["never", "eager"]), THINGS | st.sampled_from(["normal"])),
    ),
    "check": (lambda f, *rest: MappedFile.open(f).check(*rest), (HOSTILE, HOSTILE)),
    "resize": (
        lambda f, size: MappedFile.open(f, "r+", reserve=False).resize(size),
        (HOSTILE,),
    ),
    "chunks of an array": (
        lambda f, rows: first(mmapio.open(f, dtype="u1").chunks(rows)),
        (HOSTILE,),
    ),
    "seek": (lambda f, *rest: MappedFile.open(f).reader().seek(*rest), (HOSTILE, HOSTILE)),
}


@pytest.mark.filterwarnings("ignore:Data type alias:DeprecationWarning")  # of numpy, which takes it
@pytest.mark.parametrize("entry", ENTRIES)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_it_is_done_or_one_clear_error(entry: str, data: st.DataObject) -> None:
    call, strategies = ENTRIES[entry]
    arguments = data.draw(st.tuples(*strategies))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(bytes(SIZE))
        np.save(f"{path}.npy", np.arange(6).reshape(2, 3))
        names = sorted(os.listdir(folder))
        found, error = None, None
        try:
            found = call(path, *arguments)
        except MmapioError as caught:
            error = caught
        if error is not None:
            assert str(error)
            assert isinstance(error, (ValueError, TypeError, LookupError, OSError, BufferError))
            assert path.stat().st_size == SIZE
        if isinstance(found, MappedArray) and found.size:
            found.reshape(-1, order="A")[-1:].tobytes()
        assert sorted(os.listdir(folder)) == names


# Each argument made wrong -------------------------------------------------------------------------

# What is documented to come from numpy or Python itself: of values that are stored, as of an array
# or an array's items, and of cells.
AS_NUMPY = {
    "push": ("record",),
    "aio.push": ("record",),
    "push_many": ("records",),
    "aio.push_many": ("records",),
    "SeqLock.write": ("record",),
    "add": ("value",),
    "pop": ("timeout",),
    "pop_many": ("timeout",),
    "aio.pop": ("timeout",),
    "aio.pop_many": ("timeout",),
    **dict.fromkeys(
        wrong_arguments.ATOMIC, ("value", "index", "expected", "desired", "order", "a")
    ),
}
# For each dtype of these a kernel would be compiled: that is what the tests of kernels do.
COMPILED_FOR = ("a", "kernel", "combine", "init", "out", "args", "values", "indices")
TRIED = max(2, int(2 * float(os.environ.get("MMAPIO_TEST_SCALE", "1"))))


def test_every_public_function_has_its_arguments() -> None:
    functions = {name for name in kernels.__all__ if name.islower()} - {"compile_all"}
    functions |= {f"aio.{name}" for name in aio.__all__ if name.islower()}
    functions |= {
        name for name in mmapio.__all__ if isinstance(getattr(mmapio, name), FunctionType)
    }
    assert functions - wrong_arguments.CALLS.keys() == set()


@pytest.mark.parametrize("name", sorted(wrong_arguments.CALLS.keys() - wrong_arguments.OF_ARRAYS))
def test_arguments_that_are_right_are_taken(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong_arguments.make_files()
    wrong_arguments.CALLS[name][0]()(**wrong_arguments.right_arguments(name))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", wrong_arguments.CALLS)
def test_one_argument_that_is_wrong_is_one_clear_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for key in wrong_arguments.CALLS[name][1]:
        if key in COMPILED_FOR and name in wrong_arguments.OF_ARRAYS:
            continue
        values = [each for each in wrong_arguments.WRONG if key != "timeout" or each not in PATIENT]
        if key == "width":  # so wide a text is what was asked for
            values = [each for each in values if each not in ("2**40", "2**63")]
        for what in random.Random(name + key).sample(values, min(TRIED, len(values))):
            for each in tmp_path.iterdir():
                each.unlink()
            wrong_arguments.make_files()
            arguments = wrong_arguments.right_arguments(name)
            arguments[key] = wrong_arguments.WRONG[what]
            kinds = (TypeError, ValueError, OverflowError, IndexError)
            documented = kinds if key in AS_NUMPY.get(name, ()) else ()
            try:
                wrong_arguments.CALLS[name][0]()(**arguments)
            except (MmapioError, *documented):
                pass
            except Exception as error:
                raise AssertionError(f"{name}({key}={what}): {error!r}") from error
        gc.collect()
