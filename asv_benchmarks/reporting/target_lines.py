"""Lines of the table of targets: one for all figures that a target is for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from .words import amount, line_of

__all__ = ["counts", "line"]

Figures = dict[str, Any]
MOST_NAMED = 3


def counts(found: Sequence[Figures]) -> dict[str, int]:
    """Return how many figures there are, and how many of them are met, missed, or absent."""
    met, missed = sum(map(_is_met, found)), len(_missed(found))
    skipped = len(found) - met - missed
    return {"count": len(found), "met": met, "missed": missed, "skipped": skipped}


def line(group: Sequence[Figures], reasons: list[str]) -> str:
    """Return the line of a target, and add its reason to those that stand below, if it is new."""
    first = group[0]
    what = _common([one["what"] for one in group])
    limits = dict.fromkeys(amount(one["at_most"]) for one in group)  # by parameters, maybe
    limit = f"{' / '.join(limits)} {first['unit']}"
    verdict = _verdict(group, what)
    if _missed(group) and first["reason"]:
        if first["reason"] not in reasons:
            reasons.append(first["reason"])
        verdict += f"; reason {reasons.index(first['reason']) + 1}"
    return line_of([str(first["row"]), what, _range(group), limit, verdict])


def _verdict(group: Sequence[Figures], what: str) -> str:
    """Say whether a target was met, and by which figures not, the worst first."""
    skipped = [one for one in group if one["figure"] is None]
    missed = _missed(group)
    if len(skipped) == len(group):
        return f"skipped: {skipped[0]['skipped']}"
    if not missed:
        return "met" if not skipped else f"met; {len(skipped)} skipped: {skipped[0]['skipped']}"
    if len(group) == 1:
        return "**missed**"
    worst = sorted(missed, key=lambda one: -float(one["figure"]))
    named = [f"{_parameters(one, what)} {_beside(one)}" for one in worst]
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    which = ", ".join(named[:MOST_NAMED])
    return f"**{len(missed)} of {len(group)} missed**: {which}{more}"


def _parameters(found: Figures, what: str) -> str:
    """Return what a figure has beyond that which all of its target have."""
    rest: str = found["what"][len(what) :]
    return rest.lstrip(", ").replace(", ", " ")


def _range(group: Sequence[Figures]) -> str:
    """Return the figure, or the least and the greatest, and how many there are."""
    known = sorted((one for one in group if one["figure"] is not None), key=_figure)
    if not known:
        return "-"
    if _beside(known[0]) == _beside(known[-1]):
        return _beside(known[0])
    return f"{_beside(known[0])} to {_beside(known[-1])} ({len(known)})"


def _common(whats: list[str]) -> str:
    """Return what lines have in common: all but the parameters behind the last commas.

    Examples
    --------
    >>> _common(["Open a file, one element, 8 MiB", "Open a file, one element, 1 GiB"])
    'Open a file, one element'
    """
    if len(whats) == 1:
        return whats[0]
    columns = zip(*(what.split(", ") for what in whats), strict=False)
    alike = itertools.takewhile(lambda parts: len(set(parts)) == 1, columns)
    return ", ".join(parts[0] for parts in alike)


def _beside(found: Figures) -> str:
    """Return a figure with as many digits as tell it from the limit that it is beyond."""
    value, limit = found["figure"], found["at_most"]
    rounded = amount(value)
    return f"{value:.4g}" if value > limit and rounded == amount(limit) else rounded


def _figure(found: Figures) -> float:
    return float(found["figure"])


def _is_met(found: Figures) -> bool:
    return found["figure"] is not None and found["figure"] <= found["at_most"]


def _missed(group: Sequence[Figures]) -> list[Figures]:
    return [one for one in group if one["figure"] is not None and not _is_met(one)]
