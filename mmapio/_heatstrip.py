"""Residency as pictures: a heat strip for each file, drawn by matplotlib."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ._extras import require
from ._words import printable, size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .residency import Residency

__all__ = ["new_axes", "sheet", "strip"]

_NOTHING: Final = "#eef1f4"
_RESIDENT: Final = "#1f6fa8"
_DIRTY: Final = "#f28e2b"
_INK: Final = "#2b3440"
_FAINT: Final = "#7a8694"
_WIDTH_IN: Final = 9.0
_STRIP_IN: Final = 1.05
_MARGINS_IN: Final = (0.45, 0.5)  # above the first strip, and below the last
_TICKS: Final = 5
_PER_INCH: Final = 144
_LONGEST_NAME: Final = 60


def new_axes() -> Axes:
    """Return axes of pyplot's, which shows them where it shows figures."""
    pyplot = require("matplotlib.pyplot", "plot")
    figure = pyplot.figure(figsize=(_WIDTH_IN, _STRIP_IN + 0.4), layout="constrained")
    axes: Axes = figure.subplots()
    return axes


def strip(ax: Axes, report: Residency) -> Axes:
    """Draw one report as a strip: shades of blue for what is in memory, orange where it is dirty."""
    length = max(report.length, 1)
    extent = (report.offset, report.offset + length, 0, 1)
    ax.imshow(_colours(report)[None], extent=extent, aspect="auto", interpolation="nearest")
    ax.set_xlim(report.offset, report.offset + length)
    ax.set_yticks([])
    places = [report.offset + length * n // (_TICKS - 1) for n in range(_TICKS)]
    labels = ax.set_xticks(places, [size(place) for place in places], color=_FAINT, fontsize=8)
    if labels:  # so that they stay within the width of the strip
        labels[0].label1.set_horizontalalignment("left")
        labels[-1].label1.set_horizontalalignment("right")
    ax.tick_params(length=3, color=_FAINT)
    for spine in ax.spines.values():
        spine.set_color("#c3cad2")
    ax.set_title(_name(report), loc="left", fontsize=10, color=_INK, fontweight="bold")
    ax.set_title(_share(report), loc="right", fontsize=9, color=_FAINT)
    return ax


def sheet(reports: Sequence[Residency]) -> Figure:
    """Return a figure with a strip for each report, one below the other, and a legend."""
    figures = require("matplotlib.figure", "plot")
    above, below = _MARGINS_IN
    height = _STRIP_IN * len(reports) + above + below
    figure: Figure = figures.Figure(
        figsize=(_WIDTH_IN, height), dpi=_PER_INCH, layout="constrained", facecolor="white"
    )
    rows = figure.subplots(len(reports), squeeze=False)
    for ax, report in zip(rows[:, 0], reports, strict=True):
        strip(ax, report)
    figure.get_layout_engine().set(h_pad=0.12, w_pad=0.15)  # type: ignore[union-attr]
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    patch = require("matplotlib.patches", "plot").Patch
    meaning = {_NOTHING: "not in memory", _RESIDENT: "in memory", _DIRTY: "dirty"}
    handles = [patch(facecolor=c, edgecolor="#c3cad2", label=text) for c, text in meaning.items()]
    figure.legend(
        handles=handles,
        loc="outside lower right",
        ncols=len(handles),
        frameon=False,
        fontsize=8,
        labelcolor=_FAINT,
        handlelength=1.2,
    )


def _colours(report: Residency) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return red, green and blue of each bucket; any dirt shows, however little it is."""
    nothing, resident, dirty = map(_rgb, (_NOTHING, _RESIDENT, _DIRTY))
    shares = report.map if report.map.size else np.zeros(1, np.float32)
    # From a quarter on, so that a little is not taken for nothing.
    depth = np.where(shares > 0, 0.25 + 0.75 * shares, 0)[:, None]
    colours = nothing + (resident - nothing) * depth
    if report.dirty_map is not None and report.dirty_map.size:
        share = report.dirty_map[:, None]
        colours = np.where(share > 0, colours + (dirty - colours) * (0.5 + 0.5 * share), colours)
    return np.clip(colours, 0, 1)


def _rgb(colour: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255


def _name(report: Residency) -> str:
    name = printable(os.path.basename(report.path) if report.path else "<anonymous>")
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME // 2]}…{name[-_LONGEST_NAME // 2 :]}"
    return name.replace("$", r"\$")  # which would begin mathematics


def _share(report: Residency) -> str:
    dirty = f", {size(report.dirty)} dirty" if report.dirty else ""
    return f"{report.fraction:.1%} of {size(report.length)} in memory{dirty}"
