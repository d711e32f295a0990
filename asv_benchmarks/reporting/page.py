"""The page of figures, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.kernel_table.measuring import Measurement

from . import kernel_section, target_lines
from .words import amount, duration, line_of

Figures = dict[str, Any]

HEAD = """# Performance

Made by `python asv_benchmarks/compare.py --output docs/performance.md`; not by hand. The same
command makes this page for your machine, and `performance.json` beside it, which has every figure.

| | |
|---|---|
{facts}

Times are medians; all ways of one line take turns inside one process. A ratio is the time of
mmapio divided by that of the peer, in the last column of a table the fastest of the line:
**below 1, mmapio is faster**.{quick}
"""

QUICK = """

**These are of a quick run**: few samples, and large files that are small. They show that all of it
runs, and decide nothing."""

TARGETS = """
## Targets

{count} figures are held to targets, by the rows of the project's list: {met} are met, {missed} are
missed, {skipped} could not be measured here. A line has all sizes, dtypes or kernels that a
target is for, from the least figure to the greatest, and in brackets how many; an x is a ratio.
Reasons stand below the table. `python asv_benchmarks/ratios.py ROW` measures a row again.

| row | what | figure | at most | |
|---|---|---|---|---|
{lines}
{reasons}"""

CRATE = """
## The crate's tables

The tables of the page of [mmap-io](https://crates.io/crates/mmap-io) {crate}, a crate for Rust.
**Its figures are of another machine** (Windows 11, NTFS on an SSD): no ratio is made of them.
"""

PEERS = """
## Peers

The same work by what is used today, each as its own documentation would have it: rows of 4 KiB,
in a file of {nbytes}; a cold one has no page in the page cache. Milliseconds, with opening and
closing. A dash: nobody would do it with that, or it could not be done here, as said below.
"""

MEMORY = """
## Memory

The most anonymous memory that work takes, beyond the pages of its file, in MiB. The file has
{nbytes}; `append` copies it, `gather` returns 8,192 rows of 4 KiB, `open` has 10,000 arrays at
once.

| work | mmapio | numpy.memmap |
|---|---|---|
{lines}
"""


def page(
    figures: Figures,
    measured: Sequence[Measurement] = (),
    pictures: Mapping[str, str] | None = None,
) -> str:
    """Return the page; pictures have names by what they show."""
    facts = "\n".join(f"| {name} | {value} |" for name, value in figures["facts"].items())
    quick = QUICK if figures["quick"] else ""
    parts = [HEAD.format(facts=facts, quick=quick), targets(figures["targets"])]
    if measured:
        parts.append(kernel_section.section(measured, pictures or {}))
    parts.append(CRATE.format(crate=figures["crate"]))
    parts += [table(one) for one in figures["tables"]]
    parts += [peers(figures["peers"]), memory(figures["memory"])]
    return "".join(parts)


def targets(found: list[Figures]) -> str:
    """Return the table of all figures that have a target, each reason once."""
    groups: dict[str, list[Figures]] = {}
    for one in found:
        groups.setdefault(f"{one['row']} {one['name']}", []).append(one)
    reasons: list[str] = []
    lines = "\n".join(target_lines.line(group, reasons) for group in groups.values())
    told = "".join(f"\n{number}. {why}." for number, why in enumerate(reasons, 1))
    return TARGETS.format(
        **target_lines.counts(found), lines=lines, reasons=told + "\n" if told else ""
    )


def table(found: Figures) -> str:
    """Return one of the crate's tables, with what each way took."""
    rows = found["rows"]
    ways = list(dict.fromkeys(way for row in rows for way in row["seconds"]))
    quotes = any(row["crate"] for row in rows)
    head = ["", *(["crate, elsewhere"] if quotes else []), *ways, "mmapio / fastest peer"]
    lines = [line_of(head), line_of(["---"] * len(head))]
    for row in rows:
        seconds = row["seconds"]
        crate = [row["crate"] or "-"] if quotes else []
        times = [duration(seconds[way]) if way in seconds else "-" for way in ways]
        lines.append(line_of([row["what"], *crate, *times, against_fastest(seconds)]))
    note = f"{found['note']}\n\n" if found["note"] else ""
    return f"\n### {found['title']}\n\n{note}" + "\n".join(lines) + "\n"


def against_fastest(seconds: dict[str, float]) -> str:
    """Return the time of mmapio as a multiple of that of the fastest other way."""
    others = [taken for way, taken in seconds.items() if not way.startswith("mmapio")]
    return amount(seconds["mmapio"] / min(others)) if others and "mmapio" in seconds else "-"


def peers(found: Figures) -> str:
    """Return the table of all implementations."""
    ways = [way for way in found["ways"] if way != "mmapio"]
    head = ["", "mmapio", *ways, "mmapio / fastest peer"]
    lines = [line_of(head), line_of(["---"] * len(head))]
    for row in found["rows"]:
        seconds = row["seconds"]
        times = [_milliseconds(seconds.get(way)) for way in ("mmapio", *ways)]
        lines.append(line_of([row["what"], *times, against_fastest(seconds)]))
    told = "".join(f"\n{way}: {reason}.\n" for way, reason in found["skipped"].items())
    return PEERS.format(nbytes=found["nbytes"]) + "\n" + "\n".join(lines) + "\n" + told


def memory(found: Figures) -> str:
    """Return the table of anonymous memory."""
    lines = "\n".join(
        line_of([work, *(f"{peak:.1f}" for peak in peaks.values())])
        for work, peaks in found["peaks"].items()
    )
    return MEMORY.format(nbytes=found["nbytes"], lines=lines)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else amount(seconds * 1e3)
