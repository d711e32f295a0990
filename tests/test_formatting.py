from __future__ import annotations

import math

import numpy as np
import pytest

from mmapio._formatting import bin_labels, dtype_text, duration, nbytes, number, printable, size


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (-3, "-3"),
        (0.5, "0.5"),
        (-0.000307627123, "-0.000307627"),
        (1700000004.5, "1,700,000,004.5"),
        (1e300, "1e+300"),
        (math.nan, "-"),
        (-math.inf, "-inf"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1,023 bytes"), (1024, "1.00 KiB"), (2**64, "16.00 EiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_sizes_are_exact_too() -> None:
    assert nbytes(1536) == "1,536 bytes (1.50 KiB)"
    assert nbytes(12) == "12 bytes"


@pytest.mark.parametrize(
    ("seconds", "text"), [(83.21, "83.2 s"), (1, "1 s"), (0.25, "250 ms"), (7e-6, "7 us")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a b.npy", "a b.npy"), ("ä", "ä"), ("\x1b[2J", r"\x1b[2J"), ("\udcff", r"\udcff")],
)
def test_only_what_is_harmless_is_printed(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_structured_dtypes_are_counted() -> None:
    assert dtype_text(np.dtype("f8")) == "float64"
    assert dtype_text(np.dtype("f8, i4")) == "2 fields, 12 bytes an item"


@pytest.mark.parametrize(
    ("edges", "integers", "labels"),
    [
        ([0, 1, 2], True, ["0", "1"]),
        ([0, 64, 128], True, ["0 to  63", "64 to 127"]),
        ([-1, -0.5, 0], False, ["-1 to -0.5", "-0.5 to    0"]),
        ([0, 2.0**30], True, ["0 to 1.07e+09"]),
        ([1e9, 1e9 + 1], True, ["1000000000 to 1000000001"]),
        ([1.5, 1.5], False, ["1.5"]),
        ([0.0], False, []),
    ],
)
def test_bins_have_their_range_for_a_label(
    edges: list[float], integers: bool, labels: list[str]
) -> None:
    assert bin_labels(edges, integers) == labels
