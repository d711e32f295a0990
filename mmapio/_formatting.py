"""Numbers, sizes, times, names and shares as text for people."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

__all__ = [
    "bin_labels",
    "dtype_text",
    "duration",
    "nbytes",
    "number",
    "printable",
    "resampled",
    "shades",
    "size",
    "throughput",
]

_LARGE = 10_000_000  # integers from here on are too long to stand on both sides of a bar
_TELLING: Final = 1 << 20  # bytes below which a throughput tells nothing
_SHADES: Final = "·░▒▓█"
_ASCII_SHADES: Final = ".-+*#"
_ROUNDING: Final = 1e-9


def printable(text: str) -> str:
    """Escape what could do something to a terminal, and bytes that are no text."""
    return text if text.isprintable() else ascii(text)[1:-1]


def dtype_text(dtype: np.dtype[Any]) -> str:
    """Return a dtype in a few words."""
    if dtype.names is None:
        return str(dtype)
    return f"{len(dtype.names)} fields, {dtype.itemsize:,} bytes an item"


def number(value: float) -> str:
    """Return a number with the digits that matter; a dash where there is none."""
    if isinstance(value, int):
        return f"{value:,}"
    if math.isnan(value):
        return "-"
    return f"{value:,.1f}" if 1e6 <= abs(value) < 1e15 else f"{value:.6g}"


def date_text(value: object) -> str:
    """Return a date or a period; a dash for NaT, and nothing for what is neither."""
    text = str(value) if type(value).__name__ in ("datetime64", "timedelta64") else ""
    return "-" if text == "NaT" else text


def size(count: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    value, units = float(count), iter(("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
    unit = ""
    while value >= 1024:
        value, unit = value / 1024, next(units)
    return f"{value:.2f} {unit}" if unit else f"{count:,} bytes"


def nbytes(count: int) -> str:
    """Return a number of bytes, exactly and in a unit."""
    return size(count) if count < 1024 else f"{count:,} bytes ({size(count)})"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def throughput(count: int, seconds: float) -> str:
    """Return the throughput; empty if the bytes are too few to tell."""
    return f"{count / seconds / 2**30:.2f} GiB/s" if count >= _TELLING else ""


def bin_labels(edges: list[float], integers: bool) -> list[str]:
    """Return the range of each bin; of integers, the first and the last that it holds."""
    lows, highs = edges[:-1], edges[1:]
    if integers and all(abs(edge) < _LARGE for edge in edges):
        lows, highs = [int(low) for low in lows], [int(high) - 1 for high in highs]
        texts = [f"{value:,}" for value in (*lows, *highs)]
    else:
        texts = _distinct(edges)
        texts = texts[:-1] + texts[1:]
    width = max(map(len, texts), default=0)
    return [
        low if low == high else f"{low} to {high:>{width}}"
        for low, high in zip(texts[: len(lows)], texts[len(lows) :], strict=True)
    ]


def _distinct(values: list[float]) -> list[str]:
    """Return numbers in as few digits as keep them apart."""
    for digits in range(3, 18):
        texts = [f"{value:.{digits}g}" for value in values]
        if len(set(texts)) == len(texts):
            break
    return texts


def resampled(shares: np.ndarray[Any, np.dtype[np.float32]], width: int) -> list[float]:
    """Return the mean of each of `width` even parts of a row of shares; of none, zeros."""
    if not shares.size:
        return [0.0] * width
    sums = np.concatenate(([0.0], np.cumsum(shares, dtype=np.float64)))
    at = np.interp(np.linspace(0, shares.size, width + 1), np.arange(shares.size + 1), sums)
    found: list[float] = (np.diff(at) * width / shares.size).tolist()
    return found


def shades(shares: list[float], *, ascii_only: bool) -> str:
    """Return a character for each share: the first is for nothing only, the last for all."""
    drawn = _ASCII_SHADES if ascii_only else _SHADES
    return "".join(_shade(share, drawn) for share in shares)


def _shade(share: float, drawn: str) -> str:
    if share < _ROUNDING:
        return drawn[0]
    if share > 1 - _ROUNDING:
        return drawn[-1]
    return drawn[1 + int(share * (len(drawn) - 2))]
