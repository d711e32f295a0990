"""Pickling: arrays travel between processes as a reference to their file, or as their bytes."""

from __future__ import annotations

import copy
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

import mmapio
from mmapio import MappedArray

MODEL = np.arange(4 * 5 * 6, dtype="<i4").reshape(4, 5, 6)
RECORD = np.dtype([("a", "u1"), ("b", ">f8", (2,)), (("title", "c"), "S3")])
POSIX = pytest.mark.skipif(
    sys.platform == "win32",
    reason="Windows keeps mapped files, and has other links and permissions",
)
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.npy"


@pytest.fixture
def a(path: Path) -> Iterator[MappedArray]:
    """Return a mapped array that holds `MODEL`."""
    created = mmapio.create(path, MODEL.shape, MODEL.dtype)
    created[...] = MODEL
    yield created
    created.close(force=True)


def check_reference(view: Any, protocol: int = pickle.HIGHEST_PROTOCOL) -> Any:
    """Check that an array comes back from its pickle as the same bytes of the same file."""
    data = pickle.dumps(view, protocol)
    assert len(data) <= 1024
    again = pickle.loads(data)
    assert type(again) is type(view)
    assert (again.shape, again.dtype, again.strides) == (view.shape, view.dtype, view.strides)
    assert again.filename == view.filename
    assert again.flags.writeable == view.flags.writeable
    assert not np.shares_memory(again, view)  # it is mapped anew
    np.testing.assert_array_equal(again, view)
    if view.size:
        assert again.offset == view.offset
    return again


def _readonly(array: Any) -> Any:
    array.flags.writeable = False
    return array


VIEWS: dict[str, Callable[[Any], Any]] = {
    "whole": lambda a: a,
    "slice": lambda a: a[1:3],
    "row": lambda a: a[2, 3],
    "strided": lambda a: a[::2, 1::3],
    "backwards": lambda a: a[::-1, ::-2, ::-1],
    "transposed": lambda a: a.T,
    "axes swapped": lambda a: a.swapaxes(0, 1)[1:],
    "diagonal": lambda a: a[0].diagonal(1),
    "other dtype": lambda a: a.view("<i2")[1:, :, 3:],
    "new axis": lambda a: a[:, None],
    "no items": lambda a: a[2:2],
    "no items at the end": lambda a: a[4:],
    "read-only": lambda a: _readonly(a[1:]),
    "no dimensions": lambda a: a[1, 2, 3, ...],
    "reshaped": lambda a: a[1:].reshape(-1)[7:],
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_travel_by_reference(a: MappedArray, name: str) -> None:
    for protocol in PROTOCOLS:
        again = check_reference(VIEWS[name](a), protocol)
    if again.size and again.flags.writeable:
        again[(0,) * again.ndim] = 999
        assert VIEWS[name](a)[(0,) * again.ndim] == 999  # the same file


@given(index=hnp.basic_indices(MODEL.shape, allow_newaxis=True))
@settings(max_examples=60)
def test_any_view_travels_by_reference(
    tmp_path_factory: pytest.TempPathFactory, index: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "pickled.bin"
    path.write_bytes(b"?" * 7 + MODEL.tobytes())
    view = mmapio.open(path, "r+", dtype="<i4", shape=MODEL.shape, offset=7)[index]
    if isinstance(view, MappedArray):
        check_reference(view)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [">f8", "S5", "<M8[ns]", "?", RECORD], ids=str)
def test_dtypes_orders_and_fields_travel(path: Path, dtype: Any, order: Any) -> None:
    a = mmapio.create(path, (4, 6), dtype, order=order)
    a.T.reshape(-1, order="A").view("u1")[:] = 1
    for view in (a, a[1:, ::-2], a.T):
        assert check_reference(view).flags.f_contiguous == view.flags.f_contiguous
        if dtype is RECORD:
            for part in (view["a"], view["b"], view["b"][..., 1], view["c"], view[["a", "c"]]):
                check_reference(part)


@pytest.mark.parametrize("mode", ["r", "r+", "w+", "x+", "a+"])
def test_what_the_reader_gets_is_as_writable_as_what_was_sent(path: Path, mode: str) -> None:
    options: Any = {"dtype": "i4", "shape": 5}
    if mode in ("r", "r+"):
        mmapio.create(path, 5, "i4")
    a = mmapio.open(path, mode, **options)
    again = check_reference(a)
    assert again.mode == ("r" if mode == "r" else "r+")
    pickle.loads(pickle.dumps(again))


def test_a_pickle_is_small_whatever_the_size(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 200 + ".npy")
    a = mmapio.create(path, (1 << 20, 1 << 12), "f4", reserve=False)
    a[-1, -1] = 7
    assert len(pickle.dumps(a)) <= 1024
    again = check_reference(a[-3:, ::-1])
    assert again[-1, 0] == 7
    many = pickle.dumps([a[i:] for i in range(100)])
    assert len(many) <= 1024 + 100 * 200


def test_arrays_of_one_mapping_share_one_mapping_afterwards(a: MappedArray) -> None:
    first, second = pickle.loads(pickle.dumps((a, a[1:, 2:])))
    assert np.shares_memory(first, second)
    assert first.mapping is second.mapping
    second[0, 0, 0] = -5
    assert (first[1, 2, 0], a[1, 2, 0]) == (-5, -5)
    same, again = pickle.loads(pickle.dumps((a, a)))
    assert same is again


def test_a_window_of_a_file_travels(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(range(256)) * 40)
    a = mmapio.memmap(tmp_path / "x.bin", ">u2", "r", 4099, (10, 10))
    assert check_reference(a[3:, ::-1]).offset == 4099 + 60 + 18
    m = mmapio.MappedFile.open(tmp_path / "x.bin", offset=5000, length=100)
    assert pickle.loads(pickle.dumps(m)).read() == m.read()


def test_a_file_that_grew_travels(path: Path) -> None:
    a = mmapio.create(path, 100, "u1", raw=True)
    a.mapping.resize(50_000, force=True)
    assert a.mapping.size == 50_000  # whoever asks, and whenever
    a.mapping.resize(60_000, force=True)
    a[3] = 7
    check_reference(a[:10])
    grown = pickle.loads(pickle.dumps(a.mapping))
    assert (grown.size, grown.read(3, 1)) == (60_000, b"\7")


# By value -----------------------------------------------------------------------------------------


def test_what_has_no_path_travels_by_value(path: Path, a: MappedArray) -> None:
    anonymous = mmapio.anonymous(MODEL.shape, "<i4")
    anonymous[...] = MODEL
    private = mmapio.open(path, "c")
    private[...] = MODEL + 1
    for sent, model in ((anonymous, MODEL), (private, MODEL + 1), (a[[1, 2]], MODEL[[1, 2]])):
        for protocol in PROTOCOLS:
            again = pickle.loads(pickle.dumps(sent[1:, ::-1], protocol))
            assert type(again) is np.ndarray
            np.testing.assert_array_equal(again, model[1:, ::-1])
    np.testing.assert_array_equal(a, MODEL)
    with pytest.raises(mmapio.UnsupportedError, match="cannot be pickled"):
        pickle.dumps(private.mapping)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies_are_plain(a: MappedArray, duplicate: Callable[[Any], Any]) -> None:
    for view in (a, a[1:, ::-1], mmapio.anonymous((4, 5)), a[[1]]):
        again = duplicate(view)
        assert type(again) is np.ndarray
        assert not np.shares_memory(again, view)
        np.testing.assert_array_equal(again, view)
    assert type(duplicate({"key": a})["key"]) is (
        MappedArray if duplicate is copy.copy else np.ndarray
    )


# What cannot be -----------------------------------------------------------------------------------


@POSIX
def test_a_replaced_file_is_noticed(path: Path, a: MappedArray) -> None:
    data = pickle.dumps(a[1:])
    mmapio.save(path, MODEL)  # the same bytes, but another file
    with pytest.raises(mmapio.ReplacedError, match="replaced") as caught:
        pickle.loads(data)
    assert isinstance(caught.value, OSError)
    assert caught.value.filename == str(path)
    assert caught.value.errno


@POSIX
def test_a_file_that_took_the_inode_of_the_old_one_is_noticed(path: Path) -> None:
    for _ in range(20):
        a = mmapio.create(path, 100, "i4")
        data, inode = pickle.dumps(a), path.stat().st_ino
        a.close()
        del a
        path.unlink()
        mmapio.create(path, 100, "i4").close()
        with pytest.raises(mmapio.ReplacedError):
            pickle.loads(data)
        if path.stat().st_ino == inode:
            return
        path.unlink()
    pytest.skip("this file system never gives an inode number twice in a row")


@POSIX
def test_a_file_that_is_gone_or_cut_is_a_clear_error(path: Path, a: MappedArray) -> None:
    data = pickle.dumps(a)
    os.truncate(path, 200)
    with pytest.raises((mmapio.OutOfBoundsError, mmapio.FormatError), match="200"):
        pickle.loads(data)
    path.unlink()
    with pytest.raises(mmapio.MissingFileError, match=str(path)):
        pickle.loads(data)
    path.mkdir()
    with pytest.raises(mmapio.DirectoryError):
        pickle.loads(data)


@POSIX
@pytest.mark.parametrize("what", [lambda a: a, lambda a: a[3:4], lambda a: a.mapping])
def test_no_pickle_is_written_over_the_file_that_it_refers_to(
    path: Path, a: MappedArray, what: Callable[[Any], Any]
) -> None:
    # as joblib.dump and pickle.dump do it: their own open() has cut the file off
    with open(path, "wb") as file, pytest.raises(mmapio.MappingLostError, match="cut the file off"):
        pickle.dump(what(a), file)
    assert path.read_bytes() == b""


@POSIX
def test_a_renamed_file_is_not_found(path: Path, a: MappedArray) -> None:
    data = pickle.dumps(a)
    moved = path.rename(path.with_name("y.npy"))
    with pytest.raises(mmapio.MissingFileError):
        pickle.loads(data)
    moved.rename(path)
    np.testing.assert_array_equal(pickle.loads(data), MODEL)


def test_a_closed_array_cannot_be_pickled(a: MappedArray) -> None:
    part = a[1:]
    a.close(force=True)
    for array in (a, part):
        with pytest.raises(mmapio.ClosedError):
            pickle.dumps(array)


def test_references_that_were_tampered_with_never_crash(a: MappedArray) -> None:
    rebuild, (mapping, offset, shape, dtype, strides, *rest) = a.__reduce_ex__(4)
    for bad in (
        (mapping, 10**6, shape, dtype, strides),
        (mapping, -1, shape, dtype, strides),
        (mapping, offset, (10**6,), dtype, (4,)),
        (mapping, offset, shape, dtype, (-80, -8, -8)),
        (mapping, offset, shape, dtype, (2**62, 2**62, 2**62)),
        (mapping, offset, shape, dtype, (4,)),
    ):
        with pytest.raises((ValueError, TypeError)):
            rebuild(*bad, *rest)


# Between processes --------------------------------------------------------------------------------

WORKERS = """
import multiprocessing, os, sys
import concurrent.futures
import numpy as np, mmapio

def add(array, amount):
    assert type(array) is mmapio.MappedArray, type(array)
    array += amount
    return os.getpid(), int(array.sum()), array.filename

def main(method, path):
    a = mmapio.create(path, (8, 1000), "i8")
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        results = pool.starmap(add, [(a[i], i) for i in range(8)])
    assert a.sum() == 1000 * 28
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        results += executor.map(add, [a[::-1, ::2], a.T[1::2]], [5, 7])
    process = context.Process(target=add, args=(a[3:4], 100))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert [total for _, total, _ in results[:8]] == [1000 * i for i in range(8)]
    assert {name for _, _, name in results} == {path}
    assert os.getpid() not in {worker for worker, _, _ in results}
    print(a.sum() == 1000 * 28 + 4000 * 12 + 100_000)
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_pools_of_processes_work_on_one_file(
    tmp_path: Path, run_python: Callable[..., str], method: str
) -> None:
    if method == "fork" and not hasattr(os, "fork"):
        pytest.skip("needs fork")
    (tmp_path / "workers.py").write_text(WORKERS)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import workers; workers.main(*sys.argv[2:])"
    )
    assert run_python(code, str(tmp_path), method, str(tmp_path / "x.npy")) == "True\n"


def test_joblib_works_on_one_file(tmp_path: Path, run_python: Callable[..., str]) -> None:
    pytest.importorskip("joblib")
    code = """
import os, sys, warnings
import joblib, numpy as np, mmapio
def add(array, amount):
    array += amount
    return type(array).__name__, os.getpid()
a = mmapio.create(sys.argv[1], (4, 1 << 18), "i8")   # larger than joblib's own memmapping begins
results = joblib.Parallel(n_jobs=2)(joblib.delayed(add)(a[i], i) for i in range(4))
assert {name for name, _ in results} == {"MappedArray"}, results
assert os.getpid() not in {pid for _, pid in results}
print(a[:, 0].tolist(), a.sum() == 6 << 18)
from joblib.externals.loky import get_reusable_executor
get_reusable_executor().shutdown(wait=True)
"""
    assert run_python(code, str(tmp_path / "x.npy")) == "[0, 1, 2, 3] True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_uses_what_was_open(path: Path, run_python: Callable[..., str]) -> None:
    code = """
import os, sys, mmapio
a = mmapio.create(sys.argv[1], 10, "i4")
part = a[5:]
if (child := os.fork()) == 0:
    part += 3
    part.flush()
    part.flush(wait=False)
    a.close(force=True)
    os._exit(int(part.sum()))
print(os.waitpid(child, 0)[1], a.tolist(), a.closed)
"""
    assert run_python(code, str(path)) == "0 [0, 0, 0, 0, 0, 3, 3, 3, 3, 3] False\n"


def test_unpickling_needs_only_the_package(a: MappedArray, run_python: Callable[..., str]) -> None:
    code = """
import pickle, sys
a = pickle.loads(bytes.fromhex(sys.argv[1]))
a[0] = 7
print(type(a).__name__, a.shape, "numba" in sys.modules)
"""
    data = pickle.dumps(a[1:, ::-1]).hex()
    assert run_python(code, data) == "MappedArray (3, 5, 6) False\n"
    assert (a[1] == 7).all()
    assert sys.getrefcount(a) < 10
