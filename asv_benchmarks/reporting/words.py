"""Numbers, times and lines of tables, as the page has them."""

from __future__ import annotations

__all__ = ["amount", "duration", "line_of", "size_told"]


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for limit, scale, unit in ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1.0, 1e3, "ms")):
        if seconds < limit:
            return f"{amount(seconds * scale)} {unit}"
    return f"{amount(seconds)} s"


def amount(value: float | None) -> str:
    """Return a number with three digits, or as many as its whole part has."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def line_of(cells: list[str]) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"


def size_told(size: str) -> str:
    """Return the name of a size of the table of kernels."""
    return "100,000 items" if size == "100k" else size.replace("MiB", " MiB")
