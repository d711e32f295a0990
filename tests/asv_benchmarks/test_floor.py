"""The floors that kernels are held to do the work that they are said to do."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks import floor


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 5000])
def test_both_ways_to_read_take_every_word_once(size: int) -> None:
    words = np.random.default_rng(size).integers(0, 1 << 60, size, "u8")
    total = int(words.sum())
    assert floor._add_words(words) == floor._add_words_ahead(words) == total


def test_threads_share_all_words_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[int] = []
    monkeypatch.setattr(floor, "CPUS", 3)
    floor._in_threads(lambda part: parts.append(part.size), np.zeros((7, 8), "u1"))
    assert sorted(parts) == [1, 3, 3]
