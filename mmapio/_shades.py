"""Shares from 0 to 1 as a row of characters."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

__all__ = ["resampled", "shades"]

_SHADES: Final = "·░▒▓█"
_ASCII_SHADES: Final = ".-+*#"
_ROUNDING: Final = 1e-9


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
