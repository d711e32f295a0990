"""Draw docs/ratios.svg: how many times as fast as its peers mmapio is, by docs/performance.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
OURS, SLOWER, INK = "#2f81f7", "#d29922", "#7d8590"  # on white as on black


class Bar(NamedTuple):
    """A figure with a target, in the words of a user."""

    name: str
    what: str
    peer: str


BARS = [
    Bar("bench_slices.Slice.track_ratio_memmap", "slice an array", "numpy.memmap"),
    Bar("bench_slices.Chunks.track_ratio_memmap", "iterate by 4 KiB", "numpy.memmap"),
    Bar("bench_scan.SumOfBytes.track_ratio_numpy", "sum of bytes", "np.sum"),
    Bar("bench_gather.GatherCold.track_ratio_memmap", "random rows from disk", "numpy.memmap"),
    Bar("bench_gather.GatherWarm.track_ratio_numpy", "random rows in memory", "np.take"),
    Bar("bench_touch.TouchFirst.track_ratio_better", "map a cached file", "loop or madvise"),
    Bar("bench_atomics.FromPython.track_ratio_value", "shared counter", "multiprocessing.Value"),
    Bar("bench_growth.Append.track_ratio_npy_append_array", "append rows", "npy-append-array"),
    Bar("bench_open.OpenNpy.track_ratio_load", "open a .npy file", "np.load(mmap_mode=)"),
    Bar("bench_open.OpenRaw.track_ratio_memmap", "open a raw file", "numpy.memmap"),
    Bar("bench_growth.Resize.track_ratio_mmap", "resize in place", "mmap.resize"),
    Bar("bench_flush.FlushOnePage.track_ratio_fdatasync", "flush a page", "pwrite + fdatasync"),
]


def main() -> None:
    figures = json.loads((HERE / "performance.json").read_text(encoding="utf-8"))
    ratios: dict[str, float] = {}
    for found in figures["targets"]:  # the first parameters of each
        if found["figure"] is not None:
            ratios.setdefault(found["name"], found["figure"])
    bars = sorted(
        ((1 / ratios[bar.name], bar) for bar in BARS if bar.name in ratios), key=lambda x: x[0]
    )
    mpl.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9, "svg.hashsalt": "mmapio"})
    figure, axes = plt.subplots(figsize=(7.2, 0.32 * len(bars) + 0.7), layout="constrained")
    draw(axes, bars)
    if figures["quick"]:
        axes.set_xlabel("of a quick run: few samples, small files", color=INK)
    figure.savefig(HERE / "ratios.svg", transparent=True, metadata={"Date": None})


def draw(axes: plt.Axes, bars: list[tuple[float, Bar]]) -> None:
    """Draw a bar for each figure, the longest at the top."""
    times = [value for value, _ in bars]
    colors = [OURS if value >= 1 else SLOWER for value in times]
    axes.barh(range(len(bars)), [value - 1 for value in times], left=1, color=colors, height=0.62)
    for at, (value, bar) in enumerate(bars):
        told = f"{value:,.0f}x {bar.peer}" if value >= 10 else f"{value:.2g}x {bar.peer}"
        axes.text(max(value, 1) * 1.06, at, told, va="center", color=INK)
    axes.set_yticks(range(len(bars)), [bar.what for _, bar in bars], color=INK)
    axes.set_xscale("log")
    axes.set_xlim(min(0.8, *times), max(times) * 12)
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_title("How many times as fast as its peers mmapio is", color=INK, fontsize=10)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", which="both", colors=INK)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.xaxis.set_minor_formatter(lambda *_: "")
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)


if __name__ == "__main__":
    main()
