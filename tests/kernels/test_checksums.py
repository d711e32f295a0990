"""`checksum` against zlib."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmapio import kernels
from mmapio.errors import ArgumentTypeError
from mmapio.kernels import _crc32
from mmapio.kernels.engine import pieces
from mmapio.kernels.engine.jit import KERNELS

SIZES = [1, 15, 63, 64, 65, 1023, 1024, 1025, 1087, 1088, 1089, 4096, 100_003]


def check(a: NDArray[Any], **options: Any) -> None:
    assert kernels.checksum(a, **options) == zlib.crc32(a.tobytes())


def random_bytes(size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, size).astype("u1")


@pytest.mark.parametrize("size", [0, *SIZES])
def test_any_size_and_alignment(size: int) -> None:
    a = random_bytes(size + 17)
    for offset in range(17):
        check(a[offset : offset + size])


@settings(max_examples=300)
@given(st.binary(max_size=5000), st.integers(1, 2000), st.integers(1, 4))
def test_any_bytes_in_pieces_of_any_size(data: bytes, items: int, threads: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_DIRECT_BYTES", items)
        patch.setattr(pieces, "_COPIED_ITEMS", items)
        a = np.frombuffer(data, "u1")
        check(a, threads=threads)
        check(a[::-1], threads=threads)


@pytest.mark.parametrize(
    "dtype", ["u1", ">i2", "f4", ">f8", "c16", "g", "S5", "U3", "M8[s]", "f8,i4", "V7"]
)
def test_any_dtype_and_layout(dtype: str) -> None:
    item = np.dtype(dtype).itemsize
    a = random_bytes(40 * 70 * item).view(f"V{item}").view(dtype).reshape(40, 70)
    for array in (a, a.T, a[::2, ::-3], a[:0], a[3, 3], np.asfortranarray(a)):
        check(np.asarray(array))


def test_long_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    a = random_bytes((9 << 20) + 5)
    for threads in (1, 2, 3, 4):
        check(a, threads=threads)
    monkeypatch.setattr(_crc32, "can_fold", lambda: False)
    check(a)


def test_without_the_instruction(run_python: Callable[..., str]) -> None:
    """Code for a processor that numba knows nothing of must not use it: LLVM would abort."""
    code = """if True:
        import zlib
        import numpy as np
        from mmapio import kernels
        from mmapio.kernels import _crc32
        a = np.arange(10_000)
        print(_crc32.can_fold(), kernels.checksum(a) == zlib.crc32(a))
    """
    assert run_python(code, NUMBA_CPU_NAME="generic") == "False True\n"


def test_the_instruction_is_used_where_there_is_one() -> None:
    if not _crc32.can_fold():
        pytest.skip("this processor does not multiply without carries, as x86 does")
    check(random_bytes(1 << 16))
    (kernel,) = (k.dispatcher for k in KERNELS if k.dispatcher.__name__ == "_fold_blocks")
    assert kernel.signatures


def test_objects_have_no_bytes() -> None:
    with pytest.raises(ArgumentTypeError, match="objects have no bytes"):
        kernels.checksum(np.array([None]))
