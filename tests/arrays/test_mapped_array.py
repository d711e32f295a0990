"""`MappedArray`: slices know their bytes, copies are plain, and closing is safe."""

from __future__ import annotations

import copy
import gc
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.lib.recfunctions import structured_to_unstructured

import mmapio
from mmapio import MappedArray

PAGE = mmapio._os.PAGE_SIZE
MODEL = np.arange(4 * 5 * 6, dtype="<i4").reshape(4, 5, 6)
RECORD = np.dtype([("a", "u1"), ("b", ">f8", (2,)), (("title", "c"), "S3")])


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


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return the list of the spans that are synced from here on: address and length."""
    spans: list[tuple[int, int]] = []
    sync = mmapio._os.sync

    def spy(address: int, length: int, failed: list[int]) -> None:
        spans.append((address, length))
        sync(address, length, failed)

    monkeypatch.setattr(mmapio._os, "sync", spy)
    return spans


def address_of(array: Any) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


# What an array tells of itself --------------------------------------------------------------------


def test_attributes(path: Path, a: MappedArray) -> None:
    assert type(a) is MappedArray
    assert isinstance(a, np.ndarray)
    assert (a.filename, a.offset, a.mode, a.closed) == (str(path), 128, "x+", False)
    assert isinstance(a.mapping, mmapio.MappedFile)
    assert a.mapping is a.mapping
    assert a[1:].mapping is a.mapping
    assert (a.mapping.path, a.mapping.size) == (str(path), 128 + MODEL.nbytes)
    assert repr(a).startswith("MappedArray([[[")
    for name in ("anything", "ndarray", "offset"):
        with pytest.raises(AttributeError):
            setattr(a, name, 1)


def test_ndarray_is_the_same_memory_as_a_plain_array(a: MappedArray) -> None:
    for part in (a, a[1:, ::2], a[::-1], a.T, a[2, 3, 4:5], a[0:0], a.view("u1")[..., 1]):
        plain = part.ndarray
        assert type(plain) is np.ndarray
        assert (plain.shape, plain.dtype, plain.strides) == (part.shape, part.dtype, part.strides)
        assert address_of(plain) == address_of(part)
        assert plain.flags.writeable
    a.ndarray[0, 0, 0] = 99
    assert a[0, 0, 0] == 99
    assert not mmapio.open(a.filename).ndarray.flags.writeable
    assert type(a[[1, 2]].ndarray) is np.ndarray


INDICES = hnp.basic_indices(MODEL.shape, allow_newaxis=True)


@given(first=INDICES, second=st.sampled_from([..., slice(None, None, -1), slice(1, None)]))
@settings(max_examples=150)
def test_the_offset_of_any_view_is_where_its_first_item_lies(
    tmp_path_factory: pytest.TempPathFactory, first: Any, second: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "offsets.bin"
    path.write_bytes(b"?" * 7 + MODEL.tobytes())
    a = mmapio.open(path, dtype="<i4", shape=MODEL.shape, offset=7)
    view = a[first]
    if np.ndim(view):
        view = view[second]
    if not isinstance(view, MappedArray):
        return
    model = MODEL[first][second] if np.ndim(MODEL[first]) else MODEL[first]
    np.testing.assert_array_equal(view, model)
    assert view.filename == str(path)
    if view.size:
        with path.open("rb") as file:
            file.seek(view.offset)
            assert file.read(4) == view[(0,) * view.ndim].tobytes()


def test_offsets_of_views_of_every_kind(path: Path, a: MappedArray) -> None:
    flat = 128 + np.arange(MODEL.size).reshape(MODEL.shape) * 4  # where each item lies
    for view, where in (
        (a[2], flat[2, 0, 0]),
        (a[2, 3, 4:], flat[2, 3, 4]),
        (a[2, 3, 4, None], flat[2, 3, 4]),
        (a[::-1], flat[-1, 0, 0]),
        (a[::-1, ::-2, ::-1], flat[-1, -1, -1]),
        (a[1:].T, flat[1, 0, 0]),
        (a.swapaxes(0, 2)[1], flat[0, 0, 1]),
        (a[1].diagonal(1), flat[1, 0, 1]),
        (a[1:].reshape(-1)[7:], flat.reshape(-1)[30 + 7]),
        (a[3].view("<i2")[1:, 1:], flat[3, 1, 0] + 2),
        (a[1, 2:3].squeeze(), flat[1, 2, 0]),
        (np.moveaxis(a, 0, 2)[2, 1], flat[0, 2, 1]),
    ):
        assert view.offset == where
        assert view.mapping is a.mapping


def test_offsets_of_fields_and_parts_of_numbers(tmp_path: Path) -> None:
    a = mmapio.create(tmp_path / "x.bin", 10, RECORD, raw=True)
    size = RECORD.itemsize
    assert size == 20
    assert (a["a"].offset, a["b"].offset, a["c"].offset, a["title"].offset) == (0, 1, 17, 17)
    assert a[3:]["b"][:, 1].offset == 3 * size + 1 + 8
    assert a[["b", "c"]][2:].offset == 2 * size
    assert a.view(np.recarray).c.shape == (10,)
    c = mmapio.create(tmp_path / "c.bin", 10, "c16", raw=True)
    assert (c.real.offset, c.imag.offset, c.imag[::-1].offset) == (0, 8, 9 * 16 + 8)
    c.imag[3] = 5
    assert c[3] == 5j


# Flushing -----------------------------------------------------------------------------------------


def check_flushed(view: MappedArray, synced: list[tuple[int, int]], low: int, high: int) -> None:
    """Check that flushing a view syncs the pages of a range of addresses, and no other."""
    synced.clear()
    view.flush()
    ((address, length),) = synced
    assert address == low - low % PAGE
    assert high <= address + length <= high + -high % PAGE


def test_flushing_a_slice_flushes_its_bytes_and_no_other(
    tmp_path: Path, synced: list[tuple[int, int]]
) -> None:
    a = mmapio.create(tmp_path / "x.npy", (100, PAGE), "u1")
    start = address_of(a)
    row = a[10:20]
    check_flushed(row, synced, start + 10 * PAGE, start + 20 * PAGE)
    check_flushed(a[50, 3:4], synced, start + 50 * PAGE + 3, start + 50 * PAGE + 4)
    check_flushed(a[20:10:-1], synced, start + 11 * PAGE, start + 21 * PAGE)
    check_flushed(a[30:40].T, synced, start + 30 * PAGE, start + 40 * PAGE)
    check_flushed(a[30:40, 7][::3], synced, start + 30 * PAGE + 7, start + 39 * PAGE + 8)
    check_flushed(a[5:7].view("u2")[::-1, 1:3], synced, start + 5 * PAGE + 2, start + 6 * PAGE + 6)
    check_flushed(a[:4, :4].diagonal(), synced, start, start + 3 * PAGE + 4)
    check_flushed(a, synced, start, start + 100 * PAGE)
    synced.clear()
    a[5:5].flush()
    a[:, :0].flush()
    assert synced == []


@given(index=INDICES, reverse=st.booleans())
@settings(max_examples=60)
def test_flushing_any_view(
    tmp_path_factory: pytest.TempPathFactory, index: Any, reverse: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "flushed.npy"
    a = mmapio.create(path, (4, 5, 6), f"V{PAGE // 3}", overwrite=True)
    view = a[index]
    if not isinstance(view, MappedArray) or view.size == 0:
        return
    view = view[::-1] if reverse and view.ndim else view
    low, high = np.lib.array_utils.byte_bounds(view)
    with pytest.MonkeyPatch.context() as patch:
        spans: list[tuple[int, int]] = []
        patch.setattr(
            mmapio._os, "sync", lambda address, length, _: spans.append((address, length))
        )
        check_flushed(view, spans, low, high)


def test_flush_writes_a_field_and_what_does_not_wait(
    tmp_path: Path, synced: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    a = mmapio.create(tmp_path / "x.npy", 1000, RECORD)
    check_flushed(
        a[100:200]["c"],
        synced,
        address_of(a) + 100 * RECORD.itemsize + 17,
        address_of(a) + 200 * RECORD.itemsize,
    )
    started: list[tuple[int, int]] = []
    monkeypatch.setattr(mmapio._os, "start_writeback", lambda fd, at, n: started.append((at, n)))
    synced.clear()
    a[10:20].flush(wait=False)
    assert (synced, started) == ([], [(a[10:].offset, 10 * RECORD.itemsize)])


@pytest.mark.parametrize("mode", ["r", "c"])
def test_where_there_is_nothing_to_write_flush_does_nothing(
    path: Path, a: MappedArray, synced: list[tuple[int, int]], mode: str
) -> None:
    mmapio.open(path, mode).flush()
    mmapio.open(path, mode)[1:].flush()
    mmapio.anonymous(3).flush()
    assert synced == []


def test_an_error_of_the_drive_is_an_error_of_flush(
    path: Path, a: MappedArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(mmapio._os, "sync", fail)
    with pytest.raises(mmapio.FileError, match=r"flush 120 bytes at 248") as caught:
        a[1].flush()
    assert (caught.value.errno, caught.value.filename) == (5, str(path))


# Chunks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 99, np.int8(3)])
def test_chunks_are_plain_pieces_of_the_same_memory(a: MappedArray, rows: Any) -> None:
    pieces = list(a.chunks(rows))
    assert {type(piece) for piece in pieces} == {np.ndarray}
    assert [len(piece) for piece in pieces[:-1]] == [rows] * (len(pieces) - 1)
    np.testing.assert_array_equal(np.concatenate(pieces), MODEL)
    pieces[-1][...] = 7
    assert (a[-1] == 7).all()
    np.testing.assert_array_equal(np.concatenate(list(a[::-1, 1].chunks(rows))), a[::-1, 1])
    assert list(a[:0].chunks(3)) == []


def test_bad_chunks(a: MappedArray) -> None:
    for rows, error in ((0, mmapio.ArgumentError), (-1, mmapio.ArgumentError)):
        with pytest.raises(error, match=str(rows)):
            a.chunks(rows)
    for rows in (1.5, None, "2"):
        with pytest.raises(mmapio.ArgumentTypeError, match="rows"):
            a.chunks(rows)
    with pytest.raises(mmapio.ArgumentError, match=r"no rows"):
        mmapio.anonymous(()).chunks(1)


# What is plain, and what is mapped ----------------------------------------------------------------

x = mmapio.anonymous((4, 6), float)
x[...] = np.random.default_rng(0).permutation(24).reshape(4, 6) + 1
y = mmapio.anonymous(12, "i8")
y[...] = np.random.default_rng(0).permutation(12)
z = mmapio.anonymous((2, 3), complex)

PLAIN: dict[str, Callable[[], Any]] = {
    "x + 1": lambda: x + 1,
    "1 - x": lambda: 1 - x,
    "x * x": lambda: x * x,
    "-x": lambda: -x,
    "abs": lambda: abs(x),
    "x ** 2": lambda: x**2,
    "x > 3": lambda: x > 3,
    "y & 1": lambda: y & 1,
    "~y": lambda: ~y,
    "divmod": lambda: divmod(x, 2),
    "x @ x.T": lambda: x @ x.T,
    "x.dot": lambda: x.dot(x.T),
    "x + ndarray": lambda: x + np.ones((4, 6)),
    "ndarray + x": lambda: np.ones((4, 6)) + x,
    "x[1:] + 1": lambda: x[1:] + 1,
    "x.T * 2": lambda: x.T * 2,
    **{
        f"np.{name}": lambda name=name: getattr(np, name)(x)
        for name in (
            *("sin", "exp", "sqrt", "isnan", "floor", "sign", "modf", "frexp", "spacing", "i0"),
            *("sort", "argsort", "unique", "diff", "gradient", "cumsum", "cumprod", "nancumsum"),
            *("zeros_like", "ones_like", "empty_like", "copy", "nan_to_num", "round", "trunc"),
            *("cov", "corrcoef", "argwhere", "flatnonzero", "nonzero", "triu", "tril", "unwrap"),
            *("array", "asarray", "asarray_chkfinite", "sinc", "isreal", "angle", "sort_complex"),
            *("ediff1d", "count_nonzero", "histogram", "lexsort", "fft.fft", "linalg.svd"),
            *("linalg.qr", "linalg.pinv"),
        )
        if "." not in name
    },
    "fft": lambda: np.fft.fft(x),
    "svd": lambda: np.linalg.svd(x),
    "qr": lambda: np.linalg.qr(x),
    "eig": lambda: np.linalg.eig(x[:, :4]),
    "lstsq": lambda: np.linalg.lstsq(x, x),
    "x.copy": lambda: x.copy(),
    "x.copy F": lambda: x.copy("F"),
    "x.astype": lambda: x.astype("f4"),
    "x.astype same": lambda: x.astype(float),
    "x.flatten": lambda: x.flatten(),
    "x.repeat": lambda: x.repeat(2),
    "x.take": lambda: x.take([1, 2]),
    "x.compress": lambda: x.compress([1, 0, 1], axis=0),
    "x.cumsum": lambda: x.cumsum(),
    "x.cumprod": lambda: x.cumprod(),
    "x.round": lambda: x.round(),
    "y.round": lambda: y.round(),
    "z.round": lambda: z.round(1),
    "z.conj": lambda: z.conj(),
    "x.clip": lambda: x.clip(1, 2),
    "x.argsort": lambda: x.argsort(),
    "x.argpartition": lambda: x.argpartition(2),
    "x.byteswap": lambda: x.byteswap(),
    "x.nonzero": lambda: x.nonzero(),
    "y.choose": lambda: y.choose([[item] * 12 for item in range(12)]),
    "x.searchsorted": lambda: np.sort(y).searchsorted([1, 2]),
    "y.searchsorted": lambda: y.searchsorted([1, 2]),
    "x.sum axis": lambda: x.sum(axis=0),
    "x.mean keepdims": lambda: x.mean(axis=0, keepdims=True),
    "x.max axis": lambda: x.max(axis=1),
    "x.std axis": lambda: x.std(axis=0),
    "x.any axis": lambda: x.any(axis=0),
    "x.argmax axis": lambda: x.argmax(axis=0),
    "x.argmin axis": lambda: x.argmin(axis=1),
    "np.sum axis": lambda: np.sum(x, axis=0),
    "np.median axis": lambda: np.median(x, axis=0),
    "np.percentile": lambda: np.percentile(x, [10, 20]),
    "np.ptp": lambda: np.ptp(x, axis=0),
    "concatenate": lambda: np.concatenate([x, x]),
    "stack": lambda: np.stack([x, x]),
    "hstack": lambda: np.hstack([x, x]),
    "block": lambda: np.block([[x, x]]),
    "column_stack": lambda: np.column_stack([y, y]),
    "where": lambda: np.where(x > 3, x, x),
    "select": lambda: np.select([x > 3], [x]),
    "choose": lambda: np.choose(y % 2, [y, y]),
    "take": lambda: np.take(x, [1, 2]),
    "take_along_axis": lambda: np.take_along_axis(x, np.argsort(x, axis=0), 0),
    "reshape that copies": lambda: np.reshape(x.T, (3, 8)),
    "compress": lambda: np.compress([1, 0], x, axis=0),
    "extract": lambda: np.extract(x > 3, x),
    "repeat": lambda: np.repeat(x, 2),
    "tile": lambda: np.tile(x, 2),
    "pad": lambda: np.pad(x, 1),
    "roll": lambda: np.roll(x, 1),
    "append": lambda: np.append(x, x),
    "insert": lambda: np.insert(x, 1, 0, axis=0),
    "delete": lambda: np.delete(x, 1, axis=0),
    "resize": lambda: np.resize(x, (2, 2)),
    "outer": lambda: np.outer(y, y),
    "kron": lambda: np.kron(x, x),
    "inner": lambda: np.inner(x, x),
    "dot": lambda: np.dot(x, x.T),
    "tensordot": lambda: np.tensordot(x, x),
    "einsum": lambda: np.einsum("ij,kj->ik", x, x),
    "convolve": lambda: np.convolve(y, y),
    "interp": lambda: np.interp(x, [1, 2], [3, 4]),
    "digitize": lambda: np.digitize(x, [1, 2]),
    "bincount": lambda: np.bincount(y),
    "partition": lambda: np.partition(x, 2),
    "isin": lambda: np.isin(x, [1, 2]),
    "union1d": lambda: np.union1d(y, y),
    "intersect1d": lambda: np.intersect1d(y, y, return_indices=True),
    "unique counts": lambda: np.unique(y, return_counts=True, return_inverse=True),
    "unique_all": lambda: np.unique_all(y),
    "apply_along_axis": lambda: np.apply_along_axis(lambda row: row, 0, x),
    "vectorize": lambda: np.vectorize(lambda item: item)(x),
    "meshgrid": lambda: np.meshgrid(y, y),
    "packbits": lambda: np.packbits(y.view("u1")),
    "clip": lambda: np.clip(x, 1, 2),
    "full_like": lambda: np.full_like(x, 3),
    "add.outer": lambda: np.add.outer(y, y),
    "add.reduceat": lambda: np.add.reduceat(y, [0, 3]),
    "add.accumulate": lambda: np.add.accumulate(y),
    "permutation": lambda: np.random.default_rng(0).permutation(x),
    "copy.copy": lambda: copy.copy(x),
    "copy.deepcopy": lambda: copy.deepcopy([x, x]),
    "np.copy subok": lambda: np.copy(x, subok=True),
    "ascontiguousarray": lambda: np.ascontiguousarray(x.T),
    "asfortranarray": lambda: np.asfortranarray(x),
    "out": lambda: np.add(x, 1, out=np.empty((4, 6))),
}


def arrays_in(result: Any) -> list[Any]:
    """Return all arrays that a function gave, one or several."""
    items = result if isinstance(result, (tuple, list)) else [result]
    return [item for item in items if isinstance(item, np.ndarray)]


@pytest.mark.parametrize("name", PLAIN)
def test_copies_and_arithmetic_are_plain_arrays(name: str) -> None:
    result = PLAIN[name]()
    assert {type(item) for item in arrays_in(result)} <= {np.ndarray}
    assert arrays_in(result) or np.isscalar(result)


SCALARS: dict[str, Callable[[Any], Any]] = {
    **{
        name: lambda array, name=name: getattr(array, name)()
        for name in ("sum", "prod", "max", "min", "mean", "std", "var", "any", "all", "trace")
    },
    **{f"np.{name}": getattr(np, name) for name in ("sum", "median", "nanmax", "ptp", "average")},
    "argmax": lambda array: array.argmax(),
    "item": lambda array: array[0, 0],
    "vdot": lambda array: np.vdot(array, array),
    "norm": np.linalg.norm,
    "add.reduce": lambda array: np.add.reduce(array, axis=None),
}


@pytest.mark.parametrize("name", SCALARS)
def test_reductions_and_items_are_scalars(name: str) -> None:
    function = SCALARS[name]
    for array in (x, x[1:], x[::-1, ::2], x.T):
        assert type(function(array)) is type(function(array.ndarray))
        assert function(array) == function(array.ndarray)
        assert np.isscalar(function(array))


VIEWS: dict[str, Callable[[Any], Any]] = {
    "slice": lambda a: a[1:3],
    "strided": lambda a: a[::2, ::-1],
    "row": lambda a: a[1],
    "ellipsis": lambda a: a[...],
    "newaxis": lambda a: a[None],
    "T": lambda a: a.T,
    "reshape": lambda a: a.reshape(2, -1),
    "ravel": lambda a: a.ravel(),
    "view": lambda a: a.view("u1"),
    "swapaxes": lambda a: a.swapaxes(0, 1),
    "squeeze": lambda a: a[:1].squeeze(),
    "diagonal": lambda a: a.diagonal(),
    "np.flip": np.flip,
    "np.transpose": np.transpose,
    "np.split": lambda a: np.split(a, 2),
    "np.atleast_3d": np.atleast_3d,
    "np.expand_dims": lambda a: np.expand_dims(a, 0),
    "np.asanyarray": np.asanyarray,
    "np.moveaxis": lambda a: np.moveaxis(a, 0, 1),
    "item as array": lambda a: a[1, 2, ...],
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_mapped(name: str) -> None:
    for view in arrays_in(VIEWS[name](x)):
        assert type(view) is MappedArray
        assert np.shares_memory(view, x)
        assert view.mapping is x.mapping
        model = VIEWS[name](x.ndarray)
        assert view.shape == (model[0] if isinstance(model, list) else model).shape


PICKED: dict[str, Callable[[], Any]] = {
    "a list": lambda: x[[1, 2]],
    "an array": lambda: y[np.array([1, 2])],
    "a mask": lambda: x[x > 3],
    "two lists": lambda: x[[0, 1], [2, 3]],
    "mixed": lambda: x[1:, [0, 2]],
    "np.ix_": lambda: x[np.ix_([0, 1], [1, 2])],
    "none": lambda: x[[]],
    "flat": lambda: x.flat[2:5],
    "a view of it": lambda: x[[1, 2]][:, 1:].T,
    "ravel that copies": lambda: x.T.ravel(),
    "x.reshape that copies": lambda: x.T.reshape(3, 8),
    "imag of reals": lambda: x.imag,
    "subok": lambda: np.array(x, subok=True),
}


@pytest.mark.parametrize("name", PICKED)
def test_picked_items_are_copies_that_know_they_have_no_file(name: str) -> None:
    picked = PICKED[name]()
    assert isinstance(picked, MappedArray)
    assert not np.shares_memory(picked, x)
    assert (picked.mapping, picked.filename, picked.offset, picked.mode) == (None,) * 4
    assert not picked.closed
    for method in (picked.flush, picked.close, lambda: picked.flush(wait=False)):
        with pytest.raises(mmapio.UnsupportedError, match="copy in memory"):
            method()
    assert type(picked.ndarray) is np.ndarray
    assert type(picked + 1) is np.ndarray
    with pytest.raises(mmapio.UnsupportedError), picked:
        pass


def test_in_place_operators_keep_the_array(a: MappedArray, path: Path) -> None:
    model = MODEL.copy()
    before = a
    with np.errstate(all="ignore"):
        for name in ("iadd", "isub", "imul", "ifloordiv", "imod", "iand", "ior", "ixor", "ilshift"):
            a = getattr(a, f"__{name}__")(3)
            model = getattr(model, f"__{name}__")(3)
            assert a is before
    a[1:, ::2] += 5
    model[1:, ::2] += 5
    row = a[2]
    row *= 2
    model[2] *= 2
    assert type(row) is MappedArray
    assert row.mapping is a.mapping
    assert np.add(a, 1, out=a) is a
    a.sort(axis=1)
    a.partition(2, axis=0)
    a.put([1], [7])
    np.add.at(a, ([0, 0], [1, 1], [2, 2]), 5)
    a[a > 100] = 0
    a[[0, 1], 2] = -1
    expected = model + 1
    expected.sort(axis=1)
    expected.partition(2, axis=0)
    expected.put([1], [7])
    np.add.at(expected, ([0, 0], [1, 1], [2, 2]), 5)
    expected[expected > 100] = 0
    expected[[0, 1], 2] = -1
    np.testing.assert_array_equal(np.load(path), expected)


def test_an_array_of_no_dimensions(tmp_path: Path) -> None:
    a = mmapio.create(tmp_path / "x.npy", (), "<i8")
    same = a
    a += 5
    assert same is a
    assert type(a) is MappedArray
    assert type(a + 1) is np.int64
    assert type(a[()]) is np.int64
    assert type(a[...]) is MappedArray
    assert (int(a), a.sum(), a.tolist()) == (5, 5, 5)
    a[...] = 7
    assert np.load(tmp_path / "x.npy") == 7


def test_numpys_own_resize_cannot_break_the_mapping(a: MappedArray) -> None:
    with pytest.raises(ValueError, match="own"):
        a.resize(3)
    with pytest.raises(ValueError, match="own"):
        a.resize((9, 9, 9), refcheck=False)


def test_slices_outlive_everything(path: Path) -> None:
    part = mmapio.create(path, 10, "i4")[2:][1:][::-1]
    gc.collect()
    part[:] = np.arange(7)
    assert part.mapping.size == 128 + 40
    part.flush()
    assert np.load(path).tolist() == [0, 0, 0, 6, 5, 4, 3, 2, 1, 0]


def test_nothing_is_left_when_the_last_array_is_gone(path: Path) -> None:
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("needs /proc to see what is mapped")

    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count(str(path))

    mmapio.create(path, 10_000)
    a = mmapio.open(path, "r+")
    part, plain, mapping = a[5:], a[:3].ndarray, a.mapping
    assert mapped() == 1
    del a, part, mapping
    assert mapped() == 1
    plain[0] = 1
    del plain
    assert mapped() == 0


# Closing ------------------------------------------------------------------------------------------

HOLDERS: dict[str, Callable[[MappedArray], Any]] = {
    "a slice": lambda a: a[1:],
    "the transpose": lambda a: a.T,
    "a view": lambda a: a.view("u1"),
    "a slice of a slice": lambda a: a[1:][1:],
    "another name of all": lambda a: a[...],
    "ndarray": lambda a: a.ndarray,
    "ndarray of a slice": lambda a: a[1:].ndarray,
    "a chunk": lambda a: next(a.chunks(2)),
    "chunks": lambda a: a.chunks(2),
    "a plain slice": lambda a: np.asarray(a[2:]),
    "a recarray of a slice": lambda a: a[1:].view(np.recarray),
    "a masked slice": lambda a: np.ma.masked_array(a[1:]),
    "memoryview of a slice": lambda a: memoryview(a[1:]),
    "a view of the mapping": lambda a: a.mapping.view(),
    "memoryview of the mapping": lambda a: memoryview(a.mapping),
    "an iterator": lambda a: iter(a[1:]),
    "a generator": lambda a: (row for row in a[1:]),
}


@pytest.mark.parametrize("name", HOLDERS)
@pytest.mark.parametrize("closer", ["array", "mapping"])
def test_closing_under_a_live_view_is_refused(path: Path, name: str, closer: str) -> None:
    a = mmapio.create(path, (4, 5, 6), "<i4")
    a[...] = MODEL
    held = HOLDERS[name](a)
    target = a if closer == "array" else a.mapping
    with pytest.raises(mmapio.InUseError, match=r"x\.npy.*alive.*force=True") as caught:
        target.close()
    assert isinstance(caught.value, BufferError)
    assert not a.closed
    np.testing.assert_array_equal(a, MODEL)  # nothing happened
    a.flush()
    del held, caught
    gc.collect()
    if closer == "mapping":
        with pytest.raises(mmapio.InUseError):  # by the array itself
            target.close()
        del a
        target.close()
        assert target.closed
    else:
        a.close()
        assert a.closed


@pytest.mark.parametrize("name", HOLDERS)
def test_closed_by_force_all_that_is_left_reads_zeros(path: Path, name: str) -> None:
    a = mmapio.create(path, (4, 5, 6), "<i4")
    a[...] = MODEL + 1
    held = HOLDERS[name](a)
    a.close(force=True)
    assert a.closed
    assert not np.any(a)
    if isinstance(held, (np.ndarray, memoryview)):
        assert not np.asarray(held).any()
    else:
        assert not any(np.any(piece) for piece in held)
    a[...] = 5  # lands nowhere
    np.testing.assert_array_equal(np.load(path), MODEL + 1)


def test_a_closed_array_alone_reads_zeros_and_gives_its_memory_back(path: Path) -> None:
    a = mmapio.create(path, 1000, "i4")
    a[:] = 1
    a.close()
    assert (a.closed, a.sum(), a[5:].sum(), a.shape) == (True, 0, 0, (1000,))
    a[:] = 9
    assert np.load(path).sum() == 1000
    part = a[10:20]
    assert part.closed
    assert part.sum() == 90


def test_after_closing_the_methods_raise(path: Path) -> None:
    a = mmapio.create(path, 1000, "i4")
    part, mapping = a[10:], a.mapping
    a.close(force=True)
    for method in (
        a.flush,
        part.flush,
        lambda: a.flush(wait=False),
        mapping.view,
        mapping.read,
        mapping.flush,
        lambda: a.mapping.view(),
        lambda: len(mapping),
        lambda: a.__enter__(),
    ):
        with pytest.raises(mmapio.ClosedError, match="closed") as caught:
            method()
        assert isinstance(caught.value, ValueError)
    for again in (a.close, part.close, mapping.close, lambda: a.close(force=True)):
        again()  # a second time does nothing
    assert mapping.closed


def test_asarray_and_memoryview_of_the_array_itself_do_not_count(path: Path) -> None:
    a = mmapio.create(path, 1000, "i4")
    a[:] = 3
    plain, view = np.asarray(a), memoryview(a)
    a.close()
    assert (plain.sum(), view[5]) == (0, 0)
    del a
    gc.collect()
    assert (plain.sum(), view[5]) == (0, 0)  # and they keep the memory


def test_a_with_block_closes(path: Path) -> None:
    with mmapio.create(path, 10, "i4") as a:
        a[:] = 4
    assert a.closed
    with pytest.raises(mmapio.ClosedError), a:
        pass
    with mmapio.open(path) as b:
        total = b.sum()
    assert total == 40
    assert b.closed


def test_a_with_block_leaves_live_views_their_memory_and_hides_no_error(path: Path) -> None:
    with mmapio.create(path, 10, "i4") as a:
        a[:] = 3
        part, chunk = a[1:], next(a.chunks(2))
    assert (a.closed, part.closed) == (True, True)
    with pytest.raises(mmapio.ClosedError):
        part.flush()
    assert (a.sum(), part.sum(), chunk.sum()) == (30, 27, 6)
    part[:] = 4
    assert np.load(path).tolist() == [3] + [4] * 9
    b = mmapio.open(path)
    with pytest.raises(ZeroDivisionError), b:
        kept = b[1:] + 1 / 0
    assert b.closed
    assert "kept" not in locals()


def test_an_error_that_is_kept_does_not_keep_the_array_in_use(path: Path) -> None:
    a = mmapio.create(path, 10, "i4")
    part = a[1:]
    with pytest.raises(mmapio.InUseError) as first:
        a.close()
    with pytest.raises(mmapio.InUseError) as second:
        a.mapping.close()
    del part
    a.close()  # as at a prompt, where the last traceback lives on
    assert a.closed
    assert first.value.__traceback__
    assert second.value.__traceback__


def test_many_closes_by_force_under_readers(run_python: Callable[..., str]) -> None:
    code = """
import threading, numpy as np, mmapio
stop = False
box = [mmapio.anonymous(1 << 16, "u1")]
seen = set()
def read():
    while not stop:
        part = box[0][100:60_000]
        seen.add(int(part.max()))
        part.flush if part.closed else None
threads = [threading.Thread(target=read) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(300):
    a = mmapio.anonymous(1 << 16, "u1")
    a[:] = 7
    old, box[0] = box[0], a
    old.close(force=True)
stop = True
for thread in threads:
    thread.join()
print(sorted(seen | {0, 7}))
"""
    assert run_python(code) == "[0, 7]\n"


def test_open_arrays_at_exit_are_silent(run_python: Callable[..., str], path: Path) -> None:
    code = """
import sys, mmapio
a = mmapio.create(sys.argv[1], 1000)
a[:] = 1
part, plain, view = a[5:], a.ndarray, memoryview(a)
closed = mmapio.anonymous(5)
rest = closed[1:]
closed.close(force=True)
mmapio.kept = [a, part, plain, view, rest, a.chunks(10), a.mapping, a.mapping.reader()]
sys.modules["kept"] = mmapio.kept
print("end")
"""
    assert run_python(code, str(path)) == "end\n"
    assert np.load(path).sum() == 1000


def test_arrays_keep_no_descriptors(tmp_path: Path, run_python: Callable[..., str]) -> None:
    code = """
import resource, sys, mmapio
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
mmapio.create(sys.argv[1], 10)[:] = 1
arrays = [mmapio.open(sys.argv[1], mode) for mode in ("r", "r+", "c") for _ in range(500)]
parts = [a[1:] for a in arrays]
for part in parts:
    part.flush()
print(sum(a.sum() for a in arrays))
"""
    pytest.importorskip("resource")
    assert run_python(code, str(tmp_path / "x.npy")) == "15000.0\n"


def test_the_module_keeps_out_of_the_way_of_numpy() -> None:
    assert "__getitem__" not in vars(MappedArray)
    assert "__array_finalize__" not in vars(MappedArray)
    assert sys.getsizeof(x[1:]) <= sys.getsizeof(x.ndarray[1:]) + 16
    assert not hasattr(x[1:], "__dict__")


def test_touch_pages_of_a_slice_and_of_what_has_none(tmp_path: Path) -> None:
    a = mmapio.create(tmp_path / "a.npy", (4, 4096), "u1")
    before = bytes(a)
    assert a[1:2].touch_pages(write=True) in (1, 2)
    assert bytes(a) == before
    assert a[:0].touch_pages() == 0
    with pytest.raises(mmapio.UnsupportedError, match="copy"):
        a[[0, 1]].touch_pages()
    with pytest.raises(mmapio.ReadOnlyError):
        mmapio.open(tmp_path / "a.npy").touch_pages(write=True)
    with a:
        pass
    with pytest.raises(mmapio.ClosedError):
        a.touch_pages()


# Where numpy looks at the exact type --------------------------------------------------------------


@pytest.mark.parametrize("kind", [mmapio.MappedArray, mmapio.memmap])
@pytest.mark.parametrize("function", [np.nanmin, np.nanmax])
def test_extremes_without_nan_are_those_of_numpy(
    tmp_path: Path, kind: Any, function: Callable[..., Any]
) -> None:
    dates = np.array(["NaT", "2020-01-01", "2021-01-01"], "M8[D]")
    mmapio.save(tmp_path / "t.npy", dates)
    a = mmapio.open(tmp_path / "t.npy").view(kind)
    assert function(a) == function(a=a) == function(dates)
    large = mmapio.create(tmp_path / "u.npy", 500_000).view(kind)
    large[7] = np.nan
    tracemalloc.start()
    assert function(large) == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < large.nbytes / 4  # no copy, and no mask
    out = mmapio.anonymous(())
    assert function(large, out=out) is out
    with pytest.warns(RuntimeWarning, match="All-NaN"):
        assert np.isnan(function(large[7:8]))


@pytest.mark.parametrize("kind", [mmapio.MappedArray, mmapio.memmap])
@pytest.mark.parametrize("fields", [["a", "c"], ["c", "a"], ["b"], ["a", "b", "c"]])
def test_fields_as_columns_are_a_view(tmp_path: Path, kind: Any, fields: list[str]) -> None:
    dtype = [("a", "f4"), ("b", "f4"), ("c", "f4")]
    a = mmapio.create(tmp_path / "v.npy", 3, dtype).view(kind)
    for columns in (
        structured_to_unstructured(a[fields]),
        structured_to_unstructured(arr=a[fields]),
    ):
        assert type(columns) is kind
        assert columns.filename == str(tmp_path / "v.npy")
        columns[:] += 7
    for name in "abc":
        assert (a[name] == (14 if name in fields else 0)).all()
    copy = structured_to_unstructured(a[fields], copy=True)
    assert type(copy) is np.ndarray
    assert type(structured_to_unstructured(a[fields], dtype="f8")) is np.ndarray
