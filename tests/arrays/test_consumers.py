"""Consumers of arrays take mapped ones: numpy's own files, pandas, scikit-learn, buffers, numba."""

from __future__ import annotations

import ctypes
import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmapio
from mmapio import MappedArray

MODEL = np.random.default_rng(0).standard_normal((60, 4))


@pytest.fixture
def a(tmp_path: Path) -> Iterator[MappedArray]:
    """Return a writable mapped array that holds `MODEL`."""
    created = mmapio.create(tmp_path / "x.npy", MODEL.shape)
    created[...] = MODEL
    yield created
    created.close(force=True)


@pytest.fixture
def readonly(a: MappedArray) -> MappedArray:
    """Return the same file, mapped read-only."""
    return mmapio.open(a.filename)


def views(a: MappedArray) -> list[MappedArray]:
    return [a, a[3:], a[::-1, ::2], a.T, a[:0]]


# numpy -------------------------------------------------------------------------------------------


def test_numpy_saves_and_loads_them(tmp_path: Path, a: MappedArray) -> None:
    for view in views(a):
        for name in ("a.npy", "b.npz", "c.npz"):
            target = tmp_path / name
            if name == "a.npy":
                np.save(target, view)
                found = np.load(target)
            else:
                (np.savez if name == "b.npz" else np.savez_compressed)(target, key=view)
                with np.load(target) as archive:
                    found = archive["key"]
            assert type(found) is np.ndarray
            np.testing.assert_array_equal(found, view)
        ours, theirs = io.BytesIO(), io.BytesIO()
        np.save(ours, view)
        np.save(theirs, view.ndarray)
        assert ours.getvalue() == theirs.getvalue()
    a[:3].tofile(tmp_path / "raw")
    assert np.fromfile(tmp_path / "raw").tolist() == MODEL[:3].reshape(-1).tolist()
    np.savetxt(tmp_path / "text", a)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "text"), MODEL)


def test_they_take_part_in_numpys_machinery(a: MappedArray) -> None:
    assert np.shares_memory(np.asarray(a), a)
    assert type(np.asarray(a)) is np.ndarray
    assert np.array_equal(a, MODEL)
    assert sum(1 for _ in np.nditer(a)) == MODEL.size
    assert (np.broadcast_to(a, (2, *a.shape)) == MODEL).all()
    masked = np.ma.masked_array(a, a > 0)
    assert masked.sum() == MODEL[MODEL <= 0].sum()
    assert str(a) == str(MODEL)
    assert f"{a[0, 0]:.3f}" == f"{MODEL[0, 0]:.3f}"
    assert a.tolist() == MODEL.tolist()
    rng = np.random.default_rng(0)
    rng.shuffle(a)
    assert sorted(a[:, 0]) == sorted(MODEL[:, 0])
    rng.random(out=a[0])
    np.copyto(a, MODEL)
    np.sin(MODEL, out=a)
    np.testing.assert_array_equal(a, np.sin(MODEL))
    np.matmul(MODEL[:4], MODEL[:4].T, out=a[:4, :4])
    np.testing.assert_array_equal(a[:4, :4], MODEL[:4] @ MODEL[:4].T)


def test_records_have_fields(tmp_path: Path) -> None:
    a = mmapio.create(tmp_path / "x.npy", 5, [("name", "S5"), ("at", "<f4", (2,))])
    a[1] = (b"one", (1, 2))
    a["at"][2:] = 7
    assert a[1]["name"] == b"one"
    assert np.sort(a, order="name")["name"].tolist() == sorted(a["name"].tolist())
    records = a.view(np.recarray)
    records.name[0] = b"zero"
    assert a["name"][0] == b"zero"
    assert np.load(tmp_path / "x.npy")["at"][4].tolist() == [7, 7]


# Protocols ----------------------------------------------------------------------------------------


def test_the_buffer_protocol(a: MappedArray, readonly: MappedArray) -> None:
    for view in views(a):
        buffer = memoryview(view)
        assert (buffer.shape, buffer.strides, buffer.format) == (view.shape, view.strides, "d")
        assert not buffer.readonly
        assert buffer.tolist() == view.tolist()
    assert memoryview(readonly).readonly
    assert hashlib.sha256(a).digest() == hashlib.sha256(MODEL).digest()
    assert zlib.crc32(readonly) == zlib.crc32(MODEL)
    assert bytes(a[:2]) == MODEL[:2].tobytes()
    assert struct.unpack_from("4d", a, 32) == tuple(MODEL[1])
    struct.pack_into("d", a, 8, 42.0)
    assert a[0, 1] == 42
    items = (ctypes.c_double * 4).from_buffer(a)
    items[2] = 43.0
    assert a[0, 2] == 43
    assert np.frombuffer(a).shape == (240,)


def test_files_read_into_them_and_write_from_them(tmp_path: Path, a: MappedArray) -> None:
    (tmp_path / "bytes").write_bytes(MODEL[::-1].tobytes())
    with (tmp_path / "bytes").open("r+b", buffering=0) as file:
        assert file.readinto(a) == a.nbytes
        np.testing.assert_array_equal(a, MODEL[::-1])
        file.seek(0)
        file.write(a[1:])
    assert (tmp_path / "bytes").read_bytes()[: a[1:].nbytes] == a[1:].tobytes()


class _Foreign:
    """An array of another library, which shows its memory by a protocol."""

    def __init__(self, **protocols: Any) -> None:
        vars(self).update(protocols)


def test_the_array_interface(a: MappedArray, readonly: MappedArray) -> None:
    for view in (*views(a), readonly, readonly[5:]):
        interface = view.__array_interface__
        assert interface["data"][1] is not view.flags.writeable
        again = np.asarray(_Foreign(__array_interface__=interface))
        assert np.array_equal(again, view)
        assert again.flags.writeable == view.flags.writeable
        structure = np.asarray(_Foreign(__array_struct__=view.__array_struct__))
        assert structure.shape == view.shape


def test_dlpack(a: MappedArray, readonly: MappedArray) -> None:
    for view in views(a):
        again = np.from_dlpack(view)
        assert type(again) is np.ndarray
        assert np.array_equal(again, view)
        assert np.shares_memory(again, view) == bool(view.size)
    again = np.from_dlpack(a[5:])
    with pytest.raises(mmapio.InUseError):
        a.close()
    a[5, 0] = 99
    assert again[0, 0] == 99
    del again
    if np.lib.NumpyVersion(np.__version__) >= "2.1.0":  # before, only what is writable
        assert not np.from_dlpack(readonly).flags.writeable
    assert a.__dlpack_device__() == (1, 0)


def test_what_torch_does_with_an_array(a: MappedArray) -> None:
    # torch.from_numpy takes the address, the shape and the strides, and holds a reference.
    def from_numpy(array: Any) -> tuple[int, tuple[int, ...], tuple[int, ...], Any]:
        assert isinstance(array, np.ndarray)
        assert array.flags.writeable
        assert array.dtype.isnative
        assert all(stride >= 0 for stride in array.strides)
        return array.ctypes.data, array.shape, array.ctypes.strides_as(ctypes.c_ssize_t)[:], array

    address, shape, strides, _ = from_numpy(a[2:])
    item = ctypes.c_double.from_address(address + strides[0] * 3 + strides[1])
    assert (item.value, shape) == (MODEL[5, 1], (58, 4))
    item.value = 7
    assert a[5, 1] == 7


# Libraries ----------------------------------------------------------------------------------------


def test_pandas(tmp_path: Path, a: MappedArray, readonly: MappedArray) -> None:
    pandas = pytest.importorskip("pandas")
    expected = pandas.DataFrame(MODEL, columns=list("abcd"))
    for source in (a, readonly):
        frame = pandas.DataFrame(source, columns=list("abcd"))
        pandas.testing.assert_frame_equal(frame, expected)
        assert frame.groupby(frame["a"] > 0)["b"].sum().sum() == pytest.approx(MODEL[:, 1].sum())
        pandas.testing.assert_frame_equal(frame * 2, expected * 2)
        series = pandas.Series(source[:, 2])
        assert series.rolling(3).mean().iloc[-1] == pytest.approx(MODEL[-3:, 2].mean())
        assert series.sort_values().to_list() == sorted(MODEL[:, 2])
    records = mmapio.create(tmp_path / "r.npy", 3, [("x", "<i4"), ("y", "<f8")])
    records["x"] = [1, 2, 3]
    assert pandas.DataFrame(records)["x"].to_list() == [1, 2, 3]
    (tmp_path / "t.csv").write_text("x,y\n1,2\n3,4\n")
    with mmapio.MappedFile.open(tmp_path / "t.csv") as m:
        assert pandas.read_csv(m.reader())["y"].to_list() == [2, 4]


def test_scikit_learn(a: MappedArray, readonly: MappedArray) -> None:
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LinearRegression
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils import check_array

    target = MODEL @ [1.0, 2.0, 3.0, 4.0]
    for source in (a, readonly):
        model = LinearRegression().fit(source, target)
        np.testing.assert_allclose(model.coef_, [1, 2, 3, 4])
        np.testing.assert_allclose(model.predict(source[:5]), target[:5])
        scaled = StandardScaler().fit_transform(source)
        assert type(scaled) is np.ndarray
        np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
        assert np.shares_memory(check_array(source), source)  # not copied


def test_scipy(a: MappedArray) -> None:
    pytest.importorskip("scipy")
    from scipy import sparse, stats

    assert stats.describe(a).nobs == 60
    np.testing.assert_array_equal(sparse.csr_array(a).toarray(), MODEL)


def test_joblib_hashes_and_dumps_them(tmp_path: Path, a: MappedArray) -> None:
    joblib = pytest.importorskip("joblib")
    assert joblib.hash(a) == joblib.hash(a[:])
    joblib.dump({"a": a, "b": a[::-1]}, tmp_path / "dumped")
    loaded = joblib.load(tmp_path / "dumped")
    np.testing.assert_array_equal(loaded["a"], MODEL)
    np.testing.assert_array_equal(loaded["b"], MODEL[::-1])


def test_numba_kernels_of_the_user(a: MappedArray, readonly: MappedArray) -> None:
    numba = pytest.importorskip("numba")

    @numba.njit
    def total(array: Any) -> float:
        result = 0.0
        for row in array:
            result += row[0]
        return result

    for view in (a, readonly, a.ndarray):
        assert total(view) == pytest.approx(MODEL[:, 0].sum())
    assert total(a[10:]) == pytest.approx(MODEL[10:, 0].sum())


def test_the_bytes_of_the_mapping_are_a_buffer_too(a: MappedArray) -> None:
    data = memoryview(a.mapping)
    assert data[:6] == b"\x93NUMPY"
    assert len(data) == 128 + MODEL.nbytes
    loaded = np.load(io.BufferedReader(a.mapping.reader()))
    np.testing.assert_array_equal(loaded, MODEL)
