"""Lines of the table of kernels, for a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.kernel_table.measuring import OURS, Measurement

from .words import duration

WIDTHS = (16, 11, 3, 7)


def head(missing: Sequence[str]) -> Iterator[str]:
    """Yield what comes before the lines."""
    if missing:
        yield f"not installed, and left out: {', '.join(missing)}"
    yield "the best peer's time by ours, above 1 mmapio is faster; in brackets by the lowest fifth"


def show(found: Iterable[Measurement], below: bool = False) -> None:
    """Print a line for each, or for those below 1."""
    for one in found:
        if not below or marks(one).strip():
            tell(line(one))


def line(one: Measurement) -> str:
    """Return the line of a case."""
    names = " ".join(f"{name:{width}}" for name, width in zip(one.case, WIDTHS, strict=True))
    if one.ours is None:
        return f"{names} {one.left_out[OURS]}"
    parts = [f"{names} {duration(one.ours.wall_s):>8}"]
    parts += [_against(one, which) for which in ("wall", "cpu")]
    if one.before is not None:
        by_wall, by_cpu = (one.ratio(f"{which}_s", one.before) for which in ("wall", "cpu"))
        gained = [one.before.wall_s / one.ours.wall_s, one.before.cpu_s / one.ours.cpu_s]
        was = [f"{value:.2f}" for value in (by_wall, by_cpu) if value is not None]
        parts.append(f"before {'/'.join(was)}, now {gained[0]:.2f}/{gained[1]:.2f} x as fast")
    return "  ".join([parts[0], marks(one), *parts[1:]])


def marks(one: Measurement) -> str:
    """Return what shows that a case is below 1: w by the clock, c by CPU time; W, C below 0.9."""
    return "".join(
        " " if value is None or value >= 1 else letter if value >= 0.9 else letter.upper()
        for letter, value in zip("wc", ratios(one), strict=True)
    )


def ratios(one: Measurement) -> list[float | None]:
    """Return the ratios of medians, by the clock and by CPU time."""
    return [one.ratio("wall_s"), one.ratio("cpu_s")]


def summary(found: Sequence[Measurement]) -> Iterator[str]:
    """Yield how many cases there are, and how many of them are below 1."""
    both = [[value for value in ratios(one) if value is not None] for one in found]
    compared = [values for values in both if values]
    if not compared:
        return
    below = sum(min(values) < 1 for values in compared)
    by_wall = sum(values[0] < 1 for values in compared)
    middle = statistics.geometric_mean(values[0] for values in compared)
    yield (
        f"{len(compared)} cases, {below} below 1 ({by_wall} of them by wall); "
        f"geometric mean by wall {middle:.2f}"
    )


def tell(text: str) -> None:
    print(text, flush=True)  # noqa: T201, a table for a terminal is what this file is for


def _against(one: Measurement, which: str) -> str:
    value, low = one.ratio(f"{which}_s"), one.ratio(f"low_{which}_s")
    if value is None:
        return f"{which}    -"
    return f"{which} {value:5.2f} ({low:5.2f}) {one.best(f'{which}_s'):12.12}"
