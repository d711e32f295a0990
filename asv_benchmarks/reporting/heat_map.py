"""Heat map of the table of kernels: a picture of wall times, and one of CPU times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from benchmarks.kernel_table.arrays import DTYPES, LAYOUTS, SIZES
from benchmarks.kernel_table.measuring import Measurement
from benchmarks.kernel_table.works import WORKS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

__all__ = ["PANELS", "draw", "pictures"]

INK = "#7d8590"  # legible on white as on black
COLORS = "PuOr"  # orange: slower, violet: faster; neither red nor green
MOST = 4.0  # where colours end: 4 times as fast, or as slow
GAP = 0.45  # between groups, in cells
CELL_INCHES = 0.36, 0.2
LEFT_INCHES, TOP_INCHES, RIGHT_INCHES, BOTTOM_INCHES = 1.75, 0.75, 0.1, 0.62

PANELS = {"wall": "by the clock", "cpu": "by CPU time of all threads"}
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "svg.hashsalt": "mmapio",
    "svg.fonttype": "none",  # text stays text: a quarter of the bytes
}


class Grid(NamedTuple):
    """Places of cells: rows and columns, with gaps between their groups."""

    rows: dict[tuple[str, str], float]
    columns: dict[tuple[str, str], float]

    @property
    def height(self) -> float:
        return max(self.rows.values()) + 1

    @property
    def width(self) -> float:
        return max(self.columns.values()) + 1


def pictures(path: Path) -> dict[str, Path]:
    """Return the file of each panel: `kernels-wall.svg` and `kernels-cpu.svg` for `kernels.svg`."""
    return {panel: path.with_stem(f"{path.stem}-{panel}") for panel in PANELS}


def draw(found: Sequence[Measurement], path: Path) -> list[Path]:
    """Draw both panels, and return their files."""
    files = pictures(path)
    with mpl.rc_context(STYLE):
        for panel, file in files.items():
            _panel(found, panel).savefig(file, transparent=True, metadata=_no_date(file))
    return list(files.values())


def grid_of(found: Sequence[Measurement]) -> Grid:
    """Return the places of all that was measured, in the order in which the table is declared."""
    rows = {(one.case.layout, one.case.work) for one in found}
    columns = {(one.case.size, one.case.dtype) for one in found}
    return Grid(
        _placed([(layout, work) for layout in LAYOUTS for work in WORKS], rows),
        _placed([(size, dtype) for size in SIZES for dtype in DTYPES], columns),
    )


def told(ratio: float) -> str:
    """Return a ratio as a cell has it; what is below 1 never looks like 1.

    Examples
    --------
    >>> told(0.9996), told(1.04), told(12.3), told(260.0)
    ('0.99', '1.0', '12', '260')
    """
    if ratio < 1:
        return f"{math.floor(ratio * 100) / 100:.2f}"
    return f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:.0f}"


def _placed(
    order: list[tuple[str, str]], there: set[tuple[str, str]]
) -> dict[tuple[str, str], float]:
    places: dict[tuple[str, str], float] = {}
    at, group = 0.0, None
    for key in order:
        if key in there:
            at += GAP if group not in (None, key[0]) else 0
            places[key], group = at, key[0]
            at += 1
    return places


def _panel(found: Sequence[Measurement], panel: str) -> Figure:
    grid = grid_of(found)
    width, height = (
        size * inches for size, inches in zip((grid.width, grid.height), CELL_INCHES, strict=True)
    )
    whole = LEFT_INCHES + width + RIGHT_INCHES, TOP_INCHES + height + BOTTOM_INCHES
    figure = Figure(figsize=whole)
    axes = figure.add_axes(
        (LEFT_INCHES / whole[0], BOTTOM_INCHES / whole[1], width / whole[0], height / whole[1])
    )
    axes.set_xlim(0, grid.width)
    axes.set_ylim(grid.height, 0)
    axes.axis("off")
    for one in found:
        ratio = one.ratio(f"{panel}_s")
        if ratio is not None:
            _cell(axes, grid, one, ratio)
    _labels(axes, grid)
    axes.text(0, -2.6, f"Best peer's time by mmapio's, {PANELS[panel]}", color=INK, fontsize=9)
    _key(figure, whole)
    return figure


def _cell(axes: Axes, grid: Grid, one: Measurement, ratio: float) -> None:
    x = grid.columns[one.case.size, one.case.dtype]
    y = grid.rows[one.case.layout, one.case.work]
    color = _color(ratio)
    axes.add_patch(Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, facecolor=color, linewidth=0))
    red, green, blue = color[:3]
    dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
    weight = "bold" if ratio < 1 else "normal"
    style: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": 6.2}
    axes.text(
        x + 0.5, y + 0.5, told(ratio), color="white" if dark else "black", weight=weight, **style
    )


def _labels(axes: Axes, grid: Grid) -> None:
    for (_, work), y in grid.rows.items():
        axes.text(-0.15, y + 0.5, work, ha="right", va="center", color=INK)
    for (_, dtype), x in grid.columns.items():
        axes.text(x + 0.5, -0.25, dtype, ha="center", va="bottom", color=INK)
    for layout, (first, last) in _groups(grid.rows).items():
        middle = (first + last) / 2
        at = -LEFT_INCHES / CELL_INCHES[0] + 0.45
        # What is short has no room for a name that stands upright.
        upright = (last - first) * CELL_INCHES[1] > 0.07 * len(layout)
        axes.text(
            at, middle, layout if upright else layout.replace(" ", "\n"), ha="center", va="center",
            rotation=90 if upright else 0, color=INK, weight="bold",
        )  # fmt: skip
    for size, (first, last) in _groups(grid.columns).items():
        name = "100,000 items" if size == "100k" else size.replace("MiB", " MiB")
        axes.text(
            (first + last) / 2, -1.25, name, ha="center", va="bottom", color=INK, weight="bold"
        )


def _groups(places: dict[tuple[str, str], float]) -> dict[str, tuple[float, float]]:
    """Return where each group begins and ends."""
    found: dict[str, tuple[float, float]] = {}
    for (group, _), at in places.items():
        found[group] = found.get(group, (at,))[0], at + 1
    return found


def _key(figure: Figure, whole: tuple[float, float]) -> None:
    """Draw what the colours mean."""
    axes = figure.add_axes((LEFT_INCHES / whole[0], 0.3 / whole[1], 3 / whole[0], 0.14 / whole[1]))
    steps = 64
    for i in range(steps):
        ratio = MOST ** (2 * (i + 0.5) / steps - 1)
        axes.add_patch(Rectangle((i / steps, 0), 1.2 / steps, 1, facecolor=_color(ratio)))
    axes.set_xlim(0, 1)
    axes.axis("off")
    for name, at in (("1/4", 0.0), ("1/2", 0.25), ("1", 0.5), ("2", 0.75), ("4", 1.0)):
        axes.text(at, -0.25, name, ha="center", va="top", color=INK)
    axes.text(
        1.06, 0.5, "above 1, mmapio is faster; below 1, in bold, a peer is",
        va="center", color=INK,
    )  # fmt: skip


def _color(ratio: float) -> tuple[float, float, float, float]:
    share = 0.5 + math.log(ratio) / math.log(MOST) / 2
    # The ends of the map are so dark that neighbours look alike.
    red, green, blue, alpha = mpl.colormaps[COLORS](0.08 + 0.84 * min(max(share, 0.0), 1.0))
    return float(red), float(green), float(blue), float(alpha)


def _no_date(file: Path) -> dict[str, Any]:
    """Return metadata that make two pictures of the same figures the same file."""
    return {"Date": None} if file.suffix == ".svg" else {}
