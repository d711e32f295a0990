"""Decision on whether a benchmark became slower: numbers in, a verdict out.

Ratios come in groups, one for each pair of processes. The estimate is the median of the groups'
medians: it stands as long as fewer than half of the pairs of processes were unlucky, and within a
pair fewer than half of the turns.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

RESAMPLES = 1000
# Of the estimates that resampling gives, this share lies within the interval.
CONFIDENCE = 0.95

Groups = Sequence[Sequence[float]]


class Verdict(StrEnum):
    """Change of a benchmark between two commits."""

    SLOWER = "SLOWER"
    BROKEN = "BROKEN"
    FASTER = "faster"
    SAME = "same"
    UNSURE = "unsure"  # by the median it is slower, and the samples vary too much to say so
    NEW = "new"
    REMOVED = "removed"
    SKIPPED = "skipped"


FAILURES = frozenset({Verdict.SLOWER, Verdict.BROKEN})
MEASURED = frozenset({Verdict.SLOWER, Verdict.FASTER, Verdict.SAME, Verdict.UNSURE})


class Estimate(NamedTuple):
    """Ratio of the head's time to the base's, and the interval that it lies in."""

    ratio: float
    low: float
    high: float


def estimate(groups: Groups) -> Estimate:
    """Return the median ratio, with its interval by resampling groups and what is in them.

    Examples
    --------
    >>> estimate([[1.0, 1.2, 1.1], [1.1, 1.1, 1.1]])
    Estimate(ratio=1.1, low=1.0, high=1.2)
    """
    draw = random.Random(0).choices
    found = sorted(
        _center([draw(group, k=len(group)) for group in draw(groups, k=len(groups))])
        for _ in range(RESAMPLES)
    )
    outside = int(RESAMPLES * (1 - CONFIDENCE) / 2)
    return Estimate(_center(groups), found[outside], found[-1 - outside])


def is_suspect(first: Estimate, threshold: float) -> bool:
    """Return whether a first look is reason for a second.

    Half of what is forbidden is enough, and so is noise that would hide what is forbidden.
    """
    return first.ratio > 1 + threshold / 2 or first.high > 1 + threshold


def is_unsure(again: Estimate, threshold: float) -> bool:
    """Return whether a second look leaves both possible, so that more samples are worth a third."""
    return again.low < 1 + threshold < again.high


def verdict(first: Estimate, again: Estimate | None, threshold: float) -> Verdict:
    """Return what two looks together say; the second decides, and there is one for suspects.

    A second look by other processes is of no use to those who only had bad luck in the first. It
    has to find the same slow-down, and all of its interval has to lie on the slow side, unless it
    is twice what is forbidden: the noise of so many processes makes no such median.
    """
    if again is None:
        return Verdict.FASTER if first.high < 1 / (1 + threshold) else Verdict.SAME
    if again.ratio <= 1 + threshold:
        return Verdict.SAME
    surely = again.low > 1 + threshold / 3 or again.ratio > 1 + 2 * threshold
    return Verdict.SLOWER if surely else Verdict.UNSURE


def has_passed(verdicts: Sequence[Verdict]) -> bool:
    """Return whether nothing failed, and something was measured."""
    return FAILURES.isdisjoint(verdicts) and not MEASURED.isdisjoint(verdicts)


def _center(groups: Groups) -> float:
    return statistics.median(map(statistics.median, groups))
