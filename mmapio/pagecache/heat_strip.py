"""Heat strips: pictures of how much of a file is in memory, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from .._extras import require
from .._formatting import printable, size
from .cache_map import Shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Strip", "draw", "new_axes", "sheet"]

Colours = np.ndarray[Any, np.dtype[np.float64]]

_NOTHING: Final = "#eef1f4"
_RESIDENT: Final = "#1f6fa8"
_DIRTY: Final = "#f28e2b"
_INK: Final = "#2b3440"
_FAINT: Final = "#5f6b78"
_EDGE: Final = "#c3cad2"
_WIDTH_IN: Final = 9.0
_STRIP_IN: Final = 1.05
_LEGEND_IN: Final = 0.45
_DOTS_PER_IN: Final = 144
_TICKS: Final = 5
_LONGEST_NAME: Final = 60


class Strip(NamedTuple):
    """Data of a strip: shares of the buckets of a range, which lies at a byte of a file."""

    name: str
    caption: str
    start: int
    length: int
    shares: Shares
    dirty_shares: Shares | None


def new_axes() -> Axes:
    """Return axes of pyplot's, which shows them where it shows figures."""
    pyplot = require("matplotlib.pyplot", "plot")
    figure = pyplot.figure(figsize=(_WIDTH_IN, _STRIP_IN + _LEGEND_IN), layout="constrained")
    axes: Axes = figure.subplots()
    return axes


def draw(ax: Axes, strip: Strip) -> Axes:
    """Draw a strip: shades of blue for what is in memory, orange where it is dirty."""
    start, length = strip.start, max(strip.length, 1)
    extent = (start, start + length, 0, 1)
    ax.imshow(_colours(strip)[None], extent=extent, aspect="auto", interpolation="nearest")
    ax.set_yticks([])
    places = sorted({start + strip.length * n // (_TICKS - 1) for n in range(_TICKS)})
    ticks = ax.set_xticks(places, map(size, places), color=_FAINT, fontsize=8)
    # So that they stay within the width of the strip.
    ticks[-1].label1.set_horizontalalignment("right")
    ticks[0].label1.set_horizontalalignment("left")
    ax.tick_params(length=3, color=_EDGE)
    ax.spines[:].set_color(_EDGE)
    ax.set_title(_short(strip.name), loc="left", fontsize=10, color=_INK, fontweight="bold")
    ax.set_title(strip.caption, loc="right", fontsize=9, color=_FAINT)
    return ax


def sheet(strips: Sequence[Strip]) -> Figure:
    """Return a figure of strips, one below the other, and a legend."""
    figures = require("matplotlib.figure", "plot")
    layout = require("matplotlib.layout_engine", "plot")
    figure: Figure = figures.Figure(
        figsize=(_WIDTH_IN, _STRIP_IN * len(strips) + _LEGEND_IN),
        dpi=_DOTS_PER_IN,
        layout=layout.ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.15),
    )
    rows = figure.subplots(len(strips), squeeze=False)
    for ax, strip in zip(rows[:, 0], strips, strict=True):
        draw(ax, strip)
    _add_legend(figure)
    return figure


def _add_legend(figure: Figure) -> None:
    patch = require("matplotlib.patches", "plot").Patch
    meaning = {_NOTHING: "not in memory", _RESIDENT: "in memory", _DIRTY: "dirty"}
    figure.legend(
        handles=[patch(facecolor=c, edgecolor=_EDGE, label=text) for c, text in meaning.items()],
        loc="outside lower right",
        ncols=len(meaning),
        frameon=False,
        fontsize=8,
        labelcolor=_FAINT,
        handlelength=1.2,
    )


def _colours(strip: Strip) -> Colours:
    """Return red, green and blue of each bucket; any share above 0 can be seen."""
    nothing, resident, dirty = map(_rgb, (_NOTHING, _RESIDENT, _DIRTY))
    shares = strip.shares if strip.shares.size else np.zeros(1, np.float32)
    depth = np.where(shares > 0, 0.25 + 0.75 * shares, 0)[:, None]
    colours = nothing + (resident - nothing) * depth
    if strip.dirty_shares is not None and strip.dirty_shares.size:
        share = strip.dirty_shares[:, None]
        colours += (dirty - colours) * np.where(share > 0, 0.5 + 0.5 * share, 0)
    found: Colours = np.clip(colours, 0, 1)
    return found


def _rgb(colour: str) -> Colours:
    found: Colours = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return found


def _short(name: str) -> str:
    text, half = printable(name), _LONGEST_NAME // 2
    if len(text) > _LONGEST_NAME:
        text = f"{text[:half]}…{text[-half:]}"
    return text.replace("$", r"\$")  # which would begin mathematics
