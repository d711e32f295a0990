"""Tests of copies of every second item."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from mmapio import kernels
from mmapio.kernels.engine import pieces
from mmapio.kernels.engine.pairs import are_pairs, copy_firsts, copy_lines
from mmapio.kernels.engine.pieces import Pieces


@pytest.mark.parametrize("kind", ["u1", "i2", "f4", "f8"])
def test_every_second_item_is_copied(kind: str) -> None:
    for count in (1, 2, 3, 8, 16, 17, 64, 65, 66, 129, 1000):
        row = np.arange(2 * count).astype(kind)
        for start in (0, 1):
            out = np.zeros(count + 1, kind)
            copy_firsts(row[start::2], out)
            assert out[:-1].tobytes() == row[start::2].tobytes()
            assert out[-1] == 0


def test_nothing_is_read_behind_the_last_item() -> None:
    """The item that a vector would read with the last one may lie in a page that is not there."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    row = np.frombuffer(memory, "u8")[: page // 8 - 1 : 2]
    for count in (9, 16, 17, row.size):
        some, out = row[row.size - count :], np.ones(count, "u8")
        assert copy_lines(some, out) <= count - 1
        copy_firsts(some, out)
        assert not out.any()


def test_a_copy_ends_where_its_room_does() -> None:
    out = np.zeros(40, "u8")
    copy_firsts(np.ones(400, "u8")[::2], out[:20])
    assert out.tolist() == [1] * 20 + [0] * 20


def test_pairs_are_found() -> None:
    a = np.arange(10)
    no = [a, a[::3], a[::-2], a[:1], a[::2].astype(">i8")[::2], a.reshape(5, 2)[:, :1]]
    assert not any(are_pairs(each, a.dtype) for each in no)
    assert not are_pairs(np.zeros(81, "u1")[1:].view("f8")[::2], np.dtype("f8"))
    assert are_pairs(a.reshape(5, 2)[:, 1], a.dtype)


@pytest.mark.parametrize("kind", ["u1", "i4", "f8"])
def test_pieces_are_what_numpy_has(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(pieces, "_COPIED_PAIRS_BYTES", 512)
    for count in (2, 64, 65, 129, 1537):
        a = np.arange(2 * count).astype(kind)[1::2]
        cut = Pieces(a)
        buffer = cut.buffer()
        found = [cut.take(number, buffer).copy() for number in range(len(cut))]
        assert np.concatenate(found).tobytes() == a.tobytes()
        assert kernels.argmax(a) == a.argmax()
        assert kernels.sum(a) == a.sum(dtype="f8" if kind == "f8" else "i8")
        assert kernels.find(a, a[-1]) == np.flatnonzero(a == a[-1])[0]
