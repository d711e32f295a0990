"""The section of the page about kernels: each beside the best of its peers."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.kernel_table.arrays import SIZES
from benchmarks.kernel_table.measuring import Measurement

from .words import duration, line_of, size_told

__all__ = ["section"]

SECTION = """
## Kernels

Every kernel beside the **best** of numpy, bottleneck, polars, pyarrow, duckdb and numexpr, of
each dtype, layout and size: {count} cases. A number in a picture is the best peer's time divided
by mmapio's, so here **above 1, mmapio is faster**; what is below 1 stands in bold.
{pictures}
| | cases | below 1 by the clock | below 1 by CPU time | middle by the clock | middle by CPU time |
|---|---|---|---|---|---|
{sizes}

The middle is the geometric mean; the best peer is looked for anew in each case.

- All sides take turns in one process, over the same array, which is in memory already, each with
  the threads that it takes by default: so the CPU time of all is beside the time by the clock.
- polars, pyarrow and duckdb get columns of the array's memory, made before the time is taken;
  where those would be a copy, there is no such peer.
- A peer that finds something else for 100,000 of the items is left out: sums of 32 bits that wrap,
  bins that are closed at the other end.
- At most 4 million items for a histogram and for `describe`, and 64 million for variances and
  places: numpy takes seconds, or 16 bytes an item.

`python asv_benchmarks/kernels_table.py` prints the table for your machine, or a part of it.
{below}"""

# The pictures have all cases, and the file of figures beside the page has their times.
WORST = 25
BELOW = """
<details><summary>The {worst} worst of {count} cases below 1</summary>

| kernel | layout | dtype | size | mmapio | by the clock | by CPU time |
|---|---|---|---|---|---|---|
{lines}

</details>
"""


def section(found: Sequence[Measurement], pictures: Mapping[str, str]) -> str:
    """Return the section of kernels beside the best of their peers."""
    compared = [one for one in found if one.ratio("wall_s") is not None]
    shown = "".join(
        f"\n![Ratios of all kernels, {panel}]({file})\n" for panel, file in pictures.items()
    )
    sizes = [[one for one in compared if one.case.size == size] for size in SIZES]
    return SECTION.format(
        count=len(compared),
        pictures=shown,
        sizes="\n".join(_of_size(some[0].case.size, some) for some in sizes if some),
        below=_below(compared),
    )


def _of_size(size: str, found: Sequence[Measurement]) -> str:
    """Return the line of the cases of a size."""
    both = [[float(one.ratio(of) or 0) for one in found] for of in ("wall_s", "cpu_s")]
    below = [str(sum(value < 1 for value in values)) for values in both]
    middle = [f"{statistics.geometric_mean(values):.2f}" for values in both]
    return line_of([size_told(size), str(len(found)), *below, *middle])


def _below(compared: Sequence[Measurement]) -> str:
    """Return the table of the cases in which a peer is faster, the worst first."""
    lines = []
    for one in compared:
        least = {of: float(one.ratio(of) or 0) for of in ("wall_s", "cpu_s")}
        if one.ours is not None and min(least.values()) < 1:
            against = [f"{ratio:.3f} {one.best(of)}" for of, ratio in least.items()]
            work, layout, dtype, size = one.case
            cells = [work, layout, dtype, size_told(size), duration(one.ours.wall_s), *against]
            lines.append((min(least.values()), line_of(cells)))
    if not lines:
        return ""
    worst = [line for _, line in sorted(lines)][:WORST]
    return BELOW.format(worst=len(worst), count=len(lines), lines="\n".join(worst))
