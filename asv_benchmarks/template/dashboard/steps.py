"""Regressions that more than one commit shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from asv.plugins import regressions

__all__ = ["judge_by_two", "sure_steps"]

# Commits that have to show a step. asv asks for as many, but not of the last step: so whatever is
# slow by chance in the newest commit would be a regression, of two equal commits as well.
COMMITS = 2

Steps = Sequence[tuple[Any, ...]]


def judge_by_two() -> None:
    """Let the page of regressions leave out steps that the newest commit alone shows."""
    regressions.detect_regressions = _by_sure_steps(regressions.detect_regressions)


def sure_steps(steps: Steps) -> Steps:
    """Return steps without the last one, if that is short. A step is (begin, end, value, ...).

    Examples
    --------
    >>> sure_steps([(0, 5, 1.0), (5, 6, 2.0)])
    [(0, 5, 1.0)]
    """
    begin, end = steps[-1][:2] if steps else (0, COMMITS)
    return steps if end - begin >= COMMITS else steps[:-1]


def _by_sure_steps(detect: Callable[..., Any]) -> Callable[..., Any]:
    def detected(steps: Steps, *how: Any, **named: Any) -> Any:
        return detect(sure_steps(steps), *how, **named)

    return detected
