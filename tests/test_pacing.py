"""Pieces of a range: they cover it, end where huge pages do, and shrink where time is long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mmapio import _pacing
from mmapio._pacing import PIECE_BYTES, paced

MIB = 1 << 20
START, STOP = 4096 * 3, 4096 * 3 + 1000 * MIB + 5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list whose only item is the time."""
    now = [0.0]
    monkeypatch.setattr(_pacing.time, "monotonic", lambda: now[0])
    return now


def pieces(clock: list[float], seconds_a_mib: float) -> Iterator[tuple[int, int]]:
    for low, high in paced(START, STOP):
        yield low, high
        clock[0] += (high - low) / MIB * seconds_a_mib


@pytest.mark.parametrize("seconds_a_mib", [0, 1e-3, 1e-2, 10])
def test_pieces_cover_the_range_and_end_at_huge_pages(
    clock: list[float], seconds_a_mib: float
) -> None:
    found = list(pieces(clock, seconds_a_mib))
    assert (found[0][0], found[-1][1]) == (START, STOP)
    assert [high for _, high in found[:-1]] == [low for low, _ in found[1:]]
    assert all(high % (2 * MIB) == 0 for _, high in found[:-1])
    assert max(high - low for low, high in found) <= PIECE_BYTES


@pytest.mark.parametrize(("seconds_a_mib", "most"), [(0, 64), (1e-3, 32), (5e-3, 8), (1, 2)])
def test_pieces_are_as_long_as_time_lets_them_be(
    clock: list[float], seconds_a_mib: float, most: int
) -> None:
    sizes = [(high - low) // MIB for low, high in list(pieces(clock, seconds_a_mib))[4:-1]]
    assert max(sizes) == most


def test_a_small_range_is_one_piece() -> None:
    assert list(paced(5, 5)) == []
    assert list(paced(5, 7)) == [(5, 7)]
    assert list(paced(4096, 4096 + 8 * MIB)) == [(4096, 4096 + 8 * MIB)]
