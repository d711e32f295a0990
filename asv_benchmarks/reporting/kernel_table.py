"""The table of kernels: what to measure, the run, and the figures as JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.kernel_table import peers
from benchmarks.kernel_table.arrays import DTYPES, LAYOUTS, SIZES
from benchmarks.kernel_table.cases import Case, cases
from benchmarks.kernel_table.measuring import Figures, Measurement, Stage, measure
from gating.chosen import HERE
from gating.other_kernels import OtherKernels
from gating.trees import TreeError, kept_tree_of

from . import kernel_lines

DESCRIPTION = "Measure every kernel, layout, dtype and size beside the best of its peers."
SECONDS = 0.1


def main(arguments: list[str]) -> int:
    """Measure and print; the exit status is 0, whatever was found."""
    given = _parsed(arguments)
    if given.figures:
        found = loaded(given.figures)
        kernel_lines.show(found, given.below)
    else:
        found = _measured(given)
    for told in kernel_lines.summary(found):
        kernel_lines.tell(told)
    if given.json:
        save(found, given.json)
    if given.picture:
        from . import heat_map  # matplotlib

        heat_map.draw(found, given.picture)
    return 0


def run(
    wanted: Iterable[Case],
    seconds: float,
    tell: Callable[[Measurement], object] = lambda _: None,
    other: Any = None,
) -> list[Measurement]:
    """Measure the cases one by one."""
    stage, found = Stage(), []
    for case in wanted:
        found.append(measure(case, stage, seconds, other))
        tell(found[-1])
    return found


def as_json(found: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Return measurements as JSON has them."""
    return [
        {
            **one.case._asdict(),
            "ours": _rounded(one.ours),
            "peers": {name: _rounded(figures) for name, figures in one.peers.items()},
            "left_out": one.left_out,
            "before": _rounded(one.before),
        }
        for one in found
    ]


def of_json(told: Iterable[dict[str, Any]]) -> list[Measurement]:
    """Return the measurements that `as_json` has written."""
    return [
        Measurement(
            Case(*(one[field] for field in Case._fields)),
            _figures(one["ours"]),
            {name: Figures(*times) for name, times in one["peers"].items()},
            one["left_out"],
            _figures(one["before"]),
        )
        for one in told
    ]


def save(found: Sequence[Measurement], path: Path) -> None:
    """Write measurements, a line each: a change of few of them is a change of few lines."""
    lines = ",\n".join(map(json.dumps, as_json(found)))
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def loaded(path: Path) -> list[Measurement]:
    """Return the measurements in a file."""
    return of_json(json.loads(path.read_text(encoding="utf-8")))


def _measured(given: argparse.Namespace) -> list[Measurement]:
    wanted = cases(given.only, given.layouts, given.dtypes, given.sizes)
    if not wanted:
        sys.exit("there is no such case")
    for told in kernel_lines.head(peers.missing()):
        kernel_lines.tell(told)
    with contextlib.ExitStack() as until:
        other = None
        if given.against:
            try:
                tree, name = kept_tree_of(HERE.parent, given.against)
            except TreeError as error:
                sys.exit(str(error))
            kernel_lines.tell(f"before: {name}")
            other = OtherKernels(tree)
            until.callback(other.close)
        found: list[Measurement] = []

        def tell(one: Measurement) -> None:
            kernel_lines.show([one], given.below)
            found.append(one)

        if given.json:  # also of a run that is ended before its end
            until.callback(lambda: save(found, given.json))
        return run(wanted, given.seconds, tell, other)


def _parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=DESCRIPTION)
    split = _of("")
    parser.add_argument("--only", type=split, default=["*"], help="works: sum, axis0, gather-*")
    parser.add_argument(
        "--layouts", type=_of(*LAYOUTS), default=[*LAYOUTS], help=", ".join(LAYOUTS)
    )
    parser.add_argument("--dtypes", type=_of(*DTYPES), default=[*DTYPES], help=", ".join(DTYPES))
    parser.add_argument("--sizes", type=_of(*SIZES), default=[*SIZES], help=", ".join(SIZES))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each case, and more")
    parser.add_argument("--against", metavar="COMMIT", help="measure this mmapio as well, in turns")
    parser.add_argument("--below", action="store_true", help="print cases below 1 alone")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--picture", type=Path, help="a file for the heat map: .svg, .png, .pdf")
    parser.add_argument("--figures", type=Path, help="figures of a run before, to be shown anew")
    return parser.parse_args(arguments)


def _of(*known: str) -> Callable[[str], list[str]]:
    """Return a type of arguments: names with commas between, each the beginning of a known one."""

    def names(text: str) -> list[str]:
        found = []
        for name in filter(None, map(str.strip, text.split(","))):
            meant = [one for one in known if one.lower().startswith(name.lower())]
            if not any(known):
                meant = [name]
            if not meant:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
            found += meant
        return found

    return names


def _rounded(figures: Figures | None) -> list[float] | None:
    return figures and [float(f"{value:.4g}") for value in figures]


def _figures(times: list[float] | None) -> Figures | None:
    return Figures(*times) if times else None
